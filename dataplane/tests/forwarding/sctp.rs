//! SCTP: how associations begin, go through their states and end, and what is told to those that do not.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::session::State;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::spec::target::{Mark, Rule, Target};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Sent};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

const PORT: u16 = 3868;
const REAL_PORT: u16 = 11_868;

const DATA: u8 = 0;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

const FAMILIES: [(&str, &str, [&str; 3]); 2] = [(CLIENT, VIP, REALS), (CLIENT6, VIP6, REALS6)];

fn client(rig: &mut Rig, port: u16, chunk: u8) -> Vec<Sent> {
    rig.pass(WAN, &from_wan(CLIENT, VIP).sctp(port, PORT, chunk).build())
}

fn server(rig: &mut Rig, port: u16, chunk: u8) -> Vec<Sent> {
    let answer = from_lan(REALS[0], CLIENT).sctp(REAL_PORT, port, chunk);
    rig.pass(LAN, &answer.build())
}

/// State, time left in seconds, active and inactive connections of the only session.
fn seen(rig: &mut Rig) -> (&'static str, u64, (u64, u64)) {
    let sessions = rig.sessions();
    let [session] = sessions[..] else {
        panic!("{sessions:?}");
    };
    assert!(matches!(session.state, State::Sctp(_)));
    let left = session.deadline.ms_since(rig.now()) / 1000;
    let totals = rig.totals(ip(REALS[0]));
    (session.state.name(), left, (totals.active, totals.inactive))
}

#[test]
fn a_one_way_association_goes_through_its_states() {
    for spec in [direct(), tunnel()] {
        let mut rig = Rig::new(1, &spec);
        for (chunk, expected) in [
            (INIT, ("INIT1", 4, (0, 1))),
            (INIT, ("INIT", 61, (0, 1))),
            (COOKIE_ECHO, ("ESTABLISHED", 900, (1, 0))),
            (DATA, ("ESTABLISHED", 900, (1, 0))),
            (SHUTDOWN, ("S-RECEIVED", 61, (0, 1))),
            (SHUTDOWN_COMPLETE, ("CLOSED", 61, (0, 1))),
        ] {
            assert_eq!(client(&mut rig, 4000, chunk).len(), 1);
            assert_eq!(seen(&mut rig), expected);
        }
        rig.wait_ms(61_250);
        assert!(rig.sessions().is_empty());
        finish(rig);
    }
}

#[test]
fn a_nat_association_is_seen_from_both_sides() {
    let mut rig = Rig::new(1, &nat());
    let steps: [(bool, u8, &str); 9] = [
        (true, INIT, "INIT1"),
        (false, INIT_ACK, "C-SENT"),
        (true, COOKIE_ECHO, "C-REPLIED"),
        (false, COOKIE_ACK, "ESTABLISHED"),
        (true, DATA, "ESTABLISHED"),
        (false, SHUTDOWN, "S-SENT"),
        (true, SHUTDOWN_ACK, "S-ACK-SENT"),
        (false, SHUTDOWN_COMPLETE, "CLOSED"),
        (true, DATA, "CLOSED"),
    ];
    for (from_client, chunk, expected) in steps {
        let sent = if from_client {
            client(&mut rig, 4000, chunk)
        } else {
            server(&mut rig, 4000, chunk)
        };
        assert_eq!(sent.len(), 1);
        assert_eq!(seen(&mut rig).0, expected, "{from_client} {chunk}");
    }
    finish(rig);
}

#[test]
fn a_real_server_that_refuses_is_forgotten_soon() {
    let mut rig = Rig::new(1, &nat());
    client(&mut rig, 4000, INIT);
    assert_eq!(server(&mut rig, 4000, ABORT).len(), 1);
    assert_eq!(seen(&mut rig), ("REJECTED", 4, (0, 1)));
    rig.wait_ms(4_250);
    assert!(rig.sessions().is_empty());
    finish(rig);
}

#[test]
fn an_init_on_a_closed_association_is_scheduled_afresh() {
    let mut rig = Rig::new(1, &direct());
    for chunk in [INIT, COOKIE_ECHO, INIT] {
        let to = &client(&mut rig, 4000, chunk)[0].1[..6];
        assert_eq!(to, mac_of(REALS[0]).0, "one association");
    }
    for chunk in [ABORT, DATA] {
        client(&mut rig, 4000, chunk);
        assert_eq!(seen(&mut rig).0, "CLOSED");
    }
    let to = &client(&mut rig, 4000, INIT)[0].1[..6];
    assert_eq!(to, mac_of(REALS[1]).0, "round robin's next");
    assert_eq!(rig.sessions().len(), 1);
    finish(rig);
}

#[test]
fn only_who_asks_for_an_association_is_told_that_nobody_gives_it() {
    for (client, vip, _) in FAMILIES {
        let v6 = client.contains(':');
        for spec in [direct(), nat(), tunnel()] {
            let mut rig = Rig::new(1, &spec);
            let request = from_wan(client, vip).sctp(4000, PORT + 1, INIT);
            let answer = packet(vip, client).mac(WAN_MAC, GATEWAY_MAC);
            let quoted = request.build_datagram();
            let answer = if v6 {
                // RFC 4443 section 3.4: where the unknown protocol is named.
                answer.icmp_error(4, 1, 6, &quoted)
            } else {
                answer.tos(0xc0).id(1).icmp_error(3, 2, 0, &quoted)
            };
            expect(&rig.pass(WAN, &request.build()), &[(WAN, answer.build())]);
            assert_eq!(rig.all_drops(), [(DropReason::NoService, 1)]);
            assert!(rig.sessions().is_empty());
            finish(rig);
        }
    }
}

#[test]
fn what_is_of_an_unknown_association_is_dropped_without_a_word() {
    for (client, vip, _) in FAMILIES {
        for chunk in [DATA, COOKIE_ECHO, ABORT, HEARTBEAT, SHUTDOWN_ACK] {
            for (port, reason) in [
                (PORT, DropReason::NoSession),
                (PORT + 1, DropReason::NoService),
            ] {
                for spec in [direct(), nat(), tunnel()] {
                    let mut rig = Rig::new(1, &spec);
                    let stray = from_wan(client, vip).sctp(4000, port, chunk);
                    assert_eq!(rig.pass(WAN, &stray.build()), []);
                    assert_eq!(rig.all_drops(), [(reason, 1)]);
                    assert!(rig.sessions().is_empty());
                    finish(rig);
                }
            }
        }
    }
}

#[test]
fn the_second_path_of_an_association_stays_down_and_ends_nothing() {
    const SECOND_VIP: &str = "192.0.2.101";
    let reals = |vip| {
        let reals = REALS.map(|address| real(address, PORT, ForwardMethod::Direct));
        service(Protocol::Sctp, vip, PORT, reals.to_vec())
    };
    let mut rig = Rig::new(1, &two_armed(vec![reals(VIP), reals(SECOND_VIP)]));
    for chunk in [INIT, COOKIE_ECHO] {
        assert_eq!(client(&mut rig, 3000, chunk).len(), 1);
    }
    for (from, to) in [(CLIENT, SECOND_VIP), ("198.51.100.99", VIP)] {
        let probe = from_wan(from, to).sctp(3000, PORT, HEARTBEAT);
        assert_eq!(rig.pass(WAN, &probe.build()), []);
    }
    assert_eq!(rig.all_drops(), [(DropReason::NoSession, 2)]);
    assert_eq!(
        client(&mut rig, 3000, DATA).len(),
        1,
        "the first path goes on"
    );
    finish(rig);
}

#[test]
fn behind_extension_headers_the_last_one_names_the_protocol() {
    let mut rig = Rig::new(1, &direct());
    let request = from_wan(CLIENT6, VIP6)
        .extension(60, &[1, 4, 0, 0, 0, 0])
        .sctp(4000, PORT + 1, INIT);
    let answer = packet(VIP6, CLIENT6).mac(WAN_MAC, GATEWAY_MAC);
    let answer = answer.icmp_error(4, 1, 40, &request.build_datagram());
    expect(&rig.pass(WAN, &request.build()), &[(WAN, answer.build())]);
    finish(rig);
}

#[test]
fn a_packet_without_a_chunk_is_refused() {
    for bytes in [11, 12, 15] {
        let mut rig = Rig::new(1, &direct());
        let short = from_wan(CLIENT, VIP).protocol(132).payload(&vec![0; bytes]);
        assert_eq!(rig.pass(WAN, &short.build()), []);
        assert_eq!(rig.all_drops(), [(DropReason::L4Header, 1)]);
        finish(rig);
    }
}

#[test]
fn a_wrong_crc_is_forwarded_and_stays_wrong_by_as_much() {
    let mut rig = Rig::new(1, &nat());
    let wrong = |builder: PacketBuilder, port: u16| builder.sctp(4000, port, INIT).bad_checksum();
    let request = wrong(from_wan(CLIENT, VIP), PORT).build();
    let expected = wrong(to_lan(REALS[0], CLIENT, REALS[0]), REAL_PORT).build();
    expect(&rig.pass(WAN, &request), &[(LAN, expected)]);
    finish(rig);
}

#[test]
fn a_fragmented_packet_is_rewritten_as_a_whole() {
    for (client, vip, reals) in FAMILIES {
        let mut rig = Rig::new(1, &nat());
        let data: Vec<u8> = (0..=250).cycle().take(3000).collect();
        let packet = |builder: PacketBuilder, port, chunk| {
            builder.id(9).sctp(4000, port, chunk).payload(&data)
        };
        for chunk in [INIT, DATA] {
            let pieces = packet(from_wan(client, vip), PORT, chunk).build_fragments(1200);
            let expected = packet(to_lan(reals[0], client, reals[0]), REAL_PORT, chunk);
            let expected = expected.build_fragments(1200).into_iter();
            let expected: Vec<Sent> = expected.map(|frame| (LAN, frame)).collect();
            let sent: Vec<Sent> = pieces
                .iter()
                .flat_map(|piece| rig.pass(WAN, piece))
                .collect();
            expect(&sent, &expected);
        }
        finish(rig);
    }
}

/// The IP header of a datagram and the eight bytes that an old router quotes behind it.
fn quote(builder: &PacketBuilder) -> Vec<u8> {
    let datagram = builder.build_datagram();
    let header = if datagram[0] >> 4 == 6 { 40 } else { 20 };
    datagram[..header + 8].to_vec()
}

#[test]
fn an_error_about_an_association_finds_it_by_eight_bytes() {
    for (client, vip, reals) in FAMILIES {
        let (kind, code) = if client.contains(':') { (1, 4) } else { (3, 3) };
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).sctp(4000, PORT, INIT).build());
        let seen = quote(&packet(vip, client).ttl(60).sctp(PORT, 4000, DATA));
        let inside = quote(&packet(reals[0], client).ttl(60).sctp(REAL_PORT, 4000, DATA));
        let error = from_wan(client, vip).icmp_error(kind, code, 0, &seen);
        let expected = to_lan(reals[0], client, reals[0]).icmp_error(kind, code, 0, &inside);
        expect(&rig.pass(WAN, &error.build()), &[(LAN, expected.build())]);
        let seen = quote(&packet(client, reals[0]).ttl(60).sctp(4000, REAL_PORT, INIT));
        let inside = quote(&packet(client, vip).ttl(60).sctp(4000, PORT, INIT));
        let error = from_lan(reals[0], client).icmp_error(kind, code, 0, &seen);
        let expected = to_wan(vip, client).icmp_error(kind, code, 0, &inside);
        expect(&rig.pass(LAN, &error.build()), &[(WAN, expected.build())]);
        finish(rig);
    }
}

#[test]
fn nothing_begins_at_the_port_of_ftp_data() {
    let ftp_data = |builder: PacketBuilder, protocol| match protocol {
        Protocol::Tcp => builder.tcp(20, 80).flags(SYN),
        Protocol::Udp => builder.udp(20, 53),
        Protocol::Sctp => builder.sctp(20, PORT, INIT),
    };
    for (client, vip, _) in FAMILIES {
        for protocol in Protocol::ALL {
            for spec in [direct(), nat()] {
                let mut rig = Rig::new(1, &spec);
                let request = ftp_data(from_wan(client, vip), protocol);
                let sent = rig.pass(WAN, &request.build());
                assert_eq!(sent.len(), 1, "refused, not left waiting");
                assert_eq!(sent[0].0, WAN);
                assert_eq!(rig.all_drops(), [(DropReason::NoSession, 1)]);
                assert!(rig.sessions().is_empty());
                finish(rig);
            }
        }
    }
}

#[test]
fn associations_follow_their_real_server_when_it_is_removed_and_begin_elsewhere() {
    let some = |count: usize| {
        let reals = REALS.iter().skip(3 - count);
        let reals = reals.map(|address| real(address, PORT, ForwardMethod::Direct));
        two_armed(vec![service(Protocol::Sctp, VIP, PORT, reals.collect())])
    };
    let mut rig = Rig::new(1, &some(3));
    for chunk in [INIT, COOKIE_ECHO] {
        client(&mut rig, 4000, chunk);
    }
    rig.reload(&some(2));
    let to = &client(&mut rig, 4000, DATA)[0].1[..6];
    assert_eq!(to, mac_of(REALS[0]).0);
    let to = &client(&mut rig, 4000, INIT)[0].1[..6];
    assert_ne!(to, mac_of(REALS[0]).0);
    finish(rig);
}

/// Rules for SCTP: one that says no protocol, and one that says this one.
fn rules() -> [Rule; 2] {
    [None, Some(Protocol::Sctp)].map(|protocol| Rule {
        protocol,
        ports: vec![PORT..=PORT],
        ..Rule::default()
    })
}

#[test]
fn rules_take_associations_whose_replies_come_from_the_virtual_address() {
    for rule in rules() {
        for (client, vip, reals, workers) in FAMILIES
            .into_iter()
            .flat_map(|(a, b, c)| [(a, b, c, 1), (a, b, c, 3)])
        {
            let mark = Mark {
                number: 1,
                is_v6: client.contains(':'),
            };
            let target = Target::Match {
                mark,
                rules: vec![rule.clone()].into(),
            };
            let to = vec![real(reals[0], REAL_PORT, ForwardMethod::Nat)];
            let service = ServiceSpec::new("by rules", target, SchedulerKind::Rr, to);
            let mut rig = Rig::new(workers, &two_armed(vec![service]));
            for worker in 0..workers {
                let port = 4000 + u16::try_from(worker).unwrap();
                let request = from_wan(client, vip).sctp(port, PORT, INIT);
                let expected = to_lan(reals[0], client, reals[0]).sctp(port, REAL_PORT, INIT);
                let sent = rig.pass_on(worker, WAN, &request.build());
                expect(&sent, &[(LAN, expected.build())]);
                let answer = from_lan(reals[0], client).sctp(REAL_PORT, port, INIT_ACK);
                let expected = to_wan(vip, client).sctp(PORT, port, INIT_ACK);
                let sent = rig.pass_on(worker, LAN, &answer.build());
                expect(&sent, &[(WAN, expected.build())]);
            }
            finish(rig);
        }
    }
}
