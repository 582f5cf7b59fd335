//! The longest that a worker stops: under churn in a full table, and while a large configuration is exchanged.
//!
//! Must not report a long poll as the program's own without a measure of what the machine does to any loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use anyhow::{Context as _, Result};
use plimsoll_dataplane::flow::{Address, V4, V6};
use plimsoll_dataplane::io::BURST;
use plimsoll_dataplane::memory::Memory;
use plimsoll_dataplane::pipeline::inboxes;
use plimsoll_dataplane::session::SessionTable;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::{Publisher, Reader};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::spec::target::Target;

use super::case::{Case, FULL_TABLE};
use super::lane::{Lane, RING, Shared};
use super::model::{LeftOut, Part, Results, Row};
use super::plan::{Plan, pin};
use super::stalls::Recorder;
use super::unit::Unit;
use super::{choice, text};
use crate::pktgen::Scenario;

/// As many sessions as would fill the table to this if there were room: it stays full, and half-open sessions give way.
const OVERFULL: f64 = 1.1;
/// Batches between two reloads.
const RELOAD_EVERY: usize = 1000;
/// Changes of the large configuration that are exchanged under traffic.
const SWAPS: u32 = 5;

/// Measures everything of this part.
///
/// # Errors
/// When something cannot be set up.
pub fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    session_bytes::<V4>("v4", "IPv4", results);
    session_bytes::<V6>("v6", "IPv6", results);
    choice::run(plan, results)?;
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| -> Result<()> {
            pin(plan.subject_cpu);
            jitter(plan, results)?;
            churn(plan, results)
        });
        measured.join().ok().context("a measurement panicked")?
    })?;
    swaps(plan, results)
}

/// What a session needs in a table made for many, with all that is beside the sessions.
fn session_bytes<A: Address>(slug: &str, title: &str, results: &mut Results) {
    let table = SessionTable::<A>::new(FULL_TABLE, [1, 2, 3, 4], Memory::HEAP);
    results.rows.push(Row {
        rounds: vec![table.bytes() as f64 / table.capacity() as f64],
        sessions: Some(FULL_TABLE.into()),
        ..Row::new(
            Part::Tails,
            &format!("session-bytes/{slug}"),
            &format!("memory per session, {title}, in all"),
            Unit::Bytes,
        )
    });
}

/// An empty loop: whatever it sees, the machine has done.
fn jitter(plan: &Plan, results: &mut Results) -> Result<()> {
    let whole = Duration::from_millis(if plan.quick { 300 } else { 3000 });
    let mut recorder = Recorder::new(0)?;
    recorder.begin();
    let begun = Instant::now();
    let mut before = begun;
    while before.duration_since(begun) < whole {
        let now = Instant::now();
        recorder.note(now.duration_since(before));
        before = now;
    }
    recorder.end();
    let what = "nothing: an empty loop, so the machine's own doing";
    results.stalls.push(recorder.finish("jitter", what));
    Ok(())
}

/// The same polls again and again, in a table that is always full.
fn churn(plan: &Plan, results: &mut Results) -> Result<()> {
    let (batches, repetitions) = if plan.quick { (2000, 2) } else { (16_000, 5) };
    let case = Case::CHURN;
    let polls_in_batch = RING / BURST;
    let mut recorder = Recorder::new(batches * polls_in_batch)?;
    for repetition in 0..repetitions {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let spec = case.scenario().spec(Scenario::BALANCER_MAC)?;
        let mut builder = Builder::new(1, &hasher);
        let mut publisher = Publisher::new(builder.build(&spec, true));
        let shared = Shared::new(&case);
        let mut lane = Lane::new(&case, 0, publisher.subscribe(), inboxes(1), &shared)?;
        lane.keep_at(OVERFULL);
        lane.warm_up();
        recorder.begin();
        for batch in 0..batches {
            if batch % RELOAD_EVERY == 0 {
                let weight = u32::from((batch / RELOAD_EVERY).is_multiple_of(2)) + 1;
                publisher
                    .publish(builder.build(&weighted(&spec, weight), publisher.is_quiescent()));
            }
            let requests = lane.fill();
            let step_ms = lane.step_ms(requests);
            for _ in 0..polls_in_batch {
                let before = Instant::now();
                lane.poll(step_ms);
                recorder.note(before.elapsed());
            }
            lane.drain();
        }
        recorder.end();
        if repetition == 0 {
            results.faults.extend(lane.complaints());
        }
    }
    let table = text::count(FULL_TABLE.into());
    results.stalls.push(recorder.finish(
        "churn",
        &format!("a burst of 32 SYNs of new sessions, full table of {table}, expiry, reloads"),
    ));
    Ok(())
}

/// The same configuration with another weight for the first real server of each service.
fn weighted(spec: &Spec, weight: u32) -> Spec {
    let mut spec = spec.clone();
    for service in &mut spec.services {
        if let Some(real) = service.reals.first_mut() {
            real.weight = weight;
        }
    }
    spec
}

/// Traffic goes on while another thread builds and publishes a configuration of many services.
fn swaps(plan: &Plan, results: &mut Results) -> Result<()> {
    let count: u32 = if plan.quick { 20_000 } else { 1_000_000 };
    if !plan.two_cpus() {
        results.left_out.push(LeftOut {
            what: "stalls while a large configuration is exchanged".to_owned(),
            why: "there is one CPU".to_owned(),
        });
        return Ok(());
    }
    let case = Case::STEADY;
    let mut spec = case.scenario().spec(Scenario::BALANCER_MAC)?;
    multiply(&mut spec, count);
    let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
    let mut publisher = Publisher::new(builder.build(&spec, true));
    let reader = publisher.subscribe();
    let stop = AtomicBool::new(false);
    let (recorder, complaints) = std::thread::scope(|scope| -> Result<_> {
        let worker = scope.spawn(|| watch(plan, &case, reader, &stop));
        // Sessions are entered while nothing changes.
        std::thread::sleep(Duration::from_millis(500));
        for swap in 0..SWAPS {
            let weight = swap % 2 + 2;
            if let Some(service) = spec.services.last_mut()
                && let Some(real) = service.reals.first_mut()
            {
                real.weight = weight;
            }
            publisher.publish(builder.build(&spec, publisher.is_quiescent()));
            std::thread::sleep(Duration::from_millis(100));
            publisher.collect();
        }
        stop.store(true, Ordering::Relaxed);
        worker.join().ok().context("a worker panicked")?
    })?;
    results.faults.extend(complaints);
    let services = text::count(count.into());
    results.stalls.push(recorder.finish(
        "swap",
        &format!("a burst of 32 packets, while {services} services are exchanged {SWAPS} times"),
    ));
    Ok(())
}

/// Adds services like the first one until there are `count`.
fn multiply(spec: &mut Spec, count: u32) {
    let Some(first) = spec.services.first().cloned() else {
        return;
    };
    let more = (1..count).map(|number| ServiceSpec {
        name: format!("other-{number}").into(),
        // 100.64.0.0/10 and on: nobody's here.
        target: Target::vip(
            plimsoll_dataplane::flow::Protocol::Udp,
            std::net::Ipv4Addr::from_bits(0x6440_0000 + number).into(),
            Scenario::VIP_PORT,
        ),
        reals: first.reals.iter().take(2).cloned().collect(),
        ..first.clone()
    });
    spec.services.extend(more);
}

/// Polls until told to stop; gives how long each poll took.
fn watch(
    plan: &Plan,
    case: &Case,
    reader: Reader<Snapshot>,
    stop: &AtomicBool,
) -> Result<(Recorder, Vec<String>)> {
    pin(plan.subject_cpu);
    let shared = Arc::new(Shared::new(case));
    let mut lane = Lane::new(case, 0, reader, inboxes(1), &shared)?;
    lane.warm_up();
    let mut recorder = Recorder::new(0)?;
    recorder.begin();
    while !stop.load(Ordering::Relaxed) {
        lane.fill();
        for _ in 0..RING / BURST {
            let before = Instant::now();
            lane.poll(0.0);
            recorder.note(before.elapsed());
        }
        lane.drain();
    }
    recorder.end();
    Ok((recorder, lane.complaints()))
}
