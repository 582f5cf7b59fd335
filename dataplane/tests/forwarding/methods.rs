//! Each forwarding method on each family and protocol: what it changes, and what it leaves alone.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::testing::{PacketBuilder, Rig};

use crate::net::*;

const FAMILIES: [(&str, &str, [&str; 3], &str); 2] = [
    (CLIENT, VIP, REALS, LAN_ADDRESS),
    (CLIENT6, VIP6, REALS6, LAN_ADDRESS6),
];

/// A SYN, a datagram or an INIT, as a client sends it.
fn first(builder: PacketBuilder, protocol: Protocol, ports: (u16, u16)) -> PacketBuilder {
    match protocol {
        Protocol::Tcp => builder.tcp(ports.0, ports.1).flags(SYN),
        Protocol::Udp => builder.udp(ports.0, ports.1).payload(b"question"),
        Protocol::Sctp => builder.sctp(ports.0, ports.1, INIT).payload(&[7; 16]),
    }
}

const KINDS: [(Protocol, u16); 3] = [
    (Protocol::Tcp, 80),
    (Protocol::Udp, 53),
    (Protocol::Sctp, 3868),
];

#[test]
fn direct_routing_changes_macs_and_ttl_alone() {
    for (client, vip, reals, _) in FAMILIES {
        for (protocol, port) in KINDS {
            let mut rig = Rig::new(1, &direct());
            let request = first(from_wan(client, vip), protocol, (4000, port));
            let expected = first(to_lan(reals[0], client, vip), protocol, (4000, port));
            let sent = rig.pass(WAN, &request.build());
            expect(&sent, &[(LAN, expected.build())]);
            finish(rig);
        }
    }
}

#[test]
fn nat_maps_address_and_port_both_ways() {
    for (client, vip, reals, _) in FAMILIES {
        for (protocol, port) in KINDS {
            let mut rig = Rig::new(1, &nat());
            let request = first(from_wan(client, vip), protocol, (4000, port));
            let expected = first(
                to_lan(reals[0], client, reals[0]),
                protocol,
                (4000, port + 8000),
            );
            expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
            let reply = first(from_lan(reals[0], client), protocol, (port + 8000, 4000));
            let expected = first(to_wan(vip, client), protocol, (port, 4000));
            expect(&rig.pass(LAN, &reply.build()), &[(WAN, expected.build())]);
            finish(rig);
        }
    }
}

#[test]
fn a_tunnel_wraps_the_packet_in_either_family() {
    for (client, vip, ..) in FAMILIES {
        for (_, _, reals, source) in FAMILIES {
            for (protocol, port) in KINDS {
                let spec = two_armed(usual(ForwardMethod::Tunnel, reals, reals));
                let mut rig = Rig::new(1, &spec);
                let inner = packet(client, vip).ttl(33).tos(0x28).df();
                let request = first(
                    inner.clone().mac(GATEWAY_MAC, WAN_MAC),
                    protocol,
                    (4000, port),
                );
                let inner = first(inner.ttl(32), protocol, (4000, port)).build_datagram();
                let number = if client.contains(':') { 41 } else { 4 };
                let outer = to_lan(reals[0], source, reals[0]).ttl(32).tos(0x28);
                // IPv6 has no such flag to copy.
                let outer = if number == 4 { outer.df() } else { outer.id(1) };
                let expected = outer.protocol(number).payload(&inner);
                expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
                finish(rig);
            }
        }
    }
}

/// The UDP source port of the datagram in a frame without IP options.
fn source_port(frame: &[u8]) -> u16 {
    let at = if frame[12..14] == [8, 0] { 34 } else { 54 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[test]
fn gre_and_gue_wrap_the_packet_in_either_family() {
    for (client, vip, ..) in FAMILIES {
        let v6 = client.contains(':');
        for (_, _, reals, source) in FAMILIES {
            for (protocol, port) in KINDS {
                for kind in [GRE, GUE] {
                    let mut rig = Rig::new(1, &tunnel_of(kind, reals, reals));
                    let inner = packet(client, vip).ttl(33).tos(0x28).df();
                    let request = first(
                        inner.clone().mac(GATEWAY_MAC, WAN_MAC),
                        protocol,
                        (4000, port),
                    );
                    let inner = first(inner.ttl(32), protocol, (4000, port)).build_datagram();
                    let sent = rig.pass(WAN, &request.build());
                    let outer = to_lan(reals[0], source, reals[0]).ttl(32).tos(0x28);
                    let outer = if v6 { outer.id(1) } else { outer.df() };
                    let expected = match kind {
                        TunnelKind::Gue { port, .. } => {
                            let number = if v6 { 41 } else { 4 };
                            let flow = source_port(&sent[0].1);
                            assert!(flow >= 49_152, "{flow}");
                            outer
                                .udp(flow, port)
                                .payload(&[&[0, number, 0, 0], &inner[..]].concat())
                                .no_udp_checksum()
                        }
                        _ => {
                            let ether_type = if v6 { [0x86, 0xdd] } else { [8, 0] };
                            outer
                                .protocol(47)
                                .payload(&[&[0, 0], &ether_type[..], &inner[..]].concat())
                        }
                    };
                    expect(&sent, &[(LAN, expected.build())]);
                    finish(rig);
                }
            }
        }
    }
}

#[test]
fn the_source_port_of_gue_is_the_flows() {
    for (client, vip, ..) in FAMILIES {
        let gue = GUE;
        let mut rig = Rig::new(1, &tunnel_of(gue, REALS, REALS6));
        let mut ports = std::collections::BTreeSet::new();
        for from in 4000..4256 {
            let request = from_wan(client, vip).udp(from, 53);
            let [one, other] = [&b"one"[..], b"another"].map(|payload| {
                let sent = rig.pass(WAN, &request.clone().payload(payload).build());
                source_port(&sent[0].1)
            });
            assert_eq!(one, other);
            ports.insert(one);
        }
        // Of 256 flows in 16384 ports, two are expected to meet another.
        assert!(ports.len() > 240, "{}", ports.len());
        finish(rig);
    }
}

#[test]
fn a_tunnel_does_not_repeat_congestion_outside_and_numbers_what_may_be_fragmented() {
    let mut rig = Rig::new(1, &tunnel());
    for (id, (tos, outer_tos)) in (1..).zip([(3, 2), (1, 1), (0xff, 0xfe), (0, 0)]) {
        let packet = packet(CLIENT, VIP).tos(tos).udp(4000, 53).payload(b"x");
        let request = packet.clone().mac(GATEWAY_MAC, WAN_MAC).build();
        let expected = to_lan(REALS[0], LAN_ADDRESS, REALS[0])
            .tos(outer_tos)
            .id(id)
            .protocol(4)
            .payload(&packet.ttl(63).build_datagram());
        expect(&rig.pass(WAN, &request), &[(LAN, expected.build())]);
    }
    finish(rig);
}

#[test]
fn with_one_arm_everything_happens_on_one_port() {
    for forward in [
        ForwardMethod::Direct,
        ForwardMethod::Nat,
        ForwardMethod::Tunnel,
    ] {
        let mut rig = Rig::new(1, &one_armed(usual(forward, REALS, REALS6)));
        let request = packet(CLIENT, VIP).tcp(4000, 80).flags(SYN);
        let out = packet(CLIENT, VIP).ttl(63).tcp(4000, 80).flags(SYN);
        let macs = |builder: PacketBuilder| builder.mac(WAN_MAC, mac_of(REALS[0])).ttl(63);
        let expected = match forward {
            ForwardMethod::Direct => macs(out),
            ForwardMethod::Nat => macs(packet(CLIENT, REALS[0]).tcp(4000, 8080).flags(SYN)),
            ForwardMethod::Tunnel => macs(packet(LAN_ADDRESS, REALS[0]))
                .id(1)
                .protocol(4)
                .payload(&out.build_datagram()),
        };
        let sent = rig.pass(WAN, &request.mac(GATEWAY_MAC, WAN_MAC).build());
        expect(&sent, &[(WAN, expected.build())]);
        finish(rig);
    }
}

#[test]
fn each_session_goes_to_the_next_real_server_and_stays_there() {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::new(1, &spec);
        for round in 0..6 {
            let request = from_wan(CLIENT, VIP).tcp(4000 + round, 80);
            let first = rig.pass(WAN, &request.clone().flags(SYN).build());
            let again = rig.pass(WAN, &request.flags(ACK).payload(b"GET /").build());
            let expected = mac_of(REALS[usize::from(round) % 3]);
            for (port, frame) in first.iter().chain(&again) {
                assert_eq!((*port, &frame[..6]), (LAN, &expected.0[..]));
            }
            assert_eq!((first.len(), again.len()), (1, 1));
        }
        finish(rig);
    }
}

#[test]
fn options_type_of_service_and_payload_pass_untouched() {
    let dress = |builder: PacketBuilder| {
        builder
            .options(&[0x94, 4, 0, 0])
            .tos(0xb9)
            .id(4711)
            .df()
            .numbers(1, 2)
            .payload(b"body")
    };
    let mut rig = Rig::new(1, &direct());
    let request = dress(from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN));
    let expected = dress(to_lan(REALS[0], CLIENT, VIP).tcp(4000, 80).flags(SYN));
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
    let mut rig = Rig::new(1, &nat());
    let expected = dress(
        to_lan(REALS[0], CLIENT, REALS[0])
            .tcp(4000, 8080)
            .flags(SYN),
    );
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
}

#[test]
fn ipv6_extension_headers_pass_untouched() {
    let dress = |builder: PacketBuilder| builder.extension(60, &[1, 4, 0, 0, 0, 0]).tcp(4000, 80);
    let mut rig = Rig::new(1, &direct());
    let request = dress(from_wan(CLIENT6, VIP6)).flags(SYN);
    let expected = dress(to_lan(REALS6[0], CLIENT6, VIP6)).flags(SYN);
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
    let mut rig = Rig::new(1, &nat());
    let expected = to_lan(REALS6[0], CLIENT6, REALS6[0])
        .extension(60, &[1, 4, 0, 0, 0, 0])
        .tcp(4000, 8080)
        .flags(SYN);
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
}

#[test]
fn a_datagram_without_a_checksum_gets_one_from_nat_alone() {
    let ask = |builder: PacketBuilder| builder.udp(4000, 53).payload(b"odd");
    let mut rig = Rig::new(1, &nat());
    let request = ask(from_wan(CLIENT, VIP)).no_udp_checksum();
    let expected = to_lan(REALS[0], CLIENT, REALS[0])
        .udp(4000, 8053)
        .payload(b"odd");
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
    let reply = from_lan(REALS[0], CLIENT).udp(8053, 4000).payload(b"back");
    let expected = to_wan(VIP, CLIENT).udp(53, 4000).payload(b"back");
    let sent = rig.pass(LAN, &reply.no_udp_checksum().build());
    expect(&sent, &[(WAN, expected.build())]);
    let mut rig = Rig::new(1, &direct());
    let expected = ask(to_lan(REALS[0], CLIENT, VIP)).no_udp_checksum();
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
}

#[test]
fn a_wrong_transport_checksum_stays_as_wrong_as_it_was() {
    for (client, vip, reals, _) in FAMILIES {
        for (protocol, port) in KINDS {
            let mut rig = Rig::new(1, &nat());
            let request = first(from_wan(client, vip), protocol, (4000, port)).bad_checksum();
            let sent = rig.pass(WAN, &request.build());
            let right = first(
                to_lan(reals[0], client, reals[0]),
                protocol,
                (4000, port + 8000),
            );
            let right = right.build();
            assert_eq!(sent.len(), 1, "{protocol}");
            let differences = sent[0].1.iter().zip(&right).filter(|(a, b)| a != b).count();
            assert!(
                (1..=2).contains(&differences),
                "{protocol} {client}: {differences}"
            );
        }
    }
    let mut rig = Rig::new(1, &direct());
    let request = from_wan(CLIENT, VIP)
        .tcp(4000, 80)
        .flags(SYN)
        .bad_checksum();
    let expected = to_lan(REALS[0], CLIENT, VIP)
        .tcp(4000, 80)
        .flags(SYN)
        .bad_checksum();
    expect(&rig.pass(WAN, &request.build()), &[(LAN, expected.build())]);
}

#[test]
fn padding_and_a_priority_tag_are_removed() {
    for spec in [direct(), nat(), tunnel()] {
        let mut plain = Rig::new(1, &spec);
        let mut dressed = Rig::new(1, &spec);
        let request = from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN);
        let expected = plain.pass(WAN, &request.build());
        assert_eq!(expected.len(), 1);
        expect(
            &dressed.pass(WAN, &request.clone().vlan(0).padded_to(64).build()),
            &expected,
        );
        finish(dressed);
    }
}

#[test]
fn packets_and_bytes_are_counted_without_ethernet() {
    let mut rig = Rig::new(1, &nat());
    rig.pass(
        WAN,
        &from_wan(CLIENT, VIP)
            .tcp(4000, 80)
            .flags(SYN)
            .padded()
            .build(),
    );
    rig.pass(
        LAN,
        &from_lan(REALS[0], CLIENT)
            .tcp(8080, 4000)
            .flags(SYN_ACK)
            .build(),
    );
    rig.pass(
        WAN,
        &from_wan(CLIENT, VIP)
            .tcp(4000, 80)
            .payload(&[0; 100])
            .build(),
    );
    let totals = rig.totals(ip(REALS[0]));
    assert_eq!((totals.sessions, totals.active, totals.inactive), (1, 1, 0));
    assert_eq!((totals.in_packets, totals.in_bytes), (2, 40 + 140));
    assert_eq!((totals.out_packets, totals.out_bytes), (1, 40));
}
