//! Packets whose session may be on another worker: where they look, how often, and which ones do not.

use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::spec::target::{Mark, Rule, Target};
use plimsoll_dataplane::testing::{Rig, Rng, Sent};
use plimsoll_dataplane::wire::Mac;

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
            let hello = from_wan(&router, "224.0.0.9").udp(520, 520);
            let hello = hello.mac(GATEWAY_MAC, Mac([1, 0, 0x5e, 0, 0, 9])).build();
            for frame in [bfd, bgp.build(), hello] {
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
    spec.network.forwarding = true;
    let mut rig = Rig::new(8, &spec);
    // What NAT real servers have asked for, and what is routed between others.
    let download = from_wan("203.0.113.9", REALS[0]).tcp(443, 9999).flags(ACK);
    let other = packet("10.1.0.77", "203.0.113.9").mac(GATEWAY_MAC, LAN_MAC);
    let other = other.tcp(9999, 443).flags(ACK);
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
            spec.devices[usize::from(other)].steered = false;
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
fn invented_errors_keep_no_segment_from_its_session() {
    let mut rig = Rig::new(4, &direct());
    let segment = |flags| from_wan(CLIENT, VIP).tcp(4000, 80).flags(flags).build();
    let first = rig.pass_on(0, WAN, &segment(SYN));
    for number in 0..20_000_u32 {
        let client = std::net::Ipv4Addr::from(0x0b00_0000 + number).to_string();
        let seen = packet(VIP, &client).udp(53, 4000).build_datagram();
        let error = from_wan("203.0.113.9", VIP).icmp_error(3, 1, 0, &seen);
        rig.inject(1, WAN, &error.build());
        if number % 32 == 31 {
            rig.inject(1, WAN, &segment(ACK));
            assert_eq!(receiver(&rig.run()), receiver(&first));
        }
    }
    finish(rig);
}

#[test]
fn a_udp_flow_in_fragments_is_looked_for_once() {
    const WORKERS: usize = 8;
    for is_spent in [false, true] {
        let mut rig = Rig::new(WORKERS, &direct());
        if is_spent {
            // All workers but the first can ask no others any more.
            for _ in 0..16_000 {
                let stray = from_wan(CLIENT, VIP).tcp(9, 80).flags(ACK);
                rig.pass_on(1, WAN, &stray.build());
            }
        }
        let mut at_first = 0;
        for number in 0..50_u16 {
            let client = format!("198.51.100.{}", number + 1);
            let datagram = from_wan(&client, VIP).udp(4000, 53).payload(&[7; 2000]);
            let mut handed = Vec::new();
            for id in 0..4 {
                let before = rig.handed_over();
                for piece in datagram.clone().id(id).build_fragments(1000) {
                    rig.inject(0, WAN, &piece);
                }
                assert_eq!(rig.run().len(), 3, "fragments");
                handed.push(rig.handed_over() - before);
            }
            assert!(handed[0] <= 3 * (1 + WORKERS as u64), "{handed:?}");
            assert!(handed[1..].iter().all(|count| *count <= 3), "{handed:?}");
            at_first += usize::from(handed[1] == 0);
        }
        // Those whose fragments meet on the first worker stay there, whether or not others could be asked.
        assert_eq!(at_first, 13);
        finish(rig);
    }
}
