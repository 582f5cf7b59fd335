//! What no honest sender sends: sources that cannot be, source routes, damaged errors and datagrams.

use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::testing::{PacketBuilder, Rig};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

/// Network and broadcast addresses of the two ports' networks.
const BROADCASTS: [&str; 4] = ["192.0.2.0", "192.0.2.255", "10.1.0.0", "10.1.0.255"];

fn of(method: ForwardMethod) -> plimsoll_dataplane::spec::Spec {
    two_armed(usual(method, REALS, REALS6))
}

#[test]
fn nobody_asks_from_a_broadcast_address() {
    for method in ForwardMethod::ALL {
        for source in BROADCASTS {
            let mut rig = Rig::new(1, &of(method));
            for ask in [
                from_wan(source, VIP).tcp(4000, 80).flags(SYN),
                from_wan(source, VIP).udp(4000, 53),
                from_wan(source, VIP).sctp(4000, 3868, INIT),
                from_wan(source, VIP).echo_request(1, 1),
                from_wan(source, WAN_ADDRESS).echo_request(1, 1),
            ] {
                assert_eq!(rig.pass(WAN, &ask.build()), [], "{source}");
            }
            assert_eq!(rig.all_drops(), [(DropReason::MartianSource, 5)]);
            // Nor is a refusal sent there.
            for ask in [
                from_wan(source, VIP).udp(4000, 99),
                from_wan(source, VIP).tcp(4000, 99).flags(SYN),
                from_wan(source, VIP).tcp(4000, 80).flags(ACK),
            ] {
                assert_eq!(rig.pass(WAN, &ask.build()), [], "{source}");
            }
            assert!(rig.sessions().is_empty());
            finish(rig);
        }
    }
    // A host route, and a link of two hosts, have no broadcast address.
    let mut spec = direct();
    spec.ports[1]
        .addresses
        .push("172.16.0.0/31".parse().unwrap());
    spec.ports[1]
        .addresses
        .push("172.16.0.9/32".parse().unwrap());
    let mut rig = Rig::new(1, &spec);
    let ask = from_wan("172.16.0.1", VIP).udp(4000, 53);
    assert_eq!(rig.pass(WAN, &ask.build()).len(), 1);
    finish(rig);
}

#[test]
fn nothing_is_routed_to_a_whole_link() {
    for (port, from, to) in [
        (WAN, CLIENT, "10.1.0.255"),
        (WAN, CLIENT, "10.1.0.0"),
        (LAN, REALS[0], "192.0.2.255"),
    ] {
        let mut spec = nat();
        spec.network.forwarding = true;
        let mut rig = Rig::new(1, &spec);
        let builder = if port == WAN {
            from_wan(from, to)
        } else {
            from_lan(from, to)
        };
        assert_eq!(rig.pass(port, &builder.udp(1, 2).build()), []);
        assert_eq!(rig.all_drops(), [(DropReason::MartianDestination, 1)]);
        finish(rig);
    }
}

#[test]
fn a_source_route_leads_nowhere() {
    // Loose and strict, first or behind others.
    for options in [
        &[131, 7, 4, 10, 1, 0, 11, 0][..],
        &[137, 7, 4, 10, 1, 0, 11, 0],
        &[1, 1, 1, 131, 3, 4, 0, 0],
        &[148, 4, 0, 0, 1, 137, 3, 4],
    ] {
        for method in ForwardMethod::ALL {
            let mut rig = Rig::new(1, &of(method));
            let ask = from_wan(CLIENT, VIP).options(options).udp(4000, 53);
            assert_eq!(rig.pass(WAN, &ask.build()), [], "{options:?}");
            assert_eq!(rig.all_drops(), [(DropReason::SourceRoute, 1)]);
            assert!(rig.sessions().is_empty());
            finish(rig);
        }
        // Nor through here, nor for the kernel.
        let mut spec = with_kernel(usual(ForwardMethod::Nat, REALS, REALS6));
        spec.network.forwarding = true;
        let mut rig = Rig::new(1, &spec);
        for to in [REALS[0], WAN_ADDRESS, "203.0.113.9"] {
            let ask = from_wan(CLIENT, to).options(options).udp(4000, 99);
            assert_eq!(rig.pass(WAN, &ask.build()), []);
        }
        assert_eq!(rig.all_drops(), [(DropReason::SourceRoute, 3)]);
        finish(rig);
    }
    // What only looks like one: within another option, and behind the end.
    for options in [
        &[148, 4, 131, 137][..],
        &[7, 8, 8, 131, 137, 0, 0, 0],
        &[0, 131, 3, 4],
    ] {
        let mut rig = Rig::new(1, &direct());
        let ask = from_wan(CLIENT, VIP).options(options).udp(4000, 53);
        assert_eq!(rig.pass(WAN, &ask.build()).len(), 1, "{options:?}");
        finish(rig);
    }
}

#[test]
fn a_damaged_error_is_not_believed_by_any_method() {
    for (client, vip, kind, code) in [(CLIENT, VIP, 3, 3), (CLIENT6, VIP6, 1, 4)] {
        for method in ForwardMethod::ALL {
            let mut rig = Rig::new(1, &of(method));
            rig.pass(WAN, &from_wan(client, vip).udp(4000, 53).build());
            let seen = packet(vip, client).udp(53, 4000).build_datagram();
            let error = from_wan(client, vip).icmp_error(kind, code, 0, &seen);
            assert_eq!(rig.pass(WAN, &error.clone().bad_checksum().build()), []);
            assert_eq!(rig.all_drops(), [(DropReason::IcmpInvalid, 1)]);
            assert_eq!(rig.pass(WAN, &error.build()).len(), 1);
            finish(rig);
        }
    }
}

/// The datagram with another length in its header, its checksum right for as many bytes as there are.
fn stating(builder: &PacketBuilder, length: u16) -> Vec<u8> {
    let mut frame = builder.clone().no_udp_checksum().build();
    let l4 = if frame[12..14] == [8, 0] { 34 } else { 54 };
    frame[l4 + 4..l4 + 6].copy_from_slice(&length.to_be_bytes());
    let covered = frame.len().min(l4 + usize::from(length).max(8)) - l4;
    let sum = addresses(&frame).pseudo_header(17, covered);
    let sum = sum.bytes(&frame[l4..l4 + covered]).finish();
    frame[l4 + 6..l4 + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn nat_translates_no_datagram_of_an_impossible_length() {
    for (client, vip, reals) in [(CLIENT, VIP, REALS), (CLIENT6, VIP6, REALS6)] {
        // With 12 bytes of data the right length is 20.
        for (length, is_possible) in [
            (0, false),
            (7, false),
            (8, true),
            (19, true),
            (20, true),
            (21, false),
            (u16::MAX, false),
        ] {
            for established in [false, true] {
                let mut rig = Rig::new(1, &nat());
                let ask = from_wan(client, vip).udp(4000, 53).payload(&[5; 12]);
                if established {
                    rig.pass(WAN, &ask.build());
                    rig.pass(WAN, &ask.build());
                }
                let sent = rig.pass(WAN, &stating(&ask, length));
                assert_eq!(sent.len(), usize::from(is_possible), "{length}");
                let answer = from_lan(reals[0], client).udp(8053, 4000).payload(&[6; 12]);
                let sent = rig.pass(LAN, &stating(&answer, length));
                assert_eq!(sent.len(), usize::from(is_possible), "{length}");
                let drops = rig.drops(DropReason::UdpHeader);
                assert_eq!(drops, if is_possible { 0 } else { 2 });
                finish(rig);
            }
        }
        // The receiver is the one to judge where nothing is rewritten.
        for spec in [direct(), tunnel()] {
            let mut rig = Rig::new(1, &spec);
            let ask = from_wan(client, vip).udp(4000, 53).payload(&[5; 12]);
            assert_eq!(rig.pass(WAN, &stating(&ask, 7)).len(), 1);
            finish(rig);
        }
    }
}

#[test]
fn over_ipv6_a_datagram_without_a_checksum_gets_none_from_nat() {
    for established in [false, true] {
        let mut rig = Rig::new(1, &nat());
        let ask = from_wan(CLIENT6, VIP6).udp(4000, 53).payload(b"ask");
        if established {
            rig.pass(WAN, &ask.build());
        }
        assert_eq!(rig.pass(WAN, &ask.clone().no_udp_checksum().build()), []);
        assert_eq!(rig.all_drops(), [(DropReason::UdpHeader, 1)]);
        rig.pass(WAN, &ask.build());
        let answer = from_lan(REALS6[0], CLIENT6).udp(8053, 4000);
        assert_eq!(rig.pass(LAN, &answer.clone().no_udp_checksum().build()), []);
        assert_eq!(rig.all_drops(), [(DropReason::UdpHeader, 2)]);
        assert_eq!(rig.pass(LAN, &answer.build()).len(), 1);
        finish(rig);
    }
}
