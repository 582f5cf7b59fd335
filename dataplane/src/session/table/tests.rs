use std::cell::Cell;

use super::*;
use crate::flow::{Protocol, V4, V6};
use crate::id::RealId;
use crate::memory::Memory;
use crate::session::tags::LANES;
use crate::session::{EvictionTerms, MayEvict, TcpState};
use crate::spec::forward::ForwardMethod;

mod expiry;
mod model;

const KEYS: [u64; 4] = [1, 2, 3, 4];
const SYN_RECV: State = State::Tcp(TcpState::SynRecv);
const ESTABLISHED: State = State::Tcp(TcpState::Established);

fn at(ms: u64) -> Time {
    Time::from_ms(ms)
}

fn key(number: u32) -> FlowKey<V4> {
    FlowKey {
        client: V4(0x0a00_0000 + number / 50_000),
        virtual_address: V4(0xc0a8_210c),
        client_port: u16::try_from(number % 50_000).expect("below 50000"),
        virtual_port: 80,
        protocol: Protocol::Tcp,
    }
}

fn session(number: u32, state: State, deadline: u64) -> NewSession<V4> {
    NewSession::direct(key(number), RealId(number), state, at(deadline))
}

/// The same, forwarded by NAT to real server `real`.
fn nat_session(number: u32, real: u32, state: State, deadline: u64) -> NewSession<V4> {
    NewSession {
        real_address: Some((V4(real), 8080)),
        flags: Flags::of(ForwardMethod::Nat),
        ..session(number, state, deadline)
    }
}

fn reply_key(number: u32, real: u32) -> ReplyKey<V4> {
    ReplyKey {
        client: key(number).client,
        real: V4(real),
        client_port: key(number).client_port,
        real_port: 8080,
        protocol: Protocol::Tcp,
    }
}

type Left = Vec<(u32, Gone)>;

fn insert(
    table: &mut SessionTable<V4>,
    new: &NewSession<V4>,
    now: u64,
) -> (Result<SessionIndex, TableFull>, Left) {
    let mut left = Left::new();
    let hash = table.hash(&new.key);
    let old = table.find_any(hash, &new.key);
    let result = table.insert(
        hash,
        &NewSession { old, ..*new },
        at(now),
        |session: &Session<_>, why| {
            left.push((session.real().0, why));
        },
    );
    (result, left)
}

fn find(table: &SessionTable<V4>, number: u32, now: u64) -> Option<SessionIndex> {
    table.find(table.hash(&key(number)), &key(number), at(now))
}

fn find_reply(table: &SessionTable<V4>, number: u32, real: u32, now: u64) -> Option<SessionIndex> {
    let key = reply_key(number, real);
    table.find_reply(table.reply_hash(&key), &key, at(now))
}

fn full(capacity: u32, state: impl Fn(u32) -> State) -> SessionTable<V4> {
    let mut table = SessionTable::new(capacity, KEYS, Memory::HEAP);
    for number in 0..capacity {
        let new = session(number, state(number), 10_000 - u64::from(number));
        insert(&mut table, &new, 0).0.expect("room");
    }
    table
}

#[test]
fn a_session_whose_time_is_over_is_evicted_before_a_half_open_one() {
    let mut table = full(
        16,
        |number| {
            if number == 15 { ESTABLISHED } else { SYN_RECV }
        },
    );
    let (_, left) = insert(&mut table, &session(100, SYN_RECV, 99_000), 9985);
    assert_eq!(left, [(15, Gone::Expired)]);
}

fn prove_all(table: &mut SessionTable<V4>) {
    let slots = u32::try_from(table.entries.len()).expect("few");
    for slot in (0..slots)
        .filter(|slot| table.tags.is_used(*slot))
        .collect::<Vec<_>>()
    {
        table.get_mut(SessionIndex(slot)).add_flags(Flags::PROVEN);
    }
}

#[test]
fn a_table_full_of_proven_sessions_refuses_new_ones() {
    for capacity in [1, 16] {
        let mut table = full(capacity, |_| ESTABLISHED);
        prove_all(&mut table);
        let (result, left) = insert(&mut table, &session(100, SYN_RECV, 9000), 0);
        assert_eq!((result, left), (Err(TableFull), vec![]));
        assert!((0..capacity).all(|number| find(&table, number, 0).is_some()));
    }
}

#[test]
fn a_table_for_none_refuses_all() {
    let mut table = SessionTable::new(0, KEYS, Memory::HEAP);
    let (result, _) = insert(&mut table, &session(1, SYN_RECV, 9000), 0);
    assert_eq!(result, Err(TableFull));
}

#[test]
fn a_session_with_the_same_key_is_replaced() {
    let mut table = SessionTable::new(1, KEYS, Memory::HEAP);
    insert(&mut table, &session(1, ESTABLISHED, 500), 0)
        .0
        .expect("room");
    let (_, left) = insert(&mut table, &session(1, SYN_RECV, 900), 499);
    assert_eq!(left, [(1, Gone::Replaced)]);
    let (_, left) = insert(&mut table, &session(1, SYN_RECV, 1900), 900);
    assert_eq!(left, [(1, Gone::Expired)]);
    assert_eq!(table.len(), 1);
}

#[test]
fn the_newer_of_two_sessions_with_one_reply_key_gets_the_replies() {
    let mut table = SessionTable::new(100, KEYS, Memory::HEAP);
    let older = nat_session(1, 7, ESTABLISHED, 500);
    let mut newer = older;
    newer.key.virtual_port = 443;
    let older = insert(&mut table, &older, 0).0.expect("room");
    assert_eq!(find_reply(&table, 1, 7, 0), Some(older));
    let newer = insert(&mut table, &newer, 0).0.expect("room");
    assert_eq!(find_reply(&table, 1, 7, 0), Some(newer));
    assert!(table.remove(older).is_some());
    assert_eq!(find_reply(&table, 1, 7, 0), Some(newer));
    assert!(table.remove(newer).is_some());
    assert_eq!(find_reply(&table, 1, 7, 0), None);
}

#[test]
fn one_client_port_may_have_any_number_of_sessions() {
    let mut table = SessionTable::new(2000, KEYS, Memory::HEAP);
    let new = |number: u16| {
        let mut new = nat_session(1, number.into(), ESTABLISHED, 500 + u64::from(number));
        new.key.virtual_port = number;
        new
    };
    let numbers = 0..1800;
    let indices: Vec<_> = numbers
        .clone()
        .map(|number| insert(&mut table, &new(number), 0).0.expect("room"))
        .collect();
    let mut hinted = (0, 0);
    for (number, index) in numbers.zip(&indices) {
        let key = new(number).key;
        assert_eq!(table.find(table.hash(&key), &key, at(0)), Some(*index));
        let hint = table.prefetch_entry(table.hash_and_prefetch(&key, false));
        hinted.0 += u32::from(table.at(hint, &key, at(0)) == Some(*index));
        assert_eq!(find_reply(&table, 1, number.into(), 0), Some(*index));
        let key = reply_key(1, number.into());
        let hint = table.prefetch_reply_entry(table.hash_and_prefetch_reply(&key), &key);
        hinted.1 += u32::from(table.reply_at(hint, &key, at(0)) == Some(*index));
    }
    // One at home looks like most of the others, so their hints are wrong; to replies all look alike.
    assert!(hinted.0 > 700 && hinted.1 > 0, "{hinted:?}");
    while table.is_behind(at(9000)) {
        table.expire(at(9000), 64, |_, _| {});
    }
    assert!(table.is_empty() && find_reply(&table, 1, 1799, 0).is_none());
    assert!(insert(&mut table, &new(0), 9000).0.is_ok());
}

#[test]
fn only_nat_sessions_have_a_reply_key() {
    let mut table = SessionTable::new(16, KEYS, Memory::HEAP);
    for (number, method) in (0..).zip([ForwardMethod::Direct, ForwardMethod::Tunnel]) {
        let one_way = NewSession {
            flags: Flags::of(method),
            ..session(number, SYN_RECV, 500)
        };
        let index = insert(&mut table, &one_way, 0).0.expect("room");
        assert!(table.get(index).flags().is_one_way());
        assert_eq!(table.get(index).reply_key(), None);
        assert_eq!(find_reply(&table, number, 0, 0), None);
    }

    let nat = nat_session(2, 9, SYN_RECV, 500);
    let index = insert(&mut table, &nat, 0).0.expect("room");
    assert_eq!(table.get(index).real_address(), Some((V4(9), 8080)));
    assert_eq!(table.get(index).reply_key(), Some(reply_key(2, 9)));
}

#[test]
fn removing_a_session_twice_removes_it_once() {
    let mut table = SessionTable::new(16, KEYS, Memory::HEAP);
    let index = insert(&mut table, &session(1, SYN_RECV, 500), 0)
        .0
        .expect("room");
    assert_eq!(table.remove(index).map(|was| was.real()), Some(RealId(1)));
    assert!(table.remove(index).is_none());
    assert!(table.remove(SessionIndex(u32::MAX)).is_none());
    assert!(table.is_empty());
}

#[test]
fn a_million_sessions_fit_a_table_for_a_million() {
    let mut table = SessionTable::new(1_000_000, KEYS, Memory::HEAP);
    for number in 0..1_000_000 {
        let new = nat_session(number, number % 100, ESTABLISHED, 900_000);
        let hash = table.hash(&new.key);
        let result = table.insert(hash, &new, at(0), |_: &_, _| panic!("nobody leaves"));
        assert!(result.is_ok(), "session {number}");
    }
    prove_all(&mut table);
    assert!(find(&table, 999_999, 0).is_some());
    assert!(find_reply(&table, 999_999, 99, 0).is_some());
    assert_eq!(find(&table, 1_000_000, 0), None);
    let (refused, _) = insert(&mut table, &session(1_000_000, SYN_RECV, 500), 0);
    assert_eq!(refused, Err(TableFull));
}

#[test]
fn an_ipv4_session_costs_at_most_96_bytes_in_all() {
    let capacity = 1 << 20;
    let table = SessionTable::<V4>::new(capacity, KEYS, Memory::HEAP);
    assert!(table.bytes() <= 96 * capacity as usize, "{}", table.bytes());
    assert_eq!(size_of::<Session<V4>>(), 64);
    assert_eq!(size_of::<Session<V6>>(), 128);
}

#[test]
fn ipv6_sessions_are_found_both_ways() {
    let mut table = SessionTable::<V6>::new(1000, KEYS, Memory::HEAP);
    let address = |low| V6([0x2001_0db8_0000_0000, low]);
    for low in 0..1000 {
        let key = FlowKey {
            client: address(low),
            virtual_address: address(5000),
            client_port: 40_000,
            virtual_port: 53,
            protocol: Protocol::Udp,
        };
        let new = NewSession {
            real_address: Some((address(6000), 5353)),
            flags: Flags::of(ForwardMethod::Nat),
            ..NewSession::direct(key, RealId(1), State::UdpNew, at(300))
        };
        let index = table.insert(table.hash(&key), &new, at(0), |_: &_, _| {});
        assert_eq!(table.find(table.hash(&key), &key, at(0)), index.ok());
        let reply = table.get(index.expect("room")).reply_key().expect("NAT");
        assert_eq!(
            table.find_reply(table.reply_hash(&reply), &reply, at(0)),
            index.ok()
        );
    }
    assert_eq!(table.half_open(), 1000);
}

#[test]
fn the_same_keys_and_calls_give_the_same_places() {
    let places = |keys| {
        let mut table = SessionTable::new(1000, keys, Memory::HEAP);
        (0..1000)
            .map(|number| insert(&mut table, &session(number, SYN_RECV, 500), 0).0)
            .collect::<Vec<_>>()
    };
    assert_eq!(places(KEYS), places(KEYS));
    assert_ne!(places(KEYS), places([5, 6, 7, 8]));
}

/// Counts how many sessions it is asked about for an owner, none of which may leave.
struct Asked<'a>(&'a Cell<usize>, u32);

impl EvictionPolicy<V4> for Asked<'_> {
    fn owner(&self) -> u32 {
        self.1
    }

    fn terms(&self, _: &Session<V4>) -> EvictionTerms {
        self.0.set(self.0.get() + 1);
        EvictionTerms {
            timeout_ms: 0,
            may_evict: MayEvict::No,
        }
    }

    fn left(&mut self, _: &Session<V4>, _: Gone) {
        panic!("nobody leaves");
    }
}

#[test]
fn no_operation_visits_more_than_its_bound() {
    let mut table = full(10_000, |_| ESTABLISHED);
    // Making room looks at seven buckets.
    prove_all(&mut table);
    let asked = Cell::new(0);
    let policy = Asked(&asked, 0);
    let new = session(20_000, SYN_RECV, 9000);
    let hash = table.hash(&new.key);
    assert_eq!(table.insert(hash, &new, at(0), policy), Err(TableFull));
    assert!((LANES..=7 * LANES).contains(&asked.get()), "{asked:?}");
    // Within the same millisecond the owner's next one looks at its home alone, also if others ask in between.
    for (number, owner, ms, most) in [
        (20_001, 0, 0, LANES),
        (20_002, 5, 0, 7 * LANES),
        (20_003, 0, 0, LANES),
        (20_004, 5, 0, LANES),
        (20_005, 0, 1, 7 * LANES),
    ] {
        asked.set(0);
        let new = session(number, SYN_RECV, 9000);
        let hash = table.hash(&new.key);
        let entered = table.insert(hash, &new, at(ms), Asked(&asked, owner));
        assert_eq!(entered, Err(TableFull));
        assert!((most / 2..=most).contains(&asked.get()), "{asked:?}");
    }
    // Listing looks at as many slots as it was told to.
    let mut shown = 0;
    assert_eq!(table.scan(0, 100, |_, _| shown += 1), Some(100));
    assert!(shown <= 100);
    // Reaping looks at as many sessions, whether it reaps them or files them again.
    for number in 0..5000 {
        let index = find(&table, number, 0).expect("inserted");
        table.touch(index, ESTABLISHED, at(900_000));
    }
    let timer_slots = |table: &SessionTable<V4>| -> Vec<u16> {
        table.entries.iter().map(|entry| entry.timer_slot).collect()
    };
    while table.is_behind(at(20_000)) {
        let before = timer_slots(&table);
        table.expire(at(20_000), 64, |_, _| {});
        let changed = before
            .iter()
            .zip(timer_slots(&table))
            .filter(|(a, b)| **a != *b);
        assert!(changed.count() <= 64);
    }
    assert_eq!(table.len(), 5000);
}

#[test]
fn listing_in_steps_shows_every_session_once() {
    let table = full(1000, |_| ESTABLISHED);
    let mut shown = Vec::new();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = table.scan(from, 37, |_, session| shown.push(session.real().0));
    }
    shown.sort_unstable();
    assert!(shown.into_iter().eq(0..1000));
    assert_eq!(
        table.scan(u32::MAX, 37, |_, _| panic!("nothing there")),
        None
    );
}

#[test]
fn listing_passes_over_an_empty_bucket_as_over_one_slot() {
    let mut table = full(1, |_| ESTABLISHED);
    let slots = table.entries.len();
    assert_eq!(slots % LANES, 0);
    let index = find(&table, 0, 0).expect("inserted");
    let steps = |table: &SessionTable<V4>| {
        let (mut cursor, mut steps, mut shown) = (Some(0), 0, 0);
        while let Some(from) = cursor {
            cursor = table.scan(from, 1, |_, _| shown += 1);
            steps += 1;
        }
        (steps, shown)
    };
    // The bucket of the only session slot by slot, the others at once.
    assert_eq!(steps(&table), (slots / LANES - 1 + LANES, 1));
    assert!(table.remove(index).is_some());
    assert_eq!(steps(&table), (slots / LANES, 0));
    let table = SessionTable::<V4>::new(10_000, [1, 2, 3, 4], Memory::HEAP);
    assert!(table.entries.len() >= 10_000);
    assert_eq!(steps(&table), (table.entries.len() / LANES, 0));
}

#[test]
fn a_nat_session_away_from_its_home_is_counted_once() {
    let mut table = SessionTable::new(1024, KEYS, Memory::HEAP);
    let of_one_socket = |number: u16| {
        let new = nat_session(7, number.into(), ESTABLISHED, 1000);
        let key = FlowKey {
            virtual_port: number,
            ..new.key
        };
        NewSession { key, ..new }
    };
    let mut entered = Vec::new();
    for number in 1..=64 {
        let (index, _) = insert(&mut table, &of_one_socket(number), 0);
        entered.push(index.unwrap());
    }
    let home = table.hasher.home(&of_one_socket(1).key);
    let at_home = entered
        .iter()
        .filter(|index| table.tags.is_at_home(index.0, home));
    let away = entered.len() - at_home.count();
    assert!(away >= 32, "{away}");
    assert_eq!(usize::from(table.tags.away(home)), away);
    for index in entered {
        table.remove(index).unwrap();
    }
    assert_eq!(table.tags.away(home), 0);
}
