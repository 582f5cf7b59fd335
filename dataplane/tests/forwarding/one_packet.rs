//! One-packet scheduling: every datagram by itself, without a session, and answers in the VIP's name.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::session::Flags;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::policy::Policy;
use plimsoll_dataplane::spec::service::{Persistence, ServiceSpec};
use plimsoll_dataplane::testing::Rig;
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

const NAT: ForwardMethod = ForwardMethod::Nat;

fn dns(forward: ForwardMethod) -> ServiceSpec {
    let port = if forward == NAT { 5353 } else { 53 };
    let reals = REALS.map(|address| real(address, port, forward));
    ServiceSpec {
        one_packet: true,
        ..service(Protocol::Udp, VIP, 53, reals.to_vec())
    }
}

fn ask(payload: &[u8]) -> Vec<u8> {
    from_wan(CLIENT, VIP).udp(1000, 53).payload(payload).build()
}

#[test]
fn every_datagram_is_scheduled_by_itself() {
    for forward in [ForwardMethod::Direct, ForwardMethod::Tunnel, NAT] {
        for workers in [1, 2] {
            let mut rig = Rig::new(workers, &two_armed(vec![dns(forward)]));
            for round in 1..=3 {
                for real in REALS {
                    let sent = rig.pass(WAN, &ask(b"?"));
                    assert_eq!((sent.len(), sent[0].0), (1, LAN));
                    assert_eq!(sent[0].1[..6], mac_of(real).0);
                    let totals = rig.totals(ip(real));
                    assert_eq!((totals.sessions, totals.in_packets), (round, round));
                    assert_eq!((totals.active, totals.inactive), (0, 0));
                }
            }
            assert_eq!(rig.sessions(), []);
            let handed: u64 = rig.stats().map(|stats| stats.handed_over.value()).sum();
            assert_eq!(handed, 0, "nothing has to meet");
            finish(rig);
        }
    }
}

#[test]
fn an_answer_by_nat_bears_the_vip() {
    for workers in [1, 2] {
        let mut rig = Rig::new(workers, &two_armed(vec![dns(NAT)]));
        for (index, real) in REALS.into_iter().enumerate() {
            let there = to_lan(real, CLIENT, real).udp(1000, 5353).payload(b"?");
            expect(&rig.pass(WAN, &ask(b"?")), &[(LAN, there.build())]);
            let answer = from_lan(real, CLIENT).udp(5353, 1000).payload(b"!");
            let back = to_wan(VIP, CLIENT).udp(53, 1000).payload(b"!");
            let sent = rig.pass_on(index % workers, LAN, &answer.build());
            expect(&sent, &[(WAN, back.build())]);
            let totals = rig.totals(ip(real));
            assert_eq!((totals.out_packets, totals.out_bytes), (1, 29));
        }
        // What comes from another socket is no answer, and is routed.
        let other = from_lan(REALS[0], CLIENT).udp(123, 1000).build();
        let routed = to_wan(REALS[0], CLIENT).udp(123, 1000).build();
        expect(&rig.pass(LAN, &other), &[(WAN, routed)]);
        assert_eq!(rig.sessions(), []);
        finish(rig);
    }
}

#[test]
fn an_answer_keeps_its_address_where_lvs_leaves_it() {
    let dns = ServiceSpec {
        policy: Policy::lvs(),
        ..dns(NAT)
    };
    let mut rig = Rig::new(1, &two_armed(vec![dns]));
    let answer = from_lan(REALS[0], CLIENT).udp(5353, 1000).build();
    let routed = to_wan(REALS[0], CLIENT).udp(5353, 1000).build();
    expect(&rig.pass(LAN, &answer), &[(WAN, routed)]);
    assert_eq!(rig.totals(ip(REALS[0])).out_packets, 0);
    finish(rig);
}

#[test]
fn an_answer_in_fragments_bears_the_vip_too() {
    let mut rig = Rig::new(2, &two_armed(vec![dns(NAT)]));
    let answer = |builder: plimsoll_dataplane::testing::PacketBuilder, port| {
        let builder = builder.id(7).udp(port, 1000).payload(&[9; 2000]);
        builder.build_fragments(1000)
    };
    for (index, piece) in answer(from_lan(REALS[1], CLIENT), 5353).iter().enumerate() {
        rig.inject(index % 2, LAN, piece);
    }
    let expected = answer(to_wan(VIP, CLIENT), 53);
    let expected: Vec<_> = expected.into_iter().map(|piece| (WAN, piece)).collect();
    expect(&rig.run(), &expected);
    finish(rig);
}

#[test]
fn an_error_about_a_datagram_comes_from_the_vip() {
    for workers in [1, 3] {
        let mut rig = Rig::new(workers, &two_armed(vec![dns(NAT)]));
        let seen = packet(CLIENT, REALS[2]).udp(1000, 5353).build_datagram();
        let error = from_lan(REALS[2], CLIENT).icmp_error(3, 3, 0, &seen);
        let there = packet(CLIENT, VIP).udp(1000, 53).build_datagram();
        let expected = to_wan(VIP, CLIENT).icmp_error(3, 3, 0, &there).build();
        let sent = rig.pass(LAN, &error.build());
        assert_eq!((sent.len(), sent[0].0), (1, WAN));
        // A quoted UDP checksum stays as it was, as in LVS.
        let (mut theirs, mut ours) = (expected, sent[0].1.clone());
        for frame in [&mut theirs, &mut ours] {
            frame[36..38].fill(0);
            let quoted = frame.len() - 2;
            frame[quoted..].fill(0);
        }
        assert_eq!(ours, theirs);
        assert_eq!(rig.totals(ip(REALS[2])).out_packets, 1);
        finish(rig);
    }
}

#[test]
fn the_time_to_live_of_an_answer_runs_out_here_too() {
    let mut rig = Rig::new(1, &two_armed(vec![dns(NAT)]));
    let answer = from_lan(REALS[0], CLIENT).ttl(1).udp(5353, 1000).build();
    let sent = rig.pass(LAN, &answer);
    assert_eq!((sent.len(), sent[0].0), (1, LAN), "the real server is told");
    assert_eq!(rig.all_drops(), [(DropReason::TtlExceeded, 1)]);
    finish(rig);
}

#[test]
fn a_socket_of_a_service_with_sessions_answers_for_it_first() {
    let plain = service(Protocol::Udp, VIP, 54, vec![real(REALS[0], 5353, NAT)]);
    for workers in [1, 2, 3] {
        let mut rig = Rig::new(workers, &two_armed(vec![dns(NAT), plain.clone()]));
        for port in 1000..1020_u16 {
            let any = usize::from(port) % workers;
            let ask = from_wan(CLIENT, VIP).udp(port, 54).build();
            assert_eq!(rig.pass_on(any, WAN, &ask).len(), 1);
            let answer = |port| from_lan(REALS[0], CLIENT).udp(5353, port).build();
            let back = to_wan(VIP, CLIENT).udp(54, port).build();
            expect(&rig.pass_on(any, LAN, &answer(port)), &[(WAN, back)]);
            let back = to_wan(VIP, CLIENT).udp(53, port + 100).build();
            expect(&rig.pass_on(any, LAN, &answer(port + 100)), &[(WAN, back)]);
        }
        finish(rig);
    }
}

#[test]
fn one_packet_and_persistence_make_templates_alone() {
    for workers in [1, 2] {
        let dns = ServiceSpec {
            persistence: Some(Persistence {
                timeout_ms: 50_000,
                mask: 32,
            }),
            ..dns(NAT)
        };
        let mut rig = Rig::new(workers, &two_armed(vec![dns]));
        let mut takers = Vec::new();
        for number in 0..6 {
            let sent = rig.pass_on(number % workers, WAN, &ask(b"?"));
            takers.push(sent[0].1[..6].to_vec());
        }
        takers.dedup();
        assert_eq!(takers.len(), 1);
        let real = REALS
            .into_iter()
            .find(|real| mac_of(real).0[..] == takers[0]);
        let real = real.unwrap();
        let totals = rig.totals(ip(real));
        assert_eq!((totals.sessions, totals.persistent), (6, 1));
        assert_eq!((totals.active, totals.inactive), (0, 0));
        for worker in 0..workers {
            let answer = from_lan(real, CLIENT).udp(5353, 1000).build();
            let back = to_wan(VIP, CLIENT).udp(53, 1000).build();
            expect(&rig.pass_on(worker, LAN, &answer), &[(WAN, back)]);
        }
        let listed = rig.sessions();
        assert!(listed.iter().all(|one| one.flags.contains(Flags::TEMPLATE)));
        assert_eq!(listed.len(), 1);
        rig.wait_ms(51_000);
        assert_eq!(rig.sessions(), []);
        finish(rig);
    }
}

#[test]
fn sessions_from_before_go_on_until_they_end() {
    let plain = ServiceSpec {
        one_packet: false,
        ..dns(NAT)
    };
    let mut rig = Rig::new(1, &two_armed(vec![plain]));
    assert_eq!(rig.pass(WAN, &ask(b"?"))[0].1[..6], mac_of(REALS[0]).0);
    rig.reload(&two_armed(vec![dns(NAT)]));
    assert_eq!(rig.pass(WAN, &ask(b"?"))[0].1[..6], mac_of(REALS[0]).0);
    rig.wait_ms(301_000);
    let takers: Vec<_> = (0..2).map(|_| rig.pass(WAN, &ask(b"?"))[0].1[5]).collect();
    assert_ne!(takers[0], takers[1]);
    assert_eq!(rig.sessions(), []);
    finish(rig);
}

#[test]
fn an_unusable_answer_is_dropped() {
    let mut rig = Rig::new(1, &two_armed(vec![dns(NAT)]));
    let mut answer = from_lan(REALS[0], CLIENT).udp(5353, 1000).build();
    // Only the pseudo header's sum: the sender's offload was never carried out.
    let sum: u32 = [0x0a01, 0x000b, 0xc633, 0x6407, 17, 8].iter().sum();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    answer[40..42].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(rig.pass(LAN, &answer), []);
    assert_eq!(rig.all_drops(), [(DropReason::UnfinishedChecksum, 1)]);
    finish(rig);
}
