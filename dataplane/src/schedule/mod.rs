//! Which real server takes a new session. One file per scheduler.
//! The immutable half lives in the snapshot, the moving half ([`Moving`]) in the worker.

mod candidate;
mod cursor;
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

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::id::{RealId, ServiceId};
use crate::spec::scheduler::SchedulerKind;
use crate::time::Time;
pub use candidate::{Candidate, Flow, Load, Loads, Removal, Server};
pub use cursor::{Cursor, Start};
use destinations::Destinations;
use ramp::{Ramp, in_turn};
use random::Random;
use rank::Measure;
use ranking::Ranking;

/// The immutable half: what is computed from the real servers once, on the control thread.
#[derive(Debug, Clone)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr(wrr::Passes),
    /// Smooth weighted round robin.
    Swrr(swrr::TurnOrder),
    /// One of the four that compare loads: `lc`, `wlc`, `sed`, `nq`.
    Least(Ranking),
    /// Power of two choices.
    P2c(p2c::AliasTable),
    /// Source hashing.
    Sh(sh::LookupTable),
    /// Destination hashing.
    Dh,
    /// Maglev hashing.
    Mh(mh::LookupTable),
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
            SchedulerKind::Wrr => Self::Wrr(wrr::Passes::new(servers)),
            SchedulerKind::Swrr => Self::Swrr(swrr::TurnOrder::new(servers)),
            SchedulerKind::Lc => least(Measure::Lc),
            SchedulerKind::Wlc => least(Measure::Wlc),
            SchedulerKind::P2c => Self::P2c(p2c::AliasTable::new(servers)),
            SchedulerKind::Sed => least(Measure::Sed),
            SchedulerKind::Nq => least(Measure::Nq),
            SchedulerKind::Sh(flags) => Self::Sh(sh::LookupTable::new(servers, flags)),
            SchedulerKind::Dh => Self::Dh,
            SchedulerKind::Mh(flags, maglev) => {
                Self::Mh(mh::LookupTable::new(servers, flags, maglev))
            }
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
            Self::Sh(table) => SchedulerKind::Sh(table.flags()),
            Self::Dh => SchedulerKind::Dh,
            Self::Mh(table) => table.kind(),
            Self::Lblc => SchedulerKind::Lblc,
            Self::Lblcr => SchedulerKind::Lblcr,
            Self::Fo => SchedulerKind::Fo,
            Self::Ovf => SchedulerKind::Ovf,
        }
    }

    /// Whether [`update_ranking`] must be called when sessions are added or removed, or become active or inactive.
    #[must_use]
    pub fn keeps_ranking(&self) -> bool {
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

/// What of a service its scheduler goes by.
#[derive(Debug, Clone)]
pub struct Scheduling {
    /// Its slot.
    pub service: ServiceId,
    /// The immutable half of the scheduler.
    pub scheduler: Scheduler,
    /// The real servers in scheduling order.
    pub candidates: Arc<[Candidate]>,
    /// How the shares of new ones grow.
    pub ramp: Ramp,
    /// Where a round-robin pointer goes whose real server was removed: to the one before it, or to
    /// the list's head (IPVS: `ip_vs_rr_del_dest`'s effect).
    pub removed: Arc<[Removal]>,
    /// Changes whenever the scheduler or the candidates change; never used twice.
    pub revision: u32,
    /// The revision at which this service was added to its slot.
    pub first_revision: u32,
    /// The revision at which its scheduler was set: `first_revision` or a later one.
    pub scheduled: u32,
}

/// Fits the cursor to the service's present list, as IPVS does when real servers come and go.
#[cold]
fn adapt(cursor: &Cursor, service: &Scheduling, start: Start) {
    let seen = cursor.revision.load(Ordering::Relaxed);
    // Revisions are never reused, so one before `first_revision` belongs to an earlier service in this slot.
    let fresh = seen < service.first_revision;
    // As in IPVS, a scheduler that was changed begins at the head of the list.
    let begins = seen < service.scheduled && service.scheduled > service.first_revision;
    if fresh || begins {
        cursor.rewind();
    }
    match &service.scheduler {
        Scheduler::Rr if begins => {}
        Scheduler::Rr if fresh => rr::begin(cursor, &service.candidates, start),
        Scheduler::Rr => rr::adapt(cursor, &service.candidates, &service.removed, seen),
        Scheduler::Wrr(passes) => {
            if begins {
                cursor.set_pass_weight(0);
            }
            wrr::adapt(cursor, *passes, fresh && !begins);
        }
        Scheduler::Swrr(order) => swrr::adapt(cursor, order, start, fresh || begins),
        _ => cursor.rewind(),
    }
    if !matches!(service.scheduler, Scheduler::Wrr(_)) {
        cursor.set_pass_weight(0);
    }
    cursor.revision.store(service.revision, Ordering::Relaxed);
}

/// Chooses a real server for a new session; `None` when none may take it.
pub fn choose(
    service: &Scheduling,
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
        adapt(cursor, service, start);
    }
    let candidates = &*service.candidates;
    let shares = service.ramp.at(now);
    let key = || destinations::Key {
        service: service.service,
        first_revision: service.first_revision,
        address: flow.virtual_address,
    };
    match &service.scheduler {
        Scheduler::Rr => in_turn(loads, shares, random, |loads, _| {
            rr::choose(cursor, candidates, loads)
        }),
        Scheduler::Wrr(passes) => in_turn(loads, shares, random, |loads, _| {
            wrr::choose(cursor, *passes, candidates, loads)
        }),
        Scheduler::Swrr(order) => in_turn(loads, shares, random, |loads, _| {
            swrr::choose(cursor, order, candidates, loads)
        }),
        Scheduler::Least(ranking) => ranking.choose(start.worker, candidates, loads, shares, now),
        Scheduler::P2c(table) => in_turn(loads, shares, random, |loads, random| {
            p2c::choose(table, candidates, random, loads, shares)
        })
        .or_else(|| {
            let least = Measure::Wlc.least(candidates, loads, shares);
            least.map(|candidate| candidate.real)
        }),
        Scheduler::Sh(table) => sh::choose(table, candidates, flow, loads),
        Scheduler::Dh => dh::choose(candidates, flow, loads),
        Scheduler::Mh(table) => mh::choose(table, candidates, flow, loads),
        Scheduler::Lblc => lblc::choose(destinations, key(), candidates, loads, shares, now),
        Scheduler::Lblcr => lblcr::choose(destinations, key(), candidates, loads, shares, now),
        Scheduler::Fo => fo::choose(candidates, loads),
        Scheduler::Ovf => ovf::choose(candidates, loads),
    }
}

/// Updates the scheduler's ranking after sessions on `worker`, of the real server at `place` in the list, were added or
/// removed, or became active or inactive. Does nothing unless [`Scheduler::keeps_ranking`].
pub fn update_ranking(service: &Scheduling, worker: usize, place: usize, loads: &impl Loads) {
    if let Scheduler::Least(ranking) = &service.scheduler {
        ranking.update(worker, place, &service.candidates, loads, service.ramp);
    }
}

#[cfg(test)]
mod tests;
