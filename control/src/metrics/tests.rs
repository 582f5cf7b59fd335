//! The page as a scraper sees it.

use std::sync::{Arc, Mutex};

use plimsoll_dataplane::id::DeviceId;
use plimsoll_dataplane::verdict::{DropReason, Verdict};

use super::*;
use crate::running::tests::running;

fn page() -> (Shared, Metrics, tempfile::NamedTempFile) {
    let (running, file) = running();
    let shared = Arc::new(Mutex::new(running));
    let metrics = Metrics::new(Arc::clone(&shared)).unwrap();
    (shared, metrics, file)
}

#[test]
fn everything_is_there_from_the_first_day_on() {
    let (_shared, metrics, _file) = page();
    let text = metrics.text().unwrap();
    for line in [
        "plimsoll_snapshot_generation 1",
        "plimsoll_sessions_capacity 100",
        "plimsoll_reloads_total{result=\"invalid\"} 0",
        "plimsoll_drops_total{reason=\"no_session\"} 0",
        "plimsoll_service_sessions_total{service=\"web\",vip=\"192.0.2.10:80\",protocol=\"tcp\"} 0",
        "plimsoll_real_in_packets_total{service=\"web\",real=\"192.0.2.21:80\"} 0",
        "plimsoll_real_sessions{service=\"web\",real=\"192.0.2.21:80\",state=\"active\"} 0",
        "plimsoll_real_weight{service=\"web\",real=\"192.0.2.21:80\"} 1",
        "plimsoll_worker_forwarded_packets_total{worker=\"0\",cpu=\"0\"} 0",
        "plimsoll_worker_evicted_sessions_total{worker=\"0\",cpu=\"0\",cause=\"unproven\"} 0",
        "plimsoll_port_rx_packets_total{port=\"wan\",side=\"kernel\"} 0",
        "plimsoll_port_link_up{port=\"wan\",side=\"network\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in {text}"
        );
    }
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("plimsoll_drops_total{"))
            .count(),
        DropReason::ALL.len()
    );
}

#[test]
fn names_follow_prometheus_conventions() {
    let (_shared, metrics, _file) = page();
    let text = metrics.text().unwrap();
    let mut seen = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(name.starts_with("plimsoll_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
        let help = format!("# HELP {name} ");
        let help = text.lines().find_map(|line| line.strip_prefix(&help));
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name}");
        seen += 1;
    }
    assert_eq!(seen, text.matches("# TYPE").count());
}

#[test]
fn what_workers_count_is_summed_when_it_is_asked_for() {
    let (shared, metrics, _file) = page();
    {
        let running = lock(&shared);
        let stats = &running.workers()[0].stats;
        stats.count(Verdict::Dropped(DropReason::NoSession), 3);
        let queues = stats.queues(DeviceId::new(0)).unwrap();
        queues.rx_bytes.add(1_000_000_007);
        stats.busy_ns.add(1_250_000_000);
    }
    let text = metrics.text().unwrap();
    assert!(text.contains("plimsoll_drops_total{reason=\"no_session\"} 3\n"));
    assert!(text.contains("plimsoll_worker_busy_seconds_total{worker=\"0\",cpu=\"0\"} 1.25\n"));
    assert!(
        text.contains("plimsoll_port_rx_bytes_total{port=\"wan\",side=\"network\"} 1000000007\n")
    );
}

/// What the page says of each metric: its name, its type, its help, and its labels in the order in which samples have them.
fn described(text: &str) -> Vec<(&str, &str, &str, Vec<&str>)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types = types.map(|line| line.split_once(' ').unwrap());
    types
        .map(|(name, kind)| {
            let head = format!("# HELP {name} ");
            let help = text.lines().find_map(|line| line.strip_prefix(&head));
            let mut labels = Vec::new();
            let samples = text.lines().filter_map(|line| line.strip_prefix(name));
            for inner in samples.filter_map(|rest| rest.strip_prefix('{')) {
                // No value of the small configuration has a quote or `="` in it.
                let names = inner.split("=\"").filter_map(|part| {
                    let name = part.rsplit(['"', ',', '{']).next()?;
                    (!name.contains('}')).then_some(name)
                });
                for label in names {
                    if !labels.contains(&label) {
                        labels.push(label);
                    }
                }
            }
            (name, kind, help.unwrap(), labels)
        })
        .collect()
}

#[test]
fn the_page_about_metrics_has_every_metric_as_the_code_says() {
    let (_shared, metrics, _file) = page();
    let text = metrics.text().unwrap();
    let rows = described(&text)
        .into_iter()
        .map(|(name, kind, help, labels)| {
            let labels = labels.join(", ");
            format!("| `{name}` | {kind} | {labels} | {help} |\n")
        });
    let table = rows.collect::<String>();
    let head = "| metric | type | labels | meaning |\n|---|---|---|---|\n";
    crate::pages::check("METRICS.md", &format!("{head}{table}"));
}

#[test]
fn the_documents_name_no_metric_that_is_not_there() {
    let (_shared, metrics, _file) = page();
    let text = metrics.text().unwrap();
    let there: Vec<&str> = described(&text).iter().map(|metric| metric.0).collect();
    for (page, text) in [
        ("README.md", include_str!("../../../README.md")),
        ("METRICS.md", include_str!("../../../docs/METRICS.md")),
        ("HARDWARE.md", include_str!("../../../docs/HARDWARE.md")),
        (
            "TROUBLESHOOTING.md",
            include_str!("../../../docs/TROUBLESHOOTING.md"),
        ),
    ] {
        let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        // `plimsoll_0.1.0_amd64.deb` is a file.
        let is_metric = |word: &&str| {
            let rest = word.strip_prefix("plimsoll_");
            rest.is_some_and(|rest| rest.starts_with(char::is_alphabetic))
        };
        let named = words.filter(is_metric);
        for name in named {
            assert!(there.contains(&name), "{page} names {name}");
        }
    }
}

#[test]
fn a_long_page_is_written_in_small_pieces_that_hold_nobody_up() {
    let (shared, metrics, file) = page();
    let mut text = std::fs::read_to_string(file.path()).unwrap();
    for number in 0..3000 {
        let (high, low) = (number / 250, number % 250);
        text.push_str(&format!(
            "  - {{ name: s{number}, vip: \"198.51.{high}.{low}:80\", reals: [{{ address: 192.0.2.21 }}] }}\n"
        ));
    }
    // More real servers than one piece has.
    text.push_str("  - name: big\n    vip: \"192.0.2.12:80\"\n    reals:\n");
    for number in 0..2500 {
        let (high, low) = (number / 250, number % 250);
        text.push_str(&format!("      - {{ address: 10.0.{high}.{low} }}\n"));
    }
    std::fs::write(file.path(), text).unwrap();
    let result = lock(&shared).reload(false);
    assert_eq!(
        result.result,
        report::ReloadResult::Applied,
        "{}",
        result.report
    );
    let page = metrics.page();
    // As the control thread does while it puts a configuration in force.
    let held = lock(&shared);
    let pieces: Vec<String> = page.collect::<Result<_, _>>().unwrap();
    drop(held);
    let longest = pieces.iter().map(String::len).max().unwrap();
    assert!(longest < 256 << 10, "{longest}");
    let text = pieces.concat();
    let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    for (family, samples) in [
        ("service_in_bytes_total", 3002),
        ("real_weight", 5501),
        ("real_sessions", 11_002),
        ("real_out_bytes_total", 5501),
    ] {
        assert_eq!(count(&format!("plimsoll_{family}{{")), samples, "{family}");
        assert_eq!(count(&format!("# TYPE plimsoll_{family} ")), 1, "{family}");
        assert_eq!(count(&format!("# HELP plimsoll_{family} ")), 1, "{family}");
    }
    let mut lines: Vec<&str> = text.lines().collect();
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "no sample comes twice");
}
