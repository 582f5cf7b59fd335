//! The GRE header without checksum, key and sequence number: RFC 2784.
//! The packet inside is none of its business.

use super::field::Field;

/// Length of the header.
pub const HEADER_BYTES: usize = 4;
/// GRE's protocol number in an IP header.
pub const PROTOCOL: u8 = 47;

const FLAGS_VERSION: Field<0, 2> = Field;
const ETHER_TYPE: Field<2, 2> = Field;

/// Writes a whole header. `ether_type` tells what is inside.
#[inline]
pub fn write_header(out: &mut [u8; HEADER_BYTES], ether_type: u16) {
    FLAGS_VERSION.set(out, 0);
    ETHER_TYPE.set(out, ether_type);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_is_set() {
        let mut header = [0xff; HEADER_BYTES];
        write_header(&mut header, 0x86dd);
        assert_eq!(header, [0, 0, 0x86, 0xdd]);
    }
}
