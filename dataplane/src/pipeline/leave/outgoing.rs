//! Frames that one device is to send, as long as there is room.
//! What is sent is decided elsewhere; who sends it is the worker.

use crate::io::PacketBuf;
use crate::verdict::DropReason;

/// Frames that wait for room in one transmit queue at most.
pub const BACKLOG: u32 = 1024;

/// Frames to be sent by one device, oldest first. A device that cannot send fills its own and no other.
#[derive(Debug)]
pub(crate) struct Outgoing<B> {
    /// Never more than there is capacity for from the start: none while the link is down. So the vector's own
    /// check of its capacity is the only one that a frame pays.
    pub(crate) frames: Vec<B>,
    /// All of them together.
    bytes: u64,
}

impl<B: PacketBuf> Outgoing<B> {
    pub(crate) fn new() -> Self {
        Self {
            frames: Vec::with_capacity(BACKLOG as usize),
            bytes: 0,
        }
    }

    /// Adds a frame, or says why there is no room for it.
    #[inline(always)]
    pub(crate) fn push(&mut self, frame: B) -> Result<(), DropReason> {
        if self.frames.len() == self.frames.capacity() {
            return Err(self.why_full());
        }
        self.bytes += frame.bytes().len() as u64;
        self.frames.push(frame);
        Ok(())
    }

    #[cold]
    fn why_full(&self) -> DropReason {
        if self.is_down() {
            DropReason::LinkDown
        } else {
            DropReason::TxFull
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.frames.capacity() == 0
    }

    /// The device's link goes down or comes up. Returns how many frames were given up.
    pub(crate) fn set_link(&mut self, up: bool) -> usize {
        let capacity = if up { BACKLOG as usize } else { 0 };
        self.bytes = 0;
        std::mem::replace(&mut self.frames, Vec::with_capacity(capacity)).len()
    }

    /// The bytes of the frames that have been taken from `frames` since the last call.
    pub(crate) fn bytes_taken(&mut self) -> u64 {
        let left = self.frames.iter().map(|frame| frame.bytes().len() as u64);
        let before = std::mem::replace(&mut self.bytes, left.sum());
        before - self.bytes
    }
}
