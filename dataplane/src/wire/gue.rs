//! Generic UDP encapsulation, version 0 (draft-ietf-intarea-gue), without options and without a UDP
//! checksum. The packet inside is none of its business.

use super::field::Field;
use super::udp;

/// Length of the UDP header and GUE's own.
pub const HEADER_BYTES: usize = udp::HEADER_BYTES + OWN_BYTES;

const OWN_BYTES: usize = 4;
/// The lowest of the dynamic ports (RFC 6335).
const FIRST_SOURCE_PORT: u16 = 49_152;

const VERSION_LENGTH: Field<0, 1> = Field;
const PROTOCOL: Field<1, 1> = Field;
const FLAGS: Field<2, 2> = Field;

/// The source port of a flow with this hash, of which it is the upper 14 bits: routers spread flows by it.
#[inline]
#[must_use]
pub const fn source_port(hash: u64) -> u16 {
    FIRST_SOURCE_PORT | (hash >> 50) as u16
}

/// Writes both headers. `length` is that of all behind the IP header; `protocol` is the IP protocol
/// number of what is inside.
#[inline]
pub fn write_header(
    out: &mut [u8; HEADER_BYTES],
    source_port: u16,
    destination_port: u16,
    length: u16,
    protocol: u8,
) {
    let Some((outer, rest)) = out.split_first_chunk_mut() else {
        return;
    };
    udp::write_header(outer, source_port, destination_port, length, 0);
    if let Some(own) = rest.first_chunk_mut::<OWN_BYTES>() {
        VERSION_LENGTH.set(own, 0);
        PROTOCOL.set(own, protocol);
        FLAGS.set(own, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_as_lvs_writes_them() {
        let mut header = [0xff; HEADER_BYTES];
        write_header(&mut header, 46_349, 6080, 56, 4);
        let expected = [0xb5, 0x0d, 0x17, 0xc0, 0, 0x38, 0, 0, 0, 4, 0, 0];
        assert_eq!(header, expected);
    }

    #[test]
    fn a_source_port_is_a_dynamic_one() {
        assert_eq!(source_port(0), 49_152);
        assert_eq!(source_port(u64::MAX), u16::MAX);
        assert_eq!(source_port(1 << 50), 49_153);
    }
}
