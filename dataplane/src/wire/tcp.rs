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
