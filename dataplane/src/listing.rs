//! [`Listing`]: what one worker shows of a table, on its way to the control thread.
//! Which records these are, and how many a poll shows, is not decided here.

use crate::sync::{ArrayQueue, AtomicBool, AtomicU64, Ordering};

/// Records on their way from the one thread that shows them to the one that takes them.
#[derive(Debug)]
pub struct Listing<R> {
    records: ArrayQueue<R>,
    /// Steps that the worker has made.
    steps: AtomicU64,
    done: AtomicBool,
}

/// Records that it holds at most, unless another number is asked for.
const RECORDS: usize = 2048;

impl<R> Default for Listing<R> {
    fn default() -> Self {
        Self::with_room(RECORDS)
    }
}

impl<R> Listing<R> {
    /// Holds so many records that nobody has taken.
    #[must_use]
    pub fn with_room(records: usize) -> Self {
        Self {
            records: ArrayQueue::new(records),
            steps: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// The next record; `None` if there is none at the moment.
    #[must_use]
    pub fn take(&self) -> Option<R> {
        self.records.pop()
    }

    /// Whether no more will come. Records may still be left to take: all that there are, for who asks this first.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// How many steps the worker has made, those without any record included: a number that grows is the sign of a
    /// worker that goes on with it.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Counts a step. To be called by the one thread that shows the records.
    pub fn step(&self) {
        // One writer: no more than a load and a store.
        self.steps
            .store(self.steps().wrapping_add(1), Ordering::Relaxed);
    }

    /// Shows a record; the caller has seen that there is room.
    pub(crate) fn put(&self, record: R) {
        let _ = self.records.push(record);
    }

    /// No more will come.
    pub(crate) fn end(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Whether there is room for so many records, which nobody but the caller fills.
    pub(crate) fn has_room(&self, records: usize) -> bool {
        self.records.capacity() - self.records.len() >= records
    }
}
