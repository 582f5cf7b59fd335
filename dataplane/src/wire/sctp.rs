//! The SCTP common header and the chunks behind it: RFC 9260 section 3.
//! No association state belongs here.

use std::borrow::{Borrow, BorrowMut};

use super::checksum::{crc32c, update_crc32c};
use super::field::Field;
use super::view;

#[cfg(test)]
mod tests;

/// Length of the common header.
pub const HEADER_BYTES: usize = 12;
/// Length of a chunk's header.
pub const CHUNK_HEADER_BYTES: usize = 4;

/// Chunk: user data.
pub const DATA: u8 = 0;
/// Chunk: opens an association.
pub const INIT: u8 = 1;
/// Chunk: answers INIT with a cookie.
pub const INIT_ACK: u8 = 2;
/// Chunk: acknowledges data.
pub const SACK: u8 = 3;
/// Chunk: ends the association at once.
pub const ABORT: u8 = 6;
/// Chunk: the sender has no more data.
pub const SHUTDOWN: u8 = 7;
/// Chunk: answers SHUTDOWN.
pub const SHUTDOWN_ACK: u8 = 8;
/// Chunk: something was wrong; the association lives on.
pub const ERROR: u8 = 9;
/// Chunk: returns the cookie.
pub const COOKIE_ECHO: u8 = 10;
/// Chunk: answers COOKIE ECHO; the association is open.
pub const COOKIE_ACK: u8 = 11;
/// Chunk: answers SHUTDOWN ACK; the association is closed.
pub const SHUTDOWN_COMPLETE: u8 = 14;

const SOURCE_PORT: Field<0, 2> = Field;
const DESTINATION_PORT: Field<2, 2> = Field;
const VERIFICATION_TAG: Field<4, 4> = Field;
const CHECKSUM: Field<8, 4> = Field;

const CHUNK_TYPE: Field<0, 1> = Field;
const CHUNK_LENGTH: Field<2, 2> = Field;

/// Bytes from the end of the source port, and of the destination port, to the packet's first chunk.
const BEHIND_SOURCE_PORT: usize = HEADER_BYTES - 2;
const BEHIND_DESTINATION_PORT: usize = HEADER_BYTES - 4;

view! {
    /// The common header.
    Header, HEADER_BYTES
}

view! {
    /// The header of a chunk; its value may follow.
    Chunk, CHUNK_HEADER_BYTES
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

    /// What tells this association's packets from others': chosen by the receiver, 0 in an INIT.
    #[inline]
    #[must_use]
    pub fn verification_tag(&self) -> u32 {
        VERIFICATION_TAG.get(self.bytes())
    }

    /// The CRC-32c as a number. Its bytes travel in the reverse order of all others (RFC 9260
    /// appendix A).
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u32 {
        CHECKSUM.get(self.bytes()).swap_bytes()
    }
}

impl<B: BorrowMut<[u8; HEADER_BYTES]>> Header<B> {
    /// Sets the verification tag, and leaves the checksum alone.
    #[inline]
    pub fn set_verification_tag(&mut self, tag: u32) {
        VERIFICATION_TAG.set(self.bytes_mut(), tag);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u32) {
        CHECKSUM.set(self.bytes_mut(), checksum.swap_bytes());
    }

    /// Sets the sender's port. The checksum follows, in a packet with `chunk_bytes` of chunks.
    #[inline]
    pub fn readdress_source(&mut self, port: u16, chunk_bytes: usize) {
        let behind = BEHIND_SOURCE_PORT + chunk_bytes;
        let checksum = update_crc32c(self.checksum(), self.source_port(), port, behind);
        SOURCE_PORT.set(self.bytes_mut(), port);
        self.set_checksum(checksum);
    }

    /// Sets the receiver's port. The checksum follows, in a packet with `chunk_bytes` of chunks.
    #[inline]
    pub fn readdress_destination(&mut self, port: u16, chunk_bytes: usize) {
        let behind = BEHIND_DESTINATION_PORT + chunk_bytes;
        let checksum = update_crc32c(self.checksum(), self.destination_port(), port, behind);
        DESTINATION_PORT.set(self.bytes_mut(), port);
        self.set_checksum(checksum);
    }

    /// Sets both ports, and leaves the checksum alone.
    #[inline]
    pub fn set_ports(&mut self, source: u16, destination: u16) {
        SOURCE_PORT.set(self.bytes_mut(), source);
        DESTINATION_PORT.set(self.bytes_mut(), destination);
    }
}

impl<B: Borrow<[u8; CHUNK_HEADER_BYTES]>> Chunk<B> {
    /// The type: such as [`INIT`].
    #[inline]
    #[must_use]
    pub fn kind(&self) -> u8 {
        CHUNK_TYPE.get(self.bytes())
    }

    /// The length as stated, with this header and without padding: nobody has checked it.
    #[inline]
    #[must_use]
    pub fn length(&self) -> u16 {
        CHUNK_LENGTH.get(self.bytes())
    }
}

impl<B: BorrowMut<[u8; CHUNK_HEADER_BYTES]>> Chunk<B> {
    /// Sets the type and the length in bytes, with this header and without padding. Leaves the
    /// flags alone.
    #[inline]
    pub fn set(&mut self, kind: u8, length: u16) {
        CHUNK_TYPE.set(self.bytes_mut(), kind);
        CHUNK_LENGTH.set(self.bytes_mut(), length);
    }
}

/// The type of the chunk that says what the packet does to its association; `None` if the common
/// header and one chunk's header do not fit.
///
/// That is the first chunk: INIT, INIT ACK and SHUTDOWN COMPLETE are alone (RFC 9260 section 6.10),
/// and COOKIE ECHO and COOKIE ACK come first (section 5.1). Behind the latter two an ABORT may be
/// bundled, which then counts, as in IPVS. No chunk further behind is looked at.
#[inline]
#[must_use]
pub fn deciding_chunk(packet: &[u8]) -> Option<u8> {
    let first = Chunk::at(packet, HEADER_BYTES)?;
    let kind = first.kind();
    if !matches!(kind, COOKIE_ECHO | COOKIE_ACK) {
        return Some(kind);
    }
    let length = usize::from(first.length());
    // A length of less than the header names no place behind the chunk.
    let second = (length >= CHUNK_HEADER_BYTES)
        .then(|| Chunk::at(packet, HEADER_BYTES + length.next_multiple_of(4)))
        .flatten();
    match second {
        Some(second) if second.kind() == ABORT => Some(ABORT),
        _ => Some(kind),
    }
}

/// The right checksum of `packet`, whatever its checksum field holds.
#[must_use]
pub fn checksum_of(packet: &[u8]) -> u32 {
    let Some((header, chunks)) = packet.split_first_chunk::<HEADER_BYTES>() else {
        return crc32c(&[packet]);
    };
    let mut header = *header;
    Header(&mut header).set_checksum(0);
    crc32c(&[&header, chunks])
}
