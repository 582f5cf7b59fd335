//! How much memory a worker's session tables take, before they are made.
//! Nothing is allocated here; a test holds the sums against real tables.

use super::entry::Session;
use super::reply::ReplyIndex;
use super::side::Sides;
use super::table::{MAX_CAPACITY, SessionTable};
use super::tags::Tags;
use super::wheel::Wheel;
use crate::flow::{Address, V4, V6};

/// Bytes that the session tables of one worker take, which has room for so many sessions of each address family.
/// They are taken when the worker starts. More is taken only if more than an eighth of the sessions have side lines at a
/// time, 8 bytes for each.
#[must_use]
pub fn table_bytes(sessions: u32) -> u64 {
    one::<V4>(sessions) + one::<V6>(sessions)
}

/// Those of one family.
fn one<A: Address>(sessions: u32) -> u64 {
    let capacity = sessions.min(MAX_CAPACITY);
    let entries = Tags::slots_for(capacity) * size_of::<Session<A>>() as u64;
    size_of::<SessionTable<A>>() as u64
        + Tags::bytes_for(capacity)
        + entries
        + Sides::bytes_for(capacity)
        + ReplyIndex::bytes_for(capacity)
        + Wheel::new().bytes() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn a_table_takes_what_was_said_before() {
        for sessions in [1, 7, 100, 1024, 99_999, 1 << 17] {
            let v4 = SessionTable::<V4>::new(sessions, [1, 2, 3, 4], Memory::HEAP).bytes();
            let v6 = SessionTable::<V6>::new(sessions, [1, 2, 3, 4], Memory::HEAP).bytes();
            assert_eq!(table_bytes(sessions), (v4 + v6) as u64, "{sessions}");
        }
        // Beyond the most that a table can be made for.
        assert_eq!(table_bytes(u32::MAX), table_bytes(MAX_CAPACITY));
        assert!(table_bytes(u32::MAX) > 64 * u64::from(MAX_CAPACITY));
    }
}
