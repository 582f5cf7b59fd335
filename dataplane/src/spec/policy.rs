//! What a service does where IPVS has a sysctl, or where Plimsoll's default is not what IPVS does.
//! Plain values, compiled per service; what follows from them is decided in `pipeline/`.

use std::num::NonZeroU32;

use crate::flow::Protocol;

/// The choices of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Which sessions a SYN begins anew.
    pub reuse: Reuse,
    /// A SYN of a session whose real server has weight 0 begins a new session (IPVS:
    /// `expire_nodest_conn`).
    pub leaves_drained: bool,
    /// What becomes of the sessions of a real server that is gone: no longer configured, or found down.
    pub on_down: OnDown,
    /// `reuse` is for sessions too whose client is persistent. IPVS's is not.
    pub reuses_persistent: bool,
    /// The template of a real server with weight 0 leads no new session to it (IPVS:
    /// `expire_quiescent_template`).
    pub templates_leave_drained: bool,
    /// What a NAT real server of a one-packet service answers bears the VIP's address and port. IPVS
    /// has no session that would say so, and leaves the real server's.
    pub answers_one_packet: bool,
    /// Any TCP segment but a reset may begin a session (IPVS: `sloppy_tcp`).
    pub sloppy_tcp: bool,
    /// Any SCTP packet but an ABORT may begin a session (IPVS: `sloppy_sctp`).
    pub sloppy_sctp: bool,
    /// When TCP sessions follow IPVS's table for defence, by which a client alone establishes nothing where the real
    /// server's answers are seen (IPVS: `secure_tcp`); `auto` while half-open sessions hold too much of the session
    /// table.
    pub secure_tcp: Defence,
    /// A TCP session that is established and falls silent is reset at both ends when its time is over.
    pub idle_reset: bool,
    /// An ICMP error about an unknown session begins it (IPVS: `schedule_icmp`).
    pub schedule_icmp: bool,
    /// When new sessions are shed (IPVS: `drop_packet`); `auto` while the session table is nearly full.
    pub shed: Defence,
    /// While sessions are shed, one of so many is (IPVS: `am_droprate`).
    pub shed_rate: NonZeroU32,
    /// A client whose IPv4 packet must not be fragmented and does not fit into a tunnel is told so, and
    /// nobody may fragment the outer one either (IPVS: `pmtu_disc`).
    pub path_mtu: bool,
    /// The parameter problem of IPv4 is passed on as other errors are; IPVS leaves it to the kernel.
    pub relays_parameter_problems: bool,
}

/// Which sessions a SYN begins anew, beside those whose real server is gone (IPVS:
/// `conn_reuse_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reuse {
    /// None (0).
    Never,
    /// Those in `TIME_WAIT` or `CLOSE` (1).
    Closed,
    /// Those too that are seen from one side only and in `FIN_WAIT`, which is as far as they get (2, 3).
    Closing,
}

crate::listed! {
    /// What becomes of the sessions of a real server that is gone: no longer configured, or found down.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum OnDown {
        /// TCP sessions go on until they end; UDP is scheduled afresh, and so is a SYN.
        Keep => "keep",
        /// They end: the client's next segment is answered by a reset, UDP is scheduled afresh.
        Reset => "reset",
        /// They end: the client's next packet begins a session with another real server, which answers
        /// as it likes.
        Reschedule => "reschedule",
        /// Their packets are dropped until the real server comes back, as IPVS does.
        Drop => "drop",
    }
}

crate::listed! {
    /// What becomes of the UDP flows of a real server that is drained. Its TCP and SCTP sessions go on.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub enum OnDrain {
        /// They go on as long as datagrams come.
        Keep => "keep" default,
        /// Their next datagram goes to another real server, if there is one.
        Reschedule => "reschedule",
    }
}

crate::listed! {
    /// When a defence against floods is up.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub enum Defence {
        /// Never (IPVS: 0).
        Off => "off" default,
        /// While there is need (1 and 2, for which IPVS asks how much memory is free).
        Auto => "auto",
        /// Always (3).
        Always => "always",
    }
}

impl Defence {
    /// Whether it is up; `needed` says whether there is need.
    #[inline]
    #[must_use]
    pub const fn is_up(self, needed: bool) -> bool {
        // Without a branch: every packet asks.
        const { assert!(Self::Off as u8 == 0 && Self::Auto as u8 == 1 && Self::Always as u8 == 2) };
        self as u8 + needed as u8 >= Self::Always as u8
    }
}

/// What a service does if nothing else was said.
impl Default for Policy {
    fn default() -> Self {
        Self {
            reuse: Reuse::Closing,
            leaves_drained: false,
            on_down: OnDown::Keep,
            reuses_persistent: true,
            templates_leave_drained: false,
            answers_one_packet: true,
            sloppy_tcp: false,
            sloppy_sctp: false,
            secure_tcp: Defence::Off,
            idle_reset: false,
            schedule_icmp: false,
            shed: Defence::Off,
            shed_rate: DEFAULT_SHED_RATE,
            path_mtu: true,
            relays_parameter_problems: true,
        }
    }
}

impl Policy {
    /// Whether a session of this protocol may begin with any packet.
    #[inline]
    #[must_use]
    pub const fn is_sloppy(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.sloppy_tcp,
            Protocol::Udp => true,
            Protocol::Sctp => self.sloppy_sctp,
        }
    }

    /// Whether a TCP session follows the table for defence. `half_open_pressure` says that half-open sessions
    /// hold too much of the session table.
    #[inline]
    #[must_use]
    pub const fn is_secure(&self, half_open_pressure: bool) -> bool {
        self.secure_tcp.is_up(half_open_pressure)
    }

    /// What IPVS does with all its sysctls as they are after boot.
    #[must_use]
    pub fn lvs() -> Self {
        Self {
            reuse: Reuse::Closed,
            on_down: OnDown::Drop,
            relays_parameter_problems: false,
            reuses_persistent: false,
            answers_one_packet: false,
            ..Self::default()
        }
    }
}

/// IPVS's `am_droprate` after boot.
pub const DEFAULT_SHED_RATE: NonZeroU32 = match NonZeroU32::new(10) {
    Some(rate) => rate,
    None => NonZeroU32::MIN,
};
