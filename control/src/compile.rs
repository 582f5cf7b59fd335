//! From a checked configuration to what the data plane's builder is told.
//! Nothing is validated again here, and no slot is given out.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::snapshot::delta::Delta;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp, TunnelKind};
use plimsoll_dataplane::spec::limits::{Limits, ServiceLimits};
use plimsoll_dataplane::spec::network::{Network, PortRole, PortSpec, RouteSpec};
use plimsoll_dataplane::spec::scheduler::{HashFlags, Maglev, SchedulerKind};
use plimsoll_dataplane::spec::service::{Persistence, RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::{Mark, Rule, Target, Vip};
use plimsoll_dataplane::spec::timeouts::Timeouts;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;

use crate::changes::Difference;
use crate::config::valid::{self, ReloadConfig, StartConfig, is_link_local};

/// The ports of the data plane: first the configured ones, then a kernel port for each that has an
/// exception path, in the same order. `macs` are the configured ports' MACs.
#[must_use]
pub fn ports(start: &StartConfig, macs: &[Mac]) -> Vec<PortSpec> {
    let mut kernel_ports = (0_u16..).skip(start.ports.len());
    let networks: Vec<PortSpec> = start
        .ports
        .iter()
        .zip(macs)
        .map(|(port, mac)| PortSpec {
            name: port.name.as_str().into(),
            mac: *mac,
            mtu: port.mtu_bytes,
            addresses: port.addresses.clone(),
            role: PortRole::Network {
                kernel: port
                    .kernel
                    .then(|| kernel_ports.next())
                    .flatten()
                    .map(PortId),
            },
            steered: false,
        })
        .collect();
    let kernels = (0_u16..)
        .zip(&networks)
        .filter(|(_, port)| matches!(port.role, PortRole::Network { kernel: Some(_) }));
    let kernels: Vec<PortSpec> = kernels
        .map(|(network, port)| PortSpec {
            addresses: Vec::new(),
            role: PortRole::Kernel {
                network: PortId(network),
            },
            steered: false,
            ..port.clone()
        })
        .collect();
    networks.into_iter().chain(kernels).collect()
}

/// The whole desired state.
#[must_use]
pub fn spec(ports: &[PortSpec], reload: &ReloadConfig) -> Spec {
    let Network {
        ports,
        routes,
        neighbours,
        link_neighbours,
        forwarding,
        timeouts,
        refuses_replies,
        answers_as_lvs,
    } = network(ports, reload);
    Spec {
        ports,
        routes,
        neighbours,
        link_neighbours,
        forwarding,
        timeouts,
        refuses_replies,
        answers_as_lvs,
        services: services(reload.services.iter(), reload),
        ..Spec::default()
    }
}

/// What a change means: only what differs is compiled, unless it reaches all services. `now` is the
/// workers' time.
#[must_use]
pub fn delta(ports: &[PortSpec], difference: &Difference<'_>, now: Time) -> Delta {
    let reload = difference.new_config();
    let identity = |service: &valid::Service| target(&service.target).identity();
    let changed = difference.changed.iter().map(|(_, new)| *new);
    let ordered = || reload.services.iter().filter(|one| one.is_ordered());
    Delta {
        network: difference.network.then(|| network(ports, reload)),
        services: if difference.reaches_all_services() {
            services(reload.services.iter(), reload)
        } else {
            services(changed.chain(difference.added.iter().copied()), reload)
        },
        removed: difference.removed.iter().map(|one| identity(one)).collect(),
        order: difference
            .reordered
            .then(|| ordered().map(identity).collect()),
        now,
    }
}

/// What belongs to no service.
#[must_use]
pub fn network(ports: &[PortSpec], reload: &ReloadConfig) -> Network {
    let route = |route: &valid::Route| RouteSpec {
        to: route.to,
        via: route.via,
        port: is_link_local(route.via)
            .then(|| u16::try_from(route.port).ok().map(PortId))
            .flatten(),
    };
    let (of_links, others): (Vec<&valid::Neighbor>, Vec<_>) = reload
        .neighbors
        .iter()
        .partition(|neighbor| is_link_local(neighbor.address));
    let others = others.into_iter();
    let of_links = of_links
        .into_iter()
        .filter_map(|neighbor: &valid::Neighbor| {
            let port = PortId(u16::try_from(neighbor.port).ok()?);
            Some(((port, neighbor.address), Mac(neighbor.mac)))
        });
    Network {
        ports: ports.to_vec(),
        routes: reload.routes.iter().map(route).collect(),
        neighbours: others
            .map(|neighbor| (neighbor.address, Mac(neighbor.mac)))
            .collect(),
        link_neighbours: of_links.collect(),
        forwarding: reload.forwarding,
        timeouts: timeouts(reload.timeouts),
        refuses_replies: reload.refuses_replies,
        answers_as_lvs: reload.answers_as_lvs,
    }
}

fn services<'s>(
    some: impl Iterator<Item = &'s valid::Service>,
    reload: &ReloadConfig,
) -> Vec<ServiceSpec> {
    some.map(|one| service(one, reload)).collect()
}

fn timeouts(times: valid::Timeouts) -> Timeouts {
    Timeouts::new(times.tcp, times.tcp_fin, times.udp)
        .with_time_wait(times.tcp_time_wait)
        .with_sctp(times.sctp)
}

/// A service of `reload`, or one that is to be.
#[must_use]
pub fn service(service: &valid::Service, reload: &ReloadConfig) -> ServiceSpec {
    let (common, hash_key) = (reload.timeouts, reload.hash_key);
    ServiceSpec {
        name: service.name.as_str().into(),
        target: target(&service.target),
        scheduler: scheduler(service.scheduler, hash_key),
        slow_start_ms: u32::try_from(service.slow_start.as_millis()).unwrap_or(u32::MAX),
        mss_clamp: service.mss_clamp.map(|clamp| match clamp {
            valid::MssClamp::Auto => MssClamp::Auto,
            valid::MssClamp::Bytes(bytes) => MssClamp::Bytes(bytes),
        }),
        persistence: service.persistence.map(persistence),
        one_packet: service.one_packet,
        limits: ServiceLimits {
            sessions: service.max_sessions,
        },
        policy: service.policy,
        timeouts: Some(timeouts(service.timeouts.over(common))),
        reals: service
            .reals
            .iter()
            .map(|real| RealSpec {
                address: real.address.ip(),
                port: real.address.port(),
                weight: real.weight,
                limits: Limits {
                    upper: real.upper,
                    lower: real.lower,
                },
                forward: match real.forward {
                    valid::Forward::Direct => ForwardMethod::Direct,
                    valid::Forward::Nat => ForwardMethod::Nat,
                    valid::Forward::Tunnel => ForwardMethod::Tunnel,
                },
                tunnel: match real.tunnel {
                    valid::Tunnel::Ipip => TunnelKind::Ipip,
                    valid::Tunnel::Gre { checksum } => TunnelKind::Gre { checksum },
                    valid::Tunnel::Gue { port, checksum } => TunnelKind::Gue { port, checksum },
                },
                tunnel_source: real.tunnel_source,
                tunnel_ttl: real.tunnel_ttl,
            })
            .collect(),
    }
}

fn persistence(persistence: valid::Persistence) -> Persistence {
    Persistence {
        timeout_ms: u32::try_from(persistence.timeout.as_millis()).unwrap_or(u32::MAX),
        mask: persistence.mask,
    }
}

fn target(target: &valid::Target) -> Target {
    match target {
        valid::Target::Vip(vip) => Target::Vip(Vip {
            protocol: protocol(vip.protocol),
            addresses: vip.addresses,
            port: vip.port,
        }),
        valid::Target::Match { mark, rules } => Target::Match {
            mark: Mark {
                number: mark.number,
                is_v6: mark.is_v6,
            },
            rules: rules
                .iter()
                .map(|rule| Rule {
                    protocol: rule.protocol.map(protocol),
                    from: rule.from,
                    to: rule.to,
                    ports: rule.ports.clone(),
                    from_ports: rule.from_ports.clone(),
                })
                .collect(),
        },
    }
}

const fn protocol(protocol: valid::Protocol) -> Protocol {
    match protocol {
        valid::Protocol::Tcp => Protocol::Tcp,
        valid::Protocol::Udp => Protocol::Udp,
        valid::Protocol::Sctp => Protocol::Sctp,
    }
}

fn scheduler(scheduler: valid::Scheduler, hash_key: Option<[u8; 16]>) -> SchedulerKind {
    let flags = |flags: valid::HashFlags| HashFlags {
        fallback: flags.fallback,
        port: flags.port,
    };
    match scheduler {
        valid::Scheduler::Rr => SchedulerKind::Rr,
        valid::Scheduler::Wrr => SchedulerKind::Wrr,
        valid::Scheduler::Swrr => SchedulerKind::Swrr,
        valid::Scheduler::Lc => SchedulerKind::Lc,
        valid::Scheduler::Wlc => SchedulerKind::Wlc,
        valid::Scheduler::P2c => SchedulerKind::P2c,
        valid::Scheduler::Sed => SchedulerKind::Sed,
        valid::Scheduler::Nq => SchedulerKind::Nq,
        valid::Scheduler::Sh(set) => SchedulerKind::Sh(flags(set)),
        valid::Scheduler::Dh => SchedulerKind::Dh,
        valid::Scheduler::Mh(set, maglev) => {
            let maglev = Maglev {
                places: maglev.size,
                key: hash_key.filter(|_| maglev.keyed).map(words),
            };
            SchedulerKind::Mh(flags(set), maglev)
        }
        valid::Scheduler::Lblc => SchedulerKind::Lblc,
        valid::Scheduler::Lblcr => SchedulerKind::Lblcr,
        valid::Scheduler::Fo => SchedulerKind::Fo,
        valid::Scheduler::Ovf => SchedulerKind::Ovf,
    }
}

/// A key as SipHash takes it: two little-endian words.
fn words(key: [u8; 16]) -> [u64; 2] {
    let key = u128::from_le_bytes(key);
    let low = key & u128::from(u64::MAX);
    [low, key >> 64].map(|word| u64::try_from(word).unwrap_or_default())
}
