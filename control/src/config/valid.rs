//! The configuration after it was checked, in the types that the data plane works with.
//! Only `validate` makes a [`ValidConfig`], so that who holds one need not check again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use plimsoll_dataplane::spec::network::Network;

pub use super::file::{Hugepages, Idle};
pub use super::service_list::ServiceList;

/// A configuration that was found valid: what is fixed until a restart, and what reloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidConfig {
    start: StartConfig,
    reload: ReloadConfig,
}

impl ValidConfig {
    pub(super) const fn new(start: StartConfig, reload: ReloadConfig) -> Self {
        Self { start, reload }
    }

    /// What is fixed until a restart.
    #[must_use]
    pub const fn start(&self) -> &StartConfig {
        &self.start
    }

    /// What a reload replaces.
    #[must_use]
    pub const fn reload(&self) -> &ReloadConfig {
        &self.reload
    }

    /// Whether sessions of some service have side lines: it resets those that expire.
    #[must_use]
    pub fn has_side_lines(&self) -> bool {
        let services = &self.reload.services;
        services.iter().any(|service| service.policy.idle_reset)
    }
}

/// `dataplane` and `control`: what needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartConfig {
    /// One worker for each, none twice, never empty; `None` is every CPU but the first.
    pub cpus: Option<Vec<u16>>,
    /// Sessions that each worker can hold; at least 1.
    pub sessions_per_worker: u64,
    /// Where packet buffers live.
    pub hugepages: Hugepages,
    /// Memory for packet buffers.
    pub memory_bytes: u64,
    /// What a worker does when nothing comes in.
    pub idle: Idle,
    /// Passed through to DPDK.
    pub eal_args: Vec<String>,
    /// At least one, in the order of the file.
    pub ports: Vec<Port>,
    /// The socket that `plimsoll` talks to; absolute.
    pub socket: PathBuf,
    /// Where /metrics and /api are served, if they are.
    pub http: Option<SocketAddr>,
    /// The folder of what outlives the daemon; absolute. `None` keeps nothing.
    pub state: Option<PathBuf>,
    /// How long sessions may go on at SIGTERM.
    pub drain: Duration,
}

/// A NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// 1 to 15 characters that Linux takes for an interface name.
    pub name: String,
    /// As DPDK takes it: a PCI address with its domain, or a virtual device, with arguments.
    pub device: String,
    /// Plimsoll's own addresses, each with the network that is on-link by it. No two ports share one.
    pub addresses: Vec<IpNet>,
    /// Largest IP packet in bytes.
    pub mtu_bytes: u16,
    /// Whether traffic that is not load-balanced goes to a TAP named after the port.
    pub kernel: bool,
}

/// `network`, `timeouts`, `hash` and `services`: what a reload replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadConfig {
    /// What belongs to no service. Ports are numbered as [`StartConfig::ports`] are.
    pub network: Network,
    /// What keyed hashes are keyed with; `None` is a random key at each start.
    pub hash_key: Option<[u8; 16]>,
    /// No two with one name or one identity; in the order of the file, in which rules are consulted.
    pub services: ServiceList,
}
