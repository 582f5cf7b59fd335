//! What the stages' benchmarks begin with: a configuration and packets of 32 clients.
//! Nothing here is counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ahash::RandomState;
use plimsoll_dataplane::flow::{FlowKey, Protocol, V4};
use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::io::BURST;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::network::{DeviceSpec, Network, PortRole, PortSpec, RouteSpec};
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Target;
use plimsoll_dataplane::testing::PacketBuilder;
use plimsoll_dataplane::wire::Mac;

/// The port's MAC.
pub(crate) const OWN_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// The MAC of the router that clients are behind.
pub(crate) const ROUTER_MAC: Mac = Mac([2, 2, 0, 0, 0, 1]);
/// Real servers per service.
pub(crate) const REALS: u16 = 100;
/// The port of virtual servers.
pub(crate) const VIRTUAL_PORT: u16 = 80;
/// The port of NAT's real servers.
pub(crate) const REAL_PORT: u16 = 8080;

/// Which version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ip {
    V4,
    V6,
}

impl Ip {
    /// The virtual address number `number`.
    pub(crate) fn virtual_address(self, number: u16) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(0xc000_0200 + u32::from(number)).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number).into(),
        }
    }

    /// The address of real server `number`, on the port's network.
    pub(crate) fn real(self, number: u16) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(0x0a00_0001 + u32::from(number)).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, number).into(),
        }
    }

    /// A packet of client `number` to `to`, with MACs as they arrive here.
    pub(crate) fn client_packet(self, number: u16, to: IpAddr) -> PacketBuilder {
        let client = u32::from(number);
        let packet = match (self, to) {
            (Self::V4, IpAddr::V4(to)) => {
                PacketBuilder::v4(Ipv4Addr::from_bits(0xc612_0000 + client), to)
            }
            (_, to) => {
                let to = match to {
                    IpAddr::V4(to) => to.to_ipv6_mapped(),
                    IpAddr::V6(to) => to,
                };
                PacketBuilder::v6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, number), to)
            }
        };
        packet.mac(ROUTER_MAC, OWN_MAC)
    }
}

/// The numbers of a burst's clients.
pub(crate) fn clients() -> impl Iterator<Item = u16> {
    (0..).take(BURST)
}

/// The port of client `number`.
pub(crate) const fn client_port(number: u16) -> u16 {
    1024 + number
}

/// The UDP flow of client `number`.
pub(crate) fn flow(number: u16) -> FlowKey<V4> {
    FlowKey {
        client: V4(0xc612_0000 + u32::from(number)),
        virtual_address: V4(0xc000_0200),
        client_port: client_port(number),
        virtual_port: VIRTUAL_PORT,
        protocol: Protocol::Udp,
    }
}

/// A service with [`REALS`] real servers on the virtual address number `number`.
pub(crate) fn service(
    ip: Ip,
    number: u16,
    protocol: Protocol,
    scheduler: SchedulerKind,
    forward: ForwardMethod,
    reals: u16,
) -> ServiceSpec {
    let port = if forward.rewrites_destination() {
        REAL_PORT
    } else {
        VIRTUAL_PORT
    };
    let real = |real: u16| RealSpec {
        weight: 1 + u32::from(real % 3),
        ..RealSpec::new(ip.real(real), port, forward)
    };
    ServiceSpec::new(
        format!("service-{number}"),
        Target::vip(protocol, ip.virtual_address(number), VIRTUAL_PORT),
        scheduler,
        (0..reals).map(real).collect(),
    )
}

/// One port with both families' addresses, behind which are the real servers and the clients' router.
pub(crate) fn spec(services: Vec<ServiceSpec>) -> Spec {
    let network = |address: IpAddr, bits: u8| ipnet::IpNet::new_assert(address, bits);
    let routers = [
        IpAddr::from([203, 0, 113, 1]),
        Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1).into(),
    ];
    let anywhere = [
        network(Ipv4Addr::UNSPECIFIED.into(), 0),
        network(Ipv6Addr::UNSPECIFIED.into(), 0),
    ];
    let real_mac = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Mac([2, 1, 0, 0, high, low])
    };
    let reals = (0..REALS)
        .flat_map(|number| [Ip::V4, Ip::V6].map(|ip| (ip.real(number), real_mac(number))));
    Spec {
        devices: vec![DeviceSpec::new(OWN_MAC, PortId::new(0))],
        ports: vec![PortSpec {
            name: "wan".into(),
            device: DeviceId::new(0),
            mtu: 1500,
            addresses: vec![
                network([10, 0, 255, 254].into(), 16),
                network([203, 0, 113, 2].into(), 24),
                network(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(), 64),
                network(Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 2).into(), 64),
            ],
            role: PortRole::Network { kernel: None },
        }],
        network: Network {
            routes: anywhere
                .into_iter()
                .zip(routers)
                .map(|(to, via)| RouteSpec {
                    to,
                    via,
                    port: None,
                })
                .collect(),
            neighbours: reals
                .chain(routers.map(|router| (router, ROUTER_MAC)))
                .collect(),
            ..Network::default()
        },
        services,
        ..Spec::default()
    }
}

/// `spec` with a second port, behind which is the only real server of `service`.
pub(crate) fn with_second_port(spec: Spec, mut service: ServiceSpec) -> Spec {
    let network = ipnet::IpNet::new_assert([10, 1, 0, 1].into(), 16);
    let address = IpAddr::from([10, 1, 0, 2]);
    service.reals.truncate(1);
    for real in &mut service.reals {
        real.address = address;
    }
    let mut spec = spec;
    spec.devices.push(DeviceSpec::new(OWN_MAC, PortId::new(1)));
    spec.ports.push(PortSpec {
        name: "lan".into(),
        device: DeviceId::new(1),
        mtu: 1500,
        addresses: vec![network],
        role: PortRole::Network { kernel: None },
    });
    spec.network.neighbours.push((address, ROUTER_MAC));
    spec.services.push(service);
    spec
}

/// The snapshot of `spec` for so many workers.
pub(crate) fn snapshot(spec: &Spec, workers: usize) -> Arc<Snapshot> {
    Builder::new(workers, &RandomState::with_seeds(1, 2, 3, 4)).build(spec, true)
}
