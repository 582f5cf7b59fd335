//! The TCP header: RFC 9293 section 3.1.
//! No connection state belongs here.

use std::borrow::{Borrow, BorrowMut};

use super::checksum::Delta;
use super::field::Field;
use super::view;

/// Length of a header without options.
pub const HEADER_BYTES: usize = 20;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Opens a connection.
pub const SYN: u8 = 0x02;
/// Resets a connection.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;
/// ECN echo (RFC 3168).
pub const ECE: u8 = 0x40;
/// Congestion window reduced (RFC 3168).
pub const CWR: u8 = 0x80;

const SOURCE_PORT: Field<0, 2> = Field;
const DESTINATION_PORT: Field<2, 2> = Field;
const SEQUENCE: Field<4, 4> = Field;
const ACKNOWLEDGEMENT: Field<8, 4> = Field;
const DATA_OFFSET: Field<12, 1> = Field;
const FLAGS: Field<13, 1> = Field;
const WINDOW: Field<14, 2> = Field;
const CHECKSUM: Field<16, 2> = Field;

view! {
    /// The first 20 bytes of a header; options may follow.
    Header, HEADER_BYTES
}

impl<B: Borrow<[u8; HEADER_BYTES]>> Header<B> {
    /// The sender's port.
    #[inline]
    #[must_use]
    pub fn source_port(&self) -> u16 {
        SOURCE_PORT.get(self.bytes())
    }

    /// The receiver's port.
    #[inline]
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        DESTINATION_PORT.get(self.bytes())
    }

    /// The first byte's number.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> u32 {
        SEQUENCE.get(self.bytes())
    }

    /// The number of the byte that the sender expects next.
    #[inline]
    #[must_use]
    pub fn acknowledgement(&self) -> u32 {
        ACKNOWLEDGEMENT.get(self.bytes())
    }

    /// The header's length with options, as stated: 0 to 60.
    #[inline]
    #[must_use]
    pub fn header_bytes(&self) -> u8 {
        (DATA_OFFSET.get(self.bytes()) >> 4) * 4
    }

    /// The flags, `CWR` to `FIN`.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u8 {
        FLAGS.get(self.bytes())
    }

    /// The window, unscaled.
    #[inline]
    #[must_use]
    pub fn window(&self) -> u16 {
        WINDOW.get(self.bytes())
    }

    /// The checksum.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        CHECKSUM.get(self.bytes())
    }
}

/// Setters leave the checksum alone.
impl<B: BorrowMut<[u8; HEADER_BYTES]>> Header<B> {
    /// Sets the sender's port.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        SOURCE_PORT.set(self.bytes_mut(), port);
    }

    /// Sets the receiver's port.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        DESTINATION_PORT.set(self.bytes_mut(), port);
    }

    /// Sets the first byte's number.
    #[inline]
    pub fn set_sequence(&mut self, number: u32) {
        SEQUENCE.set(self.bytes_mut(), number);
    }

    /// Sets the number of the byte expected next.
    #[inline]
    pub fn set_acknowledgement(&mut self, number: u32) {
        ACKNOWLEDGEMENT.set(self.bytes_mut(), number);
    }

    /// Sets the header's length, in bytes (a multiple of four, at most 60).
    #[inline]
    pub fn set_header_bytes(&mut self, bytes: u8) {
        DATA_OFFSET.set(self.bytes_mut(), (bytes / 4) << 4);
    }

    /// Sets the flags.
    #[inline]
    pub fn set_flags(&mut self, flags: u8) {
        FLAGS.set(self.bytes_mut(), flags);
    }

    /// Sets the window.
    #[inline]
    pub fn set_window(&mut self, window: u16) {
        WINDOW.set(self.bytes_mut(), window);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        CHECKSUM.set(self.bytes_mut(), checksum);
    }

    /// Brings the checksum up to date with a change of what it covers.
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        let checksum = delta.apply(self.checksum());
        self.set_checksum(checksum);
    }
}

/// Lowers the maximum segment size that the SYN `segment` offers (RFC 9293 section 3.7.1) to `most`
/// bytes, and says whether it had to. One without the option is left alone, and so is whatever stands
/// behind a malformed option.
pub fn clamp_mss(segment: &mut [u8], most: u16) -> bool {
    let Some(header_bytes) = Header::new(segment).map(|header| usize::from(header.header_bytes()))
    else {
        return false;
    };
    let Some((place, offered)) = segment.get(..header_bytes).and_then(find_mss) else {
        return false;
    };
    if offered <= most {
        return false;
    }
    if let Some(field) = segment
        .get_mut(place..)
        .and_then(<[u8]>::first_chunk_mut::<2>)
    {
        MSS.set(field, most);
    }
    // The sum is of 16-bit words: behind an odd number of bytes, the option lies across two of them,
    // and a sum of swapped words is the swapped sum (RFC 1071 section 2 (B)).
    let (old, new) = if place % 2 == 0 {
        (offered, most)
    } else {
        (offered.swap_bytes(), most.swap_bytes())
    };
    if let Some(mut header) = Header::new_mut(segment) {
        header.update_checksum(Delta::NONE.u16(old, new));
    }
    true
}

const MSS: Field<0, 2> = Field;

/// Where the value of the MSS option is in a header with options, and the value.
fn find_mss(header: &[u8]) -> Option<(usize, u16)> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    let mut at = HEADER_BYTES;
    loop {
        match *header.get(at..)? {
            [] | [END, ..] => return None,
            [NO_OPERATION, ..] => at += 1,
            [MAXIMUM_SEGMENT_SIZE, 4, high, low, ..] => {
                return Some((at + 2, MSS.get(&[high, low])));
            }
            [MAXIMUM_SEGMENT_SIZE, ..] => return None,
            [_, length, ..] if length >= 2 => at += usize::from(length),
            _ => return None,
        }
    }
}

/// Whether the segment carries data.
#[must_use]
pub fn has_data(segment: &[u8]) -> bool {
    Header::new(segment).is_some_and(|header| segment.len() > usize::from(header.header_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::Sum;

    /// A SYN with these options, padded, and a checksum over itself alone.
    fn syn(options: &[u8]) -> Vec<u8> {
        let mut segment = [&[0; HEADER_BYTES][..], options, b"data"].concat();
        let mut header = Header::new_mut(&mut segment).unwrap();
        header.set_flags(SYN);
        header.set_header_bytes(u8::try_from(HEADER_BYTES + options.len()).unwrap());
        let checksum = Sum::of(&segment).finish();
        Header::new_mut(&mut segment)
            .unwrap()
            .set_checksum(checksum);
        segment
    }

    #[test]
    fn the_segment_size_is_lowered_wherever_it_stands_and_the_checksum_follows() {
        for options in [
            [2, 4, 0x05, 0xb4, 1, 1, 1, 1],
            [1, 2, 4, 0x05, 0xb4, 1, 1, 1],
            [3, 3, 7, 2, 4, 0x05, 0xb4, 0],
            [1, 1, 1, 1, 2, 4, 0x05, 0xb4],
        ] {
            let mut segment = syn(&options);
            let at = 20 + options.iter().position(|byte| *byte == 0x05).unwrap();
            assert!(clamp_mss(&mut segment, 1240));
            assert_eq!(segment[at..at + 2], 1240_u16.to_be_bytes());
            assert!(Sum::of(&segment).is_valid(), "{options:?}");
        }
    }

    #[test]
    fn what_is_lower_absent_or_malformed_is_left_as_it_is() {
        for options in [
            [2, 4, 0x04, 0xd8, 1, 1, 1, 1],
            [1, 1, 1, 1, 1, 1, 1, 1],
            [0, 2, 4, 0x05, 0xb4, 0, 0, 0],
            [2, 3, 0x05, 0xb4, 1, 1, 1, 1],
            [5, 0, 2, 4, 0x05, 0xb4, 1, 1],
            [5, 1, 2, 4, 0x05, 0xb4, 1, 1],
            [5, 40, 2, 4, 0x05, 0xb4, 1, 1],
            [1, 1, 1, 1, 1, 2, 4, 0x05],
        ] {
            let segment = syn(&options);
            let mut same = segment.clone();
            assert!(!clamp_mss(&mut same, 1240), "{options:?}");
            assert_eq!(same, segment);
        }
        // A data offset behind the segment's end.
        let mut segment = syn(&[2, 4, 0x05, 0xb4]);
        segment[12] = 0xf0;
        assert!(!clamp_mss(&mut segment, 1240));
        assert!(!clamp_mss(&mut [0; 19], 1240));
    }
}
