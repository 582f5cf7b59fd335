//! Persistence with several workers: one template for a client, whatever worker its packets reach.

use std::collections::BTreeMap;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::testing::{Rig, Rng};

use crate::net::*;
use crate::persistence::*;

#[test]
fn a_persistent_client_meets_one_template_whatever_worker_its_packets_reach() {
    for (workers, mask, forward) in [(2, 32, DIRECT), (3, 24, DIRECT), (2, 32, NAT), (3, 24, NAT)] {
        let mut rig = Rig::new(workers, &spec(mask, forward));
        let mut rng = Rng::new(7);
        let mut known = BTreeMap::new();
        for number in 0..200_u16 {
            let client = format!("198.51.{}.{}", 100 + number % 5, 1 + rng.below(40));
            let network = match mask {
                24 => client.rsplit_once('.').unwrap().0.to_owned(),
                _ => client.clone(),
            };
            for flags in [SYN, ACK] {
                let frame = request(&client, 1000 + number, flags);
                let sent = rig.pass_on(rng.below(workers), WAN, &frame);
                let real = taker(&sent);
                assert_eq!(*known.entry(network.clone()).or_insert(real), real);
                if forward == NAT {
                    let answer = from_lan(real, &client).tcp(8080, 1000 + number);
                    let back = to_wan(VIP, &client).tcp(80, 1000 + number);
                    let sent = rig.pass_on(rng.below(workers), LAN, &answer.flags(SYN_ACK).build());
                    expect(&sent, &[(WAN, back.flags(SYN_ACK).build())]);
                }
            }
        }
        assert_eq!(templates(&mut rig).len(), known.len());
        assert_eq!(rig.all_drops(), []);
        rig.wait_ms(1_000_000);
        assert_eq!(rig.sessions(), []);
        finish(rig);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn a_network_has_one_real_server_while_its_template_lives(
        workers in 1..4_usize,
        mask in 28..=32_u8,
        arrivals in proptest::collection::vec((0..4_usize, 0..32_u8, 0..4_u16, 0..20_000_u64), 1..60),
    ) {
        let mut rig = Rig::new(workers, &spec(mask, NAT));
        let mut known = BTreeMap::new();
        for (worker, host, port, wait_ms) in arrivals {
            let frame = request(&format!("198.51.100.{host}"), 1000 + port, SYN);
            let real = taker(&rig.pass_on(worker % workers, WAN, &frame));
            // A template lives for 50 s after its last session began, and while it has any, which a
            // handshake is for 60 s.
            let network = host >> (32 - mask);
            let (before, last) = *known.entry(network).or_insert((real, rig.now()));
            if rig.now().ms_since(last) < 50_000 {
                proptest::prop_assert_eq!(before, real);
            }
            known.insert(network, (real, rig.now()));
            rig.wait_ms(wait_ms);
        }
        proptest::prop_assert_eq!(rig.all_drops(), []);
    }
}

#[test]
fn errors_and_fragments_of_persistent_clients_find_their_session_on_any_worker() {
    for forward in [DIRECT, NAT] {
        let port = if forward == NAT { 5353 } else { 53 };
        let reals = REALS.map(|address| real(address, port, forward));
        let dns = service(Protocol::Udp, VIP, 53, reals.to_vec());
        let mut rig = Rig::new(3, &two_armed(vec![persistent(24, dns)]));
        let mut real = None;
        for client_port in 4000..4012_u16 {
            let ask = from_wan(CLIENT, VIP)
                .id(client_port.into())
                .udp(client_port, 53)
                .payload(&[5; 2000]);
            for (index, piece) in ask.build_fragments(1000).iter().enumerate() {
                rig.inject((index + usize::from(client_port)) % 3, WAN, piece);
            }
            let sent = rig.run();
            assert_eq!(sent.len(), 3);
            let to = sent[0].1[..6].to_vec();
            assert_eq!(*real.get_or_insert(to.clone()), to);
            let seen = packet(VIP, CLIENT).udp(53, client_port).build_datagram();
            let error = from_wan(CLIENT, VIP).icmp_error(3, 3, 0, &seen).build();
            for worker in 0..3 {
                let sent = rig.pass_on(worker, WAN, &error);
                assert_eq!((sent.len(), &sent[0].1[..6]), (1, &to[..]));
            }
        }
        assert_eq!(rig.sessions().len(), 13);
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn sessions_are_found_after_persistence_was_turned_on_changed_or_turned_off() {
    for workers in [2, 3, 4] {
        for forward in [DIRECT, NAT] {
            let mut rig = Rig::new(workers, &two_armed(vec![web(forward)]));
            let mut rng = Rng::new(9);
            let mut sessions = Vec::new();
            for (step, mask) in [None, Some(32), Some(16), Some(24), None]
                .iter()
                .enumerate()
            {
                let service = match mask {
                    Some(mask) => persistent(*mask, web(forward)),
                    None => web(forward),
                };
                rig.reload(&two_armed(vec![service]));
                for number in 0..20 {
                    let client = format!("198.51.{number}.7");
                    let port = 1000 + u16::try_from(step).unwrap();
                    let queue = rng.below(workers);
                    let sent = rig.pass_on(queue, WAN, &request(&client, port, SYN));
                    sessions.push((client, port, queue, taker(&sent)));
                }
                for (client, port, queue, real) in &sessions {
                    // DR's packets come by the queue that the NIC chose, NAT's by any.
                    let queue = if forward == NAT {
                        rng.below(workers)
                    } else {
                        *queue
                    };
                    let sent = rig.pass_on(queue, WAN, &request(client, *port, ACK));
                    assert_eq!(taker(&sent), *real, "{workers} {forward:?} {step}");
                    if forward == NAT {
                        let answer = from_lan(real, client).tcp(8080, *port).flags(ACK);
                        let back = to_wan(VIP, client).tcp(80, *port).flags(ACK).build();
                        let sent = rig.pass_on(rng.below(workers), LAN, &answer.build());
                        expect(&sent, &[(WAN, back)]);
                    }
                }
            }
            assert_eq!(rig.all_drops(), []);
            finish(rig);
        }
    }
}

#[test]
fn replies_of_a_real_server_in_services_with_different_owners_go_round() {
    let shared = |vip: &str, port| {
        let reals = vec![real(REALS[0], 8080, NAT)];
        service(Protocol::Tcp, vip, port, reals)
    };
    let services = vec![
        shared(VIP, 80),
        persistent(32, shared(VIP, 81)),
        persistent(24, shared(VIP, 82)),
    ];
    for workers in [2, 4] {
        let mut rig = Rig::new(workers, &two_armed(services.clone()));
        let mut rng = Rng::new(3);
        for number in 0..60_u16 {
            let (client, port) = (format!("198.51.100.{number}"), 80 + number % 3);
            let syn = from_wan(&client, VIP).tcp(1000 + number, port).flags(SYN);
            assert_eq!(rig.pass_on(rng.below(workers), WAN, &syn.build()).len(), 1);
            let answer = from_lan(REALS[0], &client).tcp(8080, 1000 + number);
            let back = to_wan(VIP, &client).tcp(port, 1000 + number).flags(SYN_ACK);
            let sent = rig.pass_on(rng.below(workers), LAN, &answer.flags(SYN_ACK).build());
            expect(&sent, &[(WAN, back.build())]);
        }
        // What is no reply is routed, from wherever it went.
        let other = from_lan(REALS[0], CLIENT).tcp(8080, 9).flags(SYN).build();
        let expected = to_wan(REALS[0], CLIENT).tcp(8080, 9).flags(SYN).build();
        expect(&rig.pass(LAN, &other), &[(WAN, expected)]);
        finish(rig);
    }
}
