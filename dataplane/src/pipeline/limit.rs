//! How many ICMP messages of a kind one worker sends or passes on: a token bucket.
//! What is done with the others is decided where the bucket is asked.

use crate::time::Time;

/// Messages per second at most, and at once (Linux `icmp_msgs_per_sec`, 1000).
const PER_SECOND: u64 = 1000;

/// A token bucket (RFC 1812 section 4.3.2.8).
#[derive(Debug)]
pub(super) struct ErrorLimit {
    tokens: u64,
    filled_at: Time,
}

impl Default for ErrorLimit {
    fn default() -> Self {
        Self {
            tokens: PER_SECOND,
            filled_at: Time::default(),
        }
    }
}

impl ErrorLimit {
    pub(super) fn allow(&mut self, now: Time) -> bool {
        // One token a millisecond.
        let earned = now.ms_since(self.filled_at) * PER_SECOND / 1000;
        self.tokens = (self.tokens + earned).min(PER_SECOND);
        self.filled_at = self.filled_at.max(now);
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}
