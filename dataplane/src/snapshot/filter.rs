//! A set of addresses that says no at once: whatever is not in it need not be looked up.
//! What is in it, and whether it still is, is known elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::flow::{Address, V4, V6};

/// A power of two: 4 KiB, so that it stays in the first cache.
const BITS: usize = 1 << 15;

/// A bit per address, by a hash of it. Bits are never cleared: a wrong answer only costs the look.
#[derive(Debug, Clone)]
pub(super) struct AddressFilter(Arc<[u64; BITS / 64]>);

/// The word and the bit of an address.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "shifted down to 15 bits")]
const fn place([high, low]: [u64; 2]) -> (usize, u64) {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(GOLDEN_RATIO);
    let bit = (mixed >> (u64::BITS - BITS.ilog2())) as usize;
    (bit / 64, 1 << (bit % 64))
}

impl AddressFilter {
    pub(super) fn new() -> Self {
        Self(Arc::new([0; BITS / 64]))
    }

    /// Whether the address may be in the set. Never wrong if it says no.
    #[inline]
    pub(super) fn may_have(&self, address: impl Address) -> bool {
        let (word, bit) = place(address.words());
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// The same for an address of either family.
    #[inline]
    pub(super) fn may_have_ip(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.may_have(V4::from(address)),
            IpAddr::V6(address) => self.may_have(V6::from(address)),
        }
    }

    /// Puts an address into the set.
    pub(super) fn add(&mut self, address: IpAddr) {
        if self.may_have_ip(address) {
            return;
        }
        let (word, bit) = match address {
            IpAddr::V4(address) => place(V4::from(address).words()),
            IpAddr::V6(address) => place(V6::from(address).words()),
        };
        if let Some(bits) = Arc::make_mut(&mut self.0).get_mut(word) {
            *bits |= bit;
        }
    }

    /// Puts the addresses of a network into the set: all there are, unless it is one address.
    pub(super) fn add_network(&mut self, network: &IpNet) {
        if network.prefix_len() == network.max_prefix_len() {
            self.add(network.addr());
        } else if self.0.iter().any(|bits| *bits != u64::MAX) {
            self.0 = Arc::new([u64::MAX; BITS / 64]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_put_in_is_never_denied_and_most_else_is() {
        let mut filter = AddressFilter::new();
        let inside: Vec<IpAddr> = (0..100_u32)
            .map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number * 7).into())
            .chain([ip("2001:db8::1"), ip("2001:db8:0:1::1")])
            .collect();
        for address in &inside {
            filter.add(*address);
        }
        assert!(inside.iter().all(|address| filter.may_have_ip(*address)));
        let outside = (0..10_000_u32).map(|number| V4(0xc000_0000 + number));
        let wrong = outside.filter(|address| filter.may_have(*address)).count();
        assert!(wrong < 100, "{wrong}");
    }

    #[test]
    fn a_network_is_not_denied_and_an_older_copy_does_not_change() {
        let mut filter = AddressFilter::new();
        filter.add_network(&"192.0.2.1/32".parse().unwrap());
        let older = filter.clone();
        filter.add_network(&"198.51.100.0/24".parse().unwrap());
        assert!(filter.may_have_ip(ip("198.51.100.200")));
        assert!(older.may_have_ip(ip("192.0.2.1")));
        assert!(!older.may_have_ip(ip("198.51.100.200")));
    }
}
