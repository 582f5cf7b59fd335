//! What one worker remembers about virtual addresses for `lblc` and `lblcr`: which real servers they
//! were given to. A cache of a fixed size; what a real server's load means is not known here.

use std::net::IpAddr;

use ahash::RandomState;
use arrayvec::ArrayVec;

use crate::id::{RealId, ServiceId};
use crate::time::Time;

/// Destinations in one set, of which the least recently used one gives way.
const WAYS: usize = 8;
/// Sets; with `WAYS` the 16384 destinations that IPVS remembers per service.
const SETS: usize = 2048;
/// Real servers that one destination is given to at most. IPVS knows no bound; whoever is that many
/// times overloaded needs none either.
pub(super) const MEMBERS: usize = 16;
/// After this long a destination is forgotten (IPVS's `lblc_expiration`, `lblcr_expiration`).
pub(super) const EXPIRY_MS: u64 = 24 * 60 * 60 * 1000;

/// A virtual address of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) service: ServiceId,
    /// `Scheduling::first_revision`: tells this service from an earlier one in the same slot.
    pub(super) first_revision: u32,
    pub(super) address: IpAddr,
}

/// One destination.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    key: Key,
    used: Time,
    /// When a member came or went.
    pub(super) changed: Time,
    /// The oldest first.
    pub(super) members: ArrayVec<RealId, MEMBERS>,
}

/// The cache.
#[derive(Debug)]
pub struct Destinations {
    sets: Box<[ArrayVec<Destination, WAYS>]>,
    hasher: RandomState,
}

impl Destinations {
    /// Empty. `hasher` keeps strangers from aiming at one set.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self {
            sets: (0..SETS).map(|_| ArrayVec::new()).collect(),
            hasher,
        }
    }

    fn set(&mut self, key: &Key) -> Option<&mut ArrayVec<Destination, WAYS>> {
        let set = self.hasher.hash_one(key) % SETS as u64;
        self.sets.get_mut(usize::try_from(set).ok()?)
    }

    /// The destination, if it is remembered, and is used now.
    pub(super) fn find(&mut self, key: &Key, now: Time) -> Option<&mut Destination> {
        let set = self.set(key)?;
        let found = set.iter_mut().find(|one| one.key == *key)?;
        if now.ms_since(found.used) > EXPIRY_MS {
            return None;
        }
        found.used = now;
        Some(found)
    }

    /// Remembers that the destination, of which nothing is known, was given to `real`.
    pub(super) fn enter(&mut self, key: Key, real: RealId, now: Time) {
        let Some(set) = self.set(&key) else { return };
        let stale = set.iter().position(|one| one.key == key);
        let full = || {
            let oldest = set.iter().enumerate().min_by_key(|(_, one)| one.used);
            oldest.filter(|_| set.is_full()).map(|(place, _)| place)
        };
        if let Some(place) = stale.or_else(full) {
            set.swap_remove(place);
        }
        set.push(Destination {
            key,
            used: now,
            changed: now,
            members: ArrayVec::from_iter([real]),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u16, service: u32) -> Key {
        let [high, low] = last.to_be_bytes();
        Key {
            service: ServiceId(service),
            first_revision: 1,
            address: [10, 0, high, low].into(),
        }
    }

    #[test]
    fn a_destination_is_forgotten_after_a_day_without_use() {
        let mut cache = Destinations::new(RandomState::with_seeds(1, 2, 3, 4));
        let at = Time::from_ms;
        cache.enter(key(1, 0), RealId(7), at(0));
        assert!(cache.find(&key(1, 0), at(EXPIRY_MS)).is_some());
        assert!(cache.find(&key(1, 0), at(2 * EXPIRY_MS)).is_some());
        assert!(cache.find(&key(1, 0), at(3 * EXPIRY_MS + 1)).is_none());
        assert!(cache.find(&key(1, 1), at(0)).is_none(), "another service's");
        cache.enter(key(1, 0), RealId(8), at(3 * EXPIRY_MS + 1));
        let found = cache.find(&key(1, 0), at(3 * EXPIRY_MS + 1)).unwrap();
        assert_eq!(found.members.as_slice(), [RealId(8)]);
    }

    #[test]
    fn when_there_are_too_many_the_least_recently_used_ones_give_way() {
        let mut cache = Destinations::new(RandomState::with_seeds(1, 2, 3, 4));
        for number in 0..u16::MAX {
            cache.enter(key(number, 0), RealId(1), Time::from_ms(number.into()));
        }
        let now = Time::from_ms(u16::MAX.into());
        let known: Vec<u16> = (0..u16::MAX)
            .filter(|number| cache.find(&key(*number, 0), now).is_some())
            .collect();
        assert!(known.len() <= SETS * WAYS && known.len() > SETS * WAYS * 9 / 10);
        assert!(
            known
                .iter()
                .filter(|number| **number > u16::MAX / 2)
                .count()
                > known.len() * 9 / 10
        );
    }
}
