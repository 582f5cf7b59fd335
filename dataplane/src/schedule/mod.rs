//! Which real server takes a new session. One file per scheduler.
//! The immutable half lives in the snapshot, the moving half ([`Cursor`]) in the worker.

pub mod lc;
pub mod rr;
pub mod wrr;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::snapshot::id::RealId;
use crate::snapshot::model::VirtualService;

/// The schedulers by the names that `ipvsadm -s` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connection.
    Lc,
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
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
}

/// The sessions of a real server, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Sessions in an active state.
    pub active: u64,
    /// All others.
    pub inactive: u64,
}

/// The immutable half: what is computed from the weights once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr(wrr::Plan),
    /// Least connection.
    Lc,
}

impl Scheduler {
    /// What `kind` needs to know of `candidates`.
    #[must_use]
    pub fn new(kind: SchedulerKind, candidates: &[Candidate]) -> Self {
        match kind {
            SchedulerKind::Rr => Self::Rr,
            SchedulerKind::Wrr => Self::Wrr(wrr::Plan::new(candidates)),
            SchedulerKind::Lc => Self::Lc,
        }
    }

    /// Which scheduler this is.
    #[must_use]
    pub fn kind(self) -> SchedulerKind {
        match self {
            Self::Rr => SchedulerKind::Rr,
            Self::Wrr(_) => SchedulerKind::Wrr,
            Self::Lc => SchedulerKind::Lc,
        }
    }
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
        match service.scheduler {
            Scheduler::Rr if fresh => rr::begin(self, service, start),
            Scheduler::Rr if was_wrr => self.rewind(),
            Scheduler::Rr => rr::adapt(self, service),
            Scheduler::Wrr(plan) => wrr::adapt(self, plan, fresh),
            Scheduler::Lc => self.rewind(),
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
///
/// `load` tells a real server's present sessions.
pub fn choose(
    service: &VirtualService,
    cursor: &Cursor,
    start: Start,
    load: impl Fn(RealId) -> Load,
) -> Option<RealId> {
    if cursor.revision.load(Ordering::Relaxed) != service.revision {
        cursor.adapt(service, start);
    }
    match service.scheduler {
        Scheduler::Rr => rr::choose(cursor, &service.candidates),
        Scheduler::Wrr(plan) => wrr::choose(cursor, plan, &service.candidates),
        Scheduler::Lc => lc::choose(&service.candidates, load),
    }
}

#[cfg(test)]
mod tests;
