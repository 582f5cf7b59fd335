//! Which real server a client meets: the schedulers as they show on the wire.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::limits::Limits;
use plimsoll_dataplane::spec::scheduler::{HashFlags, Maglev, SchedulerKind};
use plimsoll_dataplane::testing::Rig;
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

fn spec(scheduler: SchedulerKind, weights: [u32; 3]) -> Spec {
    let reals = REALS.iter().zip(weights);
    let reals = reals.map(|(real, weight)| weighted(real, 80, ForwardMethod::Direct, weight));
    let mut service = service(Protocol::Tcp, VIP, 80, reals.collect());
    service.scheduler = scheduler;
    two_armed(vec![service])
}

/// The real servers, from 0, that the clients with these ports meet.
fn met(rig: &mut Rig, ports: std::ops::Range<u16>) -> Vec<usize> {
    let mut receivers = Vec::new();
    for port in ports {
        let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
        for (_, frame) in rig.pass(WAN, &syn) {
            receivers.push(
                REALS
                    .iter()
                    .position(|real| mac_of(real).0 == frame[..6])
                    .unwrap(),
            );
        }
    }
    receivers
}

#[test]
fn round_robin_takes_turns_whatever_the_weights() {
    let mut rig = Rig::new(1, &spec(SchedulerKind::Rr, [1, 100, 5]));
    assert_eq!(met(&mut rig, 1000..1007), [0, 1, 2, 0, 1, 2, 0]);
    rig.reload(&spec(SchedulerKind::Rr, [1, 0, 5]));
    assert_eq!(met(&mut rig, 2000..2004), [2, 0, 2, 0]);
}

#[test]
fn weighted_round_robin_gives_each_its_weight() {
    // As recorded from IPVS for weights 4, 3, 2 added in this order, newest first.
    let mut rig = Rig::new(1, &spec(SchedulerKind::Wrr, [2, 3, 4]));
    let first = met(&mut rig, 1000..1012);
    assert_eq!(first, [0, 1, 2, 2, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn least_connection_prefers_whoever_has_the_fewest() {
    let mut rig = Rig::new(1, &spec(SchedulerKind::Lc, [1, 1, 1]));
    assert_eq!(met(&mut rig, 1000..1003), [0, 1, 2]);
    // A finished session weighs less than an open one.
    let end = from_wan(CLIENT, VIP).tcp(1001, 80).flags(RST | ACK);
    rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(1001, 80).flags(ACK).build());
    rig.pass(WAN, &end.build());
    assert_eq!(met(&mut rig, 2000..2001), [1]);
}

#[test]
fn least_connection_counts_the_sessions_of_all_workers() {
    let mut rig = Rig::new(2, &spec(SchedulerKind::Lc, [1, 1, 1]));
    let mut receivers = Vec::new();
    for port in 1000..1006_u16 {
        let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
        let sent = rig.pass_on(usize::from(port) % 2, WAN, &syn);
        receivers.push(sent[0].1[5]);
    }
    receivers.sort_unstable();
    assert_eq!(receivers, [11, 11, 12, 12, 13, 13]);
}

#[test]
fn another_scheduler_moves_no_session() {
    let mut rig = Rig::new(1, &spec(SchedulerKind::Rr, [1, 1, 1]));
    let before = met(&mut rig, 1000..1009);
    for kind in [SchedulerKind::Wrr, SchedulerKind::Lc, SchedulerKind::Rr] {
        rig.reload(&spec(kind, [3, 1, 1]));
        assert_eq!(met(&mut rig, 1000..1009), before);
    }
    assert_eq!(rig.sessions().len(), 9);
}

/// The clients with these ports send `flags`.
fn all_send(rig: &mut Rig, ports: std::ops::Range<u16>, flags: u8) {
    for port in ports {
        rig.pass(
            WAN,
            &from_wan(CLIENT, VIP).tcp(port, 80).flags(flags).build(),
        );
    }
}

#[test]
fn a_real_server_that_is_full_gets_no_sessions_until_enough_have_gone() {
    let mut spec = spec(SchedulerKind::Fo, [9, 1, 0]);
    spec.services[0].reals[0].limits = Limits { upper: 4, lower: 2 };
    spec.services[0].reals[1].limits = Limits { upper: 1, lower: 0 };
    let mut rig = Rig::new(1, &spec);
    assert_eq!(met(&mut rig, 1000..1004), [0, 0, 0, 0]);
    assert_eq!(met(&mut rig, 1004..1005), [1]);
    let refused = from_wan(CLIENT, VIP).tcp(1005, 80).flags(SYN).build();
    rig.pass(WAN, &refused);
    assert_eq!(rig.drops(DropReason::NoReal), 1);
    // Sessions that there are go on.
    all_send(&mut rig, 1000..1004, ACK);
    assert_eq!(rig.drops(DropReason::NoReal), 1);
    // Two of them end: 2 is not below the lower threshold.
    all_send(&mut rig, 1000..1002, RST | ACK);
    rig.wait_ms(11_000);
    rig.pass(WAN, &refused);
    assert_eq!(rig.drops(DropReason::NoReal), 2);
    all_send(&mut rig, 1002..1003, RST | ACK);
    rig.wait_ms(11_000);
    assert_eq!(met(&mut rig, 2000..2003), [0, 0, 0]);
    rig.pass(WAN, &refused);
    assert_eq!(rig.drops(DropReason::NoReal), 3);
    // A greater limit opens it at once when it is below the new lower one.
    spec.services[0].reals[0].limits = Limits {
        upper: 100,
        lower: 0,
    };
    rig.reload(&spec);
    assert_eq!(met(&mut rig, 3000..3003), [0, 0, 0]);
}

#[test]
fn thresholds_count_the_sessions_of_all_workers() {
    let mut spec = spec(SchedulerKind::Rr, [1, 0, 0]);
    spec.services[0].reals[0].limits = Limits { upper: 5, lower: 0 };
    let mut rig = Rig::new(3, &spec);
    for port in 1000..1020_u16 {
        let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
        rig.pass_on(usize::from(port) % 3, WAN, &syn);
    }
    assert_eq!(rig.totals(ip(REALS[0])).active, 5);
    assert_eq!(rig.drops(DropReason::NoReal), 15);
}

#[test]
fn a_client_meets_the_same_real_server_on_every_worker_by_hash() {
    for kind in [
        SchedulerKind::Sh(HashFlags::default()),
        SchedulerKind::Mh(HashFlags::default(), Maglev::default()),
        SchedulerKind::Dh,
    ] {
        let mut rig = Rig::new(3, &spec(kind, [1, 1, 1]));
        let mut receivers = Vec::new();
        for port in 1000..1012_u16 {
            let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
            receivers.push(rig.pass_on(usize::from(port) % 3, WAN, &syn)[0].1[5]);
        }
        receivers.dedup();
        assert_eq!(receivers.len(), 1, "{kind}");
    }
}

#[test]
fn a_reload_that_drains_a_real_server_moves_nobody_else_by_maglev() {
    let flags = HashFlags {
        fallback: true,
        port: true,
    };
    let kind = SchedulerKind::Mh(flags, Maglev::default());
    let mut rig = Rig::new(1, &spec(kind, [1, 1, 1]));
    let before = met(&mut rig, 1000..1100);
    let mut draining = Rig::new(1, &spec(kind, [1, 1, 1]));
    draining.reload(&spec(kind, [1, 0, 1]));
    let after = met(&mut draining, 1000..1100);
    for (before, after) in before.iter().zip(after) {
        assert!(after != 1 && (*before == 1 || *before == after));
    }
}
