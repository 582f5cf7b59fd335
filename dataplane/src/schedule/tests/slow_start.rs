//! How the share of a real server grows that has just come.

use super::*;

const MINUTE_MS: u32 = 60_000;

/// Real server 9 came at second 1000 to three others; all weigh the same, and slow start takes a
/// minute.
fn bench(kind: SchedulerKind) -> Bench {
    let mut bench = Bench::new(kind, &[]);
    bench.slow_start_ms = MINUTE_MS;
    let mut list = unlimited(&[(1, 2), (2, 2), (3, 2), (9, 2)]);
    list[3].since = Some(Time::from_ms(1_000_000));
    bench.replace(kind, list);
    bench
}

/// How many of `count` sessions, none of which ever ends, real server 9 gets from this second on.
fn share(bench: &mut Bench, second: u64, count: usize) -> u32 {
    bench.now = Time::from_ms(second * 1000);
    let mut share = 0;
    for _ in 0..count {
        let real = bench.next().unwrap();
        share += u32::from(real == 9);
    }
    share
}

#[test]
fn in_turn_and_by_draw_the_share_grows_with_time_to_that_of_the_weight() {
    for kind in [Rr, Wrr, Swrr] {
        let mut bench = bench(kind);
        for (second, part) in [
            (1000, 0.0),
            (1015, 0.25),
            (1030, 0.5),
            (1045, 0.75),
            (1061, 1.0),
        ] {
            // A turn that is passed over makes the round shorter, but swrr gives it to another.
            let whole = if kind == Swrr { 4.0 } else { 3.0 + part };
            let (count, expected) = (share(&mut bench, second, 20_000), 20_000.0 * part / whole);
            let off = (f64::from(count) - expected).abs();
            assert!(off < 250.0, "{kind}: {count} for {expected}");
        }
    }
    let mut bench = bench(P2c);
    let shares = [1000, 1015, 1030, 1045, 1061].map(|second| share(&mut bench, second, 4000));
    assert!(shares[0] < 20 && shares.is_sorted(), "{shares:?}");
    assert!(shares[4].abs_diff(1000) < 150, "{shares:?}");
}

#[test]
fn by_load_as_many_sessions_as_the_share_are_enough() {
    for kind in [Lc, Wlc, Sed, Nq, Lblc, Lblcr] {
        let mut bench = bench(kind);
        let busy = Load {
            active: 100,
            inactive: 0,
        };
        bench
            .loads
            .extend([1, 2, 3].map(|real| (RealId(real), busy)));
        bench.now = Time::from_ms(1_030_000);
        for has in 0..110 {
            let load = Load {
                active: has,
                inactive: 0,
            };
            bench.loads.insert(RealId(9), load);
            // Another destination each time, of which lblc and lblcr know nothing.
            bench.flow.virtual_address = IpAddr::V4(u32::try_from(has).unwrap().into());
            let expected = if has < 50 { Some(9) } else { Some(1) };
            assert_eq!(bench.next(), expected, "{kind} {has}");
        }
        bench.now = Time::from_ms(1_061_000);
        bench.loads.insert(
            RealId(9),
            Load {
                active: 99,
                inactive: 0,
            },
        );
        bench.flow.virtual_address = [192, 0, 2, 1].into();
        assert_eq!(bench.next(), Some(9), "{kind}");
    }
}

#[test]
fn when_all_are_new_or_nobody_else_is_left_nobody_is_refused() {
    for kind in all() {
        let mut bench = Bench::new(kind, &[]);
        bench.slow_start_ms = MINUTE_MS;
        let mut list = unlimited(&[(1, 2), (2, 2), (3, 0)]);
        for one in &mut list {
            one.since = Some(Time::from_ms(1_000_000));
        }
        bench.replace(kind, list);
        bench.now = Time::from_ms(1_000_000);
        if !matches!(kind, Dh) {
            assert_eq!(bench.take(50).len(), 50, "{kind}");
        }
    }
}

#[test]
fn without_slow_start_it_does_not_matter_when_a_real_server_came() {
    for kind in all() {
        let old = Bench::new(kind, &[(1, 2), (2, 3), (9, 1)]);
        let mut new = Bench::new(kind, &[]);
        let mut list = unlimited(&[(1, 2), (2, 3), (9, 1)]);
        list[2].since = Some(Time::from_ms(0));
        new.replace(kind, list);
        // The list was empty before, which wrr and swrr remember.
        if !matches!(kind, Wrr) {
            assert_eq!(old.take(30), new.take(30), "{kind}");
        }
    }
}

proptest! {
    #[test]
    fn a_share_never_shrinks_and_is_whole_in_the_end(
        duration_ms in 1..100_000_u32,
        since in 0..1_000_000_u64,
        times in prop::collection::vec(0..1_200_000_u64, 1..50),
    ) {
        let mut one = unlimited(&[(1, 7)])[0];
        one.since = Some(Time::from_ms(since));
        let ramp = Ramp::new(duration_ms, &[one]);
        let mut times = times;
        times.sort_unstable();
        let mut before = 0;
        for ms in times {
            let shares = ramp.at(Time::from_ms(ms));
            let parts = shares.parts(&one);
            prop_assert!((1..=256).contains(&parts) && parts >= before);
            prop_assert!(parts == 256 || shares.grow());
            // A step is a 256th of the time, rounded down to whole milliseconds.
            if ms >= since + u64::from(duration_ms) + u64::from(duration_ms / 256).max(1) {
                prop_assert_eq!(parts, 256);
            }
            before = parts;
        }
    }
}
