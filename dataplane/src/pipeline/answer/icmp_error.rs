//! The ICMP errors that are made here, in both families' words.
//! Who gets one, and how often, is not decided here.

use crate::flow::Addresses;
use crate::parse::Packet;
use crate::wire::{icmpv4, icmpv6};

/// The errors that a forwarder makes, in both families' words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Error {
    PortUnreachable,
    /// `link` is where an IPv6 datagram names the protocol above.
    ProtocolUnreachable {
        link: u16,
    },
    HostUnreachable,
    TimeExceeded,
    ReassemblyTimeExceeded,
    TooBig {
        mtu: usize,
    },
    /// One that somebody else made, in the words of the receiver's family.
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
