//! The fingerprints of a bucketed table in which every key has two buckets to be in.
//! What a slot holds is its owner's business: nothing here knows a session.

#![expect(
    clippy::indexing_slicing,
    reason = "buckets come from `place`, which reduces to the number of lines, or from slots made of them"
)]

use wide::{i8x16, i16x16};

use crate::prefetch::prefetch;

/// Slots per bucket.
pub(super) const LANES: usize = 16;
const LANES_U32: u32 = 16;

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

/// Where a key may be: its two buckets and its fingerprint, all from its hash.
#[derive(Debug, Clone, Copy)]
pub struct Place(u64);

impl Place {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a half of a hash")]
    const fn halves(self) -> (u32, u32) {
        ((self.0 >> 32) as u32, self.0 as u32)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a piece of a hash")]
    fn tag(self) -> u16 {
        // Both halves' low bits: keys of one bucket share the high bits of one half.
        let (high, low) = self.halves();
        ((high ^ low) as u16).max(1)
    }
}

/// Multiply and shift instead of a remainder: any number of buckets, no division.
#[inline(always)]
const fn reduce(word: u32, to: u32) -> u32 {
    ((word as u64 * to as u64) >> 32) as u32
}

/// The slots that may hold a key, those in its first bucket first. The second bucket is looked at only
/// if they are not enough.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    tags: &'a Tags,
    place: Place,
    bucket: u32,
    lanes: u32,
    is_second: bool,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.lanes == 0 {
            if self.is_second {
                return None;
            }
            self.is_second = true;
            self.bucket = self.tags.second(self.place);
            self.lanes = self.tags.lanes(self.bucket, self.place.tag());
            if self.lanes == 0 {
                return None;
            }
        }
        let bit = self.lanes.trailing_zeros();
        self.lanes &= self.lanes - 1;
        Some(self.bucket * LANES_U32 + bit)
    }
}

/// With so many slots used, a key's first bucket is no better than its second one.
///
/// Below that the first one is taken, since looking at the second costs a cache line: up to half of the
/// capacity 2 % of all keys are in their second bucket, at all of it between 11 % (filled once) and
/// 39 % (after long coming and going at random).
const CROWDED: u32 = 12;

/// The fingerprints.
#[derive(Debug)]
pub(super) struct Tags {
    lines: Vec<Line>,
}

impl Tags {
    /// Room for `capacity` keys at a load of 7/9, so that a session costs under 96 bytes in all.
    ///
    /// Filling up to `capacity` finds a free slot for every key. When keys then come and go at
    /// random, 5 in a million find both their buckets full at `capacity`, and at 80 % of it none of 30
    /// million did.
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

    /// Where a key with this hash may be.
    #[inline(always)]
    pub(super) const fn place(hash: u64) -> Place {
        Place(hash)
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a table has fewer than 2^32 slots"
    )]
    const fn buckets(&self) -> u32 {
        self.lines.len() as u32
    }

    /// The number of a key's first bucket.
    #[inline(always)]
    pub(super) const fn first(&self, place: Place) -> u32 {
        reduce(place.halves().0, self.buckets())
    }

    /// The number of a key's second bucket, which is another one if there are two.
    #[inline(always)]
    pub(super) const fn second(&self, place: Place) -> u32 {
        let buckets = self.buckets();
        let step = self.first(place) + 1 + reduce(place.halves().1, buckets - 1);
        if step >= buckets {
            step - buckets
        } else {
            step
        }
    }

    /// Brings the fingerprints of the first bucket nearer.
    #[inline(always)]
    pub(super) fn prefetch(&self, place: Place) {
        prefetch(&self.lines, self.first(place) as usize);
    }

    /// Brings the fingerprints of the second bucket nearer.
    #[inline(always)]
    pub(super) fn prefetch_second(&self, place: Place) {
        prefetch(&self.lines, self.second(place) as usize);
    }

    /// The lanes of a bucket that hold `tag`, as bits.
    #[inline(always)]
    fn lanes(&self, bucket: u32, tag: u16) -> u32 {
        self.lines[bucket as usize].lanes_with(tag)
    }

    /// The slots that may hold the key: usually one or none.
    #[inline(always)]
    pub(super) fn candidates(&self, place: Place) -> Candidates<'_> {
        let bucket = self.first(place);
        Candidates {
            tags: self,
            place,
            bucket,
            lanes: self.lanes(bucket, place.tag()),
            is_second: false,
        }
    }

    /// Every used slot of both buckets.
    pub(super) fn used(&self, place: Place) -> impl Iterator<Item = u32> {
        let (first, second) = (self.first(place), self.second(place));
        // They are the same if there is only one.
        let second = (second != first).then_some(second);
        [Some(first), second]
            .into_iter()
            .flatten()
            .flat_map(|bucket| (0..LANES_U32).map(move |lane| bucket * LANES_U32 + lane))
            .filter(|slot| self.is_used(*slot))
    }

    /// A free slot in the first bucket, or in the emptier of the two if the first is crowded.
    #[inline(always)]
    pub(super) fn free(&self, place: Place) -> Option<u32> {
        let mut bucket = self.first(place);
        let mut lanes = self.lanes(bucket, 0);
        if lanes.count_ones() + CROWDED <= LANES_U32 {
            let other = self.second(place);
            let lanes_there = self.lanes(other, 0);
            if lanes_there.count_ones() > lanes.count_ones() {
                (bucket, lanes) = (other, lanes_there);
            }
        }
        (lanes != 0).then(|| bucket * LANES_U32 + lanes.trailing_zeros())
    }

    /// Marks a free slot as used by the key.
    #[inline(always)]
    pub(super) fn occupy(&mut self, slot: u32, place: Place) {
        self.lines[slot as usize / LANES].0[slot as usize % LANES] = place.tag();
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
