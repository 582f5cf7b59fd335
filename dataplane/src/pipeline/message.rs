//! What workers hand to each other, and the rings that it travels on.
//! Who hands what to whom is decided elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::neighbour::Claim;
use crate::snapshot::id::PortId;
use crate::testing::HeapBuf;

/// What travels from one worker to another.
#[derive(Debug)]
pub enum Message<B> {
    /// A frame that this worker cannot handle alone.
    Frame {
        /// The frame, as it was received.
        frame: B,
        /// Where it was received.
        port: PortId,
        /// How many workers passed it on.
        hops: u8,
    },
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

/// Every worker's inbox, by worker: bounded, lock-free, many writers, one reader.
pub type Inboxes<B> = Arc<[ArrayQueue<Message<B>>]>;

/// Messages that one inbox holds at most.
const INBOX: usize = 2048;

/// Empty inboxes for `workers` workers.
#[must_use]
pub fn inboxes<B>(workers: usize) -> Inboxes<B> {
    (0..workers).map(|_| ArrayQueue::new(INBOX)).collect()
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
