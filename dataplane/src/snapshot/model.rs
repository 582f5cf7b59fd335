//! What the packet path reads: services, real servers and ports in their compiled form.
//! Nothing here changes after it was built, except counters.

use std::sync::Arc;

use super::chunked::Chunked;
use super::owner::Owner;
use super::route::Egress;
use crate::id::{RealId, ServiceId};
use crate::schedule::{Cursor, Scheduling};
use crate::spec::forward::{MssClamp, TunnelKind};
use crate::spec::limits::ServiceLimits;
use crate::spec::policy::Policy;
use crate::spec::service::{Availability, Persistence, RealSpec, Remaining};
use crate::spec::target::Target;
use crate::spec::timeouts::Timeouts;
use crate::stats::{RealCounters, ServiceCounters};
use crate::time::Time;

/// One virtual service.
///
/// What [`ServiceSpec`](crate::spec::service::ServiceSpec) says of it lies flat beside what is computed, since the
/// first packet of each session reads both. The builder takes the specification apart without `..`, so nothing of it
/// is forgotten.
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
    /// Whether sessions may be on other workers than `owner` says, because an earlier rule chose their owners.
    /// Once set, it stays set until the slot is reused.
    pub may_have_misplaced: bool,
    /// Whether a client stays at its real server, and for how long.
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself, without a session.
    pub one_packet: bool,
    /// What it may have at most.
    pub limits: ServiceLimits,
    /// Where it does as IPVS does, and where not.
    pub policy: Policy,
    /// How a real server is chosen.
    pub scheduling: Scheduling,
    /// Real servers that were removed but that sessions may still refer to.
    pub former: Arc<[RealId]>,
    /// What real servers counted whose slots have been given back.
    pub past: Totals,
}

/// One real server of one service.
#[derive(Debug, Clone)]
pub struct RealServer {
    /// Its slot.
    pub id: RealId,
    /// The service it belongs to.
    pub service: ServiceId,
    /// What the configuration says of it; of a removed one, what it last said.
    pub spec: RealSpec,
    /// Its latest weight that was not 0; 0 if there was none.
    pub last_weight: u32,
    /// When it came, or came back from weight 0, while its service was there.
    pub since: Option<Time>,
    /// Its place in the list of real servers, if the service's scheduler keeps a ranking of them by load.
    pub ranking_place: Option<u32>,
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
    /// The route to it; `None` when there is none, or it is this machine itself.
    pub egress: Option<Egress>,
    /// What the slot's counters stood at when it began to mean this real server.
    pub baseline: Totals,
}

impl RealServer {
    /// The port at which it gets what was sent to `virtual_port`.
    #[inline]
    #[must_use]
    pub const fn port_for(&self, virtual_port: u16) -> u16 {
        if self.spec.port == 0 {
            virtual_port
        } else {
            self.spec.port
        }
    }

    /// Whether it may take new sessions, as far as its weight and load let it.
    #[inline]
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.configured && self.spec.availability.is_available()
    }

    /// What becomes of the sessions that it has.
    #[inline]
    #[must_use]
    pub const fn remaining(&self) -> Remaining {
        if !self.configured {
            return Remaining::Gone(self.policy.on_down);
        }
        match self.spec.availability {
            Availability::Available => Remaining::Kept,
            Availability::Unavailable(remaining) => remaining,
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
