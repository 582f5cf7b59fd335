//! Frames for tests, with right lengths and checksums unless asked otherwise.
//! What the packet path makes of them is not known here.

use crate::flow::{Addresses, V4, V6};
use crate::wire::{Mac, arp, ethernet, icmpv4, icmpv6, ndp, tcp};

mod bytes;
fn u16_or_max(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;

/// Builds one frame, or the fragments of one datagram.
///
/// ```
/// use plimsoll_dataplane::testing::PacketBuilder;
/// use plimsoll_dataplane::wire::tcp;
/// # use std::net::Ipv4Addr;
/// let client = Ipv4Addr::new(198, 51, 100, 7);
/// let vip = Ipv4Addr::new(192, 168, 33, 12);
/// let frame = PacketBuilder::v4(client, vip).tcp(40000, 8088).flags(tcp::SYN).build();
/// assert_eq!(frame.len(), 14 + 20 + 20);
/// ```
#[derive(Debug, Clone)]
pub struct PacketBuilder {
    source_mac: Mac,
    destination_mac: Mac,
    tags: Vec<(u16, u16)>,
    addresses: Addresses,
    ttl: u8,
    tos: u8,
    id: u32,
    dont_fragment: bool,
    fragment: Option<(u16, bool)>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    upper: Upper,
    payload: Vec<u8>,
    min_frame_bytes: usize,
    bad_ip_checksum: bool,
    bad_checksum: bool,
}

#[derive(Debug, Clone)]
enum Upper {
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
        window: u16,
        options: Vec<u8>,
    },
    Udp {
        source: u16,
        destination: u16,
        checksum: bool,
    },
    Sctp {
        source: u16,
        destination: u16,
        chunk: u8,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: u32,
    },
    Raw(u8),
}

impl PacketBuilder {
    /// A packet between IPv4 addresses, of the experimental protocol 253 until told otherwise.
    #[must_use]
    pub fn v4(source: impl Into<V4>, destination: impl Into<V4>) -> Self {
        Self::new(Addresses::V4 {
            source: source.into(),
            destination: destination.into(),
        })
    }

    /// A packet between IPv6 addresses, of the experimental protocol 253 until told otherwise.
    #[must_use]
    pub fn v6(source: impl Into<V6>, destination: impl Into<V6>) -> Self {
        Self::new(Addresses::V6 {
            source: source.into(),
            destination: destination.into(),
        })
    }

    /// A packet between `addresses`.
    #[must_use]
    pub const fn new(addresses: Addresses) -> Self {
        Self {
            source_mac: Mac([2, 0, 0, 0, 0, 1]),
            destination_mac: Mac([2, 0, 0, 0, 0, 2]),
            tags: Vec::new(),
            addresses,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: false,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
            upper: Upper::Raw(253),
            payload: Vec::new(),
            min_frame_bytes: 0,
            bad_ip_checksum: false,
            bad_checksum: false,
        }
    }

    /// From and to these MAC addresses.
    #[must_use]
    pub const fn mac(mut self, source: Mac, destination: Mac) -> Self {
        self.source_mac = source;
        self.destination_mac = destination;
        self
    }

    /// Behind a VLAN tag, inside of those added before.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ethernet::VLAN, id)
    }

    /// Behind a tag of this EtherType, inside of those added before.
    #[must_use]
    pub fn tag(mut self, ether_type: u16, id: u16) -> Self {
        self.tags.push((ether_type, id));
        self
    }

    /// With this TTL or hop limit.
    #[must_use]
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// With this type of service or traffic class.
    #[must_use]
    pub const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// With this identification, of which IPv4 takes the low half.
    #[must_use]
    pub const fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// With "don't fragment" (IPv4).
    #[must_use]
    pub const fn df(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// Marked as a piece of a datagram; the payload is taken as it is. In IPv6, `fragment(0,
    /// false)` makes an atomic fragment.
    #[must_use]
    pub const fn fragment(mut self, offset_bytes: u16, more: bool) -> Self {
        self.fragment = Some((offset_bytes, more));
        self
    }

    /// With IPv4 options, padded to a multiple of four bytes.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// With an IPv6 extension header: `data` is what follows its first two bytes, and is padded.
    #[must_use]
    pub fn extension(mut self, number: u8, data: &[u8]) -> Self {
        self.extensions.push((number, data.to_vec()));
        self
    }

    /// A TCP segment with the flag ACK.
    #[must_use]
    pub fn tcp(mut self, source: u16, destination: u16) -> Self {
        self.upper = Upper::Tcp {
            source,
            destination,
            flags: tcp::ACK,
            sequence: 1,
            acknowledgement: 0,
            window: u16::MAX,
            options: Vec::new(),
        };
        self
    }

    /// With these TCP flags.
    #[must_use]
    pub const fn flags(mut self, new: u8) -> Self {
        if let Upper::Tcp { flags, .. } = &mut self.upper {
            *flags = new;
        }
        self
    }

    /// With this TCP window, instead of the largest.
    #[must_use]
    pub const fn window(mut self, new: u16) -> Self {
        if let Upper::Tcp { window, .. } = &mut self.upper {
            *window = new;
        }
        self
    }

    /// With these TCP sequence and acknowledgement numbers.
    #[must_use]
    pub const fn numbers(mut self, new_sequence: u32, new_acknowledgement: u32) -> Self {
        if let Upper::Tcp {
            sequence,
            acknowledgement,
            ..
        } = &mut self.upper
        {
            *sequence = new_sequence;
            *acknowledgement = new_acknowledgement;
        }
        self
    }

    /// With TCP options, padded to a multiple of four bytes.
    #[must_use]
    pub fn tcp_options(mut self, new: &[u8]) -> Self {
        if let Upper::Tcp { options, .. } = &mut self.upper {
            *options = new.to_vec();
            options.resize(new.len().next_multiple_of(4), 0);
        }
        self
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(mut self, source: u16, destination: u16) -> Self {
        self.upper = Upper::Udp {
            source,
            destination,
            checksum: true,
        };
        self
    }

    /// Without a UDP checksum.
    #[must_use]
    pub const fn no_udp_checksum(mut self) -> Self {
        if let Upper::Udp { checksum, .. } = &mut self.upper {
            *checksum = false;
        }
        self
    }

    /// An SCTP packet with one chunk of this type, whose value is the payload.
    #[must_use]
    pub fn sctp(mut self, source: u16, destination: u16, chunk: u8) -> Self {
        self.upper = Upper::Sctp {
            source,
            destination,
            chunk,
        };
        self
    }

    /// An ICMP or ICMPv6 message; `rest` are its bytes 4 to 7.
    #[must_use]
    pub fn icmp(mut self, kind: u8, code: u8, rest: u32) -> Self {
        self.upper = Upper::Icmp { kind, code, rest };
        self
    }

    /// An echo request.
    #[must_use]
    pub fn echo_request(self, id: u16, sequence: u16) -> Self {
        let kind = match self.addresses {
            Addresses::V4 { .. } => icmpv4::ECHO_REQUEST,
            Addresses::V6 { .. } => icmpv6::ECHO_REQUEST,
        };
        self.icmp(kind, 0, u32::from(id) << 16 | u32::from(sequence))
    }

    /// An echo reply.
    #[must_use]
    pub fn echo_reply(self, id: u16, sequence: u16) -> Self {
        let kind = match self.addresses {
            Addresses::V4 { .. } => icmpv4::ECHO_REPLY,
            Addresses::V6 { .. } => icmpv6::ECHO_REPLY,
        };
        self.icmp(kind, 0, u32::from(id) << 16 | u32::from(sequence))
    }

    /// An ICMP error about the datagram `quoted` (see [`Self::build_datagram`]).
    #[must_use]
    pub fn icmp_error(self, kind: u8, code: u8, rest: u32, quoted: &[u8]) -> Self {
        self.icmp(kind, code, rest).payload(quoted)
    }

    /// Another protocol, without a header of its own.
    #[must_use]
    pub fn protocol(mut self, number: u8) -> Self {
        self.upper = Upper::Raw(number);
        self
    }

    /// With these bytes behind the upper layer's header.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Padded to the 60 bytes that Ethernet demands.
    #[must_use]
    pub const fn padded(self) -> Self {
        self.padded_to(ethernet::MIN_FRAME_BYTES)
    }

    /// Padded to `bytes`.
    #[must_use]
    pub const fn padded_to(mut self, bytes: usize) -> Self {
        self.min_frame_bytes = bytes;
        self
    }

    /// With a wrong IPv4 header checksum.
    #[must_use]
    pub const fn bad_ip_checksum(mut self) -> Self {
        self.bad_ip_checksum = true;
        self
    }

    /// With a wrong checksum of the upper layer.
    #[must_use]
    pub const fn bad_checksum(mut self) -> Self {
        self.bad_checksum = true;
        self
    }

    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.frame(&self.datagram(&self.upper_bytes(), self.fragment))
    }

    /// The IP datagram without Ethernet around it.
    #[must_use]
    pub fn build_datagram(&self) -> Vec<u8> {
        self.datagram(&self.upper_bytes(), self.fragment)
    }

    /// The datagram in pieces of at most `piece_bytes` of data (rounded down to a multiple of
    /// eight, at least eight), one frame each, in order.
    #[must_use]
    pub fn build_fragments(&self, piece_bytes: usize) -> Vec<Vec<u8>> {
        let piece_bytes = (piece_bytes & !7).max(8);
        let upper = self.upper_bytes();
        let mut pieces = upper.chunks(piece_bytes).enumerate().peekable();
        let mut frames = Vec::new();
        while let Some((index, piece)) = pieces.next() {
            let position = Some((u16_or_max(index * piece_bytes), pieces.peek().is_some()));
            frames.push(self.frame(&self.datagram(piece, position)));
        }
        frames
    }
}

/// An unpadded frame with an ARP packet.
#[must_use]
pub fn arp_frame(destination: Mac, packet: &arp::Packet) -> Vec<u8> {
    let mut frame = vec![0; arp::FRAME_BYTES];
    let length = arp::write(&mut frame, destination, packet);
    frame.truncate(length.unwrap_or(0));
    frame
}

/// A frame with a neighbour discovery message, such as [`ndp::solicitation`] gives.
#[must_use]
pub fn neighbour_frame(message: &(ndp::Envelope, ndp::Message)) -> Vec<u8> {
    let mut frame = vec![0; ndp::MAX_FRAME_BYTES];
    let length = ndp::write(&mut frame, message);
    frame.truncate(length.unwrap_or(0));
    frame
}
