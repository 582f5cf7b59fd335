//! Sessions: states and their times, ports that are used again, and what a reload does to them.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::session::{State, TcpState};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::timeouts::Timeouts;
use plimsoll_dataplane::testing::{Rig, Sent};
use plimsoll_dataplane::verdict::{DropReason, EvictionCause};
use std::time::Duration;

use crate::net::*;

/// A segment of the client, with its port.
fn client(rig: &mut Rig, port: u16, flags: u8) -> Vec<Sent> {
    rig.pass(
        WAN,
        &from_wan(CLIENT, VIP).tcp(port, 80).flags(flags).build(),
    )
}

/// A segment of the real server that `address` names.
fn server(rig: &mut Rig, address: &str, port: u16, flags: u8) -> Vec<Sent> {
    rig.pass(
        LAN,
        &from_lan(address, CLIENT)
            .tcp(8080, port)
            .flags(flags)
            .build(),
    )
}

fn state(rig: &mut Rig) -> TcpState {
    let sessions = rig.sessions();
    assert_eq!(sessions.len(), 1);
    match sessions[0].state {
        State::Tcp(state) => state,
        other => panic!("{other:?}"),
    }
}

/// Whom a frame was sent to, by MAC.
fn receiver(sent: &[Sent]) -> usize {
    assert_eq!(sent.len(), 1);
    let to = &sent[0].1[..6];
    REALS.iter().position(|real| mac_of(real).0 == to).unwrap()
}

fn counts(rig: &Rig, real: &str) -> (u64, u64) {
    let totals = rig.totals(ip(real));
    (totals.active, totals.inactive)
}

/// The usual TCP service with the first `count` real servers, of these weights.
fn some(forward: ForwardMethod, weights: &[(usize, u32)]) -> Spec {
    let port = if forward == ForwardMethod::Nat {
        8080
    } else {
        80
    };
    let reals = weights.iter();
    let reals = reals.map(|(index, weight)| weighted(REALS[*index], port, forward, *weight));
    two_armed(vec![service(Protocol::Tcp, VIP, 80, reals.collect())])
}

#[test]
fn a_one_way_connection_goes_through_its_states() {
    for spec in [direct(), tunnel()] {
        let mut rig = Rig::new(1, &spec);
        let steps = [
            (SYN, TcpState::SynRecv, (1, 0)),
            (ACK, TcpState::Established, (1, 0)),
            (SYN, TcpState::Established, (1, 0)),
            (FIN_ACK, TcpState::FinWait, (0, 1)),
            (ACK, TcpState::FinWait, (0, 1)),
            (RST, TcpState::Close, (0, 1)),
            (ACK, TcpState::Close, (0, 1)),
        ];
        for (flags, expected, numbers) in steps {
            assert_eq!(client(&mut rig, 4000, flags).len(), 1);
            assert_eq!(state(&mut rig), expected);
            assert_eq!(counts(&rig, REALS[0]), numbers);
        }
        rig.wait_ms(10_250);
        assert!(rig.sessions().is_empty());
        assert_eq!(counts(&rig, REALS[0]), (0, 0));
    }
}

#[test]
fn a_nat_connection_is_seen_from_both_sides() {
    let mut rig = Rig::new(1, &nat());
    let steps = [
        (true, SYN, TcpState::SynRecv),
        (false, SYN_ACK, TcpState::SynRecv),
        (true, ACK, TcpState::Established),
        (false, ACK, TcpState::Established),
        (true, FIN_ACK, TcpState::CloseWait),
        (false, FIN_ACK, TcpState::TimeWait),
        (true, ACK, TcpState::TimeWait),
    ];
    for (from_client, flags, expected) in steps {
        let sent = if from_client {
            client(&mut rig, 4000, flags)
        } else {
            server(&mut rig, REALS[0], 4000, flags)
        };
        assert_eq!(sent.len(), 1);
        assert_eq!(state(&mut rig), expected, "{from_client} {flags:x}");
    }
    assert_eq!(counts(&rig, REALS[0]), (0, 1));
    rig.wait_ms(120_250);
    assert!(rig.sessions().is_empty());
}

#[test]
fn each_state_has_its_time() {
    let cases: [(&[u8], u64); 5] = [
        (&[SYN], 60),
        (&[SYN, ACK], 900),
        (&[SYN, ACK, FIN_ACK], 120),
        (&[SYN, ACK, RST], 10),
        (&[SYN, RST], 60),
    ];
    for (flags, seconds) in cases {
        let mut rig = Rig::new(1, &direct());
        for flags in flags {
            client(&mut rig, 4000, *flags);
        }
        rig.wait_ms(seconds * 1000 - 500);
        assert_eq!(rig.sessions().len(), 1, "{flags:x?}");
        assert_eq!(rig.sessions()[0].deadline.as_ms(), seconds * 1000);
        rig.wait_ms(750);
        assert_eq!(rig.sessions().len(), 0, "{flags:x?}");
    }
    let mut rig = Rig::new(1, &direct());
    rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
    assert_eq!(rig.sessions()[0].deadline.as_ms(), 300_000);
}

#[test]
fn every_packet_begins_the_time_anew_and_new_timeouts_count_from_the_next_packet() {
    let mut spec = direct();
    let mut rig = Rig::new(1, &spec);
    client(&mut rig, 4000, SYN);
    client(&mut rig, 4000, ACK);
    rig.wait_ms(600_000);
    client(&mut rig, 4000, ACK);
    rig.wait_ms(600_000);
    assert_eq!(rig.sessions()[0].deadline.as_ms(), 1_500_000);
    spec.network.timeouts = Timeouts {
        tcp: Duration::from_secs(30).into(),
        ..Timeouts::DEFAULT
    };
    rig.reload(&spec);
    assert_eq!(rig.sessions()[0].deadline.as_ms(), 1_500_000);
    client(&mut rig, 4000, ACK);
    assert_eq!(rig.sessions()[0].deadline.as_ms(), 1_230_000);
    rig.wait_ms(30_250);
    assert!(rig.sessions().is_empty());
}

#[test]
fn a_segment_after_the_end_is_a_stray() {
    let mut rig = Rig::new(1, &direct());
    client(&mut rig, 4000, SYN);
    rig.wait_ms(60_250);
    let reset = client(&mut rig, 4000, ACK);
    assert_eq!((reset.len(), reset[0].0), (1, WAN));
    assert_eq!(rig.all_drops(), [(DropReason::NoSession, 1)]);
}

#[test]
fn a_port_is_used_again_after_the_end_and_not_before() {
    // After these segments of the client, does a SYN begin a new session?
    let cases: [(ForwardMethod, &[u8], bool); 6] = [
        (ForwardMethod::Direct, &[SYN], false),
        (ForwardMethod::Direct, &[SYN, ACK], false),
        (ForwardMethod::Direct, &[SYN, ACK, FIN_ACK], true),
        (ForwardMethod::Tunnel, &[SYN, ACK, FIN_ACK], true),
        (ForwardMethod::Direct, &[SYN, ACK, RST], true),
        (ForwardMethod::Nat, &[SYN, ACK, FIN_ACK], false),
    ];
    for (forward, flags, begins) in cases {
        let mut rig = Rig::new(1, &some(forward, &[(0, 1), (1, 1)]));
        for flags in flags {
            assert_eq!(receiver(&client(&mut rig, 4000, *flags)), 0);
        }
        let again = receiver(&client(&mut rig, 4000, SYN));
        assert_eq!(again, usize::from(begins), "{forward:?} {flags:x?}");
        assert_eq!(rig.sessions().len(), 1);
        assert_eq!(rig.totals(ip(REALS[1])).sessions, u64::from(begins));
        let both = counts(&rig, REALS[0]).0 + counts(&rig, REALS[1]).0;
        assert_eq!(both, 1);
    }
    let mut rig = Rig::new(1, &some(ForwardMethod::Nat, &[(0, 1), (1, 1)]));
    for flags in [SYN, ACK, FIN_ACK] {
        client(&mut rig, 4000, flags);
    }
    server(&mut rig, REALS[0], 4000, FIN_ACK);
    assert_eq!(state(&mut rig), TcpState::TimeWait);
    assert_eq!(receiver(&client(&mut rig, 4000, SYN)), 1);
    // The old reply is nobody's: it is routed as it came.
    let old = server(&mut rig, REALS[0], 4000, ACK);
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].1[26..30], [10, 1, 0, 11]);
    assert_eq!(server(&mut rig, REALS[1], 4000, SYN_ACK).len(), 1);
}

#[test]
fn connections_of_a_removed_real_server_go_on_and_new_ones_go_elsewhere() {
    for forward in [
        ForwardMethod::Direct,
        ForwardMethod::Nat,
        ForwardMethod::Tunnel,
    ] {
        let both = some(forward, &[(0, 1), (1, 1)]);
        let mut rig = Rig::new(1, &both);
        for flags in [SYN, ACK] {
            client(&mut rig, 4000, flags);
        }
        let slot = rig.sessions()[0].real;
        rig.wait_ms(1000);
        rig.reload(&some(forward, &[(1, 1)]));
        for flags in [ACK, RST | SYN, ACK] {
            assert_eq!(receiver(&client(&mut rig, 4000, flags)), 0, "{forward:?}");
        }
        assert_eq!(rig.sessions()[0].deadline.as_ms(), 11_000, "after a reset");
        let totals = rig.snapshot().real_totals(slot);
        assert_eq!((totals.in_packets, totals.inactive), (2, 1));
        rig.reload(&both);
        assert_eq!(receiver(&client(&mut rig, 4000, ACK)), 0);
        let totals = rig.totals(ip(REALS[0]));
        assert_eq!(
            (totals.sessions, totals.in_packets),
            (1, 3),
            "its counters come back with it"
        );
        rig.reload(&some(forward, &[(1, 1)]));
        assert_eq!(receiver(&client(&mut rig, 4000, SYN)), 1, "{forward:?}");
        assert_eq!(rig.sessions().len(), 1);
        assert_eq!(counts(&rig, REALS[1]), (1, 0));
        finish(rig);
    }
}

#[test]
fn datagrams_do_not_wait_for_a_removed_real_server() {
    for forward in [ForwardMethod::Direct, ForwardMethod::Nat] {
        let list = |reals: &[&str]| {
            let reals = reals.iter().map(|address| real(address, 53, forward));
            two_armed(vec![service(Protocol::Udp, VIP, 53, reals.collect())])
        };
        let mut rig = Rig::new(1, &list(&REALS[..2]));
        let ask = from_wan(CLIENT, VIP).udp(4000, 53).build();
        assert_eq!(receiver(&rig.pass(WAN, &ask)), 0);
        rig.reload(&list(&REALS[1..2]));
        assert_eq!(receiver(&rig.pass(WAN, &ask)), 1);
        rig.reload(&list(&REALS[..2]));
        assert_eq!(receiver(&rig.pass(WAN, &ask)), 1);
        assert_eq!(rig.sessions().len(), 1);
        assert_eq!(counts(&rig, REALS[1]), (0, 1));
        finish(rig);
    }
}

#[test]
fn weight_zero_keeps_sessions_and_takes_no_new_ones() {
    let mut rig = Rig::new(1, &some(ForwardMethod::Direct, &[(0, 1), (1, 1)]));
    client(&mut rig, 4000, SYN);
    rig.reload(&some(ForwardMethod::Direct, &[(0, 0), (1, 1)]));
    assert_eq!(receiver(&client(&mut rig, 4000, ACK)), 0);
    assert_eq!(receiver(&client(&mut rig, 4000, SYN)), 0);
    for port in 4001..4005 {
        assert_eq!(receiver(&client(&mut rig, port, SYN)), 1);
    }
}

#[test]
fn a_removed_services_connections_go_on_and_it_takes_no_new_ones() {
    let spec = some(ForwardMethod::Direct, &[(0, 1), (1, 1)]);
    let mut rig = Rig::new(1, &spec);
    client(&mut rig, 4000, SYN);
    client(&mut rig, 4000, ACK);
    rig.reload(&two_armed(vec![]));
    assert_eq!(receiver(&client(&mut rig, 4000, ACK)), 0);
    assert_eq!(client(&mut rig, 4001, SYN), []);
    assert_eq!(rig.all_drops(), [(DropReason::NotLocal, 1)]);
    rig.reload(&spec);
    assert_eq!(receiver(&client(&mut rig, 4000, ACK)), 0);
    // Its scheduler begins anew, as IPVS's does.
    assert_eq!(receiver(&client(&mut rig, 4001, SYN)), 0);
    rig.reload(&two_armed(vec![]));
    assert_eq!(client(&mut rig, 4000, SYN), []);
    assert_eq!(rig.sessions().len(), 1, "whoever begins anew has left");
    finish(rig);
}

#[test]
fn an_edit_of_the_method_reaches_new_sessions_alone() {
    let mut rig = Rig::new(1, &some(ForwardMethod::Direct, &[(0, 1)]));
    client(&mut rig, 4000, SYN);
    let mut edited = some(ForwardMethod::Tunnel, &[(0, 1)]);
    rig.reload(&edited);
    let old = to_lan(REALS[0], CLIENT, VIP).tcp(4000, 80).build();
    expect(&client(&mut rig, 4000, ACK), &[(LAN, old.clone())]);
    let inner = packet(CLIENT, VIP)
        .ttl(63)
        .tcp(4001, 80)
        .flags(SYN)
        .build_datagram();
    let new = to_lan(REALS[0], LAN_ADDRESS, REALS[0])
        .id(1)
        .protocol(4)
        .payload(&inner);
    expect(&client(&mut rig, 4001, SYN), &[(LAN, new.build())]);
    edited.services[0].reals[0].forward = ForwardMethod::Nat;
    rig.reload(&edited);
    expect(&client(&mut rig, 4000, ACK), &[(LAN, old)]);
    let new = to_lan(REALS[0], CLIENT, REALS[0]).tcp(4002, 80).flags(SYN);
    expect(&client(&mut rig, 4002, SYN), &[(LAN, new.build())]);
    let reply = from_lan(REALS[0], CLIENT).tcp(80, 4002).flags(SYN_ACK);
    let expected = to_wan(VIP, CLIENT).tcp(80, 4002).flags(SYN_ACK).build();
    expect(&rig.pass(LAN, &reply.build()), &[(WAN, expected.clone())]);
    // And NAT's replies are known even when nothing is configured for NAT any more.
    rig.reload(&some(ForwardMethod::Direct, &[(0, 1)]));
    expect(&rig.pass(LAN, &reply.build()), &[(WAN, expected)]);
}

#[test]
fn a_reload_moves_no_session() {
    let spec = some(ForwardMethod::Nat, &[(0, 1), (1, 1), (2, 1)]);
    let mut rig = Rig::new(1, &spec);
    let before: Vec<_> = (4000..4030)
        .map(|port| receiver(&client(&mut rig, port, SYN)))
        .collect();
    let mut other = spec.clone();
    other.services[0].reals.reverse();
    other.services[0].name = "another name".into();
    other.services.insert(
        0,
        service(
            Protocol::Udp,
            VIP,
            53,
            vec![real(REALS[1], 53, ForwardMethod::Direct)],
        ),
    );
    for spec in [&other, &spec, &other] {
        rig.reload(spec);
        let after: Vec<_> = (4000..4030)
            .map(|port| receiver(&client(&mut rig, port, ACK)))
            .collect();
        assert_eq!(after, before);
    }
}

#[test]
fn in_a_full_table_unproven_sessions_are_evicted_and_proven_ones_are_not() {
    let web = usual(ForwardMethod::Direct, REALS, REALS6).remove(0);
    let alone = two_armed(vec![web]);
    let mut rig = Rig::with_sessions(1, 64, &alone);
    for port in 0..64 {
        client(&mut rig, 1000 + port, SYN);
    }
    client(&mut rig, 9000, SYN);
    let stats = rig.stats().next().unwrap();
    assert_eq!(stats.evicted(EvictionCause::Unproven), 1);
    assert_eq!(rig.sessions().len(), 64);
    let mut rig = Rig::with_sessions(1, 64, &alone);
    for flags in [&[SYN][..], &[ACK; 10]].concat() {
        for port in 0..64 {
            client(&mut rig, 1000 + port, flags);
        }
        rig.wait_ms(1000);
    }
    assert_eq!(client(&mut rig, 9000, SYN), []);
    assert_eq!(rig.all_drops(), [(DropReason::SessionTableFull, 1)]);
    let active: u64 = REALS.iter().map(|real| counts(&rig, real).0).sum();
    assert_eq!(active, rig.sessions().len() as u64);
    finish(rig);
}

#[test]
fn udp_sessions_are_inactive_and_follow_their_real_server() {
    let mut rig = Rig::new(1, &direct());
    let ask = from_wan(CLIENT, VIP).udp(4000, 53).build();
    for _ in 0..3 {
        assert_eq!(receiver(&rig.pass(WAN, &ask)), 0);
    }
    assert_eq!(counts(&rig, REALS[0]), (0, 1));
    assert_eq!(rig.totals(ip(REALS[0])).in_packets, 3);
    rig.wait_ms(300_250);
    assert_eq!(receiver(&rig.pass(WAN, &ask)), 1);
}
