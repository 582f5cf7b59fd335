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
/// They are taken when the worker starts. `side_lines` says whether those of sessions' side lines are, which only services
/// with `idle_reset` use.
#[must_use]
pub fn table_bytes(sessions: u32, side_lines: bool) -> u64 {
    one::<V4>(sessions, side_lines) + one::<V6>(sessions, side_lines)
}

/// Those of one family.
fn one<A: Address>(sessions: u32, side_lines: bool) -> u64 {
    let capacity = sessions.min(MAX_CAPACITY);
    let entries = Tags::slots_for(capacity) * size_of::<Session<A>>() as u64;
    size_of::<SessionTable<A>>() as u64
        + Tags::bytes_for(capacity)
        + entries
        + if side_lines {
            Sides::bytes_for(capacity)
        } else {
            0
        }
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
            let mut v4 = SessionTable::<V4>::new(sessions, [1, 2, 3, 4], Memory::HEAP);
            let mut v6 = SessionTable::<V6>::new(sessions, [1, 2, 3, 4], Memory::HEAP);
            let taken = (v4.bytes() + v6.bytes()) as u64;
            assert_eq!(table_bytes(sessions, false), taken, "{sessions}");
            v4.write_side_lines();
            v6.write_side_lines();
            let taken = (v4.bytes() + v6.bytes()) as u64;
            assert_eq!(table_bytes(sessions, true), taken, "{sessions}");
        }
        // Beyond the most that a table can be made for.
        assert_eq!(table_bytes(u32::MAX, true), table_bytes(MAX_CAPACITY, true));
        assert!(table_bytes(u32::MAX, true) > 64 * u64::from(MAX_CAPACITY));
    }
}
