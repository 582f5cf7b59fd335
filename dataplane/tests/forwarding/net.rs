//! The network of the tables: clients behind a gateway at port 0 (WAN), real servers at port 1 (LAN).
//! Addresses, MACs and short ways to packets and configurations; no test.

#![allow(
    dead_code,
    reason = "shared by two test crates, of which neither uses all of it"
)]

use std::net::IpAddr;

use plimsoll_dataplane::flow::{Addresses, Protocol};
use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::parse::{Parse, parse};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::network::{DeviceSpec, Network, PortRole, PortSpec, RouteSpec};
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Target;
use plimsoll_dataplane::testing::{PacketBuilder, Sent};
use plimsoll_dataplane::wire::Mac;

pub(crate) const WAN: u16 = 0;
pub(crate) const LAN: u16 = 1;

pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 0]);
pub(crate) const LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(crate) const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 2, 0xfe]);

pub(crate) const CLIENT: &str = "198.51.100.7";
pub(crate) const VIP: &str = "192.0.2.100";
pub(crate) const WAN_ADDRESS: &str = "192.0.2.1";
pub(crate) const LAN_ADDRESS: &str = "10.1.0.1";
pub(crate) const REALS: [&str; 3] = ["10.1.0.11", "10.1.0.12", "10.1.0.13"];

pub(crate) const CLIENT6: &str = "2001:db8:c::7";
pub(crate) const VIP6: &str = "2001:db8:1::100";
pub(crate) const WAN_ADDRESS6: &str = "2001:db8:1::1";
pub(crate) const LAN_ADDRESS6: &str = "2001:db8:2::1";
pub(crate) const REALS6: [&str; 3] = ["2001:db8:2::11", "2001:db8:2::12", "2001:db8:2::13"];

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const SYN_ACK: u8 = 0x12;
pub(crate) const FIN_ACK: u8 = 0x11;
pub(crate) const RST: u8 = 0x04;

pub(crate) const GRE: TunnelKind = TunnelKind::Gre { checksum: false };
pub(crate) const GUE: TunnelKind = TunnelKind::Gue {
    port: 6080,
    checksum: false,
};
/// SCTP's chunk type.
pub(crate) const INIT: u8 = 1;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The MAC of the real server with the last byte `last` in its address.
pub(crate) fn real_mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 3, last])
}

pub(crate) fn mac_of(address: &str) -> Mac {
    match ip(address) {
        IpAddr::V4(address) => real_mac(address.octets()[3]),
        IpAddr::V6(address) => real_mac(address.octets()[15]),
    }
}

/// A packet between two addresses of one family.
pub(crate) fn packet(from: &str, to: &str) -> PacketBuilder {
    match (ip(from), ip(to)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::v4(from, to),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::v6(from, to),
        _ => unreachable!("{from} and {to} are of two families"),
    }
}

/// What arrives at the WAN port.
pub(crate) fn from_wan(from: &str, to: &str) -> PacketBuilder {
    packet(from, to).mac(GATEWAY_MAC, WAN_MAC)
}

/// What leaves the WAN port, one hop later.
pub(crate) fn to_wan(from: &str, to: &str) -> PacketBuilder {
    packet(from, to).mac(WAN_MAC, GATEWAY_MAC).ttl(63)
}

/// What arrives at the LAN port.
pub(crate) fn from_lan(from: &str, to: &str) -> PacketBuilder {
    packet(from, to).mac(mac_of(from), LAN_MAC)
}

/// What leaves the LAN port for `real`, one hop later.
pub(crate) fn to_lan(real: &str, from: &str, to: &str) -> PacketBuilder {
    packet(from, to).mac(LAN_MAC, mac_of(real)).ttl(63)
}

pub(crate) fn real(address: &str, port: u16, forward: ForwardMethod) -> RealSpec {
    RealSpec::new(ip(address), port, forward)
}

pub(crate) fn weighted(address: &str, port: u16, forward: ForwardMethod, weight: u32) -> RealSpec {
    RealSpec {
        weight,
        ..real(address, port, forward)
    }
}

pub(crate) fn service(
    protocol: Protocol,
    vip: &str,
    port: u16,
    reals: Vec<RealSpec>,
) -> ServiceSpec {
    ServiceSpec::new(
        format!("{protocol} {vip} {port}"),
        Target::vip(protocol, ip(vip), port),
        SchedulerKind::Rr,
        reals,
    )
}

fn device(number: u16, mac: Mac) -> DeviceSpec {
    DeviceSpec::new(mac, PortId::new(number))
}

fn port(name: &str, number: u16, addresses: [&str; 2]) -> PortSpec {
    PortSpec {
        name: name.into(),
        device: DeviceId::new(number),
        mtu: 1500,
        addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
        role: PortRole::Network { kernel: None },
    }
}

fn ways() -> Vec<RouteSpec> {
    [("0.0.0.0/0", "192.0.2.254"), ("::/0", "2001:db8:1::fe")]
        .map(|(to, via)| RouteSpec {
            to: to.parse().unwrap(),
            via: ip(via),
            port: None,
        })
        .to_vec()
}

fn neighbours() -> Vec<(IpAddr, Mac)> {
    let mut known = vec![
        (ip("192.0.2.254"), GATEWAY_MAC),
        (ip("2001:db8:1::fe"), GATEWAY_MAC),
    ];
    known.extend(
        REALS
            .iter()
            .chain(&REALS6)
            .map(|real| (ip(real), mac_of(real))),
    );
    known
}

/// Two ports, all neighbours known.
pub(crate) fn two_armed(services: Vec<ServiceSpec>) -> Spec {
    Spec {
        devices: vec![device(WAN, WAN_MAC), device(LAN, LAN_MAC)],
        ports: vec![
            port("wan", WAN, ["192.0.2.1/24", "2001:db8:1::1/64"]),
            port("lan", LAN, ["10.1.0.1/24", "2001:db8:2::1/64"]),
        ],
        network: Network {
            routes: ways(),
            neighbours: neighbours(),
            ..Network::default()
        },
        services,
        ..Spec::default()
    }
}

/// One port with all addresses on it: real servers and gateway share the link.
pub(crate) fn one_armed(services: Vec<ServiceSpec>) -> Spec {
    let mut spec = two_armed(services);
    let lan = spec.ports.remove(1);
    spec.devices.truncate(1);
    spec.ports[0].addresses.extend(lan.addresses);
    spec
}

/// As `two_armed`, and each port has a kernel's port: 2 for WAN, 3 for LAN.
pub(crate) fn with_kernel(services: Vec<ServiceSpec>) -> Spec {
    let mut spec = two_armed(services);
    for number in 0..2_u16 {
        let network = spec.ports[usize::from(number)].clone();
        spec.ports[usize::from(number)].role = PortRole::Network {
            kernel: Some(PortId::new(number + 2)),
        };
        let mac = spec.devices[usize::from(number)].mac;
        spec.devices.push(device(number + 2, mac));
        spec.ports.push(PortSpec {
            name: format!("kernel {number}").into(),
            device: DeviceId::new(number + 2),
            addresses: Vec::new(),
            role: PortRole::Kernel {
                network: PortId::new(number),
            },
            ..network
        });
    }
    spec
}

/// The usual services: TCP 80, UDP 53 and SCTP 3868 on both VIPs, each to the three real servers.
pub(crate) fn usual(
    forward: ForwardMethod,
    reals4: [&str; 3],
    reals6: [&str; 3],
) -> Vec<ServiceSpec> {
    let mut services = Vec::new();
    for (protocol, port) in [
        (Protocol::Tcp, 80),
        (Protocol::Udp, 53),
        (Protocol::Sctp, 3868),
    ] {
        for (vip, reals) in [(VIP, reals4), (VIP6, reals6)] {
            let real_port = match forward {
                ForwardMethod::Nat => port + 8000,
                _ => port,
            };
            let reals = reals.map(|address| real(address, real_port, forward));
            services.push(service(protocol, vip, port, reals.to_vec()));
        }
    }
    services
}

pub(crate) fn direct() -> Spec {
    two_armed(usual(ForwardMethod::Direct, REALS, REALS6))
}

pub(crate) fn nat() -> Spec {
    two_armed(usual(ForwardMethod::Nat, REALS, REALS6))
}

pub(crate) fn tunnel() -> Spec {
    two_armed(usual(ForwardMethod::Tunnel, REALS, REALS6))
}

/// As `tunnel`, with tunnels of `kind`.
pub(crate) fn tunnel_of(kind: TunnelKind, reals4: [&str; 3], reals6: [&str; 3]) -> Spec {
    let mut services = usual(ForwardMethod::Tunnel, reals4, reals6);
    for real in services.iter_mut().flat_map(|service| &mut service.reals) {
        real.tunnel = kind;
    }
    two_armed(services)
}

/// Fails with both frames as `etherparse` reads them, which a dump of bytes does not say.
#[track_caller]
pub(crate) fn expect(sent: &[Sent], expected: &[(u16, Vec<u8>)]) {
    let show = |frames: &[Sent]| {
        frames
            .iter()
            .map(|(port, frame)| {
                let headers = etherparse::PacketHeaders::from_ethernet_slice(frame);
                format!("port {port}: {headers:#?}\n  {frame:02x?}")
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(
        sent == expected,
        "sent:\n{}\nexpected:\n{}",
        show(sent),
        show(expected)
    );
}

/// Whose address a frame bears as its destination.
pub(crate) fn destination(frame: &[u8]) -> IpAddr {
    addresses(frame).destination()
}

pub(crate) fn addresses(frame: &[u8]) -> Addresses {
    match parse(frame) {
        Parse::Ip(packet) => packet.addresses,
        other => unreachable!("{other:?}"),
    }
}

/// Ends a story: whatever waited is given up, and every buffer is back in the pool.
#[track_caller]
pub(crate) fn finish(mut rig: plimsoll_dataplane::testing::Rig) {
    rig.wait_ms(40_000);
    assert_eq!(rig.waiting(), 0, "frames wait for ever");
    assert_eq!(rig.held(), 0, "buffers are lost");
}
