//! What became of the frames of a simulation, so that none is missing in the sum.
//! Counts nothing itself: these are the wires' and the workers' counters.

use plimsoll_dataplane::io::memory::MemoryWire;
use plimsoll_dataplane::stats::{Verdicts, WorkerStats};
use serde::{Serialize, Serializer};

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
    /// What became of the others. Of `dropped` the report's `drops` has the reasons; what is `waiting` waits when the run ends.
    #[serde(flatten, serialize_with = "by_name")]
    pub verdicts: Verdicts,
    /// Frames made here: ARP, NDP, ICMP, resets, and all pieces of a datagram but its last. They have no
    /// verdict.
    pub originated: u64,
    /// Of these, and of frames that were waiting for room when the port's link was found to be down, those that could
    /// not be sent.
    pub not_sent: u64,
}

impl Counts {
    pub(super) fn of(wires: &[MemoryWire], stats: &WorkerStats) -> Self {
        let verdicts = stats.verdicts();
        let (lost_link_down, lost_rx_full) = wires.iter().fold((0, 0), |(lost, missed), wire| {
            (lost + wire.lost(), missed + wire.missed())
        });
        let pending: usize = wires.iter().map(MemoryWire::pending).sum();
        Self {
            arrived: lost_link_down + lost_rx_full + verdicts.received + pending as u64,
            lost_link_down,
            lost_rx_full,
            verdicts,
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
            verdicts: sum.verdicts + one.verdicts,
            originated: sum.originated + one.originated,
            not_sent: sum.not_sent + one.not_sent,
        })
    }
}

fn by_name<S: Serializer>(verdicts: &Verdicts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(verdicts.each())
}
