//! When sessions end: a timer wheel whose lists are linked through the sessions themselves.
//! It frees nothing: the table asks for the next session that is due.
//!
//! A packet that puts a deadline off writes only the deadline. The session moves to its new slot when the
//! wheel reaches the old one. Only a deadline that becomes earlier than the slot moves the session at once.

#![expect(
    clippy::indexing_slicing,
    reason = "lists are masked to the wheel's size, links name entries of the table"
)]

use super::entry::{NONE, Session, VACANT};
use super::tags::LANES;
use crate::time::Time;

/// A tick is 2^6 = 64 ms.
const TICK_SHIFT: u32 = 6;
/// Slots in one turn: 1048 s, more than the longest of IPVS's timeouts. Sessions that last longer
/// wait in the farthest slot and are inserted again.
pub(super) const SLOTS: usize = 1 << 14;
const MASK: u64 = SLOTS as u64 - 1;

/// Lists per slot. Walking one list waits for memory at every session. With several in turn, the next session
/// of each is prefetched while the others are looked at.
const LISTS: usize = 8;

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Vec<[u32; LISTS]>,
    /// Which list of the cursor's slot comes next.
    list: usize,
    /// The tick whose slot is next. Earlier ticks are done, and their slots are the farthest in the future.
    cursor: u64,
}

const fn tick(time: Time) -> u64 {
    time.as_ms() >> TICK_SHIFT
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: vec![[NONE; LISTS]; SLOTS],
            list: 0,
            cursor: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.heads.len() * size_of::<[u32; LISTS]>()
    }

    /// The tick in whose slot a session with this deadline belongs.
    #[inline(always)]
    fn tick_for(&self, deadline: Time) -> u64 {
        tick(deadline).clamp(self.cursor, self.cursor + MASK)
    }

    /// The list of a slot that a session belongs in: sessions of one bucket are together.
    #[inline(always)]
    fn head(&mut self, slot: u16, index: u32) -> &mut u32 {
        &mut self.heads[usize::from(slot) % SLOTS][index as usize / LANES % LISTS]
    }

    /// Puts a session into the list for its deadline.
    #[inline(always)]
    pub(super) fn insert<A>(&mut self, entries: &mut [Session<A>], index: u32) {
        let entry = &mut entries[index as usize];
        entry.timer_slot = (self.tick_for(entry.deadline) & MASK) as u16;
        let next = std::mem::replace(self.head(entry.timer_slot, index), index);
        entry.next = next;
        if next != NONE {
            entries[next as usize].previous = index;
        }
    }

    /// Takes a session out of its list.
    #[inline(always)]
    pub(super) fn remove<A>(&mut self, entries: &mut [Session<A>], index: u32) {
        let Session {
            next,
            previous,
            timer_slot,
            ..
        } = entries[index as usize];
        entries[index as usize].timer_slot = VACANT;
        let head = self.head(timer_slot, index);
        if *head == index {
            *head = next;
            return;
        }
        entries[previous as usize].next = next;
        if next != NONE {
            entries[next as usize].previous = previous;
        }
    }

    /// Whether `slot` is reached too late for a session with this deadline.
    #[inline(always)]
    pub(super) fn is_too_late(&self, slot: u16, deadline: Time) -> bool {
        let turn = u64::from(slot).wrapping_sub(self.cursor) & MASK;
        self.tick_for(deadline) - self.cursor < turn
    }

    /// Whether a tick that ended before `now` is not done.
    pub(super) fn is_behind(&self, now: Time) -> bool {
        self.cursor < tick(now)
    }

    /// When the next session is due, if that is by `until`.
    pub(super) fn next_due(&self, until: Time) -> Option<Time> {
        let end = tick(until).min(self.cursor + SLOTS as u64);
        let mut ticks = self.cursor..end;
        let tick = ticks.find(|tick| self.heads[(tick & MASK) as usize] != [NONE; LISTS])?;
        Some(Time::from_ms((tick + 1) << TICK_SHIFT))
    }

    /// Moves the cursor to `now` at once. The wheel must be empty.
    pub(super) fn skip_to(&mut self, now: Time) {
        self.cursor = self.cursor.max(tick(now));
    }

    /// The next session in the slots of ticks that ended before `now`. Skips at most `steps` empty slots, and
    /// subtracts those that it skipped from `steps`.
    pub(super) fn due(&mut self, now: Time, steps: &mut usize) -> Option<u32> {
        while self.is_behind(now) {
            let heads = &self.heads[(self.cursor & MASK) as usize];
            for turn in self.list..self.list + LISTS {
                let head = heads[turn % LISTS];
                if head != NONE {
                    self.list = (turn + 1) % LISTS;
                    return Some(head);
                }
            }
            if *steps == 0 {
                return None;
            }
            *steps -= 1;
            self.cursor += 1;
        }
        None
    }
}

#[cfg(test)]
impl Wheel {
    /// Sessions in all lists, each checked to be in the list that it believes to be in.
    pub(super) fn checked_len<A>(&self, entries: &[Session<A>]) -> usize {
        let mut len = 0;
        for (slot, heads) in self.heads.iter().enumerate() {
            for &head in heads {
                let (mut previous, mut index) = (head, head);
                while index != NONE {
                    let entry = &entries[index as usize];
                    assert_eq!(usize::from(entry.timer_slot), slot);
                    assert!(index == head || entry.previous == previous);
                    (previous, index) = (index, entry.next);
                    len += 1;
                }
            }
        }
        len
    }
}
