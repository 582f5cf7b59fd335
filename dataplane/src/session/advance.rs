//! What a packet makes of its session: what it proves, the state, the deadline and the template, in one call.
//! Keeps no counters; whoever moves a session on gets what the counters depend on, before and after.

use super::entry::{Flags, NONE, Session, SessionIndex};
use super::phase::Direction;
use super::proof::{STEP_MS, Seen};
use super::state::State;
use super::table::SessionTable;
use crate::flow::Address;
use crate::spec::timeouts::Timeouts;
use crate::time::Time;

/// What of a session the gauges depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Its state.
    pub state: State,
    /// Whether its client was proven to be there.
    pub is_proven: bool,
}

impl Counted {
    /// Whether it counts against its service's limit: it is proven, and no side has finished.
    #[must_use]
    #[inline]
    pub const fn is_limited(self) -> bool {
        self.is_proven && self.state.is_unfinished()
    }
}

/// A session before and after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the gauges have to follow"]
pub struct Moved {
    /// Before it.
    pub before: Counted,
    /// After it.
    pub after: Counted,
}

/// A packet that moves its session on.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Who sent it, and whether answers are seen.
    pub direction: Direction,
    /// [`Packet::signal`](crate::parse::Packet::signal).
    pub signal: u8,
    /// Whether TCP's table for defence applies.
    pub secure: bool,
    /// How long the session outlives it.
    pub timeouts: &'a Timeouts,
}

/// What of a packet is noted, if it changes more than the deadline: small enough for a register, so that the many
/// others do not pay for it.
#[derive(Debug, Clone, Copy)]
struct Noted {
    direction: Direction,
    signal: u8,
    has_data: bool,
    /// The state that it leaves the session in.
    after: State,
}

impl<A> Session<A> {
    /// What the gauges depend on. Of a template it means nothing.
    #[must_use]
    #[inline(always)]
    pub const fn counted(&self) -> Counted {
        Counted {
            state: self.state(),
            is_proven: self.flags.contains(Flags::PROVEN),
        }
    }
}

impl<A: Address> SessionTable<A> {
    /// Moves the session at `index`, which must be in the table, on by a packet, and puts its end off. `has_data`
    /// says whether a segment carries data; it is seldom asked. Returns what of the
    /// session the gauges depend on if that may have changed; by most packets nothing changes but the deadline.
    #[inline(always)]
    #[must_use = "the gauges have to follow"]
    pub fn advance(
        &mut self,
        index: SessionIndex,
        step: Step<'_>,
        now: Time,
        has_data: impl FnOnce() -> bool,
    ) -> Option<Moved> {
        let session = self.get_mut(index);
        let state = session
            .state()
            .next(step.direction, step.signal, step.secure);
        let deadline = step.timeouts.deadline(state, now);
        if session.goes_on(state, deadline, step.direction, now) {
            session.deadline = deadline;
            return None;
        }
        let noted = Noted {
            direction: step.direction,
            signal: step.signal,
            has_data: has_data(),
            after: state,
        };
        Some(self.advance_noting(index, noted, step.timeouts, now))
    }

    /// The rest of `advance`, for a packet by which more than the deadline may change.
    #[cold]
    #[inline(never)]
    fn advance_noting(
        &mut self,
        index: SessionIndex,
        noted: Noted,
        timeouts: &Timeouts,
        now: Time,
    ) -> Moved {
        let Noted {
            direction,
            signal,
            has_data,
            after,
        } = noted;
        let before = self.get(index).counted();
        if !before.is_proven {
            let seen = Seen {
                direction,
                signal,
                has_data,
                after,
                timeout_ms: timeouts.ms(before.state),
            };
            self.observe(index, seen, now);
        }
        self.touch(index, after, timeouts.deadline(after, now));
        if after.assures(direction) {
            self.assure(index);
        }
        Moved {
            before,
            after: self.get(index).counted(),
        }
    }
}

impl<A> Session<A> {
    /// Whether by a packet that leaves the session in `state` until `deadline` nothing changes but the deadline.
    #[inline(always)]
    fn goes_on(&self, state: State, deadline: Time, direction: Direction, now: Time) -> bool {
        // In one state deadlines are as far apart as packets. One that is earlier, after timeouts have become
        // shorter, is ages apart.
        let since_last = deadline.as_ms().wrapping_sub(self.deadline.as_ms());
        let is_in_step = since_last <= now.as_ms() % STEP_MS
            || self.flags.contains(Flags::PROVEN) && deadline >= self.deadline;
        self.is_in(state)
            && is_in_step
            && !self.is_watched(direction)
            && (self.link == NONE
                || self.flags.contains(Flags::ASSURED)
                || !state.assures(direction))
    }
}
