//! Which real server takes a new session. One file per scheduler.
//! The immutable half lives in the snapshot, the moving half ([`Moving`]) in the worker.

pub mod destinations;
mod dh;
mod fo;
mod hash;
mod lblc;
mod lblcr;
mod lc;
pub mod mh;
mod nq;
mod ovf;
mod rr;
mod sed;
pub mod sh;
pub mod threshold;
mod wlc;
pub mod wrr;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::snapshot::id::RealId;
use crate::snapshot::model::VirtualService;
use crate::time::Time;
use destinations::Destinations;
pub use hash::HashFlags;
use threshold::Limits;

/// The schedulers by the names that `ipvsadm -s` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connection.
    Lc,
    /// Weighted least connection.
    Wlc,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Source hashing.
    Sh(HashFlags),
    /// Destination hashing.
    Dh,
    /// Maglev hashing.
    Mh(HashFlags),
    /// Locality-based least connection.
    Lblc,
    /// Locality-based least connection with replication.
    Lblcr,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
}

impl SchedulerKind {
    /// The settings by the names that `ipvsadm -b` takes, in its order.
    #[must_use]
    pub fn flags(self) -> Vec<&'static str> {
        let (flags, names) = match self {
            Self::Sh(flags) => (flags, ["sh-fallback", "sh-port"]),
            Self::Mh(flags) => (flags, ["mh-fallback", "mh-port"]),
            _ => return Vec::new(),
        };
        let set = [flags.fallback, flags.port].into_iter().zip(names);
        set.filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Sh(_) => "sh",
            Self::Dh => "dh",
            Self::Mh(_) => "mh",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
        })
    }
}

/// A real server as a scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its slot.
    pub real: RealId,
    /// Its share; 0 takes no new sessions.
    pub weight: u32,
    /// How many sessions it shall have.
    pub limits: Limits,
}

/// A real server as the tables of the schedulers by hash are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// What the scheduler will see.
    pub candidate: Candidate,
    /// Where it is.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its latest weight that was not 0; 0 if there was none.
    pub last_weight: u32,
}

/// The sessions of a real server, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Sessions in an active state.
    pub active: u64,
    /// All others.
    pub inactive: u64,
}

/// What the schedulers ask about real servers while they choose.
pub trait Loads {
    /// A real server's present sessions.
    fn load(&self, real: RealId) -> Load;
    /// Whether it has reached its upper threshold and not fallen below the lower one since.
    fn is_overloaded(&self, candidate: &Candidate) -> bool;
}

/// Whether a real server takes new sessions at all.
#[inline]
fn takes_sessions(candidate: &Candidate, loads: &impl Loads) -> bool {
    candidate.weight > 0 && !loads.is_overloaded(candidate)
}

/// What the schedulers by hash and by locality know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Who sent it.
    pub client: IpAddr,
    /// From which port, host order.
    pub client_port: u16,
    /// To which address.
    pub virtual_address: IpAddr,
}

/// The immutable half: what is computed from the real servers once, on the control thread.
#[derive(Debug, Clone)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr(wrr::Plan),
    /// Least connection.
    Lc,
    /// Weighted least connection.
    Wlc,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Source hashing.
    Sh(sh::Plan),
    /// Destination hashing.
    Dh,
    /// Maglev hashing.
    Mh(mh::Plan),
    /// Locality-based least connection.
    Lblc,
    /// Locality-based least connection with replication.
    Lblcr,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
}

impl Scheduler {
    /// What `kind` needs to know of `servers`.
    #[must_use]
    pub fn new(kind: SchedulerKind, servers: &[Server]) -> Self {
        match kind {
            SchedulerKind::Rr => Self::Rr,
            SchedulerKind::Wrr => Self::Wrr(wrr::Plan::new(servers)),
            SchedulerKind::Lc => Self::Lc,
            SchedulerKind::Wlc => Self::Wlc,
            SchedulerKind::Sed => Self::Sed,
            SchedulerKind::Nq => Self::Nq,
            SchedulerKind::Sh(flags) => Self::Sh(sh::Plan::new(servers, flags)),
            SchedulerKind::Dh => Self::Dh,
            SchedulerKind::Mh(flags) => Self::Mh(mh::Plan::new(servers, flags)),
            SchedulerKind::Lblc => Self::Lblc,
            SchedulerKind::Lblcr => Self::Lblcr,
            SchedulerKind::Fo => Self::Fo,
            SchedulerKind::Ovf => Self::Ovf,
        }
    }

    /// Which scheduler this is.
    #[must_use]
    pub fn kind(&self) -> SchedulerKind {
        match self {
            Self::Rr => SchedulerKind::Rr,
            Self::Wrr(_) => SchedulerKind::Wrr,
            Self::Lc => SchedulerKind::Lc,
            Self::Wlc => SchedulerKind::Wlc,
            Self::Sed => SchedulerKind::Sed,
            Self::Nq => SchedulerKind::Nq,
            Self::Sh(plan) => SchedulerKind::Sh(plan.flags()),
            Self::Dh => SchedulerKind::Dh,
            Self::Mh(plan) => SchedulerKind::Mh(plan.flags()),
            Self::Lblc => SchedulerKind::Lblc,
            Self::Lblcr => SchedulerKind::Lblcr,
            Self::Fo => SchedulerKind::Fo,
            Self::Ovf => SchedulerKind::Ovf,
        }
    }
}

/// The moving half on one worker.
#[derive(Debug)]
pub struct Moving<'w> {
    /// The service's.
    pub cursor: &'w Cursor,
    /// All services'.
    pub destinations: &'w mut Destinations,
}

/// The moving half of one service's scheduler on one worker.
///
/// Atomics because the control thread allocates it inside a shared array; only the worker writes.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The service's revision that the other fields fit; 0 for a slot never used.
    revision: AtomicU32,
    /// 1 + the place of the real server used last; 0 stands before the first.
    next: AtomicU32,
    /// The real server used last, which finds the place again when the list changes.
    last: AtomicU32,
    /// The weight that a real server must have in this pass (wrr).
    pass_weight: AtomicU32,
}

/// `Cursor::last` when no real server was used yet.
const NO_REAL: u32 = u32::MAX;

impl Cursor {
    fn next(&self) -> usize {
        self.next.load(Ordering::Relaxed) as usize
    }

    /// Remembers that the candidate at `place` was used.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "slots, and so places, are 32-bit"
    )]
    fn used(&self, place: usize, real: RealId) {
        self.next.store(place as u32 + 1, Ordering::Relaxed);
        self.last.store(real.0, Ordering::Relaxed);
    }

    fn rewind(&self) {
        self.next.store(0, Ordering::Relaxed);
        self.last.store(NO_REAL, Ordering::Relaxed);
    }

    fn pass_weight(&self) -> u32 {
        self.pass_weight.load(Ordering::Relaxed)
    }

    fn set_pass_weight(&self, weight: u32) {
        self.pass_weight.store(weight, Ordering::Relaxed);
    }

    /// Fits the cursor to the service's present list, as IPVS does when real servers come and go.
    #[cold]
    fn adapt(&self, service: &VirtualService, start: Start) {
        // Revisions are never reused, so an older one than the slot's birth was another service's.
        let fresh = self.revision.load(Ordering::Relaxed) < service.born;
        if fresh {
            self.rewind();
        }
        // Only wrr has a threshold, so one that is left over tells of a change of scheduler; IPVS
        // begins the new one from the start.
        let was_wrr = self.pass_weight() != 0;
        match &service.scheduler {
            Scheduler::Rr if fresh => rr::begin(self, service, start),
            Scheduler::Rr if was_wrr => self.rewind(),
            Scheduler::Rr => rr::adapt(self, service),
            Scheduler::Wrr(plan) => wrr::adapt(self, *plan, fresh),
            _ => self.rewind(),
        }
        if !matches!(service.scheduler, Scheduler::Wrr(_)) {
            self.set_pass_weight(0);
        }
        self.revision.store(service.revision, Ordering::Relaxed);
    }
}

/// Where a worker's round-robin pointer begins, so that several workers do not all begin at the
/// same real server: worker `worker` of `workers` skips its share of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// This worker, from 0.
    pub worker: usize,
    /// All of them, at least 1.
    pub workers: usize,
}

/// Chooses a real server for a new session; `None` when none may take it.
pub fn choose(
    service: &VirtualService,
    moving: Moving<'_>,
    start: Start,
    flow: Flow,
    loads: &impl Loads,
    now: Time,
) -> Option<RealId> {
    let Moving {
        cursor,
        destinations,
    } = moving;
    if cursor.revision.load(Ordering::Relaxed) != service.revision {
        cursor.adapt(service, start);
    }
    let candidates = &*service.candidates;
    let key = || destinations::Key {
        service: service.id,
        born: service.born,
        address: flow.virtual_address,
    };
    match &service.scheduler {
        Scheduler::Rr => rr::choose(cursor, candidates, loads),
        Scheduler::Wrr(plan) => wrr::choose(cursor, *plan, candidates, loads),
        Scheduler::Lc => lc::choose(candidates, loads),
        Scheduler::Wlc => wlc::choose(candidates, loads),
        Scheduler::Sed => sed::choose(candidates, loads),
        Scheduler::Nq => nq::choose(candidates, loads),
        Scheduler::Sh(plan) => sh::choose(plan, candidates, flow, loads),
        Scheduler::Dh => dh::choose(candidates, flow, loads),
        Scheduler::Mh(plan) => mh::choose(plan, candidates, flow, loads),
        Scheduler::Lblc => lblc::choose(destinations, key(), candidates, loads, now),
        Scheduler::Lblcr => lblcr::choose(destinations, key(), candidates, loads, now),
        Scheduler::Fo => fo::choose(candidates, loads),
        Scheduler::Ovf => ovf::choose(candidates, loads),
    }
}

#[cfg(test)]
mod tests;
