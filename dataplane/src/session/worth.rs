//! What a session is worth when the table is full, from what has been proved of it and how long it has been silent.
//! It chooses no victim and frees nothing: `evict.rs` does. No configuration is known here.
//!
//! Anybody can send packets with invented addresses, so a session is worth no more than what they cannot bring
//! about. What proves that a client is really there is in `proof.rs`.

use super::entry::{Flags, Session};
use super::phase::Phase;
use crate::time::Time;

/// How long a handshake, or a single datagram, may be silent before it counts as given up. A client sends its SYN
/// again after 1 s and then after 2 more (RFC 6298 section 2.1, rule 5.5). A younger one is worth more, or a flood would
/// evict the handshakes of honest clients before itself.
pub const HANDSHAKE_MS: u64 = 3_000;

/// How long an unproven session whose handshake is complete may be silent before it is worth less than a young
/// handshake: a client waits that long for a slow answer.
pub const UNPROVEN_MS: u64 = 10_000;

/// How long a connection of which one side has finished may be silent before it counts as finished: with direct
/// routing and tunnels no other end is seen. A half-closed one that still transfers data is not that silent.
pub const CLOSING_MS: u64 = 10_000;

/// How long a proven session may be silent before it may be evicted at all.
pub const IDLE_MS: u64 = 60_000;

/// What a session is worth. A full table evicts the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Worth {
    /// Its deadline is over.
    Expired,
    /// Both sides have finished, or one has and it has been silent for [`CLOSING_MS`].
    Finished,
    /// A handshake, or a single datagram, that nothing has followed for [`HANDSHAKE_MS`]; a template that no
    /// session uses and none ever proved.
    HalfOpen,
    /// Nothing proves that the client is there. Its handshake is complete, or a second datagram has come, and it has been
    /// silent for [`UNPROVEN_MS`]; or one side has finished, and it has been silent for [`HANDSHAKE_MS`].
    Unproven,
    /// Unproven: a handshake, a single datagram, or a connection of which one side has finished, that has not been silent
    /// for [`HANDSHAKE_MS`]. Where there are few of these, others are evicted before them; see `evict.rs`.
    Young,
    /// Unproven, but its handshake is complete, or a second datagram has come, and it has not been silent for
    /// [`UNPROVEN_MS`]. Of these each step towards a proof lets one be silent for longer before it is the next to leave.
    Open,
    /// Proven, and silent for [`IDLE_MS`]; a template of proven sessions that have all ended.
    Idle,
    /// Proven, and not that silent; a template that controls sessions. Never evicted.
    Active,
}

/// Why a session that was still alive was evicted. Labels are part of the metrics' contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// [`Worth::Finished`].
    Finished,
    /// [`Worth::HalfOpen`].
    HalfOpen,
    /// [`Worth::Unproven`], [`Worth::Young`] or [`Worth::Open`].
    Unproven,
    /// [`Worth::Idle`].
    Idle,
    /// Its service had as many sessions as its limit allows, and it was the most silent of the idle ones found.
    Limit,
}

impl Cause {
    /// Every cause, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Finished,
        Self::HalfOpen,
        Self::Unproven,
        Self::Idle,
        Self::Limit,
    ];

    /// The value of the metric label `cause`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::HalfOpen => "half_open",
            Self::Unproven => "unproven",
            Self::Idle => "idle",
            Self::Limit => "limit",
        }
    }
}

impl<A> Session<A> {
    /// Milliseconds since its last packet, if a session in its state outlives that by `timeout_ms`. A reload that makes
    /// timeouts longer has a session seem more silent than it is until its next packet, a shorter one less.
    pub(super) const fn silent_ms(&self, timeout_ms: u64, now: Time) -> u64 {
        let last = self.deadline.as_ms().saturating_sub(timeout_ms);
        now.as_ms().saturating_sub(last)
    }

    /// What it is worth at `now`. `timeout_ms` is how long a session in its state outlives its last packet; a
    /// template knows its own.
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
        let silent = self.silent_ms(timeout_ms, now);
        match self.state.phase() {
            Phase::Closed => Worth::Finished,
            Phase::Closing if silent >= CLOSING_MS => Worth::Finished,
            Phase::Opening if silent >= HANDSHAKE_MS => Worth::HalfOpen,
            Phase::Open | Phase::Closing if proven && silent < IDLE_MS => Worth::Active,
            Phase::Open if proven => Worth::Idle,
            Phase::Opening | Phase::Closing if silent < HANDSHAKE_MS => Worth::Young,
            Phase::Open if silent < UNPROVEN_MS => Worth::Open,
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

    fn worth(state: State, flags: Flags, silent: u64) -> Worth {
        let mut session = Session::<V4>::vacant();
        session.state = state;
        session.flags = flags;
        session.deadline = Time::from_ms(NOW.as_ms() - silent + TIMEOUT_MS);
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

    #[test]
    fn causes_are_numbered_in_order_and_have_labels_of_their_own() {
        for (number, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
            let others = Cause::ALL
                .iter()
                .filter(|other| other.label() == cause.label());
            assert_eq!(others.count(), 1);
        }
    }
}
