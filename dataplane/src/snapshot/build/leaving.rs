//! Slots that are no longer configured but may have sessions, in turn.
//! Whether one still has sessions is not looked at here.

use std::collections::VecDeque;
use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashMap;

/// Slots that are no longer configured but may have sessions, in the order in which to look at them.
#[derive(Debug)]
pub(super) struct Leaving<I> {
    queue: VecDeque<(u64, I)>,
    /// Which entry of the queue counts: others are of slots that were configured again since.
    entries: HashMap<I, u64, RandomState>,
    next: u64,
}

impl<I: Copy + Eq + Hash> Leaving<I> {
    pub(super) fn new(hasher: &RandomState) -> Self {
        Self {
            queue: VecDeque::new(),
            entries: HashMap::with_hasher(hasher.clone()),
            next: 0,
        }
    }

    /// Puts a slot behind the others.
    pub(super) fn insert(&mut self, id: I) {
        self.entries.insert(id, self.next);
        self.queue.push_back((self.next, id));
        self.next += 1;
    }

    /// The slot is configured again; says whether it was here.
    pub(super) fn remove(&mut self, id: I) -> bool {
        !self.entries.is_empty() && self.entries.remove(&id).is_some()
    }

    pub(super) fn contains(&self, id: I) -> bool {
        self.entries.contains_key(&id)
    }

    /// Takes out the first slots, looking at no more than `most`.
    pub(super) fn take(&mut self, most: usize) -> Vec<I> {
        let mut taken = Vec::new();
        let most = most.min(self.queue.len());
        for (number, id) in self.queue.drain(..most) {
            if self.entries.get(&id) == Some(&number) {
                self.entries.remove(&id);
                taken.push(id);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving() -> Leaving<u32> {
        Leaving::new(&RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn slots_are_looked_at_in_turn_and_no_more_than_asked_for() {
        let mut leaving = leaving();
        (0..5).for_each(|id| leaving.insert(id));
        assert_eq!(leaving.take(2), [0, 1]);
        leaving.insert(0);
        assert_eq!(leaving.take(3), [2, 3, 4]);
        assert_eq!(leaving.take(9), [0]);
        assert!(!leaving.contains(0) && leaving.take(9).is_empty());
    }

    #[test]
    fn a_slot_that_comes_and_goes_is_there_once() {
        let mut leaving = leaving();
        for _ in 0..100 {
            leaving.insert(7);
            assert!(leaving.remove(7));
        }
        assert!(!leaving.remove(7));
        leaving.insert(7);
        leaving.insert(8);
        assert!(leaving.contains(7));
        let taken: Vec<u32> = (0..102).flat_map(|_| leaving.take(1)).collect();
        assert_eq!(taken, [7, 8]);
        assert!(leaving.queue.is_empty());
    }
}
