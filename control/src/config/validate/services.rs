//! Checks of `services`: names, schedulers, forwarding. What they take and their real servers are in files of their own.
//! IPVS's rules where it has some; stricter where IPVS accepts what cannot work.

mod reals;
mod target;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use super::super::file::{Config, Forward as WrittenForward, Service as WrittenService};
use super::super::supported::Offered;
use super::super::tree::Step;
use super::super::valid::{Forward, Identity, Real, Service, Target};
use super::network::{Net, Reach};
use super::tunnel::{Encapsulation, encapsulation};
use super::{Finding, Findings, network, persistence, policy, schedulers, steps};
use reals::{VirtualAddresses, thresholds};

const MAX_SERVICE_NAME: usize = 128;
/// What is known across services.
struct Context<'c> {
    config: &'c Config,
    net: &'c Net,
    vips: VirtualAddresses,
    /// Which service was the first of each identity.
    identities: HashMap<Identity, usize>,
    /// What the rules so far cost.
    comparisons: usize,
    /// How each real server's address is reached; many services share them.
    reached: HashMap<IpAddr, Reach>,
    /// Ports whose MTU was found too small for a tunnel.
    narrow: HashSet<usize>,
}

pub(super) fn check(config: &Config, net: &Net, findings: &mut Findings<'_, '_>) -> Vec<Service> {
    let mut context = Context {
        config,
        net,
        vips: VirtualAddresses::of(&config.services),
        identities: HashMap::new(),
        comparisons: 0,
        reached: HashMap::new(),
        narrow: HashSet::new(),
    };
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
        if let Some(service) = context.service(at, service, findings) {
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
    } else if name.chars().count() > MAX_SERVICE_NAME {
        format!("a service's name has more than {MAX_SERVICE_NAME} characters")
    } else {
        return;
    };
    findings.add(Finding::error(steps!["services", at, "name"], why));
}

/// The data plane's value for one of the format's, or an error that names those that there are.
pub(super) fn offered<E: Offered>(
    value: E,
    steps: Vec<Step>,
    findings: &mut Findings<'_, '_>,
) -> Option<E::Works> {
    let works = value.works();
    if works.is_none() {
        let name = value.word();
        findings.add(
            Finding::error(
                steps,
                format!("the {} `{name}` is not supported by this version", E::WHAT),
            )
            .help(format!("this version supports {}", E::names().join(", "))),
        );
    }
    works
}

/// Whether a route's gateway is not behind a virtual address, for which Plimsoll answers ARP and NDP itself.
fn gateways(context: &Context<'_>, findings: &mut Findings<'_, '_>) {
    let config = context.config;
    for (at, route) in config.network.routes.iter().enumerate() {
        let via = route.via.0;
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

impl Context<'_> {
    fn service(
        &mut self,
        at: usize,
        written: &WrittenService,
        findings: &mut Findings<'_, '_>,
    ) -> Option<Service> {
        let here = |key| steps!["services", at, key];
        let target = self.target(at, written, findings);
        if let Some(target) = &target {
            self.is_unique(at, target, findings);
        }
        let scheduler = offered(written.scheduler, here("scheduler"), findings).map(|scheduler| {
            schedulers::with_settings(scheduler, at, self.config, written, findings)
        });
        let slow_start = schedulers::slow_start(scheduler, at, written, findings);
        let forward = offered(written.forward, here("forward"), findings);
        let mut tunnel = Encapsulation::default();
        if let Some(written_tunnel) = &written.tunnel {
            tunnel = encapsulation(written_tunnel, self.net, &here("tunnel"), findings);
            let tunnels = |forward: WrittenForward| forward == WrittenForward::Tunnel;
            if !tunnels(written.forward)
                && !written
                    .reals
                    .iter()
                    .any(|real| real.forward.is_some_and(tunnels))
            {
                findings.add(Finding::warning(
                    here("tunnel"),
                    "nothing of this service is forwarded by a tunnel",
                ));
            }
        }
        let remove = "remove the key";
        let is_v6 = target.as_ref().is_some_and(Target::is_v6);
        let persistence = written
            .persistence
            .as_ref()
            .map(|written| persistence::persistence(written, at, is_v6, findings));
        if written.health.is_some() {
            let message = "health checking is not supported by this version";
            findings.add(Finding::error(here("health"), message).help(remove));
        }
        let other = target.as_ref().is_some_and(|target| !target.takes_tcp());
        if written.mss_clamp.is_some() && other {
            findings.add(Finding::warning(here("mss_clamp"), "only TCP has segments").help(remove));
        }
        if written.idle_reset && other {
            findings.add(Finding::error(
                here("idle_reset"),
                "only TCP sessions can be reset",
            ));
        }
        let port = target.as_ref().map_or(0, Target::port);
        let mut seen = HashMap::with_capacity(written.reals.len());
        let mut reals = Vec::with_capacity(written.reals.len());
        for (nth, real) in written.reals.iter().enumerate() {
            let place = steps!["services", at, "reals", nth];
            let method = match real.forward {
                Some(own) => offered(own, with(&place, "forward"), findings),
                None => forward,
            };
            let address =
                SocketAddr::new(real.address.0.address, real.address.0.port.unwrap_or(port));
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
            thresholds(real, &place, findings);
            let own = real.tunnel.as_ref().map(|own| {
                let place = with(&place, "tunnel");
                if method.is_some_and(|method| method != Forward::Tunnel) {
                    let what = "this real server is not reached by a tunnel";
                    findings.add(Finding::warning(place.clone(), what));
                }
                encapsulation(own, self.net, &place, findings)
            });
            let tunnel = own.unwrap_or(tunnel);
            if let Some(forward) = method {
                if let Some(target) = &target {
                    self.real(target, address, (forward, tunnel), &place, findings);
                }
                reals.push(Real {
                    address,
                    weight: real.weight,
                    upper: real.upper.unwrap_or(0),
                    lower: real.lower.unwrap_or(0),
                    forward,
                    tunnel: tunnel.tunnel,
                    tunnel_source: tunnel.source,
                    tunnel_ttl: tunnel.ttl,
                });
            }
        }
        persistence::one_packet(written, at, target.as_ref(), &reals, findings);
        Some(Service {
            name: written.name.clone(),
            target: target?,
            scheduler: scheduler?,
            slow_start,
            forward: forward?,
            mss_clamp: written.mss_clamp,
            persistence,
            one_packet: written.one_packet,
            policy: policy::of(self.config, written),
            max_sessions: max_sessions(written, at, findings),
            timeouts: written
                .timeouts
                .as_ref()
                .map_or_else(Default::default, |own| {
                    network::own_timeouts(own, at, findings)
                }),
            reals,
        })
    }
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
    let most = u32::try_from(sessions.0.0).ok().and_then(NonZeroU32::new);
    if most.is_none() {
        findings.add(
            Finding::error(
                here,
                format!("expected a number from 1 to {}, found {sessions}", u32::MAX),
            )
            .help("without the key there is no limit; weight 0 takes no new sessions"),
        );
    }
    most
}

pub(super) fn with(place: &[Step], key: &'static str) -> Vec<Step> {
    let mut steps = place.to_vec();
    steps.push(Step::Key(key));
    steps
}
