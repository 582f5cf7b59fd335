//! All orders in which threads can take the steps of `snapshot/rcu.rs`, by loom: the very file, with loom's
//! atomics. What it does one step after the other is tested beside it.

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
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};

    /// crossbeam's queue, with room for one value and only the order that it promises: who takes a value
    /// sees what was written before it was put in.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        /// 0 if there is none, else the number of the value.
        slot: AtomicU64,
        /// By their numbers. No lock of loom's: it would order what crossbeam does not.
        values: Mutex<(u64, HashMap<u64, T>)>,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            assert_eq!(capacity, 1, "only such a queue is modelled");
            Self {
                slot: AtomicU64::new(0),
                values: Mutex::new((0, HashMap::new())),
            }
        }

        pub(crate) fn force_push(&self, value: T) -> Option<T> {
            let number = {
                let (last, values) = &mut *self.values.lock().unwrap();
                *last += 1;
                values.insert(*last, value);
                *last
            };
            self.take(self.slot.swap(number, Ordering::AcqRel))
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.take(self.slot.swap(0, Ordering::AcqRel))
        }

        fn take(&self, number: u64) -> Option<T> {
            self.values.lock().unwrap().1.remove(&number)
        }
    }
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

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
        assert!(publisher.settled());
        assert_eq!(publisher.collect(), 0);
    });
}

#[test]
fn the_publisher_is_settled_only_when_all_readers_use_the_newest_value() {
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
        let settled = publisher.settled();
        let readers = threads.map(|thread| thread.join().unwrap());
        if settled {
            // A reader says so before it goes on with the new value.
            assert!(readers.iter().all(|reader| reader.current().number == 1));
        }
        drop(readers);
        assert!(publisher.settled());
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
        assert!(publisher.settled());
    });
}
