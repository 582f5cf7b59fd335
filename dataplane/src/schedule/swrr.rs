//! Smooth weighted round robin: turns as `wrr` gives them, but the heavy ones' spread evenly.
//! The order is nginx's while all take sessions: each real server gains its weight in every turn,
//! the one with the most has it, and pays the sum of all weights.
//!
//! The order repeats after as many turns as the weights have in sum, so it is worked out once, on
//! the control thread, and a choice is a step along it. What must not be done is to have whoever
//! comes next stand in for one that takes no sessions: that would be the same one each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidate::{Candidate, Loads, Server, takes_sessions};
use super::cursor::{Cursor, Start};
use super::hash::{candidate, stored};
use crate::id::RealId;

/// Turns in the order at most. Weights with a greater sum are scaled down to it.
const TURNS: u64 = 1 << 16;
/// Steps for a stand-in before the list is searched.
const STEPS: usize = 32;

/// The order of turns in one round.
#[derive(Debug, Clone)]
pub struct TurnOrder {
    turns: Arc<[u16]>,
}

/// Real servers of one weight: they take turns among themselves.
#[derive(Debug, Default)]
struct Class {
    places: Vec<u16>,
    /// Turns they have had together.
    had: usize,
}

impl Class {
    /// Who is next, and how many turns that one has had.
    fn next(&self) -> (u16, usize) {
        let length = self.places.len().max(1);
        let place = self.places.get(self.had % length);
        (place.copied().unwrap_or(u16::MAX), self.had / length)
    }
}

impl TurnOrder {
    /// Computes the order.
    pub(super) fn new(servers: &[Server]) -> Self {
        let open: Vec<(u16, u64)> = (0..usize::from(u16::MAX))
            .zip(servers)
            .filter(|(_, server)| server.candidate.weight > 0)
            .map(|(place, server)| (stored(place), u64::from(server.candidate.weight)))
            .collect();
        let sum: u64 = open.iter().map(|(_, weight)| weight).sum();
        let divisor = open
            .iter()
            .fold(0, |divisor, one| gcd(divisor, one.1))
            .max(1);
        let scaled = |weight: u64| match sum / divisor {
            ..=TURNS => weight / divisor,
            _ => (weight * TURNS / sum).max(1),
        };
        let mut classes: BTreeMap<u64, Class> = BTreeMap::new();
        for (place, weight) in open {
            classes
                .entry(scaled(weight))
                .or_default()
                .places
                .push(place);
        }
        let sum: u64 = classes
            .iter()
            .map(|(weight, class)| weight * class.places.len() as u64)
            .sum();
        Self {
            turns: (1..=sum)
                .map(|turn| take(&mut classes, turn, sum))
                .collect(),
        }
    }
}

/// Who has a turn: the most of weight x turns gained less sum x turns had; the first in the list
/// of equals.
fn take(classes: &mut BTreeMap<u64, Class>, turn: u64, sum: u64) -> u16 {
    let mut most: Option<(i128, u16, &mut Class)> = None;
    for (weight, class) in classes {
        let (place, had) = class.next();
        let has = i128::from(weight * turn) - i128::from(sum) * had as i128;
        let better = most
            .as_ref()
            .is_none_or(|(other, first, _)| has > *other || has == *other && place < *first);
        if better {
            most = Some((has, place, class));
        }
    }
    most.map_or(u16::MAX, |(_, place, class)| {
        class.had += 1;
        place
    })
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The one whose turn it is. If that one takes no sessions, its turn is given away along the same
/// order, in which turns that were given away have a place of their own: so they are shared out by
/// weight too.
pub(super) fn choose(
    cursor: &Cursor,
    order: &TurnOrder,
    candidates: &[Candidate],
    loads: &impl Loads,
) -> Option<RealId> {
    let length = order.turns.len();
    let at = |turn: usize| {
        let one = candidate(candidates, *order.turns.get(turn)?)?;
        takes_sessions(one, loads).then_some(one.real)
    };
    let turn = cursor.next();
    cursor.set_next((turn + 1).checked_rem(length)?);
    if let Some(chosen) = at(turn) {
        return Some(chosen);
    }
    for _ in 0..STEPS {
        let spare = cursor.spare();
        cursor.set_spare((spare + 1) % length);
        if let Some(chosen) = at(spare) {
            return Some(chosen);
        }
    }
    // Few are left, or none.
    let (before, after) = candidates.split_at(turn % candidates.len().max(1));
    after
        .iter()
        .chain(before)
        .find(|one| takes_sessions(one, loads))
        .map(|one| one.real)
}

/// After a change of the list the order goes on at the same turn, so that it does not begin with the
/// heaviest one again. A fresh worker begins at its share of the order.
pub(super) fn adapt(cursor: &Cursor, order: &TurnOrder, start: Start, fresh: bool) {
    let length = order.turns.len().max(1);
    let share = length * start.worker / start.workers.max(1);
    let (turn, spare) = if fresh {
        (share, share)
    } else {
        (cursor.next(), cursor.spare())
    };
    cursor.rewind();
    cursor.set_next(turn % length);
    cursor.set_spare(spare % length);
}
