//! The thread that feeds systemd's watchdog, as long as every worker and the control thread go on.
//! It shares nothing with them but counters, so that nothing they wait for keeps it from seeing that they do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_dataplane::stats::WorkerStats;
use tracing::{error, info};

use super::notify;
use crate::capabilities;

/// How long the control thread may be at one thing, whatever systemd's limit is: it has a round every second.
const CONTROL_PATIENCE: Duration = Duration::from_secs(3);

/// Counts up whenever the control thread comes round.
pub(super) type Beat = Arc<AtomicU64>;

/// The thread. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Watchdog {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Begins to feed it, `interval` apart.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(
        interval: Duration,
        workers: Vec<Arc<WorkerStats>>,
        control: Beat,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let mut progress = Progress::new(workers.len(), interval);
        let feed = move || {
            capabilities::none();
            let mut well = true;
            loop {
                let stuck = progress.look(&workers, &control, Instant::now());
                match &stuck {
                    None => notify::alive(),
                    Some(who) if well => error!("{who} does not go on; the watchdog is not fed"),
                    Some(_) => {}
                }
                if stuck.is_none() && !well {
                    info!("all workers and the control thread go on again");
                }
                well = stuck.is_none();
                match stopped.recv_timeout(interval) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(feed)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has been reported already.
            let _ = thread.join();
        }
    }
}

/// Where everybody stood at the last look, and since when.
#[derive(Debug)]
struct Progress {
    workers: Vec<Option<u64>>,
    control: Option<(u64, Instant)>,
    patience: Duration,
}

impl Progress {
    fn new(workers: usize, interval: Duration) -> Self {
        Self {
            workers: vec![None; workers],
            control: None,
            patience: interval.max(CONTROL_PATIENCE),
        }
    }

    /// Who has stood still: a worker since the last look, or the control thread for longer than it may.
    fn look(
        &mut self,
        workers: &[Arc<WorkerStats>],
        control: &AtomicU64,
        now: Instant,
    ) -> Option<String> {
        let beat = control.load(Ordering::Relaxed);
        let since = match self.control {
            Some((before, since)) if before == beat => since,
            _ => now,
        };
        self.control = Some((beat, since));
        let mut stuck = (now.saturating_duration_since(since) > self.patience)
            .then(|| "the control thread".to_owned());
        for (number, (worker, before)) in workers.iter().zip(&mut self.workers).enumerate() {
            let polls = worker.busy_polls.value();
            let polls = polls.wrapping_add(worker.idle_polls.value());
            if before.replace(polls) == Some(polls) {
                stuck = Some(format!("worker {number}"));
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stands_still_starves_the_watchdog() {
        let workers = [(); 2].map(|()| Arc::new(WorkerStats::new(0)));
        let (beat, second) = (AtomicU64::new(0), Duration::from_secs(1));
        let mut now = Instant::now();
        let mut progress = Progress::new(2, second);
        let mut look = |which: &[usize], beats: u64| {
            now += second;
            for worker in which {
                workers[*worker].idle_polls.add(1);
            }
            beat.fetch_add(beats, Ordering::Relaxed);
            progress.look(&workers, &beat, now)
        };
        assert_eq!(look(&[], 0), None);
        assert_eq!(look(&[0, 1], 1), None);
        assert_eq!(look(&[0], 1), Some("worker 1".to_owned()));
        assert_eq!(look(&[1], 1), Some("worker 0".to_owned()));
        // The control thread has a little longer than one look.
        for _ in 0..3 {
            assert_eq!(look(&[0, 1], 0), None);
        }
        assert_eq!(look(&[0, 1], 0), Some("the control thread".to_owned()));
        assert_eq!(look(&[0, 1], 1), None);
    }
}
