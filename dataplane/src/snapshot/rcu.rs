//! How a new snapshot reaches the workers: read, copy, update.
//! A reader never waits and never frees; the publisher frees what every reader has left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

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
            mailbox,
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
    pub fn settled(&self) -> bool {
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
    mailbox: Arc<Mailbox<T>>,
}

impl<T> Reader<T> {
    /// Takes the newest value if there is a new one; says whether there was. One load otherwise.
    pub fn refresh(&mut self) -> bool {
        if self.mailbox.offered.load(Ordering::Acquire) == self.number {
            return false;
        }
        let Some((number, value)) = self.mailbox.offer.pop() else {
            return false;
        };
        self.current = value;
        self.number = number;
        self.mailbox.seen.store(number, Ordering::Release);
        true
    }

    /// The value in use.
    #[must_use]
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.mailbox.seen.store(u64::MAX, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_only_the_newest_value() {
        let mut publisher = Publisher::new(Arc::new(0));
        let mut reader = publisher.subscribe();
        assert!(!reader.refresh());
        publisher.publish(Arc::new(1));
        publisher.publish(Arc::new(2));
        assert!(!publisher.settled());
        assert!(reader.refresh());
        assert_eq!(**reader.current(), 2);
        assert!(publisher.settled());
        assert!(!reader.refresh());
    }

    #[test]
    fn a_value_is_freed_by_the_publisher_once_no_reader_uses_it() {
        let first = Arc::new(0);
        let weak = Arc::downgrade(&first);
        let mut publisher = Publisher::new(first);
        let mut slow = publisher.subscribe();
        let mut quick = publisher.subscribe();
        publisher.publish(Arc::new(1));
        quick.refresh();
        assert_eq!(publisher.collect(), 1);
        slow.refresh();
        assert!(
            weak.upgrade().is_some(),
            "the reader must not be the one that frees"
        );
        assert_eq!(publisher.collect(), 0);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_reader_that_is_gone_holds_nothing_back() {
        let mut publisher = Publisher::new(Arc::new(0));
        drop(publisher.subscribe());
        publisher.publish(Arc::new(1));
        assert_eq!(publisher.collect(), 0);
        assert!(publisher.settled());
    }

    #[test]
    fn readers_on_other_threads_never_see_a_number_go_back() {
        let mut publisher = Publisher::new(Arc::new(0_u32));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = publisher.subscribe();
                std::thread::Builder::new()
                    .spawn(move || {
                        let mut last = 0;
                        while last < 1000 {
                            reader.refresh();
                            assert!(**reader.current() >= last);
                            last = **reader.current();
                        }
                    })
                    .unwrap()
            })
            .collect();
        for number in 1..=1000 {
            publisher.publish(Arc::new(number));
        }
        for reader in readers {
            reader.join().unwrap();
        }
    }
}
