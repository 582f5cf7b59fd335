//! The publisher and its readers, one step after the other and on threads of the system.
//! All orders of their steps are tried in `tests/loom.rs`.

use std::sync::Arc;

use super::rcu::*;

#[test]
fn a_reader_sees_only_the_newest_value() {
    let mut publisher = Publisher::new(Arc::new(0));
    let mut reader = publisher.subscribe();
    assert!(!reader.refresh());
    publisher.publish(Arc::new(1));
    publisher.publish(Arc::new(2));
    assert!(!publisher.is_quiescent());
    assert!(reader.refresh());
    assert_eq!(**reader.current(), 2);
    assert!(publisher.is_quiescent());
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
    assert!(publisher.is_quiescent());
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
