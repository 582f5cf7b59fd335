//! The configuration after it was checked, in the types that the rest of the program works with.
//! Only `validate` makes a [`ValidConfig`], so that who holds one need not check again.

mod target;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use plimsoll_dataplane::spec::policy::Policy;

pub use super::file::{Hugepages, Idle};
pub use super::leaf::MssClamp;
pub use target::{Identity, Mark, Rule, Target, Vip};

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
    /// At least one, in the order of the file; [`Route::port`] and [`Neighbor::port`] count in it.
    pub ports: Vec<Port>,
    /// The socket that `plimsoll` talks to; absolute.
    pub socket: PathBuf,
    /// Where /metrics and /api are served, if they are.
    pub http: Option<SocketAddr>,
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
    /// No two for one network; in the order of the file.
    pub routes: Vec<Route>,
    /// No two for one address, of link-local ones on one port; in the order of the file.
    pub neighbors: Vec<Neighbor>,
    /// Whether packets that are for nobody here are routed.
    pub forwarding: bool,
    /// How long idle sessions live.
    pub timeouts: Timeouts,
    /// Whether NAT real servers are told that what they send belongs to no session.
    pub refuses_replies: bool,
    /// Whether errors made here are LVS's where Plimsoll's are others.
    pub answers_as_lvs: bool,
    /// `None` is a random one at each start.
    pub hash_key: Option<[u8; 16]>,
    /// No two with one name or one [`Identity`]; in the order of the file, in which rules are consulted.
    pub services: Vec<Service>,
}

/// A way to a network that is not on-link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// The network, its host bits zero.
    pub to: IpNet,
    /// The gateway, on-link at `port`, of the same family.
    pub via: IpAddr,
    /// Index into [`StartConfig::ports`].
    pub port: usize,
}

/// Whether every link has such an address, so that it does not say which is meant (RFC 4291 section 2.5.6).
pub(crate) const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// A fixed answer to an ARP or NDP question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Neighbor {
    /// On-link at `port`; link-local ones may be on several.
    pub address: IpAddr,
    /// A unicast address.
    pub mac: [u8; 6],
    /// Index into [`StartConfig::ports`].
    pub port: usize,
}

/// How long an idle session lives. None is zero or longer than 24 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// An established TCP session.
    pub tcp: Duration,
    /// A TCP session after a FIN.
    pub tcp_fin: Duration,
    /// A TCP session that both sides have finished.
    pub tcp_time_wait: Duration,
    /// A UDP session.
    pub udp: Duration,
    /// An open SCTP association.
    pub sctp: Duration,
}

/// A service's own [`Timeouts`]; `None` is the common one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "those of `Timeouts`")]
pub struct OwnTimeouts {
    pub tcp: Option<Duration>,
    pub tcp_fin: Option<Duration>,
    pub tcp_time_wait: Option<Duration>,
    pub udp: Option<Duration>,
    pub sctp: Option<Duration>,
}

impl OwnTimeouts {
    /// Those in force, where the common ones are `common`.
    #[must_use]
    pub fn over(self, common: Timeouts) -> Timeouts {
        Timeouts {
            tcp: self.tcp.unwrap_or(common.tcp),
            tcp_fin: self.tcp_fin.unwrap_or(common.tcp_fin),
            tcp_time_wait: self.tcp_time_wait.unwrap_or(common.tcp_time_wait),
            udp: self.udp.unwrap_or(common.udp),
            sctp: self.sctp.unwrap_or(common.sctp),
        }
    }
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// 1 to 128 characters without blanks.
    pub name: String,
    /// Which packets are its.
    pub target: Target,
    /// How a real server is chosen for a new session.
    pub scheduler: Scheduler,
    /// How long the share of a new real server grows, at most 24 days; 0 gives it all at once.
    pub slow_start: Duration,
    /// What the service says; each real server holds its own.
    pub forward: Forward,
    /// The largest TCP segments that the ends may offer each other.
    pub mss_clamp: Option<MssClamp>,
    /// Whether a client stays at its real server.
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself; only with [`Protocol::Udp`].
    pub one_packet: bool,
    /// Where it does as IPVS does, and where not.
    pub policy: Policy,
    /// Sessions that no side has finished, at most; `None` is no limit.
    pub max_sessions: Option<NonZeroU32>,
    /// How long its idle sessions live.
    pub timeouts: OwnTimeouts,
    /// In scheduling order, which is that of the file. None twice, perhaps none at all.
    pub reals: Vec<Real>,
}

impl Service {
    /// Whether its place among the services decides about packets.
    #[must_use]
    pub const fn is_ordered(&self) -> bool {
        self.one_packet || matches!(self.target, Target::Match { .. })
    }
}

/// How clients stay at a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// How long a client is remembered; not zero and at most 24 days.
    pub timeout: Duration,
    /// The length of the prefix that makes a client; at most that of the service's addresses.
    pub mask: u8,
}

/// As a report of changes names it.
impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by /{}", self.timeout, self.mask)
    }
}

/// A real server of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Real {
    /// On-link or routed; its family is the service's unless `forward` is [`Forward::Tunnel`], its port
    /// the service's unless `forward` is [`Forward::Nat`] or packets have any port; 0 is the packet's.
    pub address: SocketAddr,
    /// 0 to 2147483647; 0 gets no new sessions.
    pub weight: u32,
    /// With this many sessions it gets no new ones; 0 is no limit.
    pub upper: u32,
    /// Below this many it gets new ones again; at most `upper`, and 0 is three quarters of it.
    pub lower: u32,
    /// How packets get to it.
    pub forward: Forward,
    /// How [`Forward::Tunnel`] encapsulates.
    pub tunnel: Tunnel,
    /// Our end of the tunnel, of the real server's family, if it is not the address of the port on the way.
    pub tunnel_source: Option<IpAddr>,
    /// The outer TTL or hop limit, not 0; `None` is the inner one's.
    pub tunnel_ttl: Option<u8>,
}

/// How a real server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Weighted round robin whose turns are spread evenly.
    Swrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// The one of two drawn by weight that has the fewest connections for its weight.
    P2c,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// By a hash of the client.
    Sh(HashFlags),
    /// By a hash of the virtual address.
    Dh,
    /// By a consistent hash of the client (Maglev).
    Mh(HashFlags, Maglev),
    /// Weighted least connections, but a virtual address stays where it is.
    Lblc,
    /// As [`Scheduler::Lblc`], with several real servers for a busy virtual address.
    Lblcr,
    /// The greatest weight takes all.
    Fo,
    /// The greatest weight takes all until it has as many sessions.
    Ovf,
}

/// Settings of a scheduler by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HashFlags {
    /// `sh-fallback`, `mh-fallback`: another real server takes over for one that takes no sessions.
    pub fallback: bool,
    /// `sh-port`, `mh-port`: the client's port is hashed too.
    pub port: bool,
}

/// The table of [`Scheduler::Mh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Maglev {
    /// Its places: a prime from 251 to 655373.
    pub size: u32,
    /// Whether [`ReloadConfig::hash_key`], which there is then, keys its hashes.
    pub keyed: bool,
}

/// Linux's.
impl Default for Maglev {
    fn default() -> Self {
        Self {
            size: plimsoll_dataplane::spec::scheduler::PLACES,
            keyed: false,
        }
    }
}

/// How packets get to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// Direct routing: only the Ethernet addresses change.
    Direct,
    /// Address translation, both ways through Plimsoll.
    Nat,
    /// Inside another packet, as [`Tunnel`] says.
    Tunnel,
}

/// How a tunnel encapsulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// GRE.
    Gre {
        /// Whether with a checksum.
        checksum: bool,
    },
    /// Generic UDP encapsulation.
    Gue {
        /// The real servers' UDP port; not 0.
        port: u16,
        /// Whether with UDP's checksum.
        checksum: bool,
    },
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl Idle {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Sleep => "sleep",
        }
    }
}

impl Scheduler {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Swrr => "swrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::P2c => "p2c",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Sh(_) => "sh",
            Self::Dh => "dh",
            Self::Mh(..) => "mh",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
        }
    }
}

/// The name, and the flags as `ipvsadm` shows them; then what Maglev's table has besides.
impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let (Self::Sh(flags) | Self::Mh(flags, _)) = self else {
            return f.write_str(name);
        };
        match (flags.fallback, flags.port) {
            (false, false) => f.write_str(name),
            (true, false) => write!(f, "{name} ({name}-fallback)"),
            (false, true) => write!(f, "{name} ({name}-port)"),
            (true, true) => write!(f, "{name} ({name}-fallback,{name}-port)"),
        }?;
        match self {
            Self::Mh(_, maglev) if *maglev != Maglev::default() => {
                let keyed = if maglev.keyed { ", keyed" } else { "" };
                write!(f, " of {} places{keyed}", maglev.size)
            }
            _ => Ok(()),
        }
    }
}

impl Forward {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "dr",
            Self::Nat => "nat",
            Self::Tunnel => "tunnel",
        }
    }
}

/// As a report of changes names it.
impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.write_str("ipip"),
            Self::Gre { checksum: false } => f.write_str("gre"),
            Self::Gre { checksum: true } => f.write_str("gre with checksum"),
            Self::Gue {
                port,
                checksum: false,
            } => write!(f, "gue to port {port}"),
            Self::Gue {
                port,
                checksum: true,
            } => write!(f, "gue to port {port} with checksum"),
        }
    }
}
