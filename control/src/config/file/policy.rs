//! `compat`, `ipvs` and `on_down` as they are written: where a service does as LVS does, and where not.
//! What follows from them is `validate/policy.rs`'s.

use plimsoll_dataplane::spec::policy::DEFAULT_SHED_RATE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose habits a service has where Plimsoll does otherwise than LVS; `docs/DEVIATIONS.md` lists them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// What is better for the users.
    #[default]
    Plimsoll,
    /// What LVS does.
    Lvs,
}

/// `ipvs`: what IPVS has sysctls for, by their names below `net.ipv4.vs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipvs {
    /// Which sessions a SYN begins anew: 0 none, 1 those in `TIME_WAIT` or `CLOSE`, 2 and 3 also those in
    /// `FIN_WAIT` of which only the client's side is seen. 3 if omitted, with `compat: lvs` 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3))]
    pub conn_reuse_mode: Option<u8>,
    /// With weight 0 a SYN leaves its old real server, and sessions of a removed one end.
    #[serde(default)]
    pub expire_nodest_conn: bool,
    /// With weight 0 a persistent client's next session leaves its old real server.
    #[serde(default)]
    pub expire_quiescent_template: bool,
    /// Any TCP segment but a reset may begin a session.
    #[serde(default)]
    pub sloppy_tcp: bool,
    /// An ICMP error about an unknown session begins it, so that it reaches the real server that
    /// another director chose for that.
    #[serde(default)]
    pub schedule_icmp: bool,
    /// Any SCTP packet but an ABORT may begin a session.
    #[serde(default)]
    pub sloppy_sctp: bool,
    /// When TCP sessions follow the state table for defence: `auto` while half-open sessions take more
    /// than a quarter of the session table.
    #[serde(default)]
    pub secure_tcp: Defence,
    /// When new sessions are shed: `auto` while the session table is nearly full.
    #[serde(default)]
    pub drop_packet: Defence,
    /// With `drop_packet: always` one new session of so many is shed.
    #[serde(default = "default_am_droprate")]
    #[schemars(range(min = 1, max = 1000000))]
    pub am_droprate: u32,
    /// A NAT real server is told that what it sends from its service's port belongs to no session.
    #[serde(default)]
    pub nat_icmp_send: bool,
    /// Tunnels fragment no packet that must not be, and tell its sender what fits.
    #[serde(default = "default_pmtu_disc")]
    pub pmtu_disc: bool,
}

/// When a defence against floods is up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Defence {
    #[default]
    Off,
    Auto,
    Always,
}

/// What becomes of the sessions of a real server that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDown {
    /// TCP sessions go on until they end; UDP is scheduled afresh.
    Keep,
    /// The client is sent a reset when it next speaks; UDP is scheduled afresh.
    Reset,
    /// The client's next packet goes to another real server.
    Reschedule,
}

const fn default_am_droprate() -> u32 {
    DEFAULT_SHED_RATE.get()
}

const fn default_pmtu_disc() -> bool {
    true
}

impl Default for Ipvs {
    fn default() -> Self {
        Self {
            conn_reuse_mode: None,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            schedule_icmp: false,
            sloppy_sctp: false,
            secure_tcp: Defence::default(),
            drop_packet: Defence::default(),
            am_droprate: default_am_droprate(),
            nat_icmp_send: false,
            pmtu_disc: default_pmtu_disc(),
        }
    }
}
