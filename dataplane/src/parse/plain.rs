//! The headers of a frame without anything unusual, found in a few instructions: what established
//! sessions consist of. Whatever is not plain is `parse.rs`'s, which finds the same in what is.

use crate::flow::{Protocol, V4, V6};
use crate::parse::Packet;
use crate::wire::family::Family;
use crate::wire::{ethernet, ipv4, ipv6, tcp, udp};

/// An untagged TCP segment or UDP datagram, not fragmented, in IPv4 without options or IPv6 without
/// extension headers. Its IP header and its lengths are as sound as [`parse`](super::parse) asks for.
#[derive(Debug, Clone, Copy)]
pub struct Plain<A> {
    /// The sender.
    pub source: A,
    /// The receiver.
    pub destination: A,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The datagram's length in bytes, its IP header included.
    pub length: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// TCP's flags; 0 for UDP.
    pub tcp_flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether no router may fragment it.
    pub dont_fragment: bool,
}

/// The length of an IPv6 header, as lengths in headers are.
const IPV6_HEADER_BYTES: u16 = 40;
const _: () = assert!(IPV6_HEADER_BYTES as usize == ipv6::HEADER_BYTES);

/// Where the IP header of a plain packet begins: its frame has no tag.
pub const L3: usize = ethernet::HEADER_BYTES;

impl<A: Family> Plain<A> {
    /// The same, if it is IPv4's.
    #[inline(always)]
    #[must_use]
    pub fn as_v4(&self) -> Option<Plain<V4>> {
        Some(Plain {
            source: self.source.as_v4()?,
            destination: self.destination.as_v4()?,
            source_port: self.source_port,
            destination_port: self.destination_port,
            length: self.length,
            protocol: self.protocol,
            tcp_flags: self.tcp_flags,
            ttl: self.ttl,
            dont_fragment: self.dont_fragment,
        })
    }

    /// The frame's bytes, Ethernet padding left out.
    #[inline(always)]
    #[must_use]
    pub const fn frame_bytes(&self) -> usize {
        L3 + self.length as usize
    }

    /// The transport checksum, which is at the same place as when this was found; 0 for a datagram
    /// that has none.
    #[inline(always)]
    #[must_use]
    pub fn checksum(&self, frame: &[u8]) -> u16 {
        let upper = frame.get(L3 + A::HEADER_BYTES..).unwrap_or_default();
        match self.protocol {
            Protocol::Udp => udp::Header::new(upper).map_or(0, |header| header.checksum()),
            _ => tcp::Header::new(upper).map_or(0, |header| header.checksum()),
        }
    }

    /// Whether a UDP datagram states another length than the IP packet has room for.
    #[inline(always)]
    #[must_use]
    pub fn has_rest(&self, frame: &[u8]) -> bool {
        let header = udp::Header::at(frame, L3 + A::HEADER_BYTES);
        header.is_some_and(|header| {
            A::HEADER_BYTES + usize::from(header.length()) != usize::from(self.length)
        })
    }

    /// Whether a TCP segment carries data.
    #[cold]
    #[must_use]
    pub fn has_data(&self, frame: &[u8]) -> bool {
        let upper = frame.get(L3 + A::HEADER_BYTES..self.frame_bytes());
        upper.is_some_and(tcp::has_data)
    }

    /// The transport checksum of a sender that left it to hardware: the sum of the pseudo header.
    #[inline(always)]
    #[must_use]
    pub fn unfinished_checksum(&self) -> u16 {
        let upper = usize::from(self.length) - A::HEADER_BYTES;
        A::addresses(self.source, self.destination)
            .pseudo_header(self.protocol.number(), upper)
            .fold()
    }

    /// The same as [`parse`](super::parse) would have it.
    #[inline]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "lengths of headers, at most 54 together"
    )]
    pub fn packet(&self) -> Packet {
        Packet {
            l3: L3 as u16,
            l4: (L3 + A::HEADER_BYTES) as u16,
            end: L3 as u32 + u32::from(self.length),
            addresses: A::addresses(self.source, self.destination),
            protocol: self.protocol.number(),
            source_port: self.source_port,
            destination_port: self.destination_port,
            tcp_flags: self.tcp_flags,
            sctp_chunk: 0,
            ttl: self.ttl,
            dont_fragment: self.dont_fragment,
            fragment: None,
        }
    }
}

/// Ports and TCP's flags, if the upper layer's header fits into its bytes.
#[inline(always)]
fn upper(protocol: u8, bytes: &[u8]) -> Option<(Protocol, u16, u16, u8)> {
    match protocol {
        ipv4::UDP => udp::Header::new(bytes).map(|header| {
            let (from, to) = (header.source_port(), header.destination_port());
            (Protocol::Udp, from, to, 0)
        }),
        ipv4::TCP => tcp::Header::new(bytes).map(|header| {
            let (from, to) = (header.source_port(), header.destination_port());
            (Protocol::Tcp, from, to, header.flags())
        }),
        _ => None,
    }
}

/// The headers of `datagram`, which begins behind an Ethernet header that says IPv4.
#[inline(always)]
#[must_use]
pub fn plain_v4(datagram: &[u8]) -> Option<Plain<V4>> {
    let header = ipv4::Header::new(datagram)?;
    let length = header.total_length();
    if !header.is_plain() || !header.is_intact() {
        return None;
    }
    let bytes = datagram.get(ipv4::HEADER_BYTES..usize::from(length))?;
    let (protocol, source_port, destination_port, tcp_flags) = upper(header.protocol(), bytes)?;
    Some(Plain {
        source: header.source(),
        destination: header.destination(),
        source_port,
        destination_port,
        length,
        protocol,
        tcp_flags,
        ttl: header.ttl(),
        dont_fragment: header.dont_fragment(),
    })
}

/// The headers of `datagram`, which begins behind an Ethernet header that says IPv6.
#[inline(always)]
#[must_use]
pub fn plain_v6(datagram: &[u8]) -> Option<Plain<V6>> {
    let header = ipv6::Header::new(datagram)?;
    if header.version() != 6 {
        return None;
    }
    let length = header.payload_length().checked_add(IPV6_HEADER_BYTES)?;
    let bytes = datagram.get(ipv6::HEADER_BYTES..usize::from(length))?;
    let (protocol, source_port, destination_port, tcp_flags) = upper(header.next_header(), bytes)?;
    Some(Plain {
        source: header.source(),
        destination: header.destination(),
        source_port,
        destination_port,
        length,
        protocol,
        tcp_flags,
        ttl: header.hop_limit(),
        dont_fragment: true,
    })
}
