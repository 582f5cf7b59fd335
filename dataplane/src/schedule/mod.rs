//! Which real server takes a new session. One file per scheduler.
//! The immutable half lives in the snapshot, the moving half ([`Moving`]) in the worker.

pub mod destinations;
mod dh;
mod fo;
mod hash;
mod kind;
mod lblc;
mod lblcr;
mod lc;
pub mod mh;
mod nq;
mod ovf;
pub mod p2c;
pub mod ramp;
pub mod random;
mod rank;
pub mod ranking;
mod rr;
mod sed;
pub mod sh;
pub mod swrr;
pub mod threshold;
mod wlc;
pub mod wrr;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::snapshot::id::RealId;
use crate::snapshot::model::VirtualService;
use crate::time::Time;
use destinations::Destinations;
pub use hash::HashFlags;
pub use kind::SchedulerKind;
use ramp::in_turn;
use random::Random;
use rank::Measure;
use ranking::Ranking;
use threshold::Limits;

/// A real server as a scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its slot.
    pub real: RealId,
    /// Its share; 0 takes no new sessions.
    pub weight: u32,
    /// How many sessions it shall have.
    pub limits: Limits,
    /// When it came, or came back from weight 0, while the service was there; what slow start counts
    /// from.
    pub since: Option<Time>,
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
    /// Smooth weighted round robin.
    Swrr(swrr::Plan),
    /// One of the four that compare loads: `lc`, `wlc`, `sed`, `nq`.
    Least(Ranking),
    /// Power of two choices.
    P2c(p2c::Plan),
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
    /// What `kind` needs to know of `servers`, with room for what each of `workers` workers keeps
    /// of them.
    #[must_use]
    pub fn new(kind: SchedulerKind, servers: &[Server], workers: usize) -> Self {
        let least = |measure| Self::Least(Ranking::new(measure, servers.len(), workers));
        match kind {
            SchedulerKind::Rr => Self::Rr,
            SchedulerKind::Wrr => Self::Wrr(wrr::Plan::new(servers)),
            SchedulerKind::Swrr => Self::Swrr(swrr::Plan::new(servers)),
            SchedulerKind::Lc => least(Measure::Lc),
            SchedulerKind::Wlc => least(Measure::Wlc),
            SchedulerKind::P2c => Self::P2c(p2c::Plan::new(servers)),
            SchedulerKind::Sed => least(Measure::Sed),
            SchedulerKind::Nq => least(Measure::Nq),
            SchedulerKind::Sh(flags) => Self::Sh(sh::Plan::new(servers, flags)),
            SchedulerKind::Dh => Self::Dh,
            SchedulerKind::Mh(flags, maglev) => Self::Mh(mh::Plan::new(servers, flags, maglev)),
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
            Self::Swrr(_) => SchedulerKind::Swrr,
            Self::Least(ranking) => match ranking.measure {
                Measure::Lc => SchedulerKind::Lc,
                Measure::Wlc => SchedulerKind::Wlc,
                Measure::Sed => SchedulerKind::Sed,
                Measure::Nq => SchedulerKind::Nq,
            },
            Self::P2c(_) => SchedulerKind::P2c,
            Self::Sh(plan) => SchedulerKind::Sh(plan.flags()),
            Self::Dh => SchedulerKind::Dh,
            Self::Mh(plan) => plan.kind(),
            Self::Lblc => SchedulerKind::Lblc,
            Self::Lblcr => SchedulerKind::Lblcr,
            Self::Fo => SchedulerKind::Fo,
            Self::Ovf => SchedulerKind::Ovf,
        }
    }

    /// Whether [`notice`] must be told of sessions that come, go and turn.
    #[must_use]
    pub fn takes_notice(&self) -> bool {
        matches!(self, Self::Least(ranking) if ranking.is_kept())
    }
}

/// The moving half on one worker.
#[derive(Debug)]
pub struct Moving<'w> {
    /// The service's.
    pub cursor: &'w Cursor,
    /// All services'.
    pub destinations: &'w mut Destinations,
    /// The worker's.
    pub random: &'w mut Random,
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
    /// 1 + the next turn to be given away (swrr); 0 with every other scheduler.
    spare: AtomicU32,
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

    #[expect(
        clippy::cast_possible_truncation,
        reason = "turns are bounded by `swrr`"
    )]
    fn set_next(&self, next: usize) {
        self.next.store(next as u32, Ordering::Relaxed);
    }

    fn spare(&self) -> usize {
        self.spare.load(Ordering::Relaxed).saturating_sub(1) as usize
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "turns are bounded by `swrr`"
    )]
    fn set_spare(&self, turn: usize) {
        self.spare.store(turn as u32 + 1, Ordering::Relaxed);
    }

    fn rewind(&self) {
        self.next.store(0, Ordering::Relaxed);
        self.last.store(NO_REAL, Ordering::Relaxed);
        self.spare.store(0, Ordering::Relaxed);
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
        let seen = self.revision.load(Ordering::Relaxed);
        // Revisions are never reused, so an older one than the slot's birth was another service's.
        let fresh = seen < service.born;
        // As in IPVS a scheduler that comes to a list begins from its start.
        let begins = seen < service.scheduled && service.scheduled > service.born;
        if fresh || begins {
            self.rewind();
        }
        match &service.scheduler {
            Scheduler::Rr if begins => {}
            Scheduler::Rr if fresh => rr::begin(self, service, start),
            Scheduler::Rr => rr::adapt(self, service, seen),
            Scheduler::Wrr(plan) => {
                if begins {
                    self.set_pass_weight(0);
                }
                wrr::adapt(self, *plan, fresh && !begins);
            }
            Scheduler::Swrr(plan) => swrr::adapt(self, plan, start, fresh || begins),
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
        random,
    } = moving;
    if cursor.revision.load(Ordering::Relaxed) != service.revision {
        cursor.adapt(service, start);
    }
    let candidates = &*service.candidates;
    let shares = service.ramp.at(now);
    let key = || destinations::Key {
        service: service.id,
        born: service.born,
        address: flow.virtual_address,
    };
    match &service.scheduler {
        Scheduler::Rr => in_turn(loads, shares, random, |loads, _| {
            rr::choose(cursor, candidates, loads)
        }),
        Scheduler::Wrr(plan) => in_turn(loads, shares, random, |loads, _| {
            wrr::choose(cursor, *plan, candidates, loads)
        }),
        Scheduler::Swrr(plan) => in_turn(loads, shares, random, |loads, _| {
            swrr::choose(cursor, plan, candidates, loads)
        }),
        Scheduler::Least(ranking) => ranking.choose(start.worker, candidates, loads, shares, now),
        Scheduler::P2c(plan) => in_turn(loads, shares, random, |loads, random| {
            p2c::choose(plan, candidates, random, loads, shares)
        })
        .or_else(|| {
            let least = Measure::Wlc.least(candidates, loads, shares);
            least.map(|candidate| candidate.real)
        }),
        Scheduler::Sh(plan) => sh::choose(plan, candidates, flow, loads),
        Scheduler::Dh => dh::choose(candidates, flow, loads),
        Scheduler::Mh(plan) => mh::choose(plan, candidates, flow, loads),
        Scheduler::Lblc => lblc::choose(destinations, key(), candidates, loads, shares, now),
        Scheduler::Lblcr => lblcr::choose(destinations, key(), candidates, loads, shares, now),
        Scheduler::Fo => fo::choose(candidates, loads),
        Scheduler::Ovf => ovf::choose(candidates, loads),
    }
}

/// Has the service's scheduler take notice that sessions have come, gone or turned active or
/// inactive on `worker`, of the real server at `place` in the list. For schedulers of which
/// [`Scheduler::takes_notice`].
pub fn notice(service: &VirtualService, worker: usize, place: usize, loads: &impl Loads) {
    if let Scheduler::Least(ranking) = &service.scheduler {
        ranking.notice(worker, place, &service.candidates, loads, service.ramp);
    }
}

#[cfg(test)]
mod tests;
