//! Idle sessions: how long each service's live, and who is told when their time is over.

use std::time::Duration;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::timeouts::{OwnTimeouts, Timeouts};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Sent};

use crate::net::*;

fn times(tcp: u64, tcp_fin: u64, udp: u64, sctp: u64) -> Timeouts {
    let [tcp, tcp_fin, udp, sctp] =
        [tcp, tcp_fin, udp, sctp].map(|seconds| Duration::from_secs(seconds).into());
    Timeouts {
        tcp,
        tcp_fin,
        udp,
        sctp,
        ..Timeouts::DEFAULT
    }
}

/// The same of one service itself.
fn own(times: Timeouts) -> OwnTimeouts {
    OwnTimeouts {
        tcp: Some(times.tcp),
        tcp_fin: Some(times.tcp_fin),
        tcp_time_wait: None,
        udp: Some(times.udp),
        sctp: Some(times.sctp),
    }
}

/// Seconds left of the only session.
fn left(rig: &mut Rig) -> u64 {
    let sessions = rig.sessions();
    assert_eq!(sessions.len(), 1);
    sessions[0].deadline.ms_since(rig.now()) / 1000
}

#[test]
fn each_service_has_times_of_its_own_or_the_common_ones() {
    for spec in [direct(), nat(), tunnel()] {
        for (says, tcp, fin, udp, sctp) in [
            (OwnTimeouts::NONE, 30, 31, 32, 33),
            (own(times(40, 41, 42, 43)), 40, 41, 42, 43),
        ] {
            let mut spec = spec.clone();
            spec.network.timeouts = times(30, 31, 32, 33);
            for service in &mut spec.services {
                service.timeouts = says;
            }
            let both = |dr: u64, nat: u64| {
                if spec.services[0].reals[0].port == 80 {
                    dr
                } else {
                    nat
                }
            };
            let tcp = [(SYN, 60), (ACK, tcp), (FIN_ACK, both(fin, 60))];
            let sctp = [(INIT, 4), (10, both(sctp, 61)), (0, both(sctp, 61))];
            let mut rig = Rig::new(1, &spec);
            for (flags, expected) in tcp {
                rig.pass(
                    WAN,
                    &from_wan(CLIENT, VIP).tcp(4000, 80).flags(flags).build(),
                );
                assert_eq!(left(&mut rig), expected);
            }
            let mut rig = Rig::new(1, &spec);
            rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
            assert_eq!(left(&mut rig), udp);
            let mut rig = Rig::new(1, &spec);
            for (chunk, expected) in sctp {
                rig.pass(WAN, &from_wan(CLIENT, VIP).sctp(4000, 3868, chunk).build());
                assert_eq!(left(&mut rig), expected);
            }
        }
    }
}

#[test]
fn a_reload_changes_the_time_at_a_sessions_next_packet() {
    let spec = |own: OwnTimeouts, common| {
        let mut spec = nat();
        spec.network.timeouts = common;
        for service in &mut spec.services {
            service.timeouts = own;
        }
        spec
    };
    let common = Timeouts::DEFAULT;
    let mut rig = Rig::new(1, &spec(OwnTimeouts::NONE, common));
    let ask = from_wan(CLIENT, VIP).udp(4000, 53).build();
    let answer = from_lan(REALS[0], CLIENT).udp(8053, 4000).build();
    rig.pass(WAN, &ask);
    assert_eq!(left(&mut rig), 300);
    rig.reload(&spec(own(times(1, 1, 20, 1)), common));
    assert_eq!(left(&mut rig), 300, "not before");
    rig.pass(WAN, &ask);
    assert_eq!(left(&mut rig), 20);
    rig.reload(&spec(OwnTimeouts::NONE, times(1, 1, 40, 1)));
    rig.pass(LAN, &answer);
    assert_eq!(left(&mut rig), 40);
    // Of a real server that was removed too.
    let mut without = spec(own(times(50, 50, 50, 50)), common);
    for service in &mut without.services {
        service.reals.remove(0);
    }
    rig.reload(&without);
    rig.pass(LAN, &answer);
    assert_eq!(left(&mut rig), 50);
    for service in &mut without.services {
        service.timeouts = OwnTimeouts::NONE;
    }
    rig.reload(&without);
    rig.pass(LAN, &answer);
    assert_eq!(left(&mut rig), 300);
    finish(rig);
}

const FAMILIES: [(&str, &str, [&str; 3], &str); 2] = [
    (CLIENT, VIP, REALS, LAN_ADDRESS),
    (CLIENT6, VIP6, REALS6, LAN_ADDRESS6),
];

fn told(mut spec: Spec) -> Spec {
    spec.network.timeouts = times(30, 30, 30, 30);
    for service in &mut spec.services {
        service.policy.idle_reset = true;
    }
    spec
}

/// A client's handshake, then four bytes.
fn talk(rig: &mut Rig, client: &str, vip: &str) {
    let segment = |flags, sequence, acknowledgement| {
        let segment = from_wan(client, vip).tcp(4000, 80).flags(flags);
        segment.numbers(sequence, acknowledgement)
    };
    // The client's numbers wrap around.
    for segment in [
        segment(SYN, u32::MAX - 1, 0),
        segment(ACK, u32::MAX, 7001),
        segment(ACK, u32::MAX, 7001).payload(b"four"),
        // The real server's answer of 100 bytes.
        segment(ACK, 3, 7101),
    ] {
        assert_eq!(rig.pass(WAN, &segment.build()).len(), 1);
    }
}

fn reset(builder: PacketBuilder, ports: (u16, u16), sequence: u32) -> PacketBuilder {
    let reset = builder.tcp(ports.0, ports.1).flags(RST).window(0);
    reset.numbers(sequence, 0)
}

/// What the client is sent when the session of `talk` is over.
fn to_client(client: &str, vip: &str) -> Sent {
    let from_vip = packet(vip, client).mac(WAN_MAC, GATEWAY_MAC).df();
    (WAN, reset(from_vip, (80, 4000), 7101).build())
}

#[test]
fn both_ends_of_an_idle_session_are_reset_by_numbers_that_they_expect() {
    for (client, vip, reals, own) in FAMILIES {
        let cases = [
            (
                direct(),
                reset(to_lan(reals[0], client, vip).df(), (4000, 80), 3),
            ),
            (
                nat(),
                reset(to_lan(reals[0], client, reals[0]).df(), (4000, 8080), 3),
            ),
            (tunnel_of(TunnelKind::Ipip, REALS, REALS6), {
                let inner = reset(packet(client, vip).df().ttl(63), (4000, 80), 3);
                let number = if client.contains(':') { 41 } else { 4 };
                let outer = to_lan(reals[0], own, reals[0]).df();
                outer.protocol(number).payload(&inner.build_datagram())
            }),
        ];
        for (spec, to_real) in cases {
            let mut rig = Rig::new(1, &told(spec.clone()));
            talk(&mut rig, client, vip);
            assert_eq!(rig.wait_ms(29_500), []);
            let expected = [to_client(client, vip), (LAN, to_real.build())];
            expect(&rig.wait_ms(1_000), &expected);
            assert!(rig.sessions().is_empty());
            assert_eq!(rig.wait_ms(60_000), [], "once");
            finish(rig);
            // Nobody asked for it.
            let mut spec = told(spec);
            for service in &mut spec.services {
                service.policy.idle_reset = false;
            }
            let mut rig = Rig::new(1, &spec);
            talk(&mut rig, client, vip);
            assert_eq!(rig.wait_ms(40_000), []);
            finish(rig);
        }
    }
}

#[test]
fn what_is_not_established_ends_without_a_word() {
    for (last, seconds) in [(SYN, 60), (FIN_ACK, 60), (RST, 60)] {
        for spec in [direct(), nat()] {
            let mut rig = Rig::new(1, &told(spec));
            if last != SYN {
                talk(&mut rig, CLIENT, VIP);
            }
            let segment = from_wan(CLIENT, VIP).tcp(4000, 80).flags(last);
            rig.pass(WAN, &segment.numbers(3, 7101).build());
            assert_eq!(rig.wait_ms(seconds * 1000 + 1_000), []);
            assert!(rig.sessions().is_empty());
            finish(rig);
        }
    }
    for datagram in [
        from_wan(CLIENT, VIP).udp(4000, 53),
        from_wan(CLIENT, VIP).sctp(4000, 3868, INIT),
    ] {
        let mut rig = Rig::new(1, &told(direct()));
        rig.pass(WAN, &datagram.build());
        assert_eq!(rig.wait_ms(61_000), []);
        finish(rig);
    }
}

#[test]
fn keep_alives_and_late_segments_do_not_turn_the_numbers_back() {
    let mut rig = Rig::new(1, &told(direct()));
    talk(&mut rig, CLIENT, VIP);
    // RFC 9293 section 3.8.4: a probe bears the number before the next one.
    for (sequence, acknowledgement) in [(2, 7101), (u32::MAX, 7001)] {
        let old = from_wan(CLIENT, VIP).tcp(4000, 80).flags(ACK);
        rig.pass(WAN, &old.numbers(sequence, acknowledgement).build());
    }
    rig.wait_ms(29_500);
    let to_real = reset(to_lan(REALS[0], CLIENT, VIP).df(), (4000, 80), 3);
    expect(
        &rig.wait_ms(1_000),
        &[to_client(CLIENT, VIP), (LAN, to_real.build())],
    );
    finish(rig);
}

#[test]
fn a_session_that_was_there_before_the_switch_is_reset_once_it_has_spoken() {
    let mut before = told(direct());
    for service in &mut before.services {
        service.policy.idle_reset = false;
    }
    for speaks in [false, true] {
        let mut rig = Rig::new(1, &before);
        talk(&mut rig, CLIENT, VIP);
        rig.reload(&told(direct()));
        if speaks {
            let word = from_wan(CLIENT, VIP).tcp(4000, 80).flags(ACK);
            rig.pass(WAN, &word.numbers(3, 4_000_000_000).build());
        }
        let sent = rig.wait_ms(31_000);
        assert_eq!(sent.len(), if speaks { 2 } else { 0 });
        finish(rig);
    }
}

#[test]
fn a_crowd_of_idle_sessions_is_told_over_many_polls() {
    let mut rig = Rig::new(1, &told(direct()));
    for port in 0..300 {
        for flags in [SYN, ACK] {
            let segment = from_wan(CLIENT, VIP).tcp(4000 + port, 80).flags(flags);
            rig.pass(WAN, &segment.build());
        }
    }
    rig.wait_ms(29_500);
    let sent = rig.wait_ms(1_000);
    assert_eq!(sent.len(), 600);
    assert!(rig.sessions().is_empty());
    finish(rig);
}

#[test]
fn the_client_is_told_even_if_no_way_leads_to_the_real_server() {
    let reals = vec![real("203.0.113.9", 80, ForwardMethod::Direct)];
    let mut spec = told(two_armed(vec![service(Protocol::Tcp, VIP, 80, reals)]));
    for route in &mut spec.network.routes {
        if route.via.is_ipv4() {
            route.to = "198.51.100.0/24".parse().unwrap();
        }
    }
    let mut rig = Rig::new(1, &spec);
    for (flags, acknowledgement) in [(SYN, 0), (ACK, 7101)] {
        let segment = from_wan(CLIENT, VIP).tcp(4000, 80).flags(flags);
        rig.pass(WAN, &segment.numbers(9, acknowledgement).build());
    }
    rig.wait_ms(29_500);
    expect(&rig.wait_ms(1_000), &[to_client(CLIENT, VIP)]);
    finish(rig);
}
