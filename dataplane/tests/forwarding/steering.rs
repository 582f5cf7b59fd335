//! Ports that spread flows over workers as they were told: packets come to their owner, and what hashing
//! cannot steer is handed over once. What no worker has costs the others next to nothing.

use ipnet::IpNet;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::DeviceId;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::target::{Mark, Rule, Target, Vip};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Rng, on_steered_ports};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;
use crate::persistence::{DIRECT, NAT, persistent, web};

/// A request and the answer to it, as the NIC would see them.
fn conversation(protocol: Protocol, packet: PacketBuilder, ports: (u16, u16)) -> PacketBuilder {
    match protocol {
        Protocol::Tcp => packet.tcp(ports.0, ports.1),
        Protocol::Udp => packet.udp(ports.0, ports.1),
        Protocol::Sctp => packet.sctp(ports.0, ports.1, 1),
    }
}

#[test]
fn requests_come_to_their_owner_and_answers_are_handed_over_once() {
    for workers in [2, 3, 8] {
        let mut rig = Rig::steered(workers, &nat());
        for (protocol, port) in [
            (Protocol::Tcp, 80),
            (Protocol::Udp, 53),
            (Protocol::Sctp, 3868),
        ] {
            for (client, vip, reals) in [(CLIENT, VIP, REALS), (CLIENT6, VIP6, REALS6)] {
                for own in 4000..4020 {
                    let request = conversation(protocol, from_wan(client, vip), (own, port));
                    let first = match protocol {
                        Protocol::Tcp => request.clone().flags(SYN),
                        _ => request.clone(),
                    };
                    let before = rig.handed_over();
                    let sent = rig.pass_by_nic(WAN, &first.build());
                    assert_eq!(sent.len(), 1);
                    let to = destination(&sent[0].1).to_string();
                    let real = reals.iter().find(|real| **real == to).unwrap();
                    assert_eq!(rig.pass_by_nic(WAN, &first.build()).len(), 1);
                    assert_eq!(rig.handed_over(), before, "{protocol} {client}");
                    let answer = from_lan(real, client);
                    let answer = conversation(protocol, answer, (port + 8000, own));
                    let expected = conversation(protocol, to_wan(vip, client), (port, own));
                    let sent = rig.pass_by_nic(LAN, &answer.build());
                    expect(&sent, &[(WAN, expected.build())]);
                    assert!(rig.handed_over() <= before + 1);
                }
            }
        }
        assert_eq!(rig.all_drops(), []);
        assert_eq!(rig.sessions().len(), 120);
        finish(rig);
    }
}

#[test]
fn a_udp_flow_that_begins_with_a_fragmented_datagram_stays_at_one_real_server() {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::steered(4, &spec);
        for port in 4000..4040 {
            let large = from_wan(CLIENT, VIP)
                .id(port.into())
                .udp(port, 53)
                .payload(&[5; 2000]);
            let before = rig.handed_over();
            for piece in large.build_fragments(1000) {
                rig.inject_by_nic(WAN, &piece);
            }
            let sent = rig.run();
            assert!(sent.len() >= 2, "{}", sent.len());
            // Three frames: the whole datagram moves to the flow's owner, if at all.
            assert!(rig.handed_over() <= before + 3);
            let small = from_wan(CLIENT, VIP).udp(port, 53).build();
            let whole = rig.pass_by_nic(WAN, &small);
            assert_eq!(whole[0].1[..6], sent[0].1[..6], "another real server");
        }
        assert_eq!(rig.sessions().len(), 40);
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn an_error_goes_to_the_owner_of_the_flow_that_it_quotes() {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::steered(8, &spec);
        for port in 4000..4030 {
            let ask = from_wan(CLIENT, VIP).udp(port, 53).build();
            rig.pass_by_nic(WAN, &ask);
            let seen = packet(VIP, CLIENT).udp(53, port).build_datagram();
            let error = from_wan(CLIENT, VIP).icmp_error(3, 4, 1400, &seen);
            for worker in 0..8 {
                let before = rig.handed_over();
                let sent = rig.pass_on(worker, WAN, &error.build());
                assert_eq!((sent.len(), sent[0].0), (1, LAN));
                assert!(rig.handed_over() <= before + 1);
            }
        }
        // One about no session comes to an end at the worker that would have it.
        let seen = packet(VIP, CLIENT).udp(53, 9).build_datagram();
        let error = from_wan(CLIENT, VIP).icmp_error(3, 4, 1400, &seen);
        let before = rig.handed_over();
        for worker in 0..8 {
            assert_eq!(rig.pass_on(worker, WAN, &error.build()), []);
        }
        assert!(rig.handed_over() <= before + 8);
        assert_eq!(rig.all_drops(), [(DropReason::IcmpNoSession, 8)]);
        finish(rig);
    }
}

#[test]
fn errors_about_one_flow_are_searched_for_so_many_times_a_second() {
    for steered in [false, true] {
        let mut rig = if steered {
            Rig::steered(8, &nat())
        } else {
            Rig::new(8, &nat())
        };
        let seen = packet(VIP, CLIENT).udp(53, 9).build_datagram();
        let error = from_wan(CLIENT, VIP).icmp_error(3, 4, 1400, &seen).build();
        for worker in 0..8 {
            for _ in 0..1000 {
                assert_eq!(rig.pass_on(worker, WAN, &error), []);
            }
        }
        assert_eq!(rig.handed_over(), 7 * 32);
        assert_eq!(rig.drops(DropReason::IcmpLimited), 7 * (1000 - 32));
        // Others still find theirs.
        let seen = packet(VIP, CLIENT).udp(53, 10).build_datagram();
        let error = from_wan(CLIENT, VIP).icmp_error(3, 4, 1400, &seen).build();
        (0..8).for_each(|worker| drop(rig.pass_on(worker, WAN, &error)));
        assert_eq!(rig.handed_over(), 7 * 33);
        finish(rig);
    }
}

#[test]
fn errors_about_requests_and_outer_packets_go_to_the_owner_too() {
    let mut rig = Rig::steered(8, &nat());
    for port in 4000..4030 {
        let request = from_wan(CLIENT, VIP).udp(port, 53).build();
        let sent = rig.pass_by_nic(WAN, &request);
        let seen = sent[0].1[14..].to_vec();
        let router = from_lan("10.1.0.77", CLIENT).icmp_error(3, 4, 1400, &seen);
        let before = rig.handed_over();
        let told = rig.pass_on(usize::from(port) % 8, LAN, &router.build());
        assert_eq!((told.len(), told[0].0), (1, WAN));
        assert!(rig.handed_over() <= before + 1);
    }
    let mut rig = Rig::steered(8, &tunnel());
    for port in 4000..4030 {
        let request = from_wan(CLIENT, VIP).df().udp(port, 53).build();
        let sent = rig.pass_by_nic(WAN, &request);
        let outer = sent[0].1[14..].to_vec();
        let router = from_lan("10.1.0.77", LAN_ADDRESS).icmp_error(3, 4, 1400, &outer);
        let before = rig.handed_over();
        let told = rig.pass_on(usize::from(port) % 8, LAN, &router.build());
        assert_eq!((told.len(), told[0].0), (1, WAN));
        assert!(rig.handed_over() <= before + 1);
    }
}

#[test]
fn answers_from_a_socket_of_several_services_visit_each_possible_owner_once() {
    let mut services: Vec<_> = (80..84)
        .map(|port| service(Protocol::Tcp, VIP, port, vec![real(REALS[0], 8080, NAT)]))
        .collect();
    services.push(persistent(24, services[3].clone()));
    services[4].target = Target::vip(Protocol::Tcp, ip(VIP), 84);
    let mut rig = Rig::steered(8, &two_armed(services));
    for own in 4000..4100_u16 {
        let port = 80 + own % 5;
        let syn = from_wan(CLIENT, VIP).tcp(own, port).flags(SYN);
        assert_eq!(rig.pass_by_nic(WAN, &syn.build()).len(), 1);
        let answer = from_lan(REALS[0], CLIENT).tcp(8080, own).flags(SYN_ACK);
        let expected = to_wan(VIP, CLIENT).tcp(port, own).flags(SYN_ACK).build();
        let before = rig.handed_over();
        let sent = rig.pass_by_nic(LAN, &answer.build());
        expect(&sent, &[(WAN, expected)]);
        // By the first service's flow, by the client's socket, by its network.
        assert!(rig.handed_over() <= before + 3);
    }
    assert_eq!(rig.all_drops(), []);
    finish(rig);
}

#[test]
fn sessions_are_found_after_ports_have_ceased_to_be_relied_on() {
    let mut rig = Rig::steered(4, &nat());
    let mut rng = Rng::new(3);
    let segment = |port, flags| from_wan(CLIENT, VIP).tcp(port, 80).flags(flags).build();
    let mut sessions = Vec::new();
    for (round, spec) in [nat(), on_steered_ports(&nat()), nat()].iter().enumerate() {
        for port in 4000..4030 {
            let port = port + 100 * u16::try_from(round).unwrap();
            let sent = rig.pass_by_nic(WAN, &segment(port, SYN));
            sessions.push((port, destination(&sent[0].1).to_string()));
        }
        rig.reload(spec);
        for (port, real) in &sessions {
            let sent = rig.pass_on(rng.below(4), WAN, &segment(*port, ACK));
            assert_eq!(destination(&sent[0].1).to_string(), *real);
            let answer = from_lan(real, CLIENT).tcp(8080, *port).flags(ACK);
            let back = to_wan(VIP, CLIENT).tcp(80, *port).flags(ACK).build();
            let sent = rig.pass_on(rng.below(4), LAN, &answer.build());
            expect(&sent, &[(WAN, back)]);
        }
    }
    assert_eq!(rig.sessions().len(), sessions.len());
    assert_eq!(rig.all_drops(), []);
    finish(rig);
}

/// First packets that the WAN port put where it said, and others.
fn counts(rig: &Rig) -> (u64, u64) {
    let ports = rig
        .stats()
        .map(|stats| stats.queues(DeviceId::new(WAN)).unwrap());
    ports.fold((0, 0), |(placed, misplaced), port| {
        (
            placed + port.placed.value(),
            misplaced + port.misplaced.value(),
        )
    })
}

#[test]
fn a_port_that_does_not_do_as_it_said_loses_nothing_and_is_found_out() {
    for spec in [direct(), nat()] {
        let mut rig = Rig::steered(4, &spec);
        for port in 4000..4400 {
            let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
            assert_eq!(rig.pass_by_nic(WAN, &syn).len(), 1);
        }
        let (placed, misplaced) = counts(&rig);
        assert!(placed >= 40 && misplaced == 0, "{placed} {misplaced}");
        for port in 5000..5400 {
            let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
            assert_eq!(rig.pass_on(0, WAN, &syn).len(), 1, "all to one queue");
        }
        let (_, misplaced) = counts(&rig);
        assert!(misplaced >= 25, "{misplaced}");
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn headers_that_some_nics_do_not_look_behind_tell_nothing_of_a_port() {
    let mut rig = Rig::steered(4, &direct());
    for port in 5000..5400 {
        let syn = from_wan(CLIENT, VIP).options(&[1; 4]).tcp(port, 80);
        assert_eq!(rig.pass_on(0, WAN, &syn.flags(SYN).build()).len(), 1);
    }
    assert_eq!(counts(&rig), (0, 0));
    assert_eq!(rig.all_drops(), []);
    finish(rig);
}

/// How a persistent service comes to share packets with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    EveryPort,
    Prefix,
    /// By mark, to a prefix.
    Mark,
    /// By mark, whatever the junk's clients send to any port 80.
    MarkOfJunk,
}

impl Overlap {
    fn target(self) -> Target {
        let network: IpNet = "192.0.2.208/28".parse().unwrap();
        let mark = |rule| Target::Match {
            mark: Mark {
                number: 7,
                is_v6: false,
            },
            rules: vec![rule].into(),
        };
        let web = Rule {
            ports: vec![80..=80],
            ..Rule::default()
        };
        match self {
            Self::EveryPort => Target::vip(Protocol::Tcp, ip("192.0.2.200"), 0),
            Self::Prefix => Target::Vip(Vip {
                protocol: Protocol::Tcp,
                addresses: network,
                port: 80,
            }),
            Self::Mark => mark(Rule {
                to: Some(network),
                ..web
            }),
            Self::MarkOfJunk => mark(Rule {
                from: Some("11.0.0.0/8".parse().unwrap()),
                ..web
            }),
        }
    }
}

/// NAT services, and a persistent one that shares packets with others.
fn with_overlap(overlap: Overlap) -> Spec {
    let mut spec = nat();
    let mut one = persistent(24, web(DIRECT));
    one.target = overlap.target();
    spec.services.push(one);
    let dns = REALS.map(|address| real(address, 53, ForwardMethod::Direct));
    spec.services
        .push(service(Protocol::Udp, "192.0.2.201", 53, dns.to_vec()));
    spec
}

/// What comes beside the packets of sessions.
#[derive(Debug, Clone, Copy)]
struct Junk {
    overlap: Overlap,
    /// Whether datagrams that begin a DR flow come in all their fragments; of the others one comes.
    is_whole: bool,
    /// Hand-overs of each of its frames at most, where ports are steered and where not.
    moves: [u64; 2],
}

#[test]
fn junk_beside_honest_packets_fills_no_ring_of_theirs() {
    const WORKERS: usize = 8;
    let junk_of = |overlap, moves| Junk {
        overlap,
        is_whole: false,
        moves,
    };
    let cases = [
        junk_of(Overlap::EveryPort, [0, 1]),
        junk_of(Overlap::Prefix, [0, 1]),
        // A rule may have been about any address: its service's owner is asked too.
        junk_of(Overlap::Mark, [1, 2]),
        junk_of(Overlap::MarkOfJunk, [2, 3]),
        Junk {
            is_whole: true,
            ..junk_of(Overlap::Mark, [2, WORKERS as u64])
        },
    ];
    for (steered, case) in [true, false]
        .into_iter()
        .flat_map(|steered| cases.map(|case| (steered, case)))
    {
        let spec = with_overlap(case.overlap);
        let mut rig = if steered {
            Rig::steered(WORKERS, &spec)
        } else {
            Rig::new(WORKERS, &spec)
        };
        let mut rng = Rng::new(11);
        let mut place = |rig: &mut Rig, port, frame: &[u8]| {
            if steered {
                rig.inject_by_nic(port, frame);
            } else {
                rig.inject(rng.below(WORKERS), port, frame);
            }
        };
        let mut sessions = Vec::new();
        for port in 4000..4200 {
            let syn = from_wan(CLIENT, VIP).tcp(port, 80).flags(SYN).build();
            place(&mut rig, WAN, &syn);
            let sent = rig.run();
            sessions.push((port, destination(&sent[0].1).to_string()));
        }
        let before = rig.handed_over();
        let (mut honest, mut junk, mut arrived) = (0_u64, 0_u64, 0);
        for round in 0..100_u16 {
            for number in 0..64_u16 {
                let (port, real) = &sessions[usize::from(round * 7 + number) % 200];
                let answer = from_lan(real, CLIENT).tcp(8080, *port).flags(ACK).build();
                place(&mut rig, LAN, &answer);
                honest += 1;
                for _ in 0..2 {
                    let from = std::net::Ipv4Addr::from(0x0b00_0000 + u32::try_from(junk).unwrap());
                    let stray = from_wan(&from.to_string(), VIP).tcp(number, 80).flags(ACK);
                    place(&mut rig, WAN, &stray.build());
                    junk += 1;
                }
                let from = std::net::Ipv4Addr::from(0x0c00_0000 + u32::try_from(junk).unwrap());
                let piece = from_wan(&from.to_string(), "192.0.2.201")
                    .id(junk.try_into().unwrap())
                    .udp(number, 53)
                    .payload(&[0; 24]);
                let pieces = piece.build_fragments(16);
                let one = usize::from(number) % pieces.len();
                for (_, piece) in pieces
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| case.is_whole || *place == one)
                {
                    place(&mut rig, WAN, piece);
                    junk += 1;
                }
            }
            // One worker is slower than the others.
            for worker in 0..WORKERS {
                if worker != 5 || round % 3 == 0 {
                    rig.poll(worker);
                }
            }
        }
        for (port, frame) in rig.run() {
            arrived += u64::from(port == WAN && frame[23] == 6 && frame[47] & 0x14 == 0x10);
        }
        if steered || !case.is_whole {
            assert_eq!(rig.drops(DropReason::HandoverFull), 0, "{steered} {case:?}");
        }
        assert_eq!(arrived, honest, "{steered} {case:?}");
        let handed = rig.handed_over() - before;
        let most = honest + case.moves[usize::from(!steered)] * junk;
        assert!(
            handed <= most,
            "{handed} for {honest} and {junk}: {steered} {case:?}"
        );
        finish(rig);
    }
}

#[test]
fn more_searches_than_one_worker_makes_are_dropped_without_an_answer() {
    let mut spec = with_overlap(Overlap::Prefix);
    let mut covered = web(NAT);
    covered.target = Target::vip(Protocol::Tcp, ip("192.0.2.210"), 80);
    spec.services.push(covered);
    let mut rig = Rig::new(8, &spec);
    let stray = |port| {
        let segment = from_wan(CLIENT, "192.0.2.210").tcp(port, 80);
        segment.flags(ACK).build()
    };
    // A client whose socket and network have different owners: from each worker its segment goes to the one,
    // which asks the other.
    let port = (4000..4100).find(|port| {
        let before = rig.handed_over();
        for worker in 0..8 {
            assert_eq!(rig.pass_on(worker, WAN, &stray(*port)).len(), 1, "reset");
        }
        let handed = rig.handed_over() - before;
        assert!(handed == 7 || handed == 15, "{handed}");
        handed == 15
    });
    let frame = stray(port.unwrap());
    let (flood, allowed) = (20_000, 16_000);
    for number in 0..flood {
        rig.inject(0, WAN, &frame);
        if number % 32 == 0 {
            for worker in 0..8 {
                rig.poll(worker);
            }
        }
    }
    rig.run();
    let limited = rig.drops(DropReason::SearchLimited);
    assert!(
        (flood - allowed..flood - allowed + 200).contains(&limited),
        "{limited}"
    );
    assert_eq!(rig.drops(DropReason::HandoverFull), 0);
    // A second later there is room again.
    rig.wait_ms(1000);
    assert_eq!(rig.pass_on(0, WAN, &frame).len(), 1, "reset");
    assert_eq!(rig.drops(DropReason::SearchLimited), limited);
    finish(rig);
}
