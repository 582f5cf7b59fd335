//! The frames of one case and their judge, for what is measured in this process.
//!
//! Must not be timed: writing and judging a frame costs as much as forwarding it.

use crate::pktgen::Protocol;
use crate::pktgen::{
    Affinity, Checker, Clients, Fault, Flows, FrameWriter, Good, Order, Returns, Scenario,
    ScenarioError, Seen, Segment, Servers, Shape, Tally,
};

use super::case::{Case, Load};

/// Decides clients' addresses and the order of packets.
const SEED: u64 = 0x506c_696d;
/// New sessions of one run at most, before a client comes again.
const NEW_FLOWS: u32 = 1 << 31;

/// What a frame that came back is to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// It has arrived; nothing follows.
    Done,
    /// It has been turned into its real server's answer, to be sent.
    Answer,
    /// Something is wrong with it.
    Wrong(Fault),
}

/// Frames of one case, and what is known of their flows.
#[derive(Debug)]
pub struct Traffic {
    writer: FrameWriter,
    checker: Checker,
    servers: Servers,
    answers: bool,
    /// Nothing where each flow has one packet.
    affinity: Option<Affinity>,
    /// All flows in turn, then in random order.
    flows: Flows,
    count: u32,
    opening: Segment,
    segment: Segment,
    /// What was wrong.
    pub faults: Tally,
}

impl Traffic {
    /// The traffic of `case`, between a balancer and whoever `returns` its frames; `lane` of several begins its
    /// random order elsewhere.
    ///
    /// # Errors
    /// When there can be no such frames.
    pub fn new(case: &Case, returns: Returns, lane: u64) -> Result<Self, ScenarioError> {
        let scenario = case.scenario();
        let shape = Shape {
            frame_bytes: Shape::least(&scenario),
            data: false,
        };
        let clients = Clients::new(SEED);
        let balancer = Scenario::BALANCER_MAC;
        let (count, order) = match case.load {
            Load::Sessions(count) => (count, Order::Uniform),
            Load::New => (NEW_FLOWS, Order::Sequential),
        };
        let (opening, steady) = match scenario.protocol {
            Protocol::Udp => (Segment::Datagram, Segment::Datagram),
            Protocol::Tcp => (Segment::Syn, Segment::Data),
        };
        let is_new = case.load == Load::New;
        Ok(Self {
            writer: FrameWriter::new(&scenario, shape, clients, balancer)?,
            checker: Checker::new(&scenario, shape, clients, balancer, count, returns)?,
            servers: Servers::new(&scenario, shape),
            answers: scenario.method == crate::pktgen::Method::Nat,
            affinity: (!is_new && returns == Returns::Balanced).then(|| Affinity::new(count)),
            flows: Flows::new(count, SEED ^ (lane << 32), order),
            count,
            opening,
            segment: if is_new { opening } else { steady },
            faults: Tally::default(),
        })
    }

    /// How many flows there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The flow whose turn it is.
    #[inline]
    pub fn advance(&mut self) -> u32 {
        self.flows.advance()
    }

    /// Writes the first packet of `flow` to the beginning of `out` and returns its length.
    #[inline]
    pub fn open(&mut self, flow: u32, out: &mut [u8]) -> usize {
        self.writer
            .write(self.opening, flow, 0, 0, out)
            .unwrap_or(0)
    }

    /// Writes a later packet of `flow` to the beginning of `out` and returns its length.
    #[inline]
    pub fn go_on(&mut self, flow: u32, out: &mut [u8]) -> usize {
        self.writer
            .write(self.segment, flow, 0, 0, out)
            .unwrap_or(0)
    }

    /// Judges a frame that came back, and turns a request that a NAT server has got into the answer to it.
    #[inline]
    pub fn judge(&mut self, frame: &mut [u8]) -> (Back, Option<Seen>) {
        match self.look(frame) {
            Ok(seen) => {
                let answers = self.answers && matches!(seen.good, Good::Forwarded { .. });
                if answers && self.servers.answer(frame, &seen) {
                    (Back::Answer, Some(seen))
                } else {
                    (Back::Done, Some(seen))
                }
            }
            Err(fault) => {
                self.faults.add(fault);
                (Back::Wrong(fault), None)
            }
        }
    }

    #[inline]
    fn look(&mut self, frame: &[u8]) -> Result<Seen, Fault> {
        let seen = self.checker.judge(frame)?;
        if let (Some(affinity), Good::Forwarded { real }) = (&mut self.affinity, seen.good) {
            affinity.check(seen.flow, real)?;
        }
        Ok(seen)
    }
}
