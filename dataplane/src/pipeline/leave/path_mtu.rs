//! Path MTUs of tunnels, learnt from ICMP errors that routers on the path to real servers have sent.
//! Which errors are trusted is decided in `tunnel_errors.rs`.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::time::Time;
use crate::wire::ipv6;

/// How long a path MTU is used before larger packets are tried again (RFC 1191 section 6.3; Linux's `mtu_expires`).
const LIFETIME_MS: u64 = 600_000;
/// The most real servers whose path MTU is stored.
const CAPACITY: usize = 4096;
/// The smallest path MTU of IPv4 that is used. Every host accepts datagrams of this size (RFC 1122 section 3.3.3), and
/// a forged error can do little harm with it.
const MIN_V4: u16 = 576;
/// The smallest MTU of an IPv4 link (RFC 791).
const MIN_V4_LINK: u32 = 68;
/// Common MTUs, for errors that do not state one (RFC 1191 section 7.1).
const PLATEAUS: [u16; 7] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006];

#[derive(Debug, Clone, Copy)]
struct Learnt {
    mtu: u16,
    until: Time,
}

/// One worker's path MTUs, by the real server's address.
#[derive(Debug)]
pub(crate) struct PathMtus {
    learnt: HashMap<IpAddr, Learnt, RandomState>,
    changes: u64,
}

impl PathMtus {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self {
            learnt: HashMap::with_hasher(hasher),
            changes: 0,
        }
    }

    /// The number of reductions of a path MTU so far.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The path MTU to `real`. `link` is the MTU of the first link.
    #[inline]
    pub(crate) fn limit(&mut self, real: IpAddr, link: u16, now: Time) -> u16 {
        if self.learnt.is_empty() {
            return link;
        }
        self.learnt(real, now).map_or(link, |mtu| mtu.min(link))
    }

    fn learnt(&mut self, real: IpAddr, now: Time) -> Option<u16> {
        let learnt = *self.learnt.get(&real)?;
        if learnt.until <= now {
            self.learnt.remove(&real);
            return None;
        }
        Some(learnt.mtu)
    }

    /// Handles a router's statement about the path MTU to `real`. `link` is the MTU of the first link. Returns the new
    /// path MTU; `None` if it is not smaller than before.
    pub(crate) fn learn(&mut self, real: IpAddr, told: u32, link: u16, now: Time) -> Option<u16> {
        let mtu = believable(real, told)?;
        if mtu >= self.limit(real, link, now) {
            return None;
        }
        self.note(real, mtu, now);
        Some(mtu)
    }

    /// Stores a path MTU that this worker or another one has accepted.
    pub(crate) fn note(&mut self, real: IpAddr, mtu: u16, now: Time) {
        if self.learnt.len() >= CAPACITY {
            self.learnt.retain(|_, learnt| learnt.until > now);
        }
        if self.learnt.len() < CAPACITY || self.learnt.contains_key(&real) {
            let until = now.plus_ms(LIFETIME_MS);
            self.learnt.insert(real, Learnt { mtu, until });
            self.changes += 1;
        }
    }
}

/// The path MTU that is used for a router's statement; `None` if it is ignored. IPv6 does not allow less than 1280 (RFC
/// 8201 section 4).
fn believable(real: IpAddr, told: u32) -> Option<u16> {
    let mtu = u16::try_from(told).unwrap_or(u16::MAX);
    match real {
        IpAddr::V4(_) => (told >= MIN_V4_LINK).then_some(mtu.max(MIN_V4)),
        IpAddr::V6(_) => (usize::from(mtu) >= ipv6::MIN_MTU_BYTES).then_some(mtu),
    }
}

/// The path MTU to try when an error about a datagram of `length` bytes does not state one.
pub(crate) fn plateau_below(length: u16) -> u16 {
    let lower = PLATEAUS.into_iter().find(|mtu| *mtu < length);
    lower.unwrap_or(MIN_V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: u16 = 1500;

    fn real(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn empty() -> PathMtus {
        PathMtus::new(RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn a_path_is_as_narrow_as_told_for_ten_minutes() {
        let mut mtus = empty();
        let (one, other) = (real("10.0.0.1"), real("10.0.0.2"));
        let start = Time::from_ms(5);
        assert_eq!(mtus.learn(one, 1300, LINK, start), Some(1300));
        assert_eq!(mtus.limit(one, LINK, start), 1300);
        assert_eq!(mtus.limit(one, 1200, start), 1200);
        assert_eq!(mtus.limit(other, LINK, start), LINK);
        let last = start.plus_ms(LIFETIME_MS - 1);
        assert_eq!(mtus.limit(one, LINK, last), 1300);
        assert_eq!(mtus.limit(one, LINK, last.plus_ms(1)), LINK);
        assert!(mtus.learnt.is_empty());
    }

    #[test]
    fn only_what_is_narrower_is_news_and_absurd_values_are_not_believed() {
        let now = Time::from_ms(0);
        for (address, told, learnt) in [
            ("10.0.0.1", 1500, None),
            ("10.0.0.1", 70_000, None),
            ("10.0.0.1", 1499, Some(1499)),
            ("10.0.0.1", 100, Some(576)),
            ("10.0.0.1", 67, None),
            ("10.0.0.1", 0, None),
            ("2001:db8::1", 1280, Some(1280)),
            ("2001:db8::1", 1279, None),
            ("2001:db8::1", u32::MAX, None),
        ] {
            let mut mtus = empty();
            assert_eq!(mtus.learn(real(address), told, LINK, now), learnt, "{told}");
        }
        let mut mtus = empty();
        let one = real("10.0.0.1");
        mtus.learn(one, 1300, LINK, now);
        assert_eq!(mtus.learn(one, 1400, LINK, now), None);
        assert_eq!(mtus.limit(one, LINK, now), 1300);
    }

    #[test]
    fn memory_is_bounded_and_what_has_expired_makes_room() {
        let mut mtus = empty();
        let now = Time::from_ms(0);
        let numbered = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..5000 {
            mtus.learn(numbered(number), 1300, LINK, now);
        }
        assert_eq!(mtus.learnt.len(), CAPACITY);
        assert_eq!(mtus.limit(numbered(4999), LINK, now), LINK);
        let later = now.plus_ms(LIFETIME_MS);
        mtus.learn(numbered(4999), 1300, LINK, later);
        assert_eq!(
            (mtus.learnt.len(), mtus.limit(numbered(4999), LINK, later)),
            (1, 1300)
        );
    }

    #[test]
    fn a_router_that_does_not_say_what_fits_is_answered_by_the_next_common_size() {
        for (length, next) in [(1500, 1492), (1492, 1006), (1006, 576), (65_535, 32_000)] {
            assert_eq!(plateau_below(length), next);
        }
    }
}
