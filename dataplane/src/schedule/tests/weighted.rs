//! The schedulers by load and weight against sentences that describe them, and the thresholds.

use super::threshold::Overload;
use super::*;

fn load(active: u64, inactive: u64) -> Load {
    Load { active, inactive }
}

/// Each new session is chosen for and stays active.
fn fill(kind: SchedulerKind, reals: &[(u32, u32)], count: usize) -> Vec<u32> {
    let mut bench = Bench::new(kind, reals);
    let mut chosen = Vec::new();
    for _ in 0..count {
        let Some(real) = bench.next() else { break };
        let active = bench.loads.load(RealId(real)).active;
        bench.loads.insert(RealId(real), load(active + 1, 0));
        chosen.push(real);
    }
    chosen
}

#[test]
fn the_schedulers_by_load_give_the_sequences_recorded_from_ipvs() {
    let list = [(13, 2), (12, 3), (11, 1)];
    assert_eq!(
        fill(Wlc, &list, 12),
        [13, 12, 11, 12, 13, 12, 13, 12, 11, 12, 13, 12]
    );
    assert_eq!(
        fill(Sed, &list, 12),
        [12, 13, 12, 13, 12, 11, 12, 13, 12, 13, 12, 11]
    );
    assert_eq!(
        fill(Nq, &list, 12),
        [13, 12, 11, 12, 13, 12, 12, 13, 12, 13, 12, 11]
    );
    assert_eq!(fill(Fo, &list, 4), [12; 4]);
    assert_eq!(
        fill(Ovf, &[(13, 1), (12, 3), (11, 2)], 20),
        [12, 12, 12, 12, 11, 11, 11, 13, 13]
    );
}

#[test]
fn without_active_sessions_never_queue_and_expected_delay_stay_at_the_first() {
    let mut bench = Bench::new(Nq, &[(3, 1), (2, 1), (1, 9)]);
    bench
        .loads
        .extend((1..4).map(|real| (RealId(real), load(0, 50))));
    assert_eq!(bench.take(3), [3, 3, 3]);
    bench.change(Sed, &[(3, 1), (2, 1), (1, 1)]);
    assert_eq!(bench.take(3), [3, 3, 3]);
}

#[test]
fn an_upper_threshold_closes_and_the_lower_one_opens() {
    let limits = Limits { upper: 4, lower: 2 };
    let overload = Overload::default();
    let states = [
        (3, false),
        (4, true),
        (3, true),
        (2, true),
        (1, false),
        (3, false),
        (9, true),
    ];
    for (total, expected) in states {
        assert_eq!(
            overload.update(limits, load(1, total - 1)),
            expected,
            "{total}"
        );
    }
    overload.clear();
    assert!(!overload.update(limits, load(3, 0)));
    assert!(!Limits::default().is_overloaded(true, load(9, 9)));
}

#[test]
fn the_lower_threshold_is_three_quarters_if_nobody_says_otherwise() {
    for (upper, lower) in [
        (1_u32, 1_u32),
        (3, 3),
        (4, 3),
        (100, 75),
        (7, 6),
        (u32::MAX, 3_221_225_472_u32),
    ] {
        let limits = Limits { upper, lower: 0 };
        let total: u64 = lower.into();
        assert!(limits.is_overloaded(true, load(total, 0)));
        assert!(!limits.is_overloaded(true, load(total - 1, 0)));
        assert!(!limits.is_overloaded(false, load(u64::from(upper) - 1, 0)));
        assert!(limits.is_overloaded(false, load(0, u64::from(upper))));
    }
}

fn loads() -> impl Strategy<Value = Vec<Load>> {
    let number = || prop_oneof![0..4_u64, 0..1000_u64, Just(1_u64 << 40)];
    let one = (number(), number()).prop_map(|(active, inactive)| load(active, inactive));
    prop::collection::vec(one, 8)
}

proptest! {
    #[test]
    fn the_schedulers_by_load_do_what_their_descriptions_say(
        list in lists(),
        loads in loads(),
        uppers in prop::collection::vec(prop_oneof![Just(0), 1..2000_u32], 8),
    ) {
        let mut candidates = unlimited(&list);
        for (candidate, upper) in candidates.iter_mut().zip(uppers) {
            candidate.limits.upper = upper;
        }
        // (real, weight, active, inactive) of those that take sessions, in the list's order.
        let open: Vec<(u32, u128, u128, u128)> = candidates
            .iter()
            .map(|one| (one, loads[one.real.0 as usize]))
            .filter(|(one, load)| one.weight > 0 && (one.limits.upper == 0 || load.active + load.inactive < u64::from(one.limits.upper)))
            .map(|(one, load)| (one.real.0, one.weight.into(), load.active.into(), load.inactive.into()))
            .collect();
        let overhead = |one: &(u32, u128, u128, u128)| 256 * one.2 + (one.2 + one.3);
        // `min_by` takes the first of equals, `max_by` the last, so that one looks from the end.
        let wlc = open.iter().min_by(|a, b| (overhead(a) * b.1).cmp(&(overhead(b) * a.1)));
        let sed = open.iter().min_by(|a, b| ((a.2 + 1) * b.1).cmp(&((b.2 + 1) * a.1)));
        let nq = open.iter().find(|one| one.2 == 0).or(sed);
        let fo = open.iter().rev().max_by_key(|one| one.1);
        let ovf = open.iter().rev().filter(|one| one.2 <= one.1).max_by_key(|one| one.1);
        let lc = open.iter().min_by_key(|one| overhead(one));
        for (kind, expected) in [(Wlc, wlc), (Sed, sed), (Nq, nq), (Fo, fo), (Ovf, ovf), (Lc, lc)] {
            let mut bench = Bench::new(kind, &[]);
            bench.replace(kind, candidates.clone());
            bench.loads.extend((0..).map(RealId).zip(loads.iter().copied()));
            prop_assert_eq!(bench.next(), expected.map(|one| one.0), "{}", kind);
        }
    }

    #[test]
    fn a_real_server_is_overloaded_from_reaching_the_upper_to_falling_below_the_lower_threshold(
        upper in 1..20_u32,
        lower in 0..20_u32,
        totals in prop::collection::vec(0..25_u64, 1..50),
    ) {
        let lower = lower.min(upper);
        let limits = Limits { upper, lower };
        let floor = if lower > 0 { u64::from(lower) } else { u64::from(upper) - u64::from(upper) / 4 };
        let overload = Overload::default();
        for (at, total) in totals.iter().enumerate() {
            // Since the last time below the lower threshold, was the upper one reached?
            let since = totals[..=at].iter().rev().take_while(|total| **total >= floor);
            let expected = since.max().is_some_and(|most| *most >= u64::from(upper));
            prop_assert_eq!(overload.update(limits, load(*total, 0)), expected);
        }
    }
}
