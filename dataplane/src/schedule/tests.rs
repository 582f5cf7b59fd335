//! The schedulers against recorded sequences, and against a second reading of the same rules.

mod beyond;
mod changes;
mod hashing;
mod locality;
mod ranking;
mod slow_start;
mod weighted;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use proptest::prelude::*;

use super::ramp::Ramp;
use super::*;
use crate::listed::Listed as _;
use crate::schedule::candidate::takes_sessions;
use crate::spec::limits::Limits;
use crate::spec::scheduler::{HashFlags, Maglev, PLACES};

const ALONE: Start = Start {
    worker: 0,
    workers: 1,
};

/// A service with a cursor, whose list changes as the control thread would change it.
struct Bench {
    service: Scheduling,
    cursor: Cursor,
    destinations: RefCell<Destinations>,
    random: RefCell<Random>,
    slow_start_ms: u32,
    start: Start,
    loads: Sessions,
    flow: Flow,
    now: Time,
    last_weights: BTreeMap<u32, u32>,
}

/// The sessions of each real server.
#[derive(Default)]
struct Sessions {
    loads: BTreeMap<RealId, Load>,
}

impl Sessions {
    fn insert(&mut self, real: RealId, load: Load) {
        self.loads.insert(real, load);
    }

    fn extend(&mut self, loads: impl IntoIterator<Item = (RealId, Load)>) {
        self.loads.extend(loads);
    }
}

impl Loads for Sessions {
    fn load(&self, real: RealId) -> Load {
        self.loads.get(&real).copied().unwrap_or_default()
    }

    fn is_overloaded(&self, candidate: &Candidate) -> bool {
        let load = self.load(candidate.real);
        candidate.limits.is_overloaded(false, load)
    }
}

/// Real servers by number with their weights, without limits.
fn unlimited(reals: &[(u32, u32)]) -> Vec<Candidate> {
    let candidate = |&(real, weight): &(u32, u32)| Candidate {
        real: RealId(real),
        weight,
        limits: Limits::default(),
        since: None,
        is_available: true,
    };
    reals.iter().map(candidate).collect()
}

impl Bench {
    fn new(kind: SchedulerKind, reals: &[(u32, u32)]) -> Self {
        Self::on(ALONE, kind, reals)
    }

    fn on(start: Start, kind: SchedulerKind, reals: &[(u32, u32)]) -> Self {
        let service = Scheduling {
            service: ServiceId(0),
            scheduler: Scheduler::new(kind, &[], 0),
            candidates: Arc::from([]),
            ramp: Ramp::default(),
            removed: Arc::from([]),
            revision: 0,
            first_revision: 1,
            scheduled: 1,
        };
        let mut bench = Self {
            service,
            cursor: Cursor::default(),
            destinations: RefCell::new(Destinations::new(RandomState::with_seeds(1, 2, 3, 4))),
            random: RefCell::new(Random::new(7)),
            slow_start_ms: 0,
            start,
            loads: Sessions::default(),
            flow: Flow {
                client: [198, 51, 100, 7].into(),
                client_port: 1000,
                virtual_address: [10, 0, 0, 100].into(),
            },
            now: Time::default(),
            last_weights: BTreeMap::default(),
        };
        bench.change(kind, reals);
        bench
    }

    /// Another list, of real servers by number with their weights.
    fn change(&mut self, kind: SchedulerKind, reals: &[(u32, u32)]) {
        self.replace(kind, unlimited(reals));
    }

    /// Another list. Real server 11 is 10.1.0.11:80.
    fn replace(&mut self, kind: SchedulerKind, candidates: Vec<Candidate>) {
        let servers: Vec<Server> = candidates
            .iter()
            .map(|candidate| {
                let last_weight = self.last_weights.entry(candidate.real.0).or_default();
                if candidate.weight > 0 {
                    *last_weight = candidate.weight;
                }
                Server {
                    candidate: *candidate,
                    address: IpAddr::V4((0x0a01_0000 + candidate.real.0).into()),
                    port: 80,
                    last_weight: *last_weight,
                }
            })
            .collect();
        let mut stand_in = None;
        let mut removed = Vec::new();
        for old in self.service.candidates.iter() {
            if candidates.iter().any(|new| new.real == old.real) {
                stand_in = Some(old.real);
            } else {
                removed.push(Removal {
                    real: old.real,
                    stand_in,
                    revision: self.service.revision + 1,
                });
            }
        }
        if self.service.scheduler.kind() != kind {
            self.service.scheduled = self.service.revision + 1;
        }
        self.service.scheduler = Scheduler::new(kind, &servers, self.start.workers);
        self.service.ramp = Ramp::new(self.slow_start_ms, &candidates);
        self.service.candidates = candidates.into();
        // What was removed earlier still counts for a pointer that has not seen it.
        let earlier = self.service.removed.iter();
        let earlier: Vec<Removal> = earlier
            .filter(|one| removed.iter().all(|now| now.real != one.real))
            .copied()
            .collect();
        self.service.removed = [removed, earlier].concat().into();
        self.service.revision += 1;
    }

    fn next(&self) -> Option<u32> {
        let mut destinations = self.destinations.borrow_mut();
        let moving = Moving {
            cursor: &self.cursor,
            destinations: &mut destinations,
            random: &mut self.random.borrow_mut(),
        };
        let (service, loads) = (&self.service, &self.loads);
        choose(service, moving, self.start, self.flow, loads, self.now).map(|real| real.0)
    }

    /// These have too many sessions, and the others have none.
    fn overload(&mut self, reals: &[u32]) {
        let load = Load {
            active: 1,
            inactive: 0,
        };
        self.loads = Sessions::default();
        self.loads
            .extend(reals.iter().map(|real| (RealId(*real), load)));
        let mut candidates = self.service.candidates.to_vec();
        for candidate in &mut candidates {
            candidate.limits.upper = 1;
        }
        self.service.candidates = candidates.into();
    }

    fn take(&self, count: usize) -> Vec<u32> {
        (0..count).filter_map(|_| self.next()).collect()
    }
}

use SchedulerKind::{Dh, Fo, Lblc, Lblcr, Lc, Mh, Nq, Ovf, P2c, Rr, Sed, Sh, Swrr, Wlc, Wrr};

const PLAIN: HashFlags = HashFlags {
    fallback: false,
    port: false,
};
const FALLBACK: HashFlags = HashFlags {
    fallback: true,
    ..PLAIN
};
const PORT: HashFlags = HashFlags {
    port: true,
    ..PLAIN
};

/// Maglev hashing as Linux does it.
const fn mh(flags: HashFlags) -> SchedulerKind {
    let linux = Maglev {
        places: PLACES,
        key: None,
    };
    Mh(flags, linux)
}

/// Every scheduler; those by hash find somebody as long as somebody takes sessions.
fn all() -> impl Iterator<Item = SchedulerKind> {
    SchedulerKind::LIST.iter().map(|kind| match kind {
        Sh(_) => Sh(FALLBACK),
        Mh(..) => mh(FALLBACK),
        kind => *kind,
    })
}

#[test]
fn round_robin_takes_turns_and_ignores_weights() {
    let bench = Bench::new(Rr, &[(13, 5), (12, 1), (11, 100)]);
    assert_eq!(bench.take(7), [13, 12, 11, 13, 12, 11, 13]);
}

#[test]
fn round_robin_passes_over_weight_zero_and_may_find_nobody() {
    let bench = Bench::new(Rr, &[(1, 0), (2, 1), (3, 0), (4, 1)]);
    assert_eq!(bench.take(4), [2, 4, 2, 4]);
    assert_eq!(Bench::new(Rr, &[(1, 0), (2, 0)]).next(), None);
    assert_eq!(Bench::new(Rr, &[]).next(), None);
    assert_eq!(Bench::new(Rr, &[(7, 1)]).take(3), [7, 7, 7]);
}

#[test]
fn round_robin_keeps_its_place_when_the_list_changes() {
    let mut bench = Bench::new(Rr, &[(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(bench.take(2), [1, 2]);
    // A new one at the head, as `ipvsadm -a` puts it.
    bench.change(Rr, &[(5, 1), (1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(bench.take(1), [3]);
    // Another one goes: the place stays.
    bench.change(Rr, &[(5, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(bench.take(2), [4, 5]);
    // An edited weight changes nothing.
    bench.change(Rr, &[(5, 9), (2, 9), (3, 9), (4, 9)]);
    assert_eq!(bench.take(2), [2, 3]);
}

#[test]
fn round_robin_moves_back_when_its_real_server_goes() {
    let mut bench = Bench::new(Rr, &[(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(bench.take(3), [1, 2, 3]);
    bench.change(Rr, &[(1, 1), (2, 1), (4, 1)]);
    assert_eq!(bench.take(2), [4, 1]);
    bench.change(Rr, &[(2, 1), (4, 1)]);
    assert_eq!(bench.take(3), [2, 4, 2], "before the head of the list");
    bench.change(Rr, &[(8, 1), (9, 1)]);
    assert_eq!(bench.take(2), [8, 9]);
}

#[test]
fn each_worker_begins_round_robin_at_its_share_of_the_list() {
    let list = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)];
    for (workers, expected) in [(1, vec![0]), (2, vec![0, 3]), (3, vec![0, 2, 4])] {
        let firsts: Vec<_> = (0..workers)
            .filter_map(|worker| Bench::on(Start { worker, workers }, Rr, &list).next())
            .collect();
        assert_eq!(firsts, expected);
    }
    // More workers than real servers: still nobody begins outside the list.
    for worker in 0..9 {
        let start = Start { worker, workers: 9 };
        assert!(Bench::on(start, Rr, &[(0, 1), (1, 1)]).next().is_some());
        assert_eq!(Bench::on(start, Rr, &[]).next(), None);
    }
}

#[test]
fn weighted_round_robin_gives_the_sequences_recorded_from_ipvs() {
    let bench = Bench::new(Wrr, &[(13, 2), (12, 3), (11, 4)]);
    let recorded = [
        13, 12, 11, 11, 12, 11, 13, 12, 11, 13, 12, 11, 11, 12, 11, 13, 12, 11,
    ];
    assert_eq!(bench.take(18), recorded);
    let bench = Bench::new(Wrr, &[(13, 50), (12, 50), (11, 100)]);
    assert_eq!(bench.take(11), [13, 12, 11, 11, 13, 12, 11, 11, 13, 12, 11]);
    let bench = Bench::new(Wrr, &[(2, 1000), (1, 1)]);
    let sequence = bench.take(2003);
    assert_eq!(sequence[..3], [2, 1, 2]);
    assert!(sequence[2..1001].iter().all(|real| *real == 2));
    assert_eq!(sequence[1001..1004], [2, 1, 2]);
}

#[test]
fn weighted_round_robin_passes_over_weight_zero_and_may_find_nobody() {
    let bench = Bench::new(Wrr, &[(1, 0), (2, 2), (3, 1)]);
    assert_eq!(bench.take(6), [2, 3, 2, 2, 3, 2]);
    assert_eq!(Bench::new(Wrr, &[(1, 0)]).next(), None);
    assert_eq!(Bench::new(Wrr, &[]).next(), None);
}

#[test]
fn weighted_round_robin_begins_anew_at_the_head_when_the_list_changes() {
    let mut bench = Bench::new(Wrr, &[(13, 2), (12, 3), (11, 4)]);
    // Into the pass with threshold 4, then 3.
    assert_eq!(bench.take(5), [13, 12, 11, 11, 12]);
    bench.change(Wrr, &[(13, 2), (12, 3), (11, 4), (10, 1)]);
    // Threshold 3 from the head, then 2, then 1, then 4.
    assert_eq!(bench.take(10), [12, 11, 13, 12, 11, 13, 12, 11, 10, 11]);
    // The greatest weight is now 2: a threshold above it is cut.
    bench.change(Wrr, &[(13, 2), (12, 1)]);
    assert_eq!(bench.take(4), [13, 13, 12, 13]);
    // From nobody to somebody: from the top.
    bench.change(Wrr, &[(13, 0), (12, 0)]);
    assert_eq!(bench.next(), None);
    bench.change(Wrr, &[(13, 3), (12, 1)]);
    assert_eq!(bench.take(4), [13, 13, 13, 12]);
}

#[test]
fn least_connection_takes_the_first_of_the_least() {
    let mut bench = Bench::new(Lc, &[(1, 1), (2, 9), (3, 1), (4, 0)]);
    let load = |active, inactive| Load { active, inactive };
    assert_eq!(bench.next(), Some(1), "a tie goes to the first");
    bench.loads.insert(RealId(1), load(1, 0));
    assert_eq!(bench.next(), Some(2));
    bench.loads.insert(RealId(2), load(0, 257));
    bench.loads.insert(RealId(3), load(0, 258));
    assert_eq!(
        bench.next(),
        Some(1),
        "an active one is worth 257 inactive ones"
    );
    bench.loads.insert(RealId(1), load(1, 1));
    assert_eq!(bench.next(), Some(2));
    bench.change(Lc, &[(4, 0)]);
    assert_eq!(bench.next(), None);
}

#[test]
fn schedulers_tell_their_kind_and_their_flags_by_the_names_that_ipvsadm_takes() {
    for kind in all() {
        assert_eq!(Scheduler::new(kind, &[], 1).kind(), kind);
    }
    let both = HashFlags {
        fallback: true,
        port: true,
    };
    assert_eq!(Sh(both).flags(), ["sh-fallback", "sh-port"]);
    assert_eq!(mh(PORT).flags(), ["mh-port"]);
    assert_eq!(mh(PLAIN).flags(), Vec::<&str>::new());
    assert_eq!(Sh(both).to_string(), "sh (sh-fallback,sh-port)");
    assert_eq!(Wlc.flags(), Vec::<&str>::new());
}

#[test]
fn no_scheduler_finds_anybody_in_an_empty_list_or_among_the_drained() {
    for kind in all() {
        assert_eq!(Bench::new(kind, &[]).next(), None, "{kind}");
        assert_eq!(Bench::new(kind, &[(1, 0), (2, 0)]).next(), None, "{kind}");
    }
}

/// IPVS's `wrr` once more, word by word from its description, one candidate at a time.
#[derive(Default)]
struct Model {
    list: Vec<(u32, i64)>,
    /// 0 is the list's head, which is no real server.
    last: usize,
    current: i64,
    greatest: i64,
    step: i64,
}

impl Model {
    fn change(&mut self, list: &[(u32, u32)], is_new: bool) {
        self.list = list
            .iter()
            .map(|&(real, weight)| (real, i64::from(weight)))
            .collect();
        self.last = 0;
        let positive = self
            .list
            .iter()
            .map(|one| one.1)
            .filter(|weight| *weight > 0);
        self.step = positive
            .clone()
            .reduce(greatest_common_divisor)
            .unwrap_or(1);
        self.greatest = positive.max().map_or(0, |most| most - (self.step - 1));
        if self.current > self.greatest || self.current == 0 {
            self.current = self.greatest;
        } else if self.step > 1 {
            self.current = (self.current / self.step) * self.step + 1;
        }
        if is_new {
            self.current = self.greatest.min(1);
        }
    }

    fn next(&mut self, overloaded: &[u32]) -> Option<u32> {
        if self.greatest == 0 {
            return None;
        }
        let begin = (self.last, self.current);
        // Begun inside the lowest pass, it ends where it began; else at the end of the lowest pass.
        let begun_in_lowest = self.last != 0 && self.current <= self.step;
        let mut is_first = true;
        loop {
            if self.last == self.list.len() {
                let was_lowest = self.current <= self.step;
                self.last = 0;
                self.current -= self.step;
                if self.current <= 0 {
                    self.current = self.greatest;
                }
                if was_lowest && !begun_in_lowest {
                    self.last = begin.0;
                    return None;
                }
            }
            if begun_in_lowest && !is_first && (self.last, self.current) == begin {
                return None;
            }
            is_first = false;
            self.last += 1;
            let (real, weight) = self.list[self.last - 1];
            if weight >= self.current && !overloaded.contains(&real) {
                return Some(real);
            }
            if begun_in_lowest && (self.last, self.current) == begin {
                return None;
            }
        }
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn lists() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let weight = prop_oneof![
        Just(0),
        1..8_u32,
        (1..6_u32).prop_map(|times| times * 50),
        0..300_u32
    ];
    prop::collection::vec(weight, 0..8).prop_map(|weights| (0..).zip(weights).collect())
}

proptest! {
    #[test]
    fn weighted_round_robin_does_what_its_description_says(
        changes in prop::collection::vec((lists(), 0..400_usize), 1..6),
        overloaded in prop::collection::vec(prop::collection::vec(0..8_u32, 0..8), 1..20),
    ) {
        let mut model = Model::default();
        let mut bench: Option<Bench> = None;
        for (list, count) in changes {
            model.change(&list, bench.is_none());
            let bench = match &mut bench {
                Some(bench) => {
                    bench.change(Wrr, &list);
                    bench
                }
                None => bench.insert(Bench::new(Wrr, &list)),
            };
            // The cursor fits itself to a change when it is first asked after it.
            for turn in 0..count.max(1) {
                let overloaded = &overloaded[turn % overloaded.len()];
                bench.overload(overloaded);
                prop_assert_eq!(bench.next(), model.next(overloaded), "turn {} of {:?}", turn, &list);
            }
        }
    }

    #[test]
    fn a_cycle_of_weighted_round_robin_gives_each_its_weight(list in lists()) {
        let weights: Vec<u32> = list.iter().map(|(_, weight)| *weight).collect();
        let step = weights.iter().map(|weight| i64::from(*weight)).filter(|weight| *weight > 0)
            .reduce(greatest_common_divisor).unwrap_or(1);
        let shares: Vec<i64> = weights.iter().map(|weight| i64::from(*weight) / step).collect();
        let cycle = usize::try_from(shares.iter().sum::<i64>()).unwrap();
        let bench = Bench::new(Wrr, &list);
        for _ in 0..3 {
            let mut counts = vec![0; list.len()];
            for real in bench.take(cycle) {
                counts[real as usize] += 1;
            }
            prop_assert_eq!(&counts, &shares);
        }
    }

    #[test]
    fn nobody_drained_or_overloaded_is_ever_chosen_and_somebody_is_if_anybody_can(
        list in lists(),
        loads in prop::collection::vec((0..3_u64, 0..3_u64), 8),
        uppers in prop::collection::vec(0..4_u32, 8),
        clients in prop::collection::vec(any::<u32>(), 20),
    ) {
        let mut candidates = unlimited(&list);
        for (candidate, upper) in candidates.iter_mut().zip(uppers) {
            candidate.limits.upper = upper;
        }
        for kind in all() {
            let mut bench = Bench::new(kind, &[]);
            bench.replace(kind, candidates.clone());
            bench.loads.extend((0..).map(RealId).zip(loads.iter().map(|&(active, inactive)| Load { active, inactive })));
            let can: Vec<u32> = candidates
                .iter()
                .filter(|one| takes_sessions(one, &bench.loads))
                .map(|one| one.real.0)
                .collect();
            for client in &clients {
                bench.flow.client = IpAddr::V4((*client).into());
                bench.flow.virtual_address = IpAddr::V4((!*client).into());
                match bench.next() {
                    Some(chosen) => prop_assert!(can.contains(&chosen), "{} chose {}", kind, chosen),
                    // These look at one place, or at more than the weight.
                    None => prop_assert!(can.is_empty() || matches!(kind, Dh | Ovf | Sh(_)), "{}", kind),
                }
            }
        }
    }
}
