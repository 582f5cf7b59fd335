//! The sessions of one worker: found by hash, at fixed places, in bounded time.
//! It never grows, rehashes or moves a session, and schedules nothing.
//!
//! A session is in its client's home, a bucket of 32 slots that follows from the client's address and port
//! alone; or, where that is crowded, in one of two other buckets that follow from the whole key. A bucket's
//! fingerprints share a cache line and are searched first, so finding a session costs a line of fingerprints
//! and one of the session. Replies of NAT sessions, who know the client but not the virtual address, find them at
//! home too; sessions that are elsewhere have an index of their own. What is needed can be asked for ahead:
//! `approach` for every packet, then `prefetch_entry` for every packet, then `at`.
//!
//! All memory is written when the table is made: a page fault, or the kernel's zeroing of a huge
//! page, would stall a worker longer than a burst lasts.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries, and indices from slots"
)]

use super::entry::{Flags, HOME, NONE, NewSession, Numbers, Session, SessionIndex, VACANT};
use super::failed::{Failed, OWNERS};
use super::hash::{Hasher, KeyHash, ReplyHash};
use super::reply::ReplyIndex;
use super::state::State;
use super::tags::{Place, Tags};
use super::terms::{EvictionPolicy, Gone, TableFull};
use super::wheel::{SLOTS, Wheel};
use crate::flow::{Address, FlowKey, ReplyKey};
use crate::prefetch::prefetch;
use crate::time::Time;

/// The most sessions a table can be made for; more would not fit the 32 bits of a `SessionIndex`.
pub(super) const MAX_CAPACITY: u32 = 1 << 31;

/// Where a session probably is, for the rest of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint(u32);

impl Hint {
    /// Nowhere.
    pub const NONE: Self = Self(NONE);
}

/// The sessions of one worker and one address family.
#[derive(Debug)]
pub struct SessionTable<A> {
    pub(super) hasher: Hasher,
    pub(super) tags: Tags,
    /// As many as `tags` has slots; meaningful where the slot is used.
    pub(super) entries: Vec<Session<A>>,
    pub(super) replies: ReplyIndex,
    pub(super) wheel: Wheel,
    capacity: u32,
    len: u32,
    half_open: u32,
    /// Sessions whose replies a newer one gets.
    pub(super) shadowed: u32,
    /// The bucket after which eviction looks next; see `evict.rs`.
    pub(super) next_bucket: u32,
    /// The last searches for a victim that found none, by owner.
    pub(super) failed: [Option<Failed>; OWNERS],
}

impl<A: Address> SessionTable<A> {
    /// A table for `capacity` sessions. The keys must be unknown to clients, and the same keys and
    /// calls give the same results.
    #[must_use]
    pub fn new(capacity: u32, keys: [u64; 4]) -> Self {
        let capacity = capacity.min(MAX_CAPACITY);
        let tags = Tags::new(capacity);
        Self {
            hasher: Hasher::new(keys),
            entries: vec![Session::vacant(); tags.slots()],
            tags,
            replies: ReplyIndex::new(capacity),
            wheel: Wheel::new(),
            capacity,
            len: 0,
            half_open: 0,
            shadowed: 0,
            next_bucket: 0,
            failed: [None; OWNERS],
        }
    }

    /// Sessions in the table, those included that have ended but were not yet reaped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most sessions there can be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// How many are half-open. Templates are not among them.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open as usize
    }

    /// Bytes that the table occupies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.tags.bytes()
            + self.entries.len() * size_of::<Session<A>>()
            + self.replies.bytes()
            + self.wheel.bytes()
    }

    /// The hash that the other methods take.
    #[must_use]
    #[inline]
    pub fn hash(&self, key: &FlowKey<A>) -> KeyHash {
        self.hasher.request(key)
    }

    /// The hash that the other methods for replies take.
    #[must_use]
    #[inline]
    pub fn reply_hash(&self, key: &ReplyKey<A>) -> ReplyHash {
        self.hasher.reply(key)
    }

    /// First stage of a lookup: the key's hash, and the fingerprints at its home are brought nearer. `is_new`
    /// says that there is probably no such session yet.
    #[inline(always)]
    #[must_use]
    pub fn approach(&self, key: &FlowKey<A>, is_new: bool) -> KeyHash {
        let hash = self.hash(key);
        let home = hash.0.home();
        self.tags.prefetch(home);
        if is_new {
            self.tags.prefetch_strays(home);
        }
        hash
    }

    /// Second stage: brings the session nearer, or else the slot that a new one would take.
    #[inline(always)]
    #[must_use]
    pub fn prefetch_entry(&self, hash: KeyHash) -> Hint {
        // That another key has the same fingerprint is rare; `at` says so.
        let Some(slot) = self.tags.candidate(hash.0) else {
            let free = self.tags.free(hash.0).unwrap_or(NONE);
            prefetch(&self.entries, free as usize);
            return Hint::NONE;
        };
        prefetch(&self.entries, slot as usize);
        Hint(slot)
    }

    /// First stage of a reply's lookup.
    #[inline(always)]
    #[must_use]
    pub fn approach_reply(&self, key: &ReplyKey<A>) -> ReplyHash {
        let hash = self.reply_hash(key);
        self.tags.prefetch(hash.0);
        hash
    }

    /// Second stage of a reply's lookup. `key` is the reply's.
    #[inline(always)]
    #[must_use]
    pub fn prefetch_reply_entry(&self, hash: ReplyHash, key: &ReplyKey<A>) -> Hint {
        let slot = match self.tags.at_home(hash.0).next() {
            Some(slot) => slot,
            None if self.tags.has_strays(hash.0) => {
                self.replies.guess(self.hasher.reply_place(key))
            }
            None => return Hint::NONE,
        };
        prefetch(&self.entries, slot as usize);
        Hint(slot)
    }

    /// The session with this key whose deadline is after `now`.
    #[must_use]
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &FlowKey<A>, now: Time) -> Option<SessionIndex> {
        let index = self.find_any(hash, key)?;
        (self.entries[index.0 as usize].deadline > now).then_some(index)
    }

    /// The session with this key, whose deadline may be over.
    #[must_use]
    #[inline]
    pub fn find_any(&self, hash: KeyHash, key: &FlowKey<A>) -> Option<SessionIndex> {
        self.slot_of(hash.0, key).map(SessionIndex)
    }

    /// The NAT session that a reply with this key belongs to and whose deadline is after `now`.
    #[must_use]
    #[inline]
    pub fn find_reply(
        &self,
        hash: ReplyHash,
        key: &ReplyKey<A>,
        now: Time,
    ) -> Option<SessionIndex> {
        let slot = self.answered_slot(hash.0, key)?;
        (self.entries[slot as usize].deadline > now).then_some(SessionIndex(slot))
    }

    /// The session with this key if `prefetch_entry` saw it and its deadline is after `now`. The
    /// table may have changed since; `None` does not say that there is no such session.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, hint: Hint, key: &FlowKey<A>, now: Time) -> Option<SessionIndex> {
        let entry = self.entries.get(hint.0 as usize)?;
        (entry.is_found_by(key) && entry.filed != VACANT && entry.deadline > now)
            .then_some(SessionIndex(hint.0))
    }

    /// The same for the NAT session of a reply, with `prefetch_reply_entry`.
    #[must_use]
    #[inline(always)]
    pub fn reply_at(&self, hint: Hint, key: &ReplyKey<A>, now: Time) -> Option<SessionIndex> {
        let entry = self.entries.get(hint.0 as usize)?;
        (entry.gets_replies(key) && entry.filed != VACANT && entry.deadline > now)
            .then_some(SessionIndex(hint.0))
    }

    #[inline(always)]
    fn slot_of(&self, place: Place, key: &FlowKey<A>) -> Option<u32> {
        self.tags
            .find(place, |slot| self.entries[slot as usize].is_found_by(key))
    }

    /// The session at `index`, which must be in the table.
    #[must_use]
    #[inline]
    pub fn get(&self, index: SessionIndex) -> &Session<A> {
        debug_assert!(self.tags.is_used(index.0), "a session that has left");
        &self.entries[index.0 as usize]
    }

    /// The same, for its numbers. `advance` changes the rest.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, index: SessionIndex) -> &mut Session<A> {
        debug_assert!(self.tags.is_used(index.0), "a session that has left");
        &mut self.entries[index.0 as usize]
    }

    /// A packet has left the session at `index`, which must be in the table, in `state` until
    /// `deadline`. Touches no other session unless the deadline has moved to an earlier tick. A packet in the pipeline
    /// goes through [`Self::advance`].
    #[inline(always)]
    pub fn touch(&mut self, index: SessionIndex, state: State, deadline: Time) {
        debug_assert!(self.tags.is_used(index.0), "a session that has left");
        let entry = &mut self.entries[index.0 as usize];
        if entry.state != state {
            self.half_open += u32::from(state.is_half_open());
            self.half_open -= u32::from(entry.state.is_half_open());
            entry.state = state;
            if state.is_half_open() {
                // Another connection, of whose client nothing is proven.
                entry.flags = entry.flags.without(Flags::PROOF).begun(state);
            }
        }
        // It is filed where its turn comes in time for the deadline that it had.
        let is_earlier = deadline < entry.deadline;
        entry.deadline = deadline;
        if is_earlier && self.wheel.is_too_late(entry.filed, deadline) {
            self.refile(index.0);
        }
    }

    /// Enters a session. `hash` is of its key.
    ///
    /// The `old` session with the same key is replaced. In a full table (`policy` says so, or the key's three buckets are
    /// full) the least worthy of those looked at is evicted, see [`Worth`](super::Worth): of the key's home, and if
    /// that has none that is clearly of little worth, of the key's other two buckets and four more taken in turn.
    /// `policy` is told of the sessions that left: at most two, of which one was replaced.
    ///
    /// # Errors
    ///
    /// `TableFull` if none may be evicted, or if the key of a NAT session's replies finds no place.
    #[inline(always)]
    pub fn insert(
        &mut self,
        hash: KeyHash,
        new: &NewSession<A>,
        now: Time,
        mut policy: impl EvictionPolicy<A>,
    ) -> Result<SessionIndex, TableFull> {
        // Held first, so that it is not evicted for the session that it is to control.
        if let Some(template) = new.template {
            self.hold(template.0);
        }
        let entered = self.enter(hash, new, now, &mut policy);
        if entered.is_err()
            && let Some(template) = new.template
        {
            self.release(template.0);
        }
        entered
    }

    /// `insert` for a session whose template is held, and for a template.
    #[inline(always)]
    pub(super) fn enter(
        &mut self,
        hash: KeyHash,
        new: &NewSession<A>,
        now: Time,
        policy: &mut impl EvictionPolicy<A>,
    ) -> Result<SessionIndex, TableFull> {
        let place = hash.0;
        if let Some(SessionIndex(slot)) = new.old
            && self.tags.is_used(slot)
            && self.entries[slot as usize].is_same_as(new)
        {
            let why = if self.entries[slot as usize].deadline > now {
                Gone::Replaced
            } else {
                Gone::Expired
            };
            self.free(slot);
            policy.left(&self.entries[slot as usize], why);
        }
        debug_assert!(
            self.tags
                .find(place, |slot| self.entries[slot as usize].is_same_as(new))
                .is_none(),
            "an old session with the same key that was not named"
        );
        let is_full = self.len >= self.capacity || policy.is_full(self.len(), self.capacity());
        let free = if is_full { None } else { self.tags.free(place) };
        let slot = match free {
            Some(slot) => slot,
            None => self.evict(place, policy, now)?,
        };
        let (real_address, real_port) = new.real_address.unwrap_or_default();
        let mut entry = Session {
            key: new.key,
            deadline: new.deadline,
            real_address,
            real: new.real,
            next: NONE,
            previous: NONE,
            reply_slot: NONE,
            link: match new.template {
                _ if new.flags.contains(Flags::TEMPLATE) => 0,
                Some(template) => template.0,
                None => NONE,
            },
            numbers: Numbers::default(),
            real_port,
            filed: VACANT,
            flags: if new.real_address.is_some() {
                new.flags.with(Flags::NAT).begun(new.state)
            } else {
                new.flags.without(Flags::NAT)
            },
            state: new.state,
        };
        if let Some(key) = entry.reply_key() {
            entry.reply_slot = self.take_replies(slot, place.home(), &key)?;
        }
        self.entries[slot as usize] = entry;
        self.tags.occupy(slot, place);
        if self.len == 0 {
            // The time may have jumped, or begun anywhere, while there was nothing to reap.
            self.wheel.skip_to(now);
        }
        self.wheel.file(&mut self.entries, slot);
        self.len += 1;
        self.half_open += u32::from(new.state.is_half_open());
        Ok(SessionIndex(slot))
    }

    /// Takes the session in a used slot out of everything. The entry keeps what it held.
    #[inline(always)]
    pub(super) fn free(&mut self, slot: u32) {
        self.wheel.unfile(&mut self.entries, slot);
        let entry = &self.entries[slot as usize];
        if entry.reply_slot < HOME
            && let Some(key) = entry.reply_key()
        {
            self.replies
                .remove(entry.reply_slot, self.hasher.reply_place(&key));
        }
        if entry.is_controlled() {
            let template = entry.link;
            self.release(template);
        }
        let entry = &self.entries[slot as usize];
        let home = self.hasher.home(&entry.key);
        self.len -= 1;
        self.half_open -= u32::from(entry.state.is_half_open());
        if self.shadowed > 0 {
            self.leave_replies(slot, home);
        }
        self.tags.vacate(slot, home);
    }

    /// Removes the session at `index` and returns what it was; `None` if there is none, or if it is a
    /// template that controls sessions.
    #[must_use = "the gauges have to follow"]
    pub fn remove(&mut self, index: SessionIndex) -> Option<Session<A>> {
        if !self.tags.is_used(index.0) || self.entries[index.0 as usize].controls() > 0 {
            return None;
        }
        self.free(index.0);
        Some(self.entries[index.0 as usize])
    }

    /// Reaps sessions whose deadline is over, in the order of their ticks, and tells `gone` of
    /// each. Looks at no more than `budget` sessions and one turn of the wheel; the next call goes
    /// on where this one stopped. Returns how many left.
    ///
    /// A session is reaped within a tick (64 ms) of its deadline if calls keep up. `find` goes by
    /// the deadline itself.
    pub fn expire(&mut self, now: Time, budget: usize, mut gone: impl FnMut(&Session<A>)) -> usize {
        let mut reaped = 0;
        let mut steps = SLOTS;
        for _ in 0..budget {
            if self.len == 0 {
                self.wheel.skip_to(now);
                break;
            }
            let Some(slot) = self.wheel.due(now, &mut steps) else {
                break;
            };
            let entry = &self.entries[slot as usize];
            if entry.next != NONE {
                prefetch(&self.entries, entry.next as usize);
                self.tags.prefetch_slot(entry.next);
            }
            if entry.deadline > now {
                self.wheel.unfile(&mut self.entries, slot);
                self.wheel.file(&mut self.entries, slot);
            } else if entry.controls() > 0 {
                self.rearm(slot);
            } else {
                self.free(slot);
                gone(&self.entries[slot as usize]);
                reaped += 1;
            }
        }
        reaped
    }

    /// Whether `expire` has more to do at `now`: after a jump in time, call it until it has not.
    #[must_use]
    pub fn is_behind(&self, now: Time) -> bool {
        self.len > 0 && self.wheel.is_behind(now)
    }

    /// When `expire` next has a session to look at, if that is by `until`.
    #[must_use]
    pub fn next_due(&self, until: Time) -> Option<Time> {
        (self.len > 0).then(|| self.wheel.next_due(until)).flatten()
    }

    /// Shows `visit` the sessions in at most `max_slots` slots from `cursor` on (0 to begin), and
    /// returns the next cursor, or `None` at the end. A bucket without sessions counts as one slot: a
    /// comparison of its fingerprints passes it over. Sessions that have ended but were not yet reaped are shown too. A session that stays in the table is shown exactly once.
    pub fn scan(
        &self,
        cursor: u32,
        max_slots: usize,
        mut visit: impl FnMut(SessionIndex, &Session<A>),
    ) -> Option<u32> {
        let slots = u32::try_from(self.entries.len()).unwrap_or(NONE);
        let mut slot = cursor;
        for _ in 0..max_slots {
            if slot >= slots {
                break;
            }
            if let Some(next) = self.tags.past_empty(slot) {
                slot = next;
                continue;
            }
            if self.tags.is_used(slot) {
                visit(SessionIndex(slot), &self.entries[slot as usize]);
            }
            slot += 1;
        }
        (slot < slots).then_some(slot)
    }
}

#[cfg(test)]
mod tests;
