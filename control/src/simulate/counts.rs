//! What became of the frames of a simulation, so that none is missing in the sum.
//! Counts nothing itself: these are the wires' and the workers' counters.

use plimsoll_dataplane::stats::{Verdicts, WorkerStats};
use plimsoll_dataplane::testing::MemoryWire;
use serde::Serialize;

/// Frames by what became of them, of one worker or of all together.
///
/// `arrived = lost_link_down + lost_rx_full + received`, and
/// `received + taken_over = forwarded + replied + punted + handed_over + consumed + dropped + waiting`. Of
/// all workers together, `handed_over = taken_over`, and `arrived` is the report's `frames_in`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Frames that came to the worker's queues of the configured ports.
    pub arrived: u64,
    /// Of these, frames that came while the link was down.
    pub lost_link_down: u64,
    /// Of these, frames that found the receive queue full.
    pub lost_rx_full: u64,
    /// Of these, frames that the worker received.
    pub received: u64,
    /// Frames taken over from other workers, besides.
    pub taken_over: u64,
    /// Frames sent on to a real server, a client or a gateway.
    pub forwarded: u64,
    /// Frames that were answered: ARP, NDP, echo.
    pub replied: u64,
    /// Frames given to the kernel's port.
    pub punted: u64,
    /// Frames handed to the worker that owns their flow.
    pub handed_over: u64,
    /// Frames that were used and are not to be sent anywhere.
    pub consumed: u64,
    /// Frames dropped; the report's `drops` has the reasons.
    pub dropped: u64,
    /// Frames that wait for a neighbour's MAC or for other fragments when the run ends.
    pub waiting: u64,
    /// Frames made here: ARP, NDP, ICMP, resets, and all pieces of a datagram but its last. They have no
    /// verdict.
    pub originated: u64,
    /// Of these, frames that could not be sent.
    pub not_sent: u64,
}

impl Counts {
    pub(super) fn of(wires: &[MemoryWire], stats: &WorkerStats) -> Self {
        let Verdicts {
            received,
            taken_over,
            forwarded,
            replied,
            punted,
            handed_over,
            consumed,
            dropped,
            waiting,
        } = stats.verdicts();
        let (lost_link_down, lost_rx_full) = wires.iter().fold((0, 0), |(lost, missed), wire| {
            (lost + wire.lost(), missed + wire.missed())
        });
        let pending: usize = wires.iter().map(MemoryWire::pending).sum();
        Self {
            arrived: lost_link_down + lost_rx_full + received + pending as u64,
            lost_link_down,
            lost_rx_full,
            received,
            taken_over,
            forwarded,
            replied,
            punted,
            handed_over,
            consumed,
            dropped,
            waiting,
            originated: stats.originated.value(),
            not_sent: stats.lost.value(),
        }
    }

    /// The sum of all.
    pub(super) fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |sum, one| Self {
            arrived: sum.arrived + one.arrived,
            lost_link_down: sum.lost_link_down + one.lost_link_down,
            lost_rx_full: sum.lost_rx_full + one.lost_rx_full,
            received: sum.received + one.received,
            taken_over: sum.taken_over + one.taken_over,
            forwarded: sum.forwarded + one.forwarded,
            replied: sum.replied + one.replied,
            punted: sum.punted + one.punted,
            handed_over: sum.handed_over + one.handed_over,
            consumed: sum.consumed + one.consumed,
            dropped: sum.dropped + one.dropped,
            waiting: sum.waiting + one.waiting,
            originated: sum.originated + one.originated,
            not_sent: sum.not_sent + one.not_sent,
        })
    }
}
