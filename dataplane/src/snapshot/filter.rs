//! A set of addresses that says no at once: whatever is not in it need not be looked up.
//! What is in it, and by whom, is known elsewhere; it only counts.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::chunked::Chunked;
use crate::flow::{Address, V4, V6};

/// A power of two: 4 KiB, so that it stays in the first cache.
const BITS: usize = 1 << 15;

/// A bit per address, by a hash of it. Two addresses may share a bit: a wrong yes only costs the look.
///
/// Packets read the bits. The control thread also counts the addresses behind each bit, so that the
/// bit is cleared with the last of them: real servers come and go for as long as the process lives.
#[derive(Debug, Clone)]
pub(super) struct AddressFilter {
    bits: Arc<[u64; BITS / 64]>,
    /// By bit: how many addresses set it. Shared in parts, since a change touches one.
    counts: Chunked<u32>,
    /// Networks in the set, each of more than one address. With one, every bit is set.
    networks: u32,
}

/// The bit of an address.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "shifted down to 15 bits")]
const fn bit_of([high, low]: [u64; 2]) -> u32 {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(GOLDEN_RATIO);
    (mixed >> (u64::BITS - BITS.ilog2())) as u32
}

/// The word of a bit, and its mask therein.
#[inline]
const fn place(bit: u32) -> (usize, u64) {
    (bit as usize / 64, 1 << (bit % 64))
}

fn bit_of_ip(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => bit_of(V4::from(address).words()),
        IpAddr::V6(address) => bit_of(V6::from(address).words()),
    }
}

impl AddressFilter {
    pub(super) fn new() -> Self {
        let mut counts = Chunked::default();
        counts.grow(BITS, || 0);
        Self {
            bits: Arc::new([0; BITS / 64]),
            counts,
            networks: 0,
        }
    }

    /// Whether the address may be in the set. Never wrong if it says no.
    #[inline]
    pub(super) fn may_have(&self, address: impl Address) -> bool {
        let (word, mask) = place(bit_of(address.words()));
        self.bits.get(word).is_some_and(|bits| bits & mask != 0)
    }

    /// The same for an address of either family.
    #[inline]
    pub(super) fn may_have_ip(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.may_have(V4::from(address)),
            IpAddr::V6(address) => self.may_have(V6::from(address)),
        }
    }

    /// Puts an address into the set, once more if it is there.
    pub(super) fn add(&mut self, address: IpAddr) {
        let bit = bit_of_ip(address);
        if let Some(count) = self.counts.get_mut(bit) {
            *count += 1;
        }
        let (word, mask) = place(bit);
        if self.bits.get(word).is_some_and(|bits| bits & mask == 0)
            && let Some(bits) = Arc::make_mut(&mut self.bits).get_mut(word)
        {
            *bits |= mask;
        }
    }

    /// Takes an address out that was put in, once.
    pub(super) fn remove(&mut self, address: IpAddr) {
        let bit = bit_of_ip(address);
        let Some(count) = self.counts.get_mut(bit) else {
            return;
        };
        *count = count.saturating_sub(1);
        let (word, mask) = place(bit);
        if *count == 0
            && self.networks == 0
            && let Some(bits) = Arc::make_mut(&mut self.bits).get_mut(word)
        {
            *bits &= !mask;
        }
    }

    /// Puts the addresses of a network into the set: all there are, unless it is one address.
    pub(super) fn add_network(&mut self, network: &IpNet) {
        if is_one_address(network) {
            self.add(network.addr());
            return;
        }
        self.networks += 1;
        if self.networks == 1 {
            self.bits = Arc::new([u64::MAX; BITS / 64]);
        }
    }

    /// Takes a network out that was put in, once.
    pub(super) fn remove_network(&mut self, network: &IpNet) {
        if is_one_address(network) {
            self.remove(network.addr());
            return;
        }
        self.networks = self.networks.saturating_sub(1);
        if self.networks == 0 {
            let mut bits = [0; BITS / 64];
            for (bit, _) in (0..)
                .zip(self.counts.iter())
                .filter(|(_, count)| **count > 0)
            {
                let (word, mask) = place(bit);
                if let Some(bits) = bits.get_mut(word) {
                    *bits |= mask;
                }
            }
            self.bits = Arc::new(bits);
        }
    }
}

fn is_one_address(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn inside() -> Vec<IpAddr> {
        (0..100_u32)
            .map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number * 7).into())
            .chain([ip("2001:db8::1"), ip("2001:db8:0:1::1")])
            .collect()
    }

    /// Of ten thousand addresses that were never put in, those that are not denied.
    fn wrong(filter: &AddressFilter) -> usize {
        let outside = (0..10_000_u32).map(|number| V4(0xc000_0000 + number));
        outside.filter(|address| filter.may_have(*address)).count()
    }

    #[test]
    fn what_was_put_in_is_never_denied_and_most_else_is() {
        let mut filter = AddressFilter::new();
        for address in inside() {
            filter.add(address);
        }
        assert!(inside().iter().all(|address| filter.may_have_ip(*address)));
        assert!(wrong(&filter) < 100, "{}", wrong(&filter));
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

    #[test]
    fn what_has_gone_leaves_nothing_and_what_stays_is_never_denied() {
        let mut filter = AddressFilter::new();
        let network = "198.51.100.0/24".parse().unwrap();
        for address in inside() {
            filter.add(address);
        }
        for round in 0..10 {
            filter.add_network(&network);
            let passing = |number| ip(&format!("203.0.{}.{}", number / 250, number % 250));
            (0..3000).for_each(|number| filter.add(passing(number)));
            assert_eq!(wrong(&filter), 10_000, "a network is in it");
            (0..3000).for_each(|number| filter.remove(passing(number)));
            filter.remove_network(&network);
            assert!(inside().iter().all(|address| filter.may_have_ip(*address)));
            assert!(wrong(&filter) < 100, "{round}: {}", wrong(&filter));
        }
        let mut twice = AddressFilter::new();
        twice.add(ip("192.0.2.1"));
        twice.add(ip("192.0.2.1"));
        twice.remove(ip("192.0.2.1"));
        assert!(twice.may_have_ip(ip("192.0.2.1")));
        twice.remove(ip("192.0.2.1"));
        assert!(!twice.may_have_ip(ip("192.0.2.1")));
    }
}
