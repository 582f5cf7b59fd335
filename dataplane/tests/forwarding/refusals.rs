//! What is not forwarded, and why.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::testing::{PacketBuilder, Rig};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::Mac;

use crate::net::*;

#[track_caller]
fn refused(frame: &[u8], reason: DropReason) {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::new(1, &spec);
        assert_eq!(rig.pass(WAN, frame), []);
        assert_eq!(rig.all_drops(), [(reason, 1)]);
        finish(rig);
    }
}

fn syn(builder: PacketBuilder) -> PacketBuilder {
    builder.tcp(4000, 80).flags(SYN)
}

#[test]
fn impossible_addresses_are_refused() {
    for from in [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        VIP,
        WAN_ADDRESS,
    ] {
        refused(&syn(from_wan(from, VIP)).build(), DropReason::MartianSource);
    }
    for from in [
        "::1",
        "::",
        "ff02::1",
        "::ffff:127.0.0.1",
        VIP6,
        WAN_ADDRESS6,
    ] {
        refused(
            &syn(from_wan(from, VIP6)).build(),
            DropReason::MartianSource,
        );
    }
    for (from, to) in [(CLIENT, "127.0.0.1"), (CLIENT, "0.0.0.0"), (CLIENT6, "::1")] {
        refused(
            &syn(from_wan(from, to)).build(),
            DropReason::MartianDestination,
        );
    }
}

#[test]
fn frames_for_other_stations_are_refused() {
    let to = |mac| syn(packet(CLIENT, VIP)).mac(GATEWAY_MAC, mac).build();
    refused(&to(LAN_MAC), DropReason::OtherMac);
    // Sent to everybody on the link, for one of them: everybody would forward it.
    refused(&to(Mac::BROADCAST), DropReason::OtherMac);
    refused(&to(Mac([1, 0, 0x5e, 0, 0, 1])), DropReason::OtherMac);
}

#[test]
fn broken_headers_are_refused() {
    let good = syn(from_wan(CLIENT, VIP)).build();
    let with = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        frame
    };
    refused(&[], DropReason::Truncated);
    refused(&good[..13], DropReason::Truncated);
    refused(&good[..33], DropReason::Truncated);
    refused(&good[..53], DropReason::Truncated);
    refused(&with(14, 0x35), DropReason::Ipv4Header);
    refused(&with(14, 0x44), DropReason::Ipv4Header);
    refused(
        &syn(from_wan(CLIENT, VIP)).bad_ip_checksum().build(),
        DropReason::Ipv4Checksum,
    );
    let short = from_wan(CLIENT, VIP).protocol(6).payload(&[0; 19]);
    refused(&short.build(), DropReason::L4Header);
    let short = from_wan(CLIENT6, VIP6).protocol(17).payload(&[0; 7]);
    refused(&short.build(), DropReason::L4Header);
    let mut v6 = syn(from_wan(CLIENT6, VIP6)).build();
    v6[14] = 0x40;
    refused(&v6, DropReason::Ipv6Header);
}

#[test]
fn tags_are_refused_unless_they_are_priorities() {
    refused(
        &syn(from_wan(CLIENT, VIP)).vlan(7).build(),
        DropReason::VlanUnknown,
    );
    refused(
        &syn(from_wan(CLIENT, VIP)).vlan(0).vlan(0).build(),
        DropReason::VlanStack,
    );
    refused(
        &syn(from_wan(CLIENT, VIP)).tag(0x88a8, 3).vlan(7).build(),
        DropReason::VlanStack,
    );
}

#[test]
fn a_stray_segment_begins_no_session() {
    for flags in [0, ACK, FIN_ACK, RST, RST | SYN, RST | ACK] {
        for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
            let stray = from_wan(client, vip).tcp(4000, 80).flags(flags);
            let stray = stray.numbers(1000, 2000).payload(b"four");
            let answer = packet(vip, client).mac(WAN_MAC, GATEWAY_MAC).df();
            let answer = answer.id(0).tcp(80, 4000).window(0);
            let answer = if flags & ACK != 0 {
                answer.flags(RST).numbers(2000, 0)
            } else {
                answer.flags(RST | ACK).numbers(0, 1004)
            };
            let expected = match flags & RST {
                0 => vec![(WAN, answer.build())],
                _ => vec![],
            };
            for spec in [direct(), nat(), tunnel()] {
                let mut rig = Rig::new(1, &spec);
                expect(&rig.pass(WAN, &stray.build()), &expected);
                assert_eq!(rig.all_drops(), [(DropReason::NoSession, 1)]);
                assert!(rig.sessions().is_empty());
                finish(rig);
            }
        }
    }
}

#[test]
fn a_port_without_service_answers_as_a_host_does() {
    let (no_service, unhandled) = (DropReason::NoService, DropReason::LocalUnhandled);
    for (client, vip, kind, code, tos, reason) in [
        (CLIENT, VIP, 3, 3, 0xc0, no_service),
        (CLIENT6, VIP6, 1, 4, 0, no_service),
        (CLIENT, WAN_ADDRESS, 3, 3, 0xc0, unhandled),
        (CLIENT6, WAN_ADDRESS6, 1, 4, 0, unhandled),
    ] {
        let mut rig = Rig::new(1, &direct());
        let request = from_wan(client, vip).tcp(4000, 81).flags(SYN);
        let reset = packet(vip, client)
            .mac(WAN_MAC, GATEWAY_MAC)
            .df()
            .id(0)
            .tcp(81, 4000)
            .flags(RST | ACK)
            .numbers(0, 1)
            .window(0);
        // Numbers wrap around.
        let request = request.numbers(0, 7).build();
        expect(&rig.pass(WAN, &request), &[(WAN, reset.build())]);
        let last = from_wan(client, vip).tcp(4000, 81).flags(SYN);
        let sent = rig.pass(WAN, &last.numbers(u32::MAX, 0).build());
        expect(&sent, &[(WAN, reset.numbers(0, 0).build())]);
        let ask = from_wan(client, vip).udp(4000, 54).payload(b"ask");
        let error = packet(vip, client)
            .mac(WAN_MAC, GATEWAY_MAC)
            .tos(tos)
            .id(1)
            .icmp_error(kind, code, 0, &ask.build_datagram());
        expect(&rig.pass(WAN, &ask.build()), &[(WAN, error.build())]);
        assert_eq!(rig.all_drops(), [(reason, 3)]);
        finish(rig);
    }
}

#[test]
fn an_unknown_protocol_is_answered_as_by_a_host() {
    for (client, address, kind, code, rest, tos) in [
        (CLIENT, VIP, 3, 2, 0, 0xc0),
        (CLIENT, WAN_ADDRESS, 3, 2, 0, 0xc0),
        // The pointer is where the number stands.
        (CLIENT6, VIP6, 4, 1, 6, 0),
    ] {
        let mut rig = Rig::new(1, &direct());
        let request = from_wan(client, address)
            .protocol(99)
            .payload(b"what is it");
        let error = packet(address, client)
            .mac(WAN_MAC, GATEWAY_MAC)
            .tos(tos)
            .id(1)
            .icmp_error(kind, code, rest, &request.build_datagram());
        expect(&rig.pass(WAN, &request.build()), &[(WAN, error.build())]);
        // RFC 8200 section 4.7: nothing follows, so there is nothing to complain about.
        let nothing = from_wan(CLIENT6, VIP6).protocol(59).build();
        assert_eq!(rig.pass(WAN, &nothing), []);
        finish(rig);
    }
}

#[test]
fn what_no_host_would_look_at_is_not_answered() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut rig = Rig::new(1, &direct());
        let mut short = from_wan(client, vip).udp(4000, 54).payload(b"ask").build();
        let length = short.len() - 11 + 4;
        short[length..length + 2].copy_from_slice(&[0, 7]);
        for frame in [
            syn(from_wan(client, vip)).tcp(1, 81).bad_checksum().build(),
            from_wan(client, vip).udp(1, 54).bad_checksum().build(),
            short,
            from_wan(client, vip).tcp(1, 81).flags(RST).build(),
            from_wan(vip, vip).tcp(1, 81).flags(ACK).build(),
            from_wan(vip, vip).tcp(1, 80).flags(ACK).build(),
        ] {
            assert_eq!(rig.pass(WAN, &frame), []);
        }
        finish(rig);
    }
}

#[test]
fn refusals_are_limited() {
    let mut rig = Rig::new(1, &direct());
    let mut answers = 0;
    for port in 0..1100 {
        answers += rig
            .pass(WAN, &from_wan(CLIENT, VIP).tcp(4000, 1000 + port).build())
            .len();
    }
    assert_eq!(answers, 1000);
    finish(rig);
}

#[test]
fn an_unreachable_real_server_is_told_to_the_client() {
    use plimsoll_dataplane::spec::Spec;
    for (client, vip, own, real, kind, code, tos) in [
        (CLIENT, VIP, WAN_ADDRESS, "10.1.0.99", 3, 1, 0xc0),
        (CLIENT6, VIP6, WAN_ADDRESS6, "2001:db8:2::99", 1, 3, 0),
    ] {
        let nowhere = if client.contains(':') {
            "2001:db9::1"
        } else {
            "203.0.113.9"
        };
        let spec = |method, real: &str| -> Spec {
            two_armed(vec![service(
                Protocol::Tcp,
                vip,
                80,
                vec![crate::net::real(real, 80, method)],
            )])
        };
        let error_with = |id: u32, quoted: &PacketBuilder| {
            let error = packet(own, client).mac(WAN_MAC, GATEWAY_MAC).tos(tos);
            let quoted = quoted.build_datagram();
            error.id(id).icmp_error(kind, code, 0, &quoted).build()
        };
        let error = |quoted: &PacketBuilder| error_with(1, quoted);
        let request = syn(from_wan(client, vip));
        // It does not answer: the packet is quoted as it came.
        for method in ForwardMethod::ALL {
            let mut rig = Rig::new(1, &spec(method, real));
            assert_eq!(rig.pass(WAN, &request.build()).len(), 1);
            rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).build());
            rig.wait_ms(2_900);
            // A tunnel has taken an identification for each of the two.
            let id = if method == ForwardMethod::Tunnel {
                3
            } else {
                1
            };
            expect(&rig.wait_ms(200), &[(WAN, error_with(id, &request))]);
            assert_eq!(rig.drops(DropReason::NeighbourUnreachable), 2);
            finish(rig);
        }
        // As LVS does it: as it would have been forwarded, and not if its sender would not know it again.
        for method in ForwardMethod::ALL {
            let mut as_lvs = spec(method, real);
            as_lvs.network.answers_as_lvs = true;
            let mut rig = Rig::new(1, &as_lvs);
            assert_eq!(rig.pass(WAN, &request.build()).len(), 1);
            rig.wait_ms(2_900);
            let told = rig.wait_ms(200);
            if method == ForwardMethod::Direct {
                expect(&told, &[(WAN, error(&request.clone().ttl(63)))]);
            } else {
                assert_eq!(told, []);
            }
            finish(rig);
        }
        // No way leads there at all.
        let mut other = spec(ForwardMethod::Direct, nowhere);
        for route in &mut other.network.routes {
            let client_net = if route.via.is_ipv6() {
                "2001:db8:c::/48"
            } else {
                "198.51.100.0/24"
            };
            route.to = client_net.parse().unwrap();
        }
        let mut rig = Rig::new(1, &other);
        expect(&rig.pass(WAN, &request.build()), &[(WAN, error(&request))]);
        assert_eq!(rig.all_drops(), [(DropReason::NoRoute, 1)]);
        finish(rig);
    }
}

#[test]
fn an_unfinished_checksum_is_refused_at_the_beginning() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let builder = match protocol {
                Protocol::Tcp => syn(from_wan(client, vip)),
                Protocol::Udp => from_wan(client, vip).udp(4000, 53).payload(b"ask"),
                Protocol::Sctp => from_wan(client, vip).sctp(4000, 3868, INIT),
            };
            let mut frame = builder.build();
            let l3 = if client.contains(':') { 40 } else { 20 };
            let l4 = 14 + l3;
            let length = frame.len() - l4;
            let sum = addresses(&frame)
                .pseudo_header(protocol.number(), length)
                .fold()
                .to_be_bytes();
            let (at, unfinished) = match protocol {
                Protocol::Tcp => (16, &sum[..]),
                Protocol::Udp => (6, &sum[..]),
                Protocol::Sctp => (8, &[0; 4][..]),
            };
            let at = l4 + at;
            frame[at..at + unfinished.len()].copy_from_slice(unfinished);
            refused(&frame, DropReason::UnfinishedChecksum);
        }
    }
}

#[test]
fn an_answer_with_an_unfinished_checksum_is_dropped_whatever_lies_behind_it() {
    for (client, vip, real_) in [(CLIENT, VIP, REALS[0]), (CLIENT6, VIP6, REALS6[0])] {
        for behind in [0, 4] {
            let reals = vec![real(real_, 5353, ForwardMethod::Nat)];
            let mut rig = Rig::new(1, &two_armed(vec![service(Protocol::Udp, vip, 53, reals)]));
            let ask = from_wan(client, vip).udp(4000, 53).payload(b"ask");
            assert_eq!(rig.pass(WAN, &ask.build()).len(), 1);
            let answer = from_lan(real_, client).udp(5353, 4000).payload(&[7; 20]);
            let mut frame = answer.build();
            let l4 = if client.contains(':') { 54 } else { 34 };
            let length = frame.len() - l4 - behind;
            let stated = u16::try_from(length).unwrap().to_be_bytes();
            frame[l4 + 4..l4 + 6].copy_from_slice(&stated);
            let sum = addresses(&frame).pseudo_header(Protocol::Udp.number(), length);
            frame[l4 + 6..l4 + 8].copy_from_slice(&sum.fold().to_be_bytes());
            assert_eq!(rig.pass(LAN, &frame), [], "{behind}");
            assert_eq!(rig.all_drops(), [(DropReason::UnfinishedChecksum, 1)]);
            assert_eq!(rig.pass(LAN, &answer.build()).len(), 1);
            finish(rig);
        }
    }
}

#[test]
fn without_a_real_server_the_port_is_unreachable() {
    for (client, vip, kind, code, tos) in [(CLIENT, VIP, 3, 3, 0xc0), (CLIENT6, VIP6, 1, 4, 0)] {
        let reals = if client.contains(':') { REALS6 } else { REALS };
        let resting = weighted(reals[0], 80, ForwardMethod::Direct, 0);
        for reals in [vec![], vec![resting]] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let spec = two_armed(vec![service(protocol, vip, 80, reals.clone())]);
                let mut rig = Rig::new(1, &spec);
                let request = match protocol {
                    Protocol::Tcp => syn(from_wan(client, vip)),
                    Protocol::Udp => from_wan(client, vip).udp(4000, 80).payload(&[1; 900]),
                    Protocol::Sctp => from_wan(client, vip).sctp(4000, 80, INIT),
                };
                let most = if client.contains(':') { 1232 } else { 548 };
                let mut quoted = request.build_datagram();
                quoted.truncate(most);
                let expected = packet(vip, client)
                    .mac(WAN_MAC, GATEWAY_MAC)
                    .tos(tos)
                    .id(1)
                    .icmp_error(kind, code, 0, &quoted);
                let sent = rig.pass(WAN, &request.build());
                expect(&sent, &[(WAN, expected.build())]);
                assert_eq!(rig.all_drops(), [(DropReason::NoReal, 1)]);
                assert!(rig.sessions().is_empty());
                finish(rig);
            }
        }
    }
}

#[test]
fn without_a_route_nothing_is_sent() {
    let reals = vec![real("203.0.113.9", 80, ForwardMethod::Direct)];
    let mut spec = two_armed(vec![service(Protocol::Tcp, VIP, 80, reals)]);
    spec.network.routes.clear();
    let mut rig = Rig::new(1, &spec);
    rig.pass(WAN, &syn(from_wan(CLIENT, VIP)).build());
    assert_eq!(rig.all_drops(), [(DropReason::NoRoute, 1)]);
    finish(rig);
}

#[test]
fn a_nat_real_server_is_routed_and_nobody_else() {
    for (real, client) in [(REALS[0], CLIENT), (REALS6[0], CLIENT6)] {
        for workers in [1, 2] {
            let mut rig = Rig::new(workers, &nat());
            // A reply of no session, and what has nothing to do with a service.
            for port in [8080, 22] {
                let out = from_lan(real, client).tcp(port, 4000).build();
                let routed = to_wan(real, client).tcp(port, 4000).build();
                expect(&rig.pass_on(workers - 1, LAN, &out), &[(WAN, routed)]);
            }
            let ping = from_wan(client, real).echo_request(1, 2).build();
            let routed = to_lan(real, client, real).echo_request(1, 2).build();
            expect(&rig.pass_on(workers - 1, WAN, &ping), &[(LAN, routed)]);
            let spent = from_lan(real, client).tcp(22, 4000).ttl(1).build();
            assert_eq!(rig.pass_on(0, LAN, &spent)[0].0, LAN, "time exceeded");
            finish(rig);
        }
    }
    let mut rig = Rig::new(1, &nat());
    rig.pass(LAN, &from_lan("10.1.0.99", CLIENT).tcp(22, 4000).build());
    assert_eq!(rig.all_drops(), [(DropReason::NotLocal, 1)]);
    let mut rig = Rig::new(1, &direct());
    rig.pass(LAN, &from_lan(REALS[0], CLIENT).tcp(22, 4000).build());
    assert_eq!(rig.all_drops(), [(DropReason::NotLocal, 1)]);
}

#[test]
fn our_own_address_refuses_as_a_vip_does_unless_it_is_the_kernels() {
    for (client, address) in [(CLIENT, WAN_ADDRESS), (CLIENT6, WAN_ADDRESS6)] {
        let syn = from_wan(client, address).tcp(4000, 22).flags(SYN).build();
        let ask = from_wan(client, address).udp(4000, 161).build();
        let mut rig = Rig::new(1, &direct());
        let reset = packet(address, client)
            .mac(WAN_MAC, GATEWAY_MAC)
            .tcp(22, 4000)
            .flags(RST | ACK)
            .numbers(0, 2)
            .window(0);
        let reset = if client == CLIENT {
            reset.df().id(0)
        } else {
            reset
        };
        expect(&rig.pass(WAN, &syn), &[(WAN, reset.build())]);
        assert_eq!(rig.pass(WAN, &ask).len(), 1);
        assert_eq!(rig.all_drops(), [(DropReason::LocalUnhandled, 2)]);
        let mut rig = Rig::new(1, &with_kernel(vec![]));
        expect(&rig.pass(WAN, &syn), &[(2, syn.clone())]);
        expect(&rig.pass(WAN, &ask), &[(2, ask.clone())]);
    }
}
