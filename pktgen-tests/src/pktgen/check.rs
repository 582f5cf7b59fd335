//! Judges frames that come back: whose they are, where they went, and that nothing else has changed.
//!
//! Must not trust a frame in anything: every byte is compared or recomputed.

use plimsoll_dataplane::wire::{Mac, tcp};

use super::bytes::chunk;
use super::fault::Fault;
use super::flows::Clients;
use super::scenario::{Method, Protocol, Scenario, ScenarioError};
use super::segment::Segment;
use super::shape::Shape;
use super::template::{Stage, Template};

/// Who is at the other end, and so what a frame looks like when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A balancer forwards it.
    Balanced,
    /// testpmd's forwarding mode `macswap` exchanges the MACs and changes nothing else.
    MacSwapped,
}

impl Returns {
    /// Its name in options and results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::MacSwapped => "testpmd-macswap",
        }
    }
}

/// What a good frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    /// A request that has reached this real server.
    Forwarded {
        /// The real server's number.
        real: u16,
    },
    /// A real server's answer that has reached the clients' router.
    Replied,
    /// A frame with its MACs exchanged.
    Swapped,
}

/// A good frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub good: Good,
    /// What it is in its flow.
    pub segment: Segment,
    /// The flow's number.
    pub flow: u32,
    /// When it was sent, in the sender's unit, if there was room.
    pub stamp: Option<u32>,
    /// The sender's number of the frame, if there was room.
    pub number: Option<u32>,
}

/// The judge of a run's frames.
#[derive(Debug, Clone)]
pub struct Checker {
    clients: Clients,
    flows: u32,
    reals: u16,
    protocol: Protocol,
    /// Requests at the real servers, or what testpmd returns.
    forward: [Template; Segment::COUNT],
    good: Returns,
    /// Answers of NAT's real servers.
    replies: Option<[Template; Segment::COUNT]>,
}

impl Checker {
    /// The judge of frames of a [`super::FrameWriter`] with the same arguments, and of flows 0 to `flows`.
    ///
    /// # Errors
    /// [`ScenarioError`] if there can be no such frames.
    pub fn new(
        scenario: &Scenario,
        shape: Shape,
        clients: Clients,
        balancer: Mac,
        flows: u32,
        returns: Returns,
    ) -> Result<Self, ScenarioError> {
        shape.check(scenario)?;
        let all = |stage| Template::all(scenario, shape, balancer, stage);
        let balanced = returns == Returns::Balanced;
        Ok(Self {
            clients,
            flows,
            reals: scenario.reals,
            protocol: scenario.protocol,
            forward: all(if balanced {
                Stage::AtReal
            } else {
                Stage::Swapped
            }),
            good: returns,
            replies: (balanced && scenario.method == Method::Nat).then(|| all(Stage::Replied)),
        })
    }

    /// Judges one frame.
    ///
    /// # Errors
    /// The first [`Fault`] that it has.
    #[inline]
    pub fn judge(&self, frame: &[u8]) -> Result<Seen, Fault> {
        // The fourth byte of a MAC tells real servers and the router apart.
        let [_, _, _, kind] = chunk(frame, 0);
        let (templates, is_reply) = match &self.replies {
            Some(replies) if kind == 0 => (replies, true),
            _ => (&self.forward, false),
        };
        let (template, mut segment) = Self::expected(templates, is_reply, frame)?;
        if !template.fits(frame) {
            return Err(template.blame(frame));
        }
        let fields = template.read(frame);
        let flow = self.clients.flow(fields.client, fields.port);
        if fields.real >= self.reals {
            return Err(Fault::UnknownReal);
        }
        if flow >= self.flows {
            return Err(Fault::UnknownFlow);
        }
        if self.protocol == Protocol::Tcp && fields.numbers != template.numbers(flow) {
            // The client's two bare acknowledgements differ in their numbers only.
            let last = templates.get(Segment::Last as usize);
            let is_last = last.is_some_and(|last| fields.numbers == last.numbers(flow));
            if segment != Segment::Ack || !is_last {
                return Err(Fault::TcpNumbers);
            }
            segment = Segment::Last;
        }
        // First the sums, since a damaged payload is damage before it is another flow's.
        template.verify(frame, &fields)?;
        if !template.is_marked(&fields, flow) {
            return Err(Fault::PayloadFlow);
        }
        let [stamp, _, number] = fields.mark;
        let marks = template.marks();
        Ok(Seen {
            good: match (self.good, is_reply) {
                (Returns::MacSwapped, _) => Good::Swapped,
                (Returns::Balanced, true) => Good::Replied,
                (Returns::Balanced, false) => Good::Forwarded { real: fields.real },
            },
            segment,
            flow,
            stamp: (marks > 0).then_some(stamp),
            number: (marks > 2).then_some(number),
        })
    }

    /// What a frame with these flags has to look like.
    #[inline]
    fn expected<'a>(
        templates: &'a [Template; Segment::COUNT],
        is_reply: bool,
        frame: &[u8],
    ) -> Result<(&'a Template, Segment), Fault> {
        const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
        const DATA: u8 = tcp::PSH | tcp::ACK;
        const FIN: u8 = tcp::FIN | tcp::ACK;
        let [datagram, syn, syn_ack, ack, data, fin, _] = templates;
        let Some(at) = datagram.flags_at() else {
            return Ok((datagram, Segment::Datagram));
        };
        let [flags] = chunk(frame, at);
        match (flags, is_reply) {
            (DATA, _) => Ok((data, Segment::Data)),
            (tcp::SYN, false) => Ok((syn, Segment::Syn)),
            (tcp::ACK, false) => Ok((ack, Segment::Ack)),
            (FIN, _) => Ok((fin, Segment::Fin)),
            (SYN_ACK, true) => Ok((syn_ack, Segment::SynAck)),
            // What stands in front of the flags says more, if it is wrong too.
            _ => Err(match data.blame(frame) {
                Fault::Length | Fault::Payload | Fault::Header => Fault::TcpFlags,
                fault => fault,
            }),
        }
    }
}
