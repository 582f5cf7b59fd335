//! The sessions of one worker, in a hash table whose lookups take bounded time.
//! It never grows, never rehashes or moves a session, and schedules nothing.
//!
//! A session's home is a bucket of 32 slots, given by the hash of the client's address and port alone. If the home
//! is crowded, the session is put into one of two other buckets, given by the hash of the whole key. The
//! fingerprints of a bucket share a cache line and are compared first, so a lookup reads one line of fingerprints
//! and the session's own line. A reply of a NAT session does not contain the virtual address, but it contains the
//! client's, so it is looked up in the home bucket too. NAT sessions outside their home are in a separate index
//! of replies. A burst is looked up in three steps that prefetch what the next one reads: `hash_and_prefetch` for
//! every packet, then `prefetch_entry` for every packet, then `at`.
//!
//! All memory but that of side lines is written when the table is created, and that before packets are forwarded to
//! services whose sessions need it, unless a reload brings the first: a page fault, or the kernel's zeroing of a huge page, would
//! stall a worker for longer than a burst lasts.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries, and indices from slots"
)]

use super::entry::{Flags, NONE, NewSession, Session, SessionIndex, VACANT};
use super::failed::{Failed, OWNERS};
use super::hash::{Hasher, KeyHash, ReplyHash};
use super::reply::ReplyIndex;
use super::side::{Numbers, Sides};
use super::state::State;
use super::tags::{Place, Tags};
use super::terms::{EvictionPolicy, Gone, TableFull};
use super::wheel::{SLOTS, Wheel};
use crate::flow::{Address, FlowKey, ReplyKey};
use crate::memory::{Memory, Slots};
use crate::prefetch::prefetch;
use crate::time::Time;

/// The most sessions a table can be made for; more would not fit the 32 bits of a `SessionIndex`.
pub(super) const MAX_CAPACITY: u32 = 1 << 31;

/// The slot in which a session probably is. Valid for the rest of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint(u32);

impl Hint {
    /// No slot.
    pub const NONE: Self = Self(NONE);
}

/// The sessions of one worker and one address family.
#[derive(Debug)]
pub struct SessionTable<A> {
    pub(super) hasher: Hasher,
    pub(super) tags: Tags,
    /// One for each slot of `tags`; meaningful if the slot is used.
    pub(super) entries: Slots<Session<A>>,
    pub(super) sides: Sides,
    pub(super) replies: ReplyIndex,
    pub(super) wheel: Wheel,
    capacity: u32,
    len: u32,
    half_open: u32,
    /// The number of sessions with `Flags::SHADOWED`.
    pub(super) shadowed: u32,
    /// The bucket at which the next search for a victim goes on; see `evict.rs`.
    pub(super) next_bucket: u32,
    /// The last searches for a victim that found none; see `failed.rs`.
    pub(super) failed: [Option<Failed>; OWNERS],
}

impl<A: Address> SessionTable<A> {
    /// A table for `capacity` sessions. The hash keys must be secret, so that clients cannot provoke collisions. The
    /// same keys and calls give the same results. The sessions lie in `memory`.
    #[must_use]
    pub fn new(capacity: u32, keys: [u64; 4], memory: Memory) -> Self {
        let capacity = capacity.min(MAX_CAPACITY);
        let tags = Tags::new(capacity);
        Self {
            hasher: Hasher::new(keys),
            entries: memory.filled(tags.slots(), Session::vacant()),
            sides: Sides::new(capacity, memory),
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

    /// Sessions in the table, including those that have expired but were not yet removed.
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

    /// The number of half-open sessions. Templates are not counted.
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
            + self.sides.bytes()
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

    /// First stage of a lookup: computes the key's hash and prefetches the fingerprints of its home. `is_new` says
    /// that there is probably no such session yet.
    #[inline(always)]
    #[must_use]
    pub fn hash_and_prefetch(&self, key: &FlowKey<A>, is_new: bool) -> KeyHash {
        let hash = self.hash(key);
        let home = hash.0.home();
        self.tags.prefetch(home);
        if is_new {
            self.tags.prefetch_overflow(home);
        }
        hash
    }

    /// Second stage: prefetches the session or, if there is none, the slot that a new one would take.
    #[inline(always)]
    #[must_use]
    pub fn prefetch_entry(&self, hash: KeyHash) -> Hint {
        // It is rare that another key has the same fingerprint; `at` compares the keys.
        let Some(slot) = self.tags.candidate(hash.0) else {
            let free = self.tags.free(hash.0).unwrap_or(NONE);
            prefetch(&self.entries, free as usize);
            return Hint::NONE;
        };
        prefetch(&self.entries, slot as usize);
        Hint(slot)
    }

    /// First stage of the lookup of a reply.
    #[inline(always)]
    #[must_use]
    pub fn hash_and_prefetch_reply(&self, key: &ReplyKey<A>) -> ReplyHash {
        let hash = self.reply_hash(key);
        self.tags.prefetch(hash.0);
        hash
    }

    /// Second stage of the lookup of a reply. `key` is the reply's.
    #[inline(always)]
    #[must_use]
    pub fn prefetch_reply_entry(&self, hash: ReplyHash, key: &ReplyKey<A>) -> Hint {
        let slot = match self.tags.at_home(hash.0).next() {
            Some(slot) => slot,
            None if self.tags.has_overflow(hash.0) => {
                self.replies.guess(self.hasher.reply_place(key))
            }
            None => return Hint::NONE,
        };
        prefetch(&self.entries, slot as usize);
        Hint(slot)
    }

    /// The session with this key, if its deadline is after `now`.
    #[must_use]
    #[inline]
    pub fn find(&self, hash: KeyHash, key: &FlowKey<A>, now: Time) -> Option<SessionIndex> {
        let index = self.find_any(hash, key)?;
        (self.entries[index.0 as usize].deadline > now).then_some(index)
    }

    /// The session with this key, even if its deadline has passed.
    #[must_use]
    #[inline]
    pub fn find_any(&self, hash: KeyHash, key: &FlowKey<A>) -> Option<SessionIndex> {
        self.slot_of(hash.0, key).map(SessionIndex)
    }

    /// The NAT session to which a reply with this key belongs, if its deadline is after `now`.
    #[must_use]
    #[inline]
    pub fn find_reply(
        &self,
        hash: ReplyHash,
        key: &ReplyKey<A>,
        now: Time,
    ) -> Option<SessionIndex> {
        let slot = self.slot_of_reply(hash.0, key)?;
        (self.entries[slot as usize].deadline > now).then_some(SessionIndex(slot))
    }

    /// The session with this key, if it is in the slot that `prefetch_entry` found and its deadline is after `now`. The
    /// table may have changed since, so `None` does not mean that there is no such session.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, hint: Hint, key: &FlowKey<A>, now: Time) -> Option<SessionIndex> {
        let entry = self.entries.get(hint.0 as usize)?;
        (entry.is_found_by(key) && entry.timer_slot != VACANT && entry.deadline > now)
            .then_some(SessionIndex(hint.0))
    }

    /// The same for a reply, with the hint of `prefetch_reply_entry`.
    #[must_use]
    #[inline(always)]
    pub fn reply_at(&self, hint: Hint, key: &ReplyKey<A>, now: Time) -> Option<SessionIndex> {
        let entry = self.entries.get(hint.0 as usize)?;
        (entry.gets_replies(key) && entry.timer_slot != VACANT && entry.deadline > now)
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

    #[inline]
    pub(super) fn get_mut(&mut self, index: SessionIndex) -> &mut Session<A> {
        debug_assert!(self.tags.is_used(index.0), "a session that has left");
        &mut self.entries[index.0 as usize]
    }

    /// Writes the memory of all side lines, of which every session then may have one without a page fault.
    pub fn write_side_lines(&mut self) {
        self.sides.write();
    }

    /// The next sequence numbers of the session at `index`, which must be in the table. `None` if they were not noted.
    #[must_use]
    #[inline]
    pub fn numbers(&self, index: SessionIndex) -> Option<Numbers> {
        let entry = self.get(index);
        entry
            .flags
            .contains(Flags::SIDE)
            .then(|| self.sides.numbers(entry.side))
    }

    /// Notes the numbers of a segment of the client of the session at `index`, which must be in the table. They only
    /// grow; `afresh` overwrites them, for a new connection.
    pub fn note_numbers(&mut self, index: SessionIndex, seen: Numbers, afresh: bool) {
        let entry = &mut self.entries[index.0 as usize];
        if entry.flags.contains(Flags::SIDE) {
            self.sides.note(entry.side, seen, afresh);
        } else if let Some(line) = self.sides.take(seen) {
            entry.side = line;
            entry.flags = entry.flags.with(Flags::SIDE);
        }
    }

    /// Sets the state and the deadline that the session at `index` has after a packet. The session must be in the
    /// table. No other session's memory is accessed unless the deadline has moved to an earlier tick. The pipeline
    /// calls [`Self::advance`] instead.
    #[inline(always)]
    pub fn touch(&mut self, index: SessionIndex, state: State, deadline: Time) {
        debug_assert!(self.tags.is_used(index.0), "a session that has left");
        let entry = &mut self.entries[index.0 as usize];
        if !entry.is_in(state) {
            self.half_open += u32::from(state.is_half_open());
            self.half_open -= u32::from(entry.state().is_half_open());
            entry.set_state(state);
            if state.is_half_open() {
                // Another connection: nothing is proven of its client yet.
                entry.flags = entry.flags.without(Flags::PROOF).begun(state);
            }
        }
        // Its timer slot is early enough for the old deadline, and so for every later one.
        let is_earlier = deadline < entry.deadline;
        entry.deadline = deadline;
        if is_earlier && self.wheel.is_too_late(entry.timer_slot, deadline) {
            self.reschedule(index.0);
        }
    }

    /// Inserts a session. `hash` is the hash of its key.
    ///
    /// The `old` session with the same key is replaced. If the table counts as full, or the key's three buckets are
    /// full, the session of the least [`Worth`](super::Worth) among several is evicted. Those of the key's home are
    /// examined first. If none of them is clearly worth little, the key's other two buckets and four more, taken
    /// round robin, are examined as well. `policy` decides whether the table counts as full, and is called for each
    /// session that was removed: at most the replaced one and an evicted one.
    ///
    /// # Errors
    ///
    /// `TableFull` if no session may be evicted, or if the index of replies has no room for a NAT session.
    #[inline(always)]
    pub fn insert(
        &mut self,
        hash: KeyHash,
        new: &NewSession<A>,
        now: Time,
        mut policy: impl EvictionPolicy<A>,
    ) -> Result<SessionIndex, TableFull> {
        // Counted first, so that the template is not evicted to make room for its own session.
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

    /// `insert` for a template, or for a session that its template already counts.
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
            "a session with the same key that was not passed as `old`"
        );
        let is_full = self.len >= self.capacity || policy.is_full(self.len(), self.capacity());
        let free = if is_full { None } else { self.tags.free(place) };
        let slot = match free {
            Some(slot) => slot,
            None => self.evict(place, policy, now)?,
        };
        let mut entry = Session::new(new);
        if let Some(key) = entry.reply_key()
            && self.claim_replies(slot, place, new.flags.method(), &key)?
        {
            entry.flags = entry.flags.with(Flags::INDEXED);
        }
        self.entries[slot as usize] = entry;
        self.tags.occupy(slot, place);
        if self.len == 0 {
            // The wheel does not follow the clock while the table is empty.
            self.wheel.skip_to(now);
        }
        self.wheel.insert(&mut self.entries, slot);
        self.len += 1;
        self.half_open += u32::from(new.state.is_half_open());
        Ok(SessionIndex(slot))
    }

    /// Removes the session in a used slot from the timer wheel and all indexes. The entry's fields keep their values.
    #[inline(always)]
    pub(super) fn free(&mut self, slot: u32) {
        self.wheel.remove(&mut self.entries, slot);
        let entry = &self.entries[slot as usize];
        if entry.flags.contains(Flags::INDEXED) {
            self.unindex_replies(slot);
        }
        let entry = &self.entries[slot as usize];
        if entry.flags.contains(Flags::SIDE) {
            self.sides.give_back(entry.side);
        }
        if entry.is_controlled() {
            let template = entry.link;
            self.release(template);
        }
        let entry = &self.entries[slot as usize];
        let home = self.hasher.home(&entry.key());
        self.len -= 1;
        self.half_open -= u32::from(entry.state().is_half_open());
        if self.shadowed > 0 {
            self.release_replies(slot);
        }
        self.tags.vacate(slot, home);
    }

    /// Removes the session at `index` and returns it; `None` if there is none, or if it is a template that controls
    /// sessions.
    #[must_use = "the gauges have to be updated"]
    pub fn remove(&mut self, index: SessionIndex) -> Option<Session<A>> {
        if !self.tags.is_used(index.0) || self.entries[index.0 as usize].controls() > 0 {
            return None;
        }
        self.free(index.0);
        Some(self.entries[index.0 as usize])
    }

    /// Removes sessions whose deadline has passed, in the order of their ticks, and calls `gone` for each, with its
    /// sequence numbers if they were noted. Visits at
    /// most `budget` sessions and goes round the wheel at most once; the next call goes on where this one stopped.
    /// Returns how many sessions were removed.
    ///
    /// If it is called often enough, a session is removed within a tick (64 ms) of its deadline. `find` checks the
    /// deadline itself.
    pub fn expire(
        &mut self,
        now: Time,
        budget: usize,
        mut gone: impl FnMut(&Session<A>, Option<Numbers>),
    ) -> usize {
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
                self.wheel.remove(&mut self.entries, slot);
                self.wheel.insert(&mut self.entries, slot);
            } else if entry.controls() > 0 {
                self.rearm(slot);
            } else {
                let numbers = self.numbers(SessionIndex(slot));
                self.free(slot);
                gone(&self.entries[slot as usize], numbers);
                reaped += 1;
            }
        }
        reaped
    }

    /// Whether `expire` has more to do at `now`. After a jump in time, call it until this is false.
    #[must_use]
    pub fn is_behind(&self, now: Time) -> bool {
        self.len > 0 && self.wheel.is_behind(now)
    }

    /// When `expire` has to visit a session next, if that is by `until`.
    #[must_use]
    pub fn next_due(&self, until: Time) -> Option<Time> {
        (self.len > 0).then(|| self.wheel.next_due(until)).flatten()
    }

    /// Calls `visit` for the sessions in at most `max_slots` slots from `cursor` on (0 to begin), and returns the next
    /// cursor, or `None` at the end. An empty bucket counts as one slot, since one comparison of its fingerprints
    /// skips it. Sessions that have expired but were not yet removed are visited too. A session that stays in the
    /// table is visited exactly once.
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
