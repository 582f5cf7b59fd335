//! The driver seam: what the packet path asks of a NIC, a pcap or a queue in memory.
//! No driver of a device lives here, and no code behind this seam decides what happens to a packet.

use std::fmt;

pub mod heap;
pub mod memory;

/// Most frames a worker takes from a queue at once, and most a stage sees.
pub const BURST: usize = 32;

/// Bytes that every driver keeps free in front of a received frame, so that a tunnel's outer
/// headers fit without a copy (IPv6 40 + UDP 8 + GUE 4, rounded up to a cache line and more).
pub const HEADROOM_BYTES: usize = 128;

/// The buffer has no room for the bytes asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room in the packet buffer")]
pub struct NoRoom;

/// One received or to be sent Ethernet frame (no FCS), in one contiguous piece, with one owner.
///
/// Dropping it gives the memory back to where it came from.
pub trait PacketBuf: fmt::Debug {
    /// The whole frame, from the destination MAC on.
    fn bytes(&self) -> &[u8];
    /// The whole frame, to be rewritten in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Grows the frame by `count` bytes of undefined content at its front.
    ///
    /// # Errors
    /// [`NoRoom`] when the headroom is smaller; the frame is unchanged then.
    fn prepend(&mut self, count: usize) -> Result<(), NoRoom>;
    /// Removes `count` bytes from the front (all of them if there are fewer).
    fn trim_front(&mut self, count: usize);
    /// Sets the frame's length: cuts bytes off its end, or grows it by bytes of undefined content.
    ///
    /// # Errors
    /// [`NoRoom`] when the tailroom is smaller; the frame is unchanged then.
    fn set_len(&mut self, len: usize) -> Result<(), NoRoom>;
    /// Told of frames that a worker begins to work on and has not received itself, so that a driver which keeps
    /// the last burst for the message of a crash has them too.
    fn remember(burst: &[Self])
    where
        Self: Sized,
    {
        let _ = burst;
    }
}

/// One receive queue of one device, polled by one worker.
pub trait RxQueue {
    /// What it yields.
    type Buf: PacketBuf;
    /// Appends at most `max` received frames to `burst` and returns how many. Never waits.
    fn receive(&mut self, burst: &mut Vec<Self::Buf>, max: usize) -> usize;
}

/// One transmit queue of one device, fed by one worker.
pub trait TxQueue {
    /// What it takes.
    type Buf: PacketBuf;
    /// Takes as many frames from the front of `frames` as the queue has room for, removes them
    /// from `frames`, and returns how many. The unsent tail stays with the caller, in order, and so does
    /// the vector's capacity.
    fn transmit(&mut self, frames: &mut Vec<Self::Buf>) -> usize;
}

/// Where a worker gets buffers for the frames that it makes itself (ARP, ICMP, fragments).
pub trait Pool {
    /// What it hands out.
    type Buf: PacketBuf;
    /// An empty frame (length 0) with [`HEADROOM_BYTES`] in front of it, or `None` when the pool
    /// is exhausted.
    fn allocate(&mut self) -> Option<Self::Buf>;

    /// Appends `count` such frames to `frames`, or fewer when the pool is exhausted, and returns how
    /// many.
    fn allocate_burst(&mut self, frames: &mut Vec<Self::Buf>, count: usize) -> usize {
        let before = frames.len();
        frames.extend((0..count).map_while(|_| self.allocate()));
        frames.len() - before
    }
}

/// A worker's queues on one device.
#[derive(Debug)]
pub struct QueuePair<Rx, Tx> {
    /// Where frames come from.
    pub rx: Rx,
    /// Where frames go to.
    pub tx: Tx,
}
