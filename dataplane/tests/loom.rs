//! All orders in which threads can take the steps of `snapshot/rcu.rs`, `pipeline/inbox.rs` and `listing.rs`, by loom: the
//! very files, with loom's atomics. What they do one step after the other is tested beside them. The queue of crossbeam that
//! they are built around is no part of this: loom cannot look into it, so a model with the order that it promises takes
//! its place.

#![expect(
    clippy::unwrap_used,
    reason = "all of this crate is tests, where a panic is a verdict"
)]

#[path = "../src/snapshot/rcu.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "not all of it is used by these tests"
)]
mod rcu;

#[path = "../src/pipeline/inbox.rs"]
#[expect(unreachable_pub, reason = "it is public in the library")]
mod inbox;

#[path = "../src/listing.rs"]
#[expect(unreachable_pub, reason = "it is public in the library")]
mod listing;

/// What `src/sync.rs` has, for loom.
#[expect(
    clippy::disallowed_types,
    reason = "no packet path: loom runs one thread at a time"
)]
mod sync {
    use std::collections::HashMap;
    use std::sync::Mutex;

    pub(crate) use crossbeam::utils::CachePadded;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    /// Bits of a value's number, and values that the queue has room for at most.
    const BITS: usize = 16;
    const MOST: usize = 4;

    /// crossbeam's queue, with little room and only the order that it promises: who takes a value sees what was
    /// written before it was put in.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        /// The numbers of the values, the oldest in the lowest bits; there is no number 0.
        line: AtomicU64,
        capacity: usize,
        /// By their numbers. No lock of loom's: it would order what crossbeam does not.
        values: Mutex<(u64, HashMap<u64, T>)>,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            assert!(capacity <= MOST, "no larger one is modelled");
            Self {
                line: AtomicU64::new(0),
                capacity,
                values: Mutex::new((0, HashMap::new())),
            }
        }

        pub(crate) fn capacity(&self) -> usize {
            self.capacity
        }

        pub(crate) fn len(&self) -> usize {
            length(self.line.load(Ordering::Relaxed))
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            let number = self.keep(value);
            let mut line = self.line.load(Ordering::Relaxed);
            while length(line) < self.capacity {
                let longer = line | number << (BITS * length(line));
                match self.change(line, longer, Ordering::Release) {
                    Ok(()) => return Ok(()),
                    Err(other) => line = other,
                }
            }
            Err(self.take(number).unwrap())
        }

        pub(crate) fn force_push(&self, value: T) -> Option<T> {
            assert_eq!(self.capacity, 1, "only such a queue is modelled");
            let number = self.keep(value);
            self.take(self.line.swap(number, Ordering::AcqRel))
        }

        pub(crate) fn pop(&self) -> Option<T> {
            let mut line = self.line.load(Ordering::Relaxed);
            while line != 0 {
                match self.change(line, line >> BITS, Ordering::AcqRel) {
                    Ok(()) => return self.take(line & ((1 << BITS) - 1)),
                    Err(other) => line = other,
                }
            }
            None
        }

        fn change(&self, from: u64, to: u64, order: Ordering) -> Result<(), u64> {
            self.line
                .compare_exchange(from, to, order, Ordering::Relaxed)
                .map(drop)
        }

        fn keep(&self, value: T) -> u64 {
            let (last, values) = &mut *self.values.lock().unwrap();
            *last += 1;
            values.insert(*last, value);
            *last
        }

        fn take(&self, number: u64) -> Option<T> {
            self.values.lock().unwrap().1.remove(&number)
        }
    }

    /// Values in a line.
    fn length(line: u64) -> usize {
        (0..MOST)
            .take_while(|place| line >> (BITS * place) != 0)
            .count()
    }
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use inbox::{Frames, Inbox, Lane};
use listing::Listing;
use rcu::{Publisher, Reader};

/// A value that says when it is freed, and by whom.
struct Value {
    number: u64,
    /// Written before the value is published, and never after.
    content: AtomicU64,
    owner: thread::ThreadId,
}

impl Value {
    fn new(number: u64) -> Arc<Self> {
        let content = AtomicU64::new(0);
        content.store(number, Ordering::Relaxed);
        Arc::new(Self {
            number,
            content,
            owner: thread::current().id(),
        })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(
            thread::current().id(),
            self.owner,
            "value {} is freed by a reader",
            self.number
        );
    }
}

/// Looks for new values so many times; returns the number of the last.
fn read(reader: &mut Reader<Value>, times: usize) -> u64 {
    let mut last = reader.current().number;
    for _ in 0..times {
        let is_new = reader.refresh();
        let value = reader.current();
        assert_eq!(is_new, value.number > last, "numbers only go up");
        last = value.number;
        assert_eq!(value.content.load(Ordering::Relaxed), last, "it is whole");
    }
    last
}

#[test]
fn a_reader_sees_whole_values_in_their_order_and_frees_none() {
    loom::model(|| {
        let mut publisher = Publisher::new(Value::new(0));
        let mut reader = publisher.subscribe();
        let reading = thread::spawn(move || {
            read(&mut reader, 2);
            reader
        });
        publisher.publish(Value::new(1));
        publisher.publish(Value::new(2));
        let mut reader = reading.join().unwrap();
        assert_eq!(read(&mut reader, 1), 2, "the newest comes at last");
        assert!(publisher.is_quiescent());
        assert_eq!(publisher.collect(), 0);
    });
}

#[test]
fn the_publisher_is_quiescent_only_when_all_readers_use_the_newest_value() {
    loom::model(|| {
        let mut publisher = Publisher::new(Value::new(0));
        let readers = [publisher.subscribe(), publisher.subscribe()];
        let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let threads = readers.map({
            let mut index = 0;
            let seen = &seen;
            move |mut reader| {
                let (seen, own) = (Arc::clone(seen), index);
                index += 1;
                thread::spawn(move || {
                    reader.refresh();
                    seen[own].store(reader.current().number, Ordering::Relaxed);
                    reader
                })
            }
        });
        publisher.publish(Value::new(1));
        let quiescent = publisher.is_quiescent();
        let readers = threads.map(|thread| thread.join().unwrap());
        if quiescent {
            // A reader says so before it goes on with the new value.
            assert!(readers.iter().all(|reader| reader.current().number == 1));
        }
        drop(readers);
        assert!(publisher.is_quiescent());
    });
}

#[test]
fn a_reader_that_goes_meanwhile_holds_nothing_back_and_frees_nothing() {
    loom::model(|| {
        let mut publisher = Publisher::new(Value::new(0));
        let mut reader = publisher.subscribe();
        let reading = thread::spawn(move || {
            read(&mut reader, 1);
        });
        publisher.publish(Value::new(1));
        reading.join().unwrap();
        assert_eq!(publisher.collect(), 0);
        assert!(publisher.is_quiescent());
    });
}

/// A message of one worker to another.
#[derive(Debug)]
struct Letter {
    from: usize,
    number: usize,
    frames: usize,
    /// Written before it is handed over, and never after.
    content: AtomicU64,
}

impl Letter {
    fn new(from: usize, number: usize, frames: usize) -> Self {
        let content = AtomicU64::new(0);
        content.store(7, Ordering::Relaxed);
        Self {
            from,
            number,
            frames,
            content,
        }
    }
}

impl Frames for Letter {
    fn frames(&self) -> usize {
        self.frames
    }
}

/// Whether all its room is free: so many frames go in, and no more.
fn has_all_its_room(inbox: &Inbox<Letter>, lane: Lane, most: usize) -> bool {
    let fits = |number| inbox.push(lane, Letter::new(9, number, 1)).is_ok();
    (0..most).all(fits) && !fits(most)
}

#[test]
fn every_message_arrives_once_and_in_its_senders_order_or_goes_back() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new(3, 1));
        let senders = [0, 1].map(|from| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let letters = (0..2).map(|number| Letter::new(from, number, 1 + from));
                let pushed = letters.map(|letter| inbox.push(Lane::Owner, letter));
                pushed.filter(Result::is_ok).count()
            })
        });
        let mut arrived = Vec::new();
        let take = |arrived: &mut Vec<(usize, usize)>| {
            let Some(letter) = inbox.pop() else { return 0 };
            assert_eq!(letter.content.load(Ordering::Relaxed), 7, "it is whole");
            arrived.push((letter.from, letter.number));
            letter.frames
        };
        take(&mut arrived);
        let sent = senders.map(|sender| sender.join().unwrap());
        let mut frames = 0;
        while !inbox.is_empty() {
            frames += take(&mut arrived);
        }
        assert!(frames <= 3, "{frames} frames were in it at once");
        for (from, sent) in sent.into_iter().enumerate() {
            let of_one = arrived.iter().filter(|(sender, _)| *sender == from);
            let numbers: Vec<_> = of_one.map(|(_, number)| *number).collect();
            assert_eq!(numbers.len(), sent);
            assert!(numbers.is_sorted());
        }
        // Whoever was refused took nothing with it.
        assert!(has_all_its_room(&inbox, Lane::Owner, 3));
    });
}

#[test]
fn one_lane_that_is_full_refuses_nothing_of_the_other() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new(1, 1));
        let searching = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || {
                let searches = (0..2).map(|number| Letter::new(0, number, 1));
                let pushed = searches.map(|search| inbox.push(Lane::Search, search));
                pushed.filter(Result::is_ok).count()
            }
        });
        assert!(inbox.push(Lane::Owner, Letter::new(1, 0, 1)).is_ok());
        let early = usize::from(inbox.pop_search().is_some());
        assert_eq!(inbox.pop().map(|letter| letter.from), Some(1));
        let searches = searching.join().unwrap();
        assert!(searches >= 1);
        let late = usize::from(inbox.pop_search().is_some());
        assert_eq!(early + late, searches);
        assert!(inbox.is_empty());
        assert!(has_all_its_room(&inbox, Lane::Search, 1));
    });
}

#[test]
fn who_takes_a_listing_until_it_is_done_has_every_record() {
    const RECORDS: u64 = 3;
    loom::model(|| {
        let listing = Arc::new(Listing::with_room(2));
        let showing = thread::spawn({
            let listing = Arc::clone(&listing);
            move || {
                for number in 0..RECORDS {
                    while !listing.has_room(1) {
                        thread::yield_now();
                    }
                    listing.put(number);
                    listing.step();
                }
                listing.end();
            }
        });
        let mut taken = Vec::new();
        loop {
            let done = listing.is_done();
            taken.extend(std::iter::from_fn(|| listing.take()));
            if done {
                break;
            }
            thread::yield_now();
        }
        assert_eq!(taken, Vec::from_iter(0..RECORDS));
        assert_eq!(listing.steps(), RECORDS);
        showing.join().unwrap();
    });
}
