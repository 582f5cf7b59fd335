//! What a session costs a scheduler: the choice of a real server, and the news of its beginning and its end.
//!
//! Must not send packets: the rest of a first packet's cost is the same for every scheduler.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use anyhow::Result;
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::schedule::destinations::Destinations;
use plimsoll_dataplane::schedule::random::Random;
use plimsoll_dataplane::schedule::{Flow, Moving, Start, choose};
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::time::Time;

use super::model::{Part, Results, Row};
use super::plan::Plan;
use super::unit::Unit;
use crate::pktgen::Scenario;

/// Sessions that live at a time.
const LIVE: usize = 20_000;
/// Sessions that begin in a millisecond.
const PER_MS: u64 = 500;

/// A service and its sessions, of which no more is known than their real servers.
struct Service {
    snapshot: Arc<Snapshot>,
    destinations: Destinations,
    random: Random,
    live: VecDeque<RealId>,
    begun: u64,
    flow: Flow,
}

impl Service {
    fn new(scheduler: &str, reals: u16) -> Result<Self> {
        let scenario = Scenario {
            scheduler: scheduler.to_owned(),
            reals,
            ..Scenario::default()
        };
        let mut spec = scenario.spec(Scenario::BALANCER_MAC)?;
        for service in &mut spec.services {
            for (real, weight) in service.reals.iter_mut().zip([1, 2, 3].into_iter().cycle()) {
                real.weight = weight;
            }
        }
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let mut service = Self {
            snapshot: Builder::new(1, &hasher).build(&spec, true),
            destinations: Destinations::new(hasher),
            random: Random::new(1),
            live: VecDeque::with_capacity(LIVE + 1),
            begun: 0,
            flow: Flow {
                client: [198, 18, 0, 7].into(),
                client_port: 1000,
                virtual_address: scenario.vip(),
            },
        };
        for _ in 0..LIVE {
            service.begin();
        }
        Ok(service)
    }

    fn choose(&mut self) -> Option<RealId> {
        let snapshot = &*self.snapshot;
        let service = snapshot.configured_services().next()?;
        let moving = Moving {
            cursor: snapshot.workers.first()?.cursors.get(service.id.0)?,
            destinations: &mut self.destinations,
            random: &mut self.random,
        };
        let start = Start {
            worker: 0,
            workers: 1,
        };
        let now = Time::from_ms(self.begun / PER_MS);
        choose(
            &service.scheduling,
            moving,
            start,
            black_box(self.flow),
            snapshot,
            now,
        )
    }

    fn begin(&mut self) {
        self.begun += 1;
        if let Some(real) = self.choose()
            && let Some(counters) = self
                .snapshot
                .workers
                .first()
                .and_then(|worker| worker.reals.get(real.0))
        {
            counters.enter(true);
            self.snapshot.refresh_load(0, real);
            self.live.push_back(real);
        }
    }

    fn end(&mut self) {
        // Sessions are not all of one length.
        let which = usize::try_from(self.begun * 7919).unwrap_or(0) % (LIVE / 2);
        if let Some(real) = self.live.swap_remove_back(which)
            && let Some(counters) = self
                .snapshot
                .workers
                .first()
                .and_then(|worker| worker.reals.get(real.0))
        {
            counters.leave(true);
            self.snapshot.refresh_load(0, real);
        }
    }

    /// Nanoseconds per session.
    fn round(&mut self, sessions: u32) -> f64 {
        let begun = Instant::now();
        for _ in 0..sessions {
            self.end();
            self.begin();
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(sessions.max(1))
    }
}

/// Measures the schedulers that compare sessions.
///
/// # Errors
/// When a service cannot be made.
pub fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    let sessions = if plan.quick { 20_000 } else { 200_000 };
    let mut services = Vec::new();
    for scheduler in ["rr", "lc", "wlc"] {
        for reals in [10, 1000] {
            let service = Service::new(scheduler, reals)?;
            services.push((scheduler, reals, service, Vec::new()));
        }
    }
    for _ in 0..plan.rounds {
        for (_, _, service, rounds) in &mut services {
            rounds.push(service.round(sessions));
        }
    }
    for (scheduler, reals, _, rounds) in services {
        results.rows.push(Row {
            rounds,
            ..Row::new(
                Part::Tails,
                &format!("choice/{scheduler}/{reals}"),
                &format!(
                    "a session's choice, beginning and end: {scheduler}, {reals} real servers"
                ),
                Unit::Ns,
            )
        });
    }
    Ok(())
}
