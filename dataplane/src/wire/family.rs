//! What differs between IPv4 and IPv6 when a header is rewritten.
//! Slices begin at the IP header; one that is too short is left as it is.

use std::net::IpAddr;

use super::checksum::Delta;
use super::{ipv4, ipv6};
use crate::wire::address::{Address, Addresses, V4, V6};

/// An address family's rewrites.
pub trait Family: Address {
    /// Length of an IP header without options or extension headers.
    const HEADER_BYTES: usize;
    /// The address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;
    /// Source and destination, if they are of this family.
    fn pair(addresses: Addresses) -> Option<(Self, Self)>;
    /// The addresses of a packet.
    fn addresses(source: Self, destination: Self) -> Addresses;
    /// The address, if it is IPv4's.
    fn as_v4(self) -> Option<V4>;
    /// What a transport checksum changes by when an address under it changes.
    fn delta(old: Self, new: Self) -> Delta;
    /// Sets the source address, and brings the header checksum up to date.
    fn set_source(ip: &mut [u8], old: Self, new: Self);
    /// Sets the destination address, and brings the header checksum up to date.
    fn set_destination(ip: &mut [u8], old: Self, new: Self);
    /// Takes one hop off TTL or hop limit.
    fn decrement_ttl(ip: &mut [u8]);
}

impl Family for V4 {
    const HEADER_BYTES: usize = ipv4::HEADER_BYTES;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address.into()),
            IpAddr::V6(_) => None,
        }
    }

    fn pair(addresses: Addresses) -> Option<(Self, Self)> {
        match addresses {
            Addresses::V4 {
                source,
                destination,
            } => Some((source, destination)),
            Addresses::V6 { .. } => None,
        }
    }

    fn addresses(source: Self, destination: Self) -> Addresses {
        Addresses::V4 {
            source,
            destination,
        }
    }

    #[inline(always)]
    fn as_v4(self) -> Option<V4> {
        Some(self)
    }

    #[inline(always)]
    fn delta(old: Self, new: Self) -> Delta {
        Delta::NONE.v4(old, new)
    }

    #[inline(always)]
    fn set_source(ip: &mut [u8], old: Self, new: Self) {
        if let Some(mut header) = ipv4::Header::new_mut(ip) {
            header.set_source(new);
            header.update_checksum(Self::delta(old, new));
        }
    }

    #[inline(always)]
    fn set_destination(ip: &mut [u8], old: Self, new: Self) {
        if let Some(mut header) = ipv4::Header::new_mut(ip) {
            header.set_destination(new);
            header.update_checksum(Self::delta(old, new));
        }
    }

    #[inline(always)]
    fn decrement_ttl(ip: &mut [u8]) {
        if let Some(mut header) = ipv4::Header::new_mut(ip) {
            header.decrement_ttl();
        }
    }
}

impl Family for V6 {
    const HEADER_BYTES: usize = ipv6::HEADER_BYTES;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.into()),
        }
    }

    fn pair(addresses: Addresses) -> Option<(Self, Self)> {
        match addresses {
            Addresses::V4 { .. } => None,
            Addresses::V6 {
                source,
                destination,
            } => Some((source, destination)),
        }
    }

    fn addresses(source: Self, destination: Self) -> Addresses {
        Addresses::V6 {
            source,
            destination,
        }
    }

    #[inline(always)]
    fn as_v4(self) -> Option<V4> {
        None
    }

    #[inline(always)]
    fn delta(old: Self, new: Self) -> Delta {
        Delta::NONE.v6(old, new)
    }

    #[inline(always)]
    fn set_source(ip: &mut [u8], _: Self, new: Self) {
        if let Some(mut header) = ipv6::Header::new_mut(ip) {
            header.set_source(new);
        }
    }

    #[inline(always)]
    fn set_destination(ip: &mut [u8], _: Self, new: Self) {
        if let Some(mut header) = ipv6::Header::new_mut(ip) {
            header.set_destination(new);
        }
    }

    #[inline(always)]
    fn decrement_ttl(ip: &mut [u8]) {
        if let Some(mut header) = ipv6::Header::new_mut(ip) {
            header.decrement_hop_limit();
        }
    }
}
