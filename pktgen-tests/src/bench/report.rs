//! What a run found, as tables on a terminal, as JSON and as a plot.
//!
//! Must not know how anything was measured.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

use super::model::{Part, Results, Row};
use super::peers::PEERS;
use super::plot::{self, Series};
use super::text;
use super::unit::Unit;

/// All tables, ready to be printed.
#[must_use]
pub fn tables(run: &Results) -> String {
    let mut out = format!("{}\n", run.machine.summary());
    // Writing to a String cannot fail.
    let _ = write_tables(&mut out, run);
    out
}

fn write_tables(out: &mut String, run: &Results) -> std::fmt::Result {
    for part in Part::ALL {
        let rows: Vec<&Row> = run.rows.iter().filter(|row| row.part == part).collect();
        if !rows.is_empty() {
            writeln!(out, "\n{}\n{}", part.title(), rows_table(&rows))?;
        }
    }
    if !run.stalls.is_empty() {
        writeln!(out, "\nhow long single polls took\n{}", stalls(run))?;
    }
    if !run.latencies.is_empty() {
        writeln!(out, "\nlatency over vhost-user\n{}", latencies(run))?;
    }
    if !run.services.is_empty() {
        writeln!(out, "\nmany services\n{}", services(run))?;
    }
    writeln!(out, "\nthe bar\n{}", bar(run))?;
    for left_out in &run.left_out {
        writeln!(out, "not measured: {}: {}", left_out.what, left_out.why)?;
    }
    if run.quick {
        writeln!(
            out,
            "This was a quick run: it shows that all is right, and little about speed."
        )?;
    }
    for fault in &run.faults {
        writeln!(out, "FAULT: {fault}")?;
    }
    Ok(())
}

fn table(header: &[&str], right_from: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(header);
    for column in table.column_iter_mut().skip(right_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn rows_table(rows: &[&Row]) -> Table {
    let mut table = table(&["what", "sessions", "median", "min", "max", "rate"], 1);
    for row in rows {
        let show = |figure: Option<f64>| {
            figure.map_or_else(|| "-".to_owned(), |one| text::figure(one, row.unit))
        };
        let rate = match (row.unit, row.median()) {
            (Unit::NsPerPacket, Some(ns)) => text::figure(1e9 / ns, Unit::PacketsPerSecond),
            (Unit::PacketsPerSecond, Some(pps)) => text::figure(1e9 / pps, Unit::Ns),
            _ => String::new(),
        };
        let what = match &row.note {
            Some(note) => format!("{} ({note})", row.what),
            None => row.what.clone(),
        };
        table.add_row([
            what,
            row.sessions.map(text::count).unwrap_or_default(),
            show(row.median()),
            show(row.min()),
            show(row.max()),
            rate,
        ]);
    }
    table
}

fn stalls(run: &Results) -> Table {
    let mut table = table(
        &[
            "what",
            "polls",
            "p50",
            "p99",
            "p99.9",
            "p99.99",
            "max",
            "repeatable",
            "preempted",
        ],
        1,
    );
    let us = |ns: u64| text::figure(ns as f64 / 1e3, Unit::Us);
    for one in &run.stalls {
        table.add_row([
            one.what.clone(),
            text::count(one.polls),
            us(one.p50),
            us(one.p99),
            us(one.p999),
            us(one.p9999),
            us(one.max),
            one.repeatable_max.map(us).unwrap_or_default(),
            one.preempted.to_string(),
        ]);
    }
    table
}

fn latencies(run: &Results) -> Table {
    let mut table = table(
        &[
            "what", "rate", "p50", "p90", "p99", "p99.9", "p99.99", "max",
        ],
        1,
    );
    let us = |ns: u64| text::figure(ns as f64 / 1e3, Unit::Us);
    for one in &run.latencies {
        table.add_row([
            one.what.clone(),
            text::figure(one.rate_pps as f64, Unit::PacketsPerSecond),
            us(one.p50),
            us(one.p90),
            us(one.p99),
            us(one.p999),
            us(one.p9999),
            us(one.max),
        ]);
    }
    table
}

fn services(run: &Results) -> Table {
    let mut table = table(&["what", "figure"], 1);
    let ms = |ms: f64| text::figure(ms, Unit::Ms);
    for one in &run.services {
        let count = text::count(one.services.into());
        let mut add = |what: &str, figure: String| {
            table.add_row([format!("{count} services: {what}"), figure]);
        };
        add("file read, YAML, checks", ms(one.load_ms));
        add("compiled", ms(one.compile_ms));
        add("first snapshot built", ms(one.build_ms));
        for change in &one.changes {
            add(
                &format!("{}: change to published, median", change.what),
                ms(change.median_ms),
            );
        }
        for reload in &one.reloads {
            add(
                &format!("reload, {}: differences to published", reload.what),
                ms(reload.put_ms),
            );
        }
        add("rates brought up to date", ms(one.rates_ms));
        add(
            "longest poll of a worker meanwhile",
            text::figure(one.changing.longest_poll_us, Unit::Us),
        );
        add(
            "memory of snapshot and builder, per service",
            text::figure(one.snapshot_bytes_per_service, Unit::Bytes),
        );
    }
    table
}

fn bar(run: &Results) -> Table {
    let mut table = table(&["figure", "bar", "measured", "verdict"], 1);
    for one in &run.bar {
        table.add_row([&one.what, &one.bar, &one.figure, &one.verdict]);
    }
    table
}

/// The plot: Plimsoll's pipeline over sessions, and the peers as published.
#[must_use]
pub fn plot(run: &Results) -> String {
    let own = [
        ("Plimsoll DR", "memory/dr-udp-v4/"),
        ("Plimsoll tunnel", "memory/tunnel-udp-v4/"),
        ("Plimsoll NAT, both ways", "memory/nat-udp-v4/"),
    ];
    let own = own.map(|(name, prefix)| {
        let rows = run.rows.iter().filter(|row| {
            row.id
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.parse::<u64>().is_ok())
        });
        let mut points: Vec<(f64, f64)> = rows
            .filter_map(|row| Some((row.sessions? as f64, row.median()?)))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Series {
            name: name.to_owned(),
            points,
            own: true,
        }
    });
    let peers = PEERS.iter().map(|peer| Series {
        name: peer.name.to_owned(),
        points: peer.points.to_vec(),
        own: false,
    });
    let series: Vec<Series> = own
        .into_iter()
        .filter(|one| !one.points.is_empty())
        .chain(peers)
        .collect();
    let machine = format!(
        "Plimsoll {}: medians, UDP, IPv4, 64-byte frames, 100 real servers, pipeline without driver; {}.",
        run.machine.commit, run.machine.cpu
    );
    plot::svg(
        &series,
        "Time per packet over the number of sessions",
        &[
            &machine,
            "Grey: peers as published or measured once on a machine like this, not in this run; docs/PERFORMANCE.md has sources.",
        ],
    )
}

/// Leaves `latest.json` and `performance.svg` in `directory`, which is made if it is not there.
///
/// # Errors
/// When they cannot be written.
pub fn store(run: &Results, directory: &Path) -> Result<()> {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    write("latest.json", serde_json::to_string_pretty(run)? + "\n")?;
    write("performance.svg", plot(run))
}

/// Where the table in the README begins and ends.
const MARKS: (&str, &str) = (
    "<!-- Written by `make bench PUBLISH=1`: -->\n",
    "<!-- /bench -->",
);

/// Puts the plot and the table of the bar into the documents of the source tree `root`.
///
/// # Errors
/// When they cannot be written, or the README has no place for the table.
pub fn publish(run: &Results, root: &Path) -> Result<()> {
    let path = root.join("docs/performance.svg");
    std::fs::write(&path, plot(run)).with_context(|| path.display().to_string())?;
    let path = root.join("README.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = with_table(&text, &markdown(run))
        .with_context(|| format!("{} has no place for the table", path.display()))?;
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

/// `text` with another table between its marks.
fn with_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(MARKS.0)?;
    let (_, after) = rest.split_once(MARKS.1)?;
    Some([before, MARKS.0, "\n", table, "\n", MARKS.1, after].concat())
}

/// The bar as a table in Markdown.
fn markdown(run: &Results) -> String {
    let mut out = "| figure | bar | measured | |\n|---|---|---|---|\n".to_owned();
    for one in &run.bar {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            one.what, one.bar, one.figure, one.verdict
        );
    }
    let machine = &run.machine;
    let _ = writeln!(
        out,
        "\nMeasured {} at commit {} on {} CPUs of {}{}, one of them for what is measured.",
        machine.date.split('T').next().unwrap_or_default(),
        machine.commit,
        machine.cpus,
        machine.cpu,
        if machine.hypervisor.is_some() {
            " in a virtual machine"
        } else {
            ""
        }
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bar;
    use crate::bench::machine::Machine;
    use crate::bench::model::LeftOut;

    fn run() -> Results {
        let mut run = Results::new(true, Machine::here());
        for (sessions, ns) in [(1_000_000, 45.0), (1000, 25.0)] {
            run.rows.push(Row {
                sessions: Some(sessions),
                rounds: vec![ns, ns + 2.0, ns - 1.0],
                ..Row::new(
                    Part::Memory,
                    &format!("dr-udp-v4/{sessions}"),
                    "DR, UDP, IPv4",
                    Unit::NsPerPacket,
                )
            });
        }
        run.left_out.push(LeftOut::quick("10 M sessions"));
        run.bar = bar::judge(&run);
        run
    }

    #[test]
    fn tables_have_figures_rates_verdicts_and_what_is_missing() {
        let text = tables(&run());
        for part in [
            "DR, UDP, IPv4",
            "25.0 ns",
            "40.0 Mpps",
            "pass",
            "not measured: 10 M sessions: left out of a quick run",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_run_leaves_json_and_a_plot() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a/b");
        store(&run(), &place).unwrap();
        let json = std::fs::read_to_string(place.join("latest.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["rows"][0]["rounds"]["median"], 45.0);
        let plot = std::fs::read_to_string(place.join("performance.svg")).unwrap();
        assert!(plot.contains("Plimsoll DR") && plot.contains("Katran"));
        assert!(!plot.contains("Plimsoll tunnel"));
    }

    #[test]
    fn publishing_replaces_the_table_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("docs")).unwrap();
        let readme = root.join("README.md");
        std::fs::write(&readme, "# P\n").unwrap();
        assert!(publish(&run(), root).is_err());
        let (begin, end) = MARKS;
        std::fs::write(&readme, format!("# P\n{begin}old\n{end}\nmore\n")).unwrap();
        for _ in 0..2 {
            publish(&run(), root).unwrap();
        }
        let text = std::fs::read_to_string(&readme).unwrap();
        assert!(text.starts_with("# P\n") && text.ends_with(&format!("{end}\nmore\n")));
        assert!(!text.contains("old"));
        let row = "| pipeline alone, DR, 1 k sessions | <= 30.0 ns | 25.0 ns | pass |";
        assert_eq!(text.matches(row).count(), 1, "{text}");
    }
}
