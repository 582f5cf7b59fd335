//! Ethernet II: the MAC address and the 14-byte header (RFC 894). VLAN tags are in `vlan.rs`.
//! Whose MAC address it is is not decided here.

use std::borrow::{Borrow, BorrowMut};
use std::fmt;
use std::str::FromStr;

use super::field::Field;
use super::view;

#[cfg(test)]
mod tests;

/// Length of the header.
pub const HEADER_BYTES: usize = 14;
/// Shortest frame on the wire, without FCS; shorter ones are padded by the NIC or by us.
pub const MIN_FRAME_BYTES: usize = 60;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an IEEE 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of an IEEE 802.1ad service tag.
pub const SERVICE_VLAN: u16 = 0x88a8;

const DESTINATION: Field<0, 6> = Field;
const SOURCE: Field<6, 6> = Field;
const ETHER_TYPE: Field<12, 2> = Field;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it names a group (multicast or broadcast) rather than one station.
    #[inline]
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it is the address of everyone.
    #[inline]
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        matches!(self, Self::BROADCAST)
    }

    /// Whether it can be a station's address: neither a group's nor zero.
    #[inline]
    #[must_use]
    pub const fn is_station(self) -> bool {
        !self.is_group() && !matches!(self, Self::ZERO)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not a MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: expected six bytes in hexadecimal, as in 02:00:00:00:00:0b")]
pub struct InvalidMac;

impl FromStr for Mac {
    type Err = InvalidMac;

    /// Six groups of one or two hexadecimal digits, separated by `:` or all by `-`.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut groups = text.split(separator);
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let group = groups.next().ok_or(InvalidMac)?;
            // `from_str_radix` would take a sign as well.
            let is_hex = group.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !is_hex || group.len() > 2 {
                return Err(InvalidMac);
            }
            *byte = u8::from_str_radix(group, 16).map_err(|_| InvalidMac)?;
        }
        match groups.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(InvalidMac),
        }
    }
}

view! {
    /// The 14 bytes in front of every frame.
    Header, HEADER_BYTES
}

impl<B: Borrow<[u8; HEADER_BYTES]>> Header<B> {
    /// The receiver.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Mac {
        DESTINATION.get(self.bytes())
    }

    /// The sender.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Mac {
        SOURCE.get(self.bytes())
    }

    /// What follows; below 0x0600 it is a length (IEEE 802.3).
    #[inline]
    #[must_use]
    pub fn ether_type(&self) -> u16 {
        ETHER_TYPE.get(self.bytes())
    }
}

impl<B: BorrowMut<[u8; HEADER_BYTES]>> Header<B> {
    /// Sets the receiver.
    #[inline]
    pub fn set_destination(&mut self, mac: Mac) {
        DESTINATION.set(self.bytes_mut(), mac);
    }

    /// Sets the sender.
    #[inline]
    pub fn set_source(&mut self, mac: Mac) {
        SOURCE.set(self.bytes_mut(), mac);
    }

    /// Sets what follows.
    #[inline]
    pub fn set_ether_type(&mut self, ether_type: u16) {
        ETHER_TYPE.set(self.bytes_mut(), ether_type);
    }
}

/// Writes receiver and sender, and leaves what follows as it is.
#[inline]
pub fn write_addresses(out: &mut [u8; HEADER_BYTES], destination: Mac, source: Mac) {
    DESTINATION.set(out, destination);
    SOURCE.set(out, source);
}

/// Writes a whole header.
#[inline]
pub fn write_header(out: &mut [u8; HEADER_BYTES], destination: Mac, source: Mac, ether_type: u16) {
    DESTINATION.set(out, destination);
    SOURCE.set(out, source);
    ETHER_TYPE.set(out, ether_type);
}
