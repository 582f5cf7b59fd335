//! What workers hand to each other, and the rings that it travels on.
//! Who hands what to whom is decided elsewhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;

use crate::neighbour::Claim;
use crate::snapshot::id::PortId;
use crate::testing::HeapBuf;

/// Frames that travel in one message at most: a ring is touched once for so many.
const BATCH: usize = 16;

/// Frames that this worker cannot handle alone, as they were received.
#[derive(Debug)]
pub struct Batch<B> {
    pub(crate) frames: ArrayVec<B, BATCH>,
    /// Where they were received.
    pub(crate) port: PortId,
    /// How many workers passed them on.
    pub(crate) hops: u8,
}

/// What travels from one worker to another.
#[derive(Debug)]
pub enum Message<B> {
    /// Frames that another worker cannot handle alone.
    Frames(Batch<B>),
    /// A datagram put together from fragments.
    Datagram {
        /// The whole datagram.
        whole: Whole,
        /// Where its fragments were received.
        port: PortId,
        /// How many workers passed it on.
        hops: u8,
    },
    /// Somebody's MAC.
    Neighbour {
        /// On which port.
        port: PortId,
        /// Whose.
        address: IpAddr,
        /// Which.
        claim: Claim,
    },
    /// What fits the way to a real server behind a tunnel.
    PathMtu {
        /// The real server's address.
        real: IpAddr,
        /// The largest IP packet, in bytes.
        mtu: u16,
    },
    /// A worker asked for somebody's MAC, and is to be told the answer.
    Asked {
        /// On which port.
        port: PortId,
        /// Whose.
        address: IpAddr,
    },
}

impl<B> Message<B> {
    /// Frames that were received for it, each of which gets a verdict.
    pub(crate) fn frames(&self) -> usize {
        match self {
            Self::Frames(batch) => batch.frames.len(),
            Self::Datagram { whole, .. } => usize::try_from(whole.frames()).unwrap_or(usize::MAX),
            Self::Neighbour { .. } | Self::PathMtu { .. } | Self::Asked { .. } => 0,
        }
    }
}

/// Why a worker is given a packet that it did not receive. Each has a ring of its own, so that whoever makes
/// up packets that must be looked for fills only the rings of searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// It is the owner of the packet's flow.
    Owner,
    /// It may have the packet's session.
    Search,
}

/// One worker's inbox: many writers, one reader.
#[derive(Debug)]
pub struct Inbox<B> {
    owned: Ring<B>,
    searches: Ring<B>,
}

/// Every worker's inbox, by worker.
pub type Inboxes<B> = Arc<[Inbox<B>]>;

/// Messages, and frames in them, that the ring of what a worker owns holds at most.
pub const MOST_OWNED: u32 = 2048;
/// The same of the ring of searches.
pub const MOST_SEARCHES: u32 = 512;

/// A bounded, lock-free ring.
#[derive(Debug)]
struct Ring<B> {
    messages: ArrayQueue<Message<B>>,
    /// Frames in the messages, each of which holds a buffer.
    frames: AtomicUsize,
}

impl<B> Ring<B> {
    fn new(most: u32) -> Self {
        Self {
            messages: ArrayQueue::new(most as usize),
            frames: AtomicUsize::new(0),
        }
    }

    /// Gives the message back if there is no room for it.
    fn push(&self, message: Message<B>) -> Result<(), Message<B>> {
        let frames = message.frames();
        // Counted before it can be taken out again, so that the number never falls below 0.
        let before = self.frames.fetch_add(frames, Ordering::Relaxed);
        let pushed = if frames > 0 && before + frames > self.messages.capacity() {
            Err(message)
        } else {
            self.messages.push(message)
        };
        if pushed.is_err() {
            self.frames.fetch_sub(frames, Ordering::Relaxed);
        }
        pushed
    }

    fn pop(&self) -> Option<Message<B>> {
        let message = self.messages.pop()?;
        self.frames.fetch_sub(message.frames(), Ordering::Relaxed);
        Some(message)
    }
}

impl<B> Inbox<B> {
    /// Gives the message back if there is no room for it.
    pub(super) fn push(&self, lane: Lane, message: Message<B>) -> Result<(), Message<B>> {
        match lane {
            Lane::Owner => self.owned.push(message),
            Lane::Search => self.searches.push(message),
        }
    }

    /// The oldest message about what the worker owns.
    pub(crate) fn pop(&self) -> Option<Message<B>> {
        self.owned.pop()
    }

    /// The oldest search.
    pub(crate) fn pop_search(&self) -> Option<Message<B>> {
        self.searches.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owned.messages.is_empty() && self.searches.messages.is_empty()
    }
}

/// Empty inboxes for `workers` workers.
#[must_use]
pub fn inboxes<B>(workers: usize) -> Inboxes<B> {
    (0..workers)
        .map(|_| Inbox {
            owned: Ring::new(MOST_OWNED),
            searches: Ring::new(MOST_SEARCHES),
        })
        .collect()
}

/// Frames on their way to other workers, gathered while a burst is handled.
#[derive(Debug)]
pub(super) struct Leaving<B> {
    /// By worker, and for each by lane.
    batches: Vec<[Batch<B>; 2]>,
    /// Frames in all of them.
    count: usize,
}

impl<B> Leaving<B> {
    pub(super) fn new(workers: usize) -> Self {
        let batch = || Batch {
            frames: ArrayVec::new(),
            port: PortId(0),
            hops: 0,
        };
        Self {
            batches: (0..workers).map(|_| [batch(), batch()]).collect(),
            count: 0,
        }
    }

    /// Adds a frame. Returns a batch that has to leave first, and with `Err` the frame if there is no such
    /// worker.
    pub(super) fn add(
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
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes out what there is for a worker, if anything.
    pub(super) fn take(&mut self, to: usize, lane: Lane) -> Option<Batch<B>> {
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
    pub(super) frame: HeapBuf,
    pub(super) cut: Cut,
    /// How many frames it came in.
    pub(super) frames: u32,
}

impl Whole {
    /// How many frames it came in.
    pub(crate) fn frames(&self) -> u64 {
        u64::from(self.frames)
    }
}

/// How a datagram was fragmented, and will be again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The largest fragment's IP length.
    pub(super) size: usize,
    /// The part that every IPv6 fragment repeats, in bytes.
    pub(super) header_bytes: usize,
    /// IPv6's identification.
    pub(super) id: u32,
}
