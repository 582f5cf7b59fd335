//! The network of the recordings of LVS: clients behind a gateway at port 0, real servers at port 1.
//! A configuration for each method, and no packet.

use std::net::IpAddr;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::spec::network::{DeviceSpec, Network, PortRole, PortSpec, RouteSpec};
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::{Persistence, RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Target;
use plimsoll_dataplane::wire::Mac;

pub(crate) const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 1, 1])];
pub(crate) const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
pub(crate) const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8:c::7"];
pub(crate) const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8::100"];
pub(crate) const OWN: [&str; 2] = ["10.1.0.1", "2001:db8:1::1"];
pub(crate) const REALS: [[&str; 3]; 2] = [
    ["10.1.0.11", "10.1.0.12", "10.1.0.13"],
    ["2001:db8:1::11", "2001:db8:1::12", "2001:db8:1::13"],
];
/// What is added to a service's port under NAT.
pub(crate) const SHIFT: u16 = 8000;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn device(number: u16, mac: Mac) -> DeviceSpec {
    DeviceSpec::new(mac, PortId::new(number))
}

fn port(name: &str, number: u16, addresses: [&str; 2], kernel: Option<u16>) -> PortSpec {
    PortSpec {
        name: name.into(),
        device: DeviceId::new(number),
        mtu: 1500,
        addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
        role: PortRole::Network {
            kernel: kernel.map(PortId::new),
        },
    }
}

/// TCP 80, UDP 53 and SCTP 80 are plain, TCP 81 is persistent, UDP 54 one-packet.
fn services(forward: ForwardMethod) -> Vec<ServiceSpec> {
    const PLAIN: [(Protocol, u16); 5] = [
        (Protocol::Tcp, 80),
        (Protocol::Udp, 53),
        (Protocol::Sctp, 80),
        (Protocol::Tcp, 81),
        (Protocol::Udp, 54),
    ];
    let kinds = [
        TunnelKind::Ipip,
        TunnelKind::Gre { checksum: true },
        TunnelKind::Gue {
            port: 6080,
            checksum: true,
        },
    ];
    let mut services = Vec::new();
    for (family, vip) in VIPS.iter().enumerate() {
        for (protocol, port) in PLAIN {
            // Tunnels lead to real servers of either family.
            let across = usize::from(forward.crosses_families() && port == 81);
            let reals = REALS[(family + across) % 2].iter().zip(kinds);
            let real_port = if forward.rewrites_destination() {
                port + SHIFT
            } else {
                port
            };
            let reals = reals.map(|(address, tunnel)| RealSpec {
                tunnel,
                ..RealSpec::new(ip(address), real_port, forward)
            });
            let mut service = ServiceSpec::new(
                format!("{protocol} {vip} {port}"),
                Target::vip(protocol, ip(vip), port),
                SchedulerKind::Rr,
                reals.collect(),
            );
            service.one_packet = port == 54;
            service.mss_clamp = Some(MssClamp::Auto);
            if port == 81 {
                service.persistence = Some(Persistence {
                    timeout_ms: 50_000,
                    mask: if family == 0 { 24 } else { 64 },
                });
            }
            services.push(service);
        }
    }
    services
}

/// The configuration; `parts` of the services are left in it, the first of every so many.
pub(crate) fn spec(forward: ForwardMethod, parts: usize) -> Spec {
    let mut number = 0;
    let services = services(forward).into_iter().filter(|_| {
        number += 1;
        number % parts.max(1) == 0
    });
    let fixed = [("10.0.0.254", 0xfe), ("2001:db8::fe", 0xfe)]
        .into_iter()
        .map(|(address, last)| (ip(address), Mac([2, 0, 0, 0, 0, last])));
    // The third real server's MAC has to be asked for.
    let known = REALS
        .iter()
        .flat_map(|reals| &reals[..2])
        .zip([0xb, 0xc, 0xb, 0xc]);
    let known = known.map(|(address, last)| (ip(address), Mac([2, 0, 0, 0, 1, last])));
    let wan = ["10.0.0.1/24", "2001:db8::1/64"];
    let lan = ["10.1.0.1/24", "2001:db8:1::1/64"];
    Spec {
        devices: vec![device(0, MACS[0]), device(1, MACS[1]), device(2, MACS[0])],
        ports: vec![
            port("eth0", 0, wan, Some(2)),
            PortSpec {
                mtu: 1400,
                ..port("eth1", 1, lan, None)
            },
            PortSpec {
                role: PortRole::Kernel {
                    network: PortId::new(0),
                },
                addresses: Vec::new(),
                ..port("eth0k", 2, wan, None)
            },
        ],
        network: Network {
            routes: [("0.0.0.0/0", "10.0.0.254"), ("::/0", "2001:db8::fe")]
                .map(|(to, via)| RouteSpec {
                    to: to.parse().unwrap(),
                    via: ip(via),
                    port: None,
                })
                .to_vec(),
            neighbours: fixed.chain(known).collect(),
            ..Network::default()
        },
        services: services.collect(),
        ..Spec::default()
    }
}
