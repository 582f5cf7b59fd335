//! How long idle sessions live.
//! Which of these a session's state asks for is said in `session/timeout.rs`.

use std::time::Duration;

/// The timeout of every state. The default is IPVS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    // 32 bits reach 49 days, and keep all of them within a few bytes of each real server.
    pub(crate) established_ms: u32,
    pub(crate) fin_wait_ms: u32,
    pub(crate) time_wait_ms: u32,
    pub(crate) udp_ms: u32,
    pub(crate) sctp_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Timeouts {
    /// IPVS's, as after boot.
    pub const DEFAULT: Self = Self {
        established_ms: 900_000,
        fin_wait_ms: 120_000,
        time_wait_ms: 120_000,
        udp_ms: 300_000,
        sctp_ms: 900_000,
    };

    /// The timeouts after `ipvsadm --set TCP TCPFIN UDP`, which reaches the states ESTABLISHED,
    /// FIN_WAIT and UDP alone. Zero keeps the default.
    #[must_use]
    pub fn new(tcp: Duration, tcp_fin: Duration, udp: Duration) -> Self {
        let default = Self::default();
        Self {
            established_ms: ms_or(tcp, default.established_ms),
            fin_wait_ms: ms_or(tcp_fin, default.fin_wait_ms),
            udp_ms: ms_or(udp, default.udp_ms),
            ..default
        }
    }

    /// These with `time_wait` for TCP connections that both sides have finished, which no command of IPVS reaches.
    /// Zero changes nothing.
    #[must_use]
    pub fn with_time_wait(self, time_wait: Duration) -> Self {
        Self {
            time_wait_ms: ms_or(time_wait, self.time_wait_ms),
            ..self
        }
    }

    /// These with `sctp` for open SCTP associations, which no command of IPVS reaches. Zero changes
    /// nothing.
    #[must_use]
    pub fn with_sctp(self, sctp: Duration) -> Self {
        Self {
            sctp_ms: ms_or(sctp, self.sctp_ms),
            ..self
        }
    }
}

/// Milliseconds, at most 2^32 - 1, or the default for none.
fn ms_or(duration: Duration, default: u32) -> u32 {
    match u32::try_from(duration.as_millis()) {
        Ok(0) => default,
        Ok(ms) => ms,
        Err(_) => u32::MAX,
    }
}
