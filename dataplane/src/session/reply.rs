//! The second way to a NAT session: from its replies' addresses to its slot in the table.
//! It holds no sessions; keys are compared with the table's entries.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, sized alike; sessions' slots from the table"
)]

use super::entry::{NONE, Session};
use super::tags::{LANES, Place, Tags};
use crate::flow::{Address, ReplyKey};
use crate::prefetch::prefetch;

/// The slots that one bucket's fingerprints stand for: one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u32; LANES]);

/// From reply keys to sessions' slots.
#[derive(Debug)]
pub(super) struct ReplyIndex {
    tags: Tags,
    sessions: Vec<Line>,
}

impl ReplyIndex {
    pub(super) fn new(capacity: u32) -> Self {
        let tags = Tags::new(capacity);
        let lines = tags.slots() / LANES;
        Self {
            tags,
            sessions: vec![Line([0; LANES]); lines],
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.tags.bytes() + self.sessions.len() * size_of::<Line>()
    }

    /// Brings fingerprints and slots of the first bucket nearer.
    #[inline(always)]
    pub(super) fn prefetch(&self, place: Place) {
        self.tags.prefetch(place);
        prefetch(&self.sessions, self.tags.first(place) as usize);
    }

    /// Brings the session that probably matches nearer and returns its slot, or `NONE`.
    #[inline(always)]
    pub(super) fn prefetch_entry<A>(&self, entries: &[Session<A>], place: Place) -> u32 {
        let candidate = self.tags.candidates(place).next();
        let session = candidate.map_or(NONE, |slot| self.session(slot));
        prefetch(entries, session as usize);
        session
    }

    #[inline(always)]
    fn session(&self, slot: u32) -> u32 {
        self.sessions[slot as usize / LANES].0[slot as usize % LANES]
    }

    /// The reply slot whose session has this key.
    #[inline(always)]
    fn slot_of<A: Address>(
        &self,
        entries: &[Session<A>],
        place: Place,
        key: &ReplyKey<A>,
    ) -> Option<u32> {
        self.tags
            .candidates(place)
            .find(|&slot| entries[self.session(slot) as usize].is_answered_by(key))
    }

    /// The session that has this reply key.
    #[inline(always)]
    pub(super) fn find<A: Address>(
        &self,
        entries: &[Session<A>],
        hash: u64,
        key: &ReplyKey<A>,
    ) -> Option<u32> {
        self.slot_of(entries, Tags::place(hash), key)
            .map(|slot| self.session(slot))
    }

    /// Whether `insert` would succeed.
    pub(super) fn has_room<A: Address>(
        &self,
        entries: &[Session<A>],
        hash: u64,
        key: &ReplyKey<A>,
    ) -> bool {
        let place = Tags::place(hash);
        self.tags.free(place).is_some() || self.slot_of(entries, place, key).is_some()
    }

    /// Names `session` under `key` and returns the slot, or `NONE` if both buckets are full.
    ///
    /// Two sessions have the same reply key if one client asks two virtual servers from one port
    /// and both choose the same real server: to that server they are one connection. The newer
    /// takes the slot, as IPVS finds the newer first.
    pub(super) fn insert<A: Address>(
        &mut self,
        entries: &mut [Session<A>],
        hash: u64,
        key: &ReplyKey<A>,
        session: u32,
    ) -> u32 {
        let place = Tags::place(hash);
        let slot = if let Some(slot) = self.slot_of(entries, place, key) {
            entries[self.session(slot) as usize].reply_slot = NONE;
            slot
        } else if let Some(slot) = self.tags.free(place) {
            self.tags.occupy(slot, place);
            slot
        } else {
            return NONE;
        };
        self.sessions[slot as usize / LANES].0[slot as usize % LANES] = session;
        slot
    }

    /// Forgets what `slot` names.
    #[inline(always)]
    pub(super) fn remove(&mut self, slot: u32) {
        self.tags.vacate(slot);
    }
}
