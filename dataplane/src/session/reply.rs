//! From replies' addresses to the slots of those NAT sessions that are not in their client's home bucket, where
//! replies find the others without it. It holds no sessions; keys are compared with the table's entries.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, sized alike; sessions' slots from the table"
)]

use super::entry::{NONE, Session};
use super::tags::{Place, Tags};
use crate::flow::{Address, ReplyKey};

/// From reply keys to sessions' slots.
#[derive(Debug)]
pub(super) struct ReplyIndex {
    tags: Tags,
    sessions: Vec<u32>,
}

impl ReplyIndex {
    pub(super) fn new(capacity: u32) -> Self {
        let tags = Tags::new(capacity);
        Self {
            // No zeros, which would be memory that the kernel has yet to give.
            sessions: vec![NONE; tags.slots()],
            tags,
        }
    }

    /// The bytes that will be in use in a table for `capacity` sessions.
    pub(super) fn bytes_for(capacity: u32) -> u64 {
        Tags::bytes_for(capacity) + Tags::slots_for(capacity) * size_of::<u32>() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.tags.bytes() + self.sessions.len() * size_of::<u32>()
    }

    #[inline(always)]
    fn session(&self, slot: u32) -> u32 {
        self.sessions[slot as usize]
    }

    /// The session that gets replies with this key.
    pub(super) fn find<A: Address>(
        &self,
        entries: &[Session<A>],
        place: Place,
        key: &ReplyKey<A>,
    ) -> Option<u32> {
        let slot = self.tags.find(place, |slot| {
            entries[self.session(slot) as usize].gets_replies(key)
        });
        slot.map(|slot| self.session(slot))
    }

    /// Shows `visit` every session that has this reply key, at most as many as three buckets hold.
    pub(super) fn each<A: Address>(
        &self,
        entries: &[Session<A>],
        place: Place,
        key: &ReplyKey<A>,
        mut visit: impl FnMut(u32),
    ) {
        // None is the one that is looked for, so all are looked at.
        let _ = self.tags.find(place, |slot| {
            let session = self.session(slot);
            if entries[session as usize].has_reply_key(key) {
                visit(session);
            }
            false
        });
    }

    /// The session that probably has the key with this place, or `NONE`.
    #[inline(never)]
    pub(super) fn guess(&self, place: Place) -> u32 {
        let slot = self.tags.candidate(place);
        slot.map_or(NONE, |slot| self.session(slot))
    }

    /// Names `session`. Says whether there was room.
    pub(super) fn insert(&mut self, place: Place, session: u32) -> bool {
        let Some(slot) = self.tags.free(place) else {
            return false;
        };
        self.tags.occupy(slot, place);
        self.sessions[slot as usize] = session;
        true
    }

    /// Forgets `session`, whose key has this place.
    pub(super) fn remove(&mut self, place: Place, session: u32) {
        let slot = self.tags.find(place, |slot| self.session(slot) == session);
        if let Some(slot) = slot {
            self.tags.vacate(slot, place.home());
        }
    }
}
