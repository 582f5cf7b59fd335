//! What a new session may claim of the session table: its service's share, and whose sessions leave for it.
//! Which of these is worth the least is the table's to say (`session/worth.rs`); no packet is looked at.

use super::balance::Moved;
use crate::flow::Address;
use crate::session::{Claim, EvictionPolicy, Flags, Gone, Session, Standing};
use crate::snapshot::Snapshot;
use crate::snapshot::id::{RealId, ServiceId};
use crate::stats::{Gauge, RealCounters, ServiceCounters, WorkerStats};

/// A service with more than one in so many of a full table's places evicts its own sessions, or is refused.
const SHARE: usize = 2;

/// One in so many of a table's places is kept for services that do not have more than their share, as long as there
/// are other services.
const RESERVE: usize = 16;

/// A new session of a service on one worker, before a session table.
#[derive(Debug)]
pub(super) struct Admission<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) stats: &'a WorkerStats,
    pub(super) worker: usize,
    pub(super) service: ServiceId,
    pub(super) capacity: usize,
    /// Whether the service has as many sessions as it may.
    pub(super) at_limit: bool,
}

impl Admission<'_> {
    fn counters(&self, service: ServiceId) -> Option<&ServiceCounters> {
        let own = self.snapshot.workers.get(self.worker)?;
        own.services.get(service.0)
    }

    /// Whether a service has more than its share of the table.
    fn exceeds_share(&self, service: ServiceId) -> bool {
        self.counters(service)
            .is_some_and(|counters| counters.entries.value() as usize > self.capacity / SHARE)
    }

    fn claim(&self, owner: ServiceId) -> Claim {
        if owner == self.service {
            Claim::Yes
        } else if self.at_limit {
            Claim::No
        } else if self.exceeds_share(self.service) {
            Claim::IfFinished
        } else if self.exceeds_share(owner) {
            Claim::Sooner
        } else {
            Claim::Yes
        }
    }
}

impl<A: Address> EvictionPolicy<A> for Admission<'_> {
    fn is_full(&self, len: usize, capacity: usize) -> bool {
        let kept = if self.snapshot.has_several_services() && self.exceeds_share(self.service) {
            capacity / RESERVE
        } else {
            0
        };
        self.at_limit || len >= capacity - kept
    }

    fn standing(&self, session: &Session<A>) -> Standing {
        match self.snapshot.real(session.real()) {
            Some(real) => Standing {
                timeout_ms: real.timeouts.ms(session.state()),
                claim: self.claim(real.service),
            },
            // Nobody can use it any more.
            None => Standing {
                timeout_ms: 0,
                claim: Claim::Sooner,
            },
        }
    }

    fn left(&mut self, session: &Session<A>, why: Gone) {
        if let Gone::Evicted(cause) = why {
            self.stats.evict(cause);
        }
        uncount(self.snapshot, self.worker, session);
    }
}

/// Whether a session was entered or has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Entered,
    Left,
}

impl Turn {
    #[inline]
    fn count(self, gauge: &Gauge) {
        match self {
            Self::Entered => gauge.increase(),
            Self::Left => gauge.decrease(),
        }
    }
}

/// Counts a session that has been entered.
pub(super) fn count_entered<A: Address>(snapshot: &Snapshot, worker: usize, session: &Session<A>) {
    count(snapshot, worker, session, Turn::Entered);
}

/// Counts a session that has left the table.
pub(super) fn uncount<A: Address>(snapshot: &Snapshot, worker: usize, session: &Session<A>) {
    count(snapshot, worker, session, Turn::Left);
}

fn count<A: Address>(snapshot: &Snapshot, worker: usize, session: &Session<A>, turn: Turn) {
    let (Some(own), Some(real)) = (snapshot.workers.get(worker), snapshot.real(session.real()))
    else {
        return;
    };
    let is_template = session.flags().contains(Flags::TEMPLATE);
    if let Some(counters) = own.services.get(real.service.0) {
        turn.count(&counters.entries);
        if !is_template && session.state().is_live() {
            turn.count(&counters.live);
        }
    }
    let Some(counters) = own.reals.get(session.real().0) else {
        return;
    };
    let is_active = session.state().is_active();
    match (turn, is_template) {
        (Turn::Entered, true) => counters.enter_template(),
        (Turn::Left, true) => counters.leave_template(),
        (Turn::Entered, false) => counters.enter(is_active),
        (Turn::Left, false) => counters.leave(is_active),
    }
    if !is_template {
        snapshot.settle(worker, session.real());
    }
}

/// Counts a session of the real server `id` whose state has changed.
#[inline]
pub(super) fn recount(
    snapshot: &Snapshot,
    worker: usize,
    counters: &RealCounters,
    id: RealId,
    (before, after): Moved,
) {
    if before.is_live() != after.is_live() {
        recount_live(snapshot, worker, id, after.is_live());
    }
    if counters.shift(before.is_active(), after.is_active()) {
        snapshot.settle(worker, id);
    }
}

#[cold]
fn recount_live(snapshot: &Snapshot, worker: usize, id: RealId, is_live: bool) {
    let own = snapshot.workers.get(worker).zip(snapshot.real(id));
    if let Some(counters) = own.and_then(|(own, real)| own.services.get(real.service.0)) {
        let turn = if is_live { Turn::Entered } else { Turn::Left };
        turn.count(&counters.live);
    }
}
