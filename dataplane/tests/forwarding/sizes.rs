//! Segment sizes, IP options, and packets that stay on this machine or pass it by.

use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::testing::{PacketBuilder, Rig};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

fn clamped(mut spec: Spec, clamp: MssClamp) -> Spec {
    for service in &mut spec.services {
        service.mss_clamp = Some(clamp);
    }
    spec.ports[1].mtu = 1400;
    spec
}

/// A segment that offers `mss`, the option on an odd place.
fn offer(builder: PacketBuilder, ports: (u16, u16), flags: u8, mss: u16) -> PacketBuilder {
    let [high, low] = mss.to_be_bytes();
    builder
        .tcp(ports.0, ports.1)
        .flags(flags)
        .tcp_options(&[1, 2, 4, high, low, 4, 2, 1])
}

#[test]
fn a_clients_syn_offers_no_more_than_fits_the_way_to_the_real_server() {
    use MssClamp::{Auto, Bytes};
    let gue = tunnel_of(GUE, REALS, REALS6);
    for (spec, clamp, client, vip, offered, passed) in [
        (direct(), Auto, CLIENT, VIP, 1460, 1360),
        (direct(), Auto, CLIENT6, VIP6, 1440, 1340),
        (direct(), Auto, CLIENT, VIP, 1300, 1300),
        (direct(), Bytes(1200), CLIENT, VIP, 1460, 1200),
        (direct(), Bytes(1460), CLIENT, VIP, 1460, 1460),
        (nat(), Auto, CLIENT, VIP, 1460, 1360),
        (nat(), Bytes(900), CLIENT6, VIP6, 1440, 900),
        (tunnel(), Auto, CLIENT, VIP, 1460, 1340),
        (tunnel(), Auto, CLIENT6, VIP6, 1440, 1300),
        (gue, Auto, CLIENT, VIP, 1460, 1328),
    ] {
        let mut rig = Rig::new(1, &clamped(spec, clamp));
        let syn = offer(from_wan(client, vip), (4000, 80), SYN, offered);
        let sent = rig.pass(WAN, &syn.build());
        let frame = &sent[0].1;
        let v6 = client.contains(':');
        let headers = if v6 { 60 } else { 40 };
        let inner = offer(packet(client, vip).ttl(63), (4000, 80), SYN, passed).build_datagram();
        let end = &frame[frame.len() - inner.len()..];
        if matches!(rig.snapshot().reals.iter().next(), Some(real) if real.spec.forward == ForwardMethod::Nat)
        {
            let reals = if v6 { REALS6 } else { REALS };
            let there = packet(client, reals[0]).ttl(63);
            let expected = offer(there, (4000, 8080), SYN, passed).build_datagram();
            assert_eq!(end, expected);
        } else {
            assert_eq!(end, inner);
        }
        assert_eq!(inner.len(), headers + 8);
        finish(rig);
    }
}

#[test]
fn under_nat_the_answer_is_clamped_too_and_other_segments_are_not_looked_at() {
    let mut rig = Rig::new(1, &clamped(nat(), MssClamp::Auto));
    rig.pass(
        WAN,
        &offer(from_wan(CLIENT, VIP), (4000, 80), SYN, 1460).build(),
    );
    let answer = offer(from_lan(REALS[0], CLIENT), (8080, 4000), SYN_ACK, 1460);
    let expected = offer(to_wan(VIP, CLIENT), (80, 4000), SYN_ACK, 1360);
    expect(&rig.pass(LAN, &answer.build()), &[(WAN, expected.build())]);
    let later = offer(from_lan(REALS[0], CLIENT), (8080, 4000), ACK, 1460);
    let expected = offer(to_wan(VIP, CLIENT), (80, 4000), ACK, 1460);
    expect(&rig.pass(LAN, &later.build()), &[(WAN, expected.build())]);
    finish(rig);
}

#[test]
fn a_way_known_to_be_narrow_clamps_the_next_session() {
    let mut rig = Rig::new(1, &clamped(tunnel(), MssClamp::Auto));
    let ask = from_wan(CLIENT, VIP).df().tcp(4000, 80).flags(SYN);
    let sent = rig.pass(WAN, &ask.build());
    let error = from_lan("10.1.0.254", LAN_ADDRESS).icmp_error(3, 4, 1000, &sent[0].1[14..]);
    rig.pass(LAN, &error.build());
    let syn = offer(from_wan(CLIENT, VIP), (4000, 80), SYN, 1460);
    let sent = rig.pass(WAN, &syn.build());
    let expected = offer(packet(CLIENT, VIP).ttl(63), (4000, 80), SYN, 940).build_datagram();
    assert_eq!(sent[0].1[34..], expected);
    finish(rig);
}

#[test]
fn options_of_ip_pass_by_every_method() {
    let dress = |builder: PacketBuilder| {
        builder
            .ttl(9)
            .options(&[0x94, 4, 0, 0, 7, 7, 4, 192, 0, 2, 9, 0])
            .udp(4000, 53)
    };
    for kind in [TunnelKind::Ipip, GRE, GUE] {
        let mut rig = Rig::new(1, &tunnel_of(kind, REALS, REALS6));
        let sent = rig.pass(WAN, &dress(from_wan(CLIENT, VIP)).build());
        let inner = dress(packet(CLIENT, VIP)).ttl(8).build_datagram();
        let frame = &sent[0].1;
        assert_eq!(frame[frame.len() - inner.len()..], inner);
        assert_eq!(frame[14], 0x45, "the outer header has none");
        finish(rig);
    }
    let mut rig = Rig::new(1, &nat());
    let sent = rig.pass(WAN, &dress(from_wan(CLIENT, VIP)).build());
    let there = dress(to_lan(REALS[0], CLIENT, REALS[0]))
        .ttl(8)
        .udp(4000, 8053);
    expect(&sent, &[(LAN, there.build())]);
    let mut rig = Rig::new(1, &direct());
    let sent = rig.pass(WAN, &dress(from_wan(CLIENT, VIP)).build());
    expect(
        &sent,
        &[(LAN, dress(to_lan(REALS[0], CLIENT, VIP)).ttl(8).build())],
    );
}

#[test]
fn a_real_server_that_is_this_machine_refuses_what_nobody_listens_for() {
    for forward in [ForwardMethod::Direct, ForwardMethod::Tunnel] {
        let local = [WAN_ADDRESS; 3];
        let mut spec = two_armed(usual(forward, local, REALS6));
        for service in &mut spec.services {
            service.reals.truncate(1);
        }
        let mut rig = Rig::new(1, &spec);
        // Not routed, so its hops do not matter.
        let syn = from_wan(CLIENT, VIP).ttl(1).tcp(4000, 80).flags(SYN);
        let expected = packet(VIP, CLIENT)
            .mac(WAN_MAC, GATEWAY_MAC)
            .df()
            .id(0)
            .tcp(80, 4000)
            .flags(RST | ACK)
            .numbers(0, 2)
            .window(0);
        expect(&rig.pass(WAN, &syn.build()), &[(WAN, expected.build())]);
        let sessions = rig.sessions();
        assert_eq!(sessions[0].state.name(), "CLOSE");
        let totals = rig.totals(ip(WAN_ADDRESS));
        assert_eq!((totals.active, totals.inactive), (0, 1));
        assert_eq!((totals.in_packets, totals.out_packets), (1, 1));
        let ask = from_wan(CLIENT, VIP).udp(4000, 53).build();
        assert_eq!(rig.pass(WAN, &ask).len(), 1);
        assert_eq!(rig.all_drops(), [(DropReason::LocalUnhandled, 2)]);
        finish(rig);
    }
}

#[test]
fn a_real_server_that_is_this_machine_gets_packets_as_they_came() {
    let mut services = usual(ForwardMethod::Direct, [WAN_ADDRESS; 3], REALS6);
    for service in &mut services {
        service.reals.truncate(1);
    }
    let mut rig = Rig::new(1, &with_kernel(services));
    let syn = from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN).build();
    expect(&rig.pass(WAN, &syn), &[(2, syn.clone())]);
    assert_eq!(rig.stats().next().unwrap().punted.value(), 1);
    finish(rig);
}

#[test]
fn packets_for_nobody_here_are_routed_only_where_that_is_wanted() {
    let other = "10.1.0.77";
    let passing = from_wan(CLIENT, other).udp(1, 2).payload(&[1; 600]);
    let pieces = passing.clone().payload(&[1; 3000]).build_fragments(1480);
    let mut rig = Rig::new(1, &direct());
    assert_eq!(rig.pass(WAN, &passing.build()), []);
    assert_eq!(rig.pass(WAN, &pieces[0]), []);
    assert_eq!(rig.all_drops(), [(DropReason::NotLocal, 2)]);
    let mut spec = direct();
    spec.network.forwarding = true;
    spec.network.neighbours.push((ip(other), mac_of(other)));
    let mut rig = Rig::new(1, &spec);
    let routed = to_lan(other, CLIENT, other).udp(1, 2).payload(&[1; 600]);
    expect(&rig.pass(WAN, &passing.build()), &[(LAN, routed.build())]);
    // A router passes fragments on one by one.
    for piece in &pieces {
        assert_eq!(rig.pass(WAN, piece).len(), 1);
    }
    let last = rig.pass(WAN, &passing.ttl(1).build());
    assert_eq!((last.len(), last[0].0), (1, WAN));
    assert_eq!(rig.all_drops(), [(DropReason::TtlExceeded, 1)]);
    finish(rig);
}
