//! TCP resets that are made here: in reply to a segment, or of a session that ends.
//! To whom they are sent, and how often, is not decided here.

use crate::flow::Addresses;
use crate::parse::Packet;
use crate::wire::{ipv4, ipv6, tcp};

const TTL: u8 = 64;

/// The length of the longest reset: an IPv6 header and a TCP header.
pub(crate) const MAX_RESET_BYTES: usize = ipv6::HEADER_BYTES + tcp::HEADER_BYTES;

/// The fields of a reset that depend on the segment that it answers, or on the session that it ends.
pub(crate) struct Reset {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
}

/// The reset in reply to a segment (RFC 9293 section 3.5.2, group 1, and section 3.10.7.1); `None` for a segment that is
/// itself a reset, or invalid.
pub(crate) fn reset_of(packet: &Packet, upper: &[u8]) -> Option<Reset> {
    let header = tcp::Header::new(upper)?;
    let flags = header.flags();
    let data = upper
        .len()
        .checked_sub(usize::from(header.header_bytes()))?;
    let is_sound = usize::from(header.header_bytes()) >= tcp::HEADER_BYTES
        && packet
            .addresses
            .pseudo_header(ipv4::TCP, upper.len())
            .bytes(upper)
            .is_valid();
    if flags & tcp::RST != 0 || !is_sound {
        return None;
    }
    let (sequence, acknowledgement, answer) = if flags & tcp::ACK != 0 {
        (header.acknowledgement(), 0, tcp::RST)
    } else {
        (0, next_sequence(&header, data), tcp::RST | tcp::ACK)
    };
    Some(Reset {
        source_port: header.destination_port(),
        destination_port: header.source_port(),
        sequence,
        acknowledgement,
        flags: answer,
    })
}

/// Writes a reset in reply to a packet with these addresses. Returns the datagram's length.
pub(crate) fn write_reset(out: &mut [u8], addresses: Addresses, reset: &Reset) -> Option<usize> {
    let (back, header_bytes) = match addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            let fields = ipv4::Fields {
                source: destination,
                destination: source,
                protocol: ipv4::TCP,
                ttl: TTL,
                tos: 0,
                // As in Linux: a datagram that must not be fragmented needs no identification (RFC 6864).
                id: 0,
                dont_fragment: true,
                total_length: u16::try_from(ipv4::HEADER_BYTES + tcp::HEADER_BYTES).ok()?,
            };
            ipv4::write_header(out.first_chunk_mut()?, &fields);
            let back = Addresses::V4 {
                source: destination,
                destination: source,
            };
            (back, ipv4::HEADER_BYTES)
        }
        Addresses::V6 {
            source,
            destination,
        } => {
            let fields = ipv6::Fields {
                source: destination,
                destination: source,
                next_header: ipv4::TCP,
                hop_limit: TTL,
                traffic_class: 0,
                flow_label: 0,
                payload_length: u16::try_from(tcp::HEADER_BYTES).ok()?,
            };
            ipv6::write_header(out.first_chunk_mut()?, &fields);
            let back = Addresses::V6 {
                source: destination,
                destination: source,
            };
            (back, ipv6::HEADER_BYTES)
        }
    };
    let length = header_bytes + tcp::HEADER_BYTES;
    let segment = out.get_mut(header_bytes..length)?;
    segment.fill(0);
    let mut header = tcp::Header::new_mut(segment)?;
    header.set_source_port(reset.source_port);
    header.set_destination_port(reset.destination_port);
    header.set_sequence(reset.sequence);
    header.set_acknowledgement(reset.acknowledgement);
    header.set_header_bytes(u8::try_from(tcp::HEADER_BYTES).ok()?);
    header.set_flags(reset.flags);
    let checksum = back
        .pseudo_header(ipv4::TCP, tcp::HEADER_BYTES)
        .bytes(segment)
        .finish();
    tcp::Header::new_mut(segment)?.set_checksum(checksum);
    Some(length)
}

/// The number that follows a segment with `data` bytes: SYN and FIN have one each (RFC 9293 section
/// 3.4).
#[expect(
    clippy::cast_possible_truncation,
    reason = "no packet has 2^32 bytes of data"
)]
pub(crate) fn next_sequence(header: &tcp::Header<&[u8; tcp::HEADER_BYTES]>, data: usize) -> u32 {
    let opens = u32::from(header.flags() & tcp::SYN != 0);
    let closes = u32::from(header.flags() & tcp::FIN != 0);
    let length = data as u32 + opens + closes;
    header.sequence().wrapping_add(length)
}
