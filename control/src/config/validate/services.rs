//! Checks of `services`: names, schedulers, forwarding. What they take and their real servers are in files of their own.
//! IPVS's rules where it has some; stricter where IPVS accepts what cannot work.

mod context;
mod reals;
mod target;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::limits::{Limits, ServiceLimits};
use plimsoll_dataplane::spec::service::{Availability, RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Target;

use super::finding::{Finding, Findings, steps, with};
use super::network::Net;
use super::tunnel::{Encapsulation, encapsulation};
use super::{persistence, policy, schedulers, times};
use crate::config::file::{Config, Real as WrittenReal, Service as WrittenService};
use crate::config::leaf::Leaf as _;
use crate::config::tree::Step;
use context::{Context, VirtualAddresses};

const MAX_SERVICE_NAME: usize = 128;

pub(super) fn check(
    config: &Config,
    net: &Net,
    findings: &mut Findings<'_, '_>,
) -> Vec<ServiceSpec> {
    let mut context = Context::new(config, net);
    gateways(&context, findings);
    let mut names = HashMap::new();
    let mut services = Vec::with_capacity(config.services.len());
    for (at, service) in config.services.iter().enumerate() {
        check_name(at, &service.name, findings);
        if let Some(first) = names.insert(service.name.as_str(), at) {
            findings.add(
                Finding::error(
                    steps!["services", at, "name"],
                    format!("two services are named `{}`", service.name.escape_debug()),
                )
                .also(steps!["services", first, "name"], "the first is here"),
            );
        }
        if let Some(service) = service_of(&mut context, at, service, findings) {
            services.push((at, service));
        }
    }
    persistence::shared_sockets(&services, findings);
    services.into_iter().map(|(_, service)| service).collect()
}

fn check_name(at: usize, name: &str, findings: &mut Findings<'_, '_>) {
    let why = if name.is_empty() {
        "a service's name is empty".to_owned()
    } else if let Some(bad) = name.chars().find(|c| c.is_whitespace() || c.is_control()) {
        format!("`{}` cannot be in a service's name", bad.escape_debug())
    } else if name.contains('/') {
        // `SERVICE/ADDRESS:PORT` names a real server.
        "`/` cannot be in a service's name".to_owned()
    } else if name.chars().count() > MAX_SERVICE_NAME {
        format!("a service's name has more than {MAX_SERVICE_NAME} characters")
    } else {
        return;
    };
    findings.add(Finding::error(steps!["services", at, "name"], why));
}

/// Whether a route's gateway is not behind a virtual address, for which Plimsoll answers ARP and NDP itself.
fn gateways(context: &Context<'_>, findings: &mut Findings<'_, '_>) {
    let config = context.config;
    for (at, route) in config.network.routes.iter().enumerate() {
        let via = route.via;
        if !context.vips.contains(via) {
            continue;
        }
        let holds = |service: &&WrittenService| {
            VirtualAddresses::of(std::slice::from_ref(*service)).contains(via)
        };
        let Some((nth, service)) = (0..)
            .zip(&config.services)
            .find(|(_, service)| holds(service))
        else {
            continue;
        };
        findings.add(
            Finding::error(
                steps!["network", "routes", at, "via"],
                format!(
                    "the gateway {via} is a virtual address of the service `{}`",
                    service.name.escape_debug()
                ),
            )
            .help("Plimsoll would answer ARP and NDP for its own gateway, and take its packets")
            .also(
                steps!["services", nth, "vip"],
                "the virtual address is here",
            ),
        );
    }
}

fn service_of(
    context: &mut Context<'_>,
    at: usize,
    written: &WrittenService,
    findings: &mut Findings<'_, '_>,
) -> Option<ServiceSpec> {
    let here = |key| steps!["services", at, key];
    let target = context.target(at, written, findings);
    if let Some(target) = &target {
        context.is_unique(at, target, findings);
    }
    let scheduler = schedulers::with_settings(at, context.config, written, findings);
    let slow_start = schedulers::slow_start(at, written, findings);
    let tunnel = own_tunnel(context, at, written, findings);
    let is_v6 = target.as_ref().is_some_and(Target::is_v6);
    let persistence = written
        .persistence
        .as_ref()
        .map(|written| persistence::persistence(written, at, is_v6, findings));
    let other = target.as_ref().is_some_and(|target| !target.takes_tcp());
    if written.mss_clamp.is_some() && other {
        let what = "only TCP has segments";
        findings.add(Finding::warning(here("mss_clamp"), what).help("remove the key"));
    }
    if written.idle_reset && other {
        let what = "only TCP sessions can be reset";
        findings.add(Finding::error(here("idle_reset"), what));
    }
    let mut seen = HashMap::with_capacity(written.reals.len());
    let mut reals = Vec::with_capacity(written.reals.len());
    for (nth, real) in written.reals.iter().enumerate() {
        let place = steps!["services", at, "reals", nth];
        let port = target.as_ref().map_or(0, Target::port);
        let spec = RealSpec {
            port: real.address.port.unwrap_or(port),
            ..real_of(context, real, (written.forward, tunnel), &place, findings)
        };
        let address = SocketAddr::new(spec.address, spec.port);
        if let Some(first) = seen.insert(address, nth) {
            findings.add(
                Finding::error(
                    with(&place, "address"),
                    format!("the real server {address} is here twice"),
                )
                .help("give it a larger weight for a larger share")
                .also(
                    steps!["services", at, "reals", first, "address"],
                    "it is here first",
                ),
            );
        }
        if let Some(target) = &target {
            context.real(target, &spec, &place, findings);
        }
        reals.push(spec);
    }
    persistence::one_packet(written, at, target.as_ref(), &reals, findings);
    Some(ServiceSpec {
        name: written.name.as_str().into(),
        target: target?,
        scheduler,
        slow_start_ms: slow_start.0,
        mss_clamp: written.mss_clamp,
        persistence,
        one_packet: written.one_packet,
        limits: ServiceLimits {
            sessions: max_sessions(written, at, findings),
        },
        policy: policy::of(context.config, written),
        on_drain: written.on_drain,
        timeouts: times::own(written.timeouts, at, findings),
        reals,
    })
}

/// The tunnel of a service's real servers that have none of their own.
fn own_tunnel(
    context: &Context<'_>,
    at: usize,
    written: &WrittenService,
    findings: &mut Findings<'_, '_>,
) -> Encapsulation {
    let Some(tunnel) = &written.tunnel else {
        return Encapsulation::default();
    };
    let here = steps!["services", at, "tunnel"];
    let own = written.reals.iter().filter_map(|real| real.forward);
    let mut methods = own.chain([written.forward]);
    if methods.all(|method| !method.encapsulates()) {
        let what = "nothing of this service is forwarded by a tunnel";
        findings.add(Finding::warning(here.clone(), what));
    }
    encapsulation(tunnel, context.net, &here, findings)
}

/// A real server as it is written, with what its service says where it says nothing; its port is the written one.
fn real_of(
    context: &Context<'_>,
    written: &WrittenReal,
    (forward, tunnel): (ForwardMethod, Encapsulation),
    place: &[Step],
    findings: &mut Findings<'_, '_>,
) -> RealSpec {
    let forward = written.forward.unwrap_or(forward);
    let tunnel = match &written.tunnel {
        Some(own) => {
            let place = with(place, "tunnel");
            if !forward.encapsulates() {
                let what = "this real server is not reached by a tunnel";
                findings.add(Finding::warning(place.clone(), what));
            }
            encapsulation(own, context.net, &place, findings)
        }
        None => tunnel,
    };
    RealSpec {
        address: written.address.address,
        port: written.address.port.unwrap_or(0),
        weight: written.weight.0,
        limits: limits(written, place, findings),
        forward,
        tunnel: tunnel.kind,
        tunnel_source: tunnel.source,
        tunnel_ttl: tunnel.ttl,
        availability: Availability::Available,
    }
}

/// How many sessions a real server shall have. As in IPVS, 0 is no limit.
fn limits(written: &WrittenReal, place: &[Step], findings: &mut Findings<'_, '_>) -> Limits {
    let [upper, lower] =
        [written.upper, written.lower].map(|limit| limit.map_or(0, |limit| limit.0));
    if lower > 0 && upper == 0 {
        findings.add(Finding::error(
            with(place, "lower"),
            "`lower` without `upper` has no meaning",
        ));
    } else if lower > upper {
        findings.add(Finding::error(
            with(place, "lower"),
            format!("`lower` is {lower}; expected at most `upper`, which is {upper}"),
        ));
    }
    Limits { upper, lower }
}

/// What `limits.sessions` says.
fn max_sessions(
    written: &WrittenService,
    at: usize,
    findings: &mut Findings<'_, '_>,
) -> Option<NonZeroU32> {
    let sessions = written.limits.as_ref()?.sessions?;
    let here = steps!["services", at, "limits", "sessions"];
    if written.one_packet {
        let what = "a one-packet service has no sessions to be limited";
        findings.add(Finding::warning(here, what).help("remove the key"));
        return None;
    }
    let most = u32::try_from(sessions.0).ok().and_then(NonZeroU32::new);
    if most.is_none() {
        findings.add(
            Finding::error(
                here,
                format!(
                    "expected a number from 1 to {}, found {}",
                    u32::MAX,
                    sessions.print()
                ),
            )
            .help("without the key there is no limit; weight 0 takes no new sessions"),
        );
    }
    most
}
