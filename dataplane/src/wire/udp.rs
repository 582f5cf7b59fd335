//! The UDP header: RFC 768.
//! No session state belongs here.

use std::borrow::{Borrow, BorrowMut};

use super::checksum::Delta;
use super::field::Field;
use super::view;

/// Length of the header.
pub const HEADER_BYTES: usize = 8;

const SOURCE_PORT: Field<0, 2> = Field;
const DESTINATION_PORT: Field<2, 2> = Field;
const LENGTH: Field<4, 2> = Field;
const CHECKSUM: Field<6, 2> = Field;

view! {
    /// The whole header.
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

    /// The length of header and data, as stated: nobody has checked it.
    #[inline]
    #[must_use]
    pub fn length(&self) -> u16 {
        LENGTH.get(self.bytes())
    }

    /// The checksum; 0 means none.
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

    /// Sets the length of header and data.
    #[inline]
    pub fn set_length(&mut self, bytes: u16) {
        LENGTH.set(self.bytes_mut(), bytes);
    }

    /// Sets the checksum; 0 means none.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        CHECKSUM.set(self.bytes_mut(), checksum);
    }

    /// Brings the checksum, if there is one, up to date with a change of what it covers.
    #[inline]
    pub fn update_checksum(&mut self, delta: Delta) {
        let checksum = delta.apply_udp(self.checksum());
        self.set_checksum(checksum);
    }
}

/// Writes a whole header.
#[inline]
pub fn write_header(
    out: &mut [u8; HEADER_BYTES],
    source_port: u16,
    destination_port: u16,
    length: u16,
    checksum: u16,
) {
    SOURCE_PORT.set(out, source_port);
    DESTINATION_PORT.set(out, destination_port);
    LENGTH.set(out, length);
    CHECKSUM.set(out, checksum);
}
