//! The frames that the calling thread has last received or been handed, for the message of a crash.
//! It owns none of them: by the time of a crash they may have been changed, sent, or used for other frames.

use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, NonNull};

use dpdk_sys::rte_mbuf;
use plimsoll_dataplane::io::BURST;

use crate::fields::Peek;

/// Where a burst came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BurstSource {
    /// A receive queue.
    Queue {
        /// The port's number in DPDK.
        port: u16,
        /// Its queue.
        queue: u16,
    },
    /// Another worker.
    Worker,
}

pub(crate) struct LastBurst {
    frames: UnsafeCell<[*mut rte_mbuf; BURST]>,
    count: Cell<u16>,
    source: Cell<BurstSource>,
}

thread_local! {
    static LAST: LastBurst = const {
        LastBurst {
            frames: UnsafeCell::new([ptr::null_mut(); BURST]),
            count: Cell::new(0),
            source: Cell::new(BurstSource::Worker),
        }
    };
}

/// Has `receive` write pointers to at most [`BURST`] frames, and remembers as many of them as it returns.
/// Nothing is copied: it is the very array that the driver writes, so remembering costs next to nothing.
#[inline]
pub(crate) fn receive<R>(
    source: BurstSource,
    receive: impl FnOnce(*mut *mut rte_mbuf) -> u16,
    take: impl FnOnce(&[*mut rte_mbuf]) -> R,
) -> R {
    LAST.with(|last| {
        let count = receive(last.frames.get().cast());
        // An empty burst leaves what came before: it may still be worked on, as fragments are.
        if count > 0 {
            last.count.set(count);
            last.source.set(source);
        }
        // SAFETY: only this function and `hand_over` write the array, both in this thread and neither inside the
        // other: `take` is given frames, and does not receive.
        let frames = unsafe { &*last.frames.get() };
        take(frames.get(..usize::from(count)).unwrap_or_default())
    })
}

/// Remembers frames that another worker has handed over.
pub(crate) fn hand_over(frames: impl Iterator<Item = NonNull<rte_mbuf>>) {
    LAST.with(|last| {
        // SAFETY: as in `receive`; `frames` goes through a slice (`Mbuf::remember`), and does not receive either.
        let places = unsafe { &mut *last.frames.get() };
        let mut count = 0;
        for (place, frame) in places.iter_mut().zip(frames) {
            *place = frame.as_ptr();
            count += 1;
        }
        last.count.set(count);
        last.source.set(BurstSource::Worker);
    });
}

/// Where the calling thread's last burst came from, and how many frames it had: none, if it never received.
#[must_use]
pub fn last_burst() -> (BurstSource, usize) {
    LAST.with(|last| (last.source.get(), usize::from(last.count.get())))
}

/// Copies up to `into.len()` bytes of a frame of the calling thread's last burst, from `offset` on, as they are in
/// memory now; returns how many, and how long the frame is. For the message of a crash: it allocates nothing and
/// takes no lock.
#[must_use]
pub fn last_frame(index: usize, offset: usize, into: &mut [u8]) -> (usize, usize) {
    LAST.with(|last| {
        // SAFETY: as in `receive`.
        let frames = unsafe { &*last.frames.get() };
        let known = frames
            .get(..usize::from(last.count.get()))
            .unwrap_or_default();
        let Some(frame) = known.get(index).and_then(|frame| NonNull::new(*frame)) else {
            return (0, 0);
        };
        // SAFETY: a buffer that DPDK has given to this process; pools are never freed, so its memory is there.
        let peek = unsafe { Peek::at(frame) };
        (peek.copy(offset, into), peek.len())
    })
}
