//! The IPv6 header and the chain of extension headers behind it: RFC 8200.
//! Whether a packet is acceptable is decided in `parse.rs`.

use std::borrow::{Borrow, BorrowMut};

use super::field::Field;
use super::view;
use crate::wire::Mac;
use crate::wire::address::V6;

/// Length of the header.
pub const HEADER_BYTES: usize = 40;
/// Length of a fragment header.
pub const FRAGMENT_HEADER_BYTES: usize = 8;
/// Every link carries packets of this size (RFC 8200 section 5).
pub const MIN_MTU_BYTES: usize = 1280;
/// Most extension headers of one packet that we look behind.
pub const MAX_EXTENSIONS: u8 = 8;
/// Most bytes of extension headers that we look behind.
pub const MAX_EXTENSION_BYTES: u16 = 256;

/// Next header: hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header: IPv6 in IP (RFC 2473).
pub const IPV6_IN_IP: u8 = 41;
/// Next header: routing.
pub const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: authentication (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// Next header: ICMPv6.
pub const ICMP: u8 = 58;
/// Next header: none.
pub const NO_NEXT_HEADER: u8 = 59;
/// Next header: destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

const VERSION_CLASS_LABEL: Field<0, 4> = Field;
const PAYLOAD_LENGTH: Field<4, 2> = Field;
const NEXT_HEADER: Field<6, 1> = Field;
const HOP_LIMIT: Field<7, 1> = Field;
const SOURCE: Field<8, 16> = Field;
const DESTINATION: Field<24, 16> = Field;

/// Where the header's next-header byte is.
const NEXT_HEADER_OFFSET: u16 = 6;
/// Where the first extension header is.
const FIRST_EXTENSION: u16 = 40;

view! {
    /// The fixed header.
    Header, HEADER_BYTES
}

impl<B: Borrow<[u8; HEADER_BYTES]>> Header<B> {
    /// The version, 6 if it is one.
    #[inline]
    #[must_use]
    pub fn version(&self) -> u8 {
        self.bytes()[0] >> 4
    }

    /// DSCP and ECN.
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        let [class, ..] = (VERSION_CLASS_LABEL.get(self.bytes()) << 4).to_be_bytes();
        class
    }

    /// The flow label, 20 bits.
    #[inline]
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        VERSION_CLASS_LABEL.get(self.bytes()) & 0x000f_ffff
    }

    /// The length of everything behind this header, as stated.
    #[inline]
    #[must_use]
    pub fn payload_length(&self) -> u16 {
        PAYLOAD_LENGTH.get(self.bytes())
    }

    /// The number of the first extension header or of the protocol above.
    #[inline]
    #[must_use]
    pub fn next_header(&self) -> u8 {
        NEXT_HEADER.get(self.bytes())
    }

    /// Hops left.
    #[inline]
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        HOP_LIMIT.get(self.bytes())
    }

    /// The sender.
    #[inline]
    #[must_use]
    pub fn source(&self) -> V6 {
        SOURCE.get(self.bytes())
    }

    /// The receiver.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> V6 {
        DESTINATION.get(self.bytes())
    }
}

impl<B: BorrowMut<[u8; HEADER_BYTES]>> Header<B> {
    /// Sets DSCP and ECN.
    #[inline]
    pub fn set_traffic_class(&mut self, class: u8) {
        let rest = VERSION_CLASS_LABEL.get(self.bytes()) & 0xf00f_ffff;
        VERSION_CLASS_LABEL.set(self.bytes_mut(), rest | u32::from(class) << 20);
    }

    /// Sets the length of everything behind this header.
    #[inline]
    pub fn set_payload_length(&mut self, bytes: u16) {
        PAYLOAD_LENGTH.set(self.bytes_mut(), bytes);
    }

    /// Sets the number of what follows.
    #[inline]
    pub fn set_next_header(&mut self, number: u8) {
        NEXT_HEADER.set(self.bytes_mut(), number);
    }

    /// Sets the hops left.
    #[inline]
    pub fn set_hop_limit(&mut self, hops: u8) {
        HOP_LIMIT.set(self.bytes_mut(), hops);
    }

    /// Takes one hop off, if any is left.
    #[inline]
    pub fn decrement_hop_limit(&mut self) {
        let hops = self.hop_limit().saturating_sub(1);
        self.set_hop_limit(hops);
    }

    /// Sets the sender.
    #[inline]
    pub fn set_source(&mut self, address: V6) {
        SOURCE.set(self.bytes_mut(), address);
    }

    /// Sets the receiver.
    #[inline]
    pub fn set_destination(&mut self, address: V6) {
        DESTINATION.set(self.bytes_mut(), address);
    }
}

/// What goes into a new header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The sender.
    pub source: V6,
    /// The receiver.
    pub destination: V6,
    /// The number of what follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The flow label, 20 bits.
    pub flow_label: u32,
    /// The length of everything behind the header.
    pub payload_length: u16,
}

/// Writes a whole header.
#[inline]
pub fn write_header(out: &mut [u8; HEADER_BYTES], fields: &Fields) {
    let first = 6 << 28 | u32::from(fields.traffic_class) << 20 | fields.flow_label & 0x000f_ffff;
    VERSION_CLASS_LABEL.set(out, first);
    PAYLOAD_LENGTH.set(out, fields.payload_length);
    NEXT_HEADER.set(out, fields.next_header);
    HOP_LIMIT.set(out, fields.hop_limit);
    SOURCE.set(out, fields.source);
    DESTINATION.set(out, fields.destination);
}

/// Where the chain of extension headers led. Offsets count from the IPv6 header's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The number of the protocol above; in a fragment, what the fragment header names, which may
    /// be a further extension header.
    pub protocol: u8,
    /// Where the protocol above begins; in a fragment, the data behind the fragment header.
    pub offset: u16,
    /// Where the byte is that names the protocol above.
    pub link: u16,
    /// The fragment header, if the packet is a piece of a larger one.
    pub fragment: Option<FragmentHeader>,
}

/// A fragment header (RFC 8200 section 4.5) and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Where it begins.
    pub offset: u16,
    /// Where the byte is that names it, to be overwritten when the datagram is put together.
    pub link: u16,
    /// What it names.
    pub next_header: u8,
    /// The datagram's identification, which its fragments share.
    pub id: u32,
    /// Where the fragment belongs in its datagram's fragmentable part, in bytes.
    pub offset_bytes: u16,
    /// Whether it is not the last one.
    pub more: bool,
}

/// Follows the chain of extension headers of the datagram that begins and ends with `datagram`.
///
/// `None` when a header does not fit, stands where it must not, is a routing header of type 0
/// (RFC 5095), or the chain exceeds [`MAX_EXTENSIONS`] or [`MAX_EXTENSION_BYTES`].
///
/// An atomic fragment (RFC 6946) is not a piece of anything: its fragment header is passed over.
#[inline]
#[must_use]
pub fn walk(datagram: &[u8]) -> Option<Chain> {
    let protocol = Header::new(datagram)?.next_header();
    if is_extension(protocol) {
        walk_extensions(datagram, protocol)
    } else {
        Some(Chain {
            protocol,
            offset: FIRST_EXTENSION,
            link: NEXT_HEADER_OFFSET,
            fragment: None,
        })
    }
}

const fn is_extension(number: u8) -> bool {
    matches!(
        number,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
    )
}

#[cold]
fn walk_extensions(datagram: &[u8], first: u8) -> Option<Chain> {
    let mut chain = Chain {
        protocol: first,
        offset: FIRST_EXTENSION,
        link: NEXT_HEADER_OFFSET,
        fragment: None,
    };
    let mut headers_left = MAX_EXTENSIONS;
    let mut seen_fragment = false;
    while is_extension(chain.protocol) {
        headers_left = headers_left.checked_sub(1)?;
        // Every extension header has at least eight bytes.
        let header: &[u8; 8] = datagram.get(usize::from(chain.offset)..)?.first_chunk()?;
        let [next, length, rest @ ..] = *header;
        let bytes = match chain.protocol {
            // Only directly behind the IPv6 header (RFC 8200 section 4.1).
            HOP_BY_HOP if chain.offset != FIRST_EXTENSION => return None,
            ROUTING if rest[0] == 0 => return None,
            AUTHENTICATION => (u16::from(length) + 2) * 4,
            FRAGMENT => 8,
            _ => (u16::from(length) + 1) * 8,
        };
        let end = chain.offset + bytes;
        if end - FIRST_EXTENSION > MAX_EXTENSION_BYTES || usize::from(end) > datagram.len() {
            return None;
        }
        if chain.protocol == FRAGMENT {
            if seen_fragment {
                return None;
            }
            seen_fragment = true;
            let [offset_high, offset_low, id @ ..] = rest;
            let offset_flags = u16::from_be_bytes([offset_high, offset_low]);
            let fragment = FragmentHeader {
                offset: chain.offset,
                link: chain.link,
                next_header: next,
                id: u32::from_be_bytes(id),
                offset_bytes: offset_flags & 0xfff8,
                more: offset_flags & 1 != 0,
            };
            if fragment.offset_bytes != 0 || fragment.more {
                return Some(Chain {
                    protocol: next,
                    offset: end,
                    link: chain.offset,
                    fragment: Some(fragment),
                });
            }
        }
        chain.link = chain.offset;
        chain.protocol = next;
        chain.offset = end;
    }
    Some(chain)
}

/// The group that a node with `address` listens to for solicitations (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: V6) -> V6 {
    let V6([_, low]) = address;
    V6([
        0xff02_0000_0000_0000,
        0x0000_0001_ff00_0000 | low & 0x00ff_ffff,
    ])
}

/// Every node on the link, ff02::1.
pub const ALL_NODES: V6 = V6([0xff02_0000_0000_0000, 1]);

/// Whether `address` names a group.
#[inline]
#[must_use]
pub const fn is_multicast(address: V6) -> bool {
    address.0[0] >> 56 == 0xff
}

/// Whether `address` is valid on its link only, fe80::/10.
#[inline]
#[must_use]
pub const fn is_link_local(address: V6) -> bool {
    address.0[0] >> 54 == 0xfe80 >> 6
}

/// The MAC address of the group `address` (RFC 2464 section 7).
#[must_use]
pub const fn multicast_mac(address: V6) -> Mac {
    let [.., a, b, c, d] = address.0[1].to_be_bytes();
    Mac([0x33, 0x33, a, b, c, d])
}
