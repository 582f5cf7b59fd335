//! Checks of how clients stay at a real server, and of what does without sessions.
//! IPVS's rules; what it accepts and cannot work is an error or a warning.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::service::{Persistence, RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::{Target, is_one_address};

use super::finding::{Finding, Findings, steps};
use super::times;
use crate::config::file::{Persistence as Written, Service as WrittenService};
use crate::config::tree::Step;

/// A service's persistence. The whole address makes a client if no mask is written, as in IPVS.
pub(super) fn persistence(
    written: &Written,
    at: usize,
    is_v6: bool,
    findings: &mut Findings<'_, '_>,
) -> Persistence {
    let here = |key| steps!["services", at, "persistence", key];
    let timeout = times::at_least_one(written.timeout, here("timeout"), findings);
    let (longest, family) = if is_v6 { (128, "IPv6") } else { (32, "IPv4") };
    let mask = written.mask.map_or(longest, |mask| mask.0);
    if mask > longest {
        findings.add(Finding::error(
            here("mask"),
            format!(
                "{mask} is not a prefix length of an {family} address; expected 0 to {longest}"
            ),
        ));
    }
    Persistence {
        timeout_ms: timeout.0,
        mask,
    }
}

/// Whether the service's datagrams can be scheduled one by one.
pub(super) fn one_packet(
    written: &WrittenService,
    at: usize,
    target: Option<&Target>,
    reals: &[RealSpec],
    findings: &mut Findings<'_, '_>,
) {
    let here = || steps!["services", at, "one_packet"];
    if !written.one_packet {
        return;
    }
    let Some(target) = target else {
        return;
    };
    // What a rule matches and is not UDP has sessions, as in IPVS.
    if matches!(target, Target::Vip(vip) if vip.protocol != Protocol::Udp) {
        findings.add(Finding::error(
            here(),
            "one-packet scheduling is for UDP only",
        ));
    }
    let is_untold =
        |real: &RealSpec| !real.forward.replies_name_client() || !tells_vip(target, real.port);
    let mut returning = reals.iter().filter(|real| real.forward.replies_return());
    if returning.any(is_untold) {
        findings.add(
            Finding::error(
                here(),
                "without a session nobody knows which virtual address and port an answer is from",
            )
            .help(format!(
                "use {}, or write one service for each address and port",
                ForwardMethod::any_of(|method| !method.replies_return())
            )),
        );
    }
}

/// Whether an answer from this port of a real server can be only for one virtual address and port.
fn tells_vip(target: &Target, port: u16) -> bool {
    let Target::Vip(vip) = target else {
        return false;
    };
    is_one_address(&vip.addresses) && (vip.port != 0 || port == 0)
}

/// Warns of answers that could be those of several one-packet services.
pub(super) fn shared_sockets(services: &[(usize, ServiceSpec)], findings: &mut Findings<'_, '_>) {
    let mut first_users: HashMap<(IpAddr, u16), (usize, usize)> = HashMap::new();
    for (at, service) in services.iter().filter(|(_, service)| service.one_packet) {
        let reals = service.reals.iter().enumerate();
        for (nth, real) in reals.filter(|(_, real)| real.forward.replies_return()) {
            let (first, first_nth) = *first_users
                .entry((real.address, real.port))
                .or_insert((*at, nth));
            if first == *at {
                continue;
            }
            let place = |at: usize, nth: usize| -> Vec<Step> {
                steps!["services", at, "reals", nth, "address"]
            };
            findings.add(
                Finding::warning(
                    place(*at, nth),
                    format!(
                        "answers from {} are taken for those of another one-packet service",
                        SocketAddr::new(real.address, real.port)
                    ),
                )
                .help("give the real server a port or an address of its own for each service")
                .also(place(first, first_nth), "the first one answers for all"),
            );
        }
    }
}
