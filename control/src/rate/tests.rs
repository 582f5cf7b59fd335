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
        let real = service.scheduling.candidates[0].real;
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
        let real = snapshot
            .real(service.scheduling.candidates[0].real)
            .unwrap();
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
    let kept: Vec<usize> = rates
        .estimates
        .values()
        .map(|one| one.reals.len())
        .collect();
    assert_eq!(kept, [0], "what counted nothing has no entry");
}

/// Some services of one real server each, on one worker.
fn many(count: u16) -> Arc<Snapshot> {
    let services = (1..=count).map(|port| {
        format!(
            "  - {{ name: s{port}, vip: \"192.0.2.10:{port}\", protocol: tcp, scheduler: rr, forward: dr, \
             reals: [{{ address: \"192.0.2.21:{port}\" }}] }}\n"
        )
    });
    let head = "version: 1\ndataplane: { cpus: [0], ports: [{ name: wan, device: net_null0, \
                addresses: [192.0.2.2/24] }] }\nservices:\n";
    let text: String = std::iter::once(head.to_owned()).chain(services).collect();
    let loaded = crate::config::parse("many", text).unwrap();
    let (devices, ports) = crate::compile::ports(
        loaded.valid.start(),
        &[plimsoll_dataplane::wire::Mac([2, 0, 0, 0, 0, 1])],
    );
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut builder = plimsoll_dataplane::snapshot::build::Builder::new(1, &hasher);
    builder.build(
        &crate::compile::spec(&devices, &ports, loaded.valid.reload()),
        true,
    )
}

#[test]
fn of_very_many_services_the_quiet_ones_are_looked_at_in_turn_and_the_others_always() {
    let snapshot = many(100);
    let count = |service: u32, packets| {
        let real = snapshot
            .service(ServiceId(service))
            .unwrap()
            .scheduling
            .candidates[0]
            .real;
        let counters = snapshot.workers[0].reals.get(real.0).unwrap();
        counters.in_packets.add(packets);
    };
    let mut rates = Rates::new(Time::default());
    let rate = |rates: &Rates, service| {
        let service = snapshot.service(ServiceId(service)).unwrap();
        rates.of_service(service).in_packets
    };
    // Twenty real servers, so ten services, in each period.
    for period in 1..=10 {
        rates.advance_some(after(period), &snapshot, 20);
    }
    let looked_at = |rates: &Rates, period| {
        let looked = rates.looked.iter();
        looked.filter(|looked| **looked == period).count()
    };
    assert_eq!((looked_at(&rates, 10), rates.moving.len()), (10, 0));
    // The last one is looked at ten periods after its last turn, in which it had 80 packets each.
    count(99, 800);
    (11..20).for_each(|period| rates.advance_some(after(period), &snapshot, 20));
    assert_eq!(rate(&rates, 99), 0);
    rates.advance_some(after(20), &snapshot, 20);
    let begun = rate(&rates, 99);
    assert!((35..=40).contains(&begun), "{begun}: nearly half of 80");
    // From now on it has its turn always.
    for period in 21..=25 {
        count(99, 80);
        rates.advance_some(after(period), &snapshot, 20);
        assert!((35..=40).contains(&rate(&rates, 99)));
    }
    // Until nothing is left of it.
    (26..100).for_each(|period| rates.advance_some(after(period), &snapshot, 20));
    assert_eq!((rate(&rates, 99), rates.moving.len()), (0, 0));
}
