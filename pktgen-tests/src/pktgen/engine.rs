//! The generator's loop on one queue pair: receive, judge, react, send.
//!
//! Must not read a clock or know a driver: time is an argument, queues are traits.

use hdrhistogram::Histogram;
use plimsoll_dataplane::io::{BURST, PacketBuf, Pool, QueuePair, RxQueue, TxQueue};
use plimsoll_dataplane::prefetch::prefetch;

use super::affinity::Affinity;
use super::check::{Checker, Good, Seen};
use super::fault::{Fault, Tally};
use super::frame::FrameWriter;
use super::load::Load;
use super::neighbours::Neighbours;
use super::segment::Segment;
use super::server::Servers;

/// With more frames waiting for the transmit queue than this, none are received: they could only be dropped.
const MOST_WAITING: usize = 8 * BURST;
/// Buffers that are kept for what is sent next.
const MOST_SPARE: usize = 4 * BURST;
/// The longest answer of ARP or NDP.
const ANSWER_BYTES: usize = 86;
/// Pauses of the CPU, some tens of cycles each, in a round in which nothing could be received or sent.
const REST: usize = 16;
/// Frames ahead of the one that is judged whose bytes are fetched.
const AHEAD: usize = 6;
/// Bits of a tick that a stamp leaves out: 32 bits then last for 25 seconds at 2.6 GHz, in steps of 6 ns.
const STAMP_SHIFT: u32 = 4;

/// A time as it travels in frames.
#[expect(clippy::cast_possible_truncation, reason = "stamps wrap")]
#[inline]
const fn stamp(ticks: u64) -> u32 {
    (ticks >> STAMP_SHIFT) as u32
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Frames that the transmit queue took.
    pub sent: u64,
    /// Requests that reached a real server.
    pub forwarded: u64,
    /// Answers that reached the clients' router.
    pub replies: u64,
    /// Frames with their MACs exchanged.
    pub swapped: u64,
    /// Frames that were not what they should be.
    pub faults: Tally,
    /// The first frame of each fault.
    pub samples: Vec<(Fault, Vec<u8>)>,
    /// Frames of ARP and neighbour discovery, and other group traffic.
    pub neighbours: u64,
    /// Good frames that one sent later had overtaken.
    pub overtaken: u64,
    /// Frames that found no room in the transmit queue at first.
    pub tx_full: u64,
    /// Times when there was no buffer.
    pub no_buffer: u64,
    /// Rounds of the loop.
    pub polls: u64,
    /// Those in which frames came in.
    pub busy_polls: u64,
}

impl Figures {
    /// Good frames that came back.
    #[must_use]
    pub const fn good(&self) -> u64 {
        self.forwarded + self.replies + self.swapped
    }
}

/// The parts of a generator that follow from a scenario.
#[derive(Debug)]
pub struct Cast {
    /// The clients.
    pub writer: FrameWriter,
    /// The judge.
    pub checker: Checker,
    /// The real servers.
    pub servers: Servers,
    /// Everybody's ARP and NDP.
    pub neighbours: Neighbours,
    /// Who went where.
    pub affinity: Affinity,
}

/// The generator on one queue pair.
#[derive(Debug)]
pub struct Engine<Rx: RxQueue, Tx, P> {
    queues: QueuePair<Rx, Tx>,
    pool: P,
    cast: Cast,
    received: Vec<Rx::Buf>,
    judged: Vec<Result<Seen, Fault>>,
    out: Vec<Rx::Buf>,
    /// How many at the front of `out` were offered before.
    offered: usize,
    spare: Vec<Rx::Buf>,
    /// The number of the next frame.
    number: u32,
    /// The highest number that came back.
    highest: Option<u32>,
    latency: Option<Histogram<u64>>,
    /// What was counted.
    pub figures: Figures,
}

impl<Rx, Tx, P> Engine<Rx, Tx, P>
where
    Rx: RxQueue,
    Tx: TxQueue<Buf = Rx::Buf>,
    P: Pool<Buf = Rx::Buf>,
{
    /// A generator that has sent nothing.
    pub fn new(queues: QueuePair<Rx, Tx>, pool: P, cast: Cast) -> Self {
        Self {
            queues,
            pool,
            cast,
            received: Vec::with_capacity(BURST),
            judged: Vec::with_capacity(BURST),
            out: Vec::with_capacity(MOST_WAITING + 2 * BURST),
            offered: 0,
            spare: Vec::with_capacity(MOST_SPARE + BURST),
            number: 0,
            highest: None,
            // Two significant digits, so that its counters stay in the cache; stamps have 32 bits.
            latency: Histogram::new_with_max(u64::from(u32::MAX), 2).ok(),
            figures: Figures::default(),
        }
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        self.figures = Figures::default();
        self.highest = None;
        if let Some(latency) = &mut self.latency {
            latency.reset();
        }
    }

    /// From the sending of a request to its arrival at the real server, in units of [`Self::latency_ticks`].
    #[must_use]
    pub const fn latency(&self) -> Option<&Histogram<u64>> {
        self.latency.as_ref()
    }

    /// Ticks in a unit of [`Self::latency`].
    #[must_use]
    pub const fn latency_ticks() -> u64 {
        1 << STAMP_SHIFT
    }

    /// Whether this flow has reached a real server.
    #[must_use]
    pub fn has_arrived(&self, flow: u32) -> bool {
        self.cast.affinity.is_known(flow)
    }

    /// One round; how many frames came in.
    pub fn poll(&mut self, now: u64, load: &mut impl Load) -> usize {
        let received = if self.out.len() < MOST_WAITING {
            self.receive(now, load)
        } else {
            0
        };
        self.generate(now, load);
        self.transmit();
        self.figures.polls += 1;
        self.figures.busy_polls += u64::from(received > 0);
        if received == 0 && self.offered > 0 {
            // The other end is behind. To look at its rings all the time would take their cache lines from it, and
            // execution units if it runs on the other half of this core.
            for _ in 0..REST {
                std::hint::spin_loop();
            }
        }
        received
    }

    fn receive(&mut self, now: u64, load: &mut impl Load) -> usize {
        let count = self.queues.rx.receive(&mut self.received, BURST);
        if count == 0 {
            return 0;
        }
        // All are judged before flows are looked up, so that the misses of the lookups overlap.
        for frame in self.received.iter().take(AHEAD) {
            prefetch(frame.bytes(), 0);
        }
        for (index, frame) in self.received.iter().enumerate() {
            if let Some(ahead) = self.received.get(index + AHEAD) {
                prefetch(ahead.bytes(), 0);
            }
            let judged = self.cast.checker.judge(frame.bytes());
            if let Ok(seen) = &judged {
                self.cast.affinity.prefetch(seen.flow);
            }
            self.judged.push(judged);
        }
        let mut received = std::mem::take(&mut self.received);
        let mut judged = std::mem::take(&mut self.judged);
        for (frame, judged) in received.drain(..).zip(judged.drain(..)) {
            match judged {
                Ok(seen) => self.good(frame, &seen, now, load),
                Err(fault) => self.odd(frame, fault),
            }
        }
        self.received = received;
        self.judged = judged;
        count
    }

    #[inline]
    fn good(&mut self, mut frame: Rx::Buf, seen: &Seen, now: u64, load: &mut impl Load) {
        if let Good::Forwarded { real } = seen.good
            && let Err(fault) = self.cast.affinity.check(seen.flow, real)
        {
            return self.fault(frame, fault);
        }
        let reaction = match load.react(seen, now) {
            Ok(reaction) => reaction,
            Err(fault) => return self.fault(frame, fault),
        };
        match seen.good {
            Good::Forwarded { .. } => self.figures.forwarded += 1,
            Good::Replied => self.figures.replies += 1,
            Good::Swapped => self.figures.swapped += 1,
        }
        if seen.good != Good::Replied {
            self.note(seen, now);
        }
        if reaction.answer && self.cast.servers.answer(frame.bytes_mut(), seen) {
            self.out.push(frame);
        } else {
            self.spare.push(frame);
        }
        for segment in reaction.client.into_iter().flatten() {
            self.push(segment, seen.flow, now);
        }
    }

    /// Time and order.
    #[inline]
    fn note(&mut self, seen: &Seen, now: u64) {
        if let (Some(sent), Some(latency)) = (seen.stamp, &mut self.latency) {
            latency.saturating_record(u64::from(stamp(now).wrapping_sub(sent)));
        }
        if let Some(number) = seen.number {
            match self.highest {
                // More than half the circle behind is behind.
                Some(highest) if number.wrapping_sub(highest) > u32::MAX / 2 => {
                    self.figures.overtaken += 1;
                }
                _ => self.highest = Some(number),
            }
        }
    }

    #[cold]
    fn fault(&mut self, frame: Rx::Buf, fault: Fault) {
        let figures = &mut self.figures;
        if figures.faults.count(fault) == 0 {
            figures.samples.push((fault, frame.bytes().to_vec()));
        }
        figures.faults.add(fault);
        self.spare.push(frame);
    }

    /// What is none of the run's frames may still be about neighbours, or for a group.
    #[cold]
    fn odd(&mut self, mut frame: Rx::Buf, fault: Fault) {
        let mut answer = [0; ANSWER_BYTES];
        let bytes = frame.bytes();
        let is_group = bytes.first().is_some_and(|first| first & 1 != 0);
        if !is_group && !Neighbours::concerns(bytes) {
            return self.fault(frame, fault);
        }
        self.figures.neighbours += 1;
        let length = self.cast.neighbours.answer(bytes, &mut answer);
        let answer = length.and_then(|length| answer.get(..length));
        match answer {
            Some(answer) if frame.set_len(answer.len()).is_ok() => {
                frame.bytes_mut().copy_from_slice(answer);
                self.out.push(frame);
            }
            _ => self.spare.push(frame),
        }
    }

    fn generate(&mut self, now: u64, load: &mut impl Load) {
        while self.out.len() < BURST {
            if !self.has_buffer() {
                return;
            }
            let Some((segment, flow)) = load.next(now) else {
                break;
            };
            if segment == Segment::Syn {
                self.cast.affinity.forget(flow);
            }
            self.push(segment, flow, now);
        }
        self.spare.truncate(MOST_SPARE);
    }

    #[inline]
    fn has_buffer(&mut self) -> bool {
        if self.spare.is_empty() && self.pool.allocate_burst(&mut self.spare, BURST) == 0 {
            self.figures.no_buffer += 1;
        }
        !self.spare.is_empty()
    }

    /// Writes a client's frame behind those that wait.
    #[inline]
    fn push(&mut self, segment: Segment, flow: u32, now: u64) {
        if !self.has_buffer() {
            return;
        }
        let Some(mut frame) = self.spare.pop() else {
            return;
        };
        let writer = &self.cast.writer;
        if frame.set_len(writer.frame_bytes(segment)).is_err() {
            return;
        }
        let out = frame.bytes_mut();
        if writer
            .write(segment, flow, stamp(now), self.number, out)
            .is_some()
        {
            self.number = self.number.wrapping_add(1);
            self.out.push(frame);
        }
    }

    fn transmit(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let new = self.out.len() - self.offered;
        let sent = self.queues.tx.transmit(&mut self.out);
        self.figures.sent += sent as u64;
        self.figures.tx_full += self.out.len().min(new) as u64;
        self.offered = self.out.len();
    }
}
