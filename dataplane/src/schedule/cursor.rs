//! The moving half of a service's scheduler on one worker: where its turn is.
//! What it points into, and who moves it, is in the schedulers' files.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::id::RealId;

/// The moving half of one service's scheduler on one worker.
///
/// Atomics because the control thread allocates it inside a shared array; only the worker writes.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The service's revision that the other fields fit; 0 for a slot never used.
    pub(super) revision: AtomicU32,
    /// 1 + the place of the real server used last; 0 stands before the first.
    pub(super) next: AtomicU32,
    /// The real server used last, which finds the place again when the list changes.
    pub(super) last: AtomicU32,
    /// The weight that a real server must have in this pass (wrr).
    pub(super) pass_weight: AtomicU32,
    /// 1 + the next turn to be given away (swrr); 0 with every other scheduler.
    pub(super) spare: AtomicU32,
}

/// `Cursor::last` when no real server was used yet.
const NO_REAL: u32 = u32::MAX;

impl Cursor {
    pub(super) fn next(&self) -> usize {
        self.next.load(Ordering::Relaxed) as usize
    }

    /// Remembers that the candidate at `place` was used.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "slots, and so places, are 32-bit"
    )]
    pub(super) fn used(&self, place: usize, real: RealId) {
        self.next.store(place as u32 + 1, Ordering::Relaxed);
        self.last.store(real.0, Ordering::Relaxed);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "turns are bounded by `swrr`"
    )]
    pub(super) fn set_next(&self, next: usize) {
        self.next.store(next as u32, Ordering::Relaxed);
    }

    pub(super) fn spare(&self) -> usize {
        self.spare.load(Ordering::Relaxed).saturating_sub(1) as usize
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "turns are bounded by `swrr`"
    )]
    pub(super) fn set_spare(&self, turn: usize) {
        self.spare.store(turn as u32 + 1, Ordering::Relaxed);
    }

    pub(super) fn rewind(&self) {
        self.next.store(0, Ordering::Relaxed);
        self.last.store(NO_REAL, Ordering::Relaxed);
        self.spare.store(0, Ordering::Relaxed);
    }

    pub(super) fn pass_weight(&self) -> u32 {
        self.pass_weight.load(Ordering::Relaxed)
    }

    pub(super) fn set_pass_weight(&self, weight: u32) {
        self.pass_weight.store(weight, Ordering::Relaxed);
    }
}

/// Where a worker's round-robin pointer begins, so that several workers do not all begin at the
/// same real server: worker `worker` of `workers` skips its share of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// This worker, from 0.
    pub worker: usize,
    /// All of them, at least 1.
    pub workers: usize,
}
