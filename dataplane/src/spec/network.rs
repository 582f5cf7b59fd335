//! Ports, routes and neighbours, as the configuration has them: what belongs to no service.
//! Which way a packet takes is in `snapshot/route.rs`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::timeouts::Timeouts;
use crate::id::{DeviceId, PortId};
use crate::wire::{Mac, ethernet};

/// What belongs to no service and to no port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Routes beyond the ports' own networks; no two for one network.
    pub routes: Vec<RouteSpec>,
    /// Neighbours that need no ARP or NDP.
    pub neighbours: Vec<(IpAddr, Mac)>,
    /// The same with link-local addresses, which mean another host on each port (RFC 4007 section 6).
    pub link_neighbours: Vec<((PortId, IpAddr), Mac)>,
    /// Whether packets that are for nobody here are routed, as a Linux host does with `ip_forward`.
    pub forwarding: bool,
    /// How long idle sessions live, unless their service says otherwise.
    pub timeouts: Timeouts,
    /// A NAT real server is told that what it sends from its service's port belongs to no session
    /// (IPVS: `nat_icmp_send`).
    pub refuses_replies: bool,
    /// Errors made here are LVS's: clients' packets are quoted a hop older than they came, else as they came
    /// (RFC 1812 section 4.3.2.3), and an SCTP packet of no association is answered as by a host without SCTP.
    pub answers_as_lvs: bool,
}

/// One Ethernet device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Its MAC, which all ports on it have.
    pub mac: Mac,
    /// The port that frames without a VLAN tag belong to.
    pub untagged: PortId,
    /// Whether it is known to spread flows over its queues as [`crate::steering::Steering`] says.
    pub steered: bool,
}

impl DeviceSpec {
    /// One with this MAC of which it is not known how it spreads flows.
    #[must_use]
    pub const fn new(mac: Mac, untagged: PortId) -> Self {
        Self {
            mac,
            untagged,
            steered: false,
        }
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its name, for people.
    pub name: Arc<str>,
    /// The device that it is on.
    pub device: DeviceId,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Addresses with the length of their network.
    pub addresses: Vec<IpNet>,
    /// What stands at the other end.
    pub role: PortRole,
}

impl PortSpec {
    /// The bytes of the Ethernet header before every datagram that leaves by the port. What is sent is laid out by this
    /// number alone; where the header of a received frame ends is `parse.rs`'s to find.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        ethernet::HEADER_BYTES
    }

    /// The address from which the port speaks to `neighbour`: its first one of the same family.
    #[must_use]
    pub fn source_for(&self, neighbour: IpAddr) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().map(IpNet::addr);
        addresses.find(|address| address.is_ipv4() == neighbour.is_ipv4())
    }
}

/// What stands at a port's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortRole {
    /// A network; what is not ours goes to the kernel through the port named here, if any.
    Network {
        /// The exception path.
        kernel: Option<PortId>,
    },
    /// The kernel of this machine, which speaks to the network of the port named here.
    Kernel {
        /// The port whose exception path this is.
        network: PortId,
    },
}

/// Whether every link has such an address, so that it does not say which is meant (RFC 4291 section 2.5.6).
#[must_use]
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteSpec {
    /// Destinations.
    pub to: IpNet,
    /// The gateway, an on-link address.
    pub via: IpAddr,
    /// The gateway's port, where its address does not say so: a link-local one is on every link.
    pub port: Option<PortId>,
}
