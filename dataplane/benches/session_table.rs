//! Why the session table is our own: it beside two that are made of `hashbrown`, in bursts of 32 keys
//! in random order. Nothing else of the packet path is seen.
//!
//! `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` puts all three into huge pages, as the daemon's tables are.

#![expect(
    clippy::print_stdout,
    reason = "a tool that may end when nobody reads it"
)]
#![expect(
    clippy::disallowed_types,
    reason = "a benchmark reads the clock: the longest burst is no mean"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ahash::RandomState;
use arrayvec::ArrayVec;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hashbrown::{HashMap, HashTable};
use plimsoll_dataplane::flow::{FlowKey, Protocol, V4};
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::io::BURST;
use plimsoll_dataplane::memory::Memory;
use plimsoll_dataplane::prefetch::prefetch;
use plimsoll_dataplane::session::{Hint, KeyHash, NewSession, SessionTable, State};
use plimsoll_dataplane::testing::Rng;
use plimsoll_dataplane::time::Time;

type Key = FlowKey<V4>;

const SESSIONS: [u32; 4] = [1_000, 100_000, 1_000_000, 4_000_000];
/// The fourth fills `hashbrown`'s two million buckets as far as it fills them: 80 % of 7/8.
const SESSIONS_IN_CHURN: [u32; 5] = [1_000, 100_000, 1_000_000, 1_460_000, 4_000_000];
/// How long a session lives that nobody touches, in microseconds.
const LIFE_US: u64 = 120_000_000;
/// [`BURST`] as numbers of clients are counted.
const CLIENTS: u32 = 32;
const _: () = assert!(CLIENTS as usize == BURST);
/// Sessions that one burst reaps at most.
const BUDGET: usize = 2 * BURST;

/// A table of sessions, with whatever finds those that are over.
trait Table {
    const NAME: &'static str;
    /// Room for `capacity` sessions.
    fn new(capacity: u32) -> Self;
    /// Finds and touches the sessions of `burst`, and returns how many there are.
    fn touch(&mut self, burst: &[Key], deadline: Time, now: Time) -> usize;
    /// Enters new sessions.
    fn enter(&mut self, burst: &[Key], deadline: Time, now: Time);
    /// Reaps sessions that are over, at most [`BUDGET`].
    fn expire(&mut self, now: Time);
    /// How many there are.
    fn sessions(&self) -> usize;
}

impl Table for SessionTable<V4> {
    const NAME: &'static str = "SessionTable";

    fn new(capacity: u32) -> Self {
        Self::new(capacity, [1, 2, 3, 4], Memory::HEAP)
    }

    fn touch(&mut self, burst: &[Key], deadline: Time, now: Time) -> usize {
        let hashes: ArrayVec<KeyHash, BURST> = burst
            .iter()
            .map(|key| self.hash_and_prefetch(key, false))
            .collect();
        let hints: ArrayVec<Hint, BURST> = hashes
            .iter()
            .map(|hash| self.prefetch_entry(*hash))
            .collect();
        let mut found = 0;
        for (key, hint) in burst.iter().zip(hints) {
            let seen = self.at(hint, key, now);
            if let Some(index) = seen.or_else(|| self.find(self.hash(key), key, now)) {
                SessionTable::touch(self, index, State::Udp, deadline);
                found += 1;
            }
        }
        found
    }

    fn enter(&mut self, burst: &[Key], deadline: Time, now: Time) {
        let hashes: ArrayVec<KeyHash, BURST> = burst
            .iter()
            .map(|key| self.hash_and_prefetch(key, true))
            .collect();
        for hash in hashes {
            let _ = self.prefetch_entry(hash);
        }
        for key in burst {
            let hash = self.hash(key);
            let new = NewSession {
                old: self.find_any(hash, key),
                ..NewSession::direct(*key, RealId(1), State::Udp, deadline)
            };
            let _ = self.insert(hash, &new, now, |_: &_, _| {});
        }
    }

    fn expire(&mut self, now: Time) {
        SessionTable::expire(self, now, BUDGET, |session, _| {
            black_box(session);
        });
    }

    fn sessions(&self) -> usize {
        self.len()
    }
}

/// One cache line, as an entry of ours.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Entry {
    key: Key,
    deadline: Time,
    state: State,
}

/// A `HashTable` of places in an array. Sessions end in the order in which they began, so a queue finds
/// those that are over: less work than any table has whose sessions are touched.
struct Indexed {
    hasher: RandomState,
    places: HashTable<u32>,
    entries: Vec<Entry>,
    free: VecDeque<u32>,
    begun: VecDeque<u32>,
}

impl Table for Indexed {
    const NAME: &'static str = "HashTable";

    fn new(capacity: u32) -> Self {
        let mut free: Vec<u32> = (0..capacity).collect();
        shuffle(&mut free);
        let vacant = Entry {
            key: key(0),
            deadline: Time::default(),
            state: State::Udp,
        };
        Self {
            hasher: RandomState::with_seeds(1, 2, 3, 4),
            places: HashTable::with_capacity(capacity as usize),
            entries: vec![vacant; capacity as usize],
            free: free.into(),
            begun: VecDeque::with_capacity(capacity as usize),
        }
    }

    fn touch(&mut self, burst: &[Key], deadline: Time, now: Time) -> usize {
        let hashes: ArrayVec<u64, BURST> =
            burst.iter().map(|key| self.hasher.hash_one(key)).collect();
        // The table cannot be asked for ahead, only the entry that is probably meant.
        let hints: ArrayVec<u32, BURST> = hashes
            .iter()
            .map(|hash| {
                let hint = self.places.find(*hash, |_| true);
                let hint = hint.copied().unwrap_or(u32::MAX);
                prefetch(&self.entries, hint as usize);
                hint
            })
            .collect();
        let mut found = 0;
        for ((key, hash), hint) in burst.iter().zip(hashes).zip(hints) {
            let entries = &self.entries;
            let is_meant = |place: &u32| {
                let entry = entries.get(*place as usize);
                entry.is_some_and(|entry| entry.key == *key)
            };
            let place = if is_meant(&hint) {
                Some(hint)
            } else {
                self.places.find(hash, is_meant).copied()
            };
            let entry = place.and_then(|place| self.entries.get_mut(place as usize));
            if let Some(entry) = entry.filter(|entry| entry.deadline > now) {
                entry.deadline = deadline;
                entry.state = State::Udp;
                found += 1;
            }
        }
        found
    }

    fn enter(&mut self, burst: &[Key], deadline: Time, _now: Time) {
        let Self {
            hasher,
            places,
            entries,
            free,
            begun,
        } = self;
        for place in free.iter().take(burst.len()) {
            prefetch(entries, *place as usize);
        }
        for key in burst {
            let Some(place) = free.pop_front() else {
                return;
            };
            if let Some(entry) = entries.get_mut(place as usize) {
                *entry = Entry {
                    key: *key,
                    deadline,
                    state: State::Udp,
                };
            }
            places.insert_unique(hasher.hash_one(key), place, |place| {
                let entry = entries.get(*place as usize);
                entry.map_or(0, |entry| hasher.hash_one(entry.key))
            });
            begun.push_back(place);
        }
    }

    fn expire(&mut self, now: Time) {
        for place in self.begun.iter().take(BURST) {
            prefetch(&self.entries, *place as usize);
        }
        for _ in 0..BUDGET {
            let place = self.begun.front().copied();
            let entry = place.and_then(|place| self.entries.get(place as usize));
            let (Some(place), Some(entry)) = (place, entry.filter(|one| one.deadline <= now))
            else {
                return;
            };
            let hash = self.hasher.hash_one(entry.key);
            if let Ok(found) = self.places.find_entry(hash, |other| *other == place) {
                found.remove();
            }
            self.begun.pop_front();
            self.free.push_back(place);
        }
    }

    fn sessions(&self) -> usize {
        self.places.len()
    }
}

/// With its key, 64 bytes.
struct Value {
    deadline: Time,
    state: State,
    _rest: [u64; 4],
}

/// A `HashMap` of sessions, with a queue as above.
struct Mapped {
    sessions: HashMap<Key, Value, RandomState>,
    begun: VecDeque<(Key, Time)>,
}

impl Table for Mapped {
    const NAME: &'static str = "HashMap";

    fn new(capacity: u32) -> Self {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self {
            sessions: HashMap::with_capacity_and_hasher(capacity as usize, hasher),
            begun: VecDeque::with_capacity(capacity as usize),
        }
    }

    fn touch(&mut self, burst: &[Key], deadline: Time, now: Time) -> usize {
        let mut found = 0;
        for key in burst {
            let value = self.sessions.get_mut(key);
            if let Some(value) = value.filter(|value| value.deadline > now) {
                value.deadline = deadline;
                value.state = State::Udp;
                found += 1;
            }
        }
        found
    }

    fn enter(&mut self, burst: &[Key], deadline: Time, _now: Time) {
        for key in burst {
            let value = Value {
                deadline,
                state: State::Udp,
                _rest: [0; 4],
            };
            self.sessions.insert(*key, value);
            self.begun.push_back((*key, deadline));
        }
    }

    fn expire(&mut self, now: Time) {
        for _ in 0..BUDGET {
            let first = self.begun.front().copied();
            let Some((key, _)) = first.filter(|(_, deadline)| *deadline <= now) else {
                return;
            };
            self.begun.pop_front();
            self.sessions.remove(&key);
        }
    }

    fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

/// The key of client `number`: no two have the same.
fn key(number: u32) -> Key {
    FlowKey {
        client: V4(0x0a00_0000 + (number >> 15)),
        virtual_address: V4(0xc000_0201),
        client_port: 0x8000 | u16::try_from(number & 0x7fff).unwrap_or(0),
        virtual_port: 80,
        protocol: Protocol::Udp,
    }
}

fn shuffle<T>(all: &mut [T]) {
    let mut rng = Rng::new(1);
    for last in (1..all.len()).rev() {
        all.swap(last, rng.below(last + 1));
    }
}

/// A table with as many sessions, 80 % full, the time, and the number of the next client.
struct Bench<T> {
    table: T,
    now_us: u64,
    sessions: u32,
    next: u32,
}

impl<T: Table> Bench<T> {
    fn new(sessions: u32) -> Self {
        let mut bench = Self {
            table: T::new(sessions / 4 * 5),
            now_us: LIFE_US,
            sessions,
            next: 0,
        };
        while bench.next < sessions {
            bench.enter();
        }
        bench
    }

    const fn time(us: u64) -> Time {
        Time::from_ms(us / 1000)
    }

    /// Enters a burst, at the time at which as many sessions as there are have been entered in one
    /// session's life.
    fn enter(&mut self) {
        let burst: ArrayVec<Key, BURST> = (self.next..).take(BURST).map(key).collect();
        self.next += CLIENTS;
        self.now_us += u64::from(CLIENTS) * LIFE_US / u64::from(self.sessions);
        let (now, deadline) = (Self::time(self.now_us), Self::time(self.now_us + LIFE_US));
        self.table.enter(&burst, deadline, now);
    }

    fn churn(&mut self) {
        self.enter();
        self.table.expire(Self::time(self.now_us));
    }
}

fn touch<T: Table>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup and touch");
    group.throughput(Throughput::Elements(BURST as u64));
    for sessions in SESSIONS {
        // Made only if it is asked for.
        let mut made: Option<(Bench<T>, Vec<Key>, usize)> = None;
        group.bench_function(BenchmarkId::new(T::NAME, sessions), |bencher| {
            let (bench, keys, at) = made.get_or_insert_with(|| {
                let mut keys: Vec<Key> = (0..sessions).map(key).collect();
                shuffle(&mut keys);
                (Bench::new(sessions), keys, 0)
            });
            // Before the first of them ends, so that all are there.
            let now = Bench::<T>::time(LIFE_US);
            let deadline = now.plus_ms(2 * LIFE_US / 1000);
            bencher.iter(|| {
                let burst = keys.get(*at..*at + BURST).unwrap_or_default();
                *at = if *at + 2 * BURST > keys.len() {
                    0
                } else {
                    *at + BURST
                };
                let found = bench.table.touch(burst, deadline, now);
                assert_eq!(found, BURST);
            });
        });
    }
    group.finish();
}

fn churn<T: Table>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert and expire");
    group.throughput(Throughput::Elements(BURST as u64));
    for sessions in SESSIONS_IN_CHURN {
        let mut made: Option<Bench<T>> = None;
        let mut longest = Duration::ZERO;
        group.bench_function(BenchmarkId::new(T::NAME, sessions), |bencher| {
            let bench = made.get_or_insert_with(|| {
                let mut bench = Bench::<T>::new(sessions);
                for _ in 0..sessions / CLIENTS {
                    bench.churn();
                }
                bench
            });
            bencher.iter_custom(|bursts| {
                let mut sum = Duration::ZERO;
                for _ in 0..bursts {
                    let start = Instant::now();
                    bench.churn();
                    let spent = start.elapsed();
                    sum += spent;
                    longest = longest.max(spent);
                }
                sum
            });
        });
        if let Some(bench) = made {
            let live = bench.table.sessions();
            println!("{live} sessions at the end, longest burst {longest:?}");
            assert!(live.abs_diff(sessions as usize) * 10 < sessions as usize);
        }
    }
    group.finish();
}

criterion_group!(
    benches,
    touch::<SessionTable<V4>>,
    touch::<Indexed>,
    touch::<Mapped>,
    churn::<SessionTable<V4>>,
    churn::<Indexed>,
    churn::<Mapped>
);
criterion_main!(benches);
