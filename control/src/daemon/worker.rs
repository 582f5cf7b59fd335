//! The workers' threads: one for each CPU, which polls until it is told to stop.
//! What a poll does is the data plane's; the clock that it must not read is here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use plimsoll_dataplane::pipeline::{Config, Inboxes, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::worker::{Commands, Parts, Worker, commands};
use plimsoll_dpdk::{Mbuf, Mempool, PoolHandle, RxQueue, TxQueue, cycles, register_thread};
use tokio::sync::watch;

use super::hardware::Queues;
use super::{DaemonError, cpus};
use crate::running::WorkerHandle;

/// Empty polls in a row after which another thread on the CPU gets its turn.
const POLITE: u32 = 64;

/// What the workers are started with.
pub(super) struct Plan<'a> {
    pub(super) cpus: &'a [usize],
    pub(super) sessions: u32,
    pub(super) keys: [u64; 4],
    /// By worker.
    pub(super) queues: Vec<Queues>,
    pub(super) pool: &'a Mempool,
    pub(super) publisher: &'a mut Publisher<Snapshot>,
    pub(super) time_zero: Instant,
}

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    handles: Vec<(usize, Arc<WorkerStats>, Commands)>,
    stop: Arc<AtomicBool>,
    ended: watch::Receiver<Option<usize>>,
}

impl Workers {
    /// Starts all of them and waits until they poll.
    pub(super) fn start(plan: Plan<'_>) -> Result<Self, DaemonError> {
        let (report_end, ended) = watch::channel(None);
        let report_end = Arc::new(report_end);
        let mut workers = Self {
            threads: Vec::new(),
            handles: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            ended,
        };
        let inboxes: Inboxes<Mbuf> = inboxes(plan.cpus.len());
        let mut waiting = Vec::new();
        for ((number, cpu), ports) in plan.cpus.iter().copied().enumerate().zip(plan.queues) {
            let commands = commands();
            let (ready, is_ready) = mpsc::sync_channel(1);
            let job = Job {
                cpu,
                config: Config {
                    start: Start {
                        worker: number,
                        workers: plan.cpus.len(),
                    },
                    sessions: plan.sessions,
                    keys: plan.keys,
                },
                parts: Parts {
                    ports,
                    pool: plan.pool.handle(),
                    reader: plan.publisher.subscribe(),
                    commands: Arc::clone(&commands),
                    inboxes: Arc::clone(&inboxes),
                },
                time_zero: plan.time_zero,
                stop: Arc::clone(&workers.stop),
                end: End {
                    worker: number,
                    report: Arc::clone(&report_end),
                },
            };
            let failed = |reason: String| DaemonError::WorkerStart {
                worker: number,
                cpu,
                reason,
            };
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || job.run(&ready))
                .map_err(|error| failed(error.to_string()));
            match thread {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    workers.stop();
                    return Err(error);
                }
            }
            waiting.push((number, cpu, commands, is_ready));
        }
        for (number, cpu, commands, is_ready) in waiting {
            let stats = is_ready
                .recv()
                .unwrap_or_else(|_| Err("it has ended".to_owned()));
            match stats {
                Ok(stats) => workers.handles.push((cpu, stats, commands)),
                Err(reason) => {
                    workers.stop();
                    return Err(DaemonError::WorkerStart {
                        worker: number,
                        cpu,
                        reason,
                    });
                }
            }
        }
        Ok(workers)
    }

    /// What the control thread keeps of each.
    pub(super) fn handles(&self) -> Vec<WorkerHandle> {
        self.handles
            .iter()
            .map(|(cpu, stats, commands)| WorkerHandle {
                cpu: *cpu,
                stats: Arc::clone(stats),
                commands: Arc::clone(commands),
            })
            .collect()
    }

    /// Tells which worker has ended, should one.
    pub(super) fn ended(&self) -> watch::Receiver<Option<usize>> {
        self.ended.clone()
    }

    /// Ends them after the poll that they are in.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            // One that panicked has been reported already.
            let _ = thread.join();
        }
    }
}

/// Reports the thread's end, however it ends.
struct End {
    worker: usize,
    report: Arc<watch::Sender<Option<usize>>>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.report.send_replace(Some(self.worker));
    }
}

/// What one thread is given.
struct Job {
    cpu: usize,
    config: Config,
    parts: Parts<RxQueue, TxQueue, PoolHandle>,
    time_zero: Instant,
    stop: Arc<AtomicBool>,
    end: End,
}

impl Job {
    fn run(self, ready: &mpsc::SyncSender<Result<Arc<WorkerStats>, String>>) {
        let _end = self.end;
        if !cpus::pin(self.cpu) {
            let _ = ready.send(Err("the system does not let it run there".to_owned()));
            return;
        }
        // Outlives the worker, whose buffers go back through the thread's cache.
        let _registered = match register_thread() {
            Ok(registered) => registered,
            Err(error) => {
                let _ = ready.send(Err(error.to_string()));
                return;
            }
        };
        // Made here, so that its tables are in memory near this CPU.
        let mut worker = Worker::new(&self.config, self.parts);
        let _ = ready.send(Ok(Arc::clone(worker.stats())));
        let mut clock = Clock::new(self.time_zero);
        let mut empty = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if worker.poll(clock.now()) > 0 {
                empty = 0;
                continue;
            }
            empty += 1;
            if empty == POLITE {
                empty = 0;
                std::thread::yield_now();
            }
        }
    }
}

/// Milliseconds since a start, cheap enough to be read at every poll.
struct Clock {
    start: Instant,
    /// The time stamp counter when `now` was read from the system.
    read_at: u64,
    now: Time,
}

/// A tenth of a millisecond at 3 GHz. It only decides how often the system's clock is read, so a CPU with
/// another frequency is late by a fraction of a millisecond and no more.
const CYCLES_BETWEEN_READS: u64 = 300_000;

impl Clock {
    fn new(start: Instant) -> Self {
        Self {
            start,
            read_at: cycles(),
            now: Time::from_ms(0) + start.elapsed(),
        }
    }

    fn now(&mut self) -> Time {
        let cycles = cycles();
        if cycles.wrapping_sub(self.read_at) >= CYCLES_BETWEEN_READS {
            self.read_at = cycles;
            self.now = Time::from_ms(0) + self.start.elapsed();
        }
        self.now
    }
}
