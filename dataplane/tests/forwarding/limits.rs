//! TTL and MTU: who is told what, and what is cut into pieces instead.

use std::sync::Arc;

use plimsoll_dataplane::neighbour::record::NeighbourState;
use plimsoll_dataplane::testing::{PacketBuilder, Rig};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::worker::{Command, Listing, NeighbourListing};

use crate::net::*;

/// The error that goes to the client: TOS 0xc0, TTL 64, from `from`.
fn error(from: &str, to: &str, kind: u8, code: u8, rest: u32, quoted: &[u8]) -> PacketBuilder {
    let tos = if to.contains(':') { 0 } else { 0xc0 };
    let most = if to.contains(':') { 1280 - 48 } else { 548 };
    packet(from, to)
        .mac(WAN_MAC, GATEWAY_MAC)
        .tos(tos)
        .id(1)
        .icmp_error(kind, code, rest, &quoted[..quoted.len().min(most)])
}

#[test]
fn a_packet_out_of_hops_is_answered_by_the_vip() {
    for (client, vip, kind) in [(CLIENT, VIP, 11), (CLIENT6, VIP6, 3)] {
        for spec in [direct(), nat(), tunnel()] {
            for ttl in [0, 1] {
                let mut rig = Rig::new(1, &spec);
                let request = from_wan(client, vip).ttl(ttl).tcp(4000, 80).flags(SYN);
                let expected = error(vip, client, kind, 0, 0, &request.build_datagram());
                let sent = rig.pass(WAN, &request.build());
                expect(&sent, &[(WAN, expected.build())]);
                assert_eq!(rig.all_drops(), [(DropReason::TtlExceeded, 1)]);
                // The packet has begun its session nevertheless, as in IPVS.
                assert_eq!(rig.sessions().len(), 1);
                finish(rig);
            }
        }
    }
}

#[test]
fn a_reply_out_of_hops_is_answered_by_our_own_address_on_that_side() {
    let mut rig = Rig::new(1, &nat());
    rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN).build());
    let reply = from_lan(REALS[0], CLIENT)
        .ttl(1)
        .tcp(8080, 4000)
        .flags(SYN_ACK);
    let expected = packet(LAN_ADDRESS, REALS[0])
        .mac(LAN_MAC, mac_of(REALS[0]))
        .tos(0xc0)
        .id(1)
        .icmp_error(11, 0, 0, &reply.build_datagram());
    expect(&rig.pass(LAN, &reply.build()), &[(LAN, expected.build())]);
    finish(rig);
}

/// A spec whose LAN takes packets of `mtu` bytes.
fn narrow(mut spec: plimsoll_dataplane::spec::Spec, mtu: u16) -> plimsoll_dataplane::spec::Spec {
    spec.ports[1].mtu = mtu;
    spec
}

#[test]
fn what_is_too_large_and_must_not_be_fragmented_is_answered_with_what_would_fit() {
    let payload = [7; 1460];
    let gre = || tunnel_of(GRE, REALS, REALS6);
    let gue = || tunnel_of(GUE, REALS, REALS6);
    // Of a 1400-byte way, IP in IP leaves 1380 in IPv4 and 1360 in IPv6; GRE takes 4 more, GUE 12.
    let cases = [
        (direct(), CLIENT, VIP, 1400, 1400),
        (nat(), CLIENT, VIP, 1400, 1400),
        (tunnel(), CLIENT, VIP, 1400, 1380),
        (direct(), CLIENT6, VIP6, 1400, 1400),
        (nat(), CLIENT6, VIP6, 1400, 1400),
        (tunnel(), CLIENT6, VIP6, 1400, 1360),
        (tunnel(), CLIENT, VIP, 1500, 1480),
        (tunnel(), CLIENT6, VIP6, 1500, 1460),
        (gre(), CLIENT, VIP, 1400, 1376),
        (gre(), CLIENT6, VIP6, 1400, 1356),
        (gue(), CLIENT, VIP, 1400, 1368),
        (gue(), CLIENT6, VIP6, 1400, 1348),
    ];
    for (spec, client, vip, mtu, told) in cases {
        let mut rig = Rig::new(1, &narrow(spec, mtu));
        rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).flags(SYN).build());
        let v6 = client.contains(':');
        let payload = if v6 { &payload[..1440] } else { &payload[..] };
        let request = from_wan(client, vip).df().tcp(4000, 80).payload(payload);
        let quoted = request.build_datagram();
        let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
        let sent = rig.pass(WAN, &request.build());
        // A tunnel took an identification for its SYN.
        let [(WAN, frame)] = &sent[..] else {
            panic!("{sent:?}")
        };
        let id = if v6 {
            1
        } else {
            u32::from(frame[18]) << 8 | u32::from(frame[19])
        };
        let expected = error(vip, client, kind, code, told, &quoted).id(id);
        expect(&sent, &[(WAN, expected.build())]);
        assert_eq!(rig.all_drops(), [(DropReason::MtuExceeded, 1)]);
        finish(rig);
    }
}

#[test]
fn what_just_fits_passes() {
    let gue = GUE;
    for (spec, fits) in [
        (direct(), 1400),
        (nat(), 1400),
        (tunnel(), 1380),
        (tunnel_of(GRE, REALS, REALS6), 1376),
        (tunnel_of(gue, REALS, REALS6), 1368),
    ] {
        let mut rig = Rig::new(1, &narrow(spec, 1400));
        for (bytes, drops) in [(fits, 0), (fits + 1, 1)] {
            let request = from_wan(CLIENT, VIP)
                .df()
                .udp(4000, 53)
                .payload(&vec![1; bytes - 28]);
            rig.pass(WAN, &request.build());
            assert_eq!(rig.drops(DropReason::MtuExceeded), drops, "{bytes}");
        }
        finish(rig);
    }
}

#[test]
fn what_may_be_fragmented_is_cut_for_direct_routing_and_nat() {
    let payload: Vec<u8> = (0..=250).cycle().take(1400).collect();
    for (spec, to, port) in [(direct(), VIP, 53), (nat(), REALS[0], 8053)] {
        let mut rig = Rig::new(1, &narrow(spec, 600));
        let request = from_wan(CLIENT, VIP).id(99).udp(4000, 53).payload(&payload);
        // 576 is the greatest multiple of 8 that leaves room for a header in 600 bytes.
        let expected: Vec<_> = to_lan(REALS[0], CLIENT, to)
            .id(99)
            .udp(4000, port)
            .payload(&payload)
            .build_fragments(576)
            .into_iter()
            .map(|frame| (LAN, frame))
            .collect();
        assert_eq!(expected.len(), 3);
        expect(&rig.pass(WAN, &request.build()), &expected);
        finish(rig);
    }
}

#[test]
fn replies_are_cut_on_their_way_back() {
    let mut spec = nat();
    spec.ports[0].mtu = 600;
    let mut rig = Rig::new(1, &spec);
    rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
    let reply = from_lan(REALS[0], CLIENT)
        .id(5)
        .udp(8053, 4000)
        .payload(&[9; 1000]);
    let expected: Vec<_> = to_wan(VIP, CLIENT)
        .id(5)
        .udp(53, 4000)
        .payload(&[9; 1000])
        .build_fragments(576)
        .into_iter()
        .map(|frame| (WAN, frame))
        .collect();
    expect(&rig.pass(LAN, &reply.build()), &expected);
    let reply = reply.df();
    let expected = packet(LAN_ADDRESS, REALS[0])
        .mac(LAN_MAC, mac_of(REALS[0]))
        .tos(0xc0)
        .id(1)
        .icmp_error(3, 4, 600, &reply.build_datagram()[..548]);
    expect(&rig.pass(LAN, &reply.build()), &[(LAN, expected.build())]);
    finish(rig);
}

#[test]
fn a_tunnel_is_cut_outside_so_that_both_ends_see_whole_packets() {
    let inner = packet(CLIENT, VIP).udp(4000, 53).payload(&[3; 1460]);
    let mut rig = Rig::new(1, &tunnel());
    let outer = to_lan(REALS[0], LAN_ADDRESS, REALS[0])
        .id(1)
        .protocol(4)
        .payload(&inner.clone().ttl(63).build_datagram());
    let expected: Vec<_> = outer
        .build_fragments(1480)
        .into_iter()
        .map(|frame| (LAN, frame))
        .collect();
    assert_eq!(expected.len(), 2);
    let request = inner.mac(GATEWAY_MAC, WAN_MAC).build();
    expect(&rig.pass(WAN, &request), &expected);
    finish(rig);
    let reals = usual(
        plimsoll_dataplane::spec::forward::ForwardMethod::Tunnel,
        REALS6,
        REALS6,
    );
    let mut rig = Rig::new(1, &two_armed(reals));
    let inner = packet(CLIENT, VIP).udp(4000, 53).payload(&[3; 1460]);
    let outer = to_lan(REALS6[0], LAN_ADDRESS6, REALS6[0])
        .id(1)
        .protocol(4)
        .payload(&inner.ttl(63).build_datagram());
    let expected: Vec<_> = outer
        .build_fragments(1448)
        .into_iter()
        .map(|frame| (LAN, frame))
        .collect();
    expect(&rig.pass(WAN, &request), &expected);
    finish(rig);
}

#[test]
fn gre_and_gue_are_cut_outside_too() {
    for (kind, header) in [(GRE, 4), (GUE, 12)] {
        let mut rig = Rig::new(1, &tunnel_of(kind, REALS, REALS6));
        let inner = packet(CLIENT, VIP).udp(4000, 53).payload(&[3; 1460]);
        let request = inner.clone().mac(GATEWAY_MAC, WAN_MAC).build();
        let sent = rig.pass(WAN, &request);
        assert_eq!(sent.len(), 2);
        let pieces: Vec<u8> = sent
            .iter()
            .flat_map(|(_, frame)| &frame[34..])
            .copied()
            .collect();
        assert_eq!(pieces[header..], inner.ttl(63).build_datagram());
        assert!(sent.iter().all(|(_, frame)| frame.len() <= 1514));
        finish(rig);
    }
}

#[test]
fn errors_are_limited_to_a_thousand_at_once_and_a_thousand_a_second() {
    let mut rig = Rig::new(1, &direct());
    let request = from_wan(CLIENT, VIP).ttl(1).udp(4000, 53).build();
    let mut errors = 0;
    for _ in 0..1100 {
        errors += rig.pass(WAN, &request).len();
    }
    assert_eq!(errors, 1000);
    rig.wait_ms(50);
    for _ in 0..100 {
        errors += rig.pass(WAN, &request).len();
    }
    assert_eq!(errors, 1050);
    finish(rig);
}

#[test]
fn an_offloaded_giant_is_told_from_a_cut_frame() {
    let mut rig = Rig::new(1, &direct());
    let giant = from_wan(CLIENT, VIP).df().tcp(4000, 80).payload(&[0; 4000]);
    rig.pass(WAN, &giant.build());
    rig.pass(WAN, &giant.build()[..2000]);
    assert_eq!(rig.all_drops(), [(DropReason::OversizeFrame, 2)]);
    let small = from_wan(CLIENT, VIP)
        .tcp(4000, 80)
        .payload(&[0; 40])
        .build();
    rig.pass(WAN, &small[..60]);
    assert_eq!(rig.drops(DropReason::Truncated), 1);
    finish(rig);
}

#[test]
fn pieces_that_find_no_room_are_no_forwarded_packet() {
    let mut spec = direct();
    spec.network.neighbours.clear();
    let mut rig = Rig::new(1, &spec);
    let large = from_wan(CLIENT, VIP)
        .id(7)
        .udp(4000, 53)
        .payload(&[5; 2000]);
    for piece in large.build_fragments(1000) {
        rig.inject(0, WAN, &piece);
    }
    rig.run();
    assert_eq!(rig.waiting(), 3, "the datagram waits for a MAC");
    rig.wait_ms(5000);
    assert_eq!(rig.drops(DropReason::NeighbourUnreachable), 3);
    assert_eq!(
        rig.stats()
            .map(|stats| stats.forwarded.value())
            .sum::<u64>(),
        0
    );
    finish(rig);
}

#[test]
fn an_error_about_a_one_way_session_counts_as_its_real_servers() {
    for (spec, counted) in [(direct(), 1), (tunnel(), 1), (nat(), 0)] {
        let mut rig = Rig::new(1, &spec);
        let request = from_wan(CLIENT, VIP).tcp(4000, 80);
        rig.pass(WAN, &request.clone().flags(SYN).build());
        rig.pass(WAN, &request.ttl(1).build());
        let totals = REALS.map(|real| rig.totals(ip(real)));
        let packets: u64 = totals.iter().map(|one| one.out_packets).sum();
        let bytes: u64 = totals.iter().map(|one| one.out_bytes).sum();
        assert_eq!((packets, bytes), (counted, counted * 68));
    }
}

/// A request that does not fit the way to the real server, and whether the client was told so.
fn is_told_what_fits(rig: &mut Rig, (client, vip): (&str, &str), port: u16) -> bool {
    let request = from_wan(client, vip).df().tcp(port, 80).payload(&[7; 1440]);
    let sent = rig.pass(WAN, &request.build());
    let (at, wanted) = if client.contains(':') {
        (54, [2, 0])
    } else {
        (34, [3, 4])
    };
    sent.len() == 1 && sent[0].0 == WAN && sent[0].1[at..at + 2] == wanted
}

#[test]
fn no_flood_of_other_errors_switches_off_what_path_mtu_discovery_needs() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut rig = Rig::new(1, &narrow(direct(), 1400));
        rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).flags(SYN).build());
        let floods = [
            from_wan(client, vip).tcp(4001, 81).flags(SYN),
            from_wan(client, vip).udp(4001, 81),
            from_wan(client, vip).tcp(4000, 80).ttl(1),
        ];
        for flood in floods {
            for _ in 0..1500 {
                rig.inject(0, WAN, &flood.build());
            }
            assert_eq!(rig.run().len(), 1000, "its own limit");
        }
        for _ in 0..2000 {
            assert!(is_told_what_fits(&mut rig, (client, vip), 4000));
        }
        finish(rig);
    }
}

#[test]
fn kinds_of_answers_are_limited_apart() {
    let mut rig = Rig::new(1, &direct());
    for _ in 0..1500 {
        rig.inject(0, WAN, &from_wan(CLIENT, VIP).tcp(4001, 81).build());
    }
    assert_eq!(rig.run().len(), 1000, "resets");
    let closed = from_wan(CLIENT, VIP).udp(4000, 9).build();
    assert_eq!(rig.pass(WAN, &closed).len(), 1, "port unreachable");
    let late = from_wan(CLIENT, VIP).ttl(1).udp(4000, 53).build();
    assert_eq!(rig.pass(WAN, &late).len(), 1, "time exceeded");
    finish(rig);
}

/// "Fragmentation needed" about what the VIP, or its real server, sent to the client's port.
fn too_big_about(port: u16) -> PacketBuilder {
    let seen = packet(VIP, CLIENT).udp(53, port).build_datagram();
    from_wan("203.0.113.1", VIP).icmp_error(3, 4, 1400, &seen)
}

#[test]
fn errors_about_one_session_starve_those_about_no_other() {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::new(1, &spec);
        for port in 4000..4021 {
            rig.pass(WAN, &from_wan(CLIENT, VIP).udp(port, 53).build());
        }
        for _ in 0..1000 {
            rig.inject(0, WAN, &too_big_about(4000).build());
        }
        let flood = rig.run().len();
        assert!((1..=64).contains(&flood), "{flood}");
        for port in 4001..4021 {
            assert_eq!(rig.pass(WAN, &too_big_about(port).build()).len(), 1);
        }
        finish(rig);
    }
}

#[test]
fn invented_errors_on_all_workers_starve_no_legitimate_one() {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::new(4, &spec);
        for port in 4000..4020 {
            let ask = from_wan(CLIENT, VIP).udp(port, 53).build();
            rig.pass_on(usize::from(port) % 4, WAN, &ask);
        }
        for port in 10_000..22_000 {
            rig.inject(usize::from(port) % 4, WAN, &too_big_about(port).build());
        }
        assert_eq!(rig.run(), []);
        let arrived = (4000..4020).filter(|port| {
            let worker = usize::from(port / 4) % 4;
            rig.pass_on(worker, WAN, &too_big_about(*port).build())
                .len()
                == 1
        });
        assert_eq!(arrived.count(), 20);
        finish(rig);
    }
}

#[test]
fn a_listing_takes_little_time_from_packets_and_all_there_is_from_idle_polls() {
    /// Polls until a listing of an empty table is done, if each finds a packet or none does.
    fn polls(busy: bool) -> usize {
        let mut rig = Rig::new(1, &direct());
        let listing = Arc::new(Listing::default());
        rig.command(0, Command::List(Arc::clone(&listing)));
        let syn = from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN).build();
        for poll in 1.. {
            if busy {
                rig.inject(0, WAN, &syn);
            }
            assert_eq!(rig.poll(0) > 0, busy);
            if listing.is_done() {
                return poll;
            }
        }
        unreachable!("ranges end later");
    }
    // Both tables have at least as many slots as there may be sessions, and less than twice as many. Beside packets a poll
    // looks at two buckets of 32 that are empty, or at two slots of the only one that is not.
    let buckets = 2 * 4096 / 32;
    let busy = polls(true);
    assert!((buckets / 2..=buckets + 32).contains(&busy), "{busy}");
    assert!(polls(false) < 16);
}

#[test]
fn neighbours_are_listed_with_their_states_beside_packets_too() {
    for busy in [false, true] {
        let mut spec = direct();
        spec.network.neighbours.clear();
        let mut rig = Rig::new(1, &spec);
        let listing = Arc::new(NeighbourListing::default());
        let syn = from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN).build();
        // Its real server has to be asked for.
        rig.inject(0, WAN, &syn);
        rig.poll(0);
        rig.command(0, Command::ListNeighbours(Arc::clone(&listing)));
        while !listing.is_done() {
            if busy {
                rig.inject(0, WAN, &syn);
            }
            rig.poll(0);
        }
        let records: Vec<_> = std::iter::from_fn(|| listing.take()).collect();
        assert!(!records.is_empty());
        for (place, one) in records.iter().enumerate() {
            let known = [NeighbourState::Incomplete, NeighbourState::Stale];
            assert!(known.contains(&one.state), "{one:?}");
            assert_eq!(one.mac.is_none(), one.state == NeighbourState::Incomplete);
            let others = records.iter().skip(place + 1);
            assert!(
                others
                    .clone()
                    .all(|other| (other.port, other.address) != (one.port, one.address))
            );
        }
    }
}
