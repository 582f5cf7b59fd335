//! Checks of how clients stay at a real server, and of what does without sessions.
//! IPVS's rules; what it accepts and cannot work is an error or a warning.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::super::file::{Persistence as Written, Service as WrittenService};
use super::super::leaf::{Vip, print_duration};
use super::super::tree::Step;
use super::super::valid::{Forward, Persistence, Protocol, Real, Service};
use super::network::MAX_TIMEOUT;
use super::{Finding, Findings, family, steps};

/// A service's persistence. The whole address makes a client if no mask is written, as in IPVS.
pub(super) fn persistence(
    written: &Written,
    at: usize,
    vip: IpAddr,
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
    let longest = if vip.is_ipv4() { 32 } else { 128 };
    let mask = written.mask.unwrap_or(longest);
    if mask > longest {
        findings.add(Finding::error(
            here("mask"),
            format!(
                "{mask} is not a prefix length of an {} address; expected 0 to {longest}",
                family(vip)
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
    protocol: Option<Protocol>,
    reals: &[Real],
    findings: &mut Findings<'_, '_>,
) {
    let here = || steps!["services", at, "one_packet"];
    if !written.one_packet {
        return;
    }
    if protocol.is_some_and(|protocol| protocol != Protocol::Udp) {
        findings.add(Finding::error(
            here(),
            "one-packet scheduling is for UDP only",
        ));
    }
    let vip = written.vip.0;
    let nat = reals.iter().find(|real| real.forward == Forward::Nat);
    if let Some(real) = nat
        && !tells_vip(vip, real.address)
    {
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
fn tells_vip(vip: Vip, real: SocketAddr) -> bool {
    vip.prefix.is_none() && (vip.port != 0 || real.port() == 0)
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
