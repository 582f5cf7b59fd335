//! Several workers: whatever queue a packet lands in, it is handled as if there were one worker.

use plimsoll_dataplane::testing::{Rig, Rng, Sent, arp_frame, neighbour_frame};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::{arp, ndp};

use crate::net::*;

#[test]
fn nat_finds_its_session_from_any_queue() {
    for workers in [2, 3] {
        let mut rig = Rig::new(workers, &nat());
        let mut rng = Rng::new(42);
        for (client, vip, reals) in [(CLIENT, VIP, REALS), (CLIENT6, VIP6, REALS6)] {
            for port in 4000..4060 {
                let mut any = || rng.below(workers);
                let request = |flags| from_wan(client, vip).tcp(port, 80).flags(flags).build();
                let sent = rig.pass_on(any(), WAN, &request(SYN));
                assert_eq!(sent.len(), 1);
                let to = destination(&sent[0].1).to_string();
                let real = reals.iter().find(|real| **real == to).unwrap();
                let expected = to_lan(real, client, real).tcp(port, 8080);
                expect(&sent, &[(LAN, expected.clone().flags(SYN).build())]);
                for _ in 0..3 {
                    let reply = from_lan(real, client).tcp(8080, port).flags(SYN_ACK);
                    let back = to_wan(vip, client).tcp(80, port).flags(SYN_ACK);
                    expect(
                        &rig.pass_on(any(), LAN, &reply.build()),
                        &[(WAN, back.build())],
                    );
                    let forth = rig.pass_on(any(), WAN, &request(ACK));
                    expect(&forth, &[(LAN, expected.build())]);
                }
            }
        }
        assert_eq!(rig.all_drops(), []);
        assert_eq!(rig.sessions().len(), 120);
        let handed: Vec<u64> = rig.stats().map(|stats| stats.handed_over.value()).collect();
        assert!(handed.iter().all(|count| *count > 0), "{handed:?}");
        finish(rig);
    }
}

#[test]
fn one_way_sessions_stay_on_the_worker_that_their_packets_land_on() {
    let mut rig = Rig::new(3, &direct());
    for worker in 0..3 {
        for flags in [SYN, ACK] {
            let port = 4000 + u16::try_from(worker).unwrap();
            let request = from_wan(CLIENT, VIP).tcp(port, 80).flags(flags);
            assert_eq!(rig.pass_on(worker, WAN, &request.build()).len(), 1);
        }
    }
    let handed: u64 = rig.stats().map(|stats| stats.handed_over.value()).sum();
    assert_eq!(handed, 0);
    // Each worker begins at its share of the list, so that not all begin at the same real server.
    for real in REALS {
        assert_eq!(rig.totals(ip(real)).sessions, 1);
    }
}

#[test]
fn a_segment_that_lands_elsewhere_than_those_before_it_finds_its_one_way_session() {
    for (spec, steered) in [(direct(), false), (tunnel(), false), (direct(), true)] {
        let mut rig = if steered {
            Rig::steered(3, &spec)
        } else {
            Rig::new(3, &spec)
        };
        for port in 4000..4030 {
            let segment = |flags| from_wan(CLIENT, VIP).tcp(port, 80).flags(flags).build();
            let first = rig.pass_by_nic(WAN, &segment(SYN));
            for worker in 0..3 {
                let sent = rig.pass_on(worker, WAN, &segment(ACK));
                let to_whom = |sent: &[Sent]| (sent.len(), sent[0].0, destination(&sent[0].1));
                assert_eq!(to_whom(&sent), to_whom(&first), "{steered} {port}");
            }
        }
        assert_eq!(rig.all_drops(), []);
        // What has no session anywhere is told so once.
        let stray = from_wan(CLIENT, VIP).tcp(9, 80).flags(ACK).build();
        let sent = rig.pass_on(1, WAN, &stray);
        assert_eq!((sent.len(), sent[0].0), (1, WAN));
        assert_eq!(rig.all_drops(), [(DropReason::NoSession, 1)]);
        assert!(rig.handed_over() <= 30 * 2 * 2 + 2);
        finish(rig);
    }
}

#[test]
fn segments_of_no_session_have_others_asked_so_often_and_are_then_dropped_without_an_answer() {
    let mut rig = Rig::new(2, &direct());
    let stray = from_wan(CLIENT, VIP).tcp(9, 80).flags(ACK).build();
    for _ in 0..20_000 {
        rig.pass_on(1, WAN, &stray);
    }
    assert_eq!(rig.handed_over(), 16_000);
    assert_eq!(rig.drops(DropReason::SearchLimited), 4000);
    finish(rig);
}

#[test]
fn errors_find_their_session_on_any_worker() {
    for workers in [2, 3] {
        for spec in [direct(), nat()] {
            let mut rig = Rig::new(workers, &spec);
            for port in 4000..4012 {
                let ask = from_wan(CLIENT, VIP).udp(port, 53).build();
                assert_eq!(rig.pass_on(usize::from(port) % workers, WAN, &ask).len(), 1);
                let seen = packet(VIP, CLIENT).udp(53, port).build_datagram();
                let error = from_wan(CLIENT, VIP).icmp_error(3, 3, 0, &seen).build();
                for worker in 0..workers {
                    let sent = rig.pass_on(worker, WAN, &error);
                    assert_eq!((sent.len(), sent[0].0), (1, LAN));
                }
            }
            let seen = packet(VIP, CLIENT).udp(53, 9999).build_datagram();
            let error = from_wan(CLIENT, VIP).icmp_error(3, 3, 0, &seen).build();
            for worker in 0..workers {
                assert_eq!(rig.pass_on(worker, WAN, &error), []);
            }
            assert_eq!(
                rig.all_drops(),
                [(DropReason::IcmpNoSession, workers as u64)]
            );
        }
    }
}

#[test]
fn errors_in_fragments_come_to_an_end_on_any_number_of_workers() {
    for workers in 1..=4 {
        let mut rig = Rig::new(workers, &nat());
        for port in 0..8 {
            let seen = packet(VIP, CLIENT).udp(53, 9000 + port).payload(&[1; 100]);
            let error =
                from_wan(CLIENT, VIP)
                    .id(port.into())
                    .icmp_error(3, 3, 0, &seen.build_datagram());
            for (index, piece) in error.build_fragments(64).iter().enumerate() {
                rig.inject(index % workers, WAN, piece);
            }
            assert_eq!(rig.run(), []);
        }
        assert_eq!(rig.all_drops(), [(DropReason::IcmpNoSession, 8 * 3)]);
        finish(rig);
    }
}

#[test]
fn fragments_meet_wherever_they_land() {
    for workers in [2, 3] {
        for spec in [direct(), nat()] {
            let mut rig = Rig::new(workers, &spec);
            for port in 4000..4020 {
                let ask = from_wan(CLIENT, VIP)
                    .id(port.into())
                    .udp(port, 53)
                    .payload(&[5; 2000]);
                for (index, piece) in ask.build_fragments(1000).iter().enumerate() {
                    rig.inject((index + usize::from(port)) % workers, WAN, piece);
                }
                let sent = rig.run();
                assert_eq!(sent.len(), 3);
                assert!(
                    sent.iter()
                        .all(|(out, frame)| *out == LAN && frame.len() <= 1034)
                );
            }
            assert_eq!(rig.all_drops(), []);
            assert_eq!(rig.sessions().len(), 20);
            finish(rig);
        }
    }
}

#[test]
fn what_one_worker_learns_about_a_neighbour_all_know() {
    let mut spec = direct();
    spec.network.neighbours.clear();
    // Any worker may be the one whose queue the NIC chooses for the answer.
    for (asks, hears) in [(1, 0), (0, 1), (0, 0), (2, 2)] {
        let mut rig = Rig::new(3, &spec);
        let own = LAN_ADDRESS.parse::<std::net::Ipv4Addr>().unwrap().into();
        let request = |port| from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
        let asked = rig.pass_on(asks, WAN, &request(4000));
        assert_eq!(asked.len(), 1);
        let real: [u8; 4] = asked[0].1[38..42].try_into().unwrap();
        let name = std::net::Ipv4Addr::from(real).to_string();
        let question = arp::Packet::request(LAN_MAC, own, std::net::Ipv4Addr::from(real).into());
        let answer = arp::Packet::reply_to(&question, mac_of(&name));
        let expected = |port| to_lan(&name, CLIENT, VIP).tcp(port, 80).flags(SYN).build();
        expect(
            &rig.pass_on(hears, LAN, &arp_frame(LAN_MAC, &answer)),
            &[(LAN, expected(4000))],
        );
        // Each worker begins at another real server.
        let mut knows = 0;
        for worker in 0..3 {
            for port in 5000..5003 {
                let sent = rig.pass_on(worker, WAN, &request(port));
                knows += usize::from(sent == [(LAN, expected(port))]);
            }
        }
        assert_eq!(knows, 3);
        rig.wait_ms(5_000);
        finish(rig);
    }
}

#[test]
fn a_neighbour_that_only_asks_us_is_no_news() {
    let mut spec = direct();
    spec.network.neighbours.clear();
    let mut rig = Rig::new(2, &spec);
    let own = LAN_ADDRESS.parse::<std::net::Ipv4Addr>().unwrap().into();
    for last in 20..120 {
        let stranger = std::net::Ipv4Addr::new(10, 1, 0, last);
        let question = arp::Packet::request(mac_of(REALS[0]), stranger.into(), own);
        rig.inject(0, LAN, &arp_frame(LAN_MAC, &question));
    }
    while rig.poll(0) > 0 {}
    assert_eq!(rig.poll(1), 0, "nothing came in");
    rig.run();
}

#[test]
fn a_session_that_outlives_its_service_is_found_from_any_queue_and_not_reset() {
    let mut spec = nat();
    let first = REALS.map(|address| {
        let method = plimsoll_dataplane::spec::forward::ForwardMethod::Nat;
        real(address, 8081, method)
    });
    let tcp = plimsoll_dataplane::flow::Protocol::Tcp;
    spec.services.push(service(tcp, VIP, 81, first.to_vec()));
    let mut rig = Rig::new(3, &spec);
    let segment = |port, flags| from_wan(CLIENT, VIP).tcp(port, 81).flags(flags).build();
    for port in 4000..4010 {
        assert_eq!(rig.pass(WAN, &segment(port, SYN))[0].0, LAN);
    }
    spec.services.pop();
    rig.reload(&spec);
    for worker in 0..3 {
        for port in 4000..4010 {
            let sent = rig.pass_on(worker, WAN, &segment(port, ACK));
            assert_eq!((sent.len(), sent[0].0), (1, LAN), "forwarded");
            let stray = rig.pass_on(worker, WAN, &segment(port + 1000, ACK));
            assert_eq!((stray.len(), stray[0].0), (1, WAN), "reset");
        }
    }
    assert_eq!(rig.all_drops(), [(DropReason::NoService, 30)]);
    finish(rig);
}

/// Three seconds of questions, each answered on the other worker. Gives what is sent to the real server.
fn answered_elsewhere(rig: &mut Rig, family: usize, answer: bool) -> usize {
    let mut forwarded = 0;
    for _ in 0..30 {
        for (_, frame) in rig.wait_ms(100) {
            let asks = match frame[12..14] {
                [0x08, 0x06] => frame[21] == 1,
                [0x86, 0xdd] => frame[20] == 58 && frame[54] == 135,
                _ => false,
            };
            forwarded += usize::from(!asks);
            if asks && answer {
                rig.inject(1, LAN, &answer_to(&frame, family));
            }
        }
        forwarded += rig.run().len();
    }
    forwarded
}

fn answer_to(question: &[u8], family: usize) -> Vec<u8> {
    if family == 4 {
        let heard = arp::parse(&question[14..]).unwrap();
        let mac = mac_of(&std::net::Ipv4Addr::from(heard.target.0).to_string());
        return arp_frame(LAN_MAC, &arp::Packet::reply_to(&heard, mac));
    }
    let address = |at: usize| {
        let bytes: [u8; 16] = question[at..at + 16].try_into().unwrap();
        std::net::Ipv6Addr::from(bytes)
    };
    let (asker, target) = (address(22), address(62));
    let mac = mac_of(&target.to_string());
    neighbour_frame(&ndp::reply(mac, target.into(), asker.into(), LAN_MAC))
}

#[test]
fn an_answer_that_lands_on_another_worker_reaches_the_one_that_asked() {
    for (family, client, vip) in [(4, CLIENT, VIP), (6, CLIENT6, VIP6)] {
        let mut spec = direct();
        spec.network.neighbours.clear();
        let mut rig = Rig::new(2, &spec);
        rig.inject(
            0,
            WAN,
            &from_wan(client, vip).tcp(4000, 80).flags(SYN).build(),
        );
        assert_eq!(answered_elsewhere(&mut rig, family, true), 1);

        // Long after, the asker probes what it knows; the other worker has heard from the neighbour in
        // between, so that the answer is no news to it.
        let request = from_wan(client, vip).tcp(4000, 80).build();
        for round in 0..6 {
            rig.wait_ms(12_000);
            let (asker, own) = match (family, LAN_ADDRESS.parse::<std::net::Ipv4Addr>()) {
                (4, Ok(own)) => (mac_of(REALS[0]), own),
                _ => break,
            };
            let real = REALS[0].parse::<std::net::Ipv4Addr>().unwrap().into();
            let question = arp::Packet::request(asker, real, own.into());
            rig.inject(1, LAN, &arp_frame(LAN_MAC, &question));
            rig.inject(0, WAN, &request);
            assert_eq!(answered_elsewhere(&mut rig, family, true), 2, "{round}");
        }
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn a_full_inbox_drops_and_counts() {
    let mut rig = Rig::new(2, &nat());
    let frames: Vec<Vec<u8>> = (1000..6000)
        .map(|port| from_wan(CLIENT, VIP).udp(port, 53).build())
        .collect();
    for frame in &frames {
        rig.inject(0, WAN, frame);
    }
    while rig.poll(0) > 0 {}
    let full = rig.drops(DropReason::HandoverFull);
    assert!(full > 0);
    assert_eq!(rig.run().len() as u64 + full, 5000);
    finish(rig);
}

#[test]
fn workers_number_what_they_make_so_that_no_receiver_confuses_them() {
    let mut rig = Rig::new(3, &tunnel());
    let mut ids = Vec::new();
    for round in 0..5 {
        for worker in 0..3 {
            let port = 4000 + round;
            let ask = from_wan(CLIENT, VIP).udp(port, 53).build();
            let sent = rig.pass_on(worker, WAN, &ask);
            ids.push(u16::from_be_bytes([sent[0].1[18], sent[0].1[19]]));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 15);
}

#[test]
fn a_fragmented_datagram_follows_its_flow_whichever_worker_has_the_session() {
    for worker in 0..3 {
        let mut rig = Rig::new(3, &direct());
        let small = from_wan(CLIENT, VIP).udp(4000, 53).build();
        let first = rig.pass_on(worker, WAN, &small);
        let mac = first[0].1[..6].to_vec();
        let large = from_wan(CLIENT, VIP)
            .id(7)
            .udp(4000, 53)
            .payload(&[5; 2000]);
        for piece in large.build_fragments(1000) {
            rig.inject(0, WAN, &piece);
        }
        let sent = rig.run();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|(_, frame)| frame[..6] == mac));
        assert_eq!(rig.sessions().len(), 1);
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn a_nat_session_of_a_removed_service_is_found_from_any_queue() {
    let mut rig = Rig::new(3, &nat());
    let request = |flags| from_wan(CLIENT, VIP).tcp(4000, 80).flags(flags).build();
    let first = rig.pass_on(0, WAN, &request(SYN));
    let real = destination(&first[0].1).to_string();
    rig.pass_on(0, WAN, &request(ACK));
    rig.reload(&two_armed(vec![]));
    for worker in 0..3 {
        let expected = to_lan(&real, CLIENT, &real).tcp(4000, 8080).build();
        expect(&rig.pass_on(worker, WAN, &request(ACK)), &[(LAN, expected)]);
        let other = from_wan(CLIENT, VIP).tcp(4001, 80).flags(SYN).build();
        assert_eq!(rig.pass_on(worker, WAN, &other), []);
    }
    assert_eq!(rig.drops(DropReason::NotLocal), 3);
    finish(rig);
}

#[test]
fn errors_that_cannot_be_about_a_session_bother_no_other_worker() {
    let mut rig = Rig::new(3, &nat());
    let seen = packet("203.0.113.9", CLIENT).udp(53, 4000).build_datagram();
    let error = from_wan(CLIENT, VIP).icmp_error(3, 3, 0, &seen).build();
    assert_eq!(rig.pass_on(0, WAN, &error), []);
    let handed: u64 = rig.stats().map(|stats| stats.handed_over.value()).sum();
    assert_eq!(handed, 0);
}

#[test]
fn a_worker_with_a_message_or_a_moving_backlog_asks_for_another_poll() {
    let mut rig = Rig::new(2, &nat());
    let syn = |port| from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
    let handed = |rig: &Rig| -> u64 { rig.stats().map(|stats| stats.handed_over.value()).sum() };
    let mut of_the_other = Vec::new();
    for port in 4000..4100 {
        let before = handed(&rig);
        assert_eq!(rig.pass_on(0, WAN, &syn(port)).len(), 1);
        if handed(&rig) > before {
            of_the_other.push(port);
        }
    }
    assert!(!rig.has_more(0) && !rig.has_more(1));

    for port in &of_the_other[..3] {
        rig.inject(0, WAN, &syn(*port));
    }
    assert_eq!(rig.poll(0), 3);
    assert!(!rig.has_more(0) && rig.has_more(1), "three frames wait");
    let wire = rig.wire(1, LAN).unwrap().clone();
    wire.set_tx_limit(1);
    assert_eq!(rig.poll(1), 3);
    assert!(rig.has_more(1), "one frame of three is sent");
    assert_eq!(rig.poll(1), 0);
    assert!(!rig.has_more(1), "the queue takes none, now or soon");
    wire.set_tx_limit(2);
    assert_eq!(rig.poll(1), 0);
    assert!(rig.has_more(1), "it takes some again");
    wire.set_tx_limit(3);
    assert_eq!((rig.poll(1), wire.drain().len()), (0, 3));
    assert!(!rig.has_more(1));
    finish(rig);
}
