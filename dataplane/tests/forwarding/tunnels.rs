//! Tunnels: checksums, our end of them, and the errors that come from their path.

use std::net::IpAddr;

use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::TunnelKind;
use plimsoll_dataplane::spec::service::RealSpec;
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Sent};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::ipv4;

use crate::net::*;

const ROUTER: &str = "10.1.0.254";
const ROUTER6: &str = "2001:db8:2::fe";

const GRE_CSUM: TunnelKind = TunnelKind::Gre { checksum: true };
const GUE_CSUM: TunnelKind = TunnelKind::Gue {
    port: 6080,
    checksum: true,
};
const KINDS: [TunnelKind; 5] = [TunnelKind::Ipip, GRE, GRE_CSUM, GUE, GUE_CSUM];

/// The bytes between an outer IPv4 header and what is inside, plus that header.
fn overhead(kind: TunnelKind) -> usize {
    match kind {
        TunnelKind::Ipip => 20,
        TunnelKind::Gre { checksum: false } => 24,
        TunnelKind::Gre { checksum: true } => 28,
        TunnelKind::Gue { .. } => 32,
    }
}

fn with_reals(mut spec: Spec, change: impl Fn(&mut RealSpec)) -> Spec {
    for service in &mut spec.services {
        service.reals.iter_mut().for_each(&change);
    }
    spec
}

/// A client's segment of `bytes` bytes in all.
fn segment(client: &str, vip: &str, bytes: usize) -> PacketBuilder {
    let headers = if client.contains(':') { 60 } else { 40 };
    from_wan(client, vip)
        .df()
        .tcp(4000, 80)
        .payload(&vec![7; bytes - headers])
}

/// A rig with a session by tunnel, and the outer datagram of its newest packet, of 1000 bytes inside.
fn tunnelled(spec: &Spec, client: &str, vip: &str) -> (Rig, Vec<u8>) {
    let mut rig = Rig::new(1, spec);
    let syn = from_wan(client, vip).df().tcp(4000, 80).flags(SYN);
    rig.pass(WAN, &syn.build());
    let sent = rig.pass(WAN, &segment(client, vip, 1000).build());
    assert_eq!(sent.len(), 1);
    (rig, sent[0].1[14..].to_vec())
}

/// What a router says about an outer datagram; `bytes` of which it quotes.
pub(crate) fn complaint(
    outer: &[u8],
    (kind, code, rest): (u8, u8, u32),
    bytes: usize,
) -> PacketBuilder {
    let v6 = outer[0] >> 4 == 6;
    let (from, to) = if v6 {
        (ROUTER6, LAN_ADDRESS6)
    } else {
        (ROUTER, LAN_ADDRESS)
    };
    from_lan(from, to).icmp_error(kind, code, rest, &outer[..bytes.min(outer.len())])
}

/// A packet that we have forwarded as it was before: a hop younger.
fn before_us(forwarded: &[u8]) -> Vec<u8> {
    let mut packet = forwarded.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] += 1;
    } else {
        packet[8] += 1;
        packet[10..12].fill(0);
        let checksum = ipv4::header_checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

/// An error of ours to the client about a packet that we forwarded; the identification is whatever was sent.
fn expect_error(sent: &[Sent], (vip, client): (&str, &str), icmp: (u8, u8, u32), quoted: &[u8]) {
    let [(WAN, frame)] = sent else {
        panic!("{sent:02x?}")
    };
    let (kind, code, rest) = icmp;
    let builder = packet(vip, client).mac(WAN_MAC, GATEWAY_MAC);
    let expected = if client.contains(':') {
        builder
    } else {
        let id = u32::from(frame[18]) << 8 | u32::from(frame[19]);
        builder.tos(0xc0).id(id)
    };
    let expected = expected.icmp_error(kind, code, rest, &before_us(quoted));
    expect(sent, &[(WAN, expected.build())]);
}

/// The MTU that a client is told when it sends 1500 bytes.
fn told(rig: &mut Rig, client: &str, vip: &str) -> Option<u32> {
    let sent = rig.pass(WAN, &segment(client, vip, 1490).build());
    let (port, frame) = &sent[0];
    let icmp = if client.contains(':') { 54 } else { 34 };
    let rest = frame[icmp + 4..icmp + 8].try_into().unwrap();
    (*port == WAN).then(|| u32::from_be_bytes(rest))
}

#[test]
fn what_a_router_finds_too_large_is_told_to_the_client_and_remembered() {
    for kind in KINDS {
        let spec = tunnel_of(kind, REALS, REALS6);
        let (mut rig, outer) = tunnelled(&spec, CLIENT, VIP);
        let over = overhead(kind);
        // As LVS does, the first error still says what was known before.
        let error = complaint(&outer, (3, 4, 1300), 500);
        let before = 1500 - u32::try_from(over).unwrap();
        let sent = rig.pass(LAN, &error.build());
        expect_error(&sent, (VIP, CLIENT), (3, 4, before), &outer[over..500]);
        assert_eq!(told(&mut rig, CLIENT, VIP), Some(before - 200), "{kind:?}");
        let totals = rig.totals(ip(REALS[0]));
        assert_eq!(totals.out_packets, 2);
        let stats = rig.stats().next().unwrap();
        assert_eq!(stats.consumed.value(), 1);
        finish(rig);
    }
}

#[test]
fn in_ipv6_too_and_across_families() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        for (reals, too_big, link) in [(REALS, (3, 4), 1480), (REALS6, (2, 0), 1460)] {
            let spec = tunnel_of(TunnelKind::Ipip, reals, reals);
            let (mut rig, outer) = tunnelled(&spec, client, vip);
            let over = 1500 - usize::try_from(link).unwrap();
            let error = complaint(&outer, (too_big.0, too_big.1, 1400), 400);
            let icmp = if client == CLIENT6 { (2, 0) } else { (3, 4) };
            let sent = rig.pass(LAN, &error.build());
            expect_error(
                &sent,
                (vip, client),
                (icmp.0, icmp.1, link),
                &outer[over..400],
            );
            assert_eq!(told(&mut rig, client, vip), Some(link - 100));
            finish(rig);
        }
    }
}

#[test]
fn other_errors_from_the_path_are_repeated_to_the_client() {
    // To the other family, a tunnel is a link that failed.
    let cases = [
        (CLIENT, VIP, REALS, (3, 1), (3, 1)),
        (CLIENT, VIP, REALS, (3, 13), (3, 13)),
        (CLIENT, VIP, REALS, (11, 0), (11, 0)),
        (CLIENT, VIP, REALS6, (1, 0), (3, 1)),
        (CLIENT, VIP, REALS6, (3, 0), (3, 1)),
        (CLIENT6, VIP6, REALS6, (1, 3), (1, 3)),
        (CLIENT6, VIP6, REALS6, (3, 0), (3, 0)),
        (CLIENT6, VIP6, REALS, (3, 1), (1, 3)),
    ];
    for (client, vip, reals, (kind, code), expected) in cases {
        let spec = tunnel_of(TunnelKind::Ipip, reals, reals);
        let (mut rig, outer) = tunnelled(&spec, client, vip);
        let over = if reals == REALS { 20 } else { 40 };
        let error = complaint(&outer, (kind, code, 0), 300);
        let sent = rig.pass(LAN, &error.build());
        let icmp = (expected.0, expected.1, 0);
        expect_error(&sent, (vip, client), icmp, &outer[over..300]);
        finish(rig);
    }
}

#[test]
fn a_client_whose_packets_may_be_cut_is_not_told_but_cut_smaller() {
    let mut rig = Rig::new(1, &tunnel());
    let ask = |bytes: usize| from_wan(CLIENT, VIP).udp(4000, 53).payload(&vec![1; bytes]);
    let sent = rig.pass(WAN, &ask(1000).build());
    let error = complaint(&sent[0].1[14..], (3, 4, 1004), 100);
    assert_eq!(rig.pass(LAN, &error.build()), []);
    let pieces = rig.pass(WAN, &ask(1000).build());
    let lengths: Vec<usize> = pieces.iter().map(|(_, frame)| frame.len() - 14).collect();
    assert_eq!(lengths, [1004, 64]);
    finish(rig);
}

#[test]
fn eight_bytes_behind_the_outer_header_are_enough_to_learn() {
    for kind in KINDS {
        let (mut rig, outer) = tunnelled(&tunnel_of(kind, REALS, REALS6), CLIENT, VIP);
        let error = complaint(&outer, (3, 4, 1300), 28);
        assert_eq!(rig.pass(LAN, &error.build()), []);
        let expected = 1300 - u32::try_from(overhead(kind)).unwrap();
        assert_eq!(told(&mut rig, CLIENT, VIP), Some(expected));
    }
}

#[test]
fn a_quote_without_a_packet_of_ours_is_believed_to_a_usual_size_only() {
    for (quoted, learnt) in [(28, 1280), (100, 600)] {
        let (mut rig, outer) = tunnelled(&tunnel(), CLIENT, VIP);
        rig.pass(LAN, &complaint(&outer, (3, 4, 600), quoted).build());
        assert_eq!(told(&mut rig, CLIENT, VIP), Some(learnt - 20));
    }
}

#[test]
fn a_router_that_does_not_say_what_fits_makes_us_try_the_next_common_size() {
    let (mut rig, outer) = tunnelled(&tunnel(), CLIENT, VIP);
    rig.pass(LAN, &complaint(&outer, (3, 4, 0), 100).build());
    // 1020 bytes were too large.
    assert_eq!(told(&mut rig, CLIENT, VIP), Some(1006 - 20));
}

#[test]
fn whoever_does_not_know_both_ends_of_a_tunnel_is_not_believed() {
    let spec = tunnel_of(GUE, REALS, REALS6);
    let (_, outer) = tunnelled(&spec, CLIENT, VIP);
    let real = |quoted: PacketBuilder| quoted.payload(&outer[28..]).build_datagram();
    let forged = [
        // Not from us, not to a real server, not its kind of tunnel, not its port.
        (
            LAN_ADDRESS,
            real(packet(CLIENT, REALS[0]).udp(50_000, 6080)),
        ),
        (
            LAN_ADDRESS,
            real(packet(LAN_ADDRESS, ROUTER).udp(50_000, 6080)),
        ),
        (LAN_ADDRESS, real(packet(LAN_ADDRESS, REALS[0]).protocol(4))),
        (
            LAN_ADDRESS,
            real(packet(LAN_ADDRESS, REALS[0]).udp(50_000, 6081)),
        ),
        // Not sent to whom the quoted packet is from.
        (WAN_ADDRESS, outer.clone()),
    ];
    for (to, quoted) in forged {
        let (mut rig, _) = tunnelled(&spec, CLIENT, VIP);
        let error = from_lan(ROUTER, to).icmp_error(3, 4, 600, &quoted[..200]);
        assert_eq!(rig.pass(LAN, &error.build()), []);
        assert_eq!(told(&mut rig, CLIENT, VIP), Some(1468));
    }
    let (mut rig, outer) = tunnelled(&spec, CLIENT, VIP);
    let damaged = complaint(&outer, (3, 4, 600), 200).bad_checksum();
    assert_eq!(rig.pass(LAN, &damaged.build()), []);
    assert_eq!(rig.all_drops(), [(DropReason::IcmpInvalid, 1)]);
    assert_eq!(told(&mut rig, CLIENT, VIP), Some(1468));
}

#[test]
fn what_one_worker_learns_all_of_them_know() {
    let mut rig = Rig::new(3, &tunnel());
    let syn = |port| from_wan(CLIENT, VIP).df().tcp(port, 80).flags(SYN);
    rig.pass_on(0, WAN, &syn(4000).build());
    let sent = rig.pass_on(0, WAN, &segment(CLIENT, VIP, 1000).build());
    let error = complaint(&sent[0].1[14..], (3, 4, 1300), 300).build();
    let answer = rig.pass_on(1, LAN, &error);
    expect_error(&answer, (VIP, CLIENT), (3, 4, 1480), &sent[0].1[34..314]);
    // Every third session goes to the same real server.
    for worker in 1..3 {
        for port in 5000..5003 {
            rig.pass_on(worker, WAN, &syn(port).build());
        }
        let large = |port| from_wan(CLIENT, VIP).df().tcp(port, 80).payload(&[7; 1400]);
        let answers: Vec<Sent> = (5000..5003)
            .flat_map(|port| rig.pass_on(worker, WAN, &large(port).build()))
            .collect();
        let refused: Vec<_> = answers.iter().filter(|(port, _)| *port == WAN).collect();
        assert_eq!(refused.len(), 1, "worker {worker}");
        assert_eq!(refused[0].1[40..42], 1280_u16.to_be_bytes());
    }
    finish(rig);
}

#[test]
fn a_flood_of_errors_about_sessions_leaves_room_for_others() {
    let (mut rig, outer) = tunnelled(&tunnel(), CLIENT, VIP);
    let error = complaint(&outer, (3, 1, 0), 100).build();
    let answers: usize = (0..1003).map(|_| rig.pass(LAN, &error).len()).sum();
    assert_eq!(answers, 32);
    assert_eq!(rig.all_drops(), [(DropReason::IcmpLimited, 971)]);
    let closed = from_wan(CLIENT, VIP).udp(4000, 9).build();
    assert_eq!(rig.pass(WAN, &closed).len(), 1);
}

#[test]
fn errors_that_look_for_a_session_do_not_flood_the_other_workers() {
    let mut rig = Rig::new(2, &direct());
    let seen = packet(VIP, CLIENT).udp(53, 4000).build_datagram();
    let error = from_wan(CLIENT, VIP).icmp_error(3, 3, 0, &seen).build();
    for _ in 0..1003 {
        rig.pass_on(0, WAN, &error);
    }
    assert_eq!(
        rig.all_drops(),
        [
            (DropReason::IcmpLimited, 971),
            (DropReason::IcmpNoSession, 32)
        ]
    );
}

/// The one's complement sum of all 16-bit words.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(*high) << 8 | u32::from(*low),
        rest => u32::from(rest[0]) << 8,
    });
    words.fold(0_u16, |sum, word| {
        let sum = u32::from(sum) + word;
        u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
    })
}

#[test]
fn checksums_of_tunnels_cover_everything_inside() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        for (reals, header) in [(REALS, 20), (REALS6, 40)] {
            for bytes in 0..4 {
                let ask = from_wan(client, vip)
                    .udp(4000, 53)
                    .payload(&[0xa5; 4][..bytes]);
                let mut rig = Rig::new(1, &tunnel_of(GRE_CSUM, reals, reals));
                let sent = rig.pass(WAN, &ask.build());
                let gre = &sent[0].1[14 + header..];
                assert_eq!((gre[0], gre[1]), (0x80, 0));
                assert_eq!(sum(gre), 0xffff);
                let mut rig = Rig::new(1, &tunnel_of(GUE_CSUM, reals, reals));
                let sent = rig.pass(WAN, &ask.build());
                let udp = &sent[0].1[14 + header..];
                let addresses = if header == 20 { 26 } else { 22 };
                let pseudo = [
                    &sent[0].1[addresses..14 + header],
                    &u32::try_from(udp.len()).unwrap().to_be_bytes(),
                    &[0, 17],
                ]
                .concat();
                assert_ne!(udp[6..8], [0, 0]);
                assert_eq!(sum(&[&pseudo[..], udp].concat()), 0xffff);
            }
        }
    }
}

#[test]
fn our_end_of_a_tunnel_can_be_another_of_our_addresses() {
    let source: Option<IpAddr> = Some(ip(WAN_ADDRESS));
    let spec = with_reals(tunnel(), |real| {
        real.tunnel_source = source.filter(|_| real.address.is_ipv4());
    });
    let (mut rig, outer) = tunnelled(&spec, CLIENT, VIP);
    assert_eq!(outer[12..16], [192, 0, 2, 1]);
    let error = from_lan(ROUTER, WAN_ADDRESS).icmp_error(3, 4, 1300, &outer[..100]);
    let sent = rig.pass(LAN, &error.build());
    expect_error(&sent, (VIP, CLIENT), (3, 4, 1480), &outer[20..100]);
    assert_eq!(told(&mut rig, CLIENT, VIP), Some(1280));
}

#[test]
fn without_path_mtu_discovery_whatever_does_not_fit_is_cut_outside() {
    let mut spec = tunnel();
    for service in &mut spec.services {
        service.policy.path_mtu = false;
    }
    let mut rig = Rig::new(1, &spec);
    let syn = from_wan(CLIENT, VIP).df().tcp(4000, 80).flags(SYN);
    let sent = rig.pass(WAN, &syn.build());
    let flags = |frame: &[u8]| frame[20] >> 5;
    assert_eq!(flags(&sent[0].1), 0, "the outer header lets routers cut");
    let sent = rig.pass(WAN, &segment(CLIENT, VIP, 1500).build());
    let lengths: Vec<usize> = sent.iter().map(|(_, frame)| frame.len() - 14).collect();
    assert_eq!(lengths, [1500, 40]);
    assert_eq!((flags(&sent[0].1), flags(&sent[1].1)), (1, 0));
    finish(rig);
}

#[test]
fn what_every_link_of_ipv6_carries_is_cut_outside_rather_than_refused() {
    let mut spec = tunnel();
    spec.ports[1].mtu = 1290;
    let (mut rig, _) = tunnelled(&spec, CLIENT6, VIP6);
    let sent = rig.pass(WAN, &segment(CLIENT6, VIP6, 1280).build());
    let ports: Vec<u16> = sent.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [LAN, LAN]);
    assert_eq!(told(&mut rig, CLIENT6, VIP6), Some(1280));
    finish(rig);
}

#[test]
fn the_outer_header_has_the_inner_ones_hops_or_those_that_were_asked_for() {
    for kind in KINDS {
        for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
            for reals in [REALS, REALS6] {
                for (ttl, expected) in [(None, 9), (Some(1), 1), (Some(255), 255)] {
                    let mut spec = tunnel_of(kind, reals, reals);
                    for real in spec.services.iter_mut().flat_map(|one| &mut one.reals) {
                        real.tunnel_ttl = ttl;
                    }
                    let mut rig = Rig::new(1, &spec);
                    // The first takes the general path, the others the fast one.
                    for flags in [SYN, ACK, ACK] {
                        let ask = from_wan(client, vip).ttl(10).tcp(4000, 80).flags(flags);
                        let sent = rig.pass(WAN, &ask.build());
                        let outer = &sent[0].1[14..];
                        let hops = if outer[0] >> 4 == 6 {
                            outer[7]
                        } else {
                            outer[8]
                        };
                        assert_eq!(hops, expected, "{kind:?} {client} {ttl:?}");
                    }
                    finish(rig);
                }
            }
        }
    }
}
