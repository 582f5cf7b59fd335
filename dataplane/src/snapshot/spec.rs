//! What the builder is told: the desired state, already validated, in plain types.
//! No slot numbers and no derived values belong here.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::id::PortId;
use super::model::{ForwardMethod, MssClamp, Persistence, ServiceLimits, TunnelKind};
use super::policy::Policy;
use super::target::Target;
use crate::schedule::SchedulerKind;
use crate::schedule::threshold::Limits;
use crate::session::Timeouts;
use crate::time::Time;
use crate::wire::ethernet::Mac;

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

/// One virtual service.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// Its name, for people.
    pub name: Arc<str>,
    /// Which packets are its. No two services have the same identity.
    pub target: Target,
    /// How a real server is chosen.
    pub scheduler: SchedulerKind,
    /// How long the share of a new real server grows, in ms; 0 gives it all at once.
    pub slow_start_ms: u32,
    /// Up to which size TCP's ends may offer segments; `None` leaves it to them.
    pub mss_clamp: Option<MssClamp>,
    /// Whether a client stays at its real server, and for how long.
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself, without a session. For UDP only.
    pub one_packet: bool,
    /// What it may have at most.
    pub limits: ServiceLimits,
    /// Where it does as IPVS does, and where not.
    pub policy: Policy,
    /// How long its idle sessions live; `None` is [`Spec::timeouts`].
    pub timeouts: Option<Timeouts>,
    /// In scheduling order.
    pub reals: Vec<RealSpec>,
}

impl ServiceSpec {
    /// One with nothing that needs asking for: no persistence, no limits of its own, IPVS's ways.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        target: Target,
        scheduler: SchedulerKind,
        reals: Vec<RealSpec>,
    ) -> Self {
        Self {
            name: name.into(),
            target,
            scheduler,
            slow_start_ms: 0,
            mss_clamp: None,
            persistence: None,
            one_packet: false,
            limits: ServiceLimits::default(),
            policy: Policy::default(),
            timeouts: None,
            reals,
        }
    }

    /// Whether its place among others decides about packets: rules are consulted in their order, and
    /// of one-packet services with real servers in common the first one answers for them.
    #[must_use]
    pub const fn is_ordered(&self) -> bool {
        self.one_packet || matches!(self.target, Target::Match { .. })
    }
}

/// One real server of a service.
#[derive(Debug, Clone)]
pub struct RealSpec {
    /// Where it is.
    pub address: IpAddr,
    /// Its port, host order; 0 is the port that the packet has.
    pub port: u16,
    /// Its share; 0 takes no new sessions.
    pub weight: u32,
    /// How many sessions it shall have.
    pub limits: Limits,
    /// How packets get there.
    pub forward: ForwardMethod,
    /// How a tunnel to it encapsulates.
    pub tunnel: TunnelKind,
    /// Our end of a tunnel to it, one of our own addresses; else that of the port on the way.
    pub tunnel_source: Option<IpAddr>,
    /// The outer TTL or hop limit of a tunnel to it, not 0; `None` is the inner one's.
    pub tunnel_ttl: Option<u8>,
}

impl RealSpec {
    /// One with the weight 1, without limits, and with a usual tunnel if it has one.
    #[must_use]
    pub fn new(address: IpAddr, port: u16, forward: ForwardMethod) -> Self {
        Self {
            address,
            port,
            weight: 1,
            limits: Limits::default(),
            forward,
            tunnel: TunnelKind::Ipip,
            tunnel_source: None,
            tunnel_ttl: None,
        }
    }
}
