//! What is decided for a packet, and the facts that accompany it through the pipeline.
//! Nothing is decided or done here.

use std::net::IpAddr;

use crate::id::PortId;
use crate::parse::Packet;
use crate::pipeline::inbox::Lane;
use crate::snapshot::Snapshot;
use crate::snapshot::model::WorkerTable;
use crate::spec::network::PortRole;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};

/// What every stage is told besides the packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'s> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) worker: usize,
    /// What this worker counts, by the snapshot's services and real servers.
    pub(crate) own: &'s WorkerTable,
    pub(crate) now: Time,
    pub(crate) origin: Origin,
}

impl<'s> Context<'s> {
    /// `None` if the snapshot was made for fewer workers, which no data plane does.
    #[inline]
    pub(crate) fn new(
        snapshot: &'s Snapshot,
        worker: usize,
        now: Time,
        origin: Origin,
    ) -> Option<Self> {
        let own = snapshot.workers.get(worker)?;
        Some(Self {
            snapshot,
            worker,
            own,
            now,
            origin,
        })
    }
}

/// How a packet came here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) port: PortId,
    /// How many workers have handed it over.
    pub(crate) hops: u8,
    /// Set for a datagram that was put together here.
    pub(crate) cut: Option<Cut>,
}

impl Origin {
    /// Of what a worker does by itself, without a packet that was received.
    pub(crate) const HERE: Self = Self {
        port: PortId::new(0),
        hops: 0,
        cut: None,
    };
}

/// How a datagram was fragmented, and will be again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The largest fragment's IP length.
    pub(crate) size: usize,
    /// The part that every IPv6 fragment repeats, in bytes.
    pub(crate) header_bytes: usize,
    /// IPv6's identification.
    pub(crate) id: u32,
}

/// What is to be done with a packet, or why it is dropped.
pub(crate) type Decision = Result<Action, Refusal>;

/// What is to be done with a packet, once its bytes are as they shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send the datagram behind the Ethernet header to `next_hop`, cut into fragments if `cut`.
    Route {
        port: PortId,
        next_hop: IpAddr,
        cut: Option<Cut>,
        verdict: Verdict,
    },
    /// Send the frame as it is.
    Emit { port: PortId, verdict: Verdict },
    /// Give the frame, as it was received, to another worker.
    HandOver { to: usize, lane: Lane },
    /// It is a fragment: keep it until its datagram is whole.
    Reassemble,
    /// Nothing more: it has been used, or is of no interest.
    Consume,
}

/// Why a packet is dropped, and what its sender is told. With an answer, the packet is as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: DropReason,
    pub(crate) answer: Answer,
}

/// What the sender of a packet that is dropped is told, within the limits on errors and resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Nothing,
    /// What a host says to a packet for a closed port.
    AsHost,
    /// The same by this machine as the real server of the packet's session. A reset moves the session on.
    AsReal,
    /// That no real server takes it.
    PortUnreachable,
    /// That a real server's packet has no session.
    ReplyUnreachable,
    HostUnreachable,
    TimeExceeded(Speaker),
    /// That only packets of so many bytes fit.
    TooBig(usize, Speaker),
}

/// Whose address an ICMP error comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The packet's destination, which is a virtual address.
    Vip,
    /// This machine's on the sender's side.
    Router,
}

impl Refusal {
    #[inline]
    pub(crate) const fn new(reason: DropReason, answer: Answer) -> Self {
        Self { reason, answer }
    }
}

impl From<DropReason> for Refusal {
    #[inline]
    fn from(reason: DropReason) -> Self {
        Self::new(reason, Answer::Nothing)
    }
}

/// The verdict that received frames get once the frame that stands for them has left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) verdict: Verdict,
    /// How many were received for it: a datagram's fragments, else 1.
    pub(crate) frames: u32,
}

/// A frame that is to be sent. Frames originated here have no fate.
#[derive(Debug)]
pub(crate) struct Waiting<B> {
    pub(crate) frame: B,
    pub(crate) fate: Option<Fate>,
    /// What its sender is told about if the neighbour does not answer.
    pub(crate) received: Option<Received>,
}

/// The beginning of a client's packet, as it came: an error about it quotes what its sender sent
/// (RFC 1812 section 4.3.2.3), and by then it is rewritten.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) packet: Packet,
    pub(crate) datagram: Box<[u8]>,
}

/// The frame goes to the kernel's port that belongs to `port`, if there is one.
pub(crate) fn punt(snapshot: &Snapshot, port: PortId) -> Option<Action> {
    match snapshot.port(port)?.role {
        PortRole::Network { kernel } => kernel.map(|port| Action::Emit {
            port,
            verdict: Verdict::Punted,
        }),
        PortRole::Kernel { .. } => None,
    }
}
