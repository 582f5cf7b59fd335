//! What a session does to the packets of one direction, and to ICMP errors that go the same way, as one value: the fast
//! path and the general path apply the same, so that a new forwarding method is a new way to make one.
//! Whether a packet fits, and where it leaves, is not asked here.

use super::nat::{self, Side, Socket};
use crate::flow::Protocol;
use crate::parse::{Packet, Plain};
use crate::spec::forward::ForwardMethod;
use crate::wire::family::Family;

/// Where a packet comes from and goes to, by its headers.
#[derive(Debug, Clone, Copy)]
pub struct Ends<A> {
    protocol: Protocol,
    source: Socket<A>,
    destination: Socket<A>,
}

impl<A: Family> Ends<A> {
    /// Those of a packet; `None` if it has no ports that are translated.
    #[inline]
    #[must_use]
    pub fn of(packet: &Packet) -> Option<Self> {
        let (source, destination) = A::pair(packet.addresses)?;
        Some(Self {
            protocol: packet.balanced_protocol()?,
            source: Socket {
                address: source,
                port: packet.source_port,
            },
            destination: Socket {
                address: destination,
                port: packet.destination_port,
            },
        })
    }

    /// Those of a plain packet.
    #[inline(always)]
    #[must_use]
    pub const fn of_plain(plain: &Plain<A>) -> Self {
        Self {
            protocol: plain.protocol,
            source: Socket {
                address: plain.source,
                port: plain.source_port,
            },
            destination: Socket {
                address: plain.destination,
                port: plain.destination_port,
            },
        }
    }
}

/// What changes in each packet besides its hops and its Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<A> {
    /// Nothing.
    None,
    /// This takes the place of its source: a reply bears the virtual socket.
    Source(Socket<A>),
    /// This takes the place of its destination: a request goes to the real server's socket.
    Destination(Socket<A>),
    /// It travels inside another packet.
    Encapsulate,
}

impl<A: Family> Change<A> {
    /// That of a client's packets by `method`; `real` tells the real server's socket, which is asked if the method
    /// translates.
    #[inline(always)]
    #[must_use]
    pub fn of_request(method: ForwardMethod, real: impl FnOnce() -> Option<Socket<A>>) -> Self {
        match method {
            ForwardMethod::Direct => Self::None,
            ForwardMethod::Nat => real().map_or(Self::None, Self::Destination),
            ForwardMethod::Tunnel => Self::Encapsulate,
        }
    }

    /// That of a real server's packets by `method`, which bear the virtual socket afterwards; `None` if they do not
    /// come through here.
    #[inline(always)]
    #[must_use]
    pub const fn of_reply(method: ForwardMethod, virtual_: Socket<A>) -> Option<Self> {
        match method {
            ForwardMethod::Direct | ForwardMethod::Tunnel => None,
            ForwardMethod::Nat => Some(Self::Source(virtual_)),
        }
    }

    /// The side that is replaced, and by what.
    #[inline(always)]
    const fn replaced(self) -> Option<(Side, Socket<A>)> {
        match self {
            Self::None | Self::Encapsulate => None,
            Self::Source(new) => Some((Side::Source, new)),
            Self::Destination(new) => Some((Side::Destination, new)),
        }
    }

    /// Whether addresses and ports change.
    #[inline(always)]
    #[must_use]
    pub const fn translates(self) -> bool {
        self.replaced().is_some()
    }

    /// Whether the packet travels inside another one.
    #[inline(always)]
    #[must_use]
    pub const fn encapsulates(self) -> bool {
        match self {
            Self::Encapsulate => true,
            Self::None | Self::Source(_) | Self::Destination(_) => false,
        }
    }

    /// Changes the packet that is `ip` from its IP header to its last byte, with TCP's, UDP's or SCTP's header at
    /// `l4`; it has one hop less afterwards. Says whether it is a datagram without a checksum, which stays without.
    #[inline(always)]
    pub fn apply(self, ip: &mut [u8], l4: usize, ends: impl FnOnce() -> Option<Ends<A>>) -> bool {
        A::decrement_ttl(ip);
        let Some((side, new)) = self.replaced() else {
            return false;
        };
        let Some(ends) = ends() else { return false };
        let old = match side {
            Side::Source => ends.source,
            Side::Destination => ends.destination,
        };
        nat::readdress(ip, l4, ends.protocol, side, old, new)
    }

    /// Changes an ICMP error that goes the same way. The packet that it quotes went the other way, so that the other
    /// side is replaced in it. Hops stay as they are.
    pub fn apply_to_error(self, frame: &mut [u8], packet: &Packet) {
        if let Some((side, new)) = self.replaced() {
            nat::readdress_error(frame, packet, side, new);
        }
    }
}
