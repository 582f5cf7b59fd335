//! Who is the best of a long list, kept up to date from session to session instead of searched for.
//! It chooses whom `rank.rs` would find in the same loads; what a load costs is not known here.
//!
//! A tournament per worker: each real server is a leaf with its rank, and each node names the better
//! one of the two below it, the earlier one in the list if neither is. A session that comes, goes or
//! turns active concerns one leaf and its path to the root.
//!
//! A worker's own sessions are in its tournament at once. Those of other workers arrive as it
//! walks along the list, so that each leaf is looked at every [`STALE_MS`]; whoever wins is looked
//! at again before it is chosen, and nobody is refused before all have been looked at. So with one
//! worker the choice is exact, and with several a real server may be passed over for
//! [`STALE_MS`] after another worker's sessions of it have gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::candidate::{Candidate, Loads};
use super::ramp::{Ramp, Shares};
use super::rank::{Measure, Rank};
use crate::id::RealId;
use crate::time::Time;

/// Up to this many real servers are searched each time, which costs as little and is exact with
/// several workers too (`benches/schedule.rs`).
pub const SEARCHED: usize = 8;

/// A worker knows other workers' sessions of this long ago at least, if it has long lists.
pub const STALE_MS: u64 = 10;

/// A scheduler by load.
#[derive(Debug, Clone)]
pub struct Ranking {
    pub(super) measure: Measure,
    /// By worker; none for a list that is searched.
    tables: Arc<[Table]>,
}

/// One worker's tournament. Atomics because the control thread makes room for it; only the worker
/// reads and writes.
#[derive(Debug)]
struct Table {
    /// A heap: node 1 is the root, and below node `n` are `2n` and `2n + 1`. The second half are
    /// the leaves, in the order of the list; beyond its end they are closed.
    nodes: Box<[Node]>,
    /// The moment of the shares in the leaves' weights; `NEVER` before there are any.
    moment: AtomicU64,
    /// Up to when the walk along the list has been made.
    walked: AtomicU64,
    /// Where it goes on.
    next: AtomicU32,
}

/// Who wins at a node. The rank is here too, so that a path to the root visits only one leaf.
#[derive(Debug)]
struct Node {
    cost: AtomicU64,
    weight: AtomicU64,
    place: AtomicU32,
}

const NEVER: u64 = u64::MAX;

impl Ranking {
    /// For a list of `reals`, of which each of `workers` has its own view.
    pub(super) fn new(measure: Measure, reals: usize, workers: usize) -> Self {
        let tables = if reals > SEARCHED { workers } else { 0 };
        Self {
            measure,
            tables: (0..tables).map(|_| Table::new(reals)).collect(),
        }
    }

    /// Whether it must be told of sessions.
    pub(super) fn is_kept(&self) -> bool {
        !self.tables.is_empty()
    }

    /// The first one in the list with the least cost for its weight.
    pub(super) fn choose(
        &self,
        worker: usize,
        candidates: &[Candidate],
        loads: &impl Loads,
        shares: Shares,
        now: Time,
    ) -> Option<RealId> {
        let Some(table) = self.tables.get(worker) else {
            let least = self.measure.least(candidates, loads, shares);
            return least.map(|candidate| candidate.real);
        };
        let rank = |candidate: &Candidate| self.measure.rank(candidate, loads, shares);
        if table.is_outdated(shares) {
            table.fill(candidates, rank, shares, now);
        } else if self.tables.len() > 1 {
            table.walk(candidates, rank, shares, now);
        }
        let chosen = table.best(candidates, rank);
        if chosen.is_none() && self.tables.len() > 1 {
            table.fill(candidates, rank, shares, now);
            return table.best(candidates, rank);
        }
        chosen
    }

    /// Updates the rank of the candidate at `place`, whose sessions have changed.
    pub(super) fn update(
        &self,
        worker: usize,
        place: usize,
        candidates: &[Candidate],
        loads: &impl Loads,
        ramp: Ramp,
    ) {
        if let Some(table) = self.tables.get(worker)
            && let Some(candidate) = candidates.get(place)
            && let Some(moment) = table.moment()
        {
            let rank = self.measure.rank(candidate, loads, ramp.at(moment));
            table.set(place, rank);
        }
    }
}

impl Table {
    #[expect(clippy::cast_possible_truncation, reason = "places are 32-bit")]
    fn new(reals: usize) -> Self {
        let leaves = reals.next_power_of_two();
        Self {
            nodes: (0..2 * leaves)
                .map(|node| Node::new(node.saturating_sub(leaves) as u32))
                .collect(),
            moment: AtomicU64::new(NEVER),
            walked: AtomicU64::new(0),
            next: AtomicU32::new(0),
        }
    }

    /// The node of the leaf at a place.
    fn leaf(&self, place: usize) -> usize {
        self.nodes.len() / 2 + place
    }

    fn moment(&self) -> Option<Time> {
        match self.moment.load(Ordering::Relaxed) {
            NEVER => None,
            ms => Some(Time::from_ms(ms)),
        }
    }

    /// Whether the leaves are empty, or their shares have grown since.
    fn is_outdated(&self, shares: Shares) -> bool {
        self.moment().is_none_or(|moment| {
            let then = shares.of(moment);
            then.grow() && moment != shares.moment()
        })
    }

    /// Looks at everybody.
    fn fill(
        &self,
        candidates: &[Candidate],
        rank: impl Fn(&Candidate) -> Rank,
        shares: Shares,
        now: Time,
    ) {
        let leaves = self.nodes.iter().skip(self.leaf(0));
        for ((leaf, candidate), place) in leaves.zip(candidates).zip(0..) {
            let rank = rank(candidate);
            leaf.store(Entry { place, rank });
        }
        for (number, node) in self
            .nodes
            .iter()
            .enumerate()
            .take(self.leaf(0))
            .skip(1)
            .rev()
        {
            node.store(self.entry(2 * number).or(self.entry(2 * number + 1)));
        }
        let moment = shares.moment().as_ms();
        self.moment.store(moment, Ordering::Relaxed);
        self.walked.store(now.as_ms(), Ordering::Relaxed);
    }

    /// Looks at as many as are due since the last time.
    fn walk(
        &self,
        candidates: &[Candidate],
        rank: impl Fn(&Candidate) -> Rank,
        shares: Shares,
        now: Time,
    ) {
        let walked = Time::from_ms(self.walked.load(Ordering::Relaxed));
        let elapsed = now.ms_since(walked);
        if elapsed >= STALE_MS {
            return self.fill(candidates, rank, shares, now);
        }
        if elapsed == 0 {
            return;
        }
        let due = (elapsed * candidates.len() as u64).div_ceil(STALE_MS);
        let mut place = self.next.load(Ordering::Relaxed);
        for _ in 0..due {
            if place as usize >= candidates.len() {
                place = 0;
            }
            if let Some(candidate) = candidates.get(place as usize) {
                self.set(place as usize, rank(candidate));
            }
            place += 1;
        }
        self.next.store(place, Ordering::Relaxed);
        self.walked.store(now.as_ms(), Ordering::Relaxed);
    }

    /// The winner, once its leaf is as it is now.
    fn best(&self, candidates: &[Candidate], rank: impl Fn(&Candidate) -> Rank) -> Option<RealId> {
        // With one worker the first one is it. Others' sessions can unseat everybody but once.
        for _ in 0..=candidates.len() {
            let winner = self.entry(1);
            let place = winner.place as usize;
            let candidate = candidates.get(place)?;
            let present = rank(candidate);
            if winner.rank == present {
                return (present != Rank::CLOSED).then_some(candidate.real);
            }
            self.set(place, present);
        }
        None
    }

    /// Who wins at a node.
    #[inline]
    fn entry(&self, node: usize) -> Entry {
        self.nodes.get(node).map_or(Entry::NOBODY, Node::entry)
    }

    /// Changes a leaf.
    #[expect(clippy::cast_possible_truncation, reason = "places are 32-bit")]
    fn set(&self, place: usize, rank: Rank) {
        let changed = place as u32;
        let mut best = Entry {
            place: changed,
            rank,
        };
        let mut number = self.leaf(place);
        let Some(leaf) = self.nodes.get(number) else {
            return;
        };
        if leaf.entry().rank == rank {
            return;
        }
        leaf.store(best);
        while number > 1 {
            // Which nodes are looked at does not depend on who wins, so their loads overlap.
            best = best.or(self.entry(number ^ 1));
            number /= 2;
            let Some(node) = self.nodes.get(number) else {
                return;
            };
            // Further up only somebody else's win or this one's rank makes a difference.
            let before = node.place.load(Ordering::Relaxed);
            if before == best.place && before != changed {
                return;
            }
            node.store(best);
        }
    }
}

impl Node {
    fn new(place: u32) -> Self {
        let Rank { cost, weight } = Rank::CLOSED;
        Self {
            cost: AtomicU64::new(cost),
            weight: AtomicU64::new(weight),
            place: AtomicU32::new(place),
        }
    }

    #[inline]
    fn entry(&self) -> Entry {
        Entry {
            place: self.place.load(Ordering::Relaxed),
            rank: Rank {
                cost: self.cost.load(Ordering::Relaxed),
                weight: self.weight.load(Ordering::Relaxed),
            },
        }
    }

    #[inline]
    fn store(&self, entry: Entry) {
        self.cost.store(entry.rank.cost, Ordering::Relaxed);
        self.weight.store(entry.rank.weight, Ordering::Relaxed);
        self.place.store(entry.place, Ordering::Relaxed);
    }
}

/// Somebody in a tournament.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: u32,
    rank: Rank,
}

impl Entry {
    const NOBODY: Self = Self {
        place: u32::MAX,
        rank: Rank::CLOSED,
    };

    /// The better one of two, of equals the one that is earlier in the list.
    #[inline]
    fn or(self, other: Self) -> Self {
        let mine = u128::from(self.rank.cost) * u128::from(other.rank.weight);
        let others = u128::from(other.rank.cost) * u128::from(self.rank.weight);
        // One more for a tie that the other one wins: less or equal is less than that.
        if others < mine + u128::from(other.place < self.place) {
            other
        } else {
            self
        }
    }
}
