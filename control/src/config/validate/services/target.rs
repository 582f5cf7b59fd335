//! Checks of what a service takes: `vip` with its protocol, or `match` with its mark.
//! Real servers are checked beside this.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::super::file::{Rule as WrittenRule, Service as WrittenService};
use super::super::super::leaf::{self, Leaf as _, Written};
use super::super::super::tree::Step;
use super::super::super::valid::{Identity, Mark, Rule, Target, Vip};
use super::super::network::Net;
use super::super::{Finding, Findings, not_a_host, steps};
use super::{Context, offered, with};

/// Comparisons that all rules together may cost a packet that begins a session: one for each range
/// of ports, or pair of ranges, of each rule. About a microsecond.
const MAX_COMPARISONS: usize = 1024;

impl Context<'_> {
    /// Which packets are the service's; `None` if something is wrong with it.
    pub(super) fn target(
        &mut self,
        at: usize,
        written: &WrittenService,
        findings: &mut Findings<'_, '_>,
    ) -> Option<Target> {
        let here = |key| steps!["services", at, key];
        if let (Some(_), true) = (written.mark, written.rules.is_none()) {
            findings.add(
                Finding::error(here("mark"), "`mark` without `match` has no meaning")
                    .help("packets are not marked here: write what they look like under `match`"),
            );
        }
        match (&written.vip, &written.rules) {
            (Some(vip), None) => vip_target(at, vip, written, self.net, findings),
            (None, Some(rules)) => self.match_target(at, rules, written, findings),
            (Some(_), Some(_)) => {
                findings.add(
                    Finding::error(here("match"), "a service has `vip` or `match`, not both")
                        .also(here("vip"), "`vip` is here")
                        .help("write two services with the same real servers"),
                );
                None
            }
            (None, None) => {
                // What is there but could not be read was reported.
                if !findings.root.has(&here("vip")) && !findings.root.has(&here("match")) {
                    let what = "this service says neither `vip` nor `match`";
                    findings.add(Finding::error(steps!["services", at], what).help(
                        "write the address and port that clients send to: vip: 192.0.2.1:80",
                    ));
                }
                None
            }
        }
    }

    fn match_target(
        &mut self,
        at: usize,
        rules: &[WrittenRule],
        written: &WrittenService,
        findings: &mut Findings<'_, '_>,
    ) -> Option<Target> {
        let here = |key| steps!["services", at, key];
        if findings.root.has(&here("protocol")) {
            findings.add(
                Finding::error(here("protocol"), "a service with `match` has no `protocol`")
                    .help("write it into the rules that it is for"),
            );
        }
        if rules.is_empty() {
            findings.add(Finding::warning(
                here("match"),
                "without a rule the service takes no packet",
            ));
        }
        let mut first_prefix: Option<(IpNet, Vec<Step>)> = None;
        let mut valid = Vec::with_capacity(rules.len());
        for (nth, rule) in rules.iter().enumerate() {
            let place = steps!["services", at, "match", nth];
            if *rule == WrittenRule::default() {
                findings.add(
                    Finding::error(place.clone(), "a rule says at least one thing")
                        .help("expected protocol, from, to, ports or from_ports"),
                );
            }
            let mut prefix = |key, net: Option<Written<IpNet>>| {
                prefix_of(net, with(&place, key), &mut first_prefix, findings)
            };
            let (from, to) = (prefix("from", rule.from), prefix("to", rule.to));
            let protocol = rule
                .protocol
                .and_then(|protocol| offered(protocol, with(&place, "protocol"), findings));
            valid.push(Rule {
                protocol,
                from,
                to,
                ports: rule.ports.iter().map(|ports| ports.0.range()).collect(),
                from_ports: rule
                    .from_ports
                    .iter()
                    .map(|ports| ports.0.range())
                    .collect(),
            });
            let before = self.comparisons;
            self.comparisons += rule.ports.len().max(1) * rule.from_ports.len().max(1);
            if before <= MAX_COMPARISONS && self.comparisons > MAX_COMPARISONS {
                let what = format!(
                    "the rules of all services have more than {MAX_COMPARISONS} ranges of ports"
                );
                findings.add(
                    Finding::error(place, what)
                        .help("write services with `vip`, whose number is not limited"),
                );
            }
        }
        let Some(number) = written.mark else {
            if !findings.root.has(&here("mark")) {
                findings.add(
                    Finding::error(here("match"), "a service with `match` lacks its `mark`").help(
                        "give it a number of its own, which names it in lists and to LVS: mark: 5",
                    ),
                );
            }
            return None;
        };
        let is_v6 = first_prefix.is_some_and(|(net, _)| matches!(net, IpNet::V6(_)));
        Some(Target::Match {
            mark: Mark { number, is_v6 },
            rules: valid,
        })
    }

    /// Reports two services that are the same one.
    pub(super) fn is_unique(
        &mut self,
        at: usize,
        target: &Target,
        findings: &mut Findings<'_, '_>,
    ) {
        let identity = target.identity();
        let Some(first) = self.identities.insert(identity, at) else {
            return;
        };
        let name = |at: usize| {
            let service = self.config.services.get(at);
            service.map_or_else(String::new, |service| {
                service.name.escape_debug().to_string()
            })
        };
        let (key, what) = match identity {
            Identity::Vip(_) => ("vip", "the same address, port and protocol"),
            Identity::Mark(_) => ("mark", "the same mark"),
        };
        findings.add(
            Finding::error(
                steps!["services", at, key],
                format!(
                    "the services `{}` and `{}` have {what}",
                    name(first),
                    name(at)
                ),
            )
            .also(
                steps!["services", first, key],
                format!("`{}` is here", name(first)),
            ),
        );
    }
}

fn vip_target(
    at: usize,
    vip: &Written<leaf::Vip>,
    written: &WrittenService,
    ports: &Net,
    findings: &mut Findings<'_, '_>,
) -> Option<Target> {
    let here = || steps!["services", at, "vip"];
    let protocol = offered(
        written.protocol,
        steps!["services", at, "protocol"],
        findings,
    );
    let vip = vip.0;
    if let Some(why) = not_a_vip(&vip) {
        let message = format!(
            "{} is {why}, which cannot be a virtual address",
            vip.address
        );
        findings.add(Finding::error(here(), message));
    }
    let longest = if vip.address.is_ipv4() { 32 } else { 128 };
    if vip.prefix.is_none_or(|prefix| prefix == longest)
        && let Some(why) = ports.broadcast(vip.address)
    {
        let message = format!(
            "{} is {why}, which cannot be a virtual address",
            vip.address
        );
        findings.add(Finding::error(here(), message));
    }
    let net = IpNet::new(vip.address, vip.prefix.unwrap_or(longest)).ok()?;
    if net != net.trunc() {
        let meant = leaf::Vip {
            address: net.network(),
            ..vip
        };
        findings.add(
            Finding::error(
                here(),
                format!("{net} is an address in a network, not a network"),
            )
            .help(format!("did you mean {}?", meant.print())),
        );
        return None;
    }
    Some(Target::Vip(Vip {
        protocol: protocol?,
        addresses: net,
        port: vip.port,
    }))
}

/// Why clients cannot send to it, if so. A prefix of all addresses is one way to say "any".
fn not_a_vip(vip: &leaf::Vip) -> Option<&'static str> {
    let is_any = vip.prefix == Some(0) && vip.address.is_unspecified();
    not_a_host(vip.address).filter(|_| !is_any)
}

/// A rule's prefix, if it is one and of the family that the service's first prefix has.
fn prefix_of(
    net: Option<Written<IpNet>>,
    place: Vec<Step>,
    first: &mut Option<(IpNet, Vec<Step>)>,
    findings: &mut Findings<'_, '_>,
) -> Option<IpNet> {
    let net = net?.0;
    if net != net.trunc() {
        findings.add(
            Finding::error(
                place,
                format!("{net} is an address in a network, not a network"),
            )
            .help(format!("did you mean {}?", suggestion(net))),
        );
        return None;
    }
    match first {
        None => *first = Some((net, place)),
        Some((other, at)) if other.addr().is_ipv4() != net.addr().is_ipv4() => {
            findings.add(
                Finding::error(
                    place,
                    "a service takes packets of IPv4 or of IPv6, not both",
                )
                .also(at.clone(), "the other family is here")
                .help("write two services with the same mark"),
            );
        }
        Some(_) => {}
    }
    Some(net)
}

/// The network and, since one host may have been meant, the host.
fn suggestion(net: IpNet) -> String {
    let host: IpAddr = net.addr();
    format!("{}, or {} for one host", net.trunc(), IpNet::from(host))
}
