//! A packet moves its session on, and both are counted: every path does so here, and no other code counts packets.
//! Which session that is, and where the packet goes, is not asked.

use crate::id::RealId;
use crate::pipeline::action::Context;
use crate::pipeline::balance::admit::recount;
use crate::pipeline::sessions::{Sessions, Tabled};
use crate::session::{Direction, SessionIndex, Step};
use crate::stats::RealCounters;

impl Context<'_> {
    /// Counts a packet from or to a real server, of `bytes` from its IP header on.
    #[inline(always)]
    pub(crate) fn count_packet(&self, real: RealId, direction: Direction, bytes: u64) {
        if let Some(counters) = self.own.reals.get(real.0) {
            count_packet(counters, direction, bytes);
        }
    }
}

/// Counts a packet in a real server's counters, of `bytes` from its IP header on.
#[inline(always)]
pub(crate) fn count_packet(counters: &RealCounters, direction: Direction, bytes: u64) {
    let (packets, all_bytes) = match direction {
        Direction::Output => (&counters.out_packets, &counters.out_bytes),
        Direction::Input | Direction::InputOnly => (&counters.in_packets, &counters.in_bytes),
    };
    packets.add(1);
    all_bytes.add(bytes);
}

impl Sessions {
    /// Moves the session at `index`, which is of the real server `real`, on by a packet, and counts the packet and the
    /// session's change of state. `bytes` is `None` if the real server is no longer configured: then the packet is not
    /// counted. `has_data` says whether a segment has data; it is seldom asked.
    #[inline(always)]
    pub(crate) fn advance<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        (index, real): (SessionIndex, RealId),
        step: Step<'_>,
        bytes: Option<u32>,
        has_data: impl FnOnce() -> bool,
    ) {
        let direction = step.direction;
        let moved = A::table(self).advance(index, step, context.now, has_data);
        let Some(counters) = context.own.reals.get(real.0) else {
            return;
        };
        if let Some(bytes) = bytes {
            count_packet(counters, direction, u64::from(bytes));
        }
        if let Some(moved) = moved {
            recount(context, counters, real, moved);
        }
    }
}
