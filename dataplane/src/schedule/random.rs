//! The random numbers of one worker's schedulers: they follow from a seed, so that a run repeats.
//! Fair enough for choices; not for keys, and nothing secret follows from them.

/// SplitMix64: a counter by the golden ratio, whose bits are mixed (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: no bias worth the name, no division.
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }
}

/// Every bit of the result depends on every bit of `value`.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
