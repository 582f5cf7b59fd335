//! How a new snapshot reaches the workers: read, copy, update.
//! A reader never waits and never frees; the publisher frees what every reader has left behind.

// Whoever includes this file says what these are: `tests/loom.rs` has loom's.
use crate::sync::{Arc, ArrayQueue, AtomicU64, CachePadded, Ordering};

/// The place where one reader is offered new values.
#[derive(Debug)]
struct Mailbox<T> {
    /// Holds at most the newest value: an offer replaces one that was not yet taken.
    offer: ArrayQueue<(u64, Arc<T>)>,
    /// The number of the newest value offered.
    offered: CachePadded<AtomicU64>,
    /// The number of the value in use; `u64::MAX` once the reader is gone.
    seen: CachePadded<AtomicU64>,
}

/// The control thread's end.
#[derive(Debug)]
pub struct Publisher<T> {
    number: u64,
    current: Arc<T>,
    /// Values that a reader may still use, with their numbers.
    retired: Vec<(u64, Arc<T>)>,
    mailboxes: Vec<Arc<Mailbox<T>>>,
}

impl<T> Publisher<T> {
    /// Begins with `value`.
    #[must_use]
    pub fn new(value: Arc<T>) -> Self {
        Self {
            number: 0,
            current: value,
            retired: Vec::new(),
            mailboxes: Vec::new(),
        }
    }

    /// A reader that begins with the current value.
    pub fn subscribe(&mut self) -> Reader<T> {
        let mailbox = Arc::new(Mailbox {
            offer: ArrayQueue::new(1),
            offered: CachePadded::new(AtomicU64::new(self.number)),
            seen: CachePadded::new(AtomicU64::new(self.number)),
        });
        self.mailboxes.push(Arc::clone(&mailbox));
        Reader {
            current: Arc::clone(&self.current),
            number: self.number,
            seat: Seat(mailbox),
        }
    }

    /// The newest value.
    #[must_use]
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }

    /// Offers `value` to every reader.
    pub fn publish(&mut self, value: Arc<T>) {
        let former = std::mem::replace(&mut self.current, value);
        self.retired.push((self.number, former));
        self.number += 1;
        for mailbox in &self.mailboxes {
            mailbox
                .offer
                .force_push((self.number, Arc::clone(&self.current)));
            mailbox.offered.store(self.number, Ordering::Release);
        }
        self.collect();
    }

    /// Frees the values that no reader uses any more; returns how many are still kept.
    pub fn collect(&mut self) -> usize {
        self.mailboxes
            .retain(|mailbox| mailbox.seen.load(Ordering::Acquire) != u64::MAX);
        let oldest = self.oldest_in_use();
        self.retired.retain(|(number, _)| *number >= oldest);
        self.retired.len()
    }

    /// Whether every reader uses the newest value.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.oldest_in_use() == self.number
    }

    fn oldest_in_use(&self) -> u64 {
        self.mailboxes
            .iter()
            .map(|mailbox| mailbox.seen.load(Ordering::Acquire))
            .min()
            .unwrap_or(self.number)
            .min(self.number)
    }
}

/// A worker's end.
#[derive(Debug)]
pub struct Reader<T> {
    current: Arc<T>,
    number: u64,
    /// Behind `current`: fields are dropped in their order, and the publisher must keep the value until the
    /// reader has let go of it.
    seat: Seat<T>,
}

/// A reader's place at the publisher, which it gives up when it is gone.
#[derive(Debug)]
struct Seat<T>(Arc<Mailbox<T>>);

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.0.seen.store(u64::MAX, Ordering::Release);
    }
}

impl<T> Reader<T> {
    /// Takes the newest value if there is a new one; says whether there was. One load otherwise.
    pub fn refresh(&mut self) -> bool {
        let Seat(mailbox) = &self.seat;
        if mailbox.offered.load(Ordering::Acquire) == self.number {
            return false;
        }
        let Some((number, value)) = mailbox.offer.pop() else {
            return false;
        };
        self.current = value;
        self.number = number;
        mailbox.seen.store(number, Ordering::Release);
        true
    }

    /// The value in use.
    #[must_use]
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }
}
