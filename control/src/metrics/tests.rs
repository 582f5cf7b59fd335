//! The page as a scraper sees it.

use std::sync::{Arc, Mutex};

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
        stats.ports[0].rx_bytes.add(1_000_000_007);
        stats.busy_ns.add(1_250_000_000);
    }
    let text = metrics.text().unwrap();
    assert!(text.contains("plimsoll_drops_total{reason=\"no_session\"} 3\n"));
    assert!(text.contains("plimsoll_worker_busy_seconds_total{worker=\"0\",cpu=\"0\"} 1.25\n"));
    assert!(
        text.contains("plimsoll_port_rx_bytes_total{port=\"wan\",side=\"network\"} 1000000007\n")
    );
}

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let readme = include_str!("../../../README.md");
    let mut listed: Vec<&str> = readme
        .split('`')
        .filter(|word| word.starts_with("plimsoll_") && !word.contains(' '))
        .collect();
    let (_shared, metrics, _file) = page();
    let text = metrics.text().unwrap();
    let mut there: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    listed.sort_unstable();
    listed.dedup();
    there.sort_unstable();
    assert_eq!(listed, there);
}
