//! How long a session outlives its last packet, by state.
//! No deadline is kept here and no clock read.

use super::sctp::SctpState;
use super::state::State;
use super::tcp::TcpState;
use crate::spec::timeouts::Timeouts;
use crate::time::Time;

impl Timeouts {
    /// Milliseconds that a session in `state` outlives its last packet.
    #[must_use]
    #[inline(always)]
    pub const fn ms(&self, state: State) -> u64 {
        let ms = match state {
            State::UdpNew | State::Udp => self.udp_ms,
            State::Tcp(tcp) => match tcp {
                TcpState::Established => self.established_ms,
                TcpState::FinWait => self.fin_wait_ms,
                TcpState::None => 2_000,
                TcpState::Close => 10_000,
                TcpState::LastAck => 30_000,
                TcpState::SynRecv | TcpState::CloseWait => 60_000,
                TcpState::TimeWait => self.time_wait_ms,
                TcpState::SynSent | TcpState::Listen | TcpState::SynAck => 120_000,
            },
            State::Sctp(sctp) => match sctp {
                SctpState::Established => self.sctp_ms,
                SctpState::None => 2_000,
                SctpState::Init1 | SctpState::Rejected => 4_000,
                SctpState::Init
                | SctpState::CookieSent
                | SctpState::CookieReplied
                | SctpState::CookieWait
                | SctpState::Cookie
                | SctpState::CookieEchoed
                | SctpState::ShutdownSent
                | SctpState::ShutdownReceived
                | SctpState::ShutdownAckSent
                | SctpState::Closed => 61_000,
            },
        };
        ms as u64
    }

    /// When a session in `state` ends if `now` saw its last packet.
    #[must_use]
    #[inline(always)]
    pub const fn deadline(&self, state: State, now: Time) -> Time {
        now.plus_ms(self.ms(state))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_ipvs() {
        let seconds: Vec<u64> = TcpState::ALL
            .into_iter()
            .map(|state| Timeouts::default().ms(State::Tcp(state)) / 1000)
            .collect();
        assert_eq!(seconds, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]);
        assert_eq!(Timeouts::default().ms(State::Udp), 300_000);
        assert_eq!(Timeouts::default().ms(State::UdpNew), 300_000);
        let seconds: Vec<u64> = SctpState::ALL
            .into_iter()
            .map(|state| Timeouts::default().ms(State::Sctp(state)) / 1000)
            .collect();
        assert_eq!(
            seconds,
            [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]
        );
    }

    #[test]
    fn the_time_of_sctp_is_that_of_open_associations() {
        let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
        let set = Timeouts::default().with_sctp(second);
        for state in SctpState::ALL.map(State::Sctp) {
            let expected = match state {
                State::Sctp(SctpState::Established) => 1000,
                _ => Timeouts::default().ms(state),
            };
            assert_eq!(set.ms(state), expected);
        }
        assert_eq!(set.with_sctp(zero), set);
    }

    #[test]
    fn the_time_of_finished_connections_is_that_of_time_wait() {
        let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
        let set = Timeouts::default().with_time_wait(second);
        for state in TcpState::ALL.map(State::Tcp) {
            let expected = match state {
                State::Tcp(TcpState::TimeWait) => 1000,
                _ => Timeouts::default().ms(state),
            };
            assert_eq!(set.ms(state), expected);
        }
        assert_eq!(set.with_time_wait(zero), set);
    }

    #[test]
    fn setting_timeouts_reaches_three_states_and_zero_keeps_the_default() {
        let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
        let set = Timeouts::new(second, zero, second * 2);
        for state in TcpState::ALL.map(State::Tcp) {
            let expected = match state {
                State::Tcp(TcpState::Established) => 1000,
                _ => Timeouts::default().ms(state),
            };
            assert_eq!(set.ms(state), expected);
        }
        assert_eq!(set.ms(State::Udp), 2000);
        assert_eq!(
            Timeouts::new(zero, second, zero).ms(State::Tcp(TcpState::FinWait)),
            1000
        );
        assert_eq!(Timeouts::new(zero, zero, zero), Timeouts::default());
    }

    #[test]
    fn no_timeout_is_too_long() {
        let timeouts = Timeouts::new(Duration::MAX, Duration::MAX, Duration::MAX);
        let deadline = timeouts.deadline(State::Udp, Time::from_ms(1));
        assert_eq!(deadline, Time::from_ms(1 << 32));
        let end = Time::from_ms(u64::MAX);
        assert_eq!(timeouts.deadline(State::Udp, end), end);
    }
}
