//! When sessions end: a wheel of lists, one per tick, linked through the sessions themselves.
//! It frees nothing; the table asks which session's turn it is.
//!
//! A packet that puts a deadline off writes only the deadline. When the slot's turn comes, the
//! session is filed again. Only a deadline that moves before its slot is filed at once.

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
/// wait in the farthest slot and are filed again.
pub(super) const SLOTS: usize = 1 << 14;
const MASK: u64 = SLOTS as u64 - 1;

/// Lists per slot. Walking a list waits for memory at every session; taking turns among several,
/// the next session of each can be asked for while the others are looked at.
const WAYS: usize = 8;

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Vec<[u32; WAYS]>,
    /// The list of the cursor's slot whose turn it is.
    way: usize,
    /// The tick whose slot is next. Those before it are done, their slots are the farthest ones.
    cursor: u64,
}

const fn tick(time: Time) -> u64 {
    time.as_ms() >> TICK_SHIFT
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: vec![[NONE; WAYS]; SLOTS],
            way: 0,
            cursor: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.heads.len() * size_of::<[u32; WAYS]>()
    }

    /// The tick to file `deadline` under.
    #[inline(always)]
    fn tick_for(&self, deadline: Time) -> u64 {
        tick(deadline).clamp(self.cursor, self.cursor + MASK)
    }

    /// The list of a slot that a session belongs in: sessions of one bucket are together.
    #[inline(always)]
    fn head(&mut self, slot: u16, index: u32) -> &mut u32 {
        &mut self.heads[usize::from(slot) % SLOTS][index as usize / LANES % WAYS]
    }

    /// Puts a session into the list for its deadline.
    #[inline(always)]
    pub(super) fn file<A>(&mut self, entries: &mut [Session<A>], index: u32) {
        let entry = &mut entries[index as usize];
        entry.filed = (self.tick_for(entry.deadline) & MASK) as u16;
        let next = std::mem::replace(self.head(entry.filed, index), index);
        entry.next = next;
        if next != NONE {
            entries[next as usize].previous = index;
        }
    }

    /// Takes a session out of its list.
    #[inline(always)]
    pub(super) fn unfile<A>(&mut self, entries: &mut [Session<A>], index: u32) {
        let Session {
            next,
            previous,
            filed,
            ..
        } = entries[index as usize];
        entries[index as usize].filed = VACANT;
        let head = self.head(filed, index);
        if *head == index {
            *head = next;
            return;
        }
        entries[previous as usize].next = next;
        if next != NONE {
            entries[next as usize].previous = previous;
        }
    }

    /// Whether a session filed in slot `filed` would get its turn too late for `deadline`.
    #[inline(always)]
    pub(super) fn is_too_late(&self, filed: u16, deadline: Time) -> bool {
        let turn = u64::from(filed).wrapping_sub(self.cursor) & MASK;
        self.tick_for(deadline) - self.cursor < turn
    }

    /// Whether a tick that ended before `now` is not done.
    pub(super) fn is_behind(&self, now: Time) -> bool {
        self.cursor < tick(now)
    }

    /// When the turn of the next session comes, if that is by `until`.
    pub(super) fn next_due(&self, until: Time) -> Option<Time> {
        let end = tick(until).min(self.cursor + SLOTS as u64);
        let mut ticks = self.cursor..end;
        let tick = ticks.find(|tick| self.heads[(tick & MASK) as usize] != [NONE; WAYS])?;
        Some(Time::from_ms((tick + 1) << TICK_SHIFT))
    }

    /// With nothing filed: goes on to `now` at once.
    pub(super) fn skip_to(&mut self, now: Time) {
        self.cursor = self.cursor.max(tick(now));
    }

    /// The session whose turn it is, if a tick that ended before `now` has one. Goes past at most
    /// `steps` empty slots, and takes those it went past off `steps`.
    pub(super) fn due(&mut self, now: Time, steps: &mut usize) -> Option<u32> {
        while self.is_behind(now) {
            let heads = &self.heads[(self.cursor & MASK) as usize];
            for turn in self.way..self.way + WAYS {
                let head = heads[turn % WAYS];
                if head != NONE {
                    self.way = (turn + 1) % WAYS;
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
    pub(super) fn filed<A>(&self, entries: &[Session<A>]) -> usize {
        let mut filed = 0;
        for (slot, heads) in self.heads.iter().enumerate() {
            for &head in heads {
                let (mut previous, mut index) = (head, head);
                while index != NONE {
                    let entry = &entries[index as usize];
                    assert_eq!(usize::from(entry.filed), slot);
                    assert!(index == head || entry.previous == previous);
                    (previous, index) = (index, entry.next);
                    filed += 1;
                }
            }
        }
        filed
    }
}
