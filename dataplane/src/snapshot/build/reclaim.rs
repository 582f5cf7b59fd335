//! Slots that sessions no longer refer to are given back. Bounded, so that a change of one service does
//! not pay for a million that were removed before it. Only called once all workers use the newest snapshot.

use std::collections::VecDeque;
use std::hash::Hash;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use super::{Builder, shared};
use crate::snapshot::Snapshot;
use crate::snapshot::id::{RealId, ServiceId};

/// Slots that are looked at for each snapshot, besides as many as it may need.
const STEP: usize = 1024;

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
    fn take(&mut self, most: usize) -> Vec<I> {
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

impl Builder {
    /// Gives back slots of removed real servers without sessions, then those of removed services
    /// without real servers. `wanted` is how many services the next snapshot may add.
    pub(super) fn reclaim(&mut self, next: &mut Snapshot, wanted: usize) {
        let most = STEP.saturating_add(2 * wanted);
        let hasher = self.marks.hasher().clone();
        let mut quiet: HashMap<ServiceId, Vec<RealId>, _> = HashMap::with_hasher(hasher);
        for id in self.removed_reals.take(most) {
            match next.real(id).filter(|_| next.live_sessions(id) == 0) {
                Some(real) => quiet.entry(real.service).or_default().push(id),
                None => self.removed_reals.insert(id),
            }
        }
        for (service, reals) in quiet {
            self.give_back(next, service, reals);
        }
        for id in self.removed_services.take(most) {
            let empty = next
                .service(id)
                .filter(|service| service.former.is_empty())
                .map(|service| service.target.clone());
            let Some(target) = empty else {
                self.removed_services.insert(id);
                continue;
            };
            if let Some(mark) = target.mark() {
                self.marks.remove(&mark);
            }
            next.lookup.remove(&target);
            self.free_services.push(id);
        }
    }

    /// Gives back slots of one service together: each by itself would be searched for in its list.
    fn give_back(&mut self, next: &mut Snapshot, service: ServiceId, reals: Vec<RealId>) {
        let Some(owner) = next.services.get_mut(service.0) else {
            return;
        };
        let protocols = owner.target.protocols().to_vec();
        let mut past = owner.past;
        let mut gone = HashSet::with_hasher(self.marks.hasher().clone());
        gone.extend(reals.iter().copied());
        let left = owner.former.iter().copied();
        owner.former = shared(left.filter(|id| !gone.contains(id)).collect());
        for id in reals {
            past.add(&next.real_totals(id));
            let Some(real) = next.real(id) else { continue };
            let (address, port) = (real.address, real.port);
            let (by_nat, end) = (real.replies_come_back, real.errors_come_back);
            if by_nat {
                for protocol in &protocols {
                    next.nat_sockets
                        .release(&(*protocol, address, port), service);
                }
                next.nat_reals.release_key(&address);
            }
            if let Some(end) = end {
                next.tunnel_ends.release_key(&(address, end));
            }
            self.free_reals.push(id);
        }
        if let Some(owner) = next.services.get_mut(service.0) {
            owner.past = past;
        }
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
