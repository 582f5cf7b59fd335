//! The workers' threads: one for each CPU, which polls until it is told to stop.
//! What a poll does is the data plane's; how long to rest between two is `idle.rs`'s to decide.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_dataplane::io::PortQueues;
use plimsoll_dataplane::pipeline::{Config, Inboxes, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::worker::{Commands, Parts, Worker, commands};
use plimsoll_dpdk::{Interrupts, Mbuf, Mempool, PoolHandle, RxQueue, TxQueue, register_thread};
use rustix::thread::{Timespec, nanosleep, set_current_timer_slack};
use tokio::sync::watch;
use tracing::{info, warn};

use super::clock::Clock;
use super::hardware::Queues;
use super::idle::{Idle, LONGEST, LONGEST_ALONE, Manner, Step};
use super::{DaemonError, cpus};
use crate::config::valid;
use crate::running::WorkerHandle;

/// What the workers are started with.
pub(super) struct Plan<'a> {
    pub(super) cpus: &'a [usize],
    pub(super) sessions: u32,
    pub(super) idle: valid::Idle,
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
                idle: plan.idle,
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
    idle: valid::Idle,
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
        let (interrupts, manner) = match self.idle {
            valid::Idle::Poll => (None, Manner::Poll),
            valid::Idle::Sleep => sleeping(self.config.start, &self.parts.ports),
        };
        let mut idle = Idle::new(manner);
        // Made here, so that its tables are in memory near this CPU.
        let mut worker = Worker::new(&self.config, self.parts);
        let stats = Arc::clone(worker.stats());
        let _ = ready.send(Ok(Arc::clone(&stats)));
        let mut clock = Clock::new(self.time_zero);
        while !self.stop.load(Ordering::Relaxed) {
            let now = clock.now(&stats);
            let found = worker.poll(now) > 0;
            clock.polled(found);
            match idle.after(found, || worker.has_more(now)) {
                Step::Poll => {}
                Step::Yield => std::thread::yield_now(),
                Step::Arm => worker.receive_queues().for_each(RxQueue::arm),
                Step::Disarm => worker.receive_queues().for_each(RxQueue::disarm),
                Step::Pause(time) => {
                    clock.rest();
                    pause(time);
                }
                Step::Wait(limit) => {
                    clock.rest();
                    if wait(interrupts.as_ref(), limit) {
                        idle.interrupted();
                    }
                }
            }
        }
    }
}

/// Makes the calling thread ready for `dataplane.idle: sleep`, and says how it sleeps.
fn sleeping(start: Start, ports: &[PortQueues<RxQueue, TxQueue>]) -> (Option<Interrupts>, Manner) {
    // Linux wakes threads up to 50 us late unless they ask for better. One that does not get it is later, no more.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let worker = start.worker;
    match Interrupts::of(ports.iter().map(|port| &port.rx)) {
        Ok(Some(interrupts)) => {
            info!(worker, "sleeps until a port interrupts when it is idle");
            // What other workers hand over interrupts nobody.
            let limit = if start.workers == 1 {
                LONGEST_ALONE
            } else {
                LONGEST
            };
            (Some(interrupts), Manner::Interrupt(limit))
        }
        Ok(None) => {
            info!(
                worker,
                "pauses between polls when it is idle, as not all ports have receive interrupts"
            );
            (None, Manner::Pause)
        }
        Err(error) => {
            warn!(
                worker,
                "cannot wait for interrupts, and pauses instead: {error}"
            );
            (None, Manner::Pause)
        }
    }
}

/// Gives the CPU back for so long, or until a signal comes.
fn pause(time: Duration) {
    if let Ok(time) = Timespec::try_from(time) {
        let _ = nanosleep(&time);
    }
}

/// Waits for an interrupt, no longer than `limit`; says whether one came.
fn wait(interrupts: Option<&Interrupts>, limit: Duration) -> bool {
    if let Some(Ok(told)) = interrupts.map(|interrupts| interrupts.wait(limit)) {
        told
    } else {
        pause(limit);
        false
    }
}
