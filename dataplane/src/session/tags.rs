//! The fingerprints of a bucketed table whose keys have two parts.
//!
//! The first part alone says where a key's home bucket is and gives most of its fingerprint there, so whoever
//! knows no more of a key finds it. A key whose home is crowded goes to one of two other buckets, which
//! the whole key says, so any number of keys may have their first part in common. What a slot holds is its
//! owner's business: nothing here knows a session.

#![expect(
    clippy::indexing_slicing,
    reason = "buckets come from `place`, which reduces to the number of lines, or from slots made of them"
)]

use wide::{i8x16, i16x16};

use crate::prefetch::prefetch;

/// Slots per bucket.
pub(super) const LANES: usize = 32;
const LANES_U32: u32 = 32;

/// A fingerprint per slot of one bucket; 0 marks a free slot. One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([[u16; LANES / 2]; 2]);

impl Line {
    /// The lanes that hold `tag` in the bits of `mask`, as bits. Left to itself the compiler makes four
    /// times as many instructions of this.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_wrap,
        reason = "only equality is asked for, and bits are bits"
    )]
    fn lanes_with(&self, tag: u16, mask: u16) -> u32 {
        let (tag, mask) = (i16x16::splat(tag as i16), i16x16::splat(mask as i16));
        let [low, high] = self.0.map(|half| {
            let held = i16x16::new(half.map(|lane| lane as i16)) & mask;
            let equal = held.simd_eq(tag);
            i8x16::from_i16x16_saturate(equal).to_bitmask()
        });
        low | high << (LANES_U32 / 2)
    }

    #[inline(always)]
    fn lane_mut(&mut self, slot: u32) -> &mut u16 {
        &mut self.0.as_flattened_mut()[slot as usize % LANES]
    }
}

/// Where all keys with one first part have their home: its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Home(u32);

/// Where a key may be: its home and, from the hash of both its parts, two other buckets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    home: Home,
    whole: u32,
}

/// The bits of a fingerprint at home that are of the key's first part.
const HOME_BITS: u32 = 11;
const HOME_MASK: u16 = (1 << HOME_BITS) - 1;

impl Home {
    /// Of the hash of a key's first part.
    #[inline(always)]
    pub(super) const fn new(first_part: u64) -> Self {
        Self((first_part >> 32) as u32)
    }

    /// Its bits in a fingerprint: the low ones, since keys of one bucket share the high ones. Never 0.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a piece of a hash")]
    fn tag(self) -> u16 {
        (self.0 as u16 & HOME_MASK).max(1)
    }
}

impl Place {
    /// Of the hashes of a key's first part and of the whole key.
    #[inline(always)]
    pub(super) const fn new(first_part: u64, whole: u64) -> Self {
        Self {
            home: Home::new(first_part),
            whole: (whole >> 32) as u32,
        }
    }

    /// The home that it has in common with others.
    #[inline(always)]
    pub(super) const fn home(self) -> Home {
        self.home
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a piece of a hash")]
    fn tag(self) -> u16 {
        self.home.tag() | (self.whole as u16) << HOME_BITS
    }

    /// Its fingerprint where it is not at home: others with the same first part may be all around it.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a piece of a hash")]
    fn tag_away(self) -> u16 {
        (self.whole as u16).max(1)
    }
}

/// Multiply and shift instead of a remainder: any number of buckets, no division.
#[inline(always)]
const fn reduce(word: u32, to: u32) -> u32 {
    ((word as u64 * to as u64) >> 32) as u32
}

/// The slots of the lanes, which are bits.
#[inline(always)]
fn slots(bucket: u32, mut lanes: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lane = lanes.trailing_zeros();
        lanes &= lanes.wrapping_sub(1);
        (lane < LANES_U32).then_some(bucket * LANES_U32 + lane)
    })
}

/// With so many slots used, a key's home is no better than the emptiest of its three buckets.
///
/// Below that the home is taken, since looking elsewhere costs cache lines: up to half of the capacity next to
/// no key has left its home, at 95 % of it one in 63, and after long coming and going at random at 80 %, one
/// in 77.
const CROWDED: u32 = 29;

/// How many keys whose home is a bucket are in other buckets, and how many of replies are in the index. A count that has
/// reached the largest number stays there.
///
/// Not a bare number: a new vector of zeros would be memory that the kernel has not yet mapped.
#[derive(Debug, Clone, Copy)]
struct Overflow(u16);

/// The fingerprints.
#[derive(Debug)]
pub(super) struct Tags {
    lines: Vec<Line>,
    /// As many as `lines`.
    overflow: Vec<Overflow>,
}

impl Tags {
    /// Room for `capacity` keys at a load of 7/9, so that a session costs under 96 bytes in all.
    ///
    /// Filling up to `capacity` finds a free slot for every key, and for all but five in a million if a hundred
    /// keys each have the same first part. When keys then come and go at random, none of 20 million finds its
    /// three buckets full.
    pub(super) fn new(capacity: u32) -> Self {
        let buckets = usize::try_from(Self::buckets_for(capacity)).unwrap_or(usize::MAX);
        Self {
            lines: vec![Line([[0; LANES / 2]; 2]); buckets],
            overflow: vec![Overflow(0); buckets],
        }
    }

    fn buckets_for(capacity: u32) -> u64 {
        (u64::from(capacity) * 9).div_ceil(7 * LANES as u64).max(1)
    }

    /// The slots that there will be for `capacity` keys.
    pub(super) fn slots_for(capacity: u32) -> u64 {
        Self::buckets_for(capacity) * LANES as u64
    }

    /// The bytes that will be in use for `capacity` keys.
    pub(super) fn bytes_for(capacity: u32) -> u64 {
        Self::buckets_for(capacity) * (size_of::<Line>() + size_of::<Overflow>()) as u64
    }

    /// The number of slots.
    pub(super) fn slots(&self) -> usize {
        self.lines.len() * LANES
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * (size_of::<Line>() + size_of::<Overflow>())
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a table has fewer than 2^32 slots"
    )]
    const fn buckets(&self) -> u32 {
        self.lines.len() as u32
    }

    /// The number of a home.
    #[inline(always)]
    const fn first(&self, home: Home) -> u32 {
        reduce(home.0, self.buckets())
    }

    /// The number of a key's second bucket, which is not its home if there are two.
    #[inline(always)]
    const fn second(&self, place: Place) -> u32 {
        let buckets = self.buckets();
        let step = self.first(place.home) + 1 + reduce(place.whole, buckets - 1);
        if step >= buckets {
            step - buckets
        } else {
            step
        }
    }

    /// The number of a key's third bucket.
    #[inline(always)]
    const fn third(&self, place: Place) -> u32 {
        // Any odd number with many bits: which third bucket goes with a second one is as good as random.
        reduce(place.whole.wrapping_mul(0x9e37_79b1), self.buckets())
    }

    /// Whether any key of this home may be elsewhere.
    #[inline(always)]
    pub(super) fn has_overflow(&self, home: Home) -> bool {
        self.overflow[self.first(home) as usize].0 > 0
    }

    /// Brings the fingerprints at home nearer.
    #[inline(always)]
    pub(super) fn prefetch(&self, home: Home) {
        prefetch(&self.lines, self.first(home) as usize);
    }

    /// Brings nearer what says whether a key that is not at home can be elsewhere.
    #[inline(always)]
    pub(super) fn prefetch_overflow(&self, home: Home) {
        prefetch(&self.overflow, self.first(home) as usize);
    }

    /// The lanes of a bucket that hold `tag`, as bits.
    #[inline(always)]
    fn lanes(&self, bucket: u32, tag: u16) -> u32 {
        self.lines[bucket as usize].lanes_with(tag, u16::MAX)
    }

    /// The slot that probably holds the key, if any does.
    #[inline(always)]
    pub(super) fn candidate(&self, place: Place) -> Option<u32> {
        let bucket = self.first(place.home);
        let lanes = self.lanes(bucket, place.tag());
        if lanes == 0 {
            return self.candidate_away(place);
        }
        Some(bucket * LANES_U32 + lanes.trailing_zeros())
    }

    #[inline(never)]
    fn candidate_away(&self, place: Place) -> Option<u32> {
        self.find_away(place, |_| true)
    }

    /// The slot that holds the key, of those that may: usually one or none. `is_it` knows.
    #[inline(always)]
    pub(super) fn find(&self, place: Place, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let bucket = self.first(place.home);
        let lanes = self.lanes(bucket, place.tag());
        slots(bucket, lanes)
            .find(|slot| is_it(*slot))
            .or_else(|| self.find_away(place, is_it))
    }

    /// The same in the key's other buckets, which are looked at only where a key had to leave that home.
    #[inline(always)]
    fn find_away(&self, place: Place, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if !self.has_overflow(place.home) {
            return None;
        }
        [self.second(place), self.third(place)]
            .into_iter()
            .find_map(|bucket| {
                slots(bucket, self.lanes(bucket, place.tag_away())).find(|slot| is_it(*slot))
            })
    }

    /// The slots at home that may hold a key with this first part.
    #[inline(always)]
    pub(super) fn at_home(&self, home: Home) -> impl Iterator<Item = u32> {
        let bucket = self.first(home);
        slots(
            bucket,
            self.lines[bucket as usize].lanes_with(home.tag(), HOME_MASK),
        )
    }

    /// The buckets that a key may be in, its home first.
    pub(super) fn buckets_of(&self, place: Place) -> [u32; 3] {
        [
            self.first(place.home),
            self.second(place),
            self.third(place),
        ]
    }

    /// The bucket after this one, in a circle.
    pub(super) const fn bucket_after(&self, bucket: u32) -> u32 {
        let next = bucket + 1;
        if next < self.buckets() { next } else { 0 }
    }

    /// Every used slot of a bucket.
    pub(super) fn used(&self, bucket: u32) -> impl Iterator<Item = u32> {
        let free = self.lanes(bucket, 0);
        slots(bucket, !free)
    }

    /// A free slot at home, or in the emptiest of the three buckets if the home is crowded.
    #[inline(always)]
    pub(super) fn free(&self, place: Place) -> Option<u32> {
        let bucket = self.first(place.home);
        let lanes = self.lanes(bucket, 0);
        if lanes.count_ones() + CROWDED <= LANES_U32 {
            return self.free_away(place);
        }
        Some(bucket * LANES_U32 + lanes.trailing_zeros())
    }

    #[inline(never)]
    fn free_away(&self, place: Place) -> Option<u32> {
        let home = self.first(place.home);
        let (bucket, lanes) = [self.third(place), self.second(place), home]
            .map(|bucket| (bucket, self.lanes(bucket, 0)))
            .into_iter()
            .max_by_key(|(_, lanes)| lanes.count_ones())?;
        (lanes != 0).then(|| bucket * LANES_U32 + lanes.trailing_zeros())
    }

    /// Whether a slot is in the bucket of this home.
    #[inline(always)]
    pub(super) fn is_at_home(&self, slot: u32, home: Home) -> bool {
        slot / LANES_U32 == self.first(home)
    }

    /// Marks a free slot as used by the key.
    #[inline(always)]
    pub(super) fn occupy(&mut self, slot: u32, place: Place) {
        let is_at_home = self.is_at_home(slot, place.home);
        *self.lines[slot as usize / LANES].lane_mut(slot) = if is_at_home {
            place.tag()
        } else {
            place.tag_away()
        };
        if !is_at_home {
            self.count_away(place.home);
        }
    }

    /// Marks a slot as free whose key has this home.
    #[inline(always)]
    pub(super) fn vacate(&mut self, slot: u32, home: Home) {
        *self.lines[slot as usize / LANES].lane_mut(slot) = 0;
        if !self.is_at_home(slot, home) {
            self.uncount_away(home);
        }
    }

    /// How many keys with this home are elsewhere.
    #[cfg(test)]
    pub(super) fn away(&self, home: Home) -> u16 {
        self.overflow[self.first(home) as usize].0
    }

    /// Notes that a key with this home is elsewhere: in another of its buckets, or where the table's owner finds it.
    #[inline]
    pub(super) fn count_away(&mut self, home: Home) {
        let bucket = self.first(home) as usize;
        let Overflow(count) = &mut self.overflow[bucket];
        *count = count.saturating_add(1);
    }

    /// Notes that such a key is gone.
    #[inline]
    pub(super) fn uncount_away(&mut self, home: Home) {
        let bucket = self.first(home) as usize;
        let Overflow(count) = &mut self.overflow[bucket];
        if *count < u16::MAX {
            *count -= 1;
        }
    }

    /// Brings the fingerprint of a slot nearer.
    #[inline(always)]
    pub(super) fn prefetch_slot(&self, slot: u32) {
        prefetch(&self.lines, slot as usize / LANES);
    }

    /// Where the next bucket begins, if this slot is the first of one that holds nothing.
    pub(super) fn past_empty(&self, slot: u32) -> Option<u32> {
        let line = self.lines.get(slot as usize / LANES)?;
        let empty = slot.is_multiple_of(LANES_U32) && line.lanes_with(0, u16::MAX) == u32::MAX;
        empty.then_some(slot.saturating_add(LANES_U32))
    }

    /// Whether there is such a slot and it is used.
    #[inline(always)]
    pub(super) fn is_used(&self, slot: u32) -> bool {
        self.lines
            .get(slot as usize / LANES)
            .is_some_and(|line| line.0.as_flattened()[slot as usize % LANES] != 0)
    }
}
