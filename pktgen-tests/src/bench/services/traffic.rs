//! A worker on memory queues that forwards without a pause while the configuration changes under it.
//! It judges nothing: what it lost and how long it took is for the caller to say.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_dataplane::io::PacketBuf as _;
use plimsoll_dataplane::io::heap::{HeapBuf, MemoryPool};
use plimsoll_dataplane::io::memory::{MemoryWire, memory_port};
use plimsoll_dataplane::pipeline::{Config, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::testing::PacketBuilder;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::{Mac, tcp};
use plimsoll_dataplane::worker::{Commands, Resources, Worker, commands};
use serde::Serialize;

use super::plan::{NEIGHBOUR_MAC, NEIGHBOURS, PORT, PlannedService};

/// Frames that are given to the worker for each poll.
const BURST: usize = 32;
/// Sessions that it has room for.
const SESSIONS: u32 = 65_536;

/// What a worker did over some time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WorkerFigures {
    /// Rounds of the worker, a burst each.
    pub polls: u64,
    /// The longest of them, in microseconds. On a shared machine the scheduler's pauses are in it.
    pub longest_poll_us: f64,
    /// Those of more than 100 microseconds.
    pub polls_over_100_us: u64,
}

/// What the thread tells while it runs.
#[derive(Debug, Default)]
struct Told {
    stop: AtomicBool,
    polls: AtomicU64,
    longest_ns: AtomicU64,
    over_100_us: AtomicU64,
}

impl Told {
    fn note(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.longest_ns.fetch_max(ns, Ordering::Relaxed);
        let is_long = u64::from(took > Duration::from_micros(100));
        self.over_100_us.fetch_add(is_long, Ordering::Relaxed);
    }
}

/// Packets that went into the worker, and of those the ones that left for a real server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passed {
    pub(super) sent: u64,
    pub(super) forwarded: u64,
}

/// The worker's thread.
#[derive(Debug)]
pub(super) struct Traffic {
    told: Arc<Told>,
    thread: JoinHandle<Passed>,
    /// Its counters.
    pub(super) stats: Arc<WorkerStats>,
    /// How it is told something.
    pub(super) commands: Commands,
}

impl Traffic {
    /// Starts a worker on `publisher`'s snapshots, whose network port has the MAC `mac`, with a session
    /// to each of the services whose real servers' MACs are configured.
    pub(super) fn start(
        publisher: &mut Publisher<Snapshot>,
        devices: usize,
        mac: Mac,
    ) -> std::io::Result<Self> {
        let (queues, wires): (_, Vec<MemoryWire>) = (0..devices).map(|_| memory_port()).unzip();
        let commands = commands();
        let start = Start {
            worker: 0,
            workers: 1,
        };
        let config = Config::new(start, SESSIONS, [5, 6, 7, 8]);
        let resources = Resources {
            queues,
            pool: MemoryPool::new(8192),
            reader: publisher.subscribe(),
            commands: Arc::clone(&commands),
            inboxes: inboxes(1),
        };
        let mut worker = Worker::new(&config, resources);
        let stats = Arc::clone(worker.stats());
        let told = Arc::new(Told::default());
        let (teller, begun) = (Arc::clone(&told), Instant::now());
        let frames = frames(mac);
        let body = move || {
            let mut passed = Passed::default();
            let Some(wire) = wires.first() else {
                return passed;
            };
            let mut frames = frames.iter().cycle();
            while !teller.stop.load(Ordering::Relaxed) {
                for frame in frames.by_ref().take(BURST) {
                    wire.send(frame);
                }
                let before = Instant::now();
                worker.poll(Time::from_ms(0) + before.duration_since(begun));
                teller.note(before.elapsed());
                passed.sent += BURST as u64;
                let left = std::iter::from_fn(|| wire.receive());
                passed.forwarded += left.filter(is_to_a_real_server).count() as u64;
            }
            passed
        };
        let thread = std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(body)?;
        Ok(Self {
            told,
            thread,
            stats,
            commands,
        })
    }

    /// The figures since the last call, or since the start.
    pub(super) fn figures(&self) -> WorkerFigures {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let longest = Duration::from_nanos(take(&self.told.longest_ns));
        WorkerFigures {
            polls: take(&self.told.polls),
            longest_poll_us: longest.as_secs_f64() * 1e6,
            polls_over_100_us: take(&self.told.over_100_us),
        }
    }

    /// Ends the thread; `None` if it had ended by a panic.
    pub(super) fn stop(self) -> Option<Passed> {
        self.told.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok()
    }
}

/// A segment of each session: a SYN, of which all but the first are sent again.
fn frames(mac: Mac) -> Vec<Vec<u8>> {
    let client = Ipv4Addr::new(198, 51, 100, 7);
    (0..NEIGHBOURS)
        .map(|number| {
            PacketBuilder::v4(client, PlannedService::new(number).vip())
                .mac(Mac([2, 0, 0, 0, 0, 9]), mac)
                .tcp(40_000, PORT)
                .flags(tcp::SYN)
                .build()
        })
        .collect()
}

/// Whether the frame has the MAC of one of the fixed neighbours.
fn is_to_a_real_server(frame: &HeapBuf) -> bool {
    frame.bytes().starts_with(&NEIGHBOUR_MAC)
}
