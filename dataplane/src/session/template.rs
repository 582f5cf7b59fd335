//! Persistence templates: entries of the table that name a client's real server and are no session.
//! Whether a template may still be used is the pipeline's to say; nothing here knows a configuration.
//!
//! A template is found by the client's network, port 0 and its service's address and port, as IPVS
//! keys it. It shares the table with the sessions, so that both count against one capacity; a
//! session from a client's port 0 is told apart by [`Flags::TEMPLATE`].
//!
//! A session knows its template by the slot, and the template counts the sessions that it controls.
//! That is enough, and costs 4 bytes of an entry, because a template that controls a session neither
//! ends nor is evicted: what a slot names cannot change while anybody remembers it.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries, and from live sessions"
)]

use super::entry::{Flags, NewSession, Session, SessionIndex};
use super::hash::KeyHash;
use super::state::State;
use super::table::SessionTable;
use super::tags::Place;
use super::terms::{EvictionPolicy, TableFull};
use crate::flow::{Address, FlowKey};
use crate::id::RealId;
use crate::time::Time;

/// How long a template goes on that still controls sessions when its time is over (IPVS: 60 s,
/// whatever the service's timeout).
const GRACE_MS: u64 = 60_000;

/// The port that IPVS gives to a template that no new session may use any more.
const INVALID_PORT: u16 = u16::MAX;

/// What a template begins with.
#[derive(Debug, Clone, Copy)]
pub struct NewTemplate<A> {
    /// What it is found by.
    pub key: FlowKey<A>,
    /// Whether it is for every protocol, whatever the key says.
    pub any_protocol: bool,
    /// The real server that it names.
    pub real: RealId,
    /// Milliseconds that it outlives the beginning of the last session it controls.
    pub timeout_ms: u32,
}

impl<A> Session<A> {
    /// How many sessions this template controls; 0 for what is no template.
    #[must_use]
    #[inline]
    pub const fn controls(&self) -> u32 {
        if self.flags.contains(Flags::TEMPLATE) {
            self.link
        } else {
            0
        }
    }

    /// How many milliseconds a template outlives the beginning of the last session it controls.
    pub(super) fn timeout_ms(&self) -> Option<u64> {
        let timeout_ms = u64::from(self.side);
        self.flags.contains(Flags::TEMPLATE).then_some(timeout_ms)
    }
}

impl<A: Address> Session<A> {
    pub(super) fn is_template_of(&self, key: &FlowKey<A>) -> bool {
        self.has_key(key)
            && self.flags.contains(Flags::TEMPLATE)
            && !self.flags.contains(Flags::INVALID)
    }
}

impl<A: Address> SessionTable<A> {
    /// The valid template with this key that has not ended.
    #[must_use]
    pub fn find_template(
        &self,
        hash: KeyHash,
        key: &FlowKey<A>,
        now: Time,
    ) -> Option<SessionIndex> {
        let slot = self.template_slot(hash.0, key)?;
        let entry = &self.entries[slot as usize];
        (entry.deadline > now || entry.controls() > 0).then_some(SessionIndex(slot))
    }

    /// Enters a template. `hash` is of its key. What is evicted, and who is told, is as for `insert`.
    ///
    /// # Errors
    ///
    /// `TableFull` if nothing may be evicted.
    pub fn insert_template(
        &mut self,
        hash: KeyHash,
        new: &NewTemplate<A>,
        now: Time,
        mut policy: impl EvictionPolicy<A>,
    ) -> Result<SessionIndex, TableFull> {
        let flags = if new.any_protocol {
            Flags::TEMPLATE.with(Flags::ANY_PROTOCOL)
        } else {
            Flags::TEMPLATE
        };
        let session = NewSession {
            flags,
            old: self.template_slot(hash.0, &new.key).map(SessionIndex),
            // Neither active nor half-open; a template has no other state than its flags.
            ..NewSession::direct(
                new.key,
                new.real,
                State::Udp,
                now.plus_ms(u64::from(new.timeout_ms)),
            )
        };
        let index = self.enter(hash, &session, now, &mut policy)?;
        self.entries[index.0 as usize].side = new.timeout_ms;
        Ok(index)
    }

    /// A new session uses the template at `index`, whose time begins again.
    pub fn restart_template(&mut self, index: SessionIndex, now: Time) {
        let entry = &mut self.entries[index.0 as usize];
        debug_assert!(entry.flags.contains(Flags::TEMPLATE), "a session");
        entry.deadline = now.plus_ms(u64::from(entry.side));
        // After a re-arming the service's timeout may be the earlier one.
        if self.wheel.is_too_late(entry.timer_slot, entry.deadline) {
            self.reschedule(index.0);
        }
    }

    /// No new session finds the template at `index` any more. It keeps its slot, and is listed under
    /// the port that IPVS gives it, until its time is over.
    pub fn invalidate_template(&mut self, index: SessionIndex) {
        let entry = &mut self.entries[index.0 as usize];
        debug_assert!(entry.flags.contains(Flags::TEMPLATE), "a session");
        entry.flags = entry.flags.with(Flags::INVALID);
        entry.set_virtual_port(INVALID_PORT);
    }

    /// The session at `index` makes the template that controls it ASSURED.
    pub fn assure(&mut self, index: SessionIndex) {
        let entry = &mut self.entries[index.0 as usize];
        if entry.is_controlled() {
            entry.flags = entry.flags.with(Flags::ASSURED);
            let template = entry.link as usize;
            self.entries[template].flags = self.entries[template].flags.with(Flags::ASSURED);
        }
    }

    pub(super) fn template_slot(&self, place: Place, key: &FlowKey<A>) -> Option<u32> {
        self.tags.find(place, |slot| {
            self.entries[slot as usize].is_template_of(key)
        })
    }

    /// One session more is controlled by the template in `slot`.
    pub(super) fn hold(&mut self, slot: u32) {
        debug_assert!(self.entries[slot as usize].flags.contains(Flags::TEMPLATE));
        self.entries[slot as usize].link += 1;
    }

    /// One session less.
    pub(super) fn release(&mut self, slot: u32) {
        debug_assert!(self.entries[slot as usize].flags.contains(Flags::TEMPLATE));
        self.entries[slot as usize].link -= 1;
    }

    /// The time of the template in `slot` is over, but it controls sessions.
    pub(super) fn rearm(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.deadline = entry.deadline.plus_ms(GRACE_MS);
        self.reschedule(slot);
    }

    #[cold]
    pub(super) fn reschedule(&mut self, slot: u32) {
        self.wheel.remove(&mut self.entries, slot);
        self.wheel.insert(&mut self.entries, slot);
    }
}

#[cfg(test)]
mod tests;
