//! What names a flow: addresses by role, ports, protocol.
//! No bytes of a frame and no table belong here.

use std::fmt;

pub use crate::wire::address::{Address, Addresses, V4, V6};

crate::listed! {
    /// The transport protocols that are balanced.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[repr(u8)]
    pub enum Protocol {
        /// TCP, RFC 9293.
        Tcp = 6 => "tcp" default,
        /// UDP, RFC 768.
        Udp = 17 => "udp",
        /// SCTP, RFC 9260.
        Sctp = 132 => "sctp",
    }
}

impl Protocol {
    /// The protocol of an IP header's protocol or next-header number, if it is one we balance.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The number in an IP header (IANA "Protocol Numbers").
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a session is found by: the packet of a client to a virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey<A> {
    /// Who asks.
    pub client: A,
    /// What was asked: the VIP.
    pub virtual_address: A,
    /// The client's port.
    pub client_port: u16,
    /// The VIP's port.
    pub virtual_port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

/// What a NAT session is found by when its real server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyKey<A> {
    /// The receiver of the reply.
    pub client: A,
    /// The real server that sends it.
    pub real: A,
    /// The client's port.
    pub client_port: u16,
    /// The real server's port.
    pub real_port: u16,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_known_by_its_number() {
        let known: Vec<Protocol> = (0..=u8::MAX).filter_map(Protocol::from_number).collect();
        assert_eq!(known, Protocol::ALL);
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        }
    }
}
