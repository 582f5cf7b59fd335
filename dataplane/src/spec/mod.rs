//! The one vocabulary: all that an operator can say, as plain types, already validated.
//! No slot numbers and no derived values belong here.

pub mod forward;
pub mod limits;
pub mod network;
pub mod policy;
pub mod scheduler;
pub mod service;
pub mod target;
pub mod timeouts;

use std::net::IpAddr;

use crate::id::PortId;
use crate::time::Time;
use crate::wire::Mac;
use network::{Network, PortSpec, RouteSpec};
use service::ServiceSpec;
use timeouts::Timeouts;

/// The whole desired state. Lists keep the configuration's order.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// The ports; a `PortId` is a place in this list.
    pub ports: Vec<PortSpec>,
    /// Routes beyond the ports' own networks.
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
    /// What is balanced. Rules of services by match are consulted in this order.
    pub services: Vec<ServiceSpec>,
    /// The workers' time, from which a new real server's slow start counts.
    pub now: Time,
}

impl Spec {
    /// What of it belongs to no service.
    #[must_use]
    pub fn network(&self) -> Network {
        Network {
            ports: self.ports.clone(),
            routes: self.routes.clone(),
            neighbours: self.neighbours.clone(),
            link_neighbours: self.link_neighbours.clone(),
            forwarding: self.forwarding,
            timeouts: self.timeouts,
            refuses_replies: self.refuses_replies,
            answers_as_lvs: self.answers_as_lvs,
        }
    }
}
