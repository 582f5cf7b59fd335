//! The side lines of a table: what few sessions have, and what packets of all others never touch.
//! A session's flags say whether it has one, and the session which.

#![expect(
    clippy::indexing_slicing,
    reason = "a line's number comes from `take`, and from then on from the session that has it"
)]

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::entry::NONE;
use crate::memory::{Memory, Slots};

/// The next sequence numbers of a TCP connection, taken from its client's segments. The receiver of a reset compares
/// the reset's sequence number with them (RFC 5961 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Numbers {
    /// The sequence number of the client's next byte.
    pub client_next: u32,
    /// The sequence number of the real server's next byte.
    pub server_next: u32,
}

impl Numbers {
    /// The later of each: keep-alive probes and delayed segments contain older numbers.
    fn or_later(self, seen: Self) -> Self {
        Self {
            client_next: later(self.client_next, seen.client_next),
            server_next: later(self.server_next, seen.server_next),
        }
    }
}

/// The later of two sequence numbers, which wrap around (RFC 9293 section 3.4).
const fn later(a: u32, b: u32) -> u32 {
    if b.wrapping_sub(a) >> 31 == 0 { b } else { a }
}

/// What a session has beside its entry.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Side {
    numbers: Numbers,
}

/// A line for each session that a table has room for.
#[derive(Debug)]
pub(super) struct Sides {
    /// Those that were written. The others take no memory yet.
    lines: Slots<Side>,
    /// The first free line of these, or `NONE`. A free line's `client_next` is the number of the next one.
    free: u32,
}

impl Sides {
    pub(super) fn new(capacity: u32, memory: Memory) -> Self {
        Self {
            lines: memory.reserved(capacity as usize),
            free: NONE,
        }
    }

    /// Writes all lines, so that no session is the first to touch one.
    pub(super) fn write(&mut self) {
        while let Some(line) = self.push(Numbers::default()) {
            self.give_back(line);
        }
    }

    /// The bytes of all lines in a table for `capacity` sessions.
    pub(super) fn bytes_for(capacity: u32) -> u64 {
        u64::from(capacity) * size_of::<Side>() as u64
    }

    /// The bytes of those that were written.
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Side>()
    }

    /// A line with these numbers; `None` if more sessions have one than the table has room for.
    pub(super) fn take(&mut self, numbers: Numbers) -> Option<u32> {
        if self.free != NONE {
            let line = self.free;
            let taken = &mut self.lines[line as usize].numbers;
            self.free = taken.client_next;
            *taken = numbers;
            return Some(line);
        }
        self.push(numbers)
    }

    /// The next line that was never written; `None` if all were.
    fn push(&mut self, numbers: Numbers) -> Option<u32> {
        if self.lines.len() == self.lines.capacity() {
            return None;
        }
        let line = u32::try_from(self.lines.len()).ok()?;
        self.lines.push(Side { numbers });
        Some(line)
    }

    /// The numbers in a line.
    pub(super) fn numbers(&self, line: u32) -> Numbers {
        self.lines[line as usize].numbers
    }

    /// Notes the numbers of a segment in a line. They only grow; `afresh` overwrites them, for a new connection.
    pub(super) fn note(&mut self, line: u32, seen: Numbers, afresh: bool) {
        let known = &mut self.lines[line as usize].numbers;
        *known = if afresh { seen } else { known.or_later(seen) };
    }

    /// The session that had this line has none any more.
    pub(super) fn give_back(&mut self, line: u32) {
        self.lines[line as usize].numbers.client_next = self.free;
        self.free = line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FlowKey, Protocol, V4};
    use crate::id::RealId;
    use crate::session::{NewSession, SessionIndex, SessionTable, State, TcpState};
    use crate::time::Time;

    /// The lines that no session has.
    fn free(sides: &Sides) -> usize {
        let next = |line: &u32| {
            let next = sides.lines[*line as usize].numbers.client_next;
            (next != NONE).then_some(next)
        };
        let first = (sides.free != NONE).then_some(sides.free);
        std::iter::successors(first, next).count()
    }

    fn table(capacity: u32) -> SessionTable<V4> {
        SessionTable::new(capacity, [1, 2, 3, 4], Memory::HEAP)
    }

    fn begin(table: &mut SessionTable<V4>, client: u32) -> SessionIndex {
        begin_at(table, client, 0)
    }

    fn begin_at(table: &mut SessionTable<V4>, client: u32, now: u64) -> SessionIndex {
        let key = FlowKey {
            client: V4(client),
            virtual_address: V4(1),
            client_port: 1,
            virtual_port: 80,
            protocol: Protocol::Tcp,
        };
        let new = NewSession {
            old: table.find_any(table.hash(&key), &key),
            ..NewSession::direct(
                key,
                RealId(0),
                State::Tcp(TcpState::Established),
                Time::from_ms(now + 1000),
            )
        };
        let hash = table.hash(&key);
        table
            .insert(hash, &new, Time::from_ms(now), |_: &_, _| {})
            .expect("there is room")
    }

    fn numbers((client_next, server_next): (u32, u32)) -> Numbers {
        Numbers {
            client_next,
            server_next,
        }
    }

    #[test]
    fn numbers_grow_wrap_around_and_begin_again() {
        let mut table = table(1);
        let index = begin(&mut table, 1);
        assert_eq!(table.numbers(index), None);
        for (seen, afresh, expected) in [
            ((u32::MAX, 5), false, (u32::MAX, 5)),
            ((u32::MAX - 1, 9), false, (u32::MAX, 9)),
            ((3, 8), false, (3, 9)),
            ((3_000_000_000, 1), true, (3_000_000_000, 1)),
        ] {
            table.note_numbers(index, numbers(seen), afresh);
            assert_eq!(table.numbers(index), Some(numbers(expected)));
        }
    }

    #[test]
    fn every_session_of_a_full_table_can_have_a_line_and_gives_it_back() {
        const SESSIONS: u32 = 100;
        let mut table = table(SESSIONS);
        assert_eq!(table.sides.bytes(), 0);
        for round in 0..3 {
            let indices: Vec<SessionIndex> = (0..SESSIONS)
                .map(|client| {
                    let index = begin(&mut table, round * SESSIONS + client);
                    table.note_numbers(index, numbers((client, round)), false);
                    index
                })
                .collect();
            for (client, index) in (0..).zip(&indices) {
                assert_eq!(table.numbers(*index), Some(numbers((client, round))));
            }
            let _ = indices
                .into_iter()
                .filter_map(|index| table.remove(index))
                .count();
            assert!(table.is_empty());
        }
        assert_eq!(table.sides.bytes() as u64, Sides::bytes_for(SESSIONS));
    }

    #[test]
    fn all_lines_can_be_written_before_they_are_used() {
        let mut table = table(100);
        table.write_side_lines();
        assert_eq!(table.sides.bytes() as u64, Sides::bytes_for(100));
        assert_eq!(free(&table.sides), 100);
        let index = begin(&mut table, 1);
        table.note_numbers(index, numbers((7, 8)), false);
        assert_eq!(table.numbers(index), Some(numbers((7, 8))));
        assert_eq!(free(&table.sides), 99);
    }

    #[test]
    fn a_session_gives_its_line_back_however_it_leaves() {
        let mut table = table(2);
        for client in 0..1000 {
            // Every third replaces one, and others evict one or expire.
            let index = begin_at(&mut table, client / 3, u64::from(client) * 400);
            table.note_numbers(index, numbers((client, 1)), false);
            if client % 7 == 0 {
                table.expire(Time::from_ms(u64::from(client) * 400 + 500), 9, |_, _| {});
            }
            let lines = table.sides.lines.len();
            assert_eq!(free(&table.sides) + table.len(), lines, "{client}");
        }
    }
}
