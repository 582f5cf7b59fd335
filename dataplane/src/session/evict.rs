//! Making room in a full table: which session is evicted for a new one, within bounded work.
//! What a session is worth is said in `worth.rs`, whose it is by the table's user; nothing here knows a configuration.
//!
//! The client's home is looked at first. If all that it has is young, open or proven, the new session's other two
//! buckets and a few more follow, which the table goes through in turn: a small or crowded home must not decide who is
//! served, and under a flood that fills the table within a second the oldest of several hundred is a better victim
//! than the oldest of a few.
//!
//! Of what is looked at and may leave, what is worth more stays as long as what is worth less has a part of the places
//! of both, so a flood evicts itself: one of handshakes no connection that is not yet proven, one of either no proven,
//! idle session. Where these have less, the others leave for them: in a table that is full of idle sessions each new
//! client would otherwise evict the one before it, and none would be served.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from `tags`, which is sized like the entries"
)]

use super::failed::{Failed, OWNERS};
use super::table::SessionTable;
use super::tags::Place;
use super::terms::{EvictionPolicy, EvictionTerms, Gone, MayEvict, TableFull};
use super::worth::Worth;
use crate::flow::Address;
use crate::time::Time;
use crate::verdict::EvictionCause;

/// Buckets of 32 slots that are looked at in turn, besides the new session's own three.
pub(super) const FURTHER_BUCKETS: u32 = 4;

/// Young handshakes keep one in so many of the places that they and open sessions have, and both together one in so
/// many of those that they and idle sessions have: one of them is only evicted if they have that much.
const KEPT_PART: usize = 4;

/// Each step towards a proof counts for so many bits of the time that a session has been silent: a connection that has
/// taken one may be silent for four times as long as one that has taken none. It outranks none that has just begun,
/// since two packets of a flood can be in two steps.
const BITS_PER_STEP: u32 = 2;

/// A session that may be evicted. The least is evicted first; of two that are worth the same, the one that has been
/// silent for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Victim {
    worth: Worth,
    may_evict: MayEvict,
    silent: std::cmp::Reverse<u64>,
    slot: u32,
}

/// The sessions of one [`Worth`] that a search has seen, of those that may leave: what others have in the table is
/// nothing that one of these could be kept for.
#[derive(Debug, Default)]
struct Found {
    count: usize,
    best: Option<Victim>,
}

/// The young and the open sessions that a search has seen.
#[derive(Debug, Default)]
struct Unproven {
    young: Found,
    open: Found,
}

/// What a search has found so far.
#[derive(Debug, Default)]
struct Search {
    /// Those that are worth less than a young one.
    least: Found,
    /// Those of services with more than their share. Which of them leaves is as if such a service entered the new one.
    first: Unproven,
    others: Unproven,
    idle: Found,
}

impl Search {
    /// Whether no better victim is looked for.
    fn is_over(&self) -> bool {
        self.least.best.is_some()
    }

    fn found(&mut self, worth: Worth, may_evict: MayEvict) -> Option<&mut Found> {
        let unproven = match may_evict {
            MayEvict::First => &mut self.first,
            MayEvict::Yes | MayEvict::IfFinished | MayEvict::No => &mut self.others,
        };
        match worth {
            Worth::Expired | Worth::Finished | Worth::HalfOpen | Worth::Unproven => {
                Some(&mut self.least)
            }
            Worth::Young => Some(&mut unproven.young),
            Worth::Open => Some(&mut unproven.open),
            Worth::Idle => Some(&mut self.idle),
            Worth::Active => None,
        }
    }

    fn victim(self) -> Option<Victim> {
        let [first, others] = [self.first, self.others].map(|it| it.young.before(it.open));
        let unproven = Found {
            count: first.count + others.count,
            best: first.best.or(others.best),
        };
        self.least.best.or(unproven.before(self.idle).best)
    }
}

impl Found {
    /// Counts a session, and takes it if it is the better victim.
    fn offer(&mut self, victim: Victim) {
        self.count += 1;
        if self.best.is_none_or(|best| victim < best) {
            self.best = Some(victim);
        }
    }

    /// Both: of those that are worth more one leaves first where these have less than their part of all places.
    fn before(self, above: Self) -> Self {
        let count = self.count + above.count;
        let best = if self.count * KEPT_PART < count {
            above.best.or(self.best)
        } else {
            self.best.or(above.best)
        };
        Self { count, best }
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
        let attempt = Failed {
            owner: policy.owner(),
            at: now,
        };
        let last = attempt.owner as usize % OWNERS;
        let has_failed = self.failed[last] == Some(attempt);
        let mut search = Search::default();
        let own = if has_failed { 1 } else { 3 };
        for bucket in self.tags.buckets_of(place).into_iter().take(own) {
            self.look_at(bucket, policy, now, &mut search);
            if search.is_over() {
                break;
            }
        }
        // A session that leaves elsewhere makes room here only if there are free slots.
        if !has_failed && !search.is_over() && self.tags.free(place).is_some() {
            for _ in 0..FURTHER_BUCKETS {
                self.next_bucket = self.tags.bucket_after(self.next_bucket);
                self.look_at(self.next_bucket, policy, now, &mut search);
                if search.is_over() {
                    break;
                }
            }
        }
        let Some(Victim { worth, slot, .. }) = search.victim() else {
            self.failed[last] = Some(attempt);
            return None;
        };
        let why = match worth {
            Worth::Expired => Gone::Expired,
            Worth::Finished => Gone::Evicted(EvictionCause::Finished),
            Worth::HalfOpen => Gone::Evicted(EvictionCause::HalfOpen),
            Worth::Unproven | Worth::Young | Worth::Open => Gone::Evicted(EvictionCause::Unproven),
            Worth::Idle => Gone::Evicted(EvictionCause::Idle),
            Worth::Active => return None,
        };
        Some((slot, why))
    }

    /// Has the search take the sessions of a bucket.
    fn look_at(
        &self,
        bucket: u32,
        policy: &impl EvictionPolicy<A>,
        now: Time,
        search: &mut Search,
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
                MayEvict::First | MayEvict::Yes => true,
                MayEvict::IfFinished => worth <= Worth::Finished,
                MayEvict::No => false,
            };
            if may_leave && let Some(found) = search.found(worth, may_evict) {
                let steps = match worth {
                    Worth::Open => entry.flags.steps(),
                    _ => 0,
                };
                let silent = entry.idle_ms(timeout_ms, now) >> (BITS_PER_STEP * steps);
                found.offer(Victim {
                    worth,
                    may_evict,
                    silent: std::cmp::Reverse(silent),
                    slot,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
