//! The columns of `ipvsadm` 1.31: what operators know by heart and scripts cut to pieces.
//! Pure functions to text, equal to the last blank to what `ipvsadm` prints; `tests.rs` has its own words.

use std::fmt::Write as _;

use crate::report::{
    Counters, Forward, Protocol, Real, Service, Services, SessionProtocol, Sessions, Target,
};

/// As `ipvsadm -Ln`.
pub(super) fn services(list: &Services) -> String {
    let mut text = title(list);
    text.push_str(
        "Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
    );
    for service in sorted(&list.services) {
        line(
            &mut text,
            format_args!(
                "{} {}{}",
                name(&service.target),
                service.scheduler,
                flags(service)
            ),
        );
        for real in by_address(&service.reals) {
            let forward = match real.forward {
                Forward::Dr => "Route",
                Forward::Nat => "Masq",
                Forward::Tunnel => "Tunnel",
            };
            let address = real.address.to_string();
            line(
                &mut text,
                format_args!(
                    "  -> {address:<28} {forward:<7} {:<6} {:<10} {:<10}",
                    real.weight, real.active, real.inactive
                ),
            );
        }
    }
    text
}

/// As `ipvsadm -Ln --stats`; with `exact` as with `--exact`.
pub(super) fn stats(list: &Services, exact: bool) -> String {
    let mut text = title(list);
    text.push_str(
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
         -> RemoteAddress:Port\n",
    );
    for service in sorted(&list.services) {
        let name = name(&service.target);
        line(
            &mut text,
            format_args!("{name:<33}{}", numbers(&service.counters, exact)),
        );
        for real in by_address(&service.reals) {
            let address = real.address.to_string();
            line(
                &mut text,
                format_args!("  -> {address:<28}{}", numbers(&real.counters, exact)),
            );
        }
    }
    text
}

/// As `ipvsadm -Lnc`.
pub(super) fn sessions(list: &Sessions) -> String {
    let mut text = "IPVS connection entries\n\
                    pro expire state       source             virtual            destination\n"
        .to_owned();
    for session in &list.sessions {
        let (client, virtual_) = (session.client.to_string(), session.virtual_.to_string());
        line(
            &mut text,
            format_args!(
                "{:<3} {:02}:{:02}  {:<11} {client:<18} {virtual_:<18} {}",
                match session.protocol {
                    SessionProtocol::Ip => "IP",
                    SessionProtocol::One(protocol) => keyword(protocol),
                },
                session.expires_s / 60,
                session.expires_s % 60,
                session.state,
                session.real,
            ),
        );
    }
    text
}

/// In the order in which `ipvsadm` lists them.
fn sorted(services: &[Service]) -> Vec<&Service> {
    let mut sorted: Vec<&Service> = services.iter().collect();
    sorted.sort_by_key(|service| match service.target {
        Target::Vip { vip, protocol } => (0, vip.0.address.is_ipv6(), Some((protocol, vip.0))),
        Target::Mark { mark, ipv6 } => (mark, ipv6, None),
    });
    sorted
}

fn by_address(reals: &[Real]) -> Vec<&Real> {
    let mut sorted: Vec<&Real> = reals.iter().collect();
    sorted.sort_by_key(|real| real.address);
    sorted
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// `size` is IPVS's number of hash buckets; here it is what the table can hold, which says more.
fn title(list: &Services) -> String {
    format!("IP Virtual Server version 1.2.1 (size={})\n", list.capacity)
}

fn keyword(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

fn name(target: &Target) -> String {
    format!("{}  {}", target.protocol().to_uppercase(), target.address())
}

fn flags(service: &Service) -> String {
    if service.scheduler_flags.is_empty() {
        return String::new();
    }
    format!(" ({})", service.scheduler_flags.join(","))
}

fn numbers(counts: &Counters, exact: bool) -> String {
    let shown = [
        counts.conns,
        counts.in_packets,
        counts.out_packets,
        counts.in_bytes,
        counts.out_bytes,
    ];
    shown
        .map(|count| {
            if exact {
                // A blank at least, however long the number.
                format!(" {count:>8}")
            } else {
                large(count)
            }
        })
        .concat()
}

/// At most eight digits, or fewer with K, M, G, T for thousands of thousands, cut off, not rounded.
fn large(count: u64) -> String {
    match count {
        0..100_000_000 => format!(" {count:>8}"),
        100_000_000..1_000_000_000 => format!(" {:>7}K", count / 1_000),
        1_000_000_000..100_000_000_000 => format!(" {:>7}M", count / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!(" {:>7}G", count / 1_000_000_000),
        _ => format!(" {:>7}T", count / 1_000_000_000_000),
    }
}

#[cfg(test)]
mod tests;
