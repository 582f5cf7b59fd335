//! Checks of what a service takes: `vip` with its protocol, or `match` with its mark.
//! Real servers are checked beside this.

use std::net::IpAddr;

use ipnet::IpNet;

use plimsoll_dataplane::spec::target::{
    Identity, Mark, Rule, Target, Vip, VipSocket, is_one_address,
};

use super::context::Context;
use crate::config::file::Service as WrittenService;
use crate::config::tree::Step;
use crate::config::validate::finding::{Finding, Findings, not_a_host, steps, with};
use crate::config::validate::network::Net;

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
        if let (Some(_), true) = (written.mark, written.r#match.is_none()) {
            findings.add(
                Finding::error(here("mark"), "`mark` without `match` has no meaning")
                    .help("packets are not marked here: write what they look like under `match`"),
            );
        }
        match (written.vip, &written.r#match) {
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
                if !findings.has(&here("vip")) && !findings.has(&here("match")) {
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
        rules: &[Rule],
        written: &WrittenService,
        findings: &mut Findings<'_, '_>,
    ) -> Option<Target> {
        let here = |key| steps!["services", at, key];
        if findings.has(&here("protocol")) {
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
        for (nth, rule) in rules.iter().enumerate() {
            let place = steps!["services", at, "match", nth];
            if *rule == Rule::default() {
                findings.add(
                    Finding::error(place.clone(), "a rule says at least one thing")
                        .help("expected protocol, from, to, ports or from_ports"),
                );
            }
            let mut prefix = |key, net: Option<IpNet>| {
                check_prefix(net, with(&place, key), &mut first_prefix, findings);
            };
            prefix("from", rule.from);
            prefix("to", rule.to);
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
            if !findings.has(&here("mark")) {
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
            mark: Mark {
                number: number.0,
                is_v6,
            },
            rules: rules.into(),
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
    vip: VipSocket,
    written: &WrittenService,
    ports: &Net,
    findings: &mut Findings<'_, '_>,
) -> Option<Target> {
    let here = || steps!["services", at, "vip"];
    let (net, address) = (vip.addresses, vip.addresses.addr());
    // A prefix of all addresses is one way to say "any".
    let is_any = net.prefix_len() == 0 && address.is_unspecified();
    let why = not_a_host(address)
        .filter(|_| !is_any)
        .map(str::to_owned)
        .or_else(|| ports.broadcast(address).filter(|_| is_one_address(&net)));
    if let Some(why) = why {
        let message = format!("{address} is {why}, which cannot be a virtual address");
        findings.add(Finding::error(here(), message));
    }
    if net != net.trunc() {
        let meant = VipSocket {
            addresses: net.trunc(),
            ..vip
        };
        findings.add(
            Finding::error(
                here(),
                format!("{net} is an address in a network, not a network"),
            )
            .help(format!("did you mean {meant}?")),
        );
        return None;
    }
    Some(Target::Vip(Vip {
        protocol: written.protocol.unwrap_or_default(),
        addresses: net,
        port: vip.port,
    }))
}

/// Reports a rule's prefix if it is none, or not of the family that the service's first prefix has.
fn check_prefix(
    net: Option<IpNet>,
    place: Vec<Step>,
    first: &mut Option<(IpNet, Vec<Step>)>,
    findings: &mut Findings<'_, '_>,
) {
    let Some(net) = net else { return };
    if net != net.trunc() {
        findings.add(
            Finding::error(
                place,
                format!("{net} is an address in a network, not a network"),
            )
            .help(format!("did you mean {}?", suggestion(net))),
        );
        return;
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
}

/// The network and, since one host may have been meant, the host.
fn suggestion(net: IpNet) -> String {
    let host: IpAddr = net.addr();
    format!("{}, or {} for one host", net.trunc(), IpNet::from(host))
}
