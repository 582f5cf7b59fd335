//! How long a session outlives its last packet, by state.
//! No deadline is kept here and no clock read.

use std::time::Duration;

use super::state::State;
use super::tcp::TcpState;
use crate::time::Time;

/// The timeout of every state. The default is IPVS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    established_ms: u64,
    fin_wait_ms: u64,
    udp_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            established_ms: 900_000,
            fin_wait_ms: 120_000,
            udp_ms: 300_000,
        }
    }
}

impl Timeouts {
    /// The timeouts after `ipvsadm --set TCP TCPFIN UDP`, which reaches the states ESTABLISHED,
    /// FIN_WAIT and UDP alone. Zero keeps the default.
    #[must_use]
    pub fn new(tcp: Duration, tcp_fin: Duration, udp: Duration) -> Self {
        let or = |duration: Duration, default| match u64::try_from(duration.as_millis()) {
            Ok(0) => default,
            Ok(ms) => ms,
            Err(_) => u64::MAX,
        };
        let default = Self::default();
        Self {
            established_ms: or(tcp, default.established_ms),
            fin_wait_ms: or(tcp_fin, default.fin_wait_ms),
            udp_ms: or(udp, default.udp_ms),
        }
    }

    /// Milliseconds that a session in `state` outlives its last packet.
    #[must_use]
    #[inline]
    pub const fn ms(&self, state: State) -> u64 {
        match state {
            State::UdpNew | State::Udp => self.udp_ms,
            State::Tcp(tcp) => match tcp {
                TcpState::Established => self.established_ms,
                TcpState::FinWait => self.fin_wait_ms,
                TcpState::None => 2_000,
                TcpState::Close => 10_000,
                TcpState::LastAck => 30_000,
                TcpState::SynRecv | TcpState::CloseWait => 60_000,
                TcpState::SynSent | TcpState::TimeWait | TcpState::Listen | TcpState::SynAck => {
                    120_000
                }
            },
        }
    }

    /// When a session in `state` ends if `now` saw its last packet.
    #[must_use]
    #[inline]
    pub const fn deadline(&self, state: State, now: Time) -> Time {
        now.plus_ms(self.ms(state))
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(deadline, Time::from_ms(u64::MAX));
    }
}
