//! Ports, routes and neighbours, as the configuration has them: what belongs to no service.
//! Which way a packet takes is in `snapshot/route.rs`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::timeouts::Timeouts;
use crate::id::PortId;
use crate::wire::Mac;

/// What belongs to no service.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "those of `Spec`")]
pub struct Network {
    pub ports: Vec<PortSpec>,
    pub routes: Vec<RouteSpec>,
    pub neighbours: Vec<(IpAddr, Mac)>,
    pub link_neighbours: Vec<((PortId, IpAddr), Mac)>,
    pub forwarding: bool,
    pub timeouts: Timeouts,
    pub refuses_replies: bool,
    pub answers_as_lvs: bool,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its name, for people.
    pub name: Arc<str>,
    /// Its MAC.
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Addresses with the length of their network.
    pub addresses: Vec<IpNet>,
    /// What stands at the other end.
    pub role: PortRole,
    /// Whether it is known to spread flows over its queues as [`crate::steering::Steering`] says.
    pub steered: bool,
}

impl PortSpec {
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

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Destinations.
    pub to: IpNet,
    /// The gateway, an on-link address.
    pub via: IpAddr,
    /// The gateway's port, where its address does not say so: a link-local one is on every link.
    pub port: Option<PortId>,
}
