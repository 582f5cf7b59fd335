//! Fast packet buffers and queues in memory, for benchmarks: what they cost per frame is a pointer.
//! They check nothing and inject no faults; tests use `io/memory.rs`.

#![expect(
    clippy::indexing_slicing,
    reason = "as cheap as a driver's pointers; a frame's bounds are kept within its storage"
)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::io::{HEADROOM_BYTES, NoRoom, PacketBuf, Pool, QueuePair, RxQueue, TxQueue};

/// Bytes behind the headroom, so that a frame and every tunnel's headers fit.
const ROOM_BYTES: usize = 320;
const STORAGE_BYTES: usize = HEADROOM_BYTES + ROOM_BYTES;

/// A packet buffer as a driver has it: a line that says where the frame is, then the bytes.
pub struct SlotBuf(Box<Slot>);

#[repr(align(64))]
struct Slot {
    start: usize,
    end: usize,
    /// On cache lines of its own, as DPDK's data rooms are.
    storage: Storage,
}

#[repr(align(64))]
struct Storage([u8; STORAGE_BYTES]);

impl SlotBuf {
    /// A buffer with a copy of `frame`, cut off at what fits, and the usual headroom.
    #[must_use]
    pub fn from_frame(frame: &[u8]) -> Self {
        let mut buf = Self(Box::new(Slot {
            start: HEADROOM_BYTES,
            end: HEADROOM_BYTES,
            storage: Storage([0; STORAGE_BYTES]),
        }));
        buf.fill(frame);
        buf
    }

    /// Makes the buffer hold a copy of `frame`, as if just received.
    #[inline]
    pub fn fill(&mut self, frame: &[u8]) {
        let length = frame.len().min(ROOM_BYTES);
        self.0.start = HEADROOM_BYTES;
        self.0.end = HEADROOM_BYTES + length;
        for (to, from) in self.bytes_mut().iter_mut().zip(frame) {
            *to = *from;
        }
    }
}

impl fmt::Debug for SlotBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SlotBuf").field(&self.bytes()).finish()
    }
}

impl PacketBuf for SlotBuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let Slot {
            start,
            end,
            storage,
        } = &*self.0;
        &storage.0[*start..*end]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let Slot {
            start,
            end,
            storage,
        } = &mut *self.0;
        &mut storage.0[*start..*end]
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> Result<(), NoRoom> {
        self.0.start = self.0.start.checked_sub(count).ok_or(NoRoom)?;
        Ok(())
    }

    #[inline]
    fn trim_front(&mut self, count: usize) {
        self.0.start = self.0.start.saturating_add(count).min(self.0.end);
    }

    #[inline]
    fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        let end = self.0.start.checked_add(len).ok_or(NoRoom)?;
        if end > STORAGE_BYTES {
            return Err(NoRoom);
        }
        self.0.end = end;
        Ok(())
    }
}

/// Buffers for the frames that a worker makes itself, from the heap.
#[derive(Debug, Clone, Copy, Default)]
pub struct SlotPool;

impl Pool for SlotPool {
    type Buf = SlotBuf;

    fn allocate(&mut self) -> Option<SlotBuf> {
        Some(SlotBuf::from_frame(&[]))
    }
}

/// The receive queue of a benchmark's port.
#[derive(Debug)]
pub struct SlotRx(Rc<RefCell<Vec<SlotBuf>>>);

impl RxQueue for SlotRx {
    type Buf = SlotBuf;

    #[inline]
    fn receive(&mut self, burst: &mut Vec<SlotBuf>, max: usize) -> usize {
        let mut frames = self.0.borrow_mut();
        let left = frames.len().saturating_sub(max);
        let count = frames.len() - left;
        burst.extend(frames.drain(left..));
        count
    }
}

/// The transmit queue of a benchmark's port, which is never full unless it is stuck.
#[derive(Debug)]
pub struct SlotTx {
    sent: Rc<RefCell<Vec<SlotBuf>>>,
    is_stuck: Rc<Cell<bool>>,
}

impl TxQueue for SlotTx {
    type Buf = SlotBuf;

    #[inline]
    fn transmit(&mut self, frames: &mut Vec<SlotBuf>) -> usize {
        if self.is_stuck.get() {
            return 0;
        }
        let count = frames.len();
        self.sent.borrow_mut().append(frames);
        count
    }
}

/// The other end of a benchmark's port.
#[derive(Debug, Clone)]
pub struct SlotWire {
    /// Frames that the port has yet to receive. It takes them off the end, a burst at a time.
    pub to_port: Rc<RefCell<Vec<SlotBuf>>>,
    /// Frames that the port has sent, oldest first.
    pub from_port: Rc<RefCell<Vec<SlotBuf>>>,
    /// Whether the port sends nothing.
    pub is_stuck: Rc<Cell<bool>>,
}

/// A port for benchmarks and the other end of its wire, both for one thread.
#[must_use]
pub fn slot_port() -> (QueuePair<SlotRx, SlotTx>, SlotWire) {
    let wire = SlotWire {
        to_port: Rc::default(),
        from_port: Rc::default(),
        is_stuck: Rc::default(),
    };
    let queues = QueuePair {
        rx: SlotRx(Rc::clone(&wire.to_port)),
        tx: SlotTx {
            sent: Rc::clone(&wire.from_port),
            is_stuck: Rc::clone(&wire.is_stuck),
        },
    };
    (queues, wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_bytes_when_it_grows_and_shrinks() {
        let mut buf = SlotBuf::from_frame(&[1, 2, 3]);
        assert_eq!(buf.prepend(HEADROOM_BYTES + 1), Err(NoRoom));
        buf.prepend(2).unwrap();
        assert_eq!(buf.bytes().len(), 5);
        buf.trim_front(2);
        buf.set_len(2).unwrap();
        assert_eq!(buf.bytes(), [1, 2]);
        assert_eq!(buf.set_len(STORAGE_BYTES), Err(NoRoom));
        buf.fill(&[9; 2 * ROOM_BYTES]);
        assert_eq!(buf.bytes(), [9; ROOM_BYTES]);
    }

    #[test]
    fn frames_pass_in_bursts() {
        let (mut port, wire) = slot_port();
        wire.to_port
            .borrow_mut()
            .extend((0..3).map(|n| SlotBuf::from_frame(&[n])));
        let mut burst = Vec::new();
        assert_eq!(port.rx.receive(&mut burst, 2), 2);
        assert_eq!(port.tx.transmit(&mut burst), 2);
        assert_eq!(port.rx.receive(&mut burst, 2), 1);
        let sent = wire.from_port.take();
        assert_eq!(
            sent.iter().map(|one| one.bytes()[0]).collect::<Vec<_>>(),
            [1, 2]
        );
        wire.is_stuck.set(true);
        assert_eq!(port.tx.transmit(&mut burst), 0);
        assert_eq!((burst.len(), wire.from_port.take().len()), (1, 0));
    }
}
