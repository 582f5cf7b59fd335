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
            State::UdpNew | State::Udp => self.udp.0,
            State::Tcp(tcp) => match tcp {
                TcpState::Established => self.tcp.0,
                TcpState::FinWait => self.tcp_fin.0,
                TcpState::None => 2_000,
                TcpState::Close => 10_000,
                TcpState::LastAck => 30_000,
                TcpState::SynRecv | TcpState::CloseWait => 60_000,
                TcpState::TimeWait => self.tcp_time_wait.0,
                TcpState::SynSent | TcpState::Listen | TcpState::SynAck => 120_000,
            },
            State::Sctp(sctp) => match sctp {
                SctpState::Established => self.sctp.0,
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
    use crate::spec::timeouts::{Millis, OwnTimeouts};

    #[test]
    fn the_defaults_are_those_of_ipvs() {
        let seconds: Vec<u64> = TcpState::ALL
            .into_iter()
            .map(|state| Timeouts::DEFAULT.ms(State::Tcp(state)) / 1000)
            .collect();
        assert_eq!(seconds, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]);
        assert_eq!(Timeouts::DEFAULT.ms(State::Udp), 300_000);
        assert_eq!(Timeouts::DEFAULT.ms(State::UdpNew), 300_000);
        let seconds: Vec<u64> = SctpState::ALL
            .into_iter()
            .map(|state| Timeouts::DEFAULT.ms(State::Sctp(state)) / 1000)
            .collect();
        assert_eq!(
            seconds,
            [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61]
        );
    }

    #[test]
    fn each_time_is_that_of_its_states_alone() {
        const SET: Millis = Millis(1000);
        let cases: [(Timeouts, &[State]); 5] = [
            (
                Timeouts {
                    tcp: SET,
                    ..Timeouts::DEFAULT
                },
                &[State::Tcp(TcpState::Established)],
            ),
            (
                Timeouts {
                    tcp_fin: SET,
                    ..Timeouts::DEFAULT
                },
                &[State::Tcp(TcpState::FinWait)],
            ),
            (
                Timeouts {
                    tcp_time_wait: SET,
                    ..Timeouts::DEFAULT
                },
                &[State::Tcp(TcpState::TimeWait)],
            ),
            (
                Timeouts {
                    udp: SET,
                    ..Timeouts::DEFAULT
                },
                &[State::UdpNew, State::Udp],
            ),
            (
                Timeouts {
                    sctp: SET,
                    ..Timeouts::DEFAULT
                },
                &[State::Sctp(SctpState::Established)],
            ),
        ];
        let states = TcpState::ALL.map(State::Tcp).into_iter();
        let states = states.chain(SctpState::ALL.map(State::Sctp));
        for state in states.chain([State::UdpNew, State::Udp]) {
            for (set, meant) in cases {
                let expected = if meant.contains(&state) {
                    1000
                } else {
                    Timeouts::DEFAULT.ms(state)
                };
                assert_eq!(set.ms(state), expected, "{state:?}");
            }
        }
    }

    #[test]
    fn what_a_service_does_not_say_is_as_for_all() {
        let own = OwnTimeouts {
            udp: Some(Millis(1)),
            ..OwnTimeouts::NONE
        };
        let expected = Timeouts {
            udp: Millis(1),
            ..Timeouts::DEFAULT
        };
        assert_eq!(own.over(Timeouts::DEFAULT), expected);
        assert_eq!(OwnTimeouts::NONE.over(expected), expected);
    }

    #[test]
    fn no_timeout_is_too_long() {
        let timeouts = Timeouts {
            udp: Duration::MAX.into(),
            ..Timeouts::DEFAULT
        };
        let deadline = timeouts.deadline(State::Udp, Time::from_ms(1));
        assert_eq!(deadline, Time::from_ms(1 << 32));
        let end = Time::from_ms(u64::MAX);
        assert_eq!(timeouts.deadline(State::Udp, end), end);
    }
}
