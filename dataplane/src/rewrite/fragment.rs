//! Cutting a datagram into fragments: RFC 791 section 3.2, RFC 8200 section 4.5.
//! The pieces are written one after another into a scratch frame that the caller sends.

use crate::wire::{ipv4, ipv6};

/// The longest header of a piece: IPv4 with options, or IPv6 with extension headers (bounded by the
/// parser) and a fragment header.
const MAX_HEADER: usize = 40 + 256 + 8;

/// A piece's header, which differs from piece to piece.
#[derive(Debug)]
pub struct PieceHeader {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Default for PieceHeader {
    /// No header: for a datagram that goes out in one piece, as it is.
    fn default() -> Self {
        Self {
            bytes: [0; MAX_HEADER],
            len: 0,
        }
    }
}

impl PieceHeader {
    /// The header's bytes, from the IP header on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn copy(header: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_HEADER];
        bytes.get_mut(..header.len())?.copy_from_slice(header);
        Some(Self {
            bytes,
            len: header.len(),
        })
    }
}

/// Cuts the IPv4 datagram `datagram` into pieces of at most `size` bytes each, header included, and
/// hands each to `emit`. A datagram that fits is one piece. `None` if it cannot be cut; nothing was
/// emitted then.
pub fn split_v4(
    datagram: &[u8],
    size: usize,
    mut emit: impl FnMut(&PieceHeader, &[u8]),
) -> Option<()> {
    let original = ipv4::Header::new(datagram)?;
    let header_bytes = usize::from(original.header_bytes());
    let (header, payload) = datagram.split_at_checked(header_bytes)?;
    let last_more = original.flags() & ipv4::MORE_FRAGMENTS;
    let dont_fragment = original.flags() & ipv4::DONT_FRAGMENT;
    let base = original.offset_bytes() / 8;
    let step = piece_bytes(payload.len(), header_bytes, size)?;
    let mut pieces = payload.chunks(step).peekable();
    let mut offset = base;
    while let Some(piece) = pieces.next() {
        let mut out = PieceHeader::copy(header)?;
        if offset != 0 {
            drop_uncopied_options(out.bytes.get_mut(ipv4::HEADER_BYTES..header_bytes)?);
        }
        let more = if pieces.peek().is_some() {
            ipv4::MORE_FRAGMENTS
        } else {
            last_more
        };
        let mut fixed = ipv4::Header::new_mut(&mut out.bytes)?;
        fixed.set_total_length(u16::try_from(header_bytes + piece.len()).ok()?);
        fixed.set_flags(dont_fragment | more | offset);
        fixed.set_checksum(0);
        let checksum = ipv4::header_checksum(out.bytes());
        ipv4::Header::new_mut(&mut out.bytes)?.set_checksum(checksum);
        emit(&out, piece);
        offset += u16::try_from(piece.len() / 8).ok()?;
    }
    Some(())
}

/// Overwrites options that belong to the first fragment only with "no operation" (RFC 791: the
/// copied flag).
fn drop_uncopied_options(mut options: &mut [u8]) {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const COPIED: u8 = 0x80;
    loop {
        let length = match *options {
            [] | [END, ..] => return,
            [NO_OPERATION, ..] => 1,
            [_, length, ..] if length >= 2 => usize::from(length),
            _ => return,
        };
        let Some((option, rest)) = options.split_at_mut_checked(length) else {
            return;
        };
        if option.first().is_some_and(|kind| kind & COPIED == 0) {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}

/// Cuts the IPv6 datagram `datagram`, whose first `unfragmentable` bytes every piece repeats, into
/// pieces of at most `size` bytes each, headers included. Always adds a fragment header. `None` if
/// it cannot be cut; nothing was emitted then.
pub fn split_v6(
    datagram: &[u8],
    unfragmentable: usize,
    id: u32,
    size: usize,
    mut emit: impl FnMut(&PieceHeader, &[u8]),
) -> Option<()> {
    let (header, payload) = datagram.split_at_checked(unfragmentable)?;
    let link = last_link(header)?;
    let next_header = *header.get(link)?;
    let header_bytes = unfragmentable + ipv6::FRAGMENT_HEADER_BYTES;
    let step = piece_bytes(payload.len(), header_bytes, size)?;
    let mut pieces = payload.chunks(step).peekable();
    let mut offset: u16 = 0;
    while let Some(piece) = pieces.next() {
        let mut out = PieceHeader::copy(header)?;
        *out.bytes.get_mut(link)? = ipv6::FRAGMENT;
        let more = u16::from(pieces.peek().is_some());
        let [offset_high, offset_low] = (offset | more).to_be_bytes();
        let [a, b, c, d] = id.to_be_bytes();
        out.bytes
            .get_mut(unfragmentable..header_bytes)?
            .copy_from_slice(&[next_header, 0, offset_high, offset_low, a, b, c, d]);
        out.len = header_bytes;
        let payload_length = header_bytes - ipv6::HEADER_BYTES + piece.len();
        ipv6::Header::new_mut(&mut out.bytes)?
            .set_payload_length(u16::try_from(payload_length).ok()?);
        emit(&out, piece);
        offset += u16::try_from(piece.len()).ok()?;
    }
    Some(())
}

/// Where the byte is that names what follows the headers in `header`.
fn last_link(header: &[u8]) -> Option<usize> {
    const NEXT_HEADER: usize = 6;
    let mut link = NEXT_HEADER;
    let mut end = ipv6::HEADER_BYTES;
    while end < header.len() {
        link = end;
        end += 8 + 8 * usize::from(*header.get(end + 1)?);
    }
    (end == header.len()).then_some(link)
}

/// The payload of each piece but the last: what fits, in multiples of 8 where more than one piece
/// is needed.
fn piece_bytes(payload: usize, header: usize, size: usize) -> Option<usize> {
    let room = size.checked_sub(header)?;
    if payload <= room {
        return Some(payload.max(1));
    }
    let room = room / 8 * 8;
    (room > 0).then_some(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{V4, V6};

    fn v4(payload: &[u8]) -> Vec<u8> {
        let mut header = [0; 20];
        let fields = ipv4::Fields {
            source: V4(1),
            destination: V4(2),
            protocol: 17,
            ttl: 9,
            tos: 0,
            id: 77,
            dont_fragment: false,
            total_length: u16::try_from(20 + payload.len()).unwrap(),
        };
        ipv4::write_header(&mut header, &fields);
        [&header[..], payload].concat()
    }

    #[test]
    fn ipv4_pieces_fit_and_make_the_whole_again() {
        let payload: Vec<u8> = (0..=255).cycle().take(3008).collect();
        let datagram = v4(&payload);
        for size in [28, 100, 576, 1499, 1500, 3027, 3028, 9000] {
            let mut whole = vec![0; payload.len()];
            let mut ends = 0;
            split_v4(&datagram, size, |header, piece| {
                assert!(header.bytes().len() + piece.len() <= size);
                let view = ipv4::Header::new(header.bytes()).unwrap();
                assert!(view.is_intact());
                assert_eq!(usize::from(view.total_length()), 20 + piece.len());
                let offset = usize::from(view.offset_bytes());
                whole[offset..offset + piece.len()].copy_from_slice(piece);
                ends += usize::from(!view.more_fragments());
            })
            .unwrap();
            assert_eq!((whole == payload, ends), (true, 1), "size {size}");
        }
        assert_eq!(
            split_v4(&datagram, 27, |_, _| panic!("too small a piece")),
            None
        );
    }

    #[test]
    fn only_copied_options_are_in_later_pieces() {
        let mut datagram = v4(&[0; 64]);
        datagram.splice(20..20, [0x83, 3, 4, 0x07, 3, 4, 1, 0]);
        datagram[0] = 0x47;
        let mut options = Vec::new();
        split_v4(&datagram, 60, |header, _| {
            options.push(header.bytes()[20..].to_vec())
        })
        .unwrap();
        assert_eq!(options[0], [0x83, 3, 4, 0x07, 3, 4, 1, 0]);
        assert_eq!(options[1], [0x83, 3, 4, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn ipv6_pieces_fit_and_make_the_whole_again() {
        let payload: Vec<u8> = (0..=255).cycle().take(3008).collect();
        let mut header = [0; 40];
        let fields = ipv6::Fields {
            source: V6([1, 1]),
            destination: V6([2, 2]),
            next_header: 17,
            hop_limit: 9,
            traffic_class: 0,
            flow_label: 0,
            payload_length: 3008,
        };
        ipv6::write_header(&mut header, &fields);
        let datagram = [&header[..], &payload].concat();
        let mut whole = vec![0; payload.len()];
        split_v6(&datagram, 40, 5, 1280, |header, piece| {
            assert!(header.bytes().len() + piece.len() <= 1280);
            let chain = ipv6::walk(&[header.bytes(), piece].concat()).unwrap();
            let fragment = chain.fragment.unwrap();
            assert_eq!((fragment.id, chain.protocol), (5, 17));
            let offset = usize::from(fragment.offset_bytes);
            whole[offset..offset + piece.len()].copy_from_slice(piece);
        })
        .unwrap();
        assert!(whole == payload);
    }
}
