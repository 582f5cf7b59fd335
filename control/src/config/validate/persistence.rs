//! Checks of how clients stay at a real server, and of what does without sessions.
//! IPVS's rules; what it accepts and cannot work is an error or a warning.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::super::file::{Persistence as Written, Service as WrittenService};
use super::super::leaf::print_duration;
use super::super::tree::Step;
use super::super::valid::{Forward, Persistence, Protocol, Real, Service, Target};
use super::network::MAX_TIMEOUT;
use super::{Finding, Findings, steps};

/// A service's persistence. The whole address makes a client if no mask is written, as in IPVS.
pub(super) fn persistence(
    written: &Written,
    at: usize,
    is_v6: bool,
    findings: &mut Findings<'_, '_>,
) -> Persistence {
    let here = |key| steps!["services", at, "persistence", key];
    let timeout = written.timeout;
    if timeout.0.is_zero() || timeout.0 > MAX_TIMEOUT {
        findings.add(Finding::error(
            here("timeout"),
            format!(
                "expected a time from 1ms to {}, found {timeout}",
                print_duration(MAX_TIMEOUT)
            ),
        ));
    }
    let (longest, family) = if is_v6 { (128, "IPv6") } else { (32, "IPv4") };
    let mask = written.mask.unwrap_or(longest);
    if mask > longest {
        findings.add(Finding::error(
            here("mask"),
            format!(
                "{mask} is not a prefix length of an {family} address; expected 0 to {longest}"
            ),
        ));
    }
    Persistence {
        timeout: timeout.0,
        mask,
    }
}

/// Whether the service's datagrams can be scheduled one by one.
pub(super) fn one_packet(
    written: &WrittenService,
    at: usize,
    target: Option<&Target>,
    reals: &[Real],
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
    let mut nat = reals.iter().filter(|real| real.forward == Forward::Nat);
    if nat.any(|real| !tells_vip(target, real.address)) {
        findings.add(
            Finding::error(
                here(),
                "without a session nobody knows which virtual address and port an answer is from",
            )
            .help("use `dr` or `tunnel`, or write one service for each address and port"),
        );
    }
}

/// Whether an answer from this socket can be only for one virtual address and port.
fn tells_vip(target: &Target, real: SocketAddr) -> bool {
    let Target::Vip(vip) = target else {
        return false;
    };
    let one_address = vip.addresses.prefix_len() == vip.addresses.max_prefix_len();
    one_address && (vip.port != 0 || real.port() == 0)
}

/// Warns of answers that could be those of several one-packet services.
pub(super) fn shared_sockets(services: &[(usize, Service)], findings: &mut Findings<'_, '_>) {
    let mut first_users: HashMap<SocketAddr, (usize, usize)> = HashMap::new();
    for (at, service) in services.iter().filter(|(_, service)| service.one_packet) {
        let reals = service.reals.iter().enumerate();
        for (nth, real) in reals.filter(|(_, real)| real.forward == Forward::Nat) {
            let (first, first_nth) = *first_users.entry(real.address).or_insert((*at, nth));
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
                        real.address
                    ),
                )
                .help("give the real server a port or an address of its own for each service")
                .also(place(first, first_nth), "the first one answers for all"),
            );
        }
    }
}
