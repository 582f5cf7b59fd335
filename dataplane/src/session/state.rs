//! The state of a session, whatever its protocol: two bytes.
//! What each state lasts is in `timeout.rs`, what moves it on in `tcp.rs` and `sctp.rs`.

use super::phase::{Direction, Phase};
use super::sctp::SctpState;
use super::tcp::TcpState;
use crate::flow::Protocol;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A TCP session.
    Tcp(TcpState),
    /// A UDP session with one datagram so far.
    UdpNew,
    /// A UDP session with more than one.
    Udp,
    /// An SCTP association.
    Sctp(SctpState),
}

/// A state as two numbers, which may be any: the kind, and the protocol's state.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C, align(2))]
pub(super) struct StateCode {
    kind: u8,
    of_protocol: u8,
}

/// Compared as one number: each packet asks whether the state is still the same.
impl PartialEq for StateCode {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let number = |code: &Self| u16::from_le_bytes([code.kind, code.of_protocol]);
        number(self) == number(other)
    }
}

impl StateCode {
    const UDP: u8 = 0;
    const UDP_NEW: u8 = 1;
    const TCP: u8 = 2;
    const SCTP: u8 = 3;

    #[inline(always)]
    pub(super) const fn of(state: State) -> Self {
        let (kind, of_protocol) = match state {
            State::Udp => (Self::UDP, 0),
            State::UdpNew => (Self::UDP_NEW, 0),
            State::Tcp(state) => (Self::TCP, state as u8),
            State::Sctp(state) => (Self::SCTP, state as u8),
        };
        Self { kind, of_protocol }
    }

    /// The state. Numbers that stand for no state are read as some state.
    #[inline(always)]
    pub(super) const fn state(self) -> State {
        match self.kind {
            Self::TCP => State::Tcp(TcpState::of_discriminant(self.of_protocol)),
            Self::SCTP => State::Sctp(SctpState::of_discriminant(self.of_protocol)),
            Self::UDP_NEW => State::UdpNew,
            _ => State::Udp,
        }
    }
}

impl State {
    /// How far a session in this state has come.
    #[must_use]
    #[inline]
    pub const fn phase(self) -> Phase {
        match self {
            Self::Tcp(state) => state.phase(),
            Self::UdpNew => Phase::Opening,
            Self::Udp => Phase::Open,
            Self::Sctp(state) => state.phase(),
        }
    }

    /// The state of a session that its first packet, from the client, has just begun. `signal` is
    /// [`Packet::signal`](crate::parse::Packet::signal); `secure` chooses TCP's table for defence.
    #[must_use]
    #[inline(always)]
    pub const fn first(protocol: Protocol, direction: Direction, signal: u8, secure: bool) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(TcpState::None.next(direction, signal, secure)),
            Protocol::Udp => Self::UdpNew,
            Protocol::Sctp => Self::Sctp(SctpState::None.next(direction, signal)),
        }
    }

    /// The state of a session of which no packet was seen yet.
    #[must_use]
    pub const fn unseen(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(TcpState::None),
            Protocol::Udp => Self::UdpNew,
            Protocol::Sctp => Self::Sctp(SctpState::None),
        }
    }

    /// The state after one more packet. UDP looks at no argument.
    #[must_use]
    #[inline(always)]
    pub const fn next(self, direction: Direction, signal: u8, secure: bool) -> Self {
        match self {
            Self::Tcp(state) => Self::Tcp(state.next(direction, signal, secure)),
            Self::UdpNew | Self::Udp => Self::Udp,
            Self::Sctp(state) => Self::Sctp(state.next(direction, signal)),
        }
    }

    /// Whether no side has finished.
    #[must_use]
    #[inline]
    pub const fn is_unfinished(self) -> bool {
        matches!(self.phase(), Phase::Opening | Phase::Open)
    }

    /// Whether the session counts as active. UDP's never do, as in IPVS.
    #[must_use]
    #[inline]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_active(),
            Self::UdpNew | Self::Udp => false,
            Self::Sctp(state) => state.is_active(),
        }
    }

    /// Whether it is an incomplete handshake, or a single datagram that nothing has followed. When these take too
    /// much of the table, IPVS's defences go up.
    #[must_use]
    #[inline]
    pub const fn is_half_open(self) -> bool {
        match self {
            Self::Tcp(state) => state.is_half_open(),
            Self::UdpNew => true,
            Self::Udp => false,
            Self::Sctp(state) => state.is_half_open(),
        }
    }

    /// Whether a session that a packet in `direction` has left in this state makes its template
    /// ASSURED, as in IPVS: TCP once it and SCTP once they are established, UDP once the real server has answered.
    #[must_use]
    #[inline]
    pub const fn assures(self, direction: Direction) -> bool {
        match self {
            Self::Tcp(state) => matches!(state, TcpState::Established),
            Self::UdpNew | Self::Udp => matches!(direction, Direction::Output),
            Self::Sctp(state) => matches!(state, SctpState::Established),
        }
    }

    /// The name that `ipvsadm -Lnc` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::UdpNew | Self::Udp => "UDP",
            Self::Sctp(state) => state.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;

    #[test]
    fn a_stored_state_is_two_bytes() {
        assert_eq!(size_of::<StateCode>(), 2);
    }

    #[test]
    fn a_syn_alone_is_active_and_half_open_until_the_ack() {
        let syn = State::first(Protocol::Tcp, Direction::InputOnly, SYN, false);
        assert_eq!(syn.name(), "SYN_RECV");
        assert!(syn.is_active() && syn.is_half_open());
        let ack = syn.next(Direction::InputOnly, ACK, false);
        assert_eq!(ack.name(), "ESTABLISHED");
        assert!(ack.is_active() && !ack.is_half_open());
    }

    #[test]
    fn udp_is_never_active_and_half_open_until_the_second_datagram() {
        let first = State::first(Protocol::Udp, Direction::Input, 0, false);
        assert!(first.is_half_open() && !first.is_active());
        let second = first.next(Direction::Output, 0, false);
        assert!(!second.is_half_open() && !second.is_active());
        assert_eq!((first.name(), second.name()), ("UDP", "UDP"));
    }

    #[test]
    fn an_association_is_active_once_it_is_open() {
        const INIT: u8 = 1;
        const COOKIE_ECHO: u8 = 10;
        let init = State::first(Protocol::Sctp, Direction::InputOnly, INIT, false);
        assert!(!init.is_active() && init.is_half_open());
        let open = init.next(Direction::InputOnly, COOKIE_ECHO, false);
        assert!(open.is_active() && !open.is_half_open());
        assert_eq!((init.name(), open.name()), ("INIT1", "ESTABLISHED"));
    }
}
