//! The workers' threads: one for each CPU, which polls until it is told to stop.
//! What a poll does is the data plane's; how long to rest between two is `idle.rs`'s to decide.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_dataplane::id::DeviceId;
use plimsoll_dataplane::io;
use plimsoll_dataplane::memory::Memory;
use plimsoll_dataplane::pipeline::{Config, Inboxes, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::steering::Steering;
use plimsoll_dataplane::worker::{Commands, Resources, Worker, commands};
use plimsoll_dpdk::{
    HugePages, Interrupts, Mbuf, Mempool, PoolHandle, RxQueue, TxQueue, register_thread,
};
use rustix::thread::{Timespec, nanosleep, set_current_timer_slack};
use tokio::sync::watch;
use tracing::{info, warn};

use super::clock::Clock;
use super::cpus;
use super::error::DaemonError;
use super::hardware::Queues;
use super::idle::{Idle, LONGEST, LONGEST_ALONE, Manner, Step};
use crate::capabilities;
use crate::config::valid;
use crate::running::WorkerHandle;

/// What the workers are started with.
pub(super) struct Plan<'a> {
    pub(super) cpus: &'a [usize],
    pub(super) sessions: u32,
    pub(super) idle: valid::Idle,
    pub(super) keys: [u64; 4],
    pub(super) side_lines: bool,
    /// Ticks of the time stamp counter.
    pub(super) cycles_per_second: u64,
    pub(super) steering: Option<Arc<Steering>>,
    /// By worker.
    pub(super) queues: Vec<Queues>,
    pub(super) pool: &'a Mempool,
    pub(super) publisher: &'a mut Publisher<Snapshot>,
    pub(super) time_zero: Instant,
}

/// One worker's queues on one device.
pub(super) type QueuePair = io::QueuePair<RxQueue, TxQueue>;

/// What a worker's thread is asked to do, besides what its worker is: it looks at one byte between two polls.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailbox(Arc<Letters>);

#[derive(Debug, Default)]
struct Letters {
    asked: AtomicU8,
    /// Queues to put in the place of those that devices have.
    new: Mutex<Vec<(DeviceId, QueuePair)>>,
    /// Those whose place they took.
    former: Mutex<Vec<(DeviceId, QueuePair)>>,
}

/// Nothing is asked.
const GO_ON: u8 = 0;
/// Other queues are there.
const SWAP: u8 = 1;
/// The end.
const STOP: u8 = 2;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    /// Has the worker use other queues for a device.
    pub(super) fn put(&self, device: DeviceId, queues: QueuePair) {
        lock(&self.0.new).push((device, queues));
        self.0.asked.fetch_or(SWAP, Ordering::Release);
    }

    /// The queues of a device that the worker has given up, which nobody uses any more.
    pub(super) fn take_former(&self, device: DeviceId) -> Vec<QueuePair> {
        let mut former = lock(&self.0.former);
        let taken = former.extract_if(.., |(of, _)| *of == device);
        taken.map(|(_, queues)| queues).collect()
    }

    fn stop(&self) {
        self.0.asked.fetch_or(STOP, Ordering::Release);
    }

    /// The worker's look.
    fn asked(&self) -> u8 {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Gives the worker the new queues, and keeps the former ones for who frees their device.
    fn swap(&self, worker: &mut Worker<RxQueue, TxQueue, PoolHandle>) {
        self.0.asked.fetch_and(!SWAP, Ordering::Acquire);
        for (device, queues) in lock(&self.0.new).drain(..) {
            if let Some(former) = worker.replace_queues(device, queues) {
                lock(&self.0.former).push((device, former));
            }
        }
    }
}

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    handles: Vec<(usize, Arc<WorkerStats>, Commands)>,
    mailboxes: Vec<Mailbox>,
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
            mailboxes: plan.cpus.iter().map(|_| Mailbox::default()).collect(),
            ended,
        };
        let inboxes: Inboxes<Mbuf> = inboxes(plan.cpus.len());
        let mut waiting = Vec::new();
        let mailboxes = workers.mailboxes.clone();
        let places = plan.cpus.iter().copied().enumerate();
        for (((number, cpu), queues), mailbox) in places.zip(plan.queues).zip(mailboxes) {
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
                    memory: Memory::new(&HugePages),
                    side_lines: plan.side_lines,
                    steering: plan.steering.clone(),
                },
                resources: Resources {
                    queues,
                    pool: plan.pool.handle(),
                    reader: plan.publisher.subscribe(),
                    commands: Arc::clone(&commands),
                    inboxes: Arc::clone(&inboxes),
                },
                time_zero: plan.time_zero,
                cycles_per_second: plan.cycles_per_second,
                idle: plan.idle,
                mailbox,
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

    /// The ways to the workers' threads, in the order of their numbers.
    pub(super) fn mailboxes(&self) -> Vec<Mailbox> {
        self.mailboxes.clone()
    }

    /// Tells which worker has ended, should one.
    pub(super) fn ended(&self) -> watch::Receiver<Option<usize>> {
        self.ended.clone()
    }

    /// Ends them after the poll that they are in.
    pub(super) fn stop(self) {
        self.mailboxes.iter().for_each(Mailbox::stop);
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
    resources: Resources<RxQueue, TxQueue, PoolHandle>,
    time_zero: Instant,
    cycles_per_second: u64,
    idle: valid::Idle,
    mailbox: Mailbox,
    end: End,
}

impl Job {
    fn run(self, ready: &mpsc::SyncSender<Result<Arc<WorkerStats>, String>>) {
        let _end = self.end;
        if !cpus::pin(self.cpu) {
            let _ = ready.send(Err("the system does not let it run there".to_owned()));
            return;
        }
        capabilities::none();
        // Outlives the worker, whose buffers go back through the thread's cache.
        let _registered = match register_thread() {
            Ok(registered) => registered,
            Err(error) => {
                let _ = ready.send(Err(error.to_string()));
                return;
            }
        };
        // Made here, so that its tables are in memory near this CPU.
        let mut worker = Worker::new(&self.config, self.resources);
        let stats = Arc::clone(worker.stats());
        let _ = ready.send(Ok(Arc::clone(&stats)));
        let mut clock = Clock::new(self.time_zero, self.cycles_per_second);
        let start = self.config.start;
        let (mut interrupts, mut idle) = idleness(self.idle, start, &mut worker);
        loop {
            match self.mailbox.asked() {
                GO_ON => {}
                SWAP => {
                    self.mailbox.swap(&mut worker);
                    (interrupts, idle) = idleness(self.idle, start, &mut worker);
                }
                _ => break,
            }
            let now = clock.now(&stats);
            let found = worker.poll(now) > 0;
            clock.polled(found);
            match idle.after(found, || worker.has_more(now)) {
                Step::Poll => {}
                Step::Yield => std::thread::yield_now(),
                Step::Arm => {
                    worker.receive_queues().for_each(RxQueue::arm);
                    if let Some(interrupts) = &interrupts {
                        // Without one of them, the wait ends by its limit.
                        let _ = interrupts.renew(worker.receive_queues().map(|queue| &*queue));
                    }
                }
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

/// How the calling thread spends its idle time, with the queues that it has now.
fn idleness(
    idle: valid::Idle,
    start: Start,
    worker: &mut Worker<RxQueue, TxQueue, PoolHandle>,
) -> (Option<Interrupts>, Idle) {
    let (interrupts, manner) = match idle {
        valid::Idle::Poll => (None, Manner::Poll),
        valid::Idle::Sleep => sleeping(start, worker.receive_queues().map(|queue| &*queue)),
    };
    (interrupts, Idle::new(manner))
}

/// Makes the calling thread ready for `dataplane.idle: sleep`, and says how it sleeps.
fn sleeping<'a>(
    start: Start,
    queues: impl Iterator<Item = &'a RxQueue>,
) -> (Option<Interrupts>, Manner) {
    // Linux wakes threads up to 50 us late unless they ask for better. One that does not get it is later, no more.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let worker = start.worker;
    match Interrupts::of(queues) {
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
