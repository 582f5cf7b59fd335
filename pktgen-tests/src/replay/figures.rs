//! Sessions and counters at the end against ipvsadm's listings.
//! Compares what is the same in every run: not the column that runs, and no counter that the kernel had not added up.

use std::collections::BTreeMap;

use plimsoll_control::simulate::Report;

use super::recording::Recording;

/// The kernel adds its counters up this often.
const FOLD_S: f64 = 2.0;

/// A service's protocol and address, and a real server's address.
type Key = (String, String, String);

/// The first difference.
pub(super) fn compare(recording: &Recording, report: &Report) -> Option<String> {
    sessions(recording, report)
        .or_else(|| connections(recording, report))
        .or_else(|| templates(recording, report))
        .or_else(|| counters(recording, report))
}

fn sessions(recording: &Recording, report: &Report) -> Option<String> {
    let listing = recording.after.get("ipvsadm -Lnc")?;
    let mut theirs: Vec<String> = listing
        .lines()
        .skip(2)
        .map(|line| {
            let words = line.split_whitespace().enumerate();
            let words = words.filter(|(column, _)| *column != 1);
            words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let mut ours: Vec<String> = report
        .sessions
        .iter()
        .map(|session| {
            format!(
                "{} {} {} {} {}",
                session.protocol.name().to_uppercase(),
                session.state,
                session.client,
                session.virtual_,
                session.real
            )
        })
        .collect();
    theirs.sort();
    ours.sort();
    // Alike ones go in pairs, since there can be several of one text.
    let missing = theirs
        .iter()
        .find(|line| count(&ours, line) < count(&theirs, line));
    let extra = ours
        .iter()
        .find(|line| count(&theirs, line) < count(&ours, line));
    let same_flow = |line: &str| {
        let client = |line: &str| line.split(' ').nth(2).map(str::to_owned);
        ours.iter().find(|other| client(other) == client(line))
    };
    match (missing, extra) {
        (Some(line), _) => Some(match same_flow(line) {
            Some(other) => format!("session: LVS has `{line}`, here it is `{other}`"),
            None => format!("session: LVS has `{line}`, here there is none"),
        }),
        (None, Some(line)) => Some(format!("session: `{line}` is here only")),
        (None, None) => None,
    }
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|other| *other == line).count()
}

fn connections(recording: &Recording, report: &Report) -> Option<String> {
    let theirs = listing(recording.after.get("ipvsadm -Ln")?, 4, 2);
    let ours = report.services.iter().flat_map(|service| {
        let protocol = service.target.protocol().to_uppercase();
        let vip = service.target.address();
        let reals = service.reals.iter().filter(|real| !real.removed);
        reals.map(move |real| {
            let key = (protocol.clone(), vip.clone(), real.address.to_string());
            (key, vec![real.active, real.inactive])
        })
    });
    let ours: BTreeMap<Key, Vec<u64>> = ours.collect();
    let keys = theirs.keys().chain(ours.keys());
    let mut differing = keys.filter(|key| theirs.get(*key) != ours.get(*key));
    differing.next().map(|key| {
        let shown = |map: &BTreeMap<Key, Vec<u64>>| match map.get(key) {
            Some(numbers) => format!("{numbers:?}"),
            None => "no such real server".to_owned(),
        };
        let (theirs, ours) = (shown(&theirs), shown(&ours));
        format!(
            "active and inactive of {}: LVS has {theirs}, here {ours}",
            key.2
        )
    })
}

/// Persistence templates by real server.
fn templates(recording: &Recording, report: &Report) -> Option<String> {
    let theirs = listing(recording.after.get("ipvsadm -Ln --persistent-conn")?, 3, 1);
    let theirs: u64 = theirs.values().flatten().sum();
    let reals = report.services.iter().flat_map(|service| &service.reals);
    // ipvsadm shows none of a removed one.
    let reals = reals.filter(|real| !real.removed);
    let ours: u64 = reals.map(|real| real.persistent).sum();
    (theirs != ours).then(|| format!("templates: LVS has {theirs}, here {ours}"))
}

fn counters(recording: &Recording, report: &Report) -> Option<String> {
    let zeroed = |command: &String| command.contains("ipvsadm -Z");
    if recording
        .steps
        .iter()
        .filter_map(|step| step.cmd.as_ref())
        .any(zeroed)
    {
        return None;
    }
    let theirs = listing(recording.after.get("ipvsadm -Ln --stats --exact")?, 2, 5);
    let last = recording
        .steps
        .iter()
        .rposition(|step| !step.input.is_empty());
    let after = recording.steps.iter().skip(last.map_or(0, |last| last + 1));
    let waited: f64 = after.filter_map(|step| step.sleep).sum();
    for service in &report.services {
        for real in service.reals.iter().filter(|real| !real.removed) {
            let key = (
                service.target.protocol().to_uppercase(),
                service.target.address(),
                real.address.to_string(),
            );
            let Some(theirs) = theirs.get(&key) else {
                continue;
            };
            let counters = real.counters;
            let ours = [
                counters.conns,
                counters.in_packets,
                counters.out_packets,
                counters.in_bytes,
                counters.out_bytes,
            ];
            // Without the wait the kernel's sums are those of some moment before.
            let is_possible = theirs.len() == ours.len()
                && theirs
                    .iter()
                    .zip(ours)
                    .all(|(theirs, ours)| *theirs <= ours);
            if theirs[..] != ours && (waited >= FOLD_S || !is_possible) {
                return Some(format!(
                    "conns, packets in and out, bytes in and out of {}: LVS has {theirs:?}, here {ours:?}",
                    key.2
                ));
            }
        }
    }
    None
}

/// The numbers of every real server in a listing.
fn listing(text: &str, skipped: usize, columns: usize) -> BTreeMap<Key, Vec<u64>> {
    let mut reals = BTreeMap::new();
    let mut service = (String::new(), String::new());
    for line in text.lines().skip(3) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("->") => {
                let address = words.next().unwrap_or_default().to_owned();
                let numbers = words.skip(skipped - 2).take(columns);
                let numbers = numbers.filter_map(|word| word.parse().ok()).collect();
                let (protocol, vip) = service.clone();
                reals.insert((protocol, vip, address), numbers);
            }
            Some(protocol) => {
                let vip = words.next().unwrap_or_default();
                service = (protocol.to_owned(), vip.to_owned());
            }
            None => {}
        }
    }
    reals
}
