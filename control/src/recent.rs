//! What the workers saw in the last minute: how busy they were, what they dropped, who claimed our addresses.
//! It keeps a few samples of their counters, asks no worker and reads no clock.

use std::collections::VecDeque;

use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::verdict::DropReason;

/// Between two samples.
const EVERY_MS: u64 = 10_000;
/// Samples that are kept: the oldest is of a minute ago.
const KEPT: usize = 7;

/// Samples, the oldest first; there is always one.
#[derive(Debug)]
pub(crate) struct Recent(VecDeque<Sample>);

/// Counters as they stood at a time. A worker or a reason without one had counted nothing.
#[derive(Debug, Default)]
struct Sample {
    at: Time,
    /// By worker.
    times: Vec<Times>,
    /// In the order of [`DropReason::ALL`].
    drops: Vec<u64>,
    address_conflicts: u64,
}

/// A worker's time so far.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    busy_ns: u64,
    all_ns: u64,
}

impl Times {
    fn of(stats: &WorkerStats) -> Self {
        let busy_ns = stats.busy_ns.value();
        Self {
            busy_ns,
            all_ns: busy_ns + stats.idle_ns.value() + stats.slept_ns.value(),
        }
    }
}

impl Default for Recent {
    /// At time 0 nothing has been counted.
    fn default() -> Self {
        Self(VecDeque::from([Sample::default()]))
    }
}

impl Recent {
    /// Takes another sample if it is time to; to be called once a second or so.
    pub(crate) fn look<'w>(
        &mut self,
        workers: impl Iterator<Item = &'w WorkerStats> + Clone,
        now: Time,
    ) {
        let newest = self.0.back().map(|sample| sample.at);
        if newest.is_some_and(|newest| now.ms_since(newest) < EVERY_MS) {
            return;
        }
        let drops = DropReason::ALL.iter().map(|reason| {
            let counts = workers.clone().map(|worker| worker.drops(*reason));
            counts.sum()
        });
        self.0.push_back(Sample {
            at: now,
            drops: drops.collect(),
            address_conflicts: address_conflicts(workers.clone()),
            times: workers.clone().map(Times::of).collect(),
        });
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// Since how many seconds: a minute or, if it started later, since then.
    pub(crate) fn seconds(&self, now: Time) -> u64 {
        let oldest = self.0.front().map_or(now, |sample| sample.at);
        now.ms_since(oldest) / 1000
    }

    /// The part of its time for which a worker was busy, from 0 to 1; `None` if no time was counted.
    pub(crate) fn busy_ratio(&self, worker: usize, stats: &WorkerStats) -> Option<f64> {
        let now = Times::of(stats);
        let before = self.0.front().and_then(|sample| sample.times.get(worker));
        let before = before.copied().unwrap_or_default();
        let seconds = |ns: u64| std::time::Duration::from_nanos(ns).as_secs_f64();
        let all = now.all_ns.checked_sub(before.all_ns).filter(|ns| *ns > 0)?;
        let busy = now.busy_ns.saturating_sub(before.busy_ns);
        Some(seconds(busy) / seconds(all))
    }

    /// How often another host claimed an address of ours, if that was so often in all.
    pub(crate) fn address_conflicts(&self, all: u64) -> u64 {
        let before = self.0.front().map(|sample| sample.address_conflicts);
        all.saturating_sub(before.unwrap_or_default())
    }

    /// How many packets were dropped for a reason, of which so many were dropped in all.
    pub(crate) fn drops(&self, reason: DropReason, all: u64) -> u64 {
        let place = DropReason::ALL.iter().position(|one| *one == reason);
        let before = self.0.front().zip(place);
        let before = before.and_then(|(sample, place)| sample.drops.get(place));
        all.saturating_sub(before.copied().unwrap_or_default())
    }
}

/// How often another host claimed an address of ours, as all workers counted it.
pub(crate) fn address_conflicts<'w>(workers: impl Iterator<Item = &'w WorkerStats>) -> u64 {
    workers.map(|worker| worker.address_conflicts.value()).sum()
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::verdict::Verdict;

    use super::*;

    #[test]
    fn what_was_counted_in_the_last_minute_is_told_and_nothing_older() {
        let stats = WorkerStats::new(0);
        let mut recent = Recent::default();
        assert_eq!(recent.busy_ratio(0, &stats), None);
        let reason = DropReason::NoService;
        for second in 0..200_u64 {
            let busy = if second < 100 { 900 } else { 250 };
            stats.busy_ns.add(busy);
            stats.idle_ns.add(900 - busy);
            stats.slept_ns.add(100);
            stats.count(Verdict::Dropped(reason), 1);
            stats.address_conflicts.add(1);
            let now = Time::from_ms(1000 * (second + 1));
            recent.look(std::iter::once(&stats), now);
            let drops = recent.drops(reason, stats.drops(reason));
            assert_eq!(drops, recent.seconds(now));
            assert_eq!(recent.address_conflicts(second + 1), drops);
            assert!((second.min(60)..=70).contains(&drops), "{second}: {drops}");
            assert_eq!(recent.drops(DropReason::TxFull, 0), 0);
            let ratio = recent.busy_ratio(0, &stats).unwrap();
            match second {
                0..100 => assert!((ratio - 0.9).abs() < 1e-9, "{ratio}"),
                170.. => assert!((ratio - 0.25).abs() < 1e-9, "{ratio}"),
                _ => assert!((0.25..=0.9).contains(&ratio), "{ratio}"),
            }
        }
    }
}
