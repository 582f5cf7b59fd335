//! Searches for a session to evict that found none, by whom they were made for.
//! How a search goes is in `evict.rs`.

use crate::time::Time;

/// Owners whose last search that found no victim is remembered; of those with the same remainder the latest.
pub(super) const OWNERS: usize = 8;

/// A search that found no victim. For the same owner the next ones within the same millisecond look at the new
/// session's home alone: each session that is looked at is a cache line from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) owner: u32,
    pub(super) at: Time,
}
