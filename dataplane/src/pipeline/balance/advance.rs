//! A packet moves its session on, and both are counted: every path does so here, and no other code counts packets.
//! Which session that is, and where the packet goes, is not asked.

use crate::id::RealId;
use crate::pipeline::balance::admit::recount;
use crate::pipeline::sessions::{Sessions, Tabled};
use crate::session::{Direction, SessionIndex, Step};
use crate::snapshot::Snapshot;
use crate::snapshot::chunked::Chunked;
use crate::stats::RealCounters;
use crate::time::Time;

/// A snapshot with one worker's counters of its real servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counting<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) reals: &'a Chunked<RealCounters>,
}

impl<'a> Counting<'a> {
    /// `None` if the snapshot has no such worker.
    #[inline]
    pub(crate) fn new(snapshot: &'a Snapshot, worker: usize) -> Option<Self> {
        let reals = &snapshot.workers.get(worker)?.reals;
        Some(Self { snapshot, reals })
    }

    /// Counts a packet from or to a real server, of `bytes` from its IP header on.
    #[inline(always)]
    pub(crate) fn packet(self, real: RealId, direction: Direction, bytes: u64) {
        if let Some(counters) = self.reals.get(real.0) {
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
        counting: Counting<'_>,
        (index, real): (SessionIndex, RealId),
        step: Step<'_>,
        bytes: Option<u32>,
        now: Time,
        has_data: impl FnOnce() -> bool,
    ) {
        let direction = step.direction;
        let moved = A::table(self).advance(index, step, now, has_data);
        let Some(counters) = counting.reals.get(real.0) else {
            return;
        };
        if let Some(bytes) = bytes {
            count_packet(counters, direction, u64::from(bytes));
        }
        if let Some(moved) = moved {
            recount(counting.snapshot, self.worker, counters, real, moved);
        }
    }
}
