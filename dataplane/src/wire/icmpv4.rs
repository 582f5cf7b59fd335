//! ICMP: RFC 792. Echo replies in place and error messages from scratch.
//! When an error is sent, and how often, is decided elsewhere.

use std::borrow::{Borrow, BorrowMut};

use super::checksum::{Delta, Sum};
use super::field::Field;
use super::{ipv4, view};
use crate::wire::address::V4;

#[cfg(test)]
mod tests;

/// Length of the part that all messages have.
pub const HEADER_BYTES: usize = 8;
/// Longest datagram with an error (RFC 1812 section 4.3.2.3).
pub const MAX_ERROR_BYTES: usize = 576;

/// Type: echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type: destination unreachable.
pub const DESTINATION_UNREACHABLE: u8 = 3;
/// Type: source quench (RFC 6633: ignored).
pub const SOURCE_QUENCH: u8 = 4;
/// Type: redirect.
pub const REDIRECT: u8 = 5;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Type: parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;

/// Code of destination unreachable: no route to the network.
pub const NET_UNREACHABLE: u8 = 0;
/// Code of destination unreachable: the host does not answer.
pub const HOST_UNREACHABLE: u8 = 1;
/// Code of destination unreachable: nobody there speaks the protocol.
pub const PROTOCOL_UNREACHABLE: u8 = 2;
/// Code of destination unreachable: nobody listens on the port.
pub const PORT_UNREACHABLE: u8 = 3;
/// Code of destination unreachable: too large, and must not be fragmented.
pub const FRAGMENTATION_NEEDED: u8 = 4;

const TYPE_CODE: Field<0, 2> = Field;
const TYPE: Field<0, 1> = Field;
const CODE: Field<1, 1> = Field;
const CHECKSUM: Field<2, 2> = Field;
const REST: Field<4, 4> = Field;
const ECHO_ID: Field<4, 2> = Field;
const ECHO_SEQUENCE: Field<6, 2> = Field;
const NEXT_HOP_MTU: Field<6, 2> = Field;

/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const ERROR_TOS: u8 = 0xc0;
const ERROR_TTL: u8 = 64;

view! {
    /// The first eight bytes of a message.
    Header, HEADER_BYTES
}

impl<B: Borrow<[u8; HEADER_BYTES]>> Header<B> {
    /// The type.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> u8 {
        TYPE.get(self.bytes())
    }

    /// The code, whose meaning depends on the type.
    #[inline]
    #[must_use]
    pub fn code(&self) -> u8 {
        CODE.get(self.bytes())
    }

    /// The checksum of the whole message.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        CHECKSUM.get(self.bytes())
    }

    /// The last four bytes, whose meaning depends on the type.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> u32 {
        REST.get(self.bytes())
    }

    /// The identifier of an echo.
    #[inline]
    #[must_use]
    pub fn echo_id(&self) -> u16 {
        ECHO_ID.get(self.bytes())
    }

    /// The sequence number of an echo.
    #[inline]
    #[must_use]
    pub fn echo_sequence(&self) -> u16 {
        ECHO_SEQUENCE.get(self.bytes())
    }

    /// The next hop's MTU in "fragmentation needed" (RFC 1191); 0 from routers before that.
    #[inline]
    #[must_use]
    pub fn next_hop_mtu(&self) -> u16 {
        NEXT_HOP_MTU.get(self.bytes())
    }
}

/// Setters leave the checksum alone.
impl<B: BorrowMut<[u8; HEADER_BYTES]>> Header<B> {
    /// Sets the type and the code.
    #[inline]
    pub fn set_kind(&mut self, kind: u8, code: u8) {
        TYPE.set(self.bytes_mut(), kind);
        CODE.set(self.bytes_mut(), code);
    }

    /// Sets the last four bytes.
    #[inline]
    pub fn set_rest(&mut self, rest: u32) {
        REST.set(self.bytes_mut(), rest);
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

/// Whether messages of this type are errors, which quote a packet and are never answered.
#[inline]
#[must_use]
pub const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
    )
}

/// Whether the checksum of the whole message `l4` is right.
#[inline]
#[must_use]
pub fn checksum_is_valid(l4: &[u8]) -> bool {
    Sum::of(l4).is_valid()
}

/// Writes the right checksum into the whole message `l4`, whatever its checksum field holds.
pub fn fill_checksum(l4: &mut [u8]) {
    let sum = Sum::of(l4);
    if let Some(mut header) = Header::new_mut(l4) {
        let others = sum.u16(!header.checksum());
        header.set_checksum(others.finish());
    }
}

/// Turns the echo request `l4` into its reply; false, and no change, if it is none. The caller
/// swaps the addresses.
#[must_use]
pub fn make_echo_reply(l4: &mut [u8]) -> bool {
    let Some(mut header) = Header::new_mut(l4) else {
        return false;
    };
    if header.kind() != ECHO_REQUEST {
        return false;
    }
    let old = TYPE_CODE.get(header.bytes());
    TYPE.set(header.bytes_mut(), ECHO_REPLY);
    let new = TYPE_CODE.get(header.bytes());
    header.update_checksum(Delta::NONE.u16(old, new));
    true
}

/// An error message that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorMessage {
    /// The packet cannot be delivered.
    DestinationUnreachable {
        /// Why: such as [`PORT_UNREACHABLE`].
        code: u8,
    },
    /// The packet is larger than `mtu` and must not be fragmented (RFC 1191).
    FragmentationNeeded {
        /// What would fit, IP header included.
        mtu: u16,
    },
    /// TTL ran out.
    TimeExceeded,
    /// What somebody else said, without anything in the last four bytes.
    Relayed {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// The packet's fragments did not arrive in time.
    ReassemblyTimeExceeded,
    /// The header makes no sense.
    ParameterProblem {
        /// Offset of the offending byte.
        pointer: u8,
    },
}

impl ErrorMessage {
    const fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::DestinationUnreachable { code } => (DESTINATION_UNREACHABLE, code, 0),
            Self::FragmentationNeeded { mtu } => {
                (DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, mtu as u32)
            }
            Self::TimeExceeded => (TIME_EXCEEDED, 0, 0),
            Self::Relayed { kind, code } => (kind, code, 0),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1, 0),
            Self::ParameterProblem { pointer } => (PARAMETER_PROBLEM, 0, (pointer as u32) << 24),
        }
    }
}

/// Writes an IPv4 datagram with an error about the datagram `quoted`, as much of which is quoted
/// as fits into [`MAX_ERROR_BYTES`]. Its length, or `None` if `out` is shorter.
#[must_use]
pub fn write_error(
    out: &mut [u8],
    message: ErrorMessage,
    source: V4,
    destination: V4,
    id: u16,
    quoted: &[u8],
) -> Option<usize> {
    const HEADERS: usize = ipv4::HEADER_BYTES + HEADER_BYTES;
    let quoted = quoted.get(..MAX_ERROR_BYTES - HEADERS).unwrap_or(quoted);
    let length = HEADERS + quoted.len();
    let (header, rest) = out.get_mut(..length)?.split_first_chunk_mut()?;
    ipv4::write_header(
        header,
        &ipv4::Fields {
            source,
            destination,
            protocol: ipv4::ICMP,
            ttl: ERROR_TTL,
            tos: ERROR_TOS,
            id,
            dont_fragment: false,
            total_length: u16::try_from(length).ok()?,
        },
    );
    let (icmp, quote) = rest.split_first_chunk_mut::<HEADER_BYTES>()?;
    let (kind, code, value) = message.fields();
    let mut icmp = Header(icmp);
    icmp.set_kind(kind, code);
    icmp.set_rest(value);
    icmp.set_checksum(0);
    icmp.set_checksum(Sum::of(icmp.bytes()).bytes(quoted).finish());
    quote.copy_from_slice(quoted);
    Some(length)
}
