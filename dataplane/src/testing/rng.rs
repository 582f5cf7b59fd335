//! A small random number generator for tests: the same seed, the same numbers, for ever.
//! Not for keys and not for the packet path.

/// Marsaglia's xorshift64 with the multiplier of xorshift64*.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose numbers follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // The state 0 would yield nothing but zeros.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    #[expect(clippy::cast_possible_truncation, reason = "less than a usize")]
    pub const fn below(&mut self, bound: usize) -> usize {
        // The high half of the product: no bias worth the name, no division.
        ((self.next_u64() as u128 * bound as u128) >> 64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub const fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < percent as usize
    }
}
