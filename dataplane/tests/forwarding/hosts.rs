//! The balancer as a host on its links: ARP, neighbour discovery, waiting for MACs, the kernel.

use plimsoll_dataplane::flow::{Protocol, V4, V6};
use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::incident::Incident;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::network::{DeviceSpec, PortRole};
use plimsoll_dataplane::spec::target::{Target, Vip};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, arp_frame, neighbour_frame};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::{Mac, arp, ndp};
use plimsoll_dataplane::worker::Command;

use crate::net::*;

const STRANGER: Mac = Mac([2, 0, 0, 0, 9, 9]);

fn v4(text: &str) -> V4 {
    text.parse::<std::net::Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> V6 {
    text.parse::<std::net::Ipv6Addr>().unwrap().into()
}

fn arp_request(mac: Mac, from: &str, target: &str) -> Vec<u8> {
    arp_frame(
        Mac::BROADCAST,
        &arp::Packet::request(mac, v4(from), v4(target)),
    )
}

pub(crate) fn arp_reply(mac: Mac, from: &str, to_mac: Mac, to: &str) -> Vec<u8> {
    let request = arp::Packet::request(to_mac, v4(to), v4(from));
    arp_frame(to_mac, &arp::Packet::reply_to(&request, mac))
}

/// Nobody's MAC is known beforehand.
fn strangers(mut spec: Spec) -> Spec {
    spec.network.neighbours.clear();
    spec
}

fn syn(builder: PacketBuilder) -> Vec<u8> {
    builder.tcp(4000, 80).flags(SYN).build()
}

#[test]
fn arp_is_answered_for_vips_and_ports_and_for_nobody_else() {
    let asker = "192.0.2.7";
    for (target, is_ours) in [
        (VIP, true),
        (WAN_ADDRESS, true),
        (LAN_ADDRESS, true),
        ("192.0.2.55", false),
        (CLIENT, false),
    ] {
        let mut rig = Rig::new(1, &direct());
        let mut request = arp_request(STRANGER, asker, target);
        request.resize(60, 0);
        let answer = arp_reply(WAN_MAC, target, STRANGER, asker);
        let expected = if is_ours { vec![(WAN, answer)] } else { vec![] };
        expect(&rig.pass(WAN, &request), &expected);
        let stats = rig.stats().next().unwrap();
        assert_eq!(stats.replied.value(), u64::from(is_ours));
        assert_eq!(stats.consumed.value(), u64::from(!is_ours));
        finish(rig);
    }
}

#[test]
fn a_probe_is_answered_and_a_claim_to_our_address_is_not_believed() {
    let mut rig = Rig::new(1, &direct());
    let probe = arp_request(STRANGER, "0.0.0.0", VIP);
    let expected = arp_reply(WAN_MAC, VIP, STRANGER, "0.0.0.0");
    expect(&rig.pass(WAN, &probe), &[(WAN, expected)]);
    let claim = arp_request(STRANGER, VIP, VIP);
    let defence = arp_frame(Mac::BROADCAST, &arp::Packet::announcement(WAN_MAC, v4(VIP)));
    expect(&rig.pass(WAN, &claim), &[(WAN, defence.clone())]);
    assert_eq!(rig.pass(WAN, &claim), [], "once in ten seconds");
    rig.wait_ms(9_900);
    assert_eq!(rig.pass(WAN, &claim), []);
    rig.wait_ms(100);
    expect(&rig.pass(WAN, &claim), &[(WAN, defence)]);
    assert_eq!(rig.all_drops(), [(DropReason::MartianSource, 4)]);
    let ours = arp_request(LAN_MAC, VIP, VIP);
    assert_eq!(rig.pass(WAN, &ours), [], "our other port on the same link");
    rig.pass(WAN, &arp_request(STRANGER, VIP, VIP)[..30]);
    assert_eq!(rig.drops(DropReason::ArpInvalid), 1);
}

#[test]
fn whoever_claims_thousands_of_our_addresses_keeps_none_from_being_defended() {
    let mut spec = direct();
    let mut prefix = spec.services[0].clone();
    prefix.target = Target::Vip(Vip {
        protocol: Protocol::Tcp,
        addresses: "198.18.0.0/16".parse().unwrap(),
        port: 80,
    });
    spec.services.push(prefix);
    let mut rig = Rig::new(1, &spec);
    for number in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number).to_string();
        rig.pass(WAN, &arp_request(STRANGER, &address, &address));
    }
    rig.wait_ms(1_000);
    let claim = arp_request(STRANGER, VIP, VIP);
    let defence = arp_frame(Mac::BROADCAST, &arp::Packet::announcement(WAN_MAC, v4(VIP)));
    expect(&rig.pass(WAN, &claim), &[(WAN, defence)]);
    assert_eq!(rig.pass(WAN, &claim), [], "once in ten seconds");
}

#[test]
fn packets_wait_for_arp_and_leave_in_order() {
    let mut rig = Rig::new(1, &strangers(direct()));
    let ask = arp_frame(
        Mac::BROADCAST,
        &arp::Packet::request(LAN_MAC, v4(LAN_ADDRESS), v4(REALS[0])),
    );
    expect(&rig.pass(WAN, &syn(from_wan(CLIENT, VIP))), &[(LAN, ask)]);
    let ack = |builder: PacketBuilder| builder.tcp(4000, 80).payload(b"x").build();
    assert_eq!(rig.pass(WAN, &ack(from_wan(CLIENT, VIP))), []);
    assert_eq!(rig.waiting(), 2);
    let answer = arp_reply(mac_of(REALS[0]), REALS[0], LAN_MAC, LAN_ADDRESS);
    let expected = [
        (LAN, syn(to_lan(REALS[0], CLIENT, VIP))),
        (LAN, ack(to_lan(REALS[0], CLIENT, VIP))),
    ];
    expect(&rig.pass(LAN, &answer), &expected);
    assert_eq!(rig.waiting(), 0);
    finish(rig);
}

#[test]
fn packets_wait_for_neighbour_discovery() {
    let mut rig = Rig::new(1, &strangers(direct()));
    let ask = ndp::solicitation(LAN_MAC, v6(LAN_ADDRESS6), v6(REALS6[0]));
    expect(
        &rig.pass(WAN, &syn(from_wan(CLIENT6, VIP6))),
        &[(LAN, neighbour_frame(&ask))],
    );
    let answer = ndp::reply(mac_of(REALS6[0]), v6(REALS6[0]), v6(LAN_ADDRESS6), LAN_MAC);
    expect(
        &rig.pass(LAN, &neighbour_frame(&answer)),
        &[(LAN, syn(to_lan(REALS6[0], CLIENT6, VIP6)))],
    );
    finish(rig);
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_then_given_up() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut rig = Rig::new(1, &strangers(direct()));
        let mut questions = rig.pass(WAN, &syn(from_wan(client, vip))).len();
        questions += rig.wait_ms(2_900).len();
        assert_eq!((questions, rig.waiting()), (3, 1));
        // The gateway is asked for as well: the client is to be told.
        let sent = rig.wait_ms(200);
        assert!(sent.iter().all(|(port, _)| *port == WAN), "{sent:?}");
        assert_eq!((questions, rig.waiting()), (3, 0));
        assert_eq!(rig.all_drops(), [(DropReason::NeighbourUnreachable, 1)]);
        rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).build());
        assert_eq!(rig.drops(DropReason::NeighbourUnreachable), 2);
        finish(rig);
    }
}

#[test]
fn no_more_than_a_queueful_waits_for_one_neighbour() {
    let mut rig = Rig::new(1, &strangers(direct()));
    rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    for _ in 0..100 {
        rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(4000, 80).build());
    }
    assert_eq!(rig.waiting(), 64);
    assert_eq!(rig.all_drops(), [(DropReason::NeighbourQueueFull, 37)]);
    finish(rig);
}

#[test]
fn packets_for_absent_neighbours_keep_no_real_server_from_being_asked_for() {
    let mut rig = Rig::new(1, &strangers(direct()));
    // Pings in the names of hosts on the link that are not there.
    for _ in 0..2 {
        for host in (2..250).cycle().take(1000) {
            let source = format!("192.0.2.{host}");
            rig.pass(WAN, &from_wan(&source, VIP).echo_request(1, 1).build());
        }
        rig.wait_ms(500);
    }
    assert_eq!(rig.waiting(), 1024, "there is no room for more");
    let ask = arp::Packet::request(LAN_MAC, v4(LAN_ADDRESS), v4(REALS[0]));
    let ask = (LAN, arp_frame(Mac::BROADCAST, &ask));
    let sent = rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    assert!(sent.contains(&ask), "{sent:02x?}");
    let answer = arp_reply(mac_of(REALS[0]), REALS[0], LAN_MAC, LAN_ADDRESS);
    rig.pass(LAN, &answer);
    let expected = (LAN, syn(to_lan(REALS[0], CLIENT, VIP)));
    let sent = rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    assert!(sent.contains(&expected), "{sent:02x?}");
    finish(rig);
}

#[test]
fn a_gratuitous_arp_moves_a_known_neighbour_and_enters_no_stranger() {
    let mut rig = Rig::new(1, &strangers(direct()));
    rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    rig.pass(
        LAN,
        &arp_reply(mac_of(REALS[0]), REALS[0], LAN_MAC, LAN_ADDRESS),
    );
    rig.pass(LAN, &arp_request(STRANGER, REALS[0], REALS[0]));
    let sent = rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(4000, 80).build());
    let expected = packet(CLIENT, VIP)
        .mac(LAN_MAC, STRANGER)
        .ttl(63)
        .tcp(4000, 80);
    let question = arp::Packet::request(LAN_MAC, v4(LAN_ADDRESS), v4(REALS[0]));
    let expected = [
        (LAN, expected.build()),
        (LAN, arp_frame(STRANGER, &question)),
    ];
    expect(&sent, &expected);
    rig.pass(LAN, &arp_request(STRANGER, REALS[1], REALS[1]));
    let sent = rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(4001, 80).flags(SYN).build());
    assert_eq!(sent[0].1[12..14], [8, 6], "the stranger is asked for");
    finish(rig);
}

#[test]
fn who_asks_for_us_need_not_be_asked() {
    let mut rig = Rig::new(1, &strangers(direct()));
    rig.pass(LAN, &arp_request(mac_of(REALS[0]), REALS[0], LAN_ADDRESS));
    // The packet leaves at once; that its receiver is still there is asked meanwhile.
    let sent = rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    let question = arp::Packet::request(LAN_MAC, v4(LAN_ADDRESS), v4(REALS[0]));
    let expected = [
        (LAN, syn(to_lan(REALS[0], CLIENT, VIP))),
        (LAN, arp_frame(mac_of(REALS[0]), &question)),
    ];
    expect(&sent, &expected);
    let (asker, own) = (v6(REALS6[0]), v6(LAN_ADDRESS6));
    rig.pass(
        LAN,
        &neighbour_frame(&ndp::solicitation(mac_of(REALS6[0]), asker, own)),
    );
    let sent = rig.pass(WAN, &syn(from_wan(CLIENT6, VIP6)));
    let question = ndp::probe(LAN_MAC, own, asker, mac_of(REALS6[0]));
    let expected = [
        (LAN, syn(to_lan(REALS6[0], CLIENT6, VIP6))),
        (LAN, neighbour_frame(&question)),
    ];
    expect(&sent, &expected);
    finish(rig);
}

#[test]
fn a_mac_learned_on_the_wrong_link_is_not_used() {
    let mut rig = Rig::new(1, &strangers(direct()));
    rig.pass(WAN, &arp_request(STRANGER, REALS[0], WAN_ADDRESS));
    let sent = rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    assert_eq!(
        sent[0].1[12..14],
        [8, 6],
        "it is asked for where it belongs"
    );
    finish(rig);
}

#[test]
fn solicitations_are_answered_for_vips_and_ports_and_for_nobody_else() {
    let asker = "2001:db8:1::7";
    for (target, is_ours) in [(VIP6, true), (WAN_ADDRESS6, true), ("2001:db8:1::8", false)] {
        let mut rig = Rig::new(1, &direct());
        let ask = ndp::solicitation(STRANGER, v6(asker), v6(target));
        let answer = ndp::reply(WAN_MAC, v6(target), v6(asker), STRANGER);
        let expected = if is_ours {
            vec![(WAN, neighbour_frame(&answer))]
        } else {
            vec![]
        };
        expect(&rig.pass(WAN, &neighbour_frame(&ask)), &expected);
        finish(rig);
    }
}

#[test]
fn neighbour_discovery_cannot_be_forged_from_afar_nor_in_our_name() {
    let mut rig = Rig::new(1, &direct());
    let mut far = neighbour_frame(&ndp::solicitation(STRANGER, v6("2001:db8:1::7"), v6(VIP6)));
    far[21] = 254;
    rig.pass(WAN, &far);
    assert_eq!(rig.all_drops(), [(DropReason::NdpInvalid, 1)]);
    let ask = ndp::solicitation(STRANGER, v6(WAN_ADDRESS6), v6(VIP6));
    let defence = |address| {
        (
            WAN,
            neighbour_frame(&ndp::announcement(WAN_MAC, v6(address))),
        )
    };
    expect(
        &rig.pass(WAN, &neighbour_frame(&ask)),
        &[defence(WAN_ADDRESS6)],
    );
    let claim = ndp::announcement(STRANGER, v6(VIP6));
    expect(&rig.pass(WAN, &neighbour_frame(&claim)), &[defence(VIP6)]);
    assert_eq!(rig.drops(DropReason::MartianSource), 2);
}

#[test]
fn neighbour_discovery_in_fragments_or_behind_other_headers_is_ignored() {
    let message = neighbour_frame(&ndp::solicitation(
        STRANGER,
        v6("2001:db8:1::7"),
        v6(WAN_ADDRESS6),
    ));
    // Sent to the address itself, so that its fragments are collected at all.
    let solicitation = |pad: usize| {
        let body = &message[14 + 40 + 8..];
        let padding = [14, 1, 0, 0, 0, 0, 0, 0].repeat(pad);
        from_wan("2001:db8:1::7", WAN_ADDRESS6)
            .ttl(255)
            .icmp(135, 0, 0)
            .payload(&[body, &padding].concat())
    };
    let mut rig = Rig::new(1, &direct());
    assert_eq!(rig.pass(WAN, &solicitation(9).build()).len(), 1);
    assert_eq!(rig.all_drops(), []);
    let pieces = solicitation(9).build_fragments(64);
    for piece in &pieces {
        assert_eq!(rig.pass(WAN, piece), []);
    }
    assert_eq!(rig.drops(DropReason::NdpInvalid), pieces.len() as u64);
    let atomic = solicitation(0).extension(44, &[0; 6]).build();
    assert_eq!(rig.pass(WAN, &atomic), []);
    assert_eq!(rig.drops(DropReason::NdpInvalid), pieces.len() as u64 + 1);
    finish(rig);
}

#[test]
fn addresses_are_announced_when_asked_to() {
    let mut rig = Rig::new(1, &direct());
    let addresses = vec![(PortId::new(0), ip(VIP)), (PortId::new(0), ip(VIP6))];
    rig.command(0, Command::Announce(addresses));
    let expected = [
        (WAN, neighbour_frame(&ndp::announcement(WAN_MAC, v6(VIP6)))),
        (
            WAN,
            arp_frame(Mac::BROADCAST, &arp::Packet::announcement(WAN_MAC, v4(VIP))),
        ),
    ];
    expect(&rig.run(), &expected);
}

#[test]
fn what_is_not_balanced_but_for_us_goes_to_the_kernel_as_it_came() {
    let services = || {
        usual(
            plimsoll_dataplane::spec::forward::ForwardMethod::Nat,
            REALS,
            REALS6,
        )
    };
    let cases = [
        (
            WAN,
            from_wan(CLIENT, WAN_ADDRESS)
                .tcp(4000, 22)
                .flags(SYN)
                .padded()
                .build(),
        ),
        (LAN, from_lan(REALS[0], LAN_ADDRESS).udp(500, 500).build()),
        (
            WAN,
            from_wan(CLIENT6, WAN_ADDRESS6)
                .protocol(89)
                .payload(b"ospf")
                .build(),
        ),
        (
            WAN,
            from_wan(CLIENT, "224.0.0.5")
                .protocol(89)
                .payload(b"ospf")
                .build(),
        ),
        (WAN, arp_reply(STRANGER, "192.0.2.7", WAN_MAC, WAN_ADDRESS)),
        (WAN, {
            let mut frame = vec![0; 60];
            frame[..6].copy_from_slice(&WAN_MAC.0);
            frame[12..14].copy_from_slice(&[0x88, 0xcc]);
            frame
        }),
    ];
    for (port, frame) in cases {
        let mut rig = Rig::new(1, &with_kernel(services()));
        expect(&rig.pass(port, &frame), &[(port + 2, frame)]);
        let stats = rig.stats().next().unwrap();
        assert_eq!(stats.punted.value(), 1);
        finish(rig);
    }
}

#[test]
fn what_the_kernel_sends_leaves_as_it_is() {
    let mut rig = Rig::new(1, &with_kernel(vec![]));
    let frame = packet(WAN_ADDRESS, CLIENT)
        .mac(WAN_MAC, GATEWAY_MAC)
        .tcp(22, 4000)
        .build();
    expect(&rig.pass(2, &frame), &[(WAN, frame.clone())]);
    expect(
        &rig.pass(3, b"anything at all"),
        &[(LAN, b"anything at all".to_vec())],
    );
    finish(rig);
}

#[test]
fn without_a_kernel_there_are_reasons_instead() {
    let mut rig = Rig::new(1, &nat());
    rig.pass(
        WAN,
        &from_wan(CLIENT, WAN_ADDRESS)
            .tcp(4000, 22)
            .flags(SYN)
            .build(),
    );
    rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(4000, 81).flags(SYN).build());
    rig.pass(
        WAN,
        &from_wan(CLIENT, "192.0.2.99")
            .tcp(4000, 80)
            .flags(SYN)
            .build(),
    );
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&WAN_MAC.0);
    rig.pass(WAN, &frame);
    let expected = [
        (DropReason::EtherTypeUnknown, 1),
        (DropReason::NotLocal, 1),
        (DropReason::LocalUnhandled, 1),
        (DropReason::NoService, 1),
    ];
    assert_eq!(rig.all_drops(), expected);
}

#[test]
fn an_overlong_backlog_is_dropped_and_the_rest_leaves_when_there_is_room() {
    let mut rig = Rig::new(1, &direct());
    let wire = rig.wire(0, LAN).unwrap().clone();
    wire.set_tx_limit(0);
    for _ in 0..1100 {
        rig.inject(0, WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
    }
    while rig.poll(0) > 0 {}
    assert_eq!(rig.all_drops(), [(DropReason::TxFull, 1100 - 1024)]);
    wire.set_tx_limit(usize::MAX);
    assert_eq!(rig.run().len(), 1024);
    finish(rig);
}

#[test]
fn group_traffic_that_nobody_here_listens_to_is_no_drop() {
    let group = Mac([1, 0x80, 0xc2, 0, 0, 0]);
    let mut bridges = vec![0; 60];
    bridges[..6].copy_from_slice(&group.0);
    bridges[12..14].copy_from_slice(&[0, 38]);
    let router = PacketBuilder::v6(v6("fe80::1"), v6("ff02::1"))
        .mac(STRANGER, Mac([0x33, 0x33, 0, 0, 0, 1]));
    let frames = [
        bridges,
        from_wan(CLIENT, "224.0.0.5").protocol(89).build(),
        router.ttl(255).icmp(134, 0, 0).payload(&[0; 8]).build(),
    ];
    let mut rig = Rig::new(1, &direct());
    for frame in &frames {
        assert_eq!(rig.pass(WAN, frame), []);
    }
    assert_eq!(rig.all_drops(), []);
    assert_eq!(rig.stats().next().unwrap().consumed.value(), 3);
}

#[test]
fn the_kernel_may_talk_to_the_socket_of_a_nat_real_server() {
    let mut spec = nat();
    let number = u16::try_from(spec.ports.len()).unwrap();
    let (kernel, network) = (PortId::new(number), PortId::new(LAN));
    spec.devices.push(DeviceSpec {
        untagged: kernel,
        ..spec.devices[usize::from(LAN)]
    });
    let mut tap = spec.ports[usize::from(LAN)].clone();
    tap.device = DeviceId::new(number);
    tap.addresses.clear();
    tap.role = PortRole::Kernel { network };
    spec.ports[usize::from(LAN)].role = PortRole::Network {
        kernel: Some(kernel),
    };
    spec.ports.push(tap);
    let mut rig = Rig::new(2, &spec);
    let answer = from_lan(REALS[0], LAN_ADDRESS).tcp(8080, 40_000).build();
    for worker in 0..2 {
        expect(
            &rig.pass_on(worker, LAN, &answer),
            &[(number, answer.clone())],
        );
    }
    assert_eq!(rig.all_drops(), []);
}

/// What the first worker has to tell.
fn incidents(rig: &Rig) -> Vec<Incident> {
    let stats = rig.stats().next().unwrap();
    std::iter::from_fn(|| stats.incidents.take()).collect()
}

#[test]
fn a_neighbour_that_does_not_answer_and_one_that_claims_our_address_are_told() {
    for (client, vip, server) in [(CLIENT, VIP, REALS[0]), (CLIENT6, VIP6, REALS6[0])] {
        let mut rig = Rig::new(1, &strangers(direct()));
        rig.pass(WAN, &syn(from_wan(client, vip)));
        rig.wait_ms(2_900);
        assert_eq!(incidents(&rig), []);
        rig.wait_ms(200);
        let (port, address) = (PortId::new(LAN), ip(server));
        let unreachable = Incident::NeighbourUnreachable { port, address };
        assert_eq!(incidents(&rig), [unreachable]);
        // Until it is tried again, nothing more is told, whatever comes.
        rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).build());
        assert_eq!(incidents(&rig), []);
    }
    let mut rig = Rig::new(1, &strangers(direct()));
    rig.pass(WAN, &syn(from_wan(CLIENT, VIP)));
    let answer = arp_reply(mac_of(REALS[0]), REALS[0], LAN_MAC, LAN_ADDRESS);
    rig.pass(LAN, &answer);
    let (port, address) = (PortId::new(LAN), ip(REALS[0]));
    let reachable = Incident::NeighbourReachable { port, address };
    assert_eq!(incidents(&rig), [reachable]);

    let claim = arp_request(STRANGER, LAN_ADDRESS, LAN_ADDRESS);
    let conflict = Incident::AddressConflict {
        port,
        address: ip(LAN_ADDRESS),
        mac: STRANGER,
    };
    for _ in 0..100 {
        rig.pass(LAN, &claim);
    }
    assert_eq!(incidents(&rig), [conflict]);
    rig.wait_ms(10_000);
    rig.pass(LAN, &claim);
    assert_eq!(incidents(&rig), [conflict]);
    let stats = rig.stats().next().unwrap();
    assert_eq!(stats.address_conflicts.value(), 2);
}
