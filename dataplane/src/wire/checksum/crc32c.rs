//! CRC-32c, SCTP's checksum: RFC 9260 appendix A for whole packets, linearity for changes.
//! No field offset of any protocol belongs here.

/// The Castagnoli polynomial without its highest term. As in all of this file the lowest bit stands
/// for the highest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^8: what one more byte of zeros multiplies a remainder by.
const ONE_BYTE: u32 = 1 << (31 - 8);
/// No IP packet has more bytes than 2^16.
const LENGTH_BITS: usize = 17;

/// The remainders of all single bytes.
const TABLE: [u32; 256] = table();
/// x^(8 * 2^n): what 2^n more bytes of zeros multiply a remainder by.
const ZEROS: [u32; LENGTH_BITS] = zeros();

/// The CRC-32c of `parts`, one behind the other.
#[must_use]
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    !parts
        .iter()
        .fold(!0, |remainder, part| add(remainder, part))
}

/// `check` after a 16-bit field under it, with `behind` bytes behind it, changed from `old` to
/// `new`. Without `behind` bytes to read: the effort grows with the logarithm of their number.
///
/// The CRC of two packets of one length differs by the remainder of their difference alone, so what
/// was wrong by some bits stays wrong by the same bits.
#[inline]
#[must_use]
pub fn update_crc32c(check: u32, old: u16, new: u16, behind: usize) -> u32 {
    if old == new {
        return check;
    }
    check ^ append_zeros(add(0, &(old ^ new).to_be_bytes()), behind)
}

#[expect(clippy::indexing_slicing, reason = "a byte into 256 places")]
#[inline]
fn add(remainder: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(remainder, |remainder, byte| {
        let [lowest, ..] = remainder.to_le_bytes();
        remainder >> 8 ^ TABLE[usize::from(lowest ^ byte)]
    })
}

fn append_zeros(remainder: u32, count: usize) -> u32 {
    ZEROS
        .iter()
        .enumerate()
        .filter(|(bit, _)| count >> bit & 1 == 1)
        .fold(remainder, |remainder, (_, power)| {
            multiply(remainder, *power)
        })
}

/// The product of two polynomials, reduced.
const fn multiply(a: u32, b: u32) -> u32 {
    let (mut power, mut product) = (a, 0);
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if b >> bit & 1 == 1 {
            product ^= power;
        }
        power = times_x(power);
    }
    product
}

const fn times_x(a: u32) -> u32 {
    if a & 1 == 1 {
        a >> 1 ^ POLYNOMIAL
    } else {
        a >> 1
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "256 places, at compile time"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = times_x(remainder);
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "at compile time")]
const fn zeros() -> [u32; LENGTH_BITS] {
    let mut zeros = [ONE_BYTE; LENGTH_BITS];
    let mut bit = 1;
    while bit < LENGTH_BITS {
        zeros[bit] = multiply(zeros[bit - 1], zeros[bit - 1]);
        bit += 1;
    }
    zeros
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 3720 appendix B.4: examples of the same CRC.
    #[test]
    fn the_examples_of_iscsi() {
        let up: Vec<u8> = (0..32).collect();
        let down: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c(&[&up]), 0x46dd_794e);
        assert_eq!(crc32c(&[&down]), 0x113f_db5c);
        assert_eq!(crc32c(&[b"12345", b"", b"6789"]), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn a_crc_is_the_one_that_others_compute(bytes: Vec<u8>, cut: prop::sample::Index) {
            let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(crc32c(&[front, back]), ::crc32c::crc32c(&bytes));
        }

        #[test]
        fn a_change_leads_to_the_crc_of_what_was_changed(
            front: Vec<u8>, old: u16, new: u16, back: Vec<u8>, wrong: u32,
        ) {
            let of = |field: u16| ::crc32c::crc32c(&[&front[..], &field.to_be_bytes(), &back].concat());
            let changed = update_crc32c(of(old) ^ wrong, old, new, back.len());
            prop_assert_eq!(changed, of(new) ^ wrong, "wrong by the same bits");
        }
    }

    #[test]
    fn the_longest_packet_is_short_enough() {
        let mut bytes = vec![7; 65_535];
        let before = crc32c(&[&bytes]);
        bytes[..2].copy_from_slice(&[1, 2]);
        let after = update_crc32c(before, 0x0707, 0x0102, bytes.len() - 2);
        assert_eq!(after, crc32c(&[&bytes]));
    }
}
