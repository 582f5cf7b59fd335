//! The session table: finding, touching, entering, evicting and reaping 32 sessions among others, by IPv4.
//! Whose packets they are, and which state follows, is not here.

use std::hint::black_box;
use std::time::Duration;

use arrayvec::ArrayVec;
use gungraun::prelude::*;
use plimsoll_dataplane::flow::{FlowKey, ReplyKey, V4};
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::io::BURST;
use plimsoll_dataplane::memory::Memory;
use plimsoll_dataplane::session::{
    Flags, Hint, KeyHash, NewSession, ReplyHash, SessionIndex, SessionTable, State,
};
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::time::Time;

use crate::setup::{REAL_PORT, clients, flow};

const START: Time = Time::from_ms(1000);
/// When the 32 sessions end.
const END: Time = Time::from_ms(2000);
/// When the others end.
const LATER: Time = Time::from_ms(300_000);
/// How long a session outlives its last datagram.
const UDP_TIMEOUT: Duration = Duration::from_secs(300);
const CAPACITY: u32 = 4096;
/// Sessions besides the 32.
const OTHERS: u16 = 2000;

/// A table with the sessions of the 32 clients among others.
pub(crate) struct Table {
    table: SessionTable<V4>,
    keys: Vec<FlowKey<V4>>,
    replies: Vec<ReplyKey<V4>>,
    indices: Vec<SessionIndex>,
}

const fn begin(key: FlowKey<V4>, deadline: Time, is_nat: bool) -> NewSession<V4> {
    let (method, real_address) = if is_nat {
        (ForwardMethod::Nat, Some((V4(0x0a00_0001), REAL_PORT)))
    } else {
        (ForwardMethod::Direct, None)
    };
    NewSession {
        real_address,
        flags: Flags::of(method),
        ..NewSession::direct(key, RealId(1), State::UdpNew, deadline)
    }
}

impl Table {
    fn new(capacity: u32) -> Self {
        Self {
            table: SessionTable::new(capacity, [1, 2, 3, 4], Memory::HEAP),
            keys: clients().map(flow).collect(),
            replies: Vec::new(),
            indices: Vec::new(),
        }
    }

    fn with_others() -> Box<Self> {
        let mut table = Self::new(CAPACITY);
        for key in (0..OTHERS).map(|number| flow(1000 + number)) {
            table.enter(key, LATER, false);
        }
        assert_eq!(table.table.len(), usize::from(OTHERS));
        Box::new(table)
    }

    fn full(is_nat: bool) -> Box<Self> {
        let mut table = Self::with_others();
        for key in table.keys.clone() {
            table.enter(key, END, is_nat);
        }
        let sessions = table.indices.iter().skip(usize::from(OTHERS));
        table.indices = sessions.copied().collect();
        let replies = table.indices.iter();
        table.replies = replies
            .filter_map(|index| table.table.get(*index).reply_key())
            .collect();
        assert_eq!(table.indices.len(), BURST);
        table
    }

    fn enter(&mut self, key: FlowKey<V4>, deadline: Time, is_nat: bool) {
        let hash = self.table.hash(&key);
        let new = begin(key, deadline, is_nat);
        let entered = self.table.insert(hash, &new, START, |_: &_, _| {});
        self.indices.extend(entered);
    }
}

fn direct() -> Box<Table> {
    Table::full(false)
}

fn nat() -> Box<Table> {
    Table::full(true)
}

fn due() -> Box<Table> {
    let mut table = Table::full(false);
    assert_eq!(table.table.expire(END, BURST, |_, _| {}), 0);
    table
}

// All of a lookup as the pipeline does it, stage by stage.
#[library_benchmark]
#[bench::all(setup = direct)]
fn lookup(table: Box<Table>) -> Box<Table> {
    let mut hashes = ArrayVec::<KeyHash, BURST>::new();
    for key in table.keys.iter().take(BURST) {
        hashes.push(table.table.hash_and_prefetch(key, false));
    }
    let mut hints = ArrayVec::<Hint, BURST>::new();
    for hash in &hashes {
        hints.push(table.table.prefetch_entry(*hash));
    }
    for (key, hint) in table.keys.iter().zip(&hints) {
        black_box(table.table.at(*hint, key, START));
    }
    table
}

// The same for a real server's answers.
#[library_benchmark]
#[bench::all(setup = nat)]
fn reply_lookup(table: Box<Table>) -> Box<Table> {
    let mut hashes = ArrayVec::<ReplyHash, BURST>::new();
    for key in table.replies.iter().take(BURST) {
        hashes.push(table.table.hash_and_prefetch_reply(key));
    }
    let mut hints = ArrayVec::<Hint, BURST>::new();
    for (hash, key) in hashes.iter().zip(&table.replies) {
        hints.push(table.table.prefetch_reply_entry(*hash, key));
    }
    for (key, hint) in table.replies.iter().zip(&hints) {
        black_box(table.table.reply_at(*hint, key, START));
    }
    table
}

#[library_benchmark]
#[bench::all(setup = direct)]
fn find(table: Box<Table>) -> Box<Table> {
    for key in &table.keys {
        let hash = table.table.hash(key);
        black_box(table.table.find(hash, key, START));
    }
    table
}

#[library_benchmark]
#[bench::all(setup = direct)]
fn touch(mut table: Box<Table>) -> Box<Table> {
    let Table {
        table: sessions,
        indices,
        ..
    } = &mut *table;
    for index in indices {
        sessions.touch(*index, black_box(State::Udp), LATER);
    }
    table
}

fn enter_all(table: &mut Table, is_nat: bool) {
    let Table { table, keys, .. } = table;
    for key in keys {
        let hash = table.hash(key);
        let new = begin(*key, END, is_nat);
        let _ = black_box(table.insert(hash, &new, START, |_: &_, _| {}));
    }
}

fn has_all(table: Box<Table>) {
    assert_eq!(table.table.len(), usize::from(OTHERS) + BURST);
}

#[library_benchmark(teardown = has_all)]
#[bench::direct(args = (), setup = Table::with_others)]
fn insert(mut table: Box<Table>) -> Box<Table> {
    enter_all(&mut table, false);
    table
}

#[library_benchmark(teardown = has_all)]
#[bench::nat(args = (), setup = Table::with_others)]
fn insert_nat(mut table: Box<Table>) -> Box<Table> {
    enter_all(&mut table, true);
    table
}

/// A table full of others whose last packets were at `last`.
fn crammed(last: Time) -> Box<Table> {
    let mut table = Table::new(OTHERS.into());
    for key in (0..OTHERS).map(|number| flow(1000 + number)) {
        table.enter(key, last + UDP_TIMEOUT, false);
    }
    assert_eq!(table.table.len(), usize::from(OTHERS));
    Box::new(table)
}

// Each new session evicts another one, which its home has if the others have been silent for a second; else seven
// buckets are looked at.
#[library_benchmark(teardown = has_others)]
#[bench::silent(args = (Time::from_ms(0)), setup = crammed)]
#[bench::young(args = (START), setup = crammed)]
fn evict(mut table: Box<Table>) -> Box<Table> {
    enter_all(&mut table, false);
    table
}

fn has_others(table: Box<Table>) {
    assert_eq!(table.table.len(), usize::from(OTHERS));
}

#[library_benchmark(teardown = has_others)]
#[bench::all(setup = due)]
fn expire(mut table: Box<Table>) -> Box<Table> {
    let now = END.plus_ms(64);
    black_box(table.table.expire(now, BURST, |session, _| {
        black_box(session);
    }));
    table
}

library_benchmark_group!(
    name = sessions,
    benchmarks = [
        lookup,
        reply_lookup,
        find,
        touch,
        insert,
        insert_nat,
        evict,
        expire
    ]
);
