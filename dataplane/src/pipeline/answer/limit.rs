//! How many messages of a kind one worker sends, passes on or searches for: token buckets.
//! What is done with the others is decided where a bucket is asked.

use std::hash::Hash;

use ahash::RandomState;

use crate::time::Time;

/// Messages of one kind per second at most, and at once (Linux `icmp_msgs_per_sec`, 1000).
const PER_SECOND: u64 = 1000;

/// Packets per second, other than ICMP errors, that one worker searches for on others, and at once: each costs a few of
/// them less than a microsecond. Errors are limited by [`FlowLimit`] alone.
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
    /// So many per second, and at once: a multiple of 1000.
    pub(crate) fn new(per_second: u64) -> Self {
        Self {
            per_second,
            tokens: per_second,
            filled_at: Time::default(),
        }
    }

    pub(crate) fn allow(&mut self, now: Time) -> bool {
        // A token or more each millisecond.
        let earned = now.ms_since(self.filled_at) * self.per_second / 1000;
        self.tokens = (self.tokens + earned).min(self.per_second);
        self.filled_at = self.filled_at.max(now);
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

/// All limits on what one worker says about sessions and packets.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Over the errors and resets made here.
    pub(crate) made: MadeHere,
    /// Over the errors about sessions that are passed on, by session.
    pub(crate) relayed: FlowLimit,
}

impl Limits {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self {
            made: MadeHere::default(),
            relayed: FlowLimit::new(hasher),
        }
    }
}

/// The limits on the errors and resets that one worker makes, a bucket for each kind, so that a flood
/// that causes one kind does not switch off another.
///
/// "Fragmentation needed" and "packet too big" have none: path MTU discovery stops without them. Linux
/// exempts both (`icmpv4_mask_allow`; the default of `net.ipv6.icmp.ratemask`). They are no amplification:
/// each answers one packet that was larger than it.
#[derive(Debug, Default)]
pub(crate) struct MadeHere {
    /// TCP resets.
    pub(crate) resets: ErrorLimit,
    /// Ports, protocols and hosts that are unreachable.
    pub(crate) unreachable: ErrorLimit,
    /// Hops or time for reassembly that ran out.
    pub(crate) exceeded: ErrorLimit,
    /// Sessions begun by an error about one (IPVS: `schedule_icmp`).
    pub(crate) begun: ErrorLimit,
}

/// Messages per flow and second, and at once.
const PER_FLOW: u16 = 16;
/// A power of two. Many more than flows that are flooded with errors at one time.
const BUCKETS: usize = 4096;

/// A limit for each flow: a fixed array of token buckets, two per flow.
///
/// Each flow may use either of its two, which a keyed hash chooses. A flooded flow empties both of its
/// own; another is only held up if both of its buckets are among the emptied ones.
#[derive(Debug)]
pub(crate) struct FlowLimit {
    per_bucket: u16,
    buckets: Box<[Bucket]>,
    hasher: RandomState,
}

/// Room for as many tokens as are earned in a second.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Tokens taken and not yet earned back.
    used: u16,
    /// When they were last counted, in ms, modulo 2^32.
    counted_at: u32,
}

impl FlowLimit {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self::of(PER_FLOW, hasher)
    }

    /// A limit for whatever `allow` is given, of twice so many per second.
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
