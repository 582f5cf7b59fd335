//! A measurement from its first question to its result: find the balancer, open the flows, warm up, measure, wait for
//! what is still underway.
//!
//! Must not know a driver: queues and the clock are given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plimsoll_dataplane::io::{BURST, PacketBuf, Pool, QueuePair, RxQueue, TxQueue};
use plimsoll_dataplane::wire::Mac;

use super::affinity::Affinity;
use super::check::{Checker, Returns};
use super::connections::{Connected, Connections};
use super::engine::{Cast, Engine};
use super::flows::{Clients, Flows};
use super::frame::FrameWriter;
use super::load::{Load, Opening, Pacer, Stream};
use super::neighbours::Neighbours;
use super::plan::{Mode, Plan, RunError};
use super::report::{Latency, Measured, Report};
use super::scenario::{Method, Protocol, Scenario};
use super::segment::Segment;
use super::server::Servers;

/// How often somebody who does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Nothing came for so long: nothing more is underway.
const SILENCE: Duration = Duration::from_millis(100);
/// How long a connection may stand still before it is lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often flows that did not arrive are opened again.
const OPENINGS: u32 = 5;
/// The share of the result that an interval has.
const INTERVAL: Duration = Duration::from_millis(100);
/// Polls between two looks at the wish to end.
const POLLS: u32 = 64;

/// A clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Reads it.
    pub now: fn() -> u64,
    /// Its ticks per second.
    pub hz: u64,
}

impl Clock {
    fn ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos() * u128::from(self.hz) / 1_000_000_000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    fn seconds(&self, ticks: u64) -> f64 {
        let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(self.hz.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)).as_secs_f64()
    }
}

/// What the run tells meanwhile.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// A run on one queue pair.
#[derive(Debug)]
pub struct Run<'a, Rx: RxQueue, Tx, P> {
    engine: Engine<Rx, Tx, P>,
    plan: &'a Plan,
    clock: Clock,
    stop: &'a AtomicBool,
}

impl<'a, Rx, Tx, P> Run<'a, Rx, Tx, P>
where
    Rx: RxQueue,
    Tx: TxQueue<Buf = Rx::Buf>,
    P: Pool<Buf = Rx::Buf>,
{
    /// Finds the other end; `stop` ends the run early.
    ///
    /// # Errors
    /// [`RunError`] if there is nobody, or the plan cannot be.
    pub fn new(
        plan: &'a Plan,
        mut queues: QueuePair<Rx, Tx>,
        mut pool: P,
        clock: Clock,
        stop: &'a AtomicBool,
    ) -> Result<Self, RunError> {
        let scenario = &plan.scenario;
        plan.check()?;
        let neighbours = Neighbours::new(scenario);
        let balancer = match (plan.balancer, plan.returns) {
            (Some(mac), _) => mac,
            (None, Returns::MacSwapped) => Scenario::BALANCER_MAC,
            (None, Returns::Balanced) => {
                let asking = Asking {
                    neighbours: &neighbours,
                    clock,
                    stop,
                };
                asking.balancer(plan, &mut queues, &mut pool)?
            }
        };
        let clients = Clients::new(plan.seed);
        let shape = plan.shape;
        let cast = Cast {
            writer: FrameWriter::new(scenario, shape, clients, balancer)?,
            checker: Checker::new(
                scenario,
                shape,
                clients,
                balancer,
                plan.flows.max(1),
                plan.returns,
            )?,
            servers: Servers::new(scenario, shape),
            neighbours,
            affinity: Affinity::new(plan.flows.max(1)),
        };
        Ok(Self {
            engine: Engine::new(queues, pool, cast),
            plan,
            clock,
            stop,
        })
    }

    /// The whole of it.
    ///
    /// # Errors
    /// [`RunError`] if nothing comes back at all.
    pub fn measure(mut self, progress: Progress<'_>) -> Result<Report, RunError> {
        self.first_return()?;
        match self.plan.mode {
            Mode::Stream => {
                self.open(progress)?;
                let mut warm = self.stream();
                self.traffic(&mut warm, self.plan.warmup, &mut |_| {});
                warm.stop();
                self.settle(&mut warm);
                self.engine.reset();
                let mut stream = self.stream();
                let measured = self.traffic(&mut stream, self.plan.duration, progress);
                stream.stop();
                self.settle(&mut stream);
                Ok(self.report(measured, None))
            }
            Mode::Connections => {
                let mut load = self.connections();
                self.traffic(&mut load, self.plan.warmup, &mut |_| {});
                load.stop();
                self.settle(&mut load);
                self.engine.reset();
                let mut load = self.connections();
                let mut measured = self.traffic(&mut load, self.plan.duration, progress);
                measured.complete = load.figures.complete;
                load.stop();
                self.settle(&mut load);
                Ok(self.report(measured, Some(load.figures)))
            }
        }
    }

    const fn segment(&self) -> Segment {
        match self.plan.scenario.protocol {
            Protocol::Udp => Segment::Datagram,
            Protocol::Tcp => Segment::Data,
        }
    }

    /// What begins a flow.
    const fn first_segment(&self) -> Segment {
        match self.plan.scenario.protocol {
            Protocol::Udp => Segment::Datagram,
            Protocol::Tcp => Segment::Syn,
        }
    }

    fn now(&self) -> u64 {
        (self.clock.now)()
    }

    fn pacer(&self) -> Pacer {
        Pacer::new(self.plan.rate, self.now(), self.clock.hz)
    }

    fn stream(&self) -> Stream {
        let flows = Flows::new(self.plan.flows, self.plan.seed, self.plan.order);
        Stream::new(flows, self.pacer(), self.segment(), self.answers())
    }

    fn connections(&self) -> Connections {
        Connections::new(
            self.plan.scenario.method,
            self.plan.shape.data,
            self.plan.concurrent,
            self.plan.flows,
            self.pacer(),
            self.clock.ticks(PATIENCE),
        )
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn answers(&self) -> bool {
        self.plan.answers && self.plan.scenario.method == Method::Nat
    }

    /// Sends one frame again and again until one comes back.
    fn first_return(&mut self) -> Result<(), RunError> {
        let end = self.now() + self.clock.ticks(self.plan.timeout);
        while self.engine.figures.good() == 0 {
            let now = self.now();
            if self.stopped() {
                return Err(RunError::Interrupted);
            }
            if now >= end {
                return Err(RunError::NoReturn {
                    seconds: self.plan.timeout.as_secs(),
                    seen: self.what_came(),
                });
            }
            let mut probe = Opening::new(std::iter::once(0), self.first_segment(), self.answers());
            let again = now + self.clock.ticks(ASK_AGAIN);
            while self.engine.figures.good() == 0 && self.now() < again {
                let now = self.now();
                if self.engine.poll(now, &mut probe) == 0 {
                    std::thread::yield_now();
                }
            }
        }
        Ok(())
    }

    fn what_came(&self) -> String {
        let figures = &self.engine.figures;
        let faults = figures.faults.seen();
        let faults: Vec<String> = faults
            .map(|(fault, count)| format!("{count} times {fault}"))
            .collect();
        if faults.is_empty() {
            format!("({} frames were sent, none came)", figures.sent)
        } else {
            format!("({} frames were sent; {})", figures.sent, faults.join("; "))
        }
    }

    /// Begins every flow, those that got lost again.
    fn open(&mut self, progress: Progress<'_>) -> Result<(), RunError> {
        if self.plan.returns == Returns::MacSwapped {
            return Ok(());
        }
        let count = self.plan.flows.max(1);
        for round in 0..OPENINGS {
            let missing: Box<dyn Iterator<Item = u32>> = if round == 0 {
                Box::new(0..count)
            } else {
                let missing: Vec<u32> = (0..count)
                    .filter(|flow| !self.engine.has_arrived(*flow))
                    .collect();
                if missing.is_empty() {
                    return Ok(());
                }
                progress(&format!("{} flows did not arrive, again", missing.len()));
                Box::new(missing.into_iter())
            };
            let mut opening = Opening::new(missing, self.first_segment(), self.answers());
            let silence = self.clock.ticks(SILENCE);
            let mut last = self.now();
            while !opening.done {
                let now = self.now();
                if self.engine.poll(now, &mut opening) > 0 {
                    last = now;
                } else if now.saturating_sub(last) > silence {
                    opening.give_up_waiting();
                    last = now;
                }
                if self.stopped() {
                    return Err(RunError::Interrupted);
                }
            }
            self.settle(&mut opening);
        }
        Ok(())
    }

    /// Lets traffic flow.
    fn traffic(
        &mut self,
        load: &mut impl Load,
        time: Duration,
        progress: Progress<'_>,
    ) -> Measured {
        let start = self.now();
        let end = start + self.clock.ticks(time);
        let step = self.clock.ticks(INTERVAL).max(1);
        let per_second = 1_000 / u64::try_from(INTERVAL.as_millis()).unwrap_or(1);
        let mut intervals = Vec::new();
        let (mut good, mut told) = (self.engine.figures.good(), self.engine.figures.good());
        let mut next = start + step;
        let mut now = start;
        'all: while now < end {
            for _ in 0..POLLS {
                now = self.now();
                if now >= next {
                    let count = self.engine.figures.good();
                    intervals.push((count - good) * per_second);
                    good = count;
                    next += step;
                    if u64::try_from(intervals.len()).unwrap_or(0) % per_second == 0 {
                        progress(&self.line(intervals.len(), per_second, good - told));
                        told = good;
                    }
                }
                if now >= end {
                    break 'all;
                }
                self.engine.poll(now, load);
            }
            if self.stopped() {
                break;
            }
        }
        Measured {
            seconds: self.clock.seconds(now - start),
            intervals,
            sent: self.engine.figures.sent,
            good: self.engine.figures.good(),
            complete: 0,
        }
    }

    fn line(&self, intervals: usize, per_second: u64, good: u64) -> String {
        let seconds = u64::try_from(intervals).unwrap_or(0) / per_second.max(1);
        let figures = &self.engine.figures;
        format!(
            "{seconds:>4} s  {good:>11} good/s  {:>12} sent  {:>8} faults",
            figures.sent,
            figures.faults.total()
        )
    }

    /// Waits until nothing is underway any more.
    fn settle(&mut self, load: &mut impl Load) {
        let silence = self.clock.ticks(SILENCE);
        let mut last = self.now();
        let most = last + self.clock.ticks(PATIENCE);
        loop {
            let now = self.now();
            if self.engine.poll(now, load) > 0 {
                last = now;
            }
            if now.saturating_sub(last) > silence || now > most {
                return;
            }
        }
    }

    fn report(&self, measured: Measured, connected: Option<Connected>) -> Report {
        // A million of them, since one is too short to be told in whole nanoseconds.
        let units = Engine::<Rx, Tx, P>::latency_ticks() * 1_000_000;
        let unit_ns = self.clock.seconds(units) * 1_000.0;
        let latency = self.engine.latency();
        Report::new(
            self.plan,
            &self.engine.figures,
            connected,
            measured,
            latency.and_then(|latency| Latency::new(latency, unit_ns)),
        )
    }
}

/// The question for the balancer's MAC.
struct Asking<'a> {
    neighbours: &'a Neighbours,
    clock: Clock,
    stop: &'a AtomicBool,
}

impl Asking<'_> {
    fn balancer<Rx, Tx, P>(
        &self,
        plan: &Plan,
        queues: &mut QueuePair<Rx, Tx>,
        pool: &mut P,
    ) -> Result<Mac, RunError>
    where
        Rx: RxQueue,
        Tx: TxQueue<Buf = Rx::Buf>,
        P: Pool<Buf = Rx::Buf>,
    {
        let start = (self.clock.now)();
        let end = start + self.clock.ticks(plan.timeout);
        let mut again = start;
        let (mut received, mut out) = (Vec::with_capacity(BURST), Vec::with_capacity(BURST));
        loop {
            let now = (self.clock.now)();
            if self.stop.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            if now >= end {
                return Err(RunError::NoBalancer {
                    address: plan.scenario.balancer(),
                    seconds: plan.timeout.as_secs(),
                });
            }
            if now >= again {
                again = now + self.clock.ticks(ASK_AGAIN);
                // One that nobody took yet is not followed by another.
                out.truncate(1);
                if out.is_empty() {
                    out.extend(self.question(pool));
                }
            }
            if !out.is_empty() {
                queues.tx.transmit(&mut out);
            }
            if queues.rx.receive(&mut received, BURST) == 0 {
                std::thread::yield_now();
            }
            for mut frame in received.drain(..) {
                if let Some(mac) = self.neighbours.balancer_mac(frame.bytes()) {
                    return Ok(mac);
                }
                let mut answer = [0; 86];
                let length = self.neighbours.answer(frame.bytes(), &mut answer);
                if let Some(answer) = length.and_then(|length| answer.get(..length))
                    && frame.set_len(answer.len()).is_ok()
                {
                    frame.bytes_mut().copy_from_slice(answer);
                    out.push(frame);
                }
            }
        }
    }

    fn question<P: Pool>(&self, pool: &mut P) -> Option<P::Buf> {
        let mut question = [0; 86];
        let length = self.neighbours.ask(&mut question)?;
        let question = question.get(..length)?;
        let mut frame = pool.allocate()?;
        frame.set_len(question.len()).ok()?;
        frame.bytes_mut().copy_from_slice(question);
        Some(frame)
    }
}

#[cfg(test)]
mod tests;
