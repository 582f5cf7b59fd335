//! From a checked configuration to what the data plane's builder is told.
//! Nothing is validated again here, and no slot is given out.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::schedule::threshold::Limits;
use plimsoll_dataplane::schedule::{HashFlags, SchedulerKind};
use plimsoll_dataplane::session::Timeouts;
use plimsoll_dataplane::snapshot::id::PortId;
use plimsoll_dataplane::snapshot::model::{ForwardMethod, Persistence, TunnelKind};
use plimsoll_dataplane::snapshot::spec::{
    PortRole, PortSpec, RealSpec, RouteSpec, ServiceSpec, Spec,
};
use plimsoll_dataplane::snapshot::target::{Mark, Rule, Target, Vip};
use plimsoll_dataplane::wire::Mac;

use crate::config::valid::{self, ReloadConfig, StartConfig};

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
            ..port.clone()
        })
        .collect();
    networks.into_iter().chain(kernels).collect()
}

/// The whole desired state.
#[must_use]
pub fn spec(ports: &[PortSpec], reload: &ReloadConfig) -> Spec {
    Spec {
        ports: ports.to_vec(),
        routes: reload
            .routes
            .iter()
            .map(|route| RouteSpec {
                to: route.to,
                via: route.via,
            })
            .collect(),
        neighbours: reload
            .neighbors
            .iter()
            .map(|neighbor| (neighbor.address, Mac(neighbor.mac)))
            .collect(),
        timeouts: Timeouts::new(
            reload.timeouts.tcp,
            reload.timeouts.tcp_fin,
            reload.timeouts.udp,
        ),
        refuses_replies: reload.refuses_replies,
        services: reload.services.iter().map(service).collect(),
    }
}

fn service(service: &valid::Service) -> ServiceSpec {
    ServiceSpec {
        name: service.name.as_str().into(),
        target: target(&service.target),
        scheduler: scheduler(service.scheduler),
        persistence: service.persistence.map(persistence),
        one_packet: service.one_packet,
        policy: service.policy,
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
                    valid::Tunnel::Gre => TunnelKind::Gre,
                    valid::Tunnel::Gue { port } => TunnelKind::Gue { port },
                },
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
    }
}

fn scheduler(scheduler: valid::Scheduler) -> SchedulerKind {
    let flags = |flags: valid::HashFlags| HashFlags {
        fallback: flags.fallback,
        port: flags.port,
    };
    match scheduler {
        valid::Scheduler::Rr => SchedulerKind::Rr,
        valid::Scheduler::Wrr => SchedulerKind::Wrr,
        valid::Scheduler::Lc => SchedulerKind::Lc,
        valid::Scheduler::Wlc => SchedulerKind::Wlc,
        valid::Scheduler::Sed => SchedulerKind::Sed,
        valid::Scheduler::Nq => SchedulerKind::Nq,
        valid::Scheduler::Sh(set) => SchedulerKind::Sh(flags(set)),
        valid::Scheduler::Dh => SchedulerKind::Dh,
        valid::Scheduler::Mh(set) => SchedulerKind::Mh(flags(set)),
        valid::Scheduler::Lblc => SchedulerKind::Lblc,
        valid::Scheduler::Lblcr => SchedulerKind::Lblcr,
        valid::Scheduler::Fo => SchedulerKind::Fo,
        valid::Scheduler::Ovf => SchedulerKind::Ovf,
    }
}
