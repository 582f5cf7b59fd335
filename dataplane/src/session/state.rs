//! The state of a session, whatever its protocol: one byte.
//! What each state lasts is in `timeout.rs`, what moves TCP on in `tcp.rs`.

use super::tcp::{Direction, TcpState};
use crate::flow::Protocol;

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A TCP session.
    Tcp(TcpState),
    /// A UDP session with one datagram so far.
    UdpNew,
    /// A UDP session with more than one.
    Udp,
}

impl State {
    /// The state of a session that its first packet, from the client, has just begun.
    #[must_use]
    #[inline]
    pub const fn first(protocol: Protocol, direction: Direction, tcp_flags: u8) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(TcpState::None.next(direction, tcp_flags)),
            Protocol::Udp => Self::UdpNew,
        }
    }

    /// The state after one more packet. UDP looks at neither argument.
    #[must_use]
    #[inline]
    pub const fn next(self, direction: Direction, tcp_flags: u8) -> Self {
        match self {
            Self::Tcp(state) => Self::Tcp(state.next(direction, tcp_flags)),
            Self::UdpNew | Self::Udp => Self::Udp,
        }
    }

    /// Whether the session counts as active. UDP's never do, as in IPVS.
    #[must_use]
    #[inline]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_active(),
            Self::UdpNew | Self::Udp => false,
        }
    }

    /// Whether the session gives way first when the table is full: an incomplete handshake, or a
    /// single datagram that nothing has followed. A flood is made of these.
    #[must_use]
    #[inline]
    pub const fn is_half_open(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_half_open(),
            Self::UdpNew => true,
            Self::Udp => false,
        }
    }

    /// The name that `ipvsadm -Lnc` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::UdpNew | Self::Udp => "UDP",
        }
    }

    /// The protocol that has this state.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::UdpNew | Self::Udp => Protocol::Udp,
        }
    }
}
