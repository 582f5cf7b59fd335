//! What goes wrong in a simulation: bursts, full queues, workers that lag, links that go down.
//! Says what is so at which time; the machine does it.

use std::ops::Range;
use std::time::Duration;

/// Frames that a queue of a NIC holds, unless another number is asked for: as many as the daemon asks for.
pub const QUEUE_FRAMES: usize = 512;

/// What goes wrong, and when after the first frame. By default nothing does: a frame is received as soon as
/// it arrives, and leaves as soon as it is sent.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Frames that arrive within this time of each other arrive in a burst: no worker polls before the last
    /// of them is there.
    pub burst: Option<Duration>,
    /// Frames that one worker's receive queue of a port holds, instead of [`QUEUE_FRAMES`].
    pub rx_queue: Option<usize>,
    /// Frames that one worker's transmit queue of a port holds, instead of [`QUEUE_FRAMES`]. With it, a port
    /// takes a millisecond to send what is queued; without, it takes no time.
    pub tx_queue: Option<usize>,
    /// Which worker does not poll, and from when to when.
    pub lags: Vec<(usize, Range<Duration>)>,
    /// Which port's link is down, and from when to when.
    pub links_down: Vec<(String, Range<Duration>)>,
}

impl Faults {
    /// The receive queues' depth.
    pub(super) fn rx_frames(&self) -> usize {
        self.rx_queue.unwrap_or(QUEUE_FRAMES)
    }

    /// The transmit queues' depth.
    pub(super) fn tx_frames(&self) -> usize {
        self.tx_queue.unwrap_or(QUEUE_FRAMES)
    }
}

/// Times in milliseconds at which something is out of order.
#[derive(Debug, Default)]
pub(super) struct Outages(Vec<Range<u64>>);

impl Outages {
    /// Those of `which` in `all`.
    pub(super) fn of<K: PartialEq>(all: &[(K, Range<Duration>)], which: &K) -> Self {
        let own = all.iter().filter(|(key, _)| key == which);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(
            own.map(|(_, time)| ms(time.start)..ms(time.end))
                .filter(|time| !time.is_empty())
                .collect(),
        )
    }

    /// Whether it is out of order at `now_ms`.
    pub(super) fn contains(&self, now_ms: u64) -> bool {
        self.0.iter().any(|time| time.contains(&now_ms))
    }

    /// The next time after `now_ms` at which an outage begins or ends.
    pub(super) fn next_change(&self, now_ms: u64) -> Option<u64> {
        let changes = self.0.iter().flat_map(|time| [time.start, time.end]);
        changes.filter(|at| *at > now_ms).min()
    }

    /// When the last of them is over.
    pub(super) fn end(&self) -> u64 {
        self.0.iter().map(|time| time.end).max().unwrap_or(0)
    }
}
