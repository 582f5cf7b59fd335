//! Rates against what `ipvsadm -Ln --rate` showed in recordings, and what becomes of them in the end.

use std::sync::Arc;

use super::*;
use crate::running::tests::running;

fn after(periods: u64) -> Time {
    Time::from_ms(periods * PERIOD_MS)
}

fn totals(counts: [u64; 5]) -> Totals {
    let [sessions, in_packets, out_packets, in_bytes, out_bytes] = counts;
    Totals {
        sessions,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
        ..Totals::default()
    }
}

fn shown(estimate: &Estimate) -> [u64; 5] {
    let rate = estimate.rate();
    [
        rate.conns,
        rate.in_packets,
        rate.out_packets,
        rate.in_bytes,
        rate.out_bytes,
    ]
}

#[test]
fn the_figures_are_those_of_ipvs() {
    // From the recordings `nat-stats` and `cli-formats`: the first period, and some of those without traffic after it.
    for (counted, expected) in [
        (
            [3, 6, 2, 252, 180],
            vec![(1, [0, 1, 0, 31, 22]), (2, [0, 1, 0, 24, 17])],
        ),
        (
            [2, 4, 0, 168, 0],
            vec![(1, [0, 0, 0, 21, 0]), (3, [0, 0, 0, 12, 0])],
        ),
    ] {
        let mut estimate = Estimate::default();
        let mut periods = 0;
        for (until, figures) in expected {
            while periods < until {
                estimate.advance(&totals(counted), 1);
                periods += 1;
            }
            assert_eq!(shown(&estimate), figures);
        }
    }
}

#[test]
fn steady_traffic_is_shown_as_it_is_after_a_while_and_its_end_too() {
    let mut estimate = Estimate::default();
    let per_period = [20, 2_000_000, 400_000, 3_000_000_000, 600_000_000];
    for period in 1..=100 {
        estimate.advance(&totals(per_period.map(|count| count * period)), 1);
    }
    assert_eq!(shown(&estimate), per_period.map(|count| count / 2));
    for _ in 0..120 {
        estimate.advance(&totals(per_period.map(|count| count * 100)), 1);
    }
    assert_eq!(shown(&estimate), [0; 5]);
}

#[test]
fn a_late_look_sees_the_same_as_looks_in_time() {
    let (mut late, mut in_time) = (Estimate::default(), Estimate::default());
    for period in 1..=5 {
        in_time.advance(&totals([period * 100; 5]), 1);
    }
    late.advance(&totals([500; 5]), 5);
    assert_eq!(shown(&late), shown(&in_time));
}

#[test]
fn a_count_that_begins_again_is_no_jump() {
    let mut estimate = Estimate::default();
    estimate.advance(&totals([1_000_000; 5]), 1);
    for _ in 0..120 {
        estimate.advance(&totals([1_000_000; 5]), 1);
    }
    estimate.advance(&totals([8; 5]), 1);
    assert_eq!(shown(&estimate), [1; 5]);
}

#[test]
fn the_greatest_counts_do_not_overflow() {
    let mut estimate = Estimate::default();
    for round in 0..99 {
        estimate.advance(&totals([u64::MAX * (round % 2); 5]), 1);
        let _ = estimate.rate();
    }
}

#[test]
fn a_services_rate_is_its_real_servers_and_begins_with_them() {
    let (mut running, file) = running();
    let mut rates = Rates::new(Time::default());
    let count = |running: &crate::running::Running, packets| {
        let snapshot = running.snapshot();
        let service = snapshot.configured_services().next().unwrap();
        let real = service.candidates[0].real;
        snapshot.workers[0]
            .reals
            .get(real.0)
            .unwrap()
            .in_packets
            .add(packets);
    };
    let rate = |rates: &Rates, running: &crate::running::Running| {
        let snapshot = running.snapshot();
        let service = snapshot.configured_services().next().unwrap();
        let real = snapshot.real(service.candidates[0].real).unwrap();
        (
            rates.of_service(service).in_packets,
            rates.of_real(service, real).in_packets,
        )
    };
    count(&running, 800);
    rates.advance(Time::from_ms(PERIOD_MS - 1), running.snapshot());
    assert_eq!(rate(&rates, &running), (0, 0));
    rates.advance(after(1), running.snapshot());
    assert_eq!(rate(&rates, &running), (100, 100));
    // A reload that changes something else keeps them.
    let text = std::fs::read_to_string(file.path()).unwrap();
    std::fs::write(file.path(), text.replace("scheduler: rr", "scheduler: lc")).unwrap();
    let before = Arc::clone(running.snapshot());
    let _ = running.reload(false);
    assert!(!Arc::ptr_eq(running.snapshot(), &before));
    rates.advance(after(2), running.snapshot());
    assert_eq!(rate(&rates, &running), (75, 75));
    // Another real server begins anew; the service goes on.
    std::fs::write(file.path(), text.replace("192.0.2.21", "192.0.2.22")).unwrap();
    let _ = running.reload(false);
    rates.advance(after(3), running.snapshot());
    assert_eq!(rate(&rates, &running), (56, 0));
    assert_eq!(
        rates.estimates.len(),
        1,
        "what counted nothing has no entry"
    );
}
