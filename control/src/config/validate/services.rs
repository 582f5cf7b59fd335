//! Checks of `services` and their real servers.
//! IPVS's rules where it has some; stricter where IPVS accepts what cannot work.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::super::file::{
    Config, Forward as WrittenForward, Real as WrittenReal, SchedulerFlag,
    Service as WrittenService, Tunnel as WrittenTunnel,
};
use super::super::supported::{Feature, Offered};
use super::super::tree::Step;
use super::super::valid::{Forward, HashFlags, Real, Route, Scheduler, Service, Tunnel};
use super::network::{Net, Reach};
use super::{Finding, Findings, family, not_a_host, persistence, policy, steps};

const MAX_SERVICE_NAME: usize = 128;
/// What the outer IPv4 or IPv6 header and what follows it add.
const fn tunnel_overhead_bytes(tunnel: Tunnel, outer: IpAddr) -> u16 {
    let between = match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gre => 4,
        Tunnel::Gue { .. } => 12,
    };
    between + if outer.is_ipv4() { 20 } else { 40 }
}

/// What is known across services.
struct Context<'c> {
    config: &'c Config,
    net: &'c Net,
    vips: HashSet<IpAddr>,
    /// How each real server's address is reached; many services share them.
    reached: HashMap<IpAddr, Reach>,
    /// Ports whose MTU was found too small for a tunnel.
    narrow: HashSet<usize>,
}

pub(super) fn check(config: &Config, net: &Net, findings: &mut Findings<'_, '_>) -> Vec<Service> {
    let mut context = Context {
        config,
        net,
        vips: config
            .services
            .iter()
            .map(|service| service.vip.0.address)
            .collect(),
        reached: HashMap::new(),
        narrow: HashSet::new(),
    };
    let (mut names, mut vips) = (HashMap::new(), HashMap::new());
    let mut services = Vec::with_capacity(config.services.len());
    for (at, service) in config.services.iter().enumerate() {
        check_name(at, &service.name, findings);
        let vip = service.vip.0;
        let first_name = names.insert(service.name.as_str(), at);
        let first_vip = vips.insert((vip, service.protocol), at);
        if let Some(first) = first_name {
            findings.add(
                Finding::error(
                    steps!["services", at, "name"],
                    format!("two services are named `{}`", service.name.escape_debug()),
                )
                .also(steps!["services", first, "name"], "the first is here"),
            );
        }
        if let Some(first) = first_vip {
            let other = config
                .services
                .get(first)
                .map_or("", |other| other.name.as_str());
            findings.add(
                Finding::error(
                    steps!["services", at, "vip"],
                    format!(
                        "the services `{}` and `{}` have the same address, port and protocol",
                        other.escape_debug(),
                        service.name.escape_debug()
                    ),
                )
                .also(
                    steps!["services", first, "vip"],
                    format!("`{}` is here", other.escape_debug()),
                ),
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
fn offered<E: Offered + PartialEq>(
    value: E,
    steps: Vec<Step>,
    findings: &mut Findings<'_, '_>,
) -> Option<E::Works> {
    let works = value.works();
    if works.is_none() {
        let name = E::ALL
            .iter()
            .find(|(_, other)| *other == value)
            .map_or("", |(name, _)| name);
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

/// The scheduler with its flags. IPVS takes any flag for any scheduler and ignores what it cannot use.
fn with_flags(
    scheduler: Scheduler,
    at: usize,
    written: &WrittenService,
    findings: &mut Findings<'_, '_>,
) -> Scheduler {
    let mut flags = HashFlags::default();
    for (nth, flag) in written.scheduler_flags.iter().enumerate() {
        let (owner, set) = match flag {
            SchedulerFlag::ShFallback => ("sh", &mut flags.fallback),
            SchedulerFlag::ShPort => ("sh", &mut flags.port),
            SchedulerFlag::MhFallback => ("mh", &mut flags.fallback),
            SchedulerFlag::MhPort => ("mh", &mut flags.port),
        };
        *set = true;
        if owner != scheduler.name() {
            findings.add(
                Finding::error(
                    steps!["services", at, "scheduler_flags", nth],
                    format!(
                        "this flag is for the scheduler `{owner}`; the service's is `{}`",
                        scheduler.name()
                    ),
                )
                .help("remove the flag, or choose the other scheduler"),
            );
        }
    }
    match scheduler {
        Scheduler::Sh(_) => Scheduler::Sh(flags),
        Scheduler::Mh(_) => Scheduler::Mh(flags),
        other => other,
    }
}

/// How a service's tunnels encapsulate. As in IPVS, a port means nothing to other types than GUE.
fn encapsulation(
    written: &WrittenTunnel,
    place: &[Step],
    findings: &mut Findings<'_, '_>,
) -> Tunnel {
    let kind = offered(written.kind, with(place, "type"), findings).unwrap_or_default();
    match (kind, written.port) {
        (Tunnel::Gue { .. }, Some(port)) => Tunnel::Gue { port },
        (_, Some(_)) => {
            findings.add(
                Finding::warning(with(place, "port"), "only `type: gue` has a port")
                    .help("remove the port, or choose that type"),
            );
            kind
        }
        (_, None) => kind,
    }
}

fn refuse(
    feature: Feature,
    wanted: bool,
    steps: Vec<Step>,
    what: &str,
    help: &str,
    findings: &mut Findings<'_, '_>,
) {
    if wanted && !feature.works() {
        findings.add(
            Finding::error(steps, format!("{what} is not supported by this version")).help(help),
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
        let vip = written.vip.0;
        let scheduler = offered(written.scheduler, here("scheduler"), findings)
            .map(|scheduler| with_flags(scheduler, at, written, findings));
        let protocol = offered(written.protocol, here("protocol"), findings);
        let forward = offered(written.forward, here("forward"), findings);
        let mut tunnel = Tunnel::default();
        if let Some(written_tunnel) = &written.tunnel {
            tunnel = encapsulation(written_tunnel, &here("tunnel"), findings);
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
        let persistence = written
            .persistence
            .as_ref()
            .map(|written| persistence::persistence(written, at, vip.address, findings));
        refuse(
            Feature::Health,
            written.health.is_some(),
            here("health"),
            "health checking",
            remove,
            findings,
        );
        let one = format!("write one address: {}:{}", vip.address, vip.port);
        refuse(
            Feature::PrefixVip,
            vip.prefix.is_some(),
            here("vip"),
            "a prefix as virtual address",
            &one,
            findings,
        );
        let ports = "write one service for each port";
        refuse(
            Feature::AnyPort,
            vip.port == 0,
            here("vip"),
            "port 0 (every port)",
            ports,
            findings,
        );
        if let Some(why) = not_a_host(vip.address) {
            let message = format!(
                "{} is {why}, which cannot be a virtual address",
                vip.address
            );
            findings.add(Finding::error(here("vip"), message));
        }
        let vip = SocketAddr::new(vip.address, vip.port);
        let mut seen = HashMap::with_capacity(written.reals.len());
        let mut reals = Vec::with_capacity(written.reals.len());
        for (nth, real) in written.reals.iter().enumerate() {
            let place = steps!["services", at, "reals", nth];
            let method = match real.forward {
                Some(own) => offered(own, with(&place, "forward"), findings),
                None => forward,
            };
            let address = SocketAddr::new(
                real.address.0.address,
                real.address.0.port.unwrap_or(vip.port()),
            );
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
            if let Some(forward) = method {
                self.real(vip, address, (forward, tunnel), &place, findings);
                reals.push(Real {
                    address,
                    weight: real.weight,
                    upper: real.upper.unwrap_or(0),
                    lower: real.lower.unwrap_or(0),
                    forward,
                    tunnel,
                });
            }
        }
        persistence::one_packet(written, at, protocol, &reals, findings);
        Some(Service {
            name: written.name.clone(),
            vip,
            protocol: protocol?,
            scheduler: scheduler?,
            forward: forward?,
            persistence,
            one_packet: written.one_packet,
            policy: policy::of(self.config, written),
            reals,
        })
    }

    fn real(
        &mut self,
        vip: SocketAddr,
        address: SocketAddr,
        (forward, tunnel): (Forward, Tunnel),
        place: &[Step],
        findings: &mut Findings<'_, '_>,
    ) {
        let here = with(place, "address");
        let ip = address.ip();
        if let Some(why) = not_a_host(ip) {
            findings.add(Finding::error(
                here,
                format!("{ip} is {why}, which cannot be a real server's"),
            ));
            return;
        }
        if ip == vip.ip() {
            findings.add(
                Finding::error(here, "the real server has the virtual address").help(
                    "write the server's own address; packets would come straight back to Plimsoll",
                ),
            );
            return;
        }
        if let Some(port) = self.net.own(ip) {
            let port = self
                .config
                .dataplane
                .ports
                .get(port)
                .map_or("", |port| port.name.as_str());
            findings.add(Finding::error(
                here,
                format!(
                    "{ip} is Plimsoll's own address on port `{}`",
                    port.escape_debug()
                ),
            ));
            return;
        }
        if self.vips.contains(&ip) {
            findings.add(
                Finding::warning(
                    here.clone(),
                    format!("{ip} is also the virtual address of a service"),
                )
                .help("Plimsoll answers for it and forwards nothing to itself"),
            );
        }
        if forward != Forward::Tunnel && ip.is_ipv4() != vip.is_ipv4() {
            findings.add(
                Finding::error(
                    here,
                    format!(
                        "an {} real server of an {} service",
                        family(ip),
                        family(vip.ip())
                    ),
                )
                .help(format!(
                    "`forward: {}` keeps the address family; only a tunnel crosses it",
                    forward.name()
                )),
            );
            return;
        }
        if forward != Forward::Nat && address.port() != vip.port() {
            findings.add(
                Finding::error(
                    here.clone(),
                    format!("the port {} is not the service's port {}", address.port(), vip.port()),
                )
                .help(format!(
                    "`forward: {}` delivers the packet unchanged, to the service's port; leave the port out, or use `nat`",
                    forward.name()
                )),
            );
        }
        match *self.reached.entry(ip).or_insert_with(|| self.net.reach(ip)) {
            Reach::No => findings.add(
                Finding::error(here, format!("the real server {ip} cannot be reached")).help(
                    format!(
                        "{}, and no route leads to it; add one to network.routes",
                        self.net.networks(ip)
                    ),
                ),
            ),
            Reach::Routed(route) if forward == Forward::Direct => {
                findings.add(behind_router(here, ip, route))
            }
            Reach::OnLink(port) | Reach::Routed(Route { port, .. })
                if forward == Forward::Tunnel =>
            {
                self.tunnel_mtu(port, (tunnel, ip), place, findings);
            }
            Reach::OnLink(_) | Reach::Routed(_) | Reach::Unknown => {}
        }
    }

    /// Warns once for each port that a full-size packet does not fit through with the outer header.
    fn tunnel_mtu(
        &mut self,
        port: usize,
        (tunnel, real): (Tunnel, IpAddr),
        place: &[Step],
        findings: &mut Findings<'_, '_>,
    ) {
        let Some(written) = self.config.dataplane.ports.get(port) else {
            return;
        };
        let needed = 1500 + tunnel_overhead_bytes(tunnel, real);
        if written.mtu < needed && self.narrow.insert(port) {
            findings.add(
                Finding::warning(
                    steps!["dataplane", "ports", port, "mtu"],
                    format!("packets of 1500 bytes do not fit into a tunnel on port `{}`", written.name.escape_debug()),
                )
                .help(format!(
                    "set its mtu to {needed} or more where the network carries it; else clients are told to send less"
                ))
                .also(with(place, "address"), "this real server is reached by a tunnel"),
            );
        }
    }
}

fn behind_router(here: Vec<Step>, ip: IpAddr, route: Route) -> Finding {
    Finding::warning(here, format!("the real server {ip} is behind the gateway {}", route.via)).help(
        "`forward: dr` keeps the virtual address as destination, so the gateway does not know the real server; \
         use `tunnel` or `nat`",
    )
}

fn thresholds(real: &WrittenReal, place: &[Step], findings: &mut Findings<'_, '_>) {
    // As in IPVS, 0 is none.
    let (upper, lower) = (real.upper.unwrap_or(0), real.lower.unwrap_or(0));
    let help = "remove the key";
    refuse(
        Feature::Thresholds,
        upper > 0,
        with(place, "upper"),
        "a session threshold",
        help,
        findings,
    );
    refuse(
        Feature::Thresholds,
        lower > 0,
        with(place, "lower"),
        "a session threshold",
        help,
        findings,
    );
    if !Feature::Thresholds.works() {
        return;
    }
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
}

fn with(place: &[Step], key: &'static str) -> Vec<Step> {
    let mut steps = place.to_vec();
    steps.push(Step::Key(key));
    steps
}
