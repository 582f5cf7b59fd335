//! What systemd is told (sd_notify): ready, reloading, stopping, alive.
//! Without systemd all of it does nothing.

use std::time::Duration;

use plimsoll_dataplane::stats::WorkerStats;
use sd_notify::NotifyState;

fn tell(states: &[NotifyState<'_>]) {
    // Whoever started this process may have gone; packets are forwarded all the same.
    let _ = sd_notify::notify(states);
}

/// Packets are forwarded, with the configuration of this generation.
pub(super) fn ready(generation: u64) {
    let status = format!("forwarding, generation {generation}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Until the next [`ready`].
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Until the end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Half the time that systemd waits for a sign of life, if it does.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Feeds systemd's watchdog as long as every worker polls.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    polls: Vec<u64>,
}

impl Watchdog {
    /// Gives a sign of life if every worker has polled since the last time; says whether.
    pub(super) fn feed<'a>(&mut self, workers: impl Iterator<Item = &'a WorkerStats>) -> bool {
        let polls: Vec<u64> = workers
            .map(|worker| {
                worker
                    .busy_polls
                    .value()
                    .wrapping_add(worker.idle_polls.value())
            })
            .collect();
        let stuck = polls.iter().zip(&self.polls).any(|(now, then)| now == then);
        self.polls = polls;
        if !stuck {
            tell(&[NotifyState::Watchdog]);
        }
        !stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_stands_still_starves_the_watchdog() {
        let workers = [WorkerStats::new(0), WorkerStats::new(0)];
        let mut watchdog = Watchdog::default();
        let [first, second] = &workers;
        assert!(watchdog.feed(workers.iter()));
        first.idle_polls.add(1);
        assert!(!watchdog.feed(workers.iter()));
        first.busy_polls.add(1);
        second.busy_polls.add(1);
        assert!(watchdog.feed(workers.iter()));
    }
}
