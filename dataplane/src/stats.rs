//! Counters with one writer each, which other threads may read at any time.
//! No decision about a packet is made here.

use std::ops::Add;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::id::DeviceId;
use crate::incident::{Incident, Incidents};
use crate::verdict::{DropReason, EvictionCause, Verdict};

/// A counter that only its worker writes. Others read it; a read may be a little old, never torn.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, count: u64) {
        // A load and a store instead of a locked add: there is no other writer.
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    /// The present value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, written by one worker.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// One more. Only the owning worker may call this.
    #[inline]
    pub fn increase(&self) {
        self.0
            .store(self.value().wrapping_add(1), Ordering::Relaxed);
    }

    /// One less. Only the owning worker may call this.
    #[inline]
    pub fn decrease(&self) {
        self.0
            .store(self.value().wrapping_sub(1), Ordering::Relaxed);
    }

    /// Sets the number. Only the owning worker may call this.
    #[inline]
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The present number.
    #[inline]
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's counters of one real server: a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RealCounters {
    /// Sessions scheduled.
    pub sessions: Counter,
    /// Packets of clients.
    pub in_packets: Counter,
    /// Bytes of clients' packets: IP length, no Ethernet header (as IPVS counts).
    pub in_bytes: Counter,
    /// Packets of the real server that passed through here (NAT).
    pub out_packets: Counter,
    /// Bytes of those.
    pub out_bytes: Counter,
    /// Sessions in a state that counts as active (`ActiveConn`).
    pub active: Gauge,
    /// All other sessions (`InActConn`).
    pub inactive: Gauge,
    /// Persistence templates (`PersistConn`), which are neither.
    pub persistent: Gauge,
    /// All sessions and templates. Moves only when one is entered or leaves, so that it is never 0 in between.
    pub entries: Gauge,
}

impl RealCounters {
    /// A session has been entered.
    #[inline]
    pub fn enter(&self, active: bool) {
        self.entries.increase();
        self.gauge(active).increase();
    }

    /// A session has left.
    #[inline]
    pub fn leave(&self, active: bool) {
        self.entries.decrease();
        self.gauge(active).decrease();
    }

    /// A persistence template has been entered.
    pub fn enter_template(&self) {
        self.entries.increase();
        self.persistent.increase();
    }

    /// A persistence template has left.
    pub fn leave_template(&self) {
        self.entries.decrease();
        self.persistent.decrease();
    }

    /// A session's state has changed. Returns whether a counter has changed; `Snapshot::refresh_load` must be
    /// called then.
    #[inline]
    #[must_use]
    pub fn shift(&self, was_active: bool, active: bool) -> bool {
        if was_active != active {
            self.gauge(was_active).decrease();
            self.gauge(active).increase();
        }
        was_active != active
    }

    #[inline]
    fn gauge(&self, active: bool) -> &Gauge {
        if active { &self.active } else { &self.inactive }
    }
}

/// One worker's counters of one service.
#[derive(Debug, Default)]
pub struct ServiceCounters {
    /// Entries of the session table that are its: sessions and templates.
    pub entries: Gauge,
    /// Sessions that are proven and that no side has finished: those that count against its limit.
    pub limited: Gauge,
}

/// One worker's counters of its queues on one device.
#[derive(Debug, Default)]
pub struct QueueCounters {
    /// Frames received from the queue.
    pub rx_packets: Counter,
    /// Bytes of those frames, Ethernet header included.
    pub rx_bytes: Counter,
    /// Frames given to the queue.
    pub tx_packets: Counter,
    /// Bytes of those frames.
    pub tx_bytes: Counter,
    /// Of a device that is known to spread flows over queues: first packets of sessions that were looked at and
    /// had come by the right queue. One in eight is looked at.
    pub placed: Counter,
    /// Those that had come by another queue.
    pub misplaced: Counter,
}

/// One worker's counters.
///
/// `rx = forwarded + replied + punted + handed_over + consumed + sum(drops) + waiting`, where `rx`
/// counts the frames received from the ports and from other workers.
#[derive(Debug)]
pub struct WorkerStats {
    queues: Vec<QueueCounters>,
    /// Frames taken over from other workers.
    pub taken_over: Counter,
    /// Verdicts `Forwarded`.
    pub forwarded: Counter,
    /// Verdicts `Replied`.
    pub replied: Counter,
    /// Verdicts `Punted`.
    pub punted: Counter,
    /// Verdicts `HandedOver`.
    pub handed_over: Counter,
    /// Verdicts `Consumed`.
    pub consumed: Counter,
    /// Frames without a verdict yet: they wait for a neighbour's MAC or for further fragments.
    pub waiting: Gauge,
    /// Frames made here: ARP, NDP, ICMP, resets. Not part of the sum above.
    pub originated: Counter,
    /// Frames made here that could not be sent, and frames that waited for room in a transmit queue when
    /// the link went down. Not part of the sum above.
    pub lost: Counter,
    /// Live sessions.
    pub sessions: Gauge,
    /// The slot of the service whose new session was the last to find no room.
    pub refused_service: Gauge,
    /// The service of the last session that was refused at its limit.
    pub limited_service: Gauge,
    /// Polls that found work.
    pub busy_polls: Counter,
    /// Polls that found none.
    pub idle_polls: Counter,
    /// Nanoseconds spent in polls that found work. Who gives the time counts this and the next two.
    pub busy_ns: Counter,
    /// Nanoseconds spent in polls that found none.
    pub idle_ns: Counter,
    /// Nanoseconds between polls for which the CPU was given back.
    pub slept_ns: Counter,
    /// What people should know.
    pub incidents: Incidents,
    /// How often a neighbour that packets waited for did not answer.
    pub neighbours_unreachable: Counter,
    /// How often somebody else claimed an address of ours, counted every 10 seconds at most for each address.
    pub address_conflicts: Counter,
    drops: Vec<Counter>,
    evicted: [Counter; EvictionCause::ALL.len()],
}

impl WorkerStats {
    /// All zero, for a machine with `devices` devices.
    #[must_use]
    pub fn new(devices: usize) -> Self {
        Self {
            queues: (0..devices).map(|_| QueueCounters::default()).collect(),
            taken_over: Counter::default(),
            forwarded: Counter::default(),
            replied: Counter::default(),
            punted: Counter::default(),
            handed_over: Counter::default(),
            consumed: Counter::default(),
            waiting: Gauge::default(),
            originated: Counter::default(),
            lost: Counter::default(),
            sessions: Gauge::default(),
            refused_service: Gauge::default(),
            limited_service: Gauge::default(),
            busy_polls: Counter::default(),
            idle_polls: Counter::default(),
            busy_ns: Counter::default(),
            idle_ns: Counter::default(),
            slept_ns: Counter::default(),
            incidents: Incidents::default(),
            neighbours_unreachable: Counter::default(),
            address_conflicts: Counter::default(),
            drops: DropReason::ALL.iter().map(|_| Counter::default()).collect(),
            evicted: Default::default(),
        }
    }

    /// How many devices there are.
    pub(crate) fn devices(&self) -> usize {
        self.queues.len()
    }

    /// Those of its queues on a device.
    #[inline]
    #[must_use]
    pub fn queues(&self, device: DeviceId) -> Option<&QueueCounters> {
        self.queues.get(device.place())
    }

    /// Counts an incident, and has people told of it. Only the owning worker may call this.
    pub fn tell(&self, incident: Incident) {
        match incident {
            Incident::NeighbourUnreachable { .. } => self.neighbours_unreachable.add(1),
            Incident::AddressConflict { .. } => self.address_conflicts.add(1),
            Incident::NeighbourReachable { .. } => {}
        }
        self.incidents.put(incident);
    }

    /// Counts `count` packets with the same verdict.
    #[inline]
    pub fn count(&self, verdict: Verdict, count: u64) {
        match verdict {
            Verdict::Forwarded => self.forwarded.add(count),
            Verdict::Replied => self.replied.add(count),
            Verdict::Punted => self.punted.add(count),
            Verdict::HandedOver => self.handed_over.add(count),
            Verdict::Consumed => self.consumed.add(count),
            Verdict::Dropped(reason) => {
                if let Some(counter) = self.drops.get(reason as usize) {
                    counter.add(count);
                }
            }
        }
    }

    /// Packets dropped for `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).map_or(0, Counter::value)
    }

    /// Counts a session that was evicted because the table was full.
    #[inline]
    pub fn evict(&self, cause: EvictionCause) {
        if let Some(counter) = self.evicted.get(cause as usize) {
            counter.add(1);
        }
    }

    /// Sessions that were evicted for `cause`.
    #[must_use]
    pub fn evicted(&self, cause: EvictionCause) -> u64 {
        self.evicted.get(cause as usize).map_or(0, Counter::value)
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn all_drops(&self) -> u64 {
        self.drops.iter().map(Counter::value).sum()
    }

    /// What became of the received frames. Exact only between two polls.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        Verdicts {
            received: self
                .queues
                .iter()
                .map(|queues| queues.rx_packets.value())
                .sum(),
            taken_over: self.taken_over.value(),
            forwarded: self.forwarded.value(),
            replied: self.replied.value(),
            punted: self.punted.value(),
            handed_over: self.handed_over.value(),
            consumed: self.consumed.value(),
            dropped: self.all_drops(),
            waiting: self.waiting.value().into(),
        }
    }

    /// Whether every received frame has exactly one verdict or waits for one. Exact only between
    /// two polls.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.verdicts().balanced()
    }
}

macro_rules! verdicts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Frames by what became of them: of one worker, or of several together.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Verdicts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Verdicts {
            /// Each count with its name.
            pub fn each(self) -> impl ExactSizeIterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl Add for Verdicts {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self {
                    $($name: self.$name + other.$name,)*
                }
            }
        }
    };
}

verdicts! {
    /// Frames received from the ports.
    received,
    /// Frames taken over from other workers, besides.
    taken_over,
    /// Frames sent on to a real server, a client or a gateway.
    forwarded,
    /// Frames that were answered: ARP, NDP, echo.
    replied,
    /// Frames given to the kernel's port.
    punted,
    /// Frames handed to the worker that owns their flow.
    handed_over,
    /// Frames that were used and are not to be sent anywhere.
    consumed,
    /// Frames dropped, for any reason.
    dropped,
    /// Frames without a verdict yet: they wait for a neighbour's MAC or for further fragments.
    waiting,
}

impl Verdicts {
    /// Whether every received frame has exactly one verdict or waits for one.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        let Self {
            received,
            taken_over,
            forwarded,
            replied,
            punted,
            handed_over,
            consumed,
            dropped,
            waiting,
        } = *self;
        received + taken_over
            == forwarded + replied + punted + handed_over + consumed + dropped + waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_reason_has_a_counter_and_a_unique_label() {
        let stats = WorkerStats::new(0);
        let mut labels = Vec::new();
        for &reason in DropReason::ALL {
            stats.count(Verdict::Dropped(reason), 1);
            assert_eq!(stats.drops(reason), 1, "{reason:?}");
            assert!(!reason.help().is_empty());
            labels.push(reason.label());
        }
        assert_eq!(stats.all_drops(), DropReason::ALL.len() as u64);
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }

    #[test]
    fn the_counters_of_a_real_server_take_one_cache_line() {
        assert_eq!(size_of::<RealCounters>(), 64);
    }
}
