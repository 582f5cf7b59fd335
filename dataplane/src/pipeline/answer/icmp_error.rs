//! The ICMP errors that are sent from here, for both address families.
//! To whom they are sent, and how often, is decided elsewhere.

use crate::flow::Addresses;
use crate::parse::Packet;
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

/// Whether the message's checksum is right.
pub(crate) fn is_icmp_checksum_valid(frame: &[u8], packet: &Packet) -> bool {
    let upper = packet.upper(frame);
    match packet.addresses {
        Addresses::V4 { .. } => icmpv4::checksum_is_valid(upper),
        Addresses::V6 {
            source,
            destination,
        } => icmpv6::checksum_is_valid(source, destination, upper),
    }
}
