//! Part (c): a worker on a port of DPDK without a wire, with real packet buffers, in this process.
//!
//! Must not time the writing and judging of frames: what they take is counted in the queues and taken off.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use plimsoll_dataplane::io::{self, BURST, PacketBuf as _, QueuePair};
use plimsoll_dataplane::pipeline::{Config, inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::ethernet;
use plimsoll_dataplane::worker::{Resources, Worker, commands};
use plimsoll_dpdk::{
    Eal, EalConfig, Mbuf, Memory, Mempool, PoolHandle, Port, PortConfig, RxQueue, TxQueue, cycles,
    device,
};

use super::case::{self, Case};
use super::memory::publish;
use super::model::{LeftOut, Part, Results, Row};
use super::plan::{Plan, pin};
use super::traffic::{Back, Traffic};
use super::unit::Unit;
use crate::pktgen::{Protocol, Returns};

/// Packet memory, in MiB.
const MEMORY_MIB: u32 = 64;
/// Buffers: far more than are under way at a time.
const BUFFERS: u32 = 8191;
/// Bursts of one round.
const BURSTS: u64 = 8192;
const QUICK_BURSTS: u64 = 512;
/// Answers that wait for their turn at most.
const ANSWERS: usize = 1024;
/// Room for the longest frame that is written here.
const FRAME: usize = 128;

/// The outside world of one port: where frames come from, and who judges them.
struct World {
    traffic: Traffic,
    opening: Option<Opening>,
    answers: VecDeque<([u8; FRAME], usize)>,
    /// Ticks that were spent here and not in what is measured.
    ticks: u64,
    given: u64,
    taken: u64,
}

/// All flows in turn, before they come in random order.
struct Opening {
    next: u32,
    again: bool,
}

impl World {
    fn new(case: &Case, returns: Returns) -> Result<Self> {
        Ok(Self {
            traffic: Traffic::new(case, returns, 0)?,
            opening: None,
            answers: VecDeque::with_capacity(ANSWERS),
            ticks: 0,
            given: 0,
            taken: 0,
        })
    }

    fn fill(&mut self, frames: &mut [Mbuf]) {
        for frame in frames {
            self.given += 1;
            let mut bytes = [0; FRAME];
            let answer = if self.given.is_multiple_of(2) {
                self.answers.pop_front()
            } else {
                None
            };
            let length = match answer {
                Some((answer, length)) => {
                    bytes = answer;
                    length
                }
                None => self.request(&mut bytes),
            };
            let fits = frame.set_len(length).is_ok();
            if let (true, Some(bytes)) = (fits, bytes.get(..length)) {
                for (to, from) in frame.bytes_mut().iter_mut().zip(bytes) {
                    *to = *from;
                }
            }
        }
    }

    fn request(&mut self, bytes: &mut [u8]) -> usize {
        let count = self.traffic.count();
        match &mut self.opening {
            Some(opening) => {
                let flow = opening.next % count;
                opening.next += 1;
                if opening.again {
                    self.traffic.go_on(flow, bytes)
                } else {
                    self.traffic.open(flow, bytes)
                }
            }
            None => {
                let flow = self.traffic.advance();
                self.traffic.go_on(flow, bytes)
            }
        }
    }

    fn judge(&mut self, frames: &mut [Mbuf]) {
        for frame in frames {
            self.taken += 1;
            let (back, _) = self.traffic.judge(frame.bytes_mut());
            let mut answer = [0; FRAME];
            let bytes = frame.bytes();
            if back == Back::Answer
                && self.answers.len() < ANSWERS
                && let Some(place) = answer.get_mut(..bytes.len())
            {
                place.copy_from_slice(bytes);
                self.answers.push_back((answer, bytes.len()));
            }
        }
    }
}

/// A receive queue whose frames are filled in.
struct FilledRx {
    queue: RxQueue,
    world: Rc<RefCell<World>>,
}

impl io::RxQueue for FilledRx {
    type Buf = Mbuf;

    #[inline]
    fn receive(&mut self, burst: &mut Vec<Mbuf>, max: usize) -> usize {
        let before = burst.len();
        let count = self.queue.receive(burst, max);
        let begun = cycles();
        let mut world = self.world.borrow_mut();
        world.fill(burst.get_mut(before..).unwrap_or_default());
        world.ticks += cycles() - begun;
        count
    }
}

/// A transmit queue whose frames are judged.
struct JudgedTx {
    queue: TxQueue,
    world: Rc<RefCell<World>>,
}

impl io::TxQueue for JudgedTx {
    type Buf = Mbuf;

    #[inline]
    fn transmit(&mut self, frames: &mut Vec<Mbuf>) -> usize {
        let begun = cycles();
        let mut world = self.world.borrow_mut();
        world.judge(frames);
        world.ticks += cycles() - begun;
        self.queue.transmit(frames)
    }
}

/// What forwards.
enum Subject {
    Plimsoll {
        worker: Box<Worker<FilledRx, JudgedTx, PoolHandle>>,
        _publisher: Publisher<Snapshot>,
    },
    /// As testpmd's mode of this name: the driver's cost alone.
    MacSwap {
        queues: QueuePair<FilledRx, JudgedTx>,
        frames: Vec<Mbuf>,
    },
}

struct Bench {
    id: String,
    title: String,
    sessions: Option<u64>,
    subject: Subject,
    world: Rc<RefCell<World>>,
    _port: Port,
    rounds: Vec<f64>,
}

impl Bench {
    /// Opens a port of its own for `case`, or for a swap of MACs with its frames.
    fn new(eal: &Eal, pool: &Mempool, number: usize, case: &Case, swap: bool) -> Result<Self> {
        let config = PortConfig::new(&format!("null{number}"), &format!("net_null{number}"));
        let (port, queues) = Port::open(eal, &config, pool)?;
        let QueuePair { rx, tx } = queues.into_iter().next().context("a port without queues")?;
        let returns = if swap {
            Returns::MacSwapped
        } else {
            Returns::Balanced
        };
        let world = Rc::new(RefCell::new(World::new(case, returns)?));
        let queues = QueuePair {
            rx: FilledRx {
                queue: rx,
                world: Rc::clone(&world),
            },
            tx: JudgedTx {
                queue: tx,
                world: Rc::clone(&world),
            },
        };
        let subject = if swap {
            Subject::MacSwap {
                queues,
                frames: Vec::with_capacity(BURST),
            }
        } else {
            let (_, mut publisher) = publish(case)?;
            let config = Config::new(
                Start {
                    worker: 0,
                    workers: 1,
                },
                case.scenario().sessions,
                [5, 6, 7, 8],
            );
            let resources = Resources {
                queues: vec![queues],
                pool: pool.handle(),
                reader: publisher.subscribe(),
                commands: commands(),
                inboxes: inboxes(1),
            };
            Subject::Plimsoll {
                worker: Box::new(Worker::new(&config, resources)),
                _publisher: publisher,
            }
        };
        let (id, title) = if swap {
            ("macswap".to_owned(), "macswap alone".to_owned())
        } else {
            (
                format!("plimsoll/{}", case.slug()),
                format!("Plimsoll, {}", case.title()),
            )
        };
        Ok(Self {
            id,
            title,
            sessions: case.sessions().filter(|_| !swap).map(u64::from),
            subject,
            world,
            _port: port,
            rounds: Vec::new(),
        })
    }

    /// Enters all sessions.
    fn warm_up(&mut self, case: &Case) {
        let Some(sessions) = case.sessions() else {
            return;
        };
        // Every second frame may be an answer.
        let bursts = 2 * (u64::from(sessions) / BURST as u64 + 1);
        let twice = case.scenario().protocol == Protocol::Tcp;
        for again in [false, true].into_iter().take(1 + usize::from(twice)) {
            self.world.borrow_mut().opening = Some(Opening { next: 0, again });
            self.polls(bursts);
        }
        self.world.borrow_mut().opening = None;
    }

    fn polls(&mut self, count: u64) {
        match &mut self.subject {
            Subject::Plimsoll { worker, .. } => {
                for number in 0..count {
                    // About as many milliseconds as this takes.
                    worker.poll(Time::from_ms(1000 + number / 512));
                }
            }
            Subject::MacSwap { queues, frames } => {
                for _ in 0..count {
                    swap(queues, frames);
                }
            }
        }
    }

    /// Nanoseconds per frame.
    fn round(&mut self, bursts: u64, ticks_per_second: u64) -> f64 {
        let (given, aside) = {
            let world = self.world.borrow();
            (world.given, world.ticks)
        };
        let begun = cycles();
        self.polls(bursts);
        let spent = cycles() - begun;
        let world = self.world.borrow();
        let own = spent.saturating_sub(world.ticks - aside);
        let frames = (world.given - given).max(1);
        own as f64 * 1e9 / ticks_per_second.max(1) as f64 / frames as f64
    }

    fn complaints(&self) -> Vec<String> {
        let world = self.world.borrow();
        let mut complaints: Vec<String> = world
            .traffic
            .faults
            .seen()
            .map(|(fault, count)| format!("null/{}: {count} frames: {fault}", self.id))
            .collect();
        let Subject::Plimsoll { worker, .. } = &self.subject else {
            return complaints;
        };
        let stats = worker.stats();
        if !stats.balanced() {
            complaints.push(format!("null/{}: the counters do not balance", self.id));
        }
        let accounted = world.taken + stats.all_drops();
        if accounted != world.given || stats.all_drops() > 0 {
            complaints.push(format!(
                "null/{}: {} frames came in, {} left, {} were dropped and counted",
                self.id,
                world.given,
                world.taken,
                stats.all_drops()
            ));
        }
        complaints
    }
}

fn swap(queues: &mut QueuePair<FilledRx, JudgedTx>, frames: &mut Vec<Mbuf>) {
    use io::{RxQueue as _, TxQueue as _};
    queues.rx.receive(frames, BURST);
    for frame in frames.iter_mut() {
        if let Some((header, _)) = frame
            .bytes_mut()
            .split_first_chunk_mut::<{ ethernet::HEADER_BYTES }>()
            && let Some(mut header) = ethernet::Header::new_mut(header)
        {
            let (from, to) = (header.source(), header.destination());
            header.set_destination(from);
            header.set_source(to);
        }
    }
    queues.tx.transmit(frames);
    // What the port did not take is dropped, and counted as missing.
    frames.clear();
}

/// Measures all cases, and the driver alone.
///
/// # Errors
/// When DPDK does not start or a case cannot be set up.
pub fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    pin(plan.subject_cpu);
    let eal = Eal::init(EalConfig {
        program: "plimsoll-bench".to_owned(),
        memory: Memory::Auto,
        size_mib: Some(MEMORY_MIB),
        ..EalConfig::default()
    })?;
    let pool = Mempool::new(&eal, "bench", BUFFERS, device::data_room(1500))?;
    let (cases, left_out) = case::null(plan.quick);
    results
        .left_out
        .extend(LeftOut::quick_cases(Part::Null, &left_out));
    let mut benches = Vec::new();
    let ceiling = cases.first().copied().into_iter().map(|case| (case, true));
    let subjects = ceiling.chain(cases.iter().map(|case| (*case, false)));
    let bursts = if plan.quick { QUICK_BURSTS } else { BURSTS };
    for (number, (case, swap)) in subjects.enumerate() {
        let mut bench = Bench::new(&eal, &pool, number, &case, swap)?;
        bench.warm_up(&case);
        bench.round(bursts, eal.cycles_per_second());
        benches.push(bench);
    }
    for _ in 0..plan.rounds {
        for bench in &mut benches {
            let ns = bench.round(bursts, eal.cycles_per_second());
            bench.rounds.push(ns);
        }
    }
    for bench in benches {
        results.faults.extend(bench.complaints());
        results.rows.push(Row {
            sessions: bench.sessions,
            rounds: bench.rounds,
            ..Row::new(Part::Null, &bench.id, &bench.title, Unit::NsPerPacket)
        });
    }
    Ok(())
}
