//! Rate limits of one worker, as token buckets: on ICMP errors and resets that are sent, on ICMP errors that are
//! relayed or begin sessions, on echo replies, on what the kernel gets, and on searches.
//! What happens to a packet over the limit is decided by the caller.

use std::hash::Hash;

use ahash::RandomState;

use crate::time::Time;

/// The most messages of one kind per second, and in a burst (Linux `icmp_msgs_per_sec`, 1000).
const PER_SECOND: u64 = 1000;

/// The most packets per second, and in a burst, for whose sessions one worker searches other workers; each costs those
/// workers less than a microsecond. ICMP errors are limited by [`FlowLimit`] instead.
pub(crate) const SEARCHES_PER_SECOND: u64 = 16_000;

/// A token bucket over all messages of a kind (RFC 1812 section 4.3.2.8).
#[derive(Debug)]
pub(crate) struct ErrorLimit {
    per_second: u64,
    tokens: u64,
    filled_at: Time,
}

impl Default for ErrorLimit {
    fn default() -> Self {
        Self::new(PER_SECOND)
    }
}

impl ErrorLimit {
    /// A limit of so many per second, and in a burst: a multiple of 1000.
    pub(crate) fn new(per_second: u64) -> Self {
        Self {
            per_second,
            tokens: per_second,
            filled_at: Time::default(),
        }
    }

    pub(crate) fn allow(&mut self, now: Time) -> bool {
        // At least one token is earned each millisecond.
        let earned = now.ms_since(self.filled_at) * self.per_second / 1000;
        self.tokens = (self.tokens + earned).min(self.per_second);
        self.filled_at = self.filled_at.max(now);
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

/// The limits on errors and resets that one worker sends. Each kind has its own bucket, so that a flood that causes one
/// kind does not starve another.
/// "Fragmentation needed" and "packet too big" have no limit, since path MTU discovery fails without them. Linux
/// exempts both (`icmpv4_mask_allow`; the default of `net.ipv6.icmp.ratemask`). They do not amplify: each answers one
/// packet that was larger.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// TCP resets.
    pub(crate) resets: ErrorLimit,
    /// Port, protocol and host unreachable.
    pub(crate) unreachable: ErrorLimit,
    /// Time exceeded: of the TTL, or of reassembly.
    pub(crate) exceeded: ErrorLimit,
}

/// Half of the messages per second, and in a burst, about one flow.
const PER_FLOW: u16 = 16;
/// A power of two, and much larger than the number of flows about which many errors arrive at one time.
const BUCKETS: usize = 4096;

/// A rate limit for each flow: a fixed array of token buckets, two per flow.
/// A keyed hash of the flow selects its two buckets, and the flow may take tokens from either. A flow with too many
/// messages empties both of its buckets; another flow is only affected if both of its buckets are empty.
#[derive(Debug)]
pub(crate) struct FlowLimit {
    per_bucket: u16,
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

/// One token bucket; its capacity is what is earned in a second.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Tokens that were taken and not yet earned again.
    used: u16,
    /// When `used` was last updated, in ms, modulo 2^32.
    counted_at: u32,
}

impl FlowLimit {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self::of(PER_FLOW, hasher)
    }

    /// A limit of twice `per_bucket` per second for each key.
    pub(crate) fn of(per_bucket: u16, hasher: RandomState) -> Self {
        Self {
            per_bucket,
            buckets: vec![Bucket::default(); BUCKETS].into(),
            hasher,
        }
    }

    /// Whether one more message about `flow` is within its limit.
    pub(crate) fn allow(&mut self, flow: impl Hash, now: Time) -> bool {
        let hash = self.hasher.hash_one(flow);
        [hash, hash >> 32].into_iter().any(|hash| {
            let place = usize::try_from(hash % BUCKETS as u64).unwrap_or(0);
            let (bucket, most) = (self.buckets.get_mut(place), self.per_bucket);
            bucket.is_some_and(|bucket| bucket.take(most, now))
        })
    }
}

impl Bucket {
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32, as stated")]
    fn take(&mut self, most: u16, now: Time) -> bool {
        let now = now.as_ms() as u32;
        let passed = now.wrapping_sub(self.counted_at);
        let earned = u64::from(passed) * u64::from(most) / 1000;
        if earned > 0 || self.used == 0 {
            let earned = u16::try_from(earned).unwrap_or(u16::MAX);
            self.used = self.used.saturating_sub(earned);
            self.counted_at = now;
        }
        let allowed = self.used < most;
        self.used += u16::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(limit: &mut FlowLimit, flow: u32, count: u32, now: Time) -> u32 {
        (0..count).map(|_| u32::from(limit.allow(flow, now))).sum()
    }

    #[test]
    fn a_flooded_flow_starves_no_other() {
        let mut limit = FlowLimit::new(RandomState::with_seeds(1, 2, 3, 4));
        let now = Time::from_ms(5_000_000_000);
        let most = 2 * u32::from(PER_FLOW);
        assert_eq!(allowed(&mut limit, 0, 100_000, now), most);
        for flow in 1..1000 {
            assert!(limit.allow(flow, now), "{flow}");
        }
        assert_eq!(allowed(&mut limit, 0, 100, now.plus_ms(500)), most / 2);
        assert_eq!(allowed(&mut limit, 0, 100, now.plus_ms(10_000)), most);
    }

    #[test]
    fn invented_flows_leave_room_for_others() {
        let mut limit = FlowLimit::new(RandomState::with_seeds(1, 2, 3, 4));
        let now = Time::from_ms(7);
        for flow in 0..12_000 {
            limit.allow(flow, now);
        }
        assert_eq!(
            (20_000..20_100)
                .filter(|flow| limit.allow(flow, now))
                .count(),
            100
        );
    }
}
