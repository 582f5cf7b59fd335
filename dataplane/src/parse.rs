//! A frame's headers: where they are and what they say, or why the frame is unusable.
//! Whose packet it is, and whether its addresses make sense here, is decided elsewhere.

use std::net::IpAddr;

use crate::flow::{Addresses, Protocol};
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::{ethernet, icmpv4, icmpv6, ipv4, ipv6, sctp, tcp, udp, vlan};

mod martian;
mod plain;
mod quoted;
#[cfg(test)]
mod tests;

pub use martian::{
    is_martian_destination_v4, is_martian_destination_v6, is_martian_source_v4,
    is_martian_source_v6,
};
pub use plain::{L3 as PLAIN_L3, Plain, plain_v4, plain_v6};
pub use quoted::{Quoted, parse_quoted};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    /// An IP packet with sound headers.
    Ip(Packet),
    /// An ARP packet, not yet looked into.
    Arp {
        /// Where it begins.
        offset: u16,
    },
    /// Neither IP nor ARP.
    Other {
        /// What it is; below 0x0600 a length (IEEE 802.3).
        ether_type: u16,
    },
    /// Unusable.
    Drop(DropReason),
}

impl Parse {
    /// The packet, if it is one.
    #[must_use]
    pub const fn packet(&self) -> Option<&Packet> {
        match self {
            Self::Ip(packet) => Some(packet),
            Self::Arp { .. } | Self::Other { .. } | Self::Drop(_) => None,
        }
    }
}

/// The headers of an IP packet. Offsets count from the frame's first byte and lie within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Where the IP header begins.
    pub l3: u16,
    /// Where the upper layer's header begins, behind options and extension headers; in a
    /// fragment, where its piece of the datagram begins.
    pub l4: u16,
    /// Where the datagram ends: Ethernet padding lies behind.
    pub end: u32,
    /// Who sends to whom.
    pub addresses: Addresses,
    /// The upper layer's number; in an IPv6 fragment, what the fragment header names.
    pub protocol: u8,
    /// The sender's port; 0 if no protocol that we balance, or a fragment.
    pub source_port: u16,
    /// The receiver's port; 0 if no protocol that we balance, or a fragment.
    pub destination_port: u16,
    /// TCP's flags; 0 if not TCP, or a fragment.
    pub tcp_flags: u8,
    /// The type of SCTP's deciding chunk; 0 if not SCTP, or a fragment.
    pub sctp_chunk: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether no router may fragment it: the flag in IPv4, always in IPv6.
    pub dont_fragment: bool,
    /// Which piece of a larger datagram it is, if it is one.
    pub fragment: Option<Fragment>,
}

/// Which piece of a larger datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// What the datagram's pieces share.
    pub id: u32,
    /// Where the piece belongs in the datagram.
    pub offset_bytes: u16,
    /// Whether it is not the last one.
    pub more: bool,
}

impl Packet {
    /// The protocol above, if it is one we balance.
    #[inline]
    #[must_use]
    pub const fn balanced_protocol(&self) -> Option<Protocol> {
        Protocol::from_number(self.protocol)
    }

    /// What moves its session's state on: TCP's flags or SCTP's chunk type, of which one at least
    /// is 0.
    #[inline]
    #[must_use]
    pub const fn signal(&self) -> u8 {
        self.tcp_flags | self.sctp_chunk
    }

    /// Whether it is ICMP for IPv4 or ICMPv6 for IPv6.
    #[inline]
    #[must_use]
    pub const fn is_icmp(&self) -> bool {
        match self.addresses {
            Addresses::V4 { .. } => self.protocol == ipv4::ICMP,
            Addresses::V6 { .. } => self.protocol == ipv6::ICMP,
        }
    }

    /// Whether the checksum of an ICMP message is right.
    #[must_use]
    pub fn is_icmp_checksum_valid(&self, frame: &[u8]) -> bool {
        let upper = self.upper(frame);
        match self.addresses {
            Addresses::V4 { .. } => icmpv4::checksum_is_valid(upper),
            Addresses::V6 {
                source,
                destination,
            } => icmpv6::checksum_is_valid(source, destination, upper),
        }
    }

    /// The datagram's length, its IP header included.
    #[inline]
    #[must_use]
    pub const fn datagram_bytes(&self) -> u32 {
        self.end.saturating_sub(self.l3 as u32)
    }

    /// The datagram within `frame`, from its IP header on. Empty if this is not its frame.
    #[inline]
    #[must_use]
    pub fn datagram<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame
            .get(usize::from(self.l3)..self.end as usize)
            .unwrap_or_default()
    }

    /// The upper layer's header and data within `frame`. Empty if this is not its frame.
    #[inline]
    #[must_use]
    pub fn upper<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame
            .get(usize::from(self.l4)..self.end as usize)
            .unwrap_or_default()
    }

    /// The upper layer's header and data within `frame`, to be rewritten.
    #[inline]
    #[must_use]
    pub fn upper_mut<'a>(&self, frame: &'a mut [u8]) -> &'a mut [u8] {
        frame
            .get_mut(usize::from(self.l4)..self.end as usize)
            .unwrap_or_default()
    }
}

impl Addresses {
    /// The sender.
    #[inline]
    #[must_use]
    pub fn source(&self) -> IpAddr {
        match *self {
            Self::V4 { source, .. } => source.into(),
            Self::V6 { source, .. } => source.into(),
        }
    }

    /// The receiver.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => destination.into(),
            Self::V6 { destination, .. } => destination.into(),
        }
    }

    /// Whether they are IPv6's.
    #[inline]
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        matches!(self, Self::V6 { .. })
    }

    /// The sum of the pseudo header for an upper layer of `length` bytes.
    #[inline]
    #[must_use]
    pub fn pseudo_header(&self, protocol: u8, length: usize) -> Sum {
        match *self {
            Self::V4 {
                source,
                destination,
            } => Sum::pseudo_v4(source, destination, protocol, length),
            Self::V6 {
                source,
                destination,
            } => Sum::pseudo_v6(source, destination, protocol, length),
        }
    }
}

/// Finds a frame's headers.
///
/// What LVS leaves to the real servers is left to them here too: TCP's data offset and flags,
/// UDP's length field, and the upper layers' checksums are not checked.
#[inline]
#[must_use]
pub fn parse(frame: &[u8]) -> Parse {
    const IP: u16 = 14;
    let Some(header) = ethernet::Header::new(frame) else {
        return Parse::Drop(DropReason::Truncated);
    };
    match header.ether_type() {
        ethernet::IPV4 => parse_ipv4(frame, IP),
        ethernet::IPV6 => parse_ipv6(frame, IP),
        ethernet::ARP => Parse::Arp { offset: IP },
        ethernet::VLAN | ethernet::SERVICE_VLAN => parse_tagged(frame),
        ether_type => Parse::Other { ether_type },
    }
}

/// Finds the headers of the IP packet whose header is at `l3`, whichever version it states.
///
/// # Errors
/// Why the packet is unusable.
pub fn parse_ip(frame: &[u8], l3: u16) -> Result<Packet, DropReason> {
    /// Behind it, an upper layer's offset would not fit into 16 bits.
    const LAST: u16 = u16::MAX - 40 - ipv6::MAX_EXTENSION_BYTES;
    if l3 > LAST {
        return Err(DropReason::Truncated);
    }
    let parsed = match frame.get(usize::from(l3)) {
        Some(first) if first >> 4 == 6 => parse_ipv6(frame, l3),
        _ => parse_ipv4(frame, l3),
    };
    match parsed {
        Parse::Ip(packet) => Ok(packet),
        Parse::Drop(reason) => Err(reason),
        // Found behind an EtherType only.
        Parse::Arp { .. } | Parse::Other { .. } => Err(DropReason::EtherTypeUnknown),
    }
}

#[cold]
fn parse_tagged(frame: &[u8]) -> Parse {
    const IP: u16 = 18;
    let Some(tag) = vlan::Tag::at(frame, ethernet::HEADER_BYTES) else {
        return Parse::Drop(DropReason::Truncated);
    };
    match (tag.ether_type(), tag.id()) {
        (ethernet::VLAN | ethernet::SERVICE_VLAN, _) => Parse::Drop(DropReason::VlanStack),
        // VLAN 0 only carries a priority (IEEE 802.1Q section 9.6).
        (_, 1..) => Parse::Drop(DropReason::VlanUnknown),
        (ethernet::IPV4, 0) => parse_ipv4(frame, IP),
        (ethernet::IPV6, 0) => parse_ipv6(frame, IP),
        (ethernet::ARP, 0) => Parse::Arp { offset: IP },
        (ether_type, 0) => Parse::Other { ether_type },
    }
}

/// This function and the next return a [`Parse`], written in place: a `Result<Packet, _>` would be
/// copied into one, at half the price of the whole parse.
#[inline(always)]
fn parse_ipv4(frame: &[u8], l3: u16) -> Parse {
    let datagram = frame.get(usize::from(l3)..).unwrap_or_default();
    let Some(header) = ipv4::Header::new(datagram) else {
        return Parse::Drop(DropReason::Truncated);
    };
    let header_bytes = u16::from(header.header_bytes());
    if header.version() != 4 || header_bytes < 20 {
        return Parse::Drop(DropReason::Ipv4Header);
    }
    let is_intact = if header_bytes == 20 {
        header.is_intact()
    } else if let Some(with_options) = datagram.get(..usize::from(header_bytes)) {
        let is_valid = Sum::of(with_options).is_valid();
        if is_valid && ipv4::has_source_route(with_options) {
            return Parse::Drop(DropReason::SourceRoute);
        }
        is_valid
    } else {
        return Parse::Drop(DropReason::Truncated);
    };
    if !is_intact {
        return Parse::Drop(DropReason::Ipv4Checksum);
    }
    let total_length = header.total_length();
    if total_length < header_bytes {
        return Parse::Drop(DropReason::Ipv4Header);
    }
    let Some(datagram) = datagram.get(..usize::from(total_length)) else {
        return Parse::Drop(DropReason::Truncated);
    };
    let fragment = header.is_fragment().then(|| Fragment {
        id: u32::from(header.id()),
        offset_bytes: header.offset_bytes(),
        more: header.more_fragments(),
    });
    let protocol = header.protocol();
    let upper = datagram.get(usize::from(header_bytes)..);
    let Some(upper) = Upper::new(protocol, ipv4::ICMP, fragment, upper.unwrap_or_default()) else {
        return Parse::Drop(DropReason::L4Header);
    };
    Parse::Ip(Packet {
        l3,
        l4: l3 + header_bytes,
        end: u32::from(l3) + u32::from(total_length),
        addresses: Addresses::V4 {
            source: header.source(),
            destination: header.destination(),
        },
        protocol,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        tcp_flags: upper.tcp_flags,
        sctp_chunk: upper.sctp_chunk,
        ttl: header.ttl(),
        dont_fragment: header.dont_fragment(),
        fragment,
    })
}

#[inline(always)]
fn parse_ipv6(frame: &[u8], l3: u16) -> Parse {
    let datagram = frame.get(usize::from(l3)..).unwrap_or_default();
    let Some(header) = ipv6::Header::new(datagram) else {
        return Parse::Drop(DropReason::Truncated);
    };
    if header.version() != 6 {
        return Parse::Drop(DropReason::Ipv6Header);
    }
    // A jumbogram states 0 (RFC 2675): its hop-by-hop options then lie behind the end, and the
    // walk fails.
    let payload_length = header.payload_length();
    let length = ipv6::HEADER_BYTES + usize::from(payload_length);
    let Some(datagram) = datagram.get(..length) else {
        return Parse::Drop(DropReason::Truncated);
    };
    let Some(chain) = ipv6::walk(datagram) else {
        return Parse::Drop(DropReason::Ipv6Header);
    };
    let fragment = chain.fragment.map(|fragment| Fragment {
        id: fragment.id,
        offset_bytes: fragment.offset_bytes,
        more: fragment.more,
    });
    let upper = datagram.get(usize::from(chain.offset)..);
    let upper = Upper::new(
        chain.protocol,
        ipv6::ICMP,
        fragment,
        upper.unwrap_or_default(),
    );
    let Some(upper) = upper else {
        return Parse::Drop(DropReason::L4Header);
    };
    Parse::Ip(Packet {
        l3,
        l4: l3 + chain.offset,
        end: u32::from(l3) + 40 + u32::from(payload_length),
        addresses: Addresses::V6 {
            source: header.source(),
            destination: header.destination(),
        },
        protocol: chain.protocol,
        source_port: upper.source_port,
        destination_port: upper.destination_port,
        tcp_flags: upper.tcp_flags,
        sctp_chunk: upper.sctp_chunk,
        ttl: header.hop_limit(),
        dont_fragment: true,
        fragment,
    })
}

/// What the upper layer's header says.
#[derive(Clone, Copy, Default)]
struct Upper {
    source_port: u16,
    destination_port: u16,
    tcp_flags: u8,
    sctp_chunk: u8,
}

impl Upper {
    /// `None` if the header does not fit into the packet.
    #[inline(always)]
    fn new(protocol: u8, icmp: u8, fragment: Option<Fragment>, bytes: &[u8]) -> Option<Self> {
        if fragment.is_some() {
            return Some(Self::default());
        }
        match protocol {
            ipv4::TCP => tcp::Header::new(bytes).map(|header| Self {
                source_port: header.source_port(),
                destination_port: header.destination_port(),
                tcp_flags: header.flags(),
                sctp_chunk: 0,
            }),
            ipv4::UDP => udp::Header::new(bytes).map(|header| Self {
                source_port: header.source_port(),
                destination_port: header.destination_port(),
                tcp_flags: 0,
                sctp_chunk: 0,
            }),
            ipv4::SCTP => Self::sctp(bytes),
            protocol if protocol == icmp && bytes.len() < icmpv4::HEADER_BYTES => None,
            _ => Some(Self::default()),
        }
    }

    /// Out of line: TCP's and UDP's parse stays as short as it was.
    #[cold]
    fn sctp(bytes: &[u8]) -> Option<Self> {
        let header = sctp::Header::new(bytes)?;
        Some(Self {
            source_port: header.source_port(),
            destination_port: header.destination_port(),
            tcp_flags: 0,
            sctp_chunk: sctp::deciding_chunk(bytes)?,
        })
    }
}
