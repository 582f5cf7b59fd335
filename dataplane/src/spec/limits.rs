//! How much a service or a real server may have.
//! What is done beyond that is decided by `schedule/` and `pipeline/`.

use std::num::NonZeroU32;

/// How many sessions, active and inactive together, a real server shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// It gets no new ones once it has this many; 0 is no limit.
    pub upper: u32,
    /// It gets new ones again below this many; 0 is three quarters of `upper`.
    pub lower: u32,
}

impl Limits {
    /// Whether there is any limit.
    #[must_use]
    #[inline]
    pub const fn is_set(self) -> bool {
        self.upper != 0
    }
}

/// What a service may have at most, on all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServiceLimits {
    /// Sessions that no side has finished. `None` is no limit.
    pub sessions: Option<NonZeroU32>,
}
