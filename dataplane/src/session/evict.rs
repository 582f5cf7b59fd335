//! Making room in a full table: which session is evicted for a new one, within bounded work.
//! What a session is worth is said in `worth.rs`, whose it is by the table's user; nothing here knows a configuration.
//!
//! The client's home is looked at first. If all that it has is young or proven, the new session's other two buckets
//! and a few more follow, which the table goes through in turn: a small or crowded home must not decide who is
//! served, and under a flood that fills the table within a second the oldest of several hundred is a better victim
//! than the oldest of a few.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries"
)]

use super::entry::Session;
use super::table::{Gone, SessionTable, TableFull};
use super::tags::Place;
use super::timeout::Timeouts;
use super::worth::{Cause, Worth};
use crate::flow::Address;
use crate::time::Time;

/// Buckets of 32 slots that are looked at in turn, besides the new session's own three.
pub(super) const FURTHER_BUCKETS: u32 = 4;

/// Whether a new session may evict another one. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MayEvict {
    /// Yes, and before others that are worth as much: its service has more than its share of the table.
    First,
    /// If it is worth less than [`Worth::Active`].
    Yes,
    /// Only if it has finished or expired: the new session's service has more than its share of the table, this
    /// one's has not.
    IfFinished,
    /// No: it would not help.
    No,
}

/// On which terms a session may be evicted, as the table's user knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictionTerms {
    /// How long a session in its state outlives its last packet. Of a template it means nothing.
    pub timeout_ms: u64,
    /// Whether the new session may evict it.
    pub may_evict: MayEvict,
}

/// What a table asks when it is full, and whom it tells who has left.
///
/// A closure is one: it is told, and all sessions are those of one service with IPVS's timeouts.
pub trait EvictionPolicy<A> {
    /// Whether `len` sessions leave no room for another one in a table for `capacity`.
    fn is_full(&self, len: usize, capacity: usize) -> bool {
        len >= capacity
    }

    /// On which terms a session may be evicted for the new one.
    fn terms(&self, session: &Session<A>) -> EvictionTerms;

    /// A session has left the table.
    fn left(&mut self, session: &Session<A>, why: Gone);
}

impl<A, F: FnMut(&Session<A>, Gone)> EvictionPolicy<A> for F {
    fn terms(&self, session: &Session<A>) -> EvictionTerms {
        EvictionTerms {
            timeout_ms: Timeouts::DEFAULT.ms(session.state),
            may_evict: MayEvict::Yes,
        }
    }

    fn left(&mut self, session: &Session<A>, why: Gone) {
        self(session, why);
    }
}

/// A session that may be evicted. The least is evicted first; of two that are worth the same, the one that has been
/// silent for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Victim {
    worth: Worth,
    may_evict: MayEvict,
    silent: std::cmp::Reverse<u64>,
    slot: u32,
}

impl Victim {
    /// Whether no better one is looked for.
    fn is_good(&self) -> bool {
        self.worth <= Worth::Unproven
    }
}

impl<A: Address> SessionTable<A> {
    /// Evicts a session for a new one with this place; returns where there is room then.
    #[cold]
    #[inline(never)]
    pub(super) fn evict(
        &mut self,
        place: Place,
        policy: &mut impl EvictionPolicy<A>,
        now: Time,
    ) -> Result<u32, TableFull> {
        let (slot, why) = self.victim(place, policy, now).ok_or(TableFull)?;
        self.free(slot);
        policy.left(&self.entries[slot as usize], why);
        self.tags.free(place).ok_or(TableFull)
    }

    /// Which session is to leave for a new one with this place, and why. `None` if all that was looked at is proven
    /// and active, or not for the new session to evict.
    fn victim(
        &mut self,
        place: Place,
        policy: &impl EvictionPolicy<A>,
        now: Time,
    ) -> Option<(u32, Gone)> {
        let mut best = None;
        for bucket in self.tags.buckets_of(place) {
            self.look_at(bucket, policy, now, &mut best);
            if best.is_some_and(|victim: Victim| victim.is_good()) {
                break;
            }
        }
        // A session that leaves elsewhere makes room here only if there are free slots.
        if !best.is_some_and(|victim| victim.is_good()) && self.tags.free(place).is_some() {
            for _ in 0..FURTHER_BUCKETS {
                self.next_bucket = self.tags.bucket_after(self.next_bucket);
                self.look_at(self.next_bucket, policy, now, &mut best);
                if best.is_some_and(|victim| victim.is_good()) {
                    break;
                }
            }
        }
        let Victim { worth, slot, .. } = best?;
        let why = match worth {
            Worth::Expired => Gone::Expired,
            Worth::Finished => Gone::Evicted(Cause::Finished),
            Worth::HalfOpen => Gone::Evicted(Cause::HalfOpen),
            Worth::Unproven | Worth::Young => Gone::Evicted(Cause::Unproven),
            Worth::Idle => Gone::Evicted(Cause::Idle),
            Worth::Active => return None,
        };
        Some((slot, why))
    }

    /// Puts the victim of a bucket into the place of `best` if it is a better one.
    fn look_at(
        &self,
        bucket: u32,
        policy: &impl EvictionPolicy<A>,
        now: Time,
        best: &mut Option<Victim>,
    ) {
        for slot in self.tags.used(bucket) {
            let entry = &self.entries[slot as usize];
            let EvictionTerms {
                timeout_ms,
                may_evict,
            } = policy.terms(entry);
            let timeout_ms = entry.timeout_ms().unwrap_or(timeout_ms);
            let worth = entry.worth(timeout_ms, now);
            let may_leave = match may_evict {
                MayEvict::First | MayEvict::Yes => worth < Worth::Active,
                MayEvict::IfFinished => worth <= Worth::Finished,
                MayEvict::No => false,
            };
            if !may_leave {
                continue;
            }
            let victim = Victim {
                worth,
                may_evict,
                silent: std::cmp::Reverse(entry.silent_ms(timeout_ms, now)),
                slot,
            };
            if best.is_none_or(|best| victim < best) {
                *best = Some(victim);
            }
        }
    }
}

#[cfg(test)]
mod tests;
