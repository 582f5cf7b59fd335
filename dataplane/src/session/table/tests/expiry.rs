//! When sessions end and leave.

use super::*;

#[test]
fn a_deadline_is_exact_to_the_millisecond_for_lookups() {
    let mut table = SessionTable::new(16, KEYS, Memory::HEAP);
    let new = nat_session(1, 7, ESTABLISHED, 1000);
    let index = insert(&mut table, &new, 0).0.ok();
    let hint = table.prefetch_entry(table.hash_and_prefetch(&new.key, false));
    assert_eq!(find(&table, 1, 999), index);
    assert_eq!(find_reply(&table, 1, 7, 999), index);
    assert_eq!(table.at(hint, &new.key, at(999)), index);
    assert_eq!(find(&table, 1, 1000), None);
    assert_eq!(find_reply(&table, 1, 7, 1000), None);
    assert_eq!(table.at(hint, &new.key, at(1000)), None);
}

#[test]
fn a_session_is_reaped_within_a_tick_after_its_deadline() {
    for deadline in [0, 1, 63, 64, 65, 1000, 4096] {
        let mut table = SessionTable::new(16, KEYS, Memory::HEAP);
        let new = session(1, ESTABLISHED, deadline);
        insert(&mut table, &new, 0).0.expect("room");
        let left = (0..).find(|&now| table.expire(at(now), 1, |_, _| {}) == 1);
        let left = left.expect("some time");
        assert!((deadline..=deadline + 64).contains(&left), "{left}");
    }
}

#[test]
fn extending_a_deadline_touches_no_other_entry() {
    let mut table = full(1000, |_| SYN_RECV);
    let shown = |table: &SessionTable<V4>| -> Vec<String> {
        let entries = table.entries.iter();
        entries.map(|entry| format!("{entry:?}")).collect()
    };
    for number in 0..1000 {
        let index = find(&table, number, 0).expect("inserted");
        let before = shown(&table);
        table.touch(index, ESTABLISHED, at(900_000 + u64::from(number)));
        let after = shown(&table);
        let changed: Vec<usize> = (0..before.len())
            .filter(|&slot| before[slot] != after[slot])
            .collect();
        assert_eq!(changed, [index.0 as usize]);
        if number == 20 {
            break;
        }
    }
}

#[test]
fn a_deadline_that_moves_earlier_is_kept_as_well() {
    let mut table = full(100, |_| ESTABLISHED);
    let index = find(&table, 50, 0).expect("inserted");
    table.touch(index, ESTABLISHED, at(900_000));
    table.touch(index, State::Tcp(TcpState::Close), at(500));
    let mut left = Vec::new();
    table.expire(at(564), 100, |session, _| left.push(session.real().0));
    assert_eq!(left, [50]);
}

#[test]
fn a_session_may_last_longer_than_a_turn_of_the_wheel() {
    let day = 86_400_000;
    let mut table = SessionTable::new(16, KEYS, Memory::HEAP);
    insert(&mut table, &session(1, ESTABLISHED, day), 0)
        .0
        .expect("room");
    for now in (0..day).step_by(1000) {
        assert_eq!(table.expire(at(now), 1, |_, _| {}), 0);
    }
    assert!(find(&table, 1, day - 1).is_some());
    assert_eq!(table.expire(at(day + 64), 1, |_, _| {}), 1);
}

#[test]
fn a_jump_of_an_hour_reaps_what_is_due_in_the_order_of_deadlines() {
    let hour = 3_600_000;
    let mut table = SessionTable::new(1000, KEYS, Memory::HEAP);
    for number in 0..1000 {
        // Deadlines all over the first 999 s, in no order; each tenth is put off beyond the jump.
        let deadline = u64::from(number * 7919 % 1000) * 999;
        let index = insert(&mut table, &session(number, ESTABLISHED, deadline), 0);
        if number % 10 == 0 {
            table.touch(index.0.expect("room"), ESTABLISHED, at(hour + 1));
        }
    }
    let mut ticks = Vec::new();
    let mut calls = 0;
    while table.is_behind(at(hour)) {
        table.expire(at(hour), 100, |session, _| {
            ticks.push(session.deadline().as_ms() / 64);
        });
        calls += 1;
    }
    assert_eq!((ticks.len(), table.len()), (900, 100));
    assert!(ticks.is_sorted());
    // One per hundred sessions seen, plus one per turn of the wheel.
    assert!(calls <= 20, "{calls}");
}

#[test]
fn an_empty_table_follows_any_jump_at_once() {
    let mut table = SessionTable::<V4>::new(16, KEYS, Memory::HEAP);
    let year = 31_536_000_000;
    assert!(!table.is_behind(at(year)));
    insert(&mut table, &session(1, ESTABLISHED, year + 100), year)
        .0
        .expect("room");
    assert_eq!(table.expire(at(year + 99), 1, |_, _| {}), 0);
    assert_eq!(table.expire(at(year + 164), 1, |_, _| {}), 1);
    assert_eq!(table.expire(at(2 * year), 1, |_, _| {}), 0);
    assert!(!table.is_behind(at(2 * year)));
}
