//! What is not forwarded, and why.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::snapshot::model::ForwardMethod;
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
        let stray = from_wan(CLIENT, VIP).tcp(4000, 80).flags(flags);
        refused(&stray.build(), DropReason::NoSession);
    }
}

#[test]
fn an_unfinished_checksum_is_refused_at_the_beginning() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let builder = match protocol {
                Protocol::Tcp => syn(from_wan(client, vip)),
                Protocol::Udp => from_wan(client, vip).udp(4000, 53).payload(b"ask"),
            };
            let mut frame = builder.build();
            let l3 = if client.contains(':') { 40 } else { 20 };
            let l4 = 14 + l3;
            let length = frame.len() - l4;
            let sum = addresses(&frame)
                .pseudo_header(protocol.number(), length)
                .fold();
            let at = l4 + if protocol == Protocol::Tcp { 16 } else { 6 };
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            refused(&frame, DropReason::UnfinishedChecksum);
        }
    }
}

#[test]
fn without_a_real_server_the_port_is_unreachable() {
    for (client, vip, kind, code, tos) in [(CLIENT, VIP, 3, 3, 0xc0), (CLIENT6, VIP6, 1, 4, 0)] {
        let reals = if client.contains(':') { REALS6 } else { REALS };
        let resting = weighted(reals[0], 80, ForwardMethod::Direct, 0);
        for reals in [vec![], vec![resting]] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let spec = two_armed(vec![service(protocol, vip, 80, reals.clone())]);
                let mut rig = Rig::new(1, &spec);
                let request = match protocol {
                    Protocol::Tcp => syn(from_wan(client, vip)),
                    Protocol::Udp => from_wan(client, vip).udp(4000, 80).payload(&[1; 900]),
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
    spec.routes.clear();
    let mut rig = Rig::new(1, &spec);
    rig.pass(WAN, &syn(from_wan(CLIENT, VIP)).build());
    assert_eq!(rig.all_drops(), [(DropReason::NoRoute, 1)]);
    finish(rig);
}

#[test]
fn a_reply_of_no_session_is_refused() {
    let mut rig = Rig::new(1, &nat());
    rig.pass(LAN, &from_lan(REALS[0], CLIENT).tcp(8080, 4000).build());
    assert_eq!(rig.all_drops(), [(DropReason::NoSession, 1)]);
    rig.pass(LAN, &from_lan(REALS[0], CLIENT).tcp(22, 4000).build());
    assert_eq!(rig.drops(DropReason::NotLocal), 1);
}
