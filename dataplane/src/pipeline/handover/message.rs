//! Messages between workers, and batches of frames to be handed over. The rings are in `inbox.rs`.
//! It does not decide which worker gets what.

use std::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::id::{PortId, RealId};
use crate::io::heap::HeapBuf;
use crate::neighbour::Claim;
use crate::pipeline::action::Cut;
use crate::pipeline::inbox::{Frames, Inbox, Lane};
use crate::time::Time;

/// The most frames in one message, so that a ring is accessed once for all of them.
const BATCH: usize = 16;

/// Frames that the sending worker does not own, as they were received.
#[derive(Debug)]
pub struct Batch<B> {
    pub(crate) frames: ArrayVec<B, BATCH>,
    /// Where they were received.
    pub(crate) port: PortId,
    /// How many workers passed them on.
    pub(crate) hops: u8,
}

/// A message from one worker to another.
#[derive(Debug)]
pub enum Message<B> {
    /// Frames that the sender does not own.
    Frames(Batch<B>),
    /// A reassembled datagram.
    Datagram {
        /// The whole datagram.
        whole: Whole,
        /// Where its fragments were received.
        port: PortId,
        /// How many workers passed it on.
        hops: u8,
    },
    /// A neighbour's MAC, learnt by the sender.
    Neighbour {
        /// On which port.
        port: PortId,
        /// Whose.
        address: IpAddr,
        /// Which.
        claim: Claim,
    },
    /// The path MTU to a real server behind a tunnel.
    PathMtu {
        /// The real server's address.
        real: IpAddr,
        /// The largest IP packet, in bytes.
        mtu: u16,
    },
    /// The sender has begun a flow with a reassembled datagram. Unfragmented datagrams of the flow may arrive on any
    /// worker.
    Begun {
        /// The hash of the flow's key.
        flow: u64,
        /// The real server that gets its packets.
        real: RealId,
        /// When the session expires, if no further packet comes.
        until: Time,
    },
    /// The sender has requested a neighbour's MAC. Whoever receives the reply must broadcast it.
    Asked {
        /// On which port.
        port: PortId,
        /// Whose.
        address: IpAddr,
    },
}

impl<B> Frames for Message<B> {
    /// Frames that were received for it, each of which gets a verdict.
    fn frames(&self) -> usize {
        match self {
            Self::Frames(batch) => batch.frames.len(),
            Self::Datagram { whole, .. } => usize::try_from(whole.frames()).unwrap_or(usize::MAX),
            Self::Neighbour { .. }
            | Self::PathMtu { .. }
            | Self::Begun { .. }
            | Self::Asked { .. } => 0,
        }
    }
}

/// Every worker's inbox, by worker.
pub type Inboxes<B> = Arc<[Inbox<Message<B>>]>;

/// The most messages, and frames in them, in the ring of flows that the worker owns.
pub const MOST_OWNED: u32 = 2048;
/// The same for the ring of searches.
pub const MOST_SEARCHES: u32 = 512;

/// Empty inboxes for `workers` workers.
#[must_use]
pub fn inboxes<B>(workers: usize) -> Inboxes<B> {
    (0..workers)
        .map(|_| Inbox::new(MOST_OWNED as usize, MOST_SEARCHES as usize))
        .collect()
}

/// Frames for other workers, collected until the end of the burst.
#[derive(Debug)]
pub(crate) struct Leaving<B> {
    /// By worker, and for each by lane.
    batches: Vec<[Batch<B>; 2]>,
    /// Frames in all of them.
    count: usize,
}

impl<B> Leaving<B> {
    pub(crate) fn new(workers: usize) -> Self {
        let batch = || Batch {
            frames: ArrayVec::new(),
            port: PortId::new(0),
            hops: 0,
        };
        Self {
            batches: (0..workers).map(|_| [batch(), batch()]).collect(),
            count: 0,
        }
    }

    /// Adds a frame. Returns a batch that has to leave first, and with `Err` the frame if there is no such
    /// worker.
    pub(crate) fn add(
        &mut self,
        (to, lane): (usize, Lane),
        frame: B,
        port: PortId,
        hops: u8,
    ) -> Result<Option<Batch<B>>, B> {
        let Some(batch) = self.batch(to, lane) else {
            return Err(frame);
        };
        let differs = (batch.port, batch.hops) != (port, hops);
        let full = batch.frames.is_full() || differs && !batch.frames.is_empty();
        let before = full.then(|| batch.take());
        (batch.port, batch.hops) = (port, hops);
        batch.frames.push(frame);
        self.count += 1;
        self.count -= before.as_ref().map_or(0, |batch| batch.frames.len());
        Ok(before)
    }

    fn batch(&mut self, to: usize, lane: Lane) -> Option<&mut Batch<B>> {
        let [owner, search] = self.batches.get_mut(to)?;
        Some(match lane {
            Lane::Owner => owner,
            Lane::Search => search,
        })
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes out what there is for a worker, if anything.
    pub(crate) fn take(&mut self, to: usize, lane: Lane) -> Option<Batch<B>> {
        let batch = self.batch(to, lane)?;
        let taken = (!batch.frames.is_empty()).then(|| batch.take())?;
        self.count -= taken.frames.len();
        Some(taken)
    }
}

impl<B> Batch<B> {
    fn take(&mut self) -> Self {
        Self {
            frames: self.frames.take(),
            ..*self
        }
    }
}

/// A datagram put together from fragments, and what it takes to fragment it again.
#[derive(Debug)]
pub struct Whole {
    /// Ethernet header and datagram.
    pub(crate) frame: HeapBuf,
    pub(crate) cut: Cut,
    /// How many frames it came in.
    pub(crate) frames: u32,
}

impl Whole {
    /// How many frames it came in.
    pub(crate) fn frames(&self) -> u64 {
        u64::from(self.frames)
    }
}
