//! The IPv4 header: RFC 791.
//! Whether a header is acceptable is decided in `parse.rs`.

use std::borrow::{Borrow, BorrowMut};

use super::checksum::{self, Delta, Sum};
use super::field::Field;
use super::view;
use crate::wire::address::V4;

#[cfg(test)]
mod tests;

/// Length of a header without options.
pub const HEADER_BYTES: usize = 20;
/// Length of a header with as many options as fit.
pub const MAX_HEADER_BYTES: usize = 60;
/// Largest datagram.
pub const MAX_DATAGRAM_BYTES: usize = 65_535;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of IPv4 in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;

/// "Don't fragment" in the flags' word.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in the flags' word.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment's offset in the flags' word, in units of eight bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// Option: its end (RFC 791).
const END_OF_OPTIONS: u8 = 0;
/// Option: nothing, one byte.
const NO_OPERATION: u8 = 1;
/// Options: loose and strict source route.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// Whether a source route is among the options of a header, which begins and ends with `header`. What follows
/// a malformed option is not looked at, as no host does.
#[cold]
#[must_use]
pub fn has_source_route(header: &[u8]) -> bool {
    let mut options = header.get(HEADER_BYTES..).unwrap_or_default();
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END_OF_OPTIONS => return false,
            NO_OPERATION => rest,
            kind if SOURCE_ROUTES.contains(&kind) => return true,
            _ => {
                let length = rest.first().map_or(0, |length| usize::from(*length));
                match options.get(length..) {
                    Some(behind) if length >= 2 => behind,
                    _ => return false,
                }
            }
        };
    }
    false
}

const VERSION_IHL: Field<0, 1> = Field;
const TOS: Field<1, 1> = Field;
const TOTAL_LENGTH: Field<2, 2> = Field;
const ID: Field<4, 2> = Field;
const FLAGS: Field<6, 2> = Field;
const TTL: Field<8, 1> = Field;
const PROTOCOL: Field<9, 1> = Field;
const CHECKSUM: Field<10, 2> = Field;
const SOURCE: Field<12, 4> = Field;
const DESTINATION: Field<16, 4> = Field;

view! {
    /// The first 20 bytes of a header; options may follow.
    Header, HEADER_BYTES
}

impl<B: Borrow<[u8; HEADER_BYTES]>> Header<B> {
    /// The version, 4 if it is one.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        VERSION_IHL.get(self.bytes()) >> 4
    }

    /// The header's length with options, as stated: 0 to 60.
    #[inline]
    #[must_use]
    pub fn header_bytes(&self) -> u8 {
        (VERSION_IHL.get(self.bytes()) & 0x0f) * 4
    }

    /// Type of service: DSCP and ECN.
    #[inline]
    #[must_use]
    pub fn tos(&self) -> u8 {
        TOS.get(self.bytes())
    }

    /// The datagram's length, header included, as stated.
    #[inline]
    #[must_use]
    pub fn total_length(&self) -> u16 {
        TOTAL_LENGTH.get(self.bytes())
    }

    /// The datagram's identification, which its fragments share.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u16 {
        ID.get(self.bytes())
    }

    /// The word of flags and fragment offset.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u16 {
        FLAGS.get(self.bytes())
    }

    /// Whether it must not be fragmented.
    #[inline]
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.flags() & DONT_FRAGMENT != 0
    }

    /// Whether it is a fragment and not the last one.
    #[inline]
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        self.flags() & MORE_FRAGMENTS != 0
    }

    /// Where a fragment belongs in its datagram's payload, in bytes.
    #[inline]
    #[must_use]
    pub fn offset_bytes(&self) -> u16 {
        (self.flags() & OFFSET_MASK) << 3
    }

    /// Whether it is a piece of a larger datagram.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.flags() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Whether it is version 4, has no options, and is no piece of a larger datagram.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        VERSION_IHL.get(self.bytes()) == 0x45 && !self.is_fragment()
    }

    /// Hops left.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> u8 {
        TTL.get(self.bytes())
    }

    /// The number of the protocol above.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        PROTOCOL.get(self.bytes())
    }

    /// The header checksum.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        CHECKSUM.get(self.bytes())
    }

    /// The sender.
    #[inline]
    #[must_use]
    pub fn source(&self) -> V4 {
        SOURCE.get_v4(self.bytes())
    }

    /// The receiver.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> V4 {
        DESTINATION.get_v4(self.bytes())
    }

    /// Whether the checksum of a header without options is right.
    #[inline]
    #[must_use]
    pub fn is_intact(&self) -> bool {
        checksum::is_intact(self.bytes())
    }
}

/// Setters leave the checksum alone unless they say otherwise.
impl<B: BorrowMut<[u8; HEADER_BYTES]>> Header<B> {
    /// Sets the type of service.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        TOS.set(self.bytes_mut(), tos);
    }

    /// Sets the datagram's length.
    #[inline]
    pub fn set_total_length(&mut self, bytes: u16) {
        TOTAL_LENGTH.set(self.bytes_mut(), bytes);
    }

    /// Sets the identification.
    #[inline]
    pub fn set_id(&mut self, id: u16) {
        ID.set(self.bytes_mut(), id);
    }

    /// Sets the word of flags and fragment offset.
    #[inline]
    pub fn set_flags(&mut self, flags: u16) {
        FLAGS.set(self.bytes_mut(), flags);
    }

    /// Sets the hops left.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        TTL.set(self.bytes_mut(), ttl);
    }

    /// Sets the protocol above.
    #[inline]
    pub fn set_protocol(&mut self, protocol: u8) {
        PROTOCOL.set(self.bytes_mut(), protocol);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        CHECKSUM.set(self.bytes_mut(), checksum);
    }

    /// Sets the sender.
    #[inline]
    pub fn set_source(&mut self, address: V4) {
        SOURCE.set_v4(self.bytes_mut(), address);
    }

    /// Sets the receiver.
    #[inline]
    pub fn set_destination(&mut self, address: V4) {
        DESTINATION.set_v4(self.bytes_mut(), address);
    }

    /// Brings the checksum up to date with a change that was or will be made.
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        let checksum = delta.apply(self.checksum());
        self.set_checksum(checksum);
    }

    /// Takes one hop off, if any is left, and brings the checksum up to date.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        /// The TTL is the first byte of its word. In which order bytes are added does not matter (RFC 1071 section 2).
        const HOP: u16 = u16::from_ne_bytes([1, 0]);
        let Some(new) = TTL.get(self.bytes()).checked_sub(1) else {
            return;
        };
        TTL.set(self.bytes_mut(), new);
        // What RFC 1624 equation 3 comes to: the checksum grows by as much, and is never 0xffff.
        let old = u16::from_ne_bytes(CHECKSUM.array(self.bytes()));
        let (sum, carry) = old.overflowing_add(HOP);
        let wraps = carry || sum == u16::MAX;
        let new = sum.wrapping_add(u16::from(wraps));
        CHECKSUM.set_array(self.bytes_mut(), new.to_ne_bytes());
    }
}

/// The checksum that belongs into `header`, options included, whatever its checksum field holds.
#[must_use]
pub fn header_checksum(header: &[u8]) -> u16 {
    let present = header
        .first_chunk::<HEADER_BYTES>()
        .map_or(0, |fixed| CHECKSUM.get(fixed));
    Sum::of(header).u16(!present).finish()
}

/// What goes into a new header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The sender.
    pub source: V4,
    /// The receiver.
    pub destination: V4,
    /// The number of the protocol above.
    pub protocol: u8,
    /// Hops left.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Whether it must not be fragmented.
    pub dont_fragment: bool,
    /// The datagram's length, the header's 20 bytes included.
    pub total_length: u16,
}

/// Writes a header without options, with its checksum.
#[inline]
pub fn write_header(out: &mut [u8; HEADER_BYTES], fields: &Fields) {
    let flags = if fields.dont_fragment {
        DONT_FRAGMENT
    } else {
        0
    };
    // Summed up from the fields: to read back what was just written in other pieces takes longer.
    let checksum = Sum::ZERO
        .u16(0x4500 | u16::from(fields.tos))
        .u16(fields.total_length)
        .u16(fields.id)
        .u16(flags)
        .u16(u16::from(fields.ttl) << 8 | u16::from(fields.protocol))
        .u32(fields.source.0)
        .u32(fields.destination.0)
        .finish();
    VERSION_IHL.set(out, 0x45);
    TOS.set(out, fields.tos);
    TOTAL_LENGTH.set(out, fields.total_length);
    ID.set(out, fields.id);
    FLAGS.set(out, flags);
    TTL.set(out, fields.ttl);
    PROTOCOL.set(out, fields.protocol);
    CHECKSUM.set(out, checksum);
    SOURCE.set_v4(out, fields.source);
    DESTINATION.set_v4(out, fields.destination);
}
