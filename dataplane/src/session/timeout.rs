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
