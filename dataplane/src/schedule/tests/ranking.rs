//! The kept ranking against the search through the list, in a snapshot with its counters.

use super::super::ranking::{SEARCHED, STALE_MS};
use super::*;
use crate::flow::Protocol;
use crate::snapshot::Snapshot;
use crate::snapshot::build::Builder;
use crate::snapshot::model::VirtualService;
use crate::spec::Spec;
use crate::spec::forward::ForwardMethod;
use crate::spec::limits::ServiceLimits;
use crate::spec::policy::{OnDrain, Policy};
use crate::spec::service::{RealSpec, ServiceSpec};
use crate::spec::target::Target;
use crate::spec::timeouts::OwnTimeouts;

const KINDS: [(SchedulerKind, Measure); 4] = [
    (Lc, Measure::Lc),
    (Wlc, Measure::Wlc),
    (Sed, Measure::Sed),
    (Nq, Measure::Nq),
];

/// What happens to a service; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Event {
    Begin { active: bool },
    End(usize),
    Turn(usize),
    Wait(u64),
    Weight(usize, u32),
    Limit(usize, u32),
    Add(u8, usize),
    Remove(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => any::<bool>().prop_map(|active| Event::Begin { active }),
        6 => any::<usize>().prop_map(Event::End),
        6 => any::<usize>().prop_map(Event::Turn),
        2 => (0..20_000_u64).prop_map(Event::Wait),
        1 => (any::<usize>(), prop_oneof![0..4_u32, Just(i32::MAX.unsigned_abs())])
            .prop_map(|(real, weight)| Event::Weight(real, weight)),
        1 => (any::<usize>(), 0..4_u32).prop_map(|(real, upper)| Event::Limit(real, upper)),
        1 => (any::<u8>(), any::<usize>()).prop_map(|(real, place)| Event::Add(real, place)),
        1 => any::<usize>().prop_map(Event::Remove),
    ];
    prop::collection::vec(event, 1..300)
}

/// A service, its real servers' counters, and the sessions of `workers` workers.
struct World {
    builder: Builder,
    spec: Spec,
    measure: Measure,
    workers: Vec<(Destinations, Random)>,
    /// Worker, real server, and whether it is active.
    sessions: Vec<(usize, RealId, bool)>,
    now: Time,
}

fn real(last: u8) -> RealSpec {
    RealSpec {
        weight: 1 + u32::from(last % 3),
        ..RealSpec::new([10, 0, 0, last].into(), 80, ForwardMethod::Direct)
    }
}

impl World {
    fn new((kind, measure): (SchedulerKind, Measure), reals: u8, workers: usize) -> Self {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        let service = ServiceSpec {
            name: "test".into(),
            target: Target::vip(Protocol::Tcp, [192, 0, 2, 1].into(), 80),
            scheduler: kind,
            slow_start_ms: 30_000,
            mss_clamp: None,
            persistence: None,
            one_packet: false,
            limits: ServiceLimits::default(),
            policy: Policy::default(),
            on_drain: OnDrain::default(),
            timeouts: OwnTimeouts::NONE,
            reals: (0..reals).map(real).collect(),
        };
        let moving = |_| (Destinations::new(hasher.clone()), Random::new(1));
        let mut world = Self {
            builder: Builder::new(workers, &hasher),
            spec: Spec {
                services: vec![service],
                ..Spec::default()
            },
            measure,
            workers: (0..workers).map(moving).collect(),
            sessions: Vec::new(),
            now: Time::from_ms(5),
        };
        world.reload();
        world
    }

    fn reload(&mut self) {
        self.spec.now = self.now;
        self.builder.build(&self.spec, true);
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.builder.current())
    }

    fn service(snapshot: &Snapshot) -> &VirtualService {
        snapshot.configured_services().next().unwrap()
    }

    /// Whom the search through the list finds.
    fn searched(&self) -> Option<RealId> {
        let snapshot = self.snapshot();
        let service = Self::service(&snapshot);
        let shares = service.scheduling.ramp.at(self.now);
        let least = self
            .measure
            .least(&*service.scheduling.candidates, &*snapshot, shares);
        least.map(|one| one.real)
    }

    fn chosen(&mut self, worker: usize) -> Option<RealId> {
        let snapshot = self.snapshot();
        let service = Self::service(&snapshot);
        let start = Start {
            worker,
            workers: self.workers.len(),
        };
        let (destinations, random) = &mut self.workers[worker];
        let moving = Moving {
            cursor: snapshot.workers[worker].cursors.get(service.id.0).unwrap(),
            destinations,
            random,
        };
        let flow = Flow {
            client: [198, 51, 100, 1].into(),
            client_port: 1,
            virtual_address: [192, 0, 2, 1].into(),
        };
        choose(
            &service.scheduling,
            moving,
            start,
            flow,
            &*snapshot,
            self.now,
        )
    }

    fn begin(&mut self, worker: usize, real: RealId, active: bool) {
        let snapshot = self.snapshot();
        let counters = snapshot.workers[worker].reals.get(real.0).unwrap();
        counters.enter(active);
        snapshot.refresh_load(worker, real);
        self.sessions.push((worker, real, active));
    }

    fn end(&mut self, which: usize) {
        if self.sessions.is_empty() {
            return;
        }
        let (worker, real, active) = self.sessions.swap_remove(which % self.sessions.len());
        let snapshot = self.snapshot();
        let counters = snapshot.workers[worker].reals.get(real.0).unwrap();
        counters.leave(active);
        snapshot.refresh_load(worker, real);
    }

    fn turn(&mut self, which: usize) {
        let count = self.sessions.len().max(1);
        if let Some((worker, real, active)) = self.sessions.get_mut(which % count) {
            let snapshot = Arc::clone(self.builder.current());
            let counters = snapshot.workers[*worker].reals.get(real.0).unwrap();
            assert!(counters.shift(*active, !*active));
            snapshot.refresh_load(*worker, *real);
            *active = !*active;
        }
    }

    /// Everything but the beginning of a session.
    fn happen(&mut self, event: Event) {
        let reals = &mut self.spec.services[0].reals;
        let count = reals.len().max(1);
        match event {
            Event::Begin { .. } => {}
            Event::End(which) => self.end(which),
            Event::Turn(which) => self.turn(which),
            Event::Wait(ms) => self.now = self.now.plus_ms(ms),
            Event::Weight(which, weight) => {
                if let Some(real) = reals.get_mut(which % count) {
                    real.weight = weight;
                }
                self.reload();
            }
            Event::Limit(which, upper) => {
                if let Some(real) = reals.get_mut(which % count) {
                    real.limits = Limits { upper, lower: 0 };
                }
                self.reload();
            }
            Event::Add(last, place) => {
                if reals.iter().all(|one| one.address != real(last).address) {
                    reals.insert(place % (reals.len() + 1), real(last));
                }
                self.reload();
            }
            Event::Remove(which) => {
                if !reals.is_empty() {
                    reals.remove(which % count);
                }
                self.reload();
            }
        }
    }
}

#[test]
fn a_long_list_has_a_ranking_and_a_short_one_is_searched() {
    for (count, expected) in [(SEARCHED, false), (SEARCHED + 1, true)] {
        let list: Vec<(u32, u32)> = (0..).map(|real| (real, 1)).take(count).collect();
        for (kind, _) in KINDS {
            let scheduler = Bench::new(kind, &list).service.scheduler;
            assert_eq!(scheduler.keeps_ranking(), expected);
        }
    }
}

#[test]
fn another_workers_sessions_are_known_in_time() {
    for kind in KINDS {
        let mut world = World::new(kind, 40, 2);
        for real in &mut world.spec.services[0].reals {
            real.weight = 1;
        }
        world.reload();
        assert_eq!(world.chosen(0), Some(RealId(0)));
        // All but the last one get a session on the other worker.
        for real in 0..39 {
            world.begin(1, RealId(real), true);
        }
        for _ in 0..STALE_MS {
            world.now = world.now.plus_ms(1);
            assert!(world.chosen(0).is_some());
        }
        assert_eq!(world.chosen(0), Some(RealId(39)));
        assert_eq!(world.chosen(0), world.searched());
    }
}

#[test]
fn nobody_is_refused_while_somebody_takes_sessions_on_any_worker() {
    for kind in KINDS {
        let mut world = World::new(kind, 40, 2);
        for real in &mut world.spec.services[0].reals {
            real.limits = Limits { upper: 1, lower: 1 };
        }
        world.reload();
        for _ in 0..40 {
            let real = world.chosen(0).unwrap();
            world.begin(1, real, true);
        }
        assert_eq!(world.chosen(0), None);
        world.end(17);
        // At the same moment.
        assert!(world.chosen(0).is_some());
    }
}

#[test]
fn a_removed_real_servers_sessions_are_nobodys() {
    let mut world = World::new(KINDS[1], 20, 1);
    let real = world.chosen(0).unwrap();
    world.begin(0, real, true);
    world.happen(Event::Remove(real.0 as usize));
    assert_eq!(world.chosen(0), world.searched());
    world.turn(0);
    world.end(0);
    assert_eq!(world.chosen(0), world.searched());
}

proptest! {
    #[test]
    fn one_worker_chooses_whom_the_search_finds(events in events(), reals in 0..40_u8) {
        for kind in KINDS {
            let mut world = World::new(kind, reals, 1);
            for event in &events {
                let chosen = world.chosen(0);
                prop_assert_eq!(chosen, world.searched(), "{} before {:?}", kind.0, event);
                match (event, chosen) {
                    (Event::Begin { active }, Some(real)) => world.begin(0, real, *active),
                    (other, _) => world.happen(other.clone()),
                }
            }
        }
    }

    #[test]
    fn sessions_between_two_choices_are_all_in_the_next(events in events(), every in 2..20_usize) {
        for kind in KINDS {
            let mut world = World::new(kind, 30, 1);
            for (turn, event) in events.iter().enumerate() {
                match event {
                    Event::Begin { active } => {
                        let candidates = World::service(&world.snapshot()).scheduling.candidates.clone();
                        if let Some(one) = candidates.get(turn % candidates.len().max(1)) {
                            world.begin(0, one.real, *active);
                        }
                    }
                    other => world.happen(other.clone()),
                }
                if turn % every == 0 {
                    prop_assert_eq!(world.chosen(0), world.searched(), "{} after {:?}", kind.0, event);
                }
            }
        }
    }

    #[test]
    fn several_workers_choose_only_who_takes_sessions_and_agree_after_a_while(events in events()) {
        for kind in KINDS {
            let mut world = World::new(kind, 30, 3);
            for (turn, event) in events.iter().enumerate() {
                let worker = turn % 3;
                let chosen = world.chosen(worker);
                let snapshot = world.snapshot();
                let candidates = &World::service(&snapshot).scheduling.candidates;
                let takes = |one: &Candidate| takes_sessions(one, &*snapshot);
                prop_assert_eq!(chosen.is_some(), candidates.iter().any(takes));
                let one = candidates.iter().find(|one| Some(one.real) == chosen);
                prop_assert!(one.is_none_or(takes));
                match (event, chosen) {
                    (Event::Begin { active }, Some(real)) => world.begin(worker, real, *active),
                    (other, _) => world.happen(other.clone()),
                }
            }
            world.now = world.now.plus_ms(STALE_MS);
            let searched = world.searched();
            for worker in 0..3 {
                prop_assert_eq!(world.chosen(worker), searched);
            }
        }
    }
}
