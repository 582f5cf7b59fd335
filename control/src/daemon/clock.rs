//! A worker's clock, cheap enough to be read at every poll, and what its time went to.
//! It knows nothing of what a poll does.

use std::time::{Duration, Instant};

use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dpdk::cycles;

/// How often a second the system's clock is read: the time is late by a tenth of a millisecond at most.
const READS_PER_SECOND: u64 = 10_000;

/// Milliseconds since a start. The time stamp counter is read once for each poll, the system's clock ten
/// times a millisecond and after each rest.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Ticks of the time stamp counter between two looks at the system's clock. It ticks at 1 to 5 GHz on x86, and at 25
    /// MHz to 1 GHz on Arm (whose generic timer it is).
    between_reads: u64,
    /// The time stamp counter when `elapsed` was read from the system.
    read_at: u64,
    elapsed: Duration,
    /// The time stamp counter at the last look.
    looked_at: u64,
    /// What the time since then goes to.
    doing: Doing,
    spent: Spent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Work,
    Nothing,
    Rest,
}

impl Clock {
    /// `per_second` are the ticks of the time stamp counter.
    pub(super) fn new(start: Instant, per_second: u64) -> Self {
        let now = cycles();
        Self {
            start,
            between_reads: per_second / READS_PER_SECOND,
            read_at: now,
            elapsed: start.elapsed(),
            looked_at: now,
            doing: Doing::Nothing,
            spent: Spent::default(),
        }
    }

    /// The time, for the poll that comes now.
    #[inline]
    pub(super) fn now(&mut self, stats: &WorkerStats) -> Time {
        self.look();
        // However short a rest was to be, only the system knows how long it was.
        if self.doing == Doing::Rest
            || self.looked_at.wrapping_sub(self.read_at) >= self.between_reads
        {
            self.read(stats);
        }
        Time::from_ms(0) + self.elapsed
    }

    /// What the poll was, whose time ends with the next look.
    #[inline]
    pub(super) fn polled(&mut self, found: bool) {
        self.doing = if found { Doing::Work } else { Doing::Nothing };
    }

    /// Ends the poll's time: from now on the CPU is given back, until the next poll.
    pub(super) fn rest(&mut self) {
        self.look();
        self.doing = Doing::Rest;
    }

    #[inline]
    fn look(&mut self) {
        let now = cycles();
        // The counters of two CPUs may differ: a worker that was moved has not spent an eternity.
        let passed = now.saturating_sub(std::mem::replace(&mut self.looked_at, now));
        let spent = match self.doing {
            Doing::Work => &mut self.spent.busy,
            Doing::Nothing => &mut self.spent.idle,
            Doing::Rest => &mut self.spent.slept,
        };
        *spent = spent.saturating_add(passed);
    }

    fn read(&mut self, stats: &WorkerStats) {
        let elapsed = self.start.elapsed();
        let [busy, idle, slept] = self.spent.share(elapsed.saturating_sub(self.elapsed));
        stats.busy_ns.add(busy);
        stats.idle_ns.add(idle);
        stats.slept_ns.add(slept);
        self.spent = Spent::default();
        self.read_at = self.looked_at;
        self.elapsed = elapsed;
    }
}

/// Cycles by what they went to, since the system's clock was read.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    busy: u64,
    idle: u64,
    slept: u64,
}

impl Spent {
    /// Nanoseconds of `time` that went to each, whatever a cycle is; none is lost, and none counted twice.
    fn share(self, time: Duration) -> [u64; 3] {
        let all = time.as_nanos();
        let cycles = u128::from(self.busy) + u128::from(self.idle) + u128::from(self.slept);
        let part = |of: u64| {
            all.saturating_mul(u128::from(of))
                .checked_div(cycles)
                .unwrap_or(0)
        };
        let (busy, slept) = (part(self.busy), part(self.slept));
        let idle = all.saturating_sub(busy).saturating_sub(slept);
        [busy, idle, slept].map(|time| u64::try_from(time).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(busy: u64, idle: u64, slept: u64) -> Spent {
        Spent { busy, idle, slept }
    }

    #[test]
    fn time_is_shared_out_in_proportion_and_to_the_last_nanosecond() {
        let second = Duration::from_secs(1);
        assert_eq!(
            spent(1, 1, 2).share(second),
            [250_000_000, 250_000_000, 500_000_000]
        );
        assert_eq!(spent(0, 7, 0).share(second), [0, 1_000_000_000, 0]);
        assert_eq!(spent(0, 0, 0).share(second), [0, 1_000_000_000, 0]);
        for (cycles, nanoseconds) in [
            (spent(1, 1, 1), 100),
            (spent(300_001, 12_345, 999_983), 432_101),
            (spent(u64::MAX, u64::MAX, u64::MAX), u64::MAX),
            (spent(u64::MAX, 1, 0), 1),
        ] {
            let shares = cycles.share(Duration::from_nanos(nanoseconds));
            let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
            assert_eq!(sum, u128::from(nanoseconds), "{cycles:?}");
        }
    }

    #[test]
    fn the_clock_is_as_late_with_a_slow_counter_as_with_a_fast_one() {
        let start = Instant::now();
        for (per_second, ticks) in [(25_000_000, 2500), (3_000_000_000, 300_000)] {
            assert_eq!(Clock::new(start, per_second).between_reads, ticks);
        }
        // What does not say how fast it ticks costs a look at the system's clock each time.
        assert_eq!(Clock::new(start, 0).between_reads, 0);
    }

    #[test]
    fn after_a_rest_the_time_is_right_and_all_of_it_is_accounted_for() {
        let stats = WorkerStats::new(0);
        let start = Instant::now();
        let mut clock = Clock::new(start, 3_000_000_000);
        let before = clock.elapsed;
        clock.polled(true);
        clock.now(&stats);
        clock.polled(false);
        clock.rest();
        std::thread::sleep(Duration::from_millis(3));
        let (now, real) = (clock.now(&stats), start.elapsed());
        assert!(
            now.as_ms() >= 3 && u128::from(now.as_ms()) <= real.as_millis(),
            "{now:?}, {real:?}"
        );
        let counted = stats.busy_ns.value() + stats.idle_ns.value() + stats.slept_ns.value();
        assert_eq!(
            u128::from(counted),
            (clock.elapsed.saturating_sub(before)).as_nanos()
        );
        assert!(stats.slept_ns.value() > 2_000_000, "{stats:?}");
    }
}
