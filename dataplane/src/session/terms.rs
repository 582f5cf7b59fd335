//! What a full table and its user tell each other: who may be evicted for whom, and who has left.
//! Which session is chosen is in `evict.rs`.

use super::entry::Session;
use crate::spec::timeouts::Timeouts;
use crate::verdict::EvictionCause;

/// Whether a new session may evict another one. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MayEvict {
    /// Yes, and before others that are worth as much: its service has more than its share of the table.
    First,
    /// If it is worth less than [`Worth::Active`](super::Worth::Active).
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

    /// A number of whom the new session is entered for: while no victim is found for one, the others are searched
    /// for as ever.
    fn owner(&self) -> u32 {
        0
    }

    /// On which terms a session may be evicted for the new one.
    fn terms(&self, session: &Session<A>) -> EvictionTerms;

    /// A session has left the table.
    fn left(&mut self, session: &Session<A>, why: Gone);
}

impl<A, F: FnMut(&Session<A>, Gone)> EvictionPolicy<A> for F {
    fn terms(&self, session: &Session<A>) -> EvictionTerms {
        EvictionTerms {
            timeout_ms: Timeouts::DEFAULT.ms(session.state()),
            may_evict: MayEvict::Yes,
        }
    }

    fn left(&mut self, session: &Session<A>, why: Gone) {
        self(session, why);
    }
}

/// Why a session left the table to make room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Its time was over.
    Expired,
    /// A new session has the same key.
    Replaced,
    /// The table was full and it was worth the least.
    Evicted(EvictionCause),
}

/// No room, and no session that may be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session table is full")]
pub struct TableFull;
