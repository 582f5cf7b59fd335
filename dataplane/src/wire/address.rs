//! IP addresses of one family each, in host order, and those of a packet.
//! What an address is for is not known here.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// An IP address of one family, so that tables of IPv4 sessions do not pay for IPv6's width.
pub trait Address: Copy + Eq + Hash + fmt::Debug + Into<IpAddr> + Default {
    /// The address as words for a keyed hash.
    fn words(self) -> [u64; 2];
    /// The address with all but its first `bits` bits cleared.
    #[must_use]
    fn network(self, bits: u8) -> Self;
    /// The address under which IPVS files what is of a firewall mark and of no address.
    #[must_use]
    fn of_mark(mark: u32) -> Self;
}

/// An IPv4 address as a host-order number.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    PartialOrd,
    Ord,
    FromBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct V4(pub u32);

/// An IPv6 address as two host-order halves, high half first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    PartialOrd,
    Ord,
    FromBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct V6(pub [u64; 2]);

impl Address for V4 {
    fn words(self) -> [u64; 2] {
        [u64::from(self.0), 0]
    }

    fn network(self, bits: u8) -> Self {
        let host_bits = 32_u32.saturating_sub(bits.into());
        Self(self.0 & u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }

    fn of_mark(mark: u32) -> Self {
        Self(mark)
    }
}

impl Address for V6 {
    fn words(self) -> [u64; 2] {
        self.0
    }

    fn network(self, bits: u8) -> Self {
        let mask = |bits: u32| u64::MAX.checked_shl(64 - bits).unwrap_or(0);
        let bits = u32::from(bits);
        let [high, low] = self.0;
        Self([
            high & mask(bits.min(64)),
            low & mask(bits.saturating_sub(64).min(64)),
        ])
    }

    // Its first 32 bits: IPVS writes an IPv4 address into the place of both families.
    fn of_mark(mark: u32) -> Self {
        Self([u64::from(mark) << 32, 0])
    }
}

impl From<V4> for IpAddr {
    fn from(address: V4) -> Self {
        Self::V4(Ipv4Addr::from_bits(address.0))
    }
}

impl From<V6> for IpAddr {
    fn from(address: V6) -> Self {
        let [high, low] = address.0;
        Self::V6(Ipv6Addr::from_bits(
            u128::from(high) << 64 | u128::from(low),
        ))
    }
}

impl From<Ipv4Addr> for V4 {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.to_bits())
    }
}

impl From<Ipv6Addr> for V6 {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
    fn from(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        Self([(bits >> 64) as u64, bits as u64])
    }
}

/// The addresses of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// The sender.
        source: V4,
        /// The receiver.
        destination: V4,
    },
    /// IPv6.
    V6 {
        /// The sender.
        source: V6,
        /// The receiver.
        destination: V6,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_bits_that_ipnet_says() {
        let v4: Ipv4Addr = "198.51.100.255".parse().unwrap();
        for bits in 0..=32 {
            let expected = ipnet::Ipv4Net::new(v4, bits).unwrap().network();
            assert_eq!(V4::from(v4).network(bits), expected.into(), "{bits}");
        }
        let v6: Ipv6Addr = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        for bits in 0..=128 {
            let expected = ipnet::Ipv6Net::new(v6, bits).unwrap().network();
            assert_eq!(V6::from(v6).network(bits), expected.into(), "{bits}");
        }
        assert_eq!(V4(7).network(128), V4(7));
    }
}
