//! Part (d): the whole pipeline over queues in memory, so that nothing but Plimsoll is timed.
//!
//! Must not build the threads' workers here: a worker stays on the thread that it was made on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::RandomState;
use anyhow::{Context as _, Result};
use plimsoll_dataplane::pipeline::inboxes;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::testing::on_steered_ports;

use super::case::{self, Case};
use super::lane::{Lane, Shared};
use super::model::{LeftOut, Part, Results, Row};
use super::plan::{Plan, pin};
use super::unit::Unit;
use crate::pktgen::Scenario;

/// Batches of one round: long enough to be timed, short enough for many.
const BATCHES: usize = 1024;
const QUICK_BATCHES: usize = 32;
/// What a session needs at most while it is measured, in bytes, with the tables of both families and the
/// checker's own memory; to know beforehand whether a case fits.
const SESSION_BYTES: u64 = 400;

/// What a lane's thread is told.
enum Order {
    WarmUp,
    Round(usize),
}

/// What it answers.
enum Answer {
    Warm,
    Round(Duration, u64),
}

/// One lane's thread. It ends, with its complaints, when no more orders can come.
struct Member {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    thread: JoinHandle<Result<Vec<String>>>,
}

/// A case that is set up.
pub(super) struct Bench {
    case: Case,
    members: Vec<Member>,
    /// Whose end it would be for the readers.
    _publisher: Publisher<Snapshot>,
}

/// What keeps a configuration published for `workers` workers of `case`.
pub(super) fn publish(case: &Case) -> Result<(Builder, Publisher<Snapshot>)> {
    let scenario = case.scenario();
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let mut builder = Builder::new(usize::from(scenario.workers), &hasher);
    // Two workers get their packets as from a NIC that was told how to spread them.
    let spec = on_steered_ports(&scenario.spec(Scenario::BALANCER_MAC)?);
    let publisher = Publisher::new(builder.build(&spec, true));
    Ok((builder, publisher))
}

impl Bench {
    fn new(case: &Case, plan: &Plan) -> Result<Self> {
        let (_, mut publisher) = publish(case)?;
        let boxes = inboxes(case.spread.workers().into());
        let shared = Arc::new(Shared::new(case));
        let cpus = [plan.subject_cpu, plan.other_cpu];
        let lanes = usize::from(case.spread.workers());
        let members = (0_u8..).zip(cpus).take(lanes).map(|(number, cpu)| {
            let (orders, ordered) = channel();
            let (answer, answers) = channel();
            let (case, reader) = (*case, publisher.subscribe());
            let (boxes, shared) = (Arc::clone(&boxes), Arc::clone(&shared));
            let body = move || -> Result<Vec<String>> {
                pin(cpu);
                let mut lane = Lane::new(&case, number, reader, boxes, &shared)?;
                for order in ordered {
                    let done = match order {
                        Order::WarmUp => {
                            lane.warm_up();
                            Answer::Warm
                        }
                        Order::Round(batches) => {
                            let (spent, frames) = lane.round(batches);
                            Answer::Round(spent, frames)
                        }
                    };
                    if answer.send(done).is_err() {
                        break;
                    }
                }
                Ok(lane.complaints())
            };
            let thread = std::thread::Builder::new().spawn(body);
            thread.map(|thread| Member {
                orders,
                answers,
                thread,
            })
        });
        Ok(Self {
            case: *case,
            members: members
                .collect::<std::io::Result<_>>()
                .context("cannot start a thread")?,
            _publisher: publisher,
        })
    }

    /// Lets all lanes do the same and waits for them; returns the longest time and all frames.
    fn order(&self, order: &dyn Fn() -> Order) -> Result<(Duration, u64)> {
        let gone = || format!("{}: a worker's thread has ended", self.case.slug());
        for member in &self.members {
            member.orders.send(order()).ok().with_context(gone)?;
        }
        let mut whole = (Duration::ZERO, 0);
        for member in &self.members {
            if let Answer::Round(spent, frames) = member.answers.recv().with_context(gone)? {
                whole = (whole.0.max(spent), whole.1 + frames);
            }
        }
        Ok(whole)
    }

    /// Nanoseconds per frame of one round.
    fn round(&self, batches: usize) -> Result<f64> {
        let (spent, frames) = self.order(&|| Order::Round(batches))?;
        Ok(spent.as_secs_f64() * 1e9 / frames.max(1) as f64)
    }

    /// What was wrong.
    fn finish(self) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        for Member {
            orders,
            answers,
            thread,
        } in self.members
        {
            drop((orders, answers));
            match thread.join() {
                Ok(found) => complaints.extend(found?),
                Err(_) => complaints.push(format!("{}: a worker panicked", self.case.slug())),
            }
        }
        Ok(complaints)
    }
}

/// Measures all cases.
///
/// # Errors
/// When a case cannot be set up.
pub fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    let (groups, left_out) = case::memory(plan.quick, plan.two_cpus());
    results
        .left_out
        .extend(LeftOut::quick_cases(Part::Memory, &left_out));
    if !plan.two_cpus() {
        results.left_out.push(LeftOut {
            what: "in memory: 2 workers".to_owned(),
            why: "there is one CPU".to_owned(),
        });
    }
    let batches = if plan.quick { QUICK_BATCHES } else { BATCHES };
    for group in groups {
        measure(plan, &group, batches, results)?;
    }
    Ok(())
}

fn measure(plan: &Plan, group: &[Case], batches: usize, results: &mut Results) -> Result<()> {
    let sessions =
        |case: &Case| u64::from(case.scenario().sessions) * u64::from(case.spread.workers());
    let needed = group.iter().map(sessions).sum::<u64>() * SESSION_BYTES;
    let free = available_bytes();
    if free < needed {
        for case in group {
            results.left_out.push(LeftOut {
                what: format!("in memory: {}", case.slug()),
                why: format!("{} MiB are needed and {} free", needed >> 20, free >> 20),
            });
        }
        return Ok(());
    }
    let before = pages();
    let mut benches = Vec::new();
    for case in group {
        let bench = Bench::new(case, plan)?;
        bench.order(&|| Order::WarmUp)?;
        // The first round pays for what only the first one needs.
        bench.round(batches)?;
        benches.push((bench, Vec::new()));
    }
    let note = pages_note(before);
    for _ in 0..plan.rounds {
        for (bench, rounds) in &mut benches {
            rounds.push(bench.round(batches)?);
        }
    }
    for (bench, rounds) in benches {
        let case = bench.case;
        results.rows.push(Row {
            sessions: case.sessions().map(u64::from),
            rounds,
            note: note.clone(),
            ..Row::new(Part::Memory, &case.slug(), &case.title(), Unit::NsPerPacket)
        });
        results.faults.extend(bench.finish()?);
    }
    Ok(())
}

/// What of this process's memory is in huge pages, if they are asked for at all.
#[cfg(feature = "dpdk")]
fn pages() -> Option<plimsoll_dpdk::Coverage> {
    plimsoll_dpdk::Coverage::here().ok()
}

/// That the kernel had too few huge pages for the tables made since, if so: the figures are then those of ordinary
/// pages.
#[cfg(feature = "dpdk")]
fn pages_note(before: Option<plimsoll_dpdk::Coverage>) -> Option<String> {
    let percent = pages()?.since(&before?).percent()?;
    (percent < 95).then(|| format!("{percent} % of the tables in huge pages"))
}

/// Without DPDK's allocator nothing asks for huge pages.
#[cfg(not(feature = "dpdk"))]
const fn pages() -> Option<()> {
    None
}

#[cfg(not(feature = "dpdk"))]
fn pages_note(_: Option<()>) -> Option<String> {
    None
}

/// Memory that the kernel would give, in bytes.
fn available_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(u64::MAX / 1024) * 1024
}
