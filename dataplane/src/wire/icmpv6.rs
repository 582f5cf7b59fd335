//! ICMPv6: RFC 4443. Echo replies in place and error messages from scratch.
//! Neighbour discovery is in `ndp.rs`; when an error is sent is decided elsewhere.

use std::borrow::{Borrow, BorrowMut};

use super::checksum::{Delta, Sum};
use super::field::Field;
use super::{ipv6, view};
use crate::wire::address::V6;

#[cfg(test)]
mod tests;

/// Length of the part that all messages have.
pub const HEADER_BYTES: usize = 8;
/// Longest datagram with an error (RFC 4443 section 2.4 (c)).
pub const MAX_ERROR_BYTES: usize = ipv6::MIN_MTU_BYTES;

/// Type: destination unreachable.
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// Type: packet too big.
pub const PACKET_TOO_BIG: u8 = 2;
/// Type: time exceeded.
pub const TIME_EXCEEDED: u8 = 3;
/// Type: parameter problem.
pub const PARAMETER_PROBLEM: u8 = 4;
/// Type: echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type: echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type: router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Type: router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type: neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Type: neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Type: redirect.
pub const REDIRECT: u8 = 137;

/// Code of destination unreachable: no route.
pub const NO_ROUTE: u8 = 0;
/// Code of destination unreachable: forbidden.
pub const PROHIBITED: u8 = 1;
/// Code of destination unreachable: the node does not answer.
pub const ADDRESS_UNREACHABLE: u8 = 3;
/// Code of destination unreachable: nobody listens on the port.
pub const PORT_UNREACHABLE: u8 = 4;
/// Code of parameter problem: nobody there speaks the protocol.
pub const UNKNOWN_NEXT_HEADER: u8 = 1;

const TYPE_CODE: Field<0, 2> = Field;
const TYPE: Field<0, 1> = Field;
const CODE: Field<1, 1> = Field;
const CHECKSUM: Field<2, 2> = Field;
const REST: Field<4, 4> = Field;
const ECHO_ID: Field<4, 2> = Field;
const ECHO_SEQUENCE: Field<6, 2> = Field;

const ERROR_HOP_LIMIT: u8 = 64;

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

    /// The checksum of the pseudo header and the whole message.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        CHECKSUM.get(self.bytes())
    }

    /// The last four bytes, whose meaning depends on the type: the MTU in "packet too big".
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
    kind < 128
}

/// Whether the checksum of the whole message `l4` is right.
#[inline]
#[must_use]
pub fn checksum_is_valid(source: V6, destination: V6, l4: &[u8]) -> bool {
    Sum::pseudo_v6(source, destination, ipv6::ICMP, l4.len())
        .bytes(l4)
        .is_valid()
}

/// Writes the right checksum into the whole message `l4`, whatever its checksum field holds.
pub fn fill_checksum(source: V6, destination: V6, l4: &mut [u8]) {
    let sum = Sum::pseudo_v6(source, destination, ipv6::ICMP, l4.len()).bytes(l4);
    if let Some(mut header) = Header::new_mut(l4) {
        let others = sum.u16(!header.checksum());
        header.set_checksum(others.finish());
    }
}

/// Turns the echo request `l4` into its reply; false, and no change, if it is none. The caller
/// swaps the addresses, which leaves the checksum right; any other change of them does not.
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
    /// The packet is larger than the next link allows.
    PacketTooBig {
        /// What would fit, IP header included.
        mtu: u32,
    },
    /// The hop limit ran out.
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
    /// A header makes no sense.
    ParameterProblem {
        /// 0: a wrong field, 1: an unknown next header, 2: an unknown option.
        code: u8,
        /// Offset of the offending byte.
        pointer: u32,
    },
}

impl ErrorMessage {
    const fn fields(self) -> (u8, u8, u32) {
        match self {
            Self::DestinationUnreachable { code } => (DESTINATION_UNREACHABLE, code, 0),
            Self::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu),
            Self::TimeExceeded => (TIME_EXCEEDED, 0, 0),
            Self::Relayed { kind, code } => (kind, code, 0),
            Self::ReassemblyTimeExceeded => (TIME_EXCEEDED, 1, 0),
            Self::ParameterProblem { code, pointer } => (PARAMETER_PROBLEM, code, pointer),
        }
    }
}

/// Writes an IPv6 datagram with an error about the datagram `quoted`, as much of which is quoted
/// as fits into [`MAX_ERROR_BYTES`]. Its length, or `None` if `out` is shorter.
#[must_use]
pub fn write_error(
    out: &mut [u8],
    message: ErrorMessage,
    source: V6,
    destination: V6,
    quoted: &[u8],
) -> Option<usize> {
    const HEADERS: usize = ipv6::HEADER_BYTES + HEADER_BYTES;
    let quoted = quoted.get(..MAX_ERROR_BYTES - HEADERS).unwrap_or(quoted);
    let l4_bytes = HEADER_BYTES + quoted.len();
    let length = ipv6::HEADER_BYTES + l4_bytes;
    let (header, rest) = out.get_mut(..length)?.split_first_chunk_mut()?;
    ipv6::write_header(
        header,
        &ipv6::Fields {
            source,
            destination,
            next_header: ipv6::ICMP,
            hop_limit: ERROR_HOP_LIMIT,
            traffic_class: 0,
            flow_label: 0,
            payload_length: u16::try_from(l4_bytes).ok()?,
        },
    );
    let (icmp, quote) = rest.split_first_chunk_mut::<HEADER_BYTES>()?;
    let (kind, code, value) = message.fields();
    let mut icmp = Header(icmp);
    icmp.set_kind(kind, code);
    icmp.set_rest(value);
    icmp.set_checksum(0);
    let checksum = Sum::pseudo_v6(source, destination, ipv6::ICMP, l4_bytes)
        .bytes(icmp.bytes())
        .bytes(quoted)
        .finish();
    icmp.set_checksum(checksum);
    quote.copy_from_slice(quoted);
    Some(length)
}
