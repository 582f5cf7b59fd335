//! What a packet makes of its session: what it proves, the state, the deadline and the template, in one call.
//! Keeps no counters; whoever moves a session on gets what the counters depend on, before and after.

use super::entry::{Flags, Session, SessionIndex};
use super::proof::Seen;
use super::state::State;
use super::table::SessionTable;
use super::tcp::Direction;
use super::timeout::Timeouts;
use crate::flow::Address;
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

impl<A> Session<A> {
    /// What the gauges depend on. Of a template it means nothing.
    #[must_use]
    #[inline(always)]
    pub const fn counted(&self) -> Counted {
        Counted {
            state: self.state,
            is_proven: self.flags.contains(Flags::PROVEN),
        }
    }
}

impl<A: Address> SessionTable<A> {
    /// Moves the session at `index`, which must be in the table, on by a packet, and puts its end off. `has_data`
    /// says whether a segment carries data; it is asked only until the session is proven.
    #[inline(always)]
    pub fn advance(
        &mut self,
        index: SessionIndex,
        step: Step<'_>,
        now: Time,
        has_data: impl FnOnce() -> bool,
    ) -> Moved {
        let session = self.get(index);
        let (before, controlled) = (session.counted(), session.is_controlled());
        let state = before.state.next(step.direction, step.signal, step.secure);
        let deadline = step.timeouts.deadline(state, now);
        if !before.is_proven {
            // In one state deadlines are as far apart as packets.
            let since_last = deadline.ms_since(session.deadline());
            if before.state != state || session.may_be_proven_by(step.direction, since_last, now) {
                let seen = Seen {
                    direction: step.direction,
                    signal: step.signal,
                    has_data: has_data(),
                    after: state,
                    timeout_ms: step.timeouts.ms(before.state),
                };
                self.observe(index, seen, now);
            }
        }
        let Moved { after, .. } = self.touch(index, state, deadline);
        if controlled && state.assures(step.direction) {
            self.assure(index);
        }
        Moved { before, after }
    }
}
