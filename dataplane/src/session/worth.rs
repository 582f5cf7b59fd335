//! The eviction priority of a session, from what is proven of its client and from how long it has been idle.
//! It chooses no victim and removes nothing: `evict.rs` does. It does not depend on the configuration.
//!
//! Anybody can send packets with spoofed addresses. So a session ranks high only if something happened that spoofed
//! packets cannot bring about; `proof.rs` has the rules for that.

use super::entry::{Flags, Session};
use super::phase::Phase;
use crate::time::Time;

/// A handshake, or a single datagram, counts as abandoned if nothing has followed it for so long. A client repeats its
/// SYN after 1 s, and again 2 s later (RFC 6298 section 2.1, rule 5.5). Younger ones rank higher; otherwise the
/// packets of a flood would evict the handshakes of honest clients.
pub const HANDSHAKE_MS: u64 = 3_000;

/// An unproven session whose handshake is complete ranks below a young handshake once it has been idle for so long.
/// Until then its client may be waiting for a slow answer.
pub const UNPROVEN_MS: u64 = 10_000;

/// A connection that one side has closed counts as finished once it has been idle for so long: with direct routing and
/// tunnels the real server's FIN is never seen. A half-closed connection that still transfers data is not idle.
pub const CLOSING_MS: u64 = 10_000;

/// A proven session is not evicted before it has been idle for so long.
pub const IDLE_MS: u64 = 60_000;

/// The eviction priority of a session. A full table evicts the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worth {
    /// Its deadline has passed.
    Expired,
    /// Both sides have closed it, or one side has and it has been idle for [`CLOSING_MS`].
    Finished,
    /// A handshake, or a single datagram, that nothing has followed for [`HANDSHAKE_MS`]; a template that controls
    /// no session and never controlled a proven one.
    HalfOpen,
    /// Unproven. Either its handshake is complete, or a second datagram has come, and it has been idle for
    /// [`UNPROVEN_MS`]; or one side has closed it, and it has been idle for [`HANDSHAKE_MS`].
    Unproven,
    /// Unproven: a handshake, a single datagram, or a connection that one side has closed, idle for less than
    /// [`HANDSHAKE_MS`]. If there are few of these, others are evicted before them; see `evict.rs`.
    Young,
    /// Unproven, but its handshake is complete, or a second datagram has come, and it has been idle for less than
    /// [`UNPROVEN_MS`]. Among these, a session with more steps towards a proof may be idle for longer before it is
    /// evicted.
    Open,
    /// Proven, and idle for [`IDLE_MS`]; a template that controlled a proven session and controls none now.
    Idle,
    /// Proven, and idle for less than [`IDLE_MS`]; a template that controls sessions. Never evicted.
    Active,
}

impl<A> Session<A> {
    /// Milliseconds since its last packet. That time is not stored: it is the deadline less `timeout_ms`, the timeout
    /// of its state. After a reload with longer timeouts the result is too large until the session's next packet, with
    /// shorter ones too small.
    pub(super) const fn idle_ms(&self, timeout_ms: u64, now: Time) -> u64 {
        let last = self.deadline.as_ms().saturating_sub(timeout_ms);
        now.as_ms().saturating_sub(last)
    }

    /// Its eviction priority at `now`. `timeout_ms` is the timeout of its state; for a template it is not used.
    #[must_use]
    pub fn worth(&self, timeout_ms: u64, now: Time) -> Worth {
        if self.controls() > 0 {
            return Worth::Active;
        }
        if self.deadline <= now {
            return Worth::Expired;
        }
        let proven = self.flags.contains(Flags::PROVEN);
        if self.flags.contains(Flags::TEMPLATE) {
            return if proven { Worth::Idle } else { Worth::HalfOpen };
        }
        let idle = self.idle_ms(timeout_ms, now);
        match self.state().phase() {
            Phase::Closed => Worth::Finished,
            Phase::Closing if idle >= CLOSING_MS => Worth::Finished,
            Phase::Opening if idle >= HANDSHAKE_MS => Worth::HalfOpen,
            Phase::Open | Phase::Closing if proven && idle < IDLE_MS => Worth::Active,
            Phase::Open if proven => Worth::Idle,
            Phase::Opening | Phase::Closing if idle < HANDSHAKE_MS => Worth::Young,
            Phase::Open if idle < UNPROVEN_MS => Worth::Open,
            _ => Worth::Unproven,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::V4;
    use crate::session::{SctpState, State, TcpState};

    const NOW: Time = Time::from_ms(10_000_000);
    const TIMEOUT_MS: u64 = 900_000;

    fn worth(state: State, flags: Flags, idle: u64) -> Worth {
        let mut session = Session::<V4>::vacant();
        session.set_state(state);
        session.flags = flags;
        session.deadline = Time::from_ms(NOW.as_ms() - idle + TIMEOUT_MS);
        session.worth(TIMEOUT_MS, NOW)
    }

    #[test]
    fn a_session_is_worth_what_was_proved_of_it_and_less_with_time() {
        use Worth::{Active, Finished, HalfOpen, Idle, Open, Unproven, Young};
        let tcp = State::Tcp;
        let cases = [
            (tcp(TcpState::SynRecv), HANDSHAKE_MS, Young, Young),
            (State::UdpNew, HANDSHAKE_MS, Young, Young),
            (tcp(TcpState::FinWait), CLOSING_MS, Unproven, Active),
            (tcp(TcpState::CloseWait), CLOSING_MS, Unproven, Active),
            (tcp(TcpState::LastAck), CLOSING_MS, Unproven, Active),
            (tcp(TcpState::TimeWait), CLOSING_MS, Finished, Finished),
            (tcp(TcpState::Close), CLOSING_MS, Finished, Finished),
            (
                State::Sctp(SctpState::Closed),
                CLOSING_MS,
                Finished,
                Finished,
            ),
        ];
        for (state, bound, unproven, proven) in cases {
            for (flags, young) in [(Flags::EMPTY, unproven), (Flags::PROVEN, proven)] {
                let at_once = if young == Unproven { Young } else { young };
                assert_eq!(worth(state, flags, 0), at_once, "{state:?}");
                assert_eq!(worth(state, flags, HANDSHAKE_MS - 1), at_once, "{state:?}");
                assert_eq!(worth(state, flags, bound - 1), young, "{state:?}");
                let old = match state.phase() {
                    Phase::Opening => HalfOpen,
                    Phase::Open | Phase::Closing | Phase::Closed => Finished,
                };
                assert_eq!(worth(state, flags, bound), old, "{state:?}");
            }
            assert_eq!(worth(state, Flags::PROVEN, TIMEOUT_MS), Worth::Expired);
        }
        for state in [
            tcp(TcpState::Established),
            State::Udp,
            State::Sctp(SctpState::Established),
        ] {
            for (flags, bound, before, after) in [
                (Flags::EMPTY, UNPROVEN_MS, Open, Unproven),
                (Flags::PROVEN, IDLE_MS, Active, Idle),
            ] {
                assert_eq!(worth(state, flags, 0), before, "{state:?}");
                assert_eq!(worth(state, flags, bound - 1), before, "{state:?}");
                assert_eq!(worth(state, flags, bound), after, "{state:?}");
            }
        }
    }

    #[test]
    fn a_template_is_worth_what_its_sessions_proved() {
        let template = |flags: Flags, controls| {
            let mut session = Session::<V4>::vacant();
            session.flags = flags.with(Flags::TEMPLATE);
            session.link = controls;
            session.deadline = NOW.plus_ms(1);
            session.worth(TIMEOUT_MS, NOW)
        };
        assert_eq!(template(Flags::ASSURED, 0), Worth::HalfOpen);
        assert_eq!(template(Flags::PROVEN, 0), Worth::Idle);
        assert_eq!(template(Flags::EMPTY, 1), Worth::Active);
    }
}
