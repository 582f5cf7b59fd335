//! One worker on queues in memory, with the traffic that it gets: fill untimed, poll timed, check untimed.
//!
//! Must not start threads; workers that belong together meet in [`Shared`] alone.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use plimsoll_dataplane::io::{BURST, PacketBuf as _};
use plimsoll_dataplane::parse::parse;
use plimsoll_dataplane::pipeline::{Config, Inboxes};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::rcu::Reader;
use plimsoll_dataplane::steering::Steering;
use plimsoll_dataplane::testing::{SlotBuf, SlotPool, SlotRx, SlotTx, SlotWire, slot_port};
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::worker::{Resources, Worker, commands};

use super::case::{Case, FULL_TABLE, Load, Spread};
use super::traffic::{Back, Traffic};
use crate::pktgen::{Good, Protocol, Returns, ScenarioError};

/// Frames that are prepared, passed through and checked at a time: few enough for their buffers to stay in the
/// second-level cache, as a NIC would leave them in the third.
pub(super) const RING: usize = 512;
/// Keys of the session tables: the same in every run.
const KEYS: [u64; 4] = [5, 6, 7, 8];
/// How long a session lives that is only begun, in milliseconds (IPVS: `SYN_RECV`).
const HALF_OPEN_MS: f64 = 60_000.0;
/// How full churn keeps the table.
const FULLNESS: f64 = 0.8;
/// Polls without work after which a lane that is alone expects no frame any more.
const IDLE_POLLS: u32 = 1 << 12;
/// How long another lane may take with the rest: the system may have given its CPU to somebody else.
const PATIENCE: Duration = Duration::from_secs(10);
/// Room for the longest frame that is written here.
const SCRATCH: usize = 256;

/// A counter on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lonely(AtomicU64);

/// What the lanes of one case share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Frames given to each lane so far.
    given: Vec<Lonely>,
    /// Frames that have left each lane so far.
    left: Vec<Lonely>,
    arrived: Lonely,
    stuck: AtomicBool,
    /// Which lane has a flow's session.
    owners: Vec<AtomicU8>,
    /// Answers on their way to a lane.
    answers: Vec<Mutex<Vec<SlotBuf>>>,
}

impl Shared {
    pub(super) fn new(case: &Case) -> Self {
        let lanes = usize::from(case.spread.workers());
        let flows = match case.spread {
            Spread::One => 0,
            Spread::Two | Spread::TwoHashed | Spread::TwoCrossing => case.sessions().unwrap_or(0),
        };
        Self {
            given: (0..lanes).map(|_| Lonely::default()).collect(),
            left: (0..lanes).map(|_| Lonely::default()).collect(),
            arrived: Lonely::default(),
            stuck: AtomicBool::new(false),
            owners: (0..flows).map(|_| AtomicU8::new(0)).collect(),
            answers: (0..lanes).map(|_| Mutex::default()).collect(),
        }
    }

    /// Waits for the other lanes; a futex would take longer to wake up than a burst takes.
    fn meet(&self) {
        let lanes = self.given.len() as u64;
        let before = self.arrived.0.fetch_add(1, Ordering::AcqRel);
        let all = (before / lanes + 1) * lanes;
        let mut spins = 0_u32;
        while self.arrived.0.load(Ordering::Acquire) < all {
            spins += 1;
            // The other one may want this very CPU.
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
            spin_loop();
        }
    }

    fn owner(&self, flow: u32) -> Option<&AtomicU8> {
        self.owners.get(usize::try_from(flow).ok()?)
    }
}

/// By how much a new session moves the clock, so that the sessions of one lifetime fill the table to `fullness`.
fn session_ms(case: &Case, fullness: f64) -> f64 {
    match case.load {
        Load::New => HALF_OPEN_MS / (fullness * f64::from(FULL_TABLE)),
        Load::Sessions(_) => 0.0,
    }
}

fn sum(counters: &[Lonely]) -> u64 {
    let values = counters.iter().map(|one| one.0.load(Ordering::Acquire));
    values.sum()
}

/// Which packets come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first packets of this and the following flows.
    Open(u32),
    /// A later packet of each of them.
    GoOn(u32),
    /// What is measured.
    Steady,
}

/// One worker and its traffic.
#[derive(Debug)]
pub(super) struct Lane<'s> {
    number: u8,
    case: Case,
    worker: Worker<SlotRx, SlotTx, SlotPool>,
    wire: SlotWire,
    traffic: Traffic,
    shared: &'s Shared,
    /// What puts answers on queues.
    nic: Arc<Steering>,
    free: Vec<SlotBuf>,
    answers: VecDeque<SlotBuf>,
    phase: Phase,
    /// Milliseconds that have passed for the worker.
    clock_ms: f64,
    /// By how much a new session moves the clock, so that it expires when the table is at its fullness.
    session_ms: f64,
    /// How full churn keeps the table; more than 1 is full.
    fullness: f64,
}

impl<'s> Lane<'s> {
    /// The worker `number` of the case's.
    pub(super) fn new(
        case: &Case,
        number: u8,
        reader: Reader<Snapshot>,
        inboxes: Inboxes<SlotBuf>,
        shared: &'s Shared,
    ) -> Result<Self, ScenarioError> {
        let scenario = case.scenario();
        let (queues, wire) = slot_port();
        let steering = Arc::new(Steering::usual(usize::from(scenario.workers)));
        let config = Config {
            steering: Some(Arc::clone(&steering)),
            ..Config::new(
                Start {
                    worker: number.into(),
                    workers: usize::from(scenario.workers),
                },
                scenario.sessions,
                KEYS,
            )
        };
        let resources = Resources {
            queues: vec![queues],
            pool: SlotPool,
            reader,
            commands: commands(),
            inboxes,
        };
        Ok(Self {
            number,
            case: *case,
            worker: Worker::new(&config, resources),
            wire,
            traffic: Traffic::new(case, Returns::Balanced, number.into())?,
            shared,
            nic: steering,
            free: (0..RING).map(|_| SlotBuf::from_frame(&[])).collect(),
            answers: VecDeque::new(),
            phase: Phase::Steady,
            clock_ms: 1000.0,
            session_ms: session_ms(case, FULLNESS),
            fullness: FULLNESS,
        })
    }

    /// Has churn keep the table so full, where 1 is full.
    pub(super) fn keep_at(&mut self, fullness: f64) {
        self.fullness = fullness;
        self.session_ms = session_ms(&self.case, fullness);
    }

    /// Enters all sessions, or churns until the table is as full as it will be.
    pub(super) fn warm_up(&mut self) {
        let step = u32::from(self.case.spread.workers());
        match self.case.load {
            Load::New => {
                // All sessions of the first lifetime are still young when the table fills for the first time.
                for _ in 0..2 * FULL_TABLE as usize / RING {
                    self.batch();
                }
            }
            Load::Sessions(count) => {
                let batches = (count / step) as usize / RING + 1;
                let first = self.number.into();
                self.phase = Phase::Open(first);
                for _ in 0..2 * batches {
                    self.batch();
                }
                if self.case.scenario().protocol == Protocol::Tcp {
                    self.phase = Phase::GoOn(first);
                    for _ in 0..2 * batches {
                        self.batch();
                    }
                }
                self.phase = Phase::Steady;
            }
        }
    }

    /// So many batches; returns how long they were polled, and how many frames that were.
    pub(super) fn round(&mut self, batches: usize) -> (Duration, u64) {
        let mut spent = Duration::ZERO;
        for _ in 0..batches {
            spent += self.batch();
        }
        (spent, (batches * RING) as u64)
    }

    fn batch(&mut self) -> Duration {
        let requests = self.fill();
        let step_ms = self.step_ms(requests);
        let spent = self.pass(step_ms);
        if self.session_ms == 0.0 {
            self.clock_ms += spent.as_secs_f64() * 1e3;
        }
        self.shared.meet();
        self.drain();
        spent
    }

    /// By how much each poll of a batch with so many requests moves the clock.
    pub(super) fn step_ms(&self, requests: usize) -> f64 {
        requests as f64 * self.session_ms / (RING / BURST) as f64
    }

    /// Prepares a batch; requests and answers alternate where there are answers. Returns how many requests.
    pub(super) fn fill(&mut self) -> usize {
        let mut requests = 0;
        if let Some(mailbox) = self.shared.answers.get(usize::from(self.number)) {
            let mut mail = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
            self.answers.extend(mail.drain(..));
        }
        for place in 0..RING {
            let answer = if place % 2 == 1 {
                self.answers.pop_front()
            } else {
                None
            };
            let frame = answer.unwrap_or_else(|| {
                requests += 1;
                self.request()
            });
            self.wire.to_port.borrow_mut().push(frame);
        }
        if let Some(given) = self.shared.given.get(usize::from(self.number)) {
            given.0.fetch_add(RING as u64, Ordering::AcqRel);
        }
        requests
    }

    fn request(&mut self) -> SlotBuf {
        let step = u32::from(self.case.spread.workers());
        let mut scratch = [0; SCRATCH];
        let count = self.traffic.count();
        let length = match &mut self.phase {
            Phase::Open(flow) => {
                let opened = *flow % count;
                *flow += step;
                self.traffic.open(opened, &mut scratch)
            }
            Phase::GoOn(flow) => {
                let known = *flow % count;
                *flow += step;
                self.traffic.go_on(known, &mut scratch)
            }
            Phase::Steady => {
                let flow = self.own_flow();
                self.traffic.go_on(flow, &mut scratch)
            }
        };
        let mut buf = self.free.pop().unwrap_or_else(|| SlotBuf::from_frame(&[]));
        buf.fill(scratch.get(..length).unwrap_or_default());
        buf
    }

    /// The next flow whose session is here.
    fn own_flow(&mut self) -> u32 {
        loop {
            let flow = self.traffic.advance();
            let is_own = |owner: &AtomicU8| owner.load(Ordering::Relaxed) == self.number;
            if self.shared.owner(flow).is_none_or(is_own) {
                return flow;
            }
        }
    }

    /// Polls until all frames that all lanes were given have left, and returns how long that took.
    fn pass(&mut self, step_ms: f64) -> Duration {
        self.shared.meet();
        let target = sum(&self.shared.given);
        let mut idle = 0_u32;
        let begun = Instant::now();
        loop {
            // Looking at the other lanes' counters costs, so only who has nothing to do looks.
            if self.poll(step_ms) > 0 {
                continue;
            }
            idle += 1;
            if idle.is_multiple_of(IDLE_POLLS)
                && (self.case.spread == Spread::One || begun.elapsed() > PATIENCE)
            {
                self.shared.stuck.store(true, Ordering::Relaxed);
            }
            if sum(&self.shared.left) >= target || self.shared.stuck.load(Ordering::Relaxed) {
                break;
            }
        }
        begun.elapsed()
    }

    /// One poll of the worker, and the count of what has left.
    #[inline]
    pub(super) fn poll(&mut self, step_ms: f64) -> usize {
        let before = self.wire.from_port.borrow().len();
        let work = self.worker.poll(self.now());
        if work > 0 {
            self.clock_ms += step_ms;
        }
        let sent = self.wire.from_port.borrow().len() - before;
        if let Some(left) = self.shared.left.get(usize::from(self.number)) {
            // Nobody else writes it.
            let before = left.0.load(Ordering::Relaxed);
            left.0.store(before + sent as u64, Ordering::Release);
        }
        work
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "milliseconds since the start of a run"
    )]
    fn now(&self) -> Time {
        Time::from_ms(self.clock_ms as u64)
    }

    /// Checks what has left, and keeps answers for a later batch.
    pub(super) fn drain(&mut self) {
        let mut frames = self.wire.from_port.take();
        for mut frame in frames.drain(..) {
            let (back, seen) = self.traffic.judge(frame.bytes_mut());
            if let Some(seen) = seen
                && matches!(seen.good, Good::Forwarded { .. })
                && let Some(owner) = self.shared.owner(seen.flow)
            {
                owner.store(self.number, Ordering::Relaxed);
            }
            match back {
                Back::Answer => self.keep_answer(frame),
                Back::Done | Back::Wrong(_) => self.free.push(frame),
            }
        }
        // The allocation is used again.
        *self.wire.from_port.borrow_mut() = frames;
    }

    fn keep_answer(&mut self, frame: SlotBuf) {
        let own = usize::from(self.number);
        let to = match self.case.spread {
            Spread::One | Spread::Two => own,
            Spread::TwoHashed => self.nic.queue_of(&parse(frame.bytes())),
            Spread::TwoCrossing => usize::from(self.number == 0),
        };
        if to == own {
            self.answers.push_back(frame);
        } else if let Some(mailbox) = self.shared.answers.get(to) {
            let mut mail = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
            mail.push(frame);
        }
    }

    /// What was wrong so far, in words.
    pub(super) fn complaints(&self) -> Vec<String> {
        let stats = self.worker.stats();
        let slug = self.case.slug();
        let mut complaints: Vec<String> = self
            .traffic
            .faults
            .seen()
            .map(|(fault, count)| format!("{slug}: {count} frames: {fault}"))
            .collect();
        for reason in DropReason::ALL {
            match stats.drops(*reason) {
                0 => {}
                count => complaints.push(format!(
                    "{slug}: {count} frames dropped: {}",
                    reason.label()
                )),
            }
        }
        if !stats.balanced() {
            complaints.push(format!("{slug}: the counters do not balance: {stats:?}"));
        }
        if self.shared.stuck.load(Ordering::Relaxed) {
            let missing = sum(&self.shared.given) - sum(&self.shared.left);
            complaints.push(format!("{slug}: {missing} frames did not come out"));
        }
        if self.case.load == Load::New {
            let fullness = f64::from(stats.sessions.value()) / f64::from(FULL_TABLE);
            let least = self.fullness.min(1.0) - 0.1;
            if !(least..=self.fullness + 0.1).contains(&fullness) {
                complaints.push(format!(
                    "{slug}: the table is {:.0} % full",
                    fullness * 100.0
                ));
            }
        }
        complaints
    }
}

#[cfg(test)]
mod tests;
