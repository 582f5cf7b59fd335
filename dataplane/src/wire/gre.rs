//! The GRE header without key and sequence number: RFC 2784.
//! The packet inside is none of its business.

use super::checksum::Sum;
use super::field::Field;

/// Length of the header without a checksum.
pub const HEADER_BYTES: usize = 4;
/// Length of the header with a checksum and the word's other half, which is reserved.
pub const CHECKSUM_HEADER_BYTES: usize = HEADER_BYTES + CHECKSUM_BYTES;
/// GRE's protocol number in an IP header.
pub const PROTOCOL: u8 = 47;

const CHECKSUM_BYTES: usize = 4;
/// Flag: a checksum follows. It covers the header and the packet inside (RFC 2784 section 2.3).
const CHECKSUM_PRESENT: u16 = 0x8000;

const FLAGS_VERSION: Field<0, 2> = Field;
const ETHER_TYPE: Field<2, 2> = Field;
const CHECKSUM: Field<0, 2> = Field;

/// Writes the header at the beginning of `out`, which ends with the packet inside. `ether_type` tells
/// what that is. Nothing is written where the header does not fit.
#[inline]
pub fn write_header(out: &mut [u8], ether_type: u16, checksum: bool) {
    let Some(header) = out.first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    FLAGS_VERSION.set(header, if checksum { CHECKSUM_PRESENT } else { 0 });
    ETHER_TYPE.set(header, ether_type);
    if checksum {
        write_checksum(out);
    }
}

fn write_checksum(out: &mut [u8]) {
    let Some(rest) = out.get_mut(HEADER_BYTES..) else {
        return;
    };
    let Some(word) = rest.first_chunk_mut::<CHECKSUM_BYTES>() else {
        return;
    };
    *word = [0; CHECKSUM_BYTES];
    let checksum = Sum::of(out).finish();
    if let Some(word) = out
        .get_mut(HEADER_BYTES..)
        .and_then(<[u8]>::first_chunk_mut::<CHECKSUM_BYTES>)
    {
        CHECKSUM.set(word, checksum);
    }
}

/// Length of a header that we may have written; `None` for any other, such as one with a key.
#[must_use]
pub fn header_bytes(header: &[u8]) -> Option<usize> {
    match FLAGS_VERSION.get(header.first_chunk::<HEADER_BYTES>()?) {
        0 => Some(HEADER_BYTES),
        CHECKSUM_PRESENT => Some(CHECKSUM_HEADER_BYTES),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_is_set_without_a_checksum() {
        let mut header = [0xff; HEADER_BYTES];
        write_header(&mut header, 0x86dd, false);
        assert_eq!(header, [0, 0, 0x86, 0xdd]);
        assert_eq!(header_bytes(&header), Some(4));
    }

    #[test]
    fn a_checksum_covers_header_and_packet() {
        for length in [8, 9, 11, 60] {
            let mut packet = vec![0xa5; length];
            write_header(&mut packet, 0x0800, true);
            assert_eq!((packet[0], packet[1]), (0x80, 0));
            assert_eq!(packet[6..8], [0, 0]);
            assert!(Sum::of(&packet).is_valid(), "{length}");
            assert_eq!(header_bytes(&packet), Some(8));
        }
    }

    #[test]
    fn a_header_that_is_not_ours_has_no_length() {
        for first in [0x20, 0x10, 0xa0] {
            assert_eq!(header_bytes(&[first, 0, 8, 0]), None);
        }
        assert_eq!(header_bytes(&[0, 0, 8]), None);
    }
}
