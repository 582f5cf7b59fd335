//! What the packet path reads: services, real servers and ports in their compiled form.
//! Nothing here changes after it was built, except counters.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::chunked::Chunked;
use super::id::{PortId, RealId, ServiceId};
use super::owner::Owner;
use super::policy::Policy;
use super::target::Target;
use crate::schedule::ramp::Ramp;
use crate::schedule::threshold::Limits;
use crate::schedule::{Candidate, Cursor, Scheduler};
use crate::session::Timeouts;
use crate::stats::{RealCounters, ServiceCounters};
use crate::time::Time;

crate::listed! {
    /// How a packet gets to its real server.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum ForwardMethod {
        /// Only the MAC changes; the real server answers the client itself (IPVS: Route).
        Direct => "dr",
        /// Address and port are rewritten, in both directions (IPVS: Masq).
        Nat => "nat",
        /// The packet travels inside another IP packet, as [`TunnelKind`] says (IPVS: Tunnel).
        Tunnel => "tunnel",
    }
}

/// What stands between the outer IP header of a tunnel and the packet inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TunnelKind {
    /// Nothing: IP in IP.
    #[default]
    Ipip,
    /// A GRE header.
    Gre {
        /// Whether it has a checksum.
        checksum: bool,
    },
    /// A UDP header and a GUE header.
    Gue {
        /// The UDP port of the real server's end.
        port: u16,
        /// Whether UDP's checksum is there.
        checksum: bool,
    },
}

impl TunnelKind {
    /// The same without checksums: by this, errors about a tunnel's packets tell whose they are.
    #[must_use]
    pub const fn end(self) -> Self {
        match self {
            Self::Ipip => Self::Ipip,
            Self::Gre { .. } => Self::Gre { checksum: false },
            Self::Gue { port, .. } => Self::Gue {
                port,
                checksum: false,
            },
        }
    }
}

/// How large TCP's segments may be that the two ends of a service's sessions send each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MssClamp {
    /// As large as fits into one packet on the way that is known here.
    Auto,
    /// So many bytes.
    Bytes(u16),
}

/// The way to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Egress {
    /// Where the frame leaves.
    pub port: PortId,
    /// Whose MAC it bears: the address itself, or a gateway.
    pub next_hop: IpAddr,
    /// Our own address on that port, of the same family (a tunnel's outer source unless it has one of
    /// its own, the sender of ICMP errors); `None` if the port has none.
    pub source: Option<IpAddr>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
}

/// How clients stay at their real servers (IPVS: `-p`, `-M`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// Milliseconds that a client is remembered after its last session began.
    pub timeout_ms: u32,
    /// The leading bits of its address that make a client; others with the same are the same one.
    pub mask: u8,
}

/// What a service may have at most, on all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServiceLimits {
    /// Sessions that no side has finished. `None` is no limit.
    pub sessions: Option<NonZeroU32>,
}

/// One virtual service.
#[derive(Debug, Clone)]
pub struct VirtualService {
    /// Its slot.
    pub id: ServiceId,
    /// Its name, for people.
    pub name: Arc<str>,
    /// Which packets are its.
    pub target: Target,
    /// Up to which size TCP's ends may offer segments; `None` leaves it to them.
    pub mss_clamp: Option<MssClamp>,
    /// False once it was removed; the slot then waits for its last session.
    pub configured: bool,
    /// What chooses the worker that keeps a flow's session.
    pub owner: Owner,
    /// Whether sessions may be on other workers than `owner` says, since another rule chose theirs.
    /// Sticks while the slot means this service.
    pub strays: bool,
    /// Whether a client stays at its real server, and for how long.
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself, without a session.
    pub one_packet: bool,
    /// What it may have at most.
    pub limits: ServiceLimits,
    /// Where it does as IPVS does, and where not.
    pub policy: Policy,
    /// The immutable half of the scheduler.
    pub scheduler: Scheduler,
    /// The real servers in scheduling order.
    pub candidates: Arc<[Candidate]>,
    /// How the shares of new ones grow.
    pub ramp: Ramp,
    /// Changes whenever the scheduler or the candidates change; never used twice.
    pub revision: u32,
    /// The revision at which this slot began to mean this service.
    pub born: u32,
    /// The revision at which its scheduler was chosen, at its birth or later.
    pub scheduled: u32,
    /// Where a round-robin pointer goes whose real server was removed: to the one before it, or to
    /// the list's head (IPVS: `ip_vs_rr_del_dest`'s effect).
    pub removed: Arc<[Removal]>,
    /// Real servers that were removed but that sessions may still refer to.
    pub former: Arc<[RealId]>,
    /// What real servers counted whose slots have been given back.
    pub past: Totals,
}

/// That a real server was removed from a service's list, where it may be again by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub real: RealId,
    /// The one before it in the list; `None` if there was none.
    pub heir: Option<RealId>,
    /// The service's revision from then on: who has seen it has drawn the consequences.
    pub revision: u32,
}

/// One real server of one service.
#[derive(Debug, Clone)]
pub struct RealServer {
    /// Its slot.
    pub id: RealId,
    /// The service it belongs to.
    pub service: ServiceId,
    /// Where it is.
    pub address: IpAddr,
    /// Its port, host order; 0 is the port that the packet has.
    pub port: u16,
    /// Its share; 0 takes no new sessions.
    pub weight: u32,
    /// Its latest weight that was not 0; 0 if there was none.
    pub last_weight: u32,
    /// When it came, or came back from weight 0, while its service was there.
    pub since: Option<Time>,
    /// Its place in the list, if the service's scheduler takes notice of its sessions.
    pub noticed: Option<u32>,
    /// How many sessions it shall have.
    pub limits: Limits,
    /// How packets of new sessions get there.
    pub forward: ForwardMethod,
    /// How sessions by [`ForwardMethod::Tunnel`] encapsulate.
    pub tunnel: TunnelKind,
    /// Our end of the tunnel, if it is not the address of the port on the way.
    pub tunnel_source: Option<IpAddr>,
    /// The outer TTL of the tunnel, if it is not the inner one's.
    pub tunnel_ttl: Option<u8>,
    /// The tunnel about whose packets errors come back, if there is one.
    pub errors_come_back: Option<TunnelKind>,
    /// Its service's, also after it was removed.
    pub policy: Policy,
    /// How long idle sessions of its service live. Here, where every packet of a session looks anyway.
    pub timeouts: Timeouts,
    /// False once it was removed; the slot then waits for its last session.
    pub configured: bool,
    /// Whether sessions may exist that reach it by NAT, so that its replies are looked up.
    pub replies_come_back: bool,
    /// The way there; `None` when no route leads to it, or it is this machine itself.
    pub egress: Option<Egress>,
    /// What the slot's counters stood at when it began to mean this real server.
    pub baseline: Totals,
}

impl RealServer {
    /// The port at which it gets what was sent to `virtual_port`.
    #[inline]
    #[must_use]
    pub const fn port_for(&self, virtual_port: u16) -> u16 {
        if self.port == 0 {
            virtual_port
        } else {
            self.port
        }
    }
}

/// Sums over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Sessions scheduled.
    pub sessions: u64,
    /// Packets of clients.
    pub in_packets: u64,
    /// Bytes of those.
    pub in_bytes: u64,
    /// Packets of the real server.
    pub out_packets: u64,
    /// Bytes of those.
    pub out_bytes: u64,
    /// Active sessions.
    pub active: u64,
    /// Inactive sessions.
    pub inactive: u64,
    /// Persistence templates.
    pub persistent: u64,
}

impl Totals {
    /// Adds what one worker counted.
    pub fn add_counters(&mut self, counters: &RealCounters) {
        self.sessions += counters.sessions.value();
        self.in_packets += counters.in_packets.value();
        self.in_bytes += counters.in_bytes.value();
        self.out_packets += counters.out_packets.value();
        self.out_bytes += counters.out_bytes.value();
        self.active += u64::from(counters.active.value());
        self.inactive += u64::from(counters.inactive.value());
        self.persistent += u64::from(counters.persistent.value());
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.in_packets += other.in_packets;
        self.in_bytes += other.in_bytes;
        self.out_packets += other.out_packets;
        self.out_bytes += other.out_bytes;
        self.active += other.active;
        self.inactive += other.inactive;
        self.persistent += other.persistent;
    }

    /// What was counted since `baseline`; the numbers of sessions and templates are not relative.
    #[must_use]
    pub fn since(&self, baseline: &Self) -> Self {
        Self {
            sessions: self.sessions.saturating_sub(baseline.sessions),
            in_packets: self.in_packets.saturating_sub(baseline.in_packets),
            in_bytes: self.in_bytes.saturating_sub(baseline.in_bytes),
            out_packets: self.out_packets.saturating_sub(baseline.out_packets),
            out_bytes: self.out_bytes.saturating_sub(baseline.out_bytes),
            active: self.active,
            inactive: self.inactive,
            persistent: self.persistent,
        }
    }
}

/// What one worker keeps per slot. The control thread makes room; only the worker writes.
#[derive(Debug, Clone, Default)]
pub struct WorkerTable {
    /// By [`RealId`].
    pub reals: Chunked<RealCounters>,
    /// The moving half of the schedulers, by [`ServiceId`].
    pub cursors: Chunked<Cursor>,
    /// By [`ServiceId`].
    pub services: Chunked<ServiceCounters>,
}
