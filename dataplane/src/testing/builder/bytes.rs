//! From what a builder was told to the bytes of a frame.
//! No defaults and no options of a builder belong here.

use super::{PacketBuilder, Upper, u16_or_max};
use crate::flow::{Addresses, V4, V6};
use crate::wire::checksum::Sum;
use crate::wire::{ethernet, icmpv4, ipv4, ipv6, sctp, tcp, udp, vlan};

#[expect(clippy::cast_possible_truncation, reason = "it is 12")]
const SCTP_HEADER_BYTES: u16 = sctp::HEADER_BYTES as u16;

impl PacketBuilder {
    pub(super) fn frame(&self, datagram: &[u8]) -> Vec<u8> {
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
            (Upper::Sctp { .. }, _) => ipv4::SCTP,
            (Upper::Icmp { .. }, Addresses::V4 { .. }) => ipv4::ICMP,
            (Upper::Icmp { .. }, Addresses::V6 { .. }) => ipv6::ICMP,
            (Upper::Raw(number), _) => *number,
        }
    }

    pub(super) fn datagram(&self, upper: &[u8], fragment: Option<(u16, bool)>) -> Vec<u8> {
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
    pub(super) fn upper_bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.upper {
            Upper::Tcp { options, .. } => vec![0; tcp::HEADER_BYTES + options.len()],
            Upper::Udp { .. } => vec![0; udp::HEADER_BYTES],
            Upper::Sctp { .. } => vec![0; sctp::HEADER_BYTES + sctp::CHUNK_HEADER_BYTES],
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
            Upper::Sctp { .. } => {
                let checksum = sctp::checksum_of(&bytes) ^ u32::from(damage);
                if let Some(mut header) = sctp::Header::new_mut(&mut bytes) {
                    header.set_checksum(checksum);
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
                window,
                options,
            } => {
                if let Some(mut header) = tcp::Header::new_mut(bytes) {
                    header.set_source_port(*source);
                    header.set_destination_port(*destination);
                    header.set_sequence(*sequence);
                    header.set_acknowledgement(*acknowledgement);
                    header.set_header_bytes(u8::try_from(header_bytes).unwrap_or(u8::MAX));
                    header.set_flags(*flags);
                    header.set_window(*window);
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
            Upper::Sctp {
                source,
                destination,
                chunk,
            } => {
                if let Some(mut header) = sctp::Header::new_mut(bytes) {
                    header.set_ports(*source, *destination);
                    header.set_verification_tag(1);
                }
                if let Some(mut header) = sctp::Chunk::at_mut(bytes, sctp::HEADER_BYTES) {
                    header.set(*chunk, length.saturating_sub(SCTP_HEADER_BYTES));
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
