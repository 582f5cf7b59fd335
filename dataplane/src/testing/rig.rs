//! Whole workers on ports in memory, driven step by step: frames in, frames out, time as told.
//! It checks the books after every step and decides nothing about packets.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::io::heap::{HeapBuf, MemoryPool};
use crate::io::memory::{MemoryRx, MemoryTx, MemoryWire, memory_port};
use crate::io::{PacketBuf, Pool};
use crate::parse::parse;
use crate::pipeline::{Config, inboxes};
use crate::schedule::Start;
use crate::snapshot::Snapshot;
use crate::snapshot::build::Builder;
use crate::snapshot::model::Totals;
use crate::snapshot::rcu::Publisher;
use crate::spec::Spec;
use crate::stats::WorkerStats;
use crate::steering::Steering;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::worker::{Command, Commands, Listing, Resources, SessionRecord, Worker, commands};

/// Buffers in the pool that all workers share.
const POOL: usize = 8192;
/// How far time moves between two rounds: less than anything here waits for.
const STEP_MS: u64 = 250;
/// Rounds after which something goes round in circles.
const ROUNDS: usize = 100_000;
/// Rounds without work after which nothing more is to be expected.
const QUIET_ROUNDS: usize = 3;

/// A frame that left, with the number of the device that it left by.
pub type Sent = (u16, Vec<u8>);

/// The same with devices that are known to spread flows.
#[must_use]
pub fn on_steered_ports(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    let devices = spec.devices.iter_mut();
    devices.for_each(|device| device.steered = true);
    spec
}

#[derive(Debug)]
struct Member {
    worker: Worker<MemoryRx, MemoryTx, MemoryPool>,
    wires: Vec<MemoryWire>,
    commands: Commands,
    /// Whether the worker is not polled.
    is_stalled: bool,
}

/// Some workers, their ports, and the control thread's half of the snapshot.
#[derive(Debug)]
pub struct Rig {
    members: Vec<Member>,
    pool: MemoryPool,
    publisher: Publisher<Snapshot>,
    builder: Builder,
    steering: Option<Arc<Steering>>,
    now: Time,
    /// Frames that were sent to the ports.
    injected: u64,
}

impl Rig {
    /// `workers` workers under `spec`, with room for 4096 sessions each, at time 0.
    #[must_use]
    pub fn new(workers: usize, spec: &Spec) -> Self {
        Self::with_sessions(workers, 4096, spec)
    }

    /// The same with room for `sessions` sessions of each family on each worker.
    #[must_use]
    pub fn with_sessions(workers: usize, sessions: u32, spec: &Spec) -> Self {
        Self::start(workers, sessions, spec, None)
    }

    /// As [`Self::new`], with ports that put frames on queues as NICs do that were told how: see
    /// [`Self::inject_by_nic`].
    #[must_use]
    pub fn steered(workers: usize, spec: &Spec) -> Self {
        let steering = Arc::new(Steering::usual(workers));
        Self::start(workers, 4096, &on_steered_ports(spec), Some(steering))
    }

    fn start(workers: usize, sessions: u32, spec: &Spec, steering: Option<Arc<Steering>>) -> Self {
        let mut builder = Builder::new(workers, &RandomState::with_seeds(1, 2, 3, 4));
        let mut publisher = Publisher::new(builder.build(spec, true));
        let pool = MemoryPool::new(POOL);
        let boxes = inboxes(workers);
        let members = (0..workers)
            .map(|worker| {
                let (queues, wires) = spec.devices.iter().map(|_| memory_port()).unzip();
                let queue = commands();
                let config = Config {
                    steering: steering.clone(),
                    ..Config::new(Start { worker, workers }, sessions, [5, 6, 7, 8])
                };
                let resources = Resources {
                    queues,
                    pool: pool.clone(),
                    reader: publisher.subscribe(),
                    commands: Arc::clone(&queue),
                    inboxes: Arc::clone(&boxes),
                };
                Member {
                    worker: Worker::new(&config, resources),
                    wires,
                    commands: queue,
                    is_stalled: false,
                }
            })
            .collect();
        Self {
            members,
            pool,
            publisher,
            builder,
            steering,
            now: Time::default(),
            injected: 0,
        }
    }

    /// Puts `spec` in force, as the control thread does.
    pub fn reload(&mut self, spec: &Spec) {
        let quiescent = self.publisher.is_quiescent();
        let spec = Spec {
            now: self.now,
            ..spec.clone()
        };
        self.publisher.publish(self.builder.build(&spec, quiescent));
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.publisher.current()
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets `frame` arrive at `port` in `worker`'s queue; nobody looks at it yet.
    pub fn inject(&mut self, worker: usize, port: u16, frame: &[u8]) {
        let buf = self.buffer(frame);
        if let Some(wire) = self.wire(worker, port) {
            wire.send_buf(buf);
            self.injected += 1;
        }
    }

    /// Lets `frame` arrive at `port` in the queue that a NIC chooses by its hash, which is given back; nobody
    /// looks at it yet.
    pub fn inject_by_nic(&mut self, port: u16, frame: &[u8]) -> usize {
        let steering = self.steering.as_ref();
        let queue = steering.map_or(0, |steering| steering.queue_of(&parse(frame)));
        self.inject(queue, port, frame);
        queue
    }

    /// The same, and returns what leaves, in order.
    pub fn pass_by_nic(&mut self, port: u16, frame: &[u8]) -> Vec<Sent> {
        self.inject_by_nic(port, frame);
        self.run()
    }

    /// Frames handed over between workers so far.
    #[must_use]
    pub fn handed_over(&self) -> u64 {
        self.stats().map(|stats| stats.handed_over.value()).sum()
    }

    /// A buffer of the pool if the frame fits into one, since those are counted.
    fn buffer(&mut self, frame: &[u8]) -> HeapBuf {
        if let Some(mut buf) = self.pool.allocate()
            && buf.set_len(frame.len()).is_ok()
        {
            buf.bytes_mut().copy_from_slice(frame);
            return buf;
        }
        HeapBuf::from_frame(frame)
    }

    /// The other end of a port of one worker.
    #[must_use]
    pub fn wire(&self, worker: usize, port: u16) -> Option<&MemoryWire> {
        self.members.get(worker)?.wires.get(usize::from(port))
    }

    /// Lets `frame` arrive at `port` on the first worker; returns what leaves, in order.
    pub fn pass(&mut self, port: u16, frame: &[u8]) -> Vec<Sent> {
        self.pass_on(0, port, frame)
    }

    /// The same on one of several workers.
    pub fn pass_on(&mut self, worker: usize, port: u16, frame: &[u8]) -> Vec<Sent> {
        self.inject(worker, port, frame);
        self.run()
    }

    /// Polls one worker once and takes nothing off the wires; returns how much came in.
    pub fn poll(&mut self, worker: usize) -> usize {
        let now = self.now;
        let member = self.members.get_mut(worker);
        member.map_or(0, |member| member.worker.poll(now))
    }

    /// Whether one worker says that another poll is due at once.
    #[must_use]
    pub fn has_more(&self, worker: usize) -> bool {
        let member = self.members.get(worker);
        member.is_some_and(|member| member.worker.has_more(self.now))
    }

    /// Stops polling one worker, or goes on with it. What comes for it meanwhile waits in its receive queues
    /// and in its inbox.
    pub fn stall(&mut self, worker: usize, is_stalled: bool) {
        if let Some(member) = self.members.get_mut(worker) {
            member.is_stalled = is_stalled;
        }
    }

    /// Polls all workers that are not stalled until nothing more happens; returns what left, in order.
    ///
    /// # Panics
    /// If the books do not balance, or it never ends.
    pub fn run(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut quiet = 0;
        for round in 0.. {
            assert!(round < ROUNDS, "packets go round in circles");
            let mut work = 0;
            for member in self.members.iter_mut().filter(|member| !member.is_stalled) {
                work += member.worker.poll(self.now);
                for (port, wire) in (0..).zip(&member.wires) {
                    sent.extend(wire.drain().into_iter().map(|frame| (port, frame)));
                }
            }
            // Frames that a full transmit queue takes none of do not count: it takes them no sooner.
            let behind = |member: &Member| !member.is_stalled && member.worker.has_more(self.now);
            if work > 0 || self.members.iter().any(behind) {
                quiet = 0;
            } else {
                quiet += 1;
            }
            if quiet == QUIET_ROUNDS {
                break;
            }
        }
        self.check();
        sent
    }

    /// Lets `ms` milliseconds pass in small steps; returns what left meanwhile.
    pub fn wait_ms(&mut self, ms: u64) -> Vec<Sent> {
        let end = self.now.plus_ms(ms);
        let mut sent = Vec::new();
        while self.now < end {
            self.now = self.now.plus_ms(STEP_MS).min(end);
            sent.extend(self.run());
        }
        sent
    }

    /// Holds the books against each other.
    ///
    /// # Panics
    /// If a frame has no verdict, or two, or was lost without being counted on its way in or between two
    /// workers.
    fn check(&self) {
        for (worker, stats) in self.stats().enumerate() {
            assert!(stats.balanced(), "worker {worker}: {stats:#?}");
        }
        let wires = || self.members.iter().flat_map(|member| &member.wires);
        let refused: u64 = wires().map(|wire| wire.missed() + wire.lost()).sum();
        let pending: usize = wires().map(MemoryWire::pending).sum();
        let received: u64 = self.stats().map(|stats| stats.verdicts().received).sum();
        assert_eq!(
            self.injected,
            received + refused + pending as u64,
            "frames sent to the ports"
        );
        let handed: u64 = self.stats().map(|stats| stats.handed_over.value()).sum();
        let taken: u64 = self.stats().map(|stats| stats.taken_over.value()).sum();
        if self.members.iter().any(|member| member.is_stalled) {
            // The rest waits in its inbox.
            assert!(handed >= taken, "{handed} handed over, {taken} taken over");
        } else {
            assert_eq!(handed, taken, "frames handed over and taken over");
        }
    }

    /// Every worker's counters.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> {
        self.members.iter().map(|member| &**member.worker.stats())
    }

    /// Packets dropped for `reason` on all workers.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.stats().map(|stats| stats.drops(reason)).sum()
    }

    /// Every reason with drops, and how many.
    #[must_use]
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.drops(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Frames that wait for a MAC or for other fragments, on all workers.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.stats().map(|stats| stats.waiting.value()).sum()
    }

    /// Buffers of the pool that somebody holds.
    #[must_use]
    pub fn held(&self) -> usize {
        POOL - self.pool.free()
    }

    /// What was counted for the configured real servers at `address`, in all services.
    #[must_use]
    pub fn totals(&self, address: IpAddr) -> Totals {
        let snapshot = self.snapshot();
        let mut totals = Totals::default();
        for real in snapshot.reals.iter() {
            if real.configured && real.spec.address == address {
                totals.add(&snapshot.real_totals(real.id));
            }
        }
        totals
    }

    /// Gives `worker` something to do.
    pub fn command(&mut self, worker: usize, command: Command) {
        if let Some(member) = self.members.get(worker) {
            // A full queue is the caller's mistake, and shows in what follows.
            let _ = member.commands.push(command);
        }
    }

    /// All sessions of all workers.
    pub fn sessions(&mut self) -> Vec<SessionRecord> {
        let mut sessions = Vec::new();
        for member in &mut self.members {
            let listing = Arc::new(Listing::default());
            let _ = member.commands.push(Command::List(Arc::clone(&listing)));
            while !listing.is_done() {
                member.worker.poll(self.now);
                sessions.extend(std::iter::from_fn(|| listing.take()));
            }
            sessions.extend(std::iter::from_fn(|| listing.take()));
        }
        sessions
    }
}
