//! Packets whose session may be on another worker: where they look, how often, and which ones do not.

use plimsoll_dataplane::snapshot::model::ForwardMethod;
use plimsoll_dataplane::snapshot::spec::{ServiceSpec, Spec};
use plimsoll_dataplane::snapshot::target::{Mark, Rule, Target};
use plimsoll_dataplane::testing::{Rig, Rng, Sent};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;
use crate::persistence::{DIRECT, NAT, persistent, web};

/// A persistent service by mark, of what some clients send to any address.
fn by_mark(forward: ForwardMethod) -> ServiceSpec {
    let rule = Rule {
        from: Some("11.0.0.0/8".parse().unwrap()),
        ports: vec![80..=80],
        ..Rule::default()
    };
    let mut service = persistent(24, web(forward));
    service.target = Target::Match {
        mark: Mark {
            number: 7,
            is_v6: false,
        },
        rules: vec![rule].into(),
    };
    service
}

fn beside_one_by_mark(mut spec: Spec) -> Spec {
    spec.services.push(by_mark(NAT));
    spec
}

#[test]
fn what_is_for_the_machine_itself_is_searched_for_on_no_other_worker() {
    let mut rig = Rig::new(8, &with_kernel(vec![by_mark(DIRECT)]));
    for worker in 0..8 {
        for router in 1..60_u8 {
            let router = format!("192.0.2.{router}");
            let bfd = from_wan(&router, WAN_ADDRESS).udp(49152, 3784).build();
            let bgp = from_wan(&router, WAN_ADDRESS).tcp(4000, 179).flags(ACK);
            for frame in [bfd, bgp.build()] {
                assert_eq!(rig.pass_on(worker, WAN, &frame), [(2, frame)]);
            }
        }
    }
    assert_eq!((rig.handed_over(), rig.all_drops()), (0, vec![]));
    finish(rig);
}

#[test]
fn packets_of_no_service_are_routed_however_many_there_are() {
    let mut spec = beside_one_by_mark(nat());
    spec.forwarding = true;
    let mut rig = Rig::new(8, &spec);
    // What NAT real servers have asked for, and what is routed.
    let download = from_wan("203.0.113.9", REALS[0]).tcp(443, 9999).flags(ACK);
    let other = from_lan(REALS[1], "203.0.113.9").tcp(9999, 443).flags(ACK);
    for (to, port, frame) in [(LAN, WAN, download.build()), (WAN, LAN, other.build())] {
        for number in 0..40_000 {
            rig.inject(1, port, &frame);
            if number % 32 == 31 {
                let sent = rig.run();
                assert!(sent.len() == 32 && sent.iter().all(|(port, _)| *port == to));
            }
        }
    }
    assert_eq!(rig.all_drops(), []);
    finish(rig);
}

fn receiver(sent: &[Sent]) -> (usize, u16, Vec<u8>) {
    (sent.len(), sent[0].0, sent[0].1[..6].to_vec())
}

#[test]
fn a_segment_by_another_queue_finds_its_one_way_session_whatever_other_services_there_are() {
    for (spec, workers, steered) in [direct(), tunnel()]
        .into_iter()
        .flat_map(|spec| [2, 3, 4, 8].map(|workers| (spec.clone(), workers)))
        .flat_map(|(spec, workers)| [false, true].map(|steered| (spec.clone(), workers, steered)))
    {
        let spec = beside_one_by_mark(spec);
        let mut rig = if steered {
            Rig::steered(workers, &spec)
        } else {
            Rig::new(workers, &spec)
        };
        for port in 4000..4030 {
            let segment = |flags| from_wan(CLIENT, VIP).tcp(port, 80).flags(flags).build();
            let first = rig.pass_by_nic(WAN, &segment(SYN));
            for worker in 0..workers {
                let sent = rig.pass_on(worker, WAN, &segment(ACK));
                assert_eq!(receiver(&sent), receiver(&first), "{workers} {steered}");
            }
        }
        assert_eq!(rig.all_drops(), []);
        finish(rig);
    }
}

#[test]
fn a_flow_that_moves_to_a_port_that_spreads_flows_in_its_own_way_finds_its_session() {
    let mut rng = Rng::new(3);
    for other in [WAN, LAN] {
        for spec in [direct(), tunnel()] {
            let mut spec = plimsoll_dataplane::testing::on_steered_ports(&spec);
            spec.ports[usize::from(other)].steered = false;
            let mut rig = Rig::steered(4, &spec);
            rig.reload(&spec);
            for client_port in 4000..4050 {
                let segment = |port, flags| {
                    let from = if port == WAN {
                        from_wan(CLIENT, VIP)
                    } else {
                        packet(CLIENT, VIP).mac(GATEWAY_MAC, LAN_MAC)
                    };
                    from.tcp(client_port, 80).flags(flags).build()
                };
                let place = |rig: &mut Rig, rng: &mut Rng, port, flags| {
                    if port == other {
                        rig.pass_on(rng.below(4), port, &segment(port, flags))
                    } else {
                        rig.pass_by_nic(port, &segment(port, flags))
                    }
                };
                let (before, after) = (other, WAN + LAN - other);
                let first = place(&mut rig, &mut rng, before, SYN);
                let sent = place(&mut rig, &mut rng, after, ACK);
                assert_eq!(receiver(&sent), receiver(&first), "{client_port}");
            }
            assert_eq!(rig.all_drops(), []);
            finish(rig);
        }
    }
}

#[test]
fn errors_about_flows_of_all_kinds_are_searched_for_so_often_and_take_nothing_from_segments() {
    let mut rig = Rig::new(2, &direct());
    for number in 0..20_000_u32 {
        let client = std::net::Ipv4Addr::from(0x0b00_0000 + number).to_string();
        let seen = packet(VIP, &client).udp(53, 4000).build_datagram();
        let error = from_wan("203.0.113.9", VIP).icmp_error(3, 1, 0, &seen);
        rig.pass_on(1, WAN, &error.build());
    }
    assert_eq!(rig.handed_over(), 16_000);
    assert_eq!(rig.drops(DropReason::IcmpLimited), 4000);
    let stray = from_wan(CLIENT, VIP).tcp(9, 80).flags(ACK).build();
    assert_eq!(rig.pass_on(1, WAN, &stray).len(), 1, "a reset");
    finish(rig);
}

#[test]
fn a_udp_flow_in_fragments_is_looked_for_once() {
    const WORKERS: usize = 8;
    let mut rig = Rig::new(WORKERS, &direct());
    for port in 4000..4050 {
        let datagram = from_wan(CLIENT, VIP).udp(port, 53).payload(&[7; 2000]);
        let mut handed = Vec::new();
        for id in 0..4 {
            let before = rig.handed_over();
            for piece in datagram.clone().id(id).build_fragments(1000) {
                rig.inject(0, WAN, &piece);
            }
            assert_eq!(rig.run().len(), 3, "fragments");
            handed.push(rig.handed_over() - before);
        }
        // Fragments go to the worker that puts them together; the first datagram goes round as well.
        assert!(handed[1..].iter().all(|count| *count <= 3), "{handed:?}");
    }
    assert_eq!(rig.all_drops(), []);
    finish(rig);
}
