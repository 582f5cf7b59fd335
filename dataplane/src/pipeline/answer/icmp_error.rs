//! The ICMP errors that are sent from here, for both address families.
//! To whom they are sent, and how often, is decided elsewhere.

use std::net::IpAddr;

use crate::flow::{V4, V6};
use crate::io::Pool;
use crate::pipeline::action::Context;
use crate::pipeline::leave::exit::Exit;
use crate::wire::{icmpv4, icmpv6};

/// The ICMP errors that a router sends, for both address families.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Error {
    PortUnreachable,
    /// `link` is the offset of the next header field that names the protocol, in an IPv6 datagram.
    ProtocolUnreachable {
        link: u16,
    },
    HostUnreachable,
    TimeExceeded,
    ReassemblyTimeExceeded,
    TooBig {
        mtu: usize,
    },
    /// The type and code of an error that another router sent, for the receiver's address family.
    Relayed {
        kind: u8,
        code: u8,
    },
}

/// Sends an error about `datagram`, which may be truncated. Returns the error's length, or 0 if none is sent.
pub(crate) fn send_error<P: Pool>(
    exit: &mut Exit<P>,
    context: &Context<'_>,
    datagram: &[u8],
    (from, to): (IpAddr, IpAddr),
    error: Error,
) -> usize {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let id = exit.take_id();
            let (from, to): (V4, V4) = (from.into(), to.into());
            let room = icmpv4::MAX_ERROR_BYTES;
            let write =
                |out: &mut [u8]| icmpv4::write_error(out, error.v4(), from, to, id, datagram);
            exit.originate(context, to.into(), room, write)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let (from, to): (V6, V6) = (from.into(), to.into());
            let room = icmpv6::MAX_ERROR_BYTES;
            let write = |out: &mut [u8]| icmpv6::write_error(out, error.v6(), from, to, datagram);
            exit.originate(context, to.into(), room, write)
        }
        _ => 0,
    }
}

impl Error {
    fn v4(self) -> icmpv4::ErrorMessage {
        match self {
            Self::PortUnreachable => icmpv4::ErrorMessage::DestinationUnreachable {
                code: icmpv4::PORT_UNREACHABLE,
            },
            Self::ProtocolUnreachable { .. } => icmpv4::ErrorMessage::DestinationUnreachable {
                code: icmpv4::PROTOCOL_UNREACHABLE,
            },
            Self::HostUnreachable => icmpv4::ErrorMessage::DestinationUnreachable {
                code: icmpv4::HOST_UNREACHABLE,
            },
            Self::TimeExceeded => icmpv4::ErrorMessage::TimeExceeded,
            Self::ReassemblyTimeExceeded => icmpv4::ErrorMessage::ReassemblyTimeExceeded,
            Self::Relayed { kind, code } => icmpv4::ErrorMessage::Relayed { kind, code },
            Self::TooBig { mtu } => icmpv4::ErrorMessage::FragmentationNeeded {
                mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            },
        }
    }

    fn v6(self) -> icmpv6::ErrorMessage {
        match self {
            Self::PortUnreachable => icmpv6::ErrorMessage::DestinationUnreachable {
                code: icmpv6::PORT_UNREACHABLE,
            },
            // RFC 4443 section 3.4: an unknown protocol is an unknown next header in IPv6.
            Self::ProtocolUnreachable { link } => icmpv6::ErrorMessage::ParameterProblem {
                code: icmpv6::UNKNOWN_NEXT_HEADER,
                pointer: u32::from(link),
            },
            Self::HostUnreachable => icmpv6::ErrorMessage::DestinationUnreachable {
                code: icmpv6::ADDRESS_UNREACHABLE,
            },
            Self::TimeExceeded => icmpv6::ErrorMessage::TimeExceeded,
            Self::ReassemblyTimeExceeded => icmpv6::ErrorMessage::ReassemblyTimeExceeded,
            Self::Relayed { kind, code } => icmpv6::ErrorMessage::Relayed { kind, code },
            Self::TooBig { mtu } => icmpv6::ErrorMessage::PacketTooBig {
                mtu: u32::try_from(mtu).unwrap_or(u32::MAX),
            },
        }
    }
}
