//! What is decided for a packet, and the facts that accompany it through the pipeline.
//! Nothing is decided or done here.

use std::net::IpAddr;

use crate::id::PortId;
use crate::parse::Packet;
use crate::pipeline::handover::inbox::Lane;
use crate::pipeline::handover::message::Cut;
use crate::snapshot::Snapshot;
use crate::spec::network::PortRole;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};

/// What a stage is told besides the packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'s> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) now: Time,
}

/// How a packet came here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) port: PortId,
    pub(crate) hops: u8,
    /// Set for a datagram that was put together here.
    pub(crate) cut: Option<Cut>,
}

/// What is to be done with a packet, once its bytes are as they shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Drop(DropReason),
    /// Send the datagram behind the Ethernet header to `next_hop`, cut into fragments if `cut`.
    Route {
        port: PortId,
        next_hop: IpAddr,
        cut: Option<Cut>,
        verdict: Verdict,
    },
    /// Send the frame as it is.
    Emit {
        port: PortId,
        verdict: Verdict,
    },
    /// Give the frame, as it was received, to another worker.
    HandOver {
        to: usize,
        lane: Lane,
    },
    /// It is a fragment: keep it until its datagram is whole.
    Reassemble(Packet),
    /// Nothing more: it has been used, or is of no interest.
    Consume,
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
