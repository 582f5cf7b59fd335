//! The configuration as it is written: one struct per mapping of the YAML file, one field per key.
//! Nothing here knows what makes sense together; that is `validate`'s.

mod names;
mod policy;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::leaf::{
    ByteSize, Count, HashKey, HttpAddr, MacAddr, MssClamp, Ports, RealAddr, TunnelTtl, Vip, Written,
};

pub use names::{
    Forward, HealthType, Protocol, Scheduler, SchedulerFlag, TunnelChecksum, TunnelType,
};
pub use policy::{Compat, Defence, Ipvs, OnDown};

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Plimsoll configuration")]
pub struct Config {
    /// Version of this format; always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// CPUs, memory and ports. A change needs a restart.
    pub dataplane: Dataplane,
    /// Where the daemon listens. A change needs a restart.
    #[serde(default)]
    pub control: Control,
    /// Routes and fixed neighbours.
    #[serde(default)]
    pub network: Network,
    /// How long idle sessions live.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Whose habits services have where Plimsoll does otherwise than LVS.
    #[serde(default)]
    pub compat: Compat,
    /// What IPVS has sysctls for, by their names.
    #[serde(default)]
    pub ipvs: Ipvs,
    /// What keyed hashes are keyed with.
    #[serde(default)]
    pub hash: Hash,
    /// The virtual services.
    #[serde(default)]
    pub services: Vec<Service>,
}

/// `dataplane`: what the packet path runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataplane {
    /// One worker runs on each of these CPUs; every CPU but the first if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Vec<u16>>,
    /// How many sessions each worker can hold.
    #[serde(default = "default_sessions")]
    #[schemars(range(min = 1, max = 2147483648u64))]
    pub sessions: u64,
    /// Memory for packet buffers.
    #[serde(default)]
    pub memory: Memory,
    /// What a worker does when nothing comes in.
    #[serde(default)]
    pub idle: Idle,
    /// Further arguments, passed through to DPDK.
    #[serde(default)]
    pub eal_args: Vec<String>,
    /// The NICs.
    pub ports: Vec<Port>,
}

/// `dataplane.memory`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// `auto` uses hugepages where they exist, else ordinary memory.
    #[serde(default)]
    pub hugepages: Hugepages,
    /// How much memory to take, with its unit.
    #[serde(default)]
    pub size: Written<ByteSize>,
}

/// Whether packet buffers live in hugepages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// Where they exist.
    #[default]
    Auto,
    /// Always; the daemon does not start without.
    On,
    /// Never.
    Off,
}

/// `dataplane.idle`: what a worker does when nothing comes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// It goes on polling: the least latency, at the price of the whole CPU.
    #[default]
    Poll,
    /// It gives the CPU back until something comes in.
    Sleep,
}

/// One item of `dataplane.ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name in metrics, commands and logs; at most 15 characters.
    pub name: String,
    /// A PCI address, or a DPDK virtual device with its arguments.
    pub device: String,
    /// Plimsoll's own addresses on this port, each with its prefix length.
    #[serde(default)]
    pub addresses: Vec<Written<IpNet>>,
    /// Largest IP packet in bytes.
    #[serde(default = "default_mtu")]
    #[schemars(range(min = 576, max = 9216))]
    pub mtu: u16,
    /// Whether traffic that is not load-balanced goes to Linux, by a TAP named after the port.
    #[serde(default)]
    pub kernel: bool,
}

/// `control`: where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Path of the socket that `plimsoll` talks to.
    #[serde(default = "default_socket")]
    pub socket: String,
    /// Address of /metrics and /api; `off` serves neither.
    #[serde(default = "default_http")]
    pub http: Written<HttpAddr>,
}

/// `network`: how to reach what is not on a port's own network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Routes; the longest prefix wins.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Fixed MAC addresses; all others are learnt by ARP or NDP.
    #[serde(default)]
    pub neighbors: Vec<Neighbor>,
    /// Whether packets that are for nobody here are routed, as Linux does with `ip_forward`; false if
    /// omitted, with `compat: lvs` true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding: Option<bool>,
}

/// One item of `network.routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The destination network.
    pub to: Written<IpNet>,
    /// The gateway, on a port's own network or with a link-local address.
    pub via: Written<IpAddr>,
    /// The gateway's port, by its name: only for a link-local gateway, which could be on any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// One item of `network.neighbors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbor {
    /// Its IP address, on a port's own network or link-local.
    pub address: Written<IpAddr>,
    /// Its Ethernet address.
    pub mac: Written<MacAddr>,
    /// Its port, by its name: only for a link-local address, which could be on any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
}

/// `timeouts`: how long an idle session lives, each with its unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// An established TCP session.
    #[serde(default = "default_tcp")]
    pub tcp: Written<Duration>,
    /// A TCP session after a FIN.
    #[serde(default = "default_tcp_fin")]
    pub tcp_fin: Written<Duration>,
    /// A TCP session that both sides have finished.
    #[serde(default = "default_tcp_time_wait")]
    pub tcp_time_wait: Written<Duration>,
    /// A UDP session.
    #[serde(default = "default_udp")]
    pub udp: Written<Duration>,
    /// An open SCTP association.
    #[serde(default = "default_sctp")]
    pub sctp: Written<Duration>,
}

/// `services[].timeouts`: those of one service; what is left out is as in the file's `timeouts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnTimeouts {
    /// An established TCP session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Written<Duration>>,
    /// A TCP session after a FIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_fin: Option<Written<Duration>>,
    /// A TCP session that both sides have finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_time_wait: Option<Written<Duration>>,
    /// A UDP session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<Written<Duration>>,
    /// An open SCTP association.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sctp: Option<Written<Duration>>,
}

/// `services[].limits`: what a service may have at most, on the whole node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceLimits {
    /// Sessions that no side has finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Written<Count>>,
}

/// `hash`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// 32 hex digits, the same on all nodes that share traffic; random at each start if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Written<HashKey>>,
}

/// One item of `services`: a virtual service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name in metrics, commands and logs.
    pub name: String,
    /// The virtual address and port that clients send to; a prefix is all of its addresses, and port
    /// 0 every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<Written<Vip>>,
    /// Takes the packets that one of these rules matches, instead of those to `vip`.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
    /// The number of a service with `match`, by which LVS calls it (its firewall mark).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub mark: Option<u32>,
    /// The transport protocol of `vip`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// How a real server is chosen for a new session.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Settings of a scheduler by hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<SchedulerFlag>,
    /// The table of `scheduler: mh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maglev: Option<Maglev>,
    /// How long the share of a new real server grows until it is that of its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Written<Duration>>,
    /// How packets get to the real server.
    #[serde(default)]
    pub forward: Forward,
    /// The real servers, in the order in which the scheduler visits them.
    #[serde(default)]
    pub reals: Vec<Real>,
    /// Keeps a client at one real server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Schedules every UDP datagram by itself, without a session.
    #[serde(default)]
    pub one_packet: bool,
    /// How `forward: tunnel` encapsulates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// The largest TCP segments that the ends may offer each other; `auto` is what fits the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mss_clamp: Option<MssClamp>,
    /// What it may have at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ServiceLimits>,
    /// Overrides the file's `timeouts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<OwnTimeouts>,
    /// Client and real server get a reset when an established TCP session has been idle for too long.
    #[serde(default)]
    pub idle_reset: bool,
    /// Overrides the file's `compat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compat: Option<Compat>,
    /// What becomes of the sessions of a real server that is gone; `keep` if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_down: Option<OnDown>,
    /// How the real servers are checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// One item of `services[].match`: a packet that meets all that is written here is the service's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The transport protocol; each that is balanced if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The clients' network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Written<IpNet>>,
    /// The destination's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Written<IpNet>>,
    /// Ports of the destination, each a number or a range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Written<Ports>>,
    /// Ports of the client, each a number or a range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_ports: Vec<Written<Ports>>,
}

/// `services[].maglev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Maglev {
    /// The places of the table: a prime.
    #[serde(default = "default_maglev_size")]
    #[schemars(range(min = 251, max = 655373))]
    pub size: u32,
    /// Whether `hash.key` keys the hashes, instead of the numbers that are fixed in Linux.
    #[serde(default)]
    pub keyed: bool,
}

/// One item of `services[].reals`: a real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Real {
    /// Its address; the port is the service's if omitted.
    pub address: Written<RealAddr>,
    /// Its share of new sessions; 0 gets none.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub weight: u32,
    /// It gets no new sessions once it has this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<u32>,
    /// After `upper` was reached it gets new sessions again below this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<u32>,
    /// Overrides the service's `forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Overrides the service's `tunnel`, as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// `services[].persistence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// How long a client is remembered, with its unit.
    #[serde(default = "default_persistence")]
    pub timeout: Written<Duration>,
    /// Prefix length by which clients are told apart; the whole address if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 128))]
    pub mask: Option<u8>,
}

/// `services[].tunnel`, and a real server's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// The encapsulation.
    #[serde(default, rename = "type")]
    pub kind: TunnelType,
    /// The real servers' UDP port for `type: gue`; 6080 if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What is summed for `type: gre` and `type: gue`.
    #[serde(default)]
    pub checksum: TunnelChecksum,
    /// The outer source, one of Plimsoll's own addresses; that of the port on the way if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Written<IpAddr>>,
    /// The outer TTL or hop limit, 1 to 255, or `inherit`: the inner one's, as LVS has it.
    #[serde(default)]
    pub ttl: Written<TunnelTtl>,
}

/// `services[].tunnel.port` if it is omitted.
pub const DEFAULT_GUE_PORT: u16 = 6080;

/// `services[].health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked.
    #[serde(rename = "type")]
    pub kind: HealthType,
    /// The path of an HTTP check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The status that an HTTP check expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub expect: Option<u16>,
    /// Time between two checks, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Written<Duration>>,
    /// Time after which a check has failed, with its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Written<Duration>>,
    /// How many good checks in a row bring a real server up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub rise: Option<u32>,
    /// How many failed checks in a row take a real server down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub fall: Option<u32>,
}

/// Whether the protocol need not be written; beside `match` it must not be.
fn is_default(protocol: &Protocol) -> bool {
    *protocol == Protocol::default()
}

const fn default_sessions() -> u64 {
    1 << 20
}

const fn default_mtu() -> u16 {
    1500
}

// Linux's.
const fn default_maglev_size() -> u32 {
    4093
}

const fn default_weight() -> u32 {
    1
}

/// Where the daemon and the command meet if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/plimsoll/plimsoll.sock";

fn default_socket() -> String {
    DEFAULT_SOCKET.to_owned()
}

const fn default_http() -> Written<HttpAddr> {
    Written(HttpAddr::At(SocketAddr::new(
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        9142,
    )))
}

const fn default_tcp() -> Written<Duration> {
    Written(Duration::from_secs(15 * 60))
}

const fn default_tcp_fin() -> Written<Duration> {
    Written(Duration::from_secs(2 * 60))
}

const fn default_tcp_time_wait() -> Written<Duration> {
    Written(Duration::from_secs(2 * 60))
}

const fn default_udp() -> Written<Duration> {
    Written(Duration::from_secs(5 * 60))
}

const fn default_sctp() -> Written<Duration> {
    Written(Duration::from_secs(15 * 60))
}

// What a bare `ipvsadm -p` sets.
const fn default_persistence() -> Written<Duration> {
    Written(Duration::from_secs(6 * 60))
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: default_socket(),
            http: default_http(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: default_tcp(),
            tcp_fin: default_tcp_fin(),
            tcp_time_wait: default_tcp_time_wait(),
            udp: default_udp(),
            sctp: default_sctp(),
        }
    }
}
