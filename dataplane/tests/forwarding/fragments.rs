//! Datagrams that come in pieces: they leave in pieces of the same size, in the right order.

use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Rng, Sent};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

const DATA: [u8; 3000] = {
    let mut data = [0; 3000];
    let mut index = 0;
    while index < data.len() {
        data[index] = (index % 253) as u8;
        index += 1;
    }
    data
};

fn ask(builder: PacketBuilder, port: u16) -> PacketBuilder {
    builder.id(77).udp(4000, port).payload(&DATA)
}

fn out(builder: &PacketBuilder, piece_bytes: usize) -> Vec<Sent> {
    let pieces = builder.build_fragments(piece_bytes);
    pieces.into_iter().map(|frame| (LAN, frame)).collect()
}

fn send_all(rig: &mut Rig, frames: &[Vec<u8>], order: &[usize]) -> Vec<Sent> {
    let mut sent = Vec::new();
    for index in order {
        sent.extend(rig.pass(WAN, &frames[*index]));
    }
    sent
}

#[test]
fn fragments_leave_in_order_and_in_the_size_they_came_in() {
    let cases: [(Spec, &str, &str, &str, &str, u16, usize); 4] = [
        (direct(), CLIENT, VIP, REALS[0], VIP, 53, 1480),
        (nat(), CLIENT, VIP, REALS[0], REALS[0], 8053, 1000),
        (direct(), CLIENT6, VIP6, REALS6[0], VIP6, 53, 1448),
        (nat(), CLIENT6, VIP6, REALS6[0], REALS6[0], 8053, 1208),
    ];
    for (spec, client, vip, real, to, port, size) in cases {
        let pieces = ask(from_wan(client, vip), 53).build_fragments(size);
        let expected = out(&ask(to_lan(real, client, to), port), size);
        let forth: Vec<_> = (0..pieces.len()).collect();
        let back: Vec<_> = (0..pieces.len()).rev().collect();
        for order in [forth, back] {
            let mut rig = Rig::new(1, &spec);
            expect(&send_all(&mut rig, &pieces, &order), &expected);
            let totals = rig.totals(ip(real));
            assert_eq!((totals.sessions, totals.in_packets), (1, 1));
            finish(rig);
        }
    }
}

#[test]
fn a_datagram_in_a_tunnel_is_cut_outside() {
    let mut rig = Rig::new(1, &tunnel());
    let pieces = ask(from_wan(CLIENT, VIP), 53).build_fragments(1480);
    let inner = ask(packet(CLIENT, VIP).ttl(63), 53).build_datagram();
    let outer = to_lan(REALS[0], LAN_ADDRESS, REALS[0])
        .id(1)
        .protocol(4)
        .payload(&inner);
    expect(&send_all(&mut rig, &pieces, &[0, 1, 2]), &out(&outer, 1480));
    finish(rig);
}

#[test]
fn an_ipv6_datagram_cut_outside_in_ipv4_has_an_identification_and_may_be_fragmented() {
    let services = usual(
        plimsoll_dataplane::spec::forward::ForwardMethod::Tunnel,
        REALS,
        REALS,
    );
    let mut rig = Rig::new(1, &two_armed(services));
    let pieces = ask(from_wan(CLIENT6, VIP6), 53).build_fragments(1208);
    let inner = ask(packet(CLIENT6, VIP6).ttl(63), 53).build_datagram();
    let outer = to_lan(REALS[0], LAN_ADDRESS, REALS[0])
        .id(1)
        .protocol(41)
        .payload(&inner);
    expect(&send_all(&mut rig, &pieces, &[0, 1, 2]), &out(&outer, 1480));
    finish(rig);
}

#[test]
fn pieces_that_no_router_may_cut_again_are_answered_with_what_would_fit() {
    for (client, vip, kind, code) in [(CLIENT, VIP, 3, 4), (CLIENT6, VIP6, 2, 0)] {
        let mut spec = direct();
        spec.ports[1].mtu = 1300;
        let mut rig = Rig::new(1, &spec);
        let pieces = ask(from_wan(client, vip).df(), 53).build_fragments(1448);
        let sent = send_all(&mut rig, &pieces, &[0, 1, 2]);
        assert_eq!(sent.len(), 1);
        let header = if client.contains(':') { 40 } else { 20 };
        let icmp = &sent[0].1[14 + header..];
        assert_eq!((sent[0].0, icmp[0], icmp[1]), (WAN, kind, code));
        assert_eq!(icmp[4..8], 1300_u32.to_be_bytes());
        assert_eq!(rig.all_drops(), [(DropReason::MtuExceeded, 3)]);
        finish(rig);
    }
}

#[test]
fn a_piece_that_comes_twice_harms_nobody() {
    let mut rig = Rig::new(1, &direct());
    let pieces = ask(from_wan(CLIENT, VIP), 53).build_fragments(1480);
    let expected = out(&ask(to_lan(REALS[0], CLIENT, VIP), 53), 1480);
    expect(&send_all(&mut rig, &pieces, &[0, 0, 1, 1, 2]), &expected);
    assert_eq!(rig.all_drops(), [(DropReason::FragmentInvalid, 2)]);
    finish(rig);
}

#[test]
fn overlapping_pieces_take_the_whole_datagram_with_them() {
    let mut rig = Rig::new(1, &direct());
    let piece = |offset, more, data: &[u8]| {
        let builder = from_wan(CLIENT, VIP).id(5).protocol(17);
        builder.fragment(offset, more).payload(data).build()
    };
    let frames = [
        piece(0, true, &[1; 16]),
        piece(8, true, &[2; 16]),
        piece(24, false, b"x"),
    ];
    assert_eq!(send_all(&mut rig, &frames, &[0, 1, 2]), []);
    assert_eq!(rig.drops(DropReason::FragmentInvalid), 2);
    rig.wait_ms(31_000);
    assert_eq!(rig.drops(DropReason::FragmentTimeout), 1);
    finish(rig);
}

#[test]
fn a_lone_fragment_is_given_up_after_thirty_seconds() {
    let mut rig = Rig::new(1, &direct());
    let pieces = ask(from_wan(CLIENT, VIP), 53).build_fragments(1480);
    assert_eq!(rig.pass(WAN, &pieces[1]), []);
    assert_eq!(rig.waiting(), 1);
    rig.wait_ms(29_000);
    assert_eq!(rig.waiting(), 1);
    rig.wait_ms(1_500);
    assert_eq!(rig.all_drops(), [(DropReason::FragmentTimeout, 1)]);
    finish(rig);
}

#[test]
fn whoever_sent_the_first_fragment_is_told_that_the_others_did_not_come() {
    let mut rig = Rig::new(1, &direct());
    let pieces = ask(from_wan(CLIENT, VIP), 53).build_fragments(1480);
    assert_eq!(rig.pass(WAN, &pieces[0]), []);
    assert_eq!(rig.wait_ms(29_000), []);
    let sent = rig.wait_ms(1_500);
    let expected = packet(VIP, CLIENT)
        .mac(WAN_MAC, GATEWAY_MAC)
        .tos(0xc0)
        .id(1)
        .icmp_error(11, 1, 0, &pieces[0][14..562]);
    expect(&sent, &[(WAN, expected.build())]);
    finish(rig);
    // Nobody is told about a stranger's.
    let mut rig = Rig::new(1, &nat());
    let answer = from_lan(REALS[0], CLIENT).udp(8053, 4000).payload(&DATA);
    rig.pass(LAN, &answer.build_fragments(1480)[0]);
    assert_eq!(rig.wait_ms(31_000), []);
    finish(rig);
}

#[test]
fn fragments_for_nobody_are_not_collected() {
    for spec in [direct(), nat()] {
        let mut rig = Rig::new(1, &spec);
        let pieces = ask(from_wan(CLIENT, "192.0.2.9"), 53).build_fragments(1480);
        rig.pass(WAN, &pieces[0]);
        assert_eq!(rig.all_drops(), [(DropReason::NotLocal, 1)]);
        finish(rig);
    }
}

#[test]
fn a_nat_real_servers_answer_comes_back_in_fragments() {
    let mut rig = Rig::new(1, &nat());
    rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
    let answer = |builder: PacketBuilder, port| builder.id(9).udp(port, 4000).payload(&DATA);
    let pieces = answer(from_lan(REALS[0], CLIENT), 8053).build_fragments(1480);
    let expected: Vec<_> = answer(to_wan(VIP, CLIENT), 53)
        .build_fragments(1480)
        .into_iter()
        .map(|frame| (WAN, frame))
        .collect();
    let mut sent = Vec::new();
    for piece in &pieces {
        sent.extend(rig.pass(LAN, piece));
    }
    expect(&sent, &expected);
    finish(rig);
}

#[test]
fn a_flood_of_lone_fragments_stops_nobody() {
    let mut rig = Rig::new(1, &direct());
    let flood = |rig: &mut Rig| {
        for number in 0..3000_u32 {
            let from = std::net::Ipv4Addr::from(0xcb00_7100 + number).to_string();
            let lone = from_wan(&from, VIP).id(number).protocol(17);
            rig.inject(0, WAN, &lone.fragment(8, true).payload(&[0; 16]).build());
        }
        assert_eq!(rig.run(), []);
    };
    flood(&mut rig);
    let pieces = ask(from_wan(CLIENT, VIP), 53).build_fragments(1480);
    let expected = out(&ask(to_lan(REALS[0], CLIENT, VIP), 53), 1480);
    expect(&send_all(&mut rig, &pieces, &[2, 0, 1]), &expected);
    assert!(rig.drops(DropReason::FragmentTableFull) >= 3000 - 1024);
    finish(rig);
}

#[test]
fn fragments_for_the_port_itself_are_the_kernels() {
    let mut rig = Rig::new(1, &with_kernel(vec![]));
    let pieces = ask(from_wan(CLIENT, WAN_ADDRESS), 53).build_fragments(1480);
    for piece in &pieces {
        expect(&rig.pass(WAN, piece), &[(2, piece.clone())]);
    }
    finish(rig);
}

#[test]
fn a_fragmented_echo_is_answered_in_fragments() {
    let mut rig = Rig::new(1, &direct());
    let ping = |builder: PacketBuilder| builder.id(8).payload(&DATA);
    let pieces = ping(from_wan(CLIENT, VIP).echo_request(1, 2)).build_fragments(1480);
    let reply = ping(
        packet(VIP, CLIENT)
            .mac(WAN_MAC, GATEWAY_MAC)
            .echo_reply(1, 2),
    );
    let expected: Vec<_> = reply
        .build_fragments(1480)
        .into_iter()
        .map(|frame| (WAN, frame))
        .collect();
    expect(&send_all(&mut rig, &pieces, &[2, 0, 1]), &expected);
    finish(rig);
}

#[test]
fn a_udp_flow_that_begins_in_fragments_stays_at_one_real_server_though_nobody_says_how_ports_spread_flows()
 {
    const WORKERS: usize = 4;
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::new(WORKERS, &spec);
        let mut rng = Rng::new(9);
        for port in 4000..4200 {
            let (client, vip) = [(CLIENT, VIP), (CLIENT6, VIP6)][rng.below(2)];
            // As a NIC does: fragments by the addresses, of the pairs here always the same, and others by ports as well.
            let (of_fragments, of_whole) = (usize::from(client == CLIENT), rng.below(WORKERS));
            let datagram = |bytes: usize| {
                let builder = from_wan(client, vip).id(u32::from(port));
                builder.udp(port, 53).payload(&DATA[..bytes])
            };
            let send = |rig: &mut Rig, in_fragments| {
                if in_fragments {
                    for piece in datagram(2000).build_fragments(1000) {
                        rig.inject(of_fragments, WAN, &piece);
                    }
                } else {
                    rig.inject(of_whole, WAN, &datagram(20).build());
                }
                let sent = rig.run();
                assert!(!sent.is_empty());
                sent[0].1[..6].to_vec()
            };
            let first = send(&mut rig, true);
            for number in 0..4 {
                let in_fragments = number == 2;
                let to = send(&mut rig, in_fragments);
                assert_eq!(to, first, "another real server for {port} at {number}");
            }
        }
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn a_flow_that_began_elsewhere_in_fragments_goes_where_sessions_may_begin() {
    let mut rig = Rig::new(2, &direct());
    let begin = |rig: &mut Rig, port| {
        for piece in ask(from_wan(CLIENT, VIP), 53)
            .udp(port, 53)
            .build_fragments(1480)
        {
            rig.inject(0, WAN, &piece);
        }
        rig.run()[0].1[..6].to_vec()
    };
    let go_on = |rig: &mut Rig, port| {
        // The session is not with both.
        let small = from_wan(CLIENT, VIP).udp(port, 53).build();
        let sent = [0, 1].map(|worker| rig.pass_on(worker, WAN, &small));
        sent.map(|sent| sent[0].1[..6].to_vec())
    };
    let first = begin(&mut rig, 4000);
    assert_eq!(go_on(&mut rig, 4000), [first.clone(), first.clone()]);
    // Drained meanwhile, it gets no new session.
    let drained = begin(&mut rig, 4001);
    let mut spec = direct();
    for real in spec
        .services
        .iter_mut()
        .flat_map(|service| &mut service.reals)
    {
        if mac_of(&real.address.to_string()).0[..] == drained[..] {
            real.weight = 0;
        }
    }
    rig.reload(&spec);
    let both = go_on(&mut rig, 4001);
    assert!(both.contains(&drained) && both.iter().any(|one| *one != drained));
    finish(rig);
}
