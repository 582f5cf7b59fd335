//! Checks of `network`, and what the ports and routes can reach.
//! A gateway or neighbour has to be on a port's own network, or link-local on a port that is named; there are no routes
//! through routes.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::spec::network::{RouteSpec, is_link_local};
use plimsoll_dataplane::wire::Mac;

use super::finding::{Finding, Findings, Gaps, family, not_a_host, steps};
use crate::config::file::Config;
use crate::config::tree::Step;

/// The checked network, and what can be reached by it.
pub(super) struct Net {
    /// Each with its gateway's port.
    pub(super) routes: Vec<(RouteSpec, usize)>,
    pub(super) neighbours: Vec<(IpAddr, Mac)>,
    pub(super) link_neighbours: Vec<((PortId, IpAddr), Mac)>,
    /// Longest prefix first.
    on_link: Vec<(IpNet, usize)>,
    own: HashMap<IpAddr, usize>,
    pub(super) gaps: Gaps,
}

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    OnLink(usize),
    /// By a gateway on a port.
    Routed(IpAddr, usize),
    /// Nothing is known about it since the file could not be read in full.
    Unknown,
    No,
}

impl Net {
    /// The port on whose own network `address` is.
    fn port(&self, address: IpAddr) -> Option<usize> {
        self.on_link
            .iter()
            .find(|(net, _)| net.contains(&address))
            .map(|(_, port)| *port)
    }

    /// The port that has `address` itself.
    pub(super) fn own(&self, address: IpAddr) -> Option<usize> {
        self.own.get(&address).copied()
    }

    pub(super) fn reach(&self, address: IpAddr) -> Reach {
        if let Some(port) = self.port(address) {
            return Reach::OnLink(port);
        }
        let routes = self
            .routes
            .iter()
            .filter(|(route, _)| route.to.contains(&address));
        match routes.max_by_key(|(route, _)| route.to.prefix_len()) {
            Some((route, port)) => Reach::Routed(route.via, *port),
            None if self.gaps.ports || self.gaps.routes => Reach::Unknown,
            None => Reach::No,
        }
    }

    /// Why no host of a port's network can have `address`, if so: it is the network's own or its broadcast
    /// address. Networks of two addresses have neither (RFC 3021).
    pub(super) fn broadcast(&self, address: IpAddr) -> Option<String> {
        self.on_link.iter().find_map(|(net, _)| {
            if matches!(net, IpNet::V6(_)) || net.prefix_len() >= 31 {
                return None;
            }
            let network = net.trunc();
            if address == net.network() {
                Some(format!("the address of the network {network} itself"))
            } else if address == net.broadcast() {
                Some(format!("the broadcast address of {network}"))
            } else {
                None
            }
        })
    }

    /// The networks of the ports in one family, for messages.
    pub(super) fn networks(&self, like: IpAddr) -> String {
        let nets: Vec<String> = self
            .on_link
            .iter()
            .filter(|(net, _)| net.addr().is_ipv4() == like.is_ipv4())
            .map(|(net, _)| net.trunc().to_string())
            .take(8)
            .collect();
        if nets.is_empty() {
            format!("no port has an {} address", family(like))
        } else {
            format!("the ports' networks are {}", nets.join(", "))
        }
    }
}

pub(super) fn check(config: &Config, gaps: Gaps, findings: &mut Findings<'_, '_>) -> Net {
    let mut net = Net {
        routes: Vec::new(),
        neighbours: Vec::new(),
        link_neighbours: Vec::new(),
        on_link: Vec::new(),
        own: HashMap::new(),
        gaps,
    };
    for (at, port) in config.dataplane.ports.iter().enumerate() {
        for own in &port.addresses {
            net.on_link.push((*own, at));
            net.own.entry(own.addr()).or_insert(at);
        }
    }
    net.on_link
        .sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
    check_routes(config, &mut net, findings);
    // A route with a mistake is reported itself; what it would lead to is not missing as well.
    net.gaps.routes |= net.routes.len() < config.network.routes.len();
    check_neighbours(config, &mut net, findings);
    net
}

fn check_routes(config: &Config, net: &mut Net, findings: &mut Findings<'_, '_>) {
    let mut seen = HashMap::new();
    for (at, route) in config.network.routes.iter().enumerate() {
        let (to, via) = (route.to, route.via);
        let here = |key| steps!["network", "routes", at, key];
        if to != to.trunc() {
            findings.add(
                Finding::error(
                    here("to"),
                    format!("{to} is an address in a network, not a network"),
                )
                .help(format!("did you mean {}?", to.trunc())),
            );
            continue;
        }
        if let Some(first) = seen.insert(to, at) {
            findings.add(
                Finding::error(here("to"), format!("there are two routes to {to}"))
                    .help("one gateway per network is supported")
                    .also(
                        steps!["network", "routes", first, "to"],
                        "the first is here",
                    ),
            );
            continue;
        }
        if to.addr().is_ipv4() != via.is_ipv4() {
            let message = format!(
                "an {} gateway for an {} network",
                family(via),
                family(to.addr())
            );
            findings.add(Finding::error(here("via"), message));
            continue;
        }
        if let Some(why) = not_a_host(via) {
            findings.add(Finding::error(
                here("via"),
                format!("{via} is {why}; expected a gateway's address"),
            ));
        } else if net.own(via).is_some() {
            findings.add(Finding::error(
                here("via"),
                format!("{via} is Plimsoll's own address; expected a gateway's"),
            ));
        } else if let Some(why) = net.broadcast(via) {
            findings.add(Finding::error(
                here("via"),
                format!("{via} is {why}; expected a gateway's address"),
            ));
        } else if is_link_local(via) {
            if let Some(at) = link_local_port(config, at, findings) {
                let port = Some(port_id(at));
                net.routes.push((RouteSpec { to, via, port }, at));
            }
        } else if let Some(port) = net.port(via) {
            let name = route.port.as_deref();
            check_port_name(config, port, name, here("port"), ("gateway", via), findings);
            let route = RouteSpec {
                to,
                via,
                port: None,
            };
            net.routes.push((route, port));
        } else if !net.gaps.ports {
            findings.add(
                Finding::error(
                    here("via"),
                    format!("the gateway {via} is on no port's network"),
                )
                .help(format!(
                    "{}; give a port an address in the gateway's network",
                    net.networks(via)
                )),
            );
        }
    }
}

/// An address that says on which port it is only together with the port's name.
struct OfLink<'a> {
    address: IpAddr,
    port: Option<&'a str>,
    /// Where both are written.
    places: [Vec<Step>; 2],
    /// What has them, and whose they are.
    nouns: [&'static str; 2],
}

impl OfLink<'_> {
    /// The port of that name.
    fn port(self, config: &Config, findings: &mut Findings<'_, '_>) -> Option<usize> {
        let names: Vec<&str> = config
            .dataplane
            .ports
            .iter()
            .map(|port| port.name.as_str())
            .collect();
        let [at_address, at_port] = self.places;
        let [item, owner] = self.nouns;
        let Some(name) = self.port else {
            let address = self.address;
            findings.add(
                Finding::error(
                    at_address,
                    format!("{address} could be on any link: the {item} lacks its `port`"),
                )
                .help(format!("add the {owner}'s port: {}", names.join(" or "))),
            );
            return None;
        };
        let port = names.iter().position(|known| *known == name);
        if port.is_none() {
            findings.add(
                Finding::error(
                    at_port,
                    format!("no port is named `{}`", name.escape_debug()),
                )
                .help(format!("the ports are {}", names.join(", "))),
            );
        }
        port
    }
}

/// The number of a port, of which there are far fewer than 65,536.
fn port_id(at: usize) -> PortId {
    PortId::new(u16::try_from(at).unwrap_or(u16::MAX))
}

/// The port of the link-local gateway of the route at `at`.
fn link_local_port(config: &Config, at: usize, findings: &mut Findings<'_, '_>) -> Option<usize> {
    let route = config.network.routes.get(at)?;
    let via = route.via;
    let here = |key| steps!["network", "routes", at, key];
    let of_link = OfLink {
        address: via,
        port: route.port.as_deref(),
        places: [here("via"), here("port")],
        nouns: ["route", "gateway"],
    };
    let port = of_link.port(config, findings)?;
    let here = here("port");
    let name = route.port.as_deref().unwrap_or_default();
    let addresses = config.dataplane.ports.get(port).map(|port| &port.addresses);
    if !addresses.is_some_and(|nets| nets.iter().any(|net| net.addr().is_ipv6())) {
        findings.add(
            Finding::error(
                here,
                format!(
                    "port `{}` has no IPv6 address from which to ask for {via}",
                    name.escape_debug()
                ),
            )
            .help("give it one: dataplane.ports[].addresses"),
        );
        return None;
    }
    Some(port)
}

/// That `name`, if it was given, is the name of the port at `own`, on which the host's address says that it is.
fn check_port_name(
    config: &Config,
    own: usize,
    name: Option<&str>,
    here: Vec<Step>,
    (noun, address): (&str, IpAddr),
    findings: &mut Findings<'_, '_>,
) {
    let port = config.dataplane.ports.get(own);
    let wrong = name.filter(|name| port.is_some_and(|port| port.name != **name));
    if let Some(name) = wrong {
        findings.add(
            Finding::error(
                here,
                format!(
                    "the {noun} {address} is not on port `{}`",
                    name.escape_debug()
                ),
            )
            .help(format!(
                "leave `port` out: the {noun}'s address says where it is"
            )),
        );
    }
}

fn check_neighbours(config: &Config, net: &mut Net, findings: &mut Findings<'_, '_>) {
    let mut seen = HashMap::new();
    for (at, neighbour) in config.network.neighbors.iter().enumerate() {
        let (address, mac) = (neighbour.address, neighbour.mac);
        let here = |key| steps!["network", "neighbors", at, key];
        let port = neighbour.port.as_deref();
        let of_link = port.filter(|_| is_link_local(address));
        if let Some(first) = seen.insert((address, of_link), at) {
            findings.add(
                Finding::error(
                    here("address"),
                    format!("there are two neighbours with the address {address}"),
                )
                .also(
                    steps!["network", "neighbors", first, "address"],
                    "the first is here",
                ),
            );
        } else if net.own(address).is_some() {
            findings.add(Finding::error(
                here("address"),
                format!("{address} is Plimsoll's own address, not a neighbour's"),
            ));
        } else if let Some(why) = not_a_host(address) {
            findings.add(Finding::error(
                here("address"),
                format!("{address} is {why}; expected a host's"),
            ));
        } else if let Some(why) = net.broadcast(address) {
            findings.add(Finding::error(
                here("address"),
                format!("{address} is {why}; expected a host's"),
            ));
        } else if is_link_local(address) {
            let of_link = OfLink {
                address,
                port,
                places: [here("address"), here("port")],
                nouns: ["neighbour", "neighbour"],
            };
            if let Some(port) = of_link.port(config, findings) {
                net.link_neighbours.push(((port_id(port), address), mac));
            }
        } else if let Some(own) = net.port(address) {
            check_port_name(
                config,
                own,
                port,
                here("port"),
                ("neighbour", address),
                findings,
            );
            net.neighbours.push((address, mac));
        } else if !net.gaps.ports {
            findings.add(
                Finding::error(
                    here("address"),
                    format!("the neighbour {address} is on no port's network"),
                )
                .help(net.networks(address)),
            );
        }
        let wrong = match mac {
            Mac::ZERO => Some("all zero"),
            Mac::BROADCAST => Some("the broadcast address"),
            mac if mac.is_group() => Some("a multicast address"),
            _ => None,
        };
        if let Some(why) = wrong {
            findings.add(Finding::error(
                here("mac"),
                format!("{mac} is {why}; expected one host's"),
            ));
        }
    }
}
