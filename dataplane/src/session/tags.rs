//! The fingerprints of a bucketed table in which every key has two buckets to be in.
//! What a slot holds is its owner's business: nothing here knows a session.

#![expect(
    clippy::indexing_slicing,
    reason = "buckets come from `place`, which reduces to the number of lines, or from slots made of them"
)]

use std::hint::select_unpredictable;

use wide::{i8x16, i16x16};

use crate::prefetch::prefetch;

/// Slots per bucket.
pub(super) const LANES: usize = 16;

/// A fingerprint per slot of one bucket; 0 marks a free slot. Never across two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Line([u16; LANES]);

impl Line {
    /// The lanes that hold `tag`, as bits. Left to itself the compiler makes four times as many
    /// instructions of this.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_wrap,
        reason = "only equality is asked for, and bits are bits"
    )]
    fn lanes_with(&self, tag: u16) -> u32 {
        let held = i16x16::new(self.0.map(|lane| lane as i16));
        let equal = held.simd_eq(i16x16::splat(tag as i16));
        i8x16::from_i16x16_saturate(equal).to_bitmask()
    }
}

/// A key's two buckets and its fingerprint.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    first: u32,
    second: u32,
    tag: u16,
}

impl Place {
    /// The numbers of both buckets.
    #[inline(always)]
    pub(super) const fn buckets(self) -> (usize, usize) {
        (self.first as usize, self.second as usize)
    }
}

/// Slots of a key's two buckets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    /// The first bucket's lanes in the low half, the second's in the high half.
    lanes: u32,
    place: Place,
}

impl Iterator for Slots {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.lanes == 0 {
            return None;
        }
        let bit = self.lanes.trailing_zeros();
        self.lanes &= self.lanes - 1;
        // Either is as likely: a branch would be mispredicted every other time.
        let bucket = select_unpredictable(bit < 16, self.place.first, self.place.second);
        Some(bucket * 16 + bit % 16)
    }
}

/// The fingerprints.
#[derive(Debug)]
pub(super) struct Tags {
    lines: Vec<Line>,
}

impl Tags {
    /// Room for `capacity` keys at a load of 7/9, so that a session costs under 96 bytes in all.
    ///
    /// Filling up to `capacity` finds a free slot for every key. When keys then come and go at
    /// random, 4 in a million find both their buckets full at `capacity`, and up to 95 % of it
    /// none of 30 million did.
    pub(super) fn new(capacity: u32) -> Self {
        let buckets = (u64::from(capacity) * 9).div_ceil(7 * LANES as u64).max(1);
        let buckets = usize::try_from(buckets).unwrap_or(usize::MAX);
        Self {
            lines: vec![Line([0; LANES]); buckets],
        }
    }

    /// The number of slots.
    pub(super) fn slots(&self) -> usize {
        self.lines.len() * LANES
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// Where a key with this hash may be. The two buckets differ if there are two.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the halves of a hash, and products that were shifted down"
    )]
    pub(super) fn place(&self, hash: u64) -> Place {
        let buckets = self.lines.len() as u32;
        let (high, low) = ((hash >> 32) as u32, hash as u32);
        // Multiply and shift instead of a remainder: any number of buckets, no division.
        let reduce = |word: u32, to: u32| ((u64::from(word) * u64::from(to)) >> 32) as u32;
        let first = reduce(high, buckets);
        let step = first + 1 + reduce(low, buckets - 1);
        let second = if step >= buckets {
            step - buckets
        } else {
            step
        };
        // Both halves' low bits: keys of one bucket share the high bits of one half.
        let tag = (high ^ low) as u16;
        Place {
            first,
            second,
            tag: if tag == 0 { 1 } else { tag },
        }
    }

    /// Brings the fingerprints of both buckets nearer.
    #[inline(always)]
    pub(super) fn prefetch(&self, place: Place) {
        prefetch(&self.lines, place.first as usize);
        prefetch(&self.lines, place.second as usize);
    }

    #[inline(always)]
    fn slots_with(&self, place: Place, tag: u16) -> Slots {
        let first = self.lines[place.first as usize].lanes_with(tag);
        let second = self.lines[place.second as usize].lanes_with(tag);
        Slots {
            lanes: first | second << 16,
            place,
        }
    }

    /// The slots that may hold the key: usually one or none.
    #[inline(always)]
    pub(super) fn candidates(&self, place: Place) -> Slots {
        self.slots_with(place, place.tag)
    }

    /// Every used slot of both buckets.
    pub(super) fn used(&self, place: Place) -> Slots {
        let free = self.slots_with(place, 0);
        Slots {
            lanes: !free.lanes,
            place,
        }
    }

    /// A free slot in the emptier of the two buckets.
    #[inline(always)]
    pub(super) fn free(&self, place: Place) -> Option<u32> {
        let Slots { mut lanes, .. } = self.slots_with(place, 0);
        let (first, second) = (lanes & 0xffff, lanes >> 16);
        if second.count_ones() > first.count_ones() {
            lanes &= 0xffff_0000;
        }
        Slots { lanes, place }.next()
    }

    /// Marks a free slot as used by the key.
    #[inline(always)]
    pub(super) fn occupy(&mut self, slot: u32, place: Place) {
        self.lines[slot as usize / LANES].0[slot as usize % LANES] = place.tag;
    }

    /// Marks a slot as free.
    #[inline(always)]
    pub(super) fn vacate(&mut self, slot: u32) {
        self.lines[slot as usize / LANES].0[slot as usize % LANES] = 0;
    }

    /// Brings the fingerprint of a slot nearer.
    #[inline(always)]
    pub(super) fn prefetch_slot(&self, slot: u32) {
        prefetch(&self.lines, slot as usize / LANES);
    }

    /// Whether there is such a slot and it is used.
    #[inline(always)]
    pub(super) fn is_used(&self, slot: u32) -> bool {
        self.lines
            .get(slot as usize / LANES)
            .is_some_and(|line| line.0[slot as usize % LANES] != 0)
    }
}
