//! Generic UDP encapsulation, version 0 (draft-ietf-intarea-gue), without options. The packet inside is
//! none of its business.

use super::checksum::Sum;
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

/// What both headers say.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The UDP port here, see [`source_port`].
    pub source_port: u16,
    /// The UDP port of the other end.
    pub destination_port: u16,
    /// The IP protocol number of what is inside.
    pub protocol: u8,
    /// The sum of the pseudo header, if there is to be a UDP checksum. Without, it is 0, which a
    /// tunnel may send over IPv6 too (RFC 6935 section 5; RFC 6936 section 3.1).
    pub pseudo_header: Option<Sum>,
}

/// Writes both headers at the beginning of `out`, which ends with the packet inside; `length` is all of
/// it. Nothing is written where the headers do not fit.
#[inline]
pub fn write_headers(out: &mut [u8], fields: &Fields, length: u16) {
    let Some((outer, rest)) = out.split_first_chunk_mut() else {
        return;
    };
    let Some(own) = rest.first_chunk_mut::<OWN_BYTES>() else {
        return;
    };
    udp::write_header(
        outer,
        fields.source_port,
        fields.destination_port,
        length,
        0,
    );
    VERSION_LENGTH.set(own, 0);
    PROTOCOL.set(own, fields.protocol);
    FLAGS.set(own, 0);
    if let Some(pseudo_header) = fields.pseudo_header {
        let checksum = pseudo_header.bytes(out).finish_udp();
        if let Some(mut header) = udp::Header::new_mut(out) {
            header.set_checksum(checksum);
        }
    }
}

/// Whether the headers may be ours: a data message of version 0 without options.
#[must_use]
pub fn is_plain(headers: &[u8]) -> bool {
    headers
        .get(udp::HEADER_BYTES..)
        .and_then(<[u8]>::first_chunk::<OWN_BYTES>)
        .is_some_and(|own| VERSION_LENGTH.get(own) == 0 && FLAGS.get(own) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::address::V4;

    const FIELDS: Fields = Fields {
        source_port: 46_349,
        destination_port: 6080,
        protocol: 4,
        pseudo_header: None,
    };

    #[test]
    fn the_headers_are_as_lvs_writes_them() {
        let mut header = [0xff; HEADER_BYTES];
        write_headers(&mut header, &FIELDS, 56);
        let expected = [0xb5, 0x0d, 0x17, 0xc0, 0, 0x38, 0, 0, 0, 4, 0, 0];
        assert_eq!(header, expected);
        assert!(is_plain(&header));
    }

    #[test]
    fn a_checksum_covers_headers_and_packet() {
        let pseudo = |length| Sum::pseudo_v4(V4(0x0a00_0001), V4(0x0a00_0002), 17, length);
        for length in [12_u16, 13, 60] {
            let mut packet = vec![0xa5; length.into()];
            let fields = Fields {
                pseudo_header: Some(pseudo(length.into())),
                ..FIELDS
            };
            write_headers(&mut packet, &fields, length);
            assert!(pseudo(length.into()).bytes(&packet).is_valid(), "{length}");
        }
    }

    #[test]
    fn headers_with_options_are_not_ours() {
        for (at, value) in [(8, 1), (8, 0x20), (8, 0x40), (10, 0x80), (11, 1)] {
            let mut header = [0; HEADER_BYTES];
            header[at] = value;
            assert!(!is_plain(&header), "{at}");
        }
        assert!(!is_plain(&[0; 11]));
    }

    #[test]
    fn a_source_port_is_a_dynamic_one() {
        assert_eq!(source_port(0), 49_152);
        assert_eq!(source_port(u64::MAX), u16::MAX);
        assert_eq!(source_port(1 << 50), 49_153);
    }
}
