//! The configuration as it is written: one struct per mapping of the YAML file, one field per key.
//! Nothing here knows what makes sense together; that is `validate`'s.

mod names;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::spec::policy::{DEFAULT_SHED_RATE, Defence, OnDown, OnDrain};
use plimsoll_dataplane::spec::scheduler::{FEWEST_PLACES, MOST_PLACES, PLACES, SchedulerKind};
use plimsoll_dataplane::spec::target::{Rule, VipSocket};
use plimsoll_dataplane::spec::timeouts::Timeouts as Times;
use plimsoll_dataplane::wire::Mac;

use super::leaf::{ByteSize, Count, HashKey, HttpAddr, RealAddr, TunnelTtl};
use super::mapping::mapping;
use super::value::Within;

pub use names::{Compat, Hugepages, Idle, SchedulerFlag, TunnelChecksum};

mapping! {
    /// A whole configuration file.
    pub struct Config {
        /// Version of this format; always 1.
        version: Within<u32, 1, 1>,
        /// CPUs, memory and ports. A change needs a restart.
        dataplane: Dataplane,
        /// Where the daemon listens. A change needs a restart.
        control: Control = Control::default(),
        /// Routes and fixed neighbours.
        network: Network = Network::default(),
        /// How long idle sessions live.
        timeouts: Timeouts = Times::DEFAULT.map(|_, time| time.into()),
        /// Whose habits services have where Plimsoll does otherwise than LVS.
        compat: Compat = Compat::default(),
        /// What IPVS has sysctls for, by their names.
        ipvs: Ipvs = Ipvs::default(),
        /// What keyed hashes are keyed with.
        hash: Hash = Hash::default(),
        /// The virtual services.
        services: Vec<Service> = Vec::new(),
    }
}

mapping! {
    /// `dataplane`: what the packet path runs on.
    pub struct Dataplane {
        /// One worker runs on each of these CPUs; every CPU but the first if omitted.
        cpus: Option<Vec<u16>> = None,
        /// How many sessions each worker can hold.
        sessions: Within<u64, 1, 0x8000_0000> = Within(1 << 20),
        /// Memory for packet buffers.
        memory: Memory = Memory::default(),
        /// What a worker does when nothing comes in.
        idle: Idle = Idle::default(),
        /// Further arguments, passed through to DPDK.
        eal_args: Vec<String> = Vec::new(),
        /// The NICs.
        ports: Vec<Port>,
    }
}

mapping! {
    /// `dataplane.memory`.
    pub struct Memory {
        /// `auto` uses hugepages where they exist, else ordinary memory.
        hugepages: Hugepages = Hugepages::default(),
        /// How much memory to take, with its unit.
        size: ByteSize = ByteSize::default(),
    }
}

mapping! {
    /// One item of `dataplane.ports`.
    pub struct Port {
        /// Its name in metrics, commands and logs; at most 15 characters.
        name: String,
        /// A PCI address, or a DPDK virtual device with its arguments.
        device: String,
        /// Plimsoll's own addresses on this port, each with its prefix length.
        addresses: Vec<IpNet> = Vec::new(),
        /// Largest IP packet in bytes.
        mtu: Within<u16, 576, 9216> = Within(1500),
        /// Whether traffic that is not load-balanced goes to Linux, by a TAP named after the port.
        kernel: bool = false,
    }
}

/// Where the daemon and the command meet if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/plimsoll/plimsoll.sock";

/// Where what outlives the daemon is kept if nobody says otherwise.
const DEFAULT_STATE: &str = "/var/lib/plimsoll";

/// The word for keeping nothing.
pub const NO_STATE: &str = "none";

/// Where /metrics and /api are served if nobody says otherwise.
const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9142);

mapping! {
    /// `control`: where the daemon listens.
    pub struct Control {
        /// Path of the socket that `plimsoll` talks to.
        socket: String = DEFAULT_SOCKET.to_owned(),
        /// Address of /metrics and /api; `off` serves neither.
        http: HttpAddr = HttpAddr::At(DEFAULT_HTTP),
        /// The folder of what outlives the daemon, such as drained real servers; `none` keeps nothing.
        state: String = DEFAULT_STATE.to_owned(),
        /// At SIGTERM: how long sessions may go on before the daemon stops.
        drain: Duration = Duration::ZERO,
    }
}

mapping! {
    /// `network`: how to reach what is not on a port's own network.
    pub struct Network {
        /// Routes; the longest prefix wins.
        routes: Vec<Route> = Vec::new(),
        /// Fixed MAC addresses; all others are learnt by ARP or NDP.
        neighbors: Vec<Neighbour> = Vec::new(),
        /// Whether packets that are for nobody here are routed, as Linux does with `ip_forward`; false if
        /// omitted, with `compat: lvs` true.
        forwarding: Option<bool> = None,
    }
}

mapping! {
    /// One item of `network.routes`.
    pub struct Route {
        /// The destination network.
        to: IpNet,
        /// The gateway, on a port's own network or with a link-local address.
        via: IpAddr,
        /// The gateway's port, by its name: only for a link-local gateway, which could be on any.
        port: Option<String> = None,
    }
}

mapping! {
    /// One item of `network.neighbors`.
    pub struct Neighbour {
        /// Its IP address, on a port's own network or link-local.
        address: IpAddr,
        /// Its Ethernet address.
        mac: Mac,
        /// Its port, by its name: only for a link-local address, which could be on any.
        port: Option<String> = None,
    }
}

/// `timeouts`.
pub type Timeouts = Times<Duration>;

mapping! {
    @value
    /// `timeouts`: how long an idle session lives, each with its unit.
    Timeouts {
        /// An established TCP session.
        tcp: Duration = Times::DEFAULT.tcp.into(),
        /// A TCP session after a FIN.
        tcp_fin: Duration = Times::DEFAULT.tcp_fin.into(),
        /// A TCP session that both sides have finished.
        tcp_time_wait: Duration = Times::DEFAULT.tcp_time_wait.into(),
        /// A UDP session.
        udp: Duration = Times::DEFAULT.udp.into(),
        /// An open SCTP association.
        sctp: Duration = Times::DEFAULT.sctp.into(),
    }
}

/// `services[].timeouts`.
pub type OwnTimeouts = Times<Option<Duration>>;

mapping! {
    @value
    /// `services[].timeouts`: those of one service; what is left out is as in the file's `timeouts`.
    OwnTimeouts {
        /// An established TCP session.
        tcp: Option<Duration> = None,
        /// A TCP session after a FIN.
        tcp_fin: Option<Duration> = None,
        /// A TCP session that both sides have finished.
        tcp_time_wait: Option<Duration> = None,
        /// A UDP session.
        udp: Option<Duration> = None,
        /// An open SCTP association.
        sctp: Option<Duration> = None,
    }
}

mapping! {
    /// `ipvs`: what IPVS has sysctls for, by their names below `net.ipv4.vs`.
    pub struct Ipvs {
        /// Which sessions a SYN begins anew: 0 none, 1 those in `TIME_WAIT` or `CLOSE`, 2 and 3 also those in
        /// `FIN_WAIT` of which only the client's side is seen. 3 if omitted, with `compat: lvs` 1.
        conn_reuse_mode: Option<Within<u8, 0, 3>> = None,
        /// With weight 0 a SYN leaves its old real server, and sessions of a removed one end.
        expire_nodest_conn: bool = false,
        /// With weight 0 a persistent client's next session leaves its old real server.
        expire_quiescent_template: bool = false,
        /// Any TCP segment but a reset may begin a session.
        sloppy_tcp: bool = false,
        /// An ICMP error about an unknown session begins it, so that it reaches the real server that
        /// another director chose for that.
        schedule_icmp: bool = false,
        /// Any SCTP packet but an ABORT may begin a session.
        sloppy_sctp: bool = false,
        /// When TCP sessions follow the state table for defence: `auto` while half-open sessions take more
        /// than a quarter of the session table.
        secure_tcp: Defence = Defence::default(),
        /// When new sessions are shed: `auto` while the session table is nearly full.
        drop_packet: Defence = Defence::default(),
        /// With `drop_packet: always` one new session of so many is shed.
        am_droprate: Within<u32, 1, 1_000_000> = Within(DEFAULT_SHED_RATE.get()),
        /// A NAT real server is told that what it sends from its service's port belongs to no session.
        nat_icmp_send: bool = false,
        /// Tunnels fragment no packet that must not be, and tell its sender what fits.
        pmtu_disc: bool = true,
    }
}

mapping! {
    /// `hash`.
    pub struct Hash {
        /// 32 hex digits, the same on all nodes that share traffic; random at each start if omitted.
        key: Option<HashKey> = None,
    }
}

mapping! {
    /// One item of `services`: a virtual service.
    pub struct Service {
        /// Its name in metrics, commands and logs.
        name: String,
        /// The virtual address and port that clients send to; a prefix is all of its addresses, and port
        /// 0 every port.
        vip: Option<VipSocket> = None,
        /// Takes the packets that one of these rules matches, instead of those to `vip`.
        r#match: Option<Vec<Rule>> = None,
        /// The number of a service with `match`, by which LVS calls it (its firewall mark).
        mark: Option<Within<u32, 1, 0xffff_ffff>> = None,
        /// The transport protocol of `vip`; tcp if omitted.
        protocol: Option<Protocol> = None,
        /// How a real server is chosen for a new session.
        scheduler: SchedulerKind = SchedulerKind::Rr,
        /// Settings of a scheduler by hash.
        scheduler_flags: Vec<SchedulerFlag> = Vec::new(),
        /// The table of `scheduler: mh`.
        maglev: Option<Maglev> = None,
        /// How long the share of a new real server grows until it is that of its weight.
        slow_start: Option<Duration> = None,
        /// How packets get to the real server.
        forward: ForwardMethod = ForwardMethod::default(),
        /// The real servers, in the order in which the scheduler visits them.
        reals: Vec<Real> = Vec::new(),
        /// Keeps a client at one real server.
        persistence: Option<Persistence> = None,
        /// Schedules every UDP datagram by itself, without a session.
        one_packet: bool = false,
        /// How `forward: tunnel` encapsulates.
        tunnel: Option<Tunnel> = None,
        /// The largest TCP segments that the ends may offer each other; `auto` is what fits the way.
        mss_clamp: Option<MssClamp> = None,
        /// What it may have at most.
        limits: Option<ServiceLimits> = None,
        /// Overrides the file's `timeouts`.
        timeouts: OwnTimeouts = OwnTimeouts::default(),
        /// Client and real server get a reset when an established TCP session has been idle for too long.
        idle_reset: bool = false,
        /// Overrides the file's `compat`.
        compat: Option<Compat> = None,
        /// What becomes of the sessions of a real server that is gone; `keep` if omitted, `reset` with
        /// `expire_nodest_conn`, `drop` with `compat: lvs`.
        on_down: Option<OnDown> = None,
        /// What becomes of the UDP flows of a drained real server.
        on_drain: OnDrain = OnDrain::default(),
    }
}

mapping! {
    /// `services[].limits`.
    pub struct ServiceLimits {
        /// Sessions that no side has finished.
        sessions: Option<Count> = None,
    }
}

mapping! {
    @value
    /// One item of `services[].match`: a packet that meets all that is written here is the service's.
    Rule {
        /// The transport protocol; each that is balanced if omitted.
        protocol: Option<Protocol> = None,
        /// The clients' network.
        from: Option<IpNet> = None,
        /// The destination's network.
        to: Option<IpNet> = None,
        /// Ports of the destination, each a number or a range.
        ports: Vec<RangeInclusive<u16>> = Vec::new(),
        /// Ports of the client, each a number or a range.
        from_ports: Vec<RangeInclusive<u16>> = Vec::new(),
    }
}

mapping! {
    /// `services[].maglev`.
    pub struct Maglev {
        /// The places of the table: a prime.
        size: Within<u32, { FEWEST_PLACES as u64 }, { MOST_PLACES as u64 }> = Within(PLACES),
        /// Whether `hash.key` keys the hashes, instead of the numbers that are fixed in Linux.
        keyed: bool = false,
    }
}

mapping! {
    /// One item of `services[].reals`: a real server.
    pub struct Real {
        /// Its address; the port is the service's if omitted.
        address: RealAddr,
        /// Its share of new sessions; 0 gets none.
        weight: Within<u32, 0, 0x7fff_ffff> = Within(1),
        /// It gets no new sessions once it has this many.
        upper: Option<Within<u32, 0, 0xffff_ffff>> = None,
        /// After `upper` was reached it gets new sessions again below this many.
        lower: Option<Within<u32, 0, 0xffff_ffff>> = None,
        /// Overrides the service's `forward`.
        forward: Option<ForwardMethod> = None,
        /// Overrides the service's `tunnel`, as a whole.
        tunnel: Option<Tunnel> = None,
    }
}

mapping! {
    /// `services[].persistence`.
    pub struct Persistence {
        // What a bare `ipvsadm -p` sets.
        /// How long a client is remembered, with its unit.
        timeout: Duration = Duration::from_secs(6 * 60),
        /// Prefix length by which clients are told apart; the whole address if omitted.
        mask: Option<Within<u8, 0, 128>> = None,
    }
}

mapping! {
    /// `services[].tunnel`, and a real server's.
    pub struct Tunnel {
        /// The encapsulation.
        r#type: TunnelKind = TunnelKind::default(),
        /// The real servers' UDP port for `type: gue`; 6080 if omitted.
        port: Option<Within<u16, 1, 0xffff>> = None,
        /// What is summed for `type: gre` and `type: gue`.
        checksum: TunnelChecksum = TunnelChecksum::default(),
        /// The outer source, one of Plimsoll's own addresses; that of the port on the way if omitted.
        source: Option<IpAddr> = None,
        /// The outer TTL or hop limit, 1 to 255, or `inherit`: the inner one's, as LVS has it.
        ttl: TunnelTtl = TunnelTtl::Inherit,
    }
}
