//! Parts (a) and (b): the daemon and testpmd in the same place, one after the other, under the same generator.
//!
//! Must not trust a rate: every frame was checked by the generator, and what is missing must have been counted.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::case::{self, Case};
use super::generator::{self, Measured, Request};
use super::model::{Latency, LeftOut, Part, Results, Row};
use super::plan::Plan;
use super::site::{Site, Wire};
use super::subject::{Kind, Subject, has_program, has_testpmd};
use super::unit::Unit;

/// Rounds of this part at most: most of a run's seconds are its programs' start.
const ROUNDS: usize = 7;
/// How long one run is measured. Many short runs are better than few long ones, since what the host does to two virtual
/// CPUs that exchange cache lines lasts for seconds.
const DURATION: Duration = Duration::from_millis(1500);
const QUICK_DURATION: Duration = Duration::from_secs(1);
/// Frames that may be under way between the two when a run ends: both rings, and a burst on each side.
const UNDER_WAY: u64 = 4096;
/// The shares of the highest rate at which latency is measured.
const SHARES: [f64; 3] = [0.1, 0.5, 0.8];

/// One line of the report, and its rounds.
struct Entry {
    kind: Kind,
    case: Case,
    rounds: Vec<f64>,
    lost: u64,
    sent: u64,
}

impl Entry {
    const fn new(kind: Kind, case: Case) -> Self {
        Self {
            kind,
            case,
            rounds: Vec::new(),
            lost: 0,
            sent: 0,
        }
    }

    fn sessions(&self) -> u32 {
        self.case.sessions().unwrap_or(1)
    }

    fn id(&self) -> String {
        match self.kind {
            Kind::Plimsoll => format!("plimsoll/{}", self.case.slug()),
            Kind::Testpmd => format!("testpmd/{}", self.sessions()),
        }
    }

    fn title(&self) -> String {
        match self.kind {
            Kind::Plimsoll => format!("Plimsoll, {}", self.case.title()),
            Kind::Testpmd => "testpmd macswap".to_owned(),
        }
    }
}

/// Measures everything in one kind of place.
///
/// # Errors
/// When a program does not start or ends by itself.
pub fn run(part: Part, plan: &Plan, results: &mut Results) -> Result<()> {
    let wire = if part == Part::Vhost {
        Wire::Vhost
    } else {
        Wire::Veth
    };
    if let Some(why) = obstacle(wire, plan) {
        results.left_out.push(LeftOut {
            what: part.title().to_owned(),
            why,
        });
        return Ok(());
    }
    let (mut cases, mut left_out) = case::processes(plan.quick);
    if wire == Wire::Veth {
        // The kernel's part is so large that the number of sessions cannot be seen behind it.
        cases.retain(|case| case.sessions().is_some_and(|count| count <= 1000));
        left_out.clear();
    }
    results
        .left_out
        .extend(LeftOut::quick_cases(part, &left_out));
    let mut entries = entries(&cases);
    let site = Site::new(wire, plan)?;
    let bench = Bench { plan, site: &site };
    let rounds = if plan.quick {
        1
    } else {
        plan.rounds.min(ROUNDS)
    };
    for _ in 0..rounds {
        for entry in &mut entries {
            let measured = bench.once(entry, None, &mut results.faults)?;
            entry.rounds.push(measured.rx_pps);
            entry.lost += measured.lost;
            entry.sent += measured.sent;
        }
    }
    if wire == Wire::Vhost {
        bench.latencies(&entries, results)?;
    }
    for entry in entries {
        let permille = entry.lost * 1000 / entry.sent.max(1);
        results.rows.push(Row {
            sessions: Some(entry.sessions().into()),
            note: (permille > 0).then(|| format!("{} % lost", permille as f64 / 10.0)),
            rounds: entry.rounds.clone(),
            ..Row::new(part, &entry.id(), &entry.title(), Unit::PacketsPerSecond)
        });
    }
    Ok(())
}

/// Why this cannot be measured here.
fn obstacle(wire: Wire, plan: &Plan) -> Option<String> {
    for name in ["plimsolld", "plimsoll", "plimsoll-pktgen"] {
        if !has_program(plan, name) {
            return Some(format!("{} has no {name}", plan.programs.display()));
        }
    }
    if !has_testpmd() {
        return Some("dpdk-testpmd is not installed (Debian's package dpdk-dev)".to_owned());
    }
    if wire == Wire::Veth && !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    None
}

/// The cases, and before the first one with as many sessions testpmd with as many flows: what is compared is measured one
/// right after the other.
fn entries(cases: &[Case]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for case in cases {
        let is_first = entries
            .iter()
            .all(|one| one.case.sessions() != case.sessions());
        if is_first {
            entries.push(Entry::new(Kind::Testpmd, *case));
        }
        entries.push(Entry::new(Kind::Plimsoll, *case));
    }
    entries
}

struct Bench<'b> {
    plan: &'b Plan,
    site: &'b Site,
}

impl Bench<'_> {
    /// Starts the subject and the generator, and tells what came back.
    fn once(&self, entry: &Entry, rate: Option<u64>, faults: &mut Vec<String>) -> Result<Measured> {
        let scenario = entry.case.scenario();
        let context = || format!("{}, {}", entry.title(), entry.case.slug());
        let subject =
            Subject::start(entry.kind, self.site, self.plan, &scenario).with_context(context)?;
        let request = Request {
            scenario: &scenario,
            flows: entry.sessions(),
            rate,
            duration: if self.plan.quick {
                QUICK_DURATION
            } else {
                DURATION
            },
            kind: entry.kind,
        };
        let measured = generator::measure(self.plan, self.site, &request).with_context(context)?;
        let drops = subject.drops().with_context(context)?;
        subject.end().with_context(context)?;
        for fault in &measured.faults {
            faults.push(format!("{}: {fault}", context()));
        }
        let counted: u64 = drops.iter().map(|(_, count)| count).sum();
        let vhost = self.site.meeting_point().is_some();
        // On a veth the kernel drops what finds no room in the socket's ring, and counts it where DPDK does not look.
        if vhost && entry.kind == Kind::Plimsoll && measured.lost > counted + UNDER_WAY {
            faults.push(format!(
                "{}: {} frames lost, {counted} of them counted ({drops:?})",
                context(),
                measured.lost
            ));
        }
        Ok(measured)
    }

    /// Latency of both subjects at shares of what each can do.
    fn latencies(&self, entries: &[Entry], results: &mut Results) -> Result<()> {
        let shares: &[f64] = if self.plan.quick { &[0.5] } else { &SHARES };
        for kind in [Kind::Testpmd, Kind::Plimsoll] {
            let Some(entry) = entries.iter().find(|entry| entry.kind == kind) else {
                continue;
            };
            let best = Row {
                rounds: entry.rounds.clone(),
                ..Row::new(Part::Vhost, "", "", Unit::PacketsPerSecond)
            };
            let best = best.median().unwrap_or(0.0);
            for share in shares {
                let rate = whole(best * share);
                let measured = self.once(entry, Some(rate), &mut results.faults)?;
                let percent = whole(share * 100.0);
                let Some(latency) = measured.latency else {
                    bail!("{}: the generator tells no latency", entry.title());
                };
                results.latencies.push(Latency {
                    id: format!("vhost/latency/{}/{percent}", entry.id()),
                    what: format!("{} at {percent} % of its highest rate", entry.title()),
                    rate_pps: rate,
                    ..latency
                });
            }
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and percentages, rounded"
)]
fn whole(figure: f64) -> u64 {
    figure.round() as u64
}
