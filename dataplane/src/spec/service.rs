//! One service and its real servers, as the configuration has them.
//! What is computed from them is in `snapshot/`.

use std::net::IpAddr;
use std::sync::Arc;

use super::forward::{ForwardMethod, GUE_PORT, MssClamp, TunnelKind};
use super::limits::{Limits, ServiceLimits};
use super::policy::{OnDown, OnDrain, Policy};
use super::scheduler::SchedulerKind;
use super::target::Target;
use super::timeouts::OwnTimeouts;
use crate::listed::Listed as _;

/// How clients stay at their real servers (IPVS: `-p`, `-M`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// Milliseconds that a client is remembered after its last session began.
    pub timeout_ms: u32,
    /// The leading bits of its address that make a client; others with the same are the same one.
    pub mask: u8,
}

/// One virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What becomes of the UDP flows of a real server that is drained. The packet path knows it from
    /// [`RealSpec::availability`].
    pub on_drain: OnDrain,
    /// How long its idle sessions live, where it says so itself.
    pub timeouts: OwnTimeouts,
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
            on_drain: OnDrain::default(),
            timeouts: OwnTimeouts::NONE,
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

/// Whether a real server takes new sessions, whatever its weight. The file does not say it: an operator takes a real
/// server out, and health checks find it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Availability {
    /// It takes new sessions.
    #[default]
    Available,
    /// Schedulers, templates and flows that began elsewhere pass over it. Says what becomes of the sessions that it has.
    Unavailable(Remaining),
}

impl Availability {
    /// Whether it takes new sessions.
    #[inline]
    #[must_use]
    pub const fn is_available(self) -> bool {
        matches!(self, Self::Available)
    }
}

/// What becomes of the sessions of a real server that takes no new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remaining {
    /// They go on until they end.
    Kept,
    /// As `Kept`, but a UDP flow goes to another real server with its next datagram.
    KeptButUdp,
    /// It counts as gone.
    Gone(OnDown),
}

/// One real server of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Whether it takes new sessions, apart from its weight.
    pub availability: Availability,
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
            availability: Availability::Available,
        }
    }

    /// The keys of which `other` has another value, each with both values, by the names of the file.
    /// The address and port, by which a real server is the same one, are not among them.
    pub fn differences(
        &self,
        other: &Self,
    ) -> impl Iterator<Item = (&'static str, String, String)> {
        // Of a long list hardly any differ, and texts cost much more than this question.
        let both = (self != other).then(|| self.named().zip(other.named()));
        both.into_iter()
            .flatten()
            .map(|((key, one), (_, another))| (key, one, another))
            .filter(|(_, one, another)| one != another)
    }

    /// Its keys with their values, both as the file has them; without its address and port.
    fn named(&self) -> impl Iterator<Item = (&'static str, String)> {
        // Without `..`, so that a new field is not forgotten here.
        let Self {
            address: _,
            port: _,
            weight,
            limits: Limits { upper, lower },
            forward,
            tunnel,
            tunnel_source,
            tunnel_ttl,
            // No key of the file.
            availability: _,
        } = *self;
        // What means nothing to this tunnel, or without one, is as if it was omitted.
        let (tunnel, tunnel_source, tunnel_ttl) = if forward.encapsulates() {
            (tunnel, tunnel_source, tunnel_ttl)
        } else {
            (TunnelKind::Ipip, None, None)
        };
        let (tunnel_port, checksum) = match tunnel {
            TunnelKind::Ipip => (GUE_PORT, false),
            TunnelKind::Gre { checksum } => (GUE_PORT, checksum),
            TunnelKind::Gue { port, checksum } => (port, checksum),
        };
        let checksum = if checksum { "csum" } else { "none" };
        let tunnel_source = tunnel_source.map(|source| source.to_string());
        let tunnel_ttl = tunnel_ttl.map(|ttl| ttl.to_string());
        [
            ("weight", weight.to_string()),
            ("upper", upper.to_string()),
            ("lower", lower.to_string()),
            ("forward", forward.name().to_owned()),
            ("tunnel.type", tunnel.name().to_owned()),
            ("tunnel.port", tunnel_port.to_string()),
            ("tunnel.checksum", checksum.to_owned()),
            (
                "tunnel.source",
                // The file has no word for it but to omit the key.
                tunnel_source.unwrap_or_else(|| "the port's".to_owned()),
            ),
            (
                "tunnel.ttl",
                tunnel_ttl.unwrap_or_else(|| "inherit".to_owned()),
            ),
        ]
        .into_iter()
    }
}
