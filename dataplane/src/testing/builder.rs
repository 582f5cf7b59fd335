//! Frames for tests, with right lengths and checksums unless asked otherwise.
//! What the packet path makes of them is not known here.

use crate::flow::{V4, V6};
use crate::parse::Addresses;
use crate::wire::checksum::Sum;
use crate::wire::{Mac, arp, ethernet, icmpv4, icmpv6, ipv4, ipv6, ndp, tcp, udp, vlan};

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
        options: Vec<u8>,
    },
    Udp {
        source: u16,
        destination: u16,
        checksum: bool,
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

    fn frame(&self, datagram: &[u8]) -> Vec<u8> {
        let ip = match self.addresses {
            Addresses::V4 { .. } => ethernet::IPV4,
            Addresses::V6 { .. } => ethernet::IPV6,
        };
        let first = self.tags.first().map_or(ip, |(ether_type, _)| *ether_type);
        let mut header = [0; ethernet::HEADER_BYTES];
        ethernet::write_header(&mut header, self.destination_mac, self.source_mac, first);
        let mut frame = header.to_vec();
        let next = self.tags.iter().skip(1).map(|(ether_type, _)| *ether_type);
        for ((_, id), ether_type) in self.tags.iter().zip(next.chain([ip])) {
            let mut bytes = [0; vlan::TAG_BYTES];
            if let Some(mut tag) = vlan::Tag::new_mut(&mut bytes) {
                tag.write(*id, ether_type);
            }
            frame.extend(bytes);
        }
        frame.extend(datagram);
        frame.resize(frame.len().max(self.min_frame_bytes), 0);
        frame
    }

    const fn upper_number(&self) -> u8 {
        match (&self.upper, self.addresses) {
            (Upper::Tcp { .. }, _) => ipv4::TCP,
            (Upper::Udp { .. }, _) => ipv4::UDP,
            (Upper::Icmp { .. }, Addresses::V4 { .. }) => ipv4::ICMP,
            (Upper::Icmp { .. }, Addresses::V6 { .. }) => ipv6::ICMP,
            (Upper::Raw(number), _) => *number,
        }
    }

    fn datagram(&self, upper: &[u8], fragment: Option<(u16, bool)>) -> Vec<u8> {
        match self.addresses {
            Addresses::V4 {
                source,
                destination,
            } => self.datagram_v4(source, destination, upper, fragment),
            Addresses::V6 {
                source,
                destination,
            } => self.datagram_v6(source, destination, upper, fragment),
        }
    }

    fn datagram_v4(
        &self,
        source: V4,
        destination: V4,
        upper: &[u8],
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let mut bytes = [0; ipv4::HEADER_BYTES];
        let header_bytes = ipv4::HEADER_BYTES + self.options.len();
        let [.., id_high, id_low] = self.id.to_be_bytes();
        ipv4::write_header(
            &mut bytes,
            &ipv4::Fields {
                source,
                destination,
                protocol: self.upper_number(),
                ttl: self.ttl,
                tos: self.tos,
                id: u16::from_be_bytes([id_high, id_low]),
                dont_fragment: self.dont_fragment,
                total_length: u16_or_max(header_bytes + upper.len()),
            },
        );
        let [first, ..] = &mut bytes;
        *first = 0x40 | u8::try_from(header_bytes / 4).unwrap_or(15) & 0x0f;
        if let (Some(mut header), Some((offset, more))) =
            (ipv4::Header::new_mut(&mut bytes), fragment)
        {
            let more = if more { ipv4::MORE_FRAGMENTS } else { 0 };
            header.set_flags(header.flags() | more | offset >> 3);
        }
        let mut datagram = bytes.to_vec();
        datagram.extend(&self.options);
        let checksum = ipv4::header_checksum(&datagram);
        if let Some(mut header) = ipv4::Header::new_mut(&mut datagram) {
            header.set_checksum(checksum ^ u16::from(self.bad_ip_checksum));
        }
        datagram.extend(upper);
        datagram
    }

    fn datagram_v6(
        &self,
        source: V6,
        destination: V6,
        upper: &[u8],
        fragment: Option<(u16, bool)>,
    ) -> Vec<u8> {
        let mut extensions = self.extensions.clone();
        if let Some((offset, more)) = fragment {
            let [high, low] = (offset & 0xfff8 | u16::from(more)).to_be_bytes();
            let mut data = vec![high, low];
            data.extend(self.id.to_be_bytes());
            extensions.push((ipv6::FRAGMENT, data));
        }
        let upper_number = self.upper_number();
        let first = extensions
            .first()
            .map_or(upper_number, |(number, _)| *number);
        let next = extensions.iter().skip(1).map(|(number, _)| *number);
        let mut payload = Vec::new();
        for ((number, data), next) in extensions.iter().zip(next.chain([upper_number])) {
            let bytes = (2 + data.len()).next_multiple_of(8);
            let length = match *number {
                ipv6::FRAGMENT => 0,
                ipv6::AUTHENTICATION => bytes / 4 - 2,
                _ => bytes / 8 - 1,
            };
            let end = payload.len() + bytes;
            payload.extend([next, u8::try_from(length).unwrap_or(u8::MAX)]);
            payload.extend(data);
            payload.resize(end, 0);
        }
        payload.extend(upper);
        let mut header = [0; ipv6::HEADER_BYTES];
        ipv6::write_header(
            &mut header,
            &ipv6::Fields {
                source,
                destination,
                next_header: first,
                hop_limit: self.ttl,
                traffic_class: self.tos,
                flow_label: 0,
                payload_length: u16_or_max(payload.len()),
            },
        );
        let mut datagram = header.to_vec();
        datagram.extend(payload);
        datagram
    }

    /// The upper layer's header with its checksum, and the payload.
    fn upper_bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.upper {
            Upper::Tcp { options, .. } => vec![0; tcp::HEADER_BYTES + options.len()],
            Upper::Udp { .. } => vec![0; udp::HEADER_BYTES],
            Upper::Icmp { .. } => vec![0; icmpv4::HEADER_BYTES],
            Upper::Raw(_) => return self.payload.clone(),
        };
        let header_bytes = bytes.len();
        bytes.extend(&self.payload);
        let length = bytes.len();
        self.write_upper(&mut bytes, header_bytes);
        let pseudo = match (&self.upper, self.addresses) {
            (Upper::Icmp { .. }, Addresses::V4 { .. }) => Sum::ZERO,
            _ => self.addresses.pseudo_header(self.upper_number(), length),
        };
        let sum = pseudo.bytes(&bytes);
        let damage = u16::from(self.bad_checksum);
        match self.upper {
            Upper::Tcp { .. } => {
                if let Some(mut header) = tcp::Header::new_mut(&mut bytes) {
                    header.set_checksum(sum.finish() ^ damage);
                }
            }
            Upper::Udp { checksum, .. } => {
                if let (Some(mut header), true) = (udp::Header::new_mut(&mut bytes), checksum) {
                    header.set_checksum(sum.finish_udp() ^ damage);
                }
            }
            Upper::Icmp { .. } => {
                if let Some(mut header) = icmpv4::Header::new_mut(&mut bytes) {
                    header.set_checksum(sum.finish() ^ damage);
                }
            }
            Upper::Raw(_) => {}
        }
        bytes
    }

    /// Fills in a header of zeros, its checksum left out.
    fn write_upper(&self, bytes: &mut [u8], header_bytes: usize) {
        let length = u16_or_max(bytes.len());
        match &self.upper {
            Upper::Tcp {
                source,
                destination,
                flags,
                sequence,
                acknowledgement,
                options,
            } => {
                if let Some(mut header) = tcp::Header::new_mut(bytes) {
                    header.set_source_port(*source);
                    header.set_destination_port(*destination);
                    header.set_sequence(*sequence);
                    header.set_acknowledgement(*acknowledgement);
                    header.set_header_bytes(u8::try_from(header_bytes).unwrap_or(u8::MAX));
                    header.set_flags(*flags);
                    header.set_window(0xffff);
                }
                if let Some(place) = bytes.get_mut(tcp::HEADER_BYTES..header_bytes) {
                    place.copy_from_slice(options);
                }
            }
            Upper::Udp {
                source,
                destination,
                ..
            } => {
                if let Some(header) = bytes.first_chunk_mut() {
                    udp::write_header(header, *source, *destination, length, 0);
                }
            }
            Upper::Icmp { kind, code, rest } => {
                // The first eight bytes of ICMP and ICMPv6 are laid out alike.
                if let Some(mut header) = icmpv4::Header::new_mut(bytes) {
                    header.set_kind(*kind, *code);
                    header.set_rest(*rest);
                }
            }
            Upper::Raw(_) => {}
        }
    }
}

fn u16_or_max(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
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
