//! The table against a plain map, under random operations.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::session::Worth;
use crate::spec::timeouts::Timeouts;
use crate::verdict::EvictionCause;

#[derive(Debug, Clone)]
enum Op {
    Insert {
        number: u32,
        real: Option<u32>,
        state: State,
        timeout: u64,
    },
    Touch {
        number: u32,
        state: State,
        timeout: u64,
    },
    Prove(u32),
    Remove(u32),
    Expire(usize),
    Advance(u64),
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(SYN_RECV),
        Just(ESTABLISHED),
        Just(State::Tcp(TcpState::Close)),
        Just(State::UdpNew),
        Just(State::Udp),
    ]
}

/// Mostly short, sometimes longer than a turn of the wheel.
fn duration() -> impl Strategy<Value = u64> {
    prop_oneof![0..10u64, 0..500u64, 0..20_000u64, 0..4_000_000u64]
}

fn op(numbers: u32) -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..numbers, prop::option::of(0..2u32), state(), duration()).prop_map(
            |(number, real, state, timeout)| Op::Insert { number, real, state, timeout }
        ),
        2 => (0..numbers, state(), duration())
            .prop_map(|(number, state, timeout)| Op::Touch { number, state, timeout }),
        3 => (0..numbers).prop_map(Op::Prove),
        1 => (0..numbers).prop_map(Op::Remove),
        1 => (0..5usize).prop_map(Op::Expire),
        2 => duration().prop_map(Op::Advance),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Known {
    state: State,
    deadline: u64,
    index: SessionIndex,
    /// Whose replies it may get.
    real: Option<u32>,
}

/// What the table should hold. Every `group` numbers share their client's address and port and differ in the
/// virtual port, so that sessions can have one reply key, and more of them one home than it has room for.
struct Model {
    group: u32,
    /// Whether one home is the whole table, so that it is known which session is evicted.
    is_one_home: bool,
    sessions: BTreeMap<u32, Known>,
    reply_sessions: BTreeMap<(u32, u32), u32>,
    now: u64,
}

impl Model {
    fn new(group: u32, is_one_home: bool) -> Self {
        Self {
            group,
            is_one_home,
            sessions: BTreeMap::new(),
            reply_sessions: BTreeMap::new(),
            now: 0,
        }
    }

    fn key(&self, number: u32) -> FlowKey<V4> {
        FlowKey {
            virtual_port: u16::try_from(number % self.group).expect("small"),
            ..key(number / self.group)
        }
    }

    fn forget(&mut self, number: u32) -> Known {
        let known = self.sessions.remove(&number).expect("the table knew it");
        for real in 0..2 {
            let key = (number / self.group, real);
            if self.reply_sessions.get(&key) == Some(&number) {
                self.reply_sessions.remove(&key);
                // Replies go to the one that lasts longest of those with the same key.
                let group = key.0 * self.group..(key.0 + 1) * self.group;
                let others = self.sessions.range(group);
                let others = others.filter(|(_, other)| other.real == Some(real));
                let successor = others.max_by_key(|(_, other)| (other.deadline, other.index));
                let successor = successor.map(|(number, _)| *number);
                self.reply_sessions
                    .extend(successor.map(|successor| (key, successor)));
            }
        }
        known
    }

    /// What the sessions in the home of a new one are worth: with one home, all sessions.
    fn worths(&self, table: &SessionTable<V4>, new: KeyHash) -> Vec<Worth> {
        let [home, ..] = table.tags.buckets_of(new.0);
        let worth = |slot| {
            let entry = &table.entries[slot as usize];
            entry.worth(Timeouts::DEFAULT.ms(entry.state()), at(self.now))
        };
        table.tags.used(home).map(worth).collect()
    }

    fn insert(&mut self, table: &mut SessionTable<V4>, new: &NewSession<V4>) {
        let number = new.real.0;
        let hash = table.hash(&new.key);
        let now = self.now;
        let worths = self.worths(table, hash);
        let mut left = Vec::new();
        let old = table.find_any(hash, &new.key);
        let new = &NewSession { old, ..*new };
        let result = table.insert(hash, new, at(now), |session: &Session<_>, why| {
            let timeout_ms = Timeouts::DEFAULT.ms(session.state());
            left.push((session.real().0, why, session.worth(timeout_ms, at(now))));
        });
        assert!(left.len() <= 1);
        for (leaving, why, worth) in left {
            let was = self.forget(leaving);
            match why {
                Gone::Expired => assert!(was.deadline <= self.now),
                Gone::Replaced => assert!(was.deadline > self.now && leaving == number),
                Gone::Evicted(cause) => {
                    let expected = match worth {
                        Worth::Finished => EvictionCause::Finished,
                        Worth::HalfOpen => EvictionCause::HalfOpen,
                        Worth::Unproven | Worth::Young | Worth::Open => EvictionCause::Unproven,
                        Worth::Idle => EvictionCause::Idle,
                        Worth::Expired | Worth::Active => panic!("{worth:?} is not evicted"),
                    };
                    assert_eq!(cause, expected);
                    assert_eq!(self.sessions.len() + 1, table.capacity());
                    // Others also leave where few are young.
                    let least = worth.min(Worth::Young);
                    assert!(worths.iter().all(|other| *other >= least));
                }
            }
        }
        let Ok(index) = result else {
            assert_eq!(self.sessions.len(), table.capacity());
            assert!(worths.iter().all(|worth| *worth == Worth::Active));
            assert!(!self.is_one_home || worths.len() == self.sessions.len());
            return;
        };
        let deadline = new.deadline.as_ms();
        let state = new.state;
        let known = Known {
            state,
            deadline,
            index,
            real: new.real_address.map(|(real, _)| real.0),
        };
        assert!(self.sessions.insert(number, known).is_none());
        if let Some((real, _)) = new.real_address {
            self.reply_sessions
                .insert((number / self.group, real.0), number);
        }
    }

    fn apply(&mut self, table: &mut SessionTable<V4>, op: &Op) {
        match *op {
            Op::Insert {
                number,
                real,
                state,
                timeout,
            } => {
                let new = NewSession {
                    key: self.key(number),
                    real_address: real.map(|real| (V4(real), 8080)),
                    flags: Flags::of(match real {
                        Some(_) => ForwardMethod::Nat,
                        None => ForwardMethod::Direct,
                    }),
                    ..session(number, state, self.now + timeout)
                };
                self.insert(table, &new);
            }
            Op::Touch {
                number,
                state,
                timeout,
            } => {
                if let Some(known) = self.sessions.get_mut(&number) {
                    known.state = state;
                    known.deadline = self.now + timeout;
                    table.touch(known.index, state, at(known.deadline));
                }
            }
            Op::Prove(number) => {
                if let Some(known) = self.sessions.get(&number) {
                    table.get_mut(known.index).add_flags(Flags::PROVEN);
                }
            }
            Op::Remove(number) => {
                if let Some(known) = self.sessions.get(&number) {
                    let was = table.remove(known.index).expect("in the table");
                    assert_eq!(was.real().0, number);
                    self.forget(number);
                }
            }
            Op::Expire(budget) => {
                let reaped = table.expire(at(self.now), budget, |session, _| {
                    assert!(self.forget(session.real().0).deadline <= self.now);
                });
                assert!(reaped <= budget);
            }
            Op::Advance(ms) => self.now += ms,
        }
    }

    fn agrees(&self, table: &SessionTable<V4>, numbers: u32, hints: &[Hint]) {
        let half_open = self
            .sessions
            .values()
            .filter(|known| known.state.is_half_open());
        assert_eq!(table.half_open(), half_open.count());
        assert_eq!(table.len(), self.sessions.len());
        let live = |number: &u32| {
            let known = self.sessions.get(number)?;
            (known.deadline > self.now).then_some(known.index)
        };
        for number in 0..numbers {
            let key = self.key(number);
            let (hash, now) = (table.hash(&key), at(self.now));
            assert_eq!(table.find(hash, &key, now), live(&number));
            let hint = hints[number as usize % hints.len()];
            let found = table.at(hint, &key, now);
            assert!(found.is_none() || found == live(&number));
            for real in 0..2 {
                let expected = self
                    .reply_sessions
                    .get(&(number / self.group, real))
                    .and_then(live);
                let key = reply_key(number / self.group, real);
                let hash = table.reply_hash(&key);
                assert_eq!(table.find_reply(hash, &key, now), expected);
                let fresh = table.prefetch_reply_entry(table.hash_and_prefetch_reply(&key), &key);
                for hint in [hint, fresh] {
                    let found = table.reply_at(hint, &key, now);
                    assert!(found.is_none() || found == expected);
                }
            }
        }
    }
}

/// Every session is in one list, whose turn comes no later than the session's deadline.
fn has_right_timer_slots(table: &SessionTable<V4>) {
    let used = (0..table.entries.len()).filter(|&slot| {
        let slot = u32::try_from(slot).expect("few");
        let entry = &table.entries[slot as usize];
        let used = table.tags.is_used(slot);
        assert_eq!(used, entry.timer_slot != VACANT);
        used && !table.wheel.is_too_late(entry.timer_slot, entry.deadline)
    });
    assert_eq!(used.count(), table.len());
    assert_eq!(table.wheel.checked_len(&table.entries), table.len());
}

fn check(capacity: u32, numbers: u32, group: u32, ops: &[Op]) {
    let mut table = SessionTable::new(capacity, KEYS, Memory::HEAP);
    let mut model = Model::new(group, table.tags.slots() == LANES);
    for op in ops {
        // Hints from before the operation: they may be stale, and must not mislead.
        let hints: Vec<Hint> = (0..numbers)
            .map(|number| table.prefetch_entry(table.hash_and_prefetch(&model.key(number), false)))
            .collect();
        model.apply(&mut table, op);
        model.agrees(&table, numbers, &hints);
        has_right_timer_slots(&table);
    }
    let now = model.now + 10_000_000;
    while table.is_behind(at(now)) {
        table.expire(at(now), 3, |session, _| {
            model.forget(session.real().0);
        });
    }
    assert!(table.is_empty() && model.sessions.is_empty());
    let overflow = (0..numbers).filter(|&number| {
        let place = table.hash(&model.key(number)).0;
        table.tags.has_overflow(place.home())
    });
    assert_eq!(overflow.count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_of_one_behaves_like_a_map(ops in prop::collection::vec(op(6), 0..100)) {
        check(1, 6, 2, &ops);
    }

    #[test]
    fn a_table_of_16_behaves_like_a_map(ops in prop::collection::vec(op(36), 0..200)) {
        check(16, 36, 2, &ops);
    }

    #[test]
    fn a_table_of_24_behaves_like_a_map(ops in prop::collection::vec(op(52), 0..300)) {
        check(24, 52, 2, &ops);
    }

    #[test]
    fn a_full_table_of_three_homes_behaves_like_a_map(ops in prop::collection::vec(op(120), 100..600)) {
        check(60, 120, 30, &ops);
    }

    #[test]
    fn a_table_whose_clients_have_more_sessions_than_fit_their_homes_behaves_like_a_map(
        ops in prop::collection::vec(op(100), 0..400),
    ) {
        check(400, 100, 50, &ops);
    }
}
