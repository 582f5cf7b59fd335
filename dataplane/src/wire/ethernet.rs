//! Ethernet II: the 14-byte header (RFC 894). VLAN tags are in `vlan.rs`.
//! MAC addresses are in `mac.rs`.

use std::borrow::{Borrow, BorrowMut};

use super::field::Field;
use super::mac::Mac;
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

const ADDRESSES: Field<0, 12> = Field;
const DESTINATION: Field<0, 6> = Field;
const SOURCE: Field<6, 6> = Field;
const ETHER_TYPE: Field<12, 2> = Field;

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

/// Receiver and sender as they stand in a header, to be written often.
#[inline]
#[must_use]
pub const fn addresses(destination: Mac, source: Mac) -> [u8; 12] {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination.0, source.0);
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Writes [`addresses`], and leaves what follows as it is.
#[inline]
pub fn write_addresses(out: &mut [u8; HEADER_BYTES], addresses: &[u8; 12]) {
    ADDRESSES.set_array(out, *addresses);
}

/// Writes a whole header with [`addresses`].
#[inline]
pub fn write_with_addresses(out: &mut [u8; HEADER_BYTES], addresses: &[u8; 12], ether_type: u16) {
    ADDRESSES.set_array(out, *addresses);
    ETHER_TYPE.set(out, ether_type);
}

/// Writes a whole header.
#[inline]
pub fn write_header(out: &mut [u8; HEADER_BYTES], destination: Mac, source: Mac, ether_type: u16) {
    DESTINATION.set(out, destination);
    SOURCE.set(out, source);
    ETHER_TYPE.set(out, ether_type);
}
