//! What a new session may take of the session table: its service's share, and whose sessions leave for it.
//! Which of these is worth the least is the table's to say (`session/worth.rs`); no packet is looked at.

use crate::flow::Address;
use crate::id::{RealId, ServiceId};
use crate::pipeline::action::Context;
use crate::session::{EvictionPolicy, EvictionTerms, Flags, Gone, MayEvict, Moved, Session};
use crate::snapshot::model::RealServer;
use crate::stats::{Gauge, RealCounters, ServiceCounters, WorkerStats};
use crate::verdict::EvictionCause;

/// A service with more than one in so many of a full table's places evicts its own sessions, or is refused.
const SHARE: usize = 2;

/// One in so many of a table's places is kept, as long as there are several services, for those of them that have no
/// more than as many: two popular ones must not lock out the rest either.
const RESERVE: usize = 16;

/// A new session of a service on one worker, before a session table.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) stats: &'a WorkerStats,
    pub(crate) service: ServiceId,
    /// What the worker counts of that service.
    pub(crate) counters: &'a ServiceCounters,
    pub(crate) capacity: usize,
    /// Whether the service has as many sessions as it may, so that one of those has to leave for another.
    pub(crate) at_limit: bool,
}

impl Admission<'_> {
    /// Whether a service with these counters has more than one in `parts` of the table's places.
    fn exceeds(&self, counters: &ServiceCounters, parts: usize) -> bool {
        counters.entries.value() as usize > self.capacity / parts
    }

    fn has_too_many(&self, service: ServiceId) -> bool {
        let counters = self.context.own.services.get(service.0);
        counters.is_some_and(|counters| self.exceeds(counters, SHARE))
    }

    /// Whether a session of `owner` may be evicted, which counts against its limit or does not.
    fn may_evict(&self, owner: ServiceId, is_limited: bool) -> MayEvict {
        if self.at_limit {
            // Another one would leave the service at its limit.
            return if owner == self.service && is_limited {
                MayEvict::Yes
            } else {
                MayEvict::No
            };
        }
        if owner == self.service {
            MayEvict::Yes
        } else if self.exceeds(self.counters, SHARE) {
            MayEvict::IfFinished
        } else if self.has_too_many(owner) {
            MayEvict::First
        } else {
            MayEvict::Yes
        }
    }
}

impl<A: Address> EvictionPolicy<A> for Admission<'_> {
    fn is_full(&self, len: usize, capacity: usize) -> bool {
        let kept = if self.context.snapshot.has_several_services()
            && self.exceeds(self.counters, RESERVE)
        {
            capacity / RESERVE
        } else {
            0
        };
        self.at_limit || len >= capacity - kept
    }

    fn terms(&self, session: &Session<A>) -> EvictionTerms {
        match self.context.snapshot.real(session.real()) {
            Some(real) => EvictionTerms {
                timeout_ms: real.timeouts.ms(session.state()),
                may_evict: self.may_evict(real.service, is_limited(session)),
            },
            // Nobody can use it any more.
            None => EvictionTerms {
                timeout_ms: 0,
                may_evict: MayEvict::First,
            },
        }
    }

    fn owner(&self) -> u32 {
        self.service.0
    }

    fn left(&mut self, session: &Session<A>, why: Gone) {
        if let Gone::Evicted(cause) = why {
            self.stats.evict(if self.at_limit {
                EvictionCause::Limit
            } else {
                cause
            });
        }
        uncount(self.context, session);
        self.at_limit = self.at_limit && self.context.snapshot.is_at_limit(self.service);
    }
}

fn is_limited<A: Address>(session: &Session<A>) -> bool {
    !session.flags().contains(Flags::TEMPLATE) && session.counted().is_limited()
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

/// What one worker counts of a session: with its service and with its real server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters<'a> {
    pub(crate) service: &'a ServiceCounters,
    pub(crate) real: &'a RealCounters,
}

impl<'a> Counters<'a> {
    /// Those of a session with this real server.
    #[inline]
    pub(crate) fn of(context: &Context<'a>, real: &RealServer) -> Option<Self> {
        let own = context.own;
        Some(Self {
            service: own.services.get(real.service.0)?,
            real: own.reals.get(real.id.0)?,
        })
    }

    /// Counts a session that has been entered.
    #[inline]
    pub(crate) fn enter<A: Address>(
        self,
        context: &Context<'_>,
        real: &RealServer,
        session: &Session<A>,
    ) {
        self.count(session, Turn::Entered);
        refresh_load(context, real, session);
    }

    #[inline]
    fn count<A: Address>(self, session: &Session<A>, turn: Turn) {
        turn.count(&self.service.entries);
        if is_limited(session) {
            turn.count(&self.service.limited);
        }
        let is_active = session.state().is_active();
        match (turn, session.flags().contains(Flags::TEMPLATE)) {
            (Turn::Entered, true) => self.real.enter_template(),
            (Turn::Left, true) => self.real.leave_template(),
            (Turn::Entered, false) => self.real.enter(is_active),
            (Turn::Left, false) => self.real.leave(is_active),
        }
    }
}

/// Counts a session that has left the table.
pub(crate) fn uncount<A: Address>(context: &Context<'_>, session: &Session<A>) {
    if let Some(real) = context.snapshot.real(session.real())
        && let Some(counters) = Counters::of(context, real)
    {
        counters.count(session, Turn::Left);
        refresh_load(context, real, session);
    }
}

/// Updates what depends on the real server's load, after a session was added or removed. Templates are no load.
#[inline]
fn refresh_load<A: Address>(context: &Context<'_>, real: &RealServer, session: &Session<A>) {
    if !session.flags().contains(Flags::TEMPLATE) {
        context.snapshot.refresh_load_of(context.worker, real);
    }
}

/// Counts a session of the real server `id` that has been moved on.
#[inline]
pub(crate) fn recount(
    context: &Context<'_>,
    counters: &RealCounters,
    id: RealId,
    Moved { before, after }: Moved,
) {
    if before.is_limited() != after.is_limited() {
        recount_limited(context, id, after.is_limited());
    }
    if counters.shift(before.state.is_active(), after.state.is_active()) {
        context.snapshot.refresh_load(context.worker, id);
    }
}

#[cold]
fn recount_limited(context: &Context<'_>, id: RealId, is_limited: bool) {
    let real = context.snapshot.real(id);
    if let Some(counters) = real.and_then(|real| Counters::of(context, real)) {
        let turn = if is_limited {
            Turn::Entered
        } else {
            Turn::Left
        };
        turn.count(&counters.service.limited);
    }
}
