//! Limits on what this machine itself is sent: pings, and what its kernel gets.

use plimsoll_dataplane::testing::{PacketBuilder, Rig, arp_frame};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::{Mac, arp};

use crate::net::*;

/// The kernel's port of the WAN.
const KERNEL: u16 = 2;

fn kernel() -> Rig {
    Rig::new(1, &with_kernel(Vec::new()))
}

/// How many of `count` frames like this leave by `port`, all at one time.
fn passed(rig: &mut Rig, port: u16, count: usize, frame: &[u8]) -> usize {
    let sent = (0..count).flat_map(|_| rig.pass(WAN, frame));
    sent.filter(|(by, _)| *by == port).count()
}

#[test]
fn one_source_is_answered_so_many_pings_and_takes_none_from_others() {
    for (clients, vip) in [
        ([CLIENT, "198.51.100.8"], VIP),
        ([CLIENT, "198.51.100.8"], WAN_ADDRESS),
        ([CLIENT6, "2001:db8:d::8"], VIP6),
    ] {
        let mut rig = Rig::new(1, &direct());
        let [flood, other] = clients.map(|client| from_wan(client, vip).echo_request(1, 1).build());
        assert_eq!(passed(&mut rig, WAN, 100, &flood), 32);
        assert_eq!(passed(&mut rig, WAN, 10, &other), 10);
        assert_eq!(rig.all_drops(), [(DropReason::EchoLimited, 68)]);
        rig.wait_ms(1_000);
        assert_eq!(passed(&mut rig, WAN, 100, &flood), 32);
        finish(rig);
    }
}

#[test]
fn a_host_with_many_ipv6_addresses_is_one_source_unless_it_is_a_neighbour() {
    let mut rig = Rig::new(1, &direct());
    let mut answered = 0;
    for host in 0x100..0x200 {
        let ping = from_wan(&format!("2001:db8:c::{host:x}"), VIP6).echo_request(1, 1);
        answered += rig.pass(WAN, &ping.build()).len();
    }
    assert_eq!(answered, 32);
    finish(rig);
    for (network, most) in [("2001:db8:c", 2000), ("2001:db8:1", 3 * 1500)] {
        let mut rig = kernel();
        let sent = (0x100..0x103).map(|host| {
            let flood = from_wan(&format!("{network}::{host:x}"), WAN_ADDRESS6).udp(4000, 9);
            passed(&mut rig, KERNEL, 1500, &flood.build())
        });
        assert_eq!(sent.sum::<usize>(), most, "{network}");
        finish(rig);
    }
}

#[test]
fn all_sources_together_are_answered_a_thousand_pings_a_second() {
    let mut rig = Rig::new(1, &direct());
    let mut answered = 0;
    for number in 0..3000_u32 {
        let source = std::net::Ipv4Addr::from(0xc612_0000 + number).to_string();
        let ping = from_wan(&source, VIP).echo_request(1, 1).build();
        answered += rig.pass(WAN, &ping).len();
    }
    assert_eq!(answered, 1000);
    // Sessions are another matter.
    let syn = from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN).build();
    assert_eq!(rig.pass(WAN, &syn).len(), 1);
    finish(rig);
}

/// What routing protocols and neighbours send.
fn of_routing() -> Vec<Vec<u8>> {
    let to_group = |group: &str| {
        let std::net::IpAddr::V4(address) = ip(group) else {
            unreachable!()
        };
        let [_, b, c, d] = address.octets();
        packet("192.0.2.254", group).mac(GATEWAY_MAC, Mac([1, 0, 0x5e, b & 0x7f, c, d]))
    };
    let router = |builder: PacketBuilder| builder.mac(GATEWAY_MAC, WAN_MAC);
    let request = arp::Packet::request(
        GATEWAY_MAC,
        std::net::Ipv4Addr::new(192, 0, 2, 254).into(),
        std::net::Ipv4Addr::new(192, 0, 2, 77).into(),
    );
    vec![
        to_group("224.0.0.5")
            .ttl(1)
            .protocol(89)
            .payload(&[2; 44])
            .build(),
        to_group("224.0.0.18")
            .ttl(255)
            .protocol(112)
            .payload(&[0x21; 20])
            .build(),
        router(packet("192.0.2.254", WAN_ADDRESS).tcp(4000, 179).flags(SYN)).build(),
        router(
            packet("192.0.2.254", WAN_ADDRESS)
                .udp(50_000, 3784)
                .payload(&[0x20; 24]),
        )
        .build(),
        arp_frame(Mac::BROADCAST, &request),
    ]
}

#[test]
fn a_flood_for_the_kernel_leaves_routing_protocols_and_neighbours_their_way() {
    let mut rig = kernel();
    let flood = from_wan(CLIENT, WAN_ADDRESS).udp(4000, 9).build();
    assert_eq!(
        passed(&mut rig, KERNEL, 3000, &flood),
        2000,
        "of one source"
    );
    let other = from_wan("198.51.100.8", WAN_ADDRESS)
        .tcp(4000, 22)
        .flags(SYN);
    assert_eq!(passed(&mut rig, KERNEL, 1, &other.build()), 1);
    for number in 0..12_000_u32 {
        let source = std::net::Ipv4Addr::from(0xc612_0000 + number).to_string();
        rig.pass(WAN, &from_wan(&source, WAN_ADDRESS).udp(4000, 9).build());
    }
    let punted = rig.stats().next().unwrap().punted.value();
    assert_eq!(punted, 10_000, "of all sources");
    assert_eq!(
        rig.all_drops(),
        [(DropReason::PuntLimited, 3000 + 1 + 12_000 - 10_000)]
    );
    for frame in of_routing() {
        assert_eq!(passed(&mut rig, KERNEL, 20, &frame), 20, "{frame:02x?}");
    }
    rig.wait_ms(1_000);
    assert_eq!(passed(&mut rig, KERNEL, 3000, &flood), 2000);
    finish(rig);
}

#[test]
fn a_storm_of_arp_leaves_routing_protocols_their_way() {
    let mut rig = kernel();
    let frames = of_routing();
    let arp = frames.last().unwrap();
    assert_eq!(passed(&mut rig, KERNEL, 3000, arp), 2000);
    for frame in &frames[..4] {
        assert_eq!(passed(&mut rig, KERNEL, 20, frame), 20, "{frame:02x?}");
    }
    assert_eq!(rig.all_drops(), [(DropReason::PuntLimited, 1000)]);
    finish(rig);
}

#[test]
fn a_flood_at_the_port_of_bgp_cuts_no_neighbour_off() {
    let mut rig = kernel();
    let bgp = |source: &str| {
        let segment = packet(source, WAN_ADDRESS).tcp(4000, 179).flags(SYN);
        segment.mac(GATEWAY_MAC, WAN_MAC).build()
    };
    for number in 0..12_000_u32 {
        let source = std::net::Ipv4Addr::from(0xc612_0000 + number).to_string();
        rig.pass(WAN, &bgp(&source));
    }
    assert_eq!(rig.drops(DropReason::PuntLimited), 2000, "of all from afar");
    for frame in of_routing() {
        assert_eq!(passed(&mut rig, KERNEL, 20, &frame), 20, "{frame:02x?}");
    }
    // In the name of a neighbour, too: others are served, and what no router has passed on.
    let sent = passed(&mut rig, KERNEL, 12_000, &bgp("192.0.2.254"));
    assert_eq!(sent, 5000 - 2 * 20, "of one source");
    assert_eq!(passed(&mut rig, KERNEL, 20, &bgp("192.0.2.253")), 20);
    let bfd = packet("192.0.2.254", WAN_ADDRESS)
        .ttl(255)
        .udp(50_000, 3784);
    let bfd = bfd.mac(GATEWAY_MAC, WAN_MAC).payload(&[0x20; 24]).build();
    for frame in [&of_routing()[0], &of_routing()[1], &bfd] {
        assert_eq!(passed(&mut rig, KERNEL, 20, frame), 20, "{frame:02x?}");
    }
    finish(rig);
}
