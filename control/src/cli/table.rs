//! The columns of `ipvsadm` 1.31: what operators know by heart and scripts cut to pieces.
//! Pure functions to text, equal to the last blank to what `ipvsadm` prints; `tests.rs` has its own words.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use plimsoll_dataplane::flow::Protocol;

use crate::rate::Rate;
use crate::report::{
    Counters, Persistence, Real, Service, Services, SessionProtocol, Sessions, Target, Timeouts,
};
use crate::runtime::Administration;

/// As `ipvsadm -Ln`.
pub(super) fn services(list: &Services) -> String {
    let columns = "Prot LocalAddress:Port Scheduler Flags\n  \
                   -> RemoteAddress:Port           Forward Weight ActiveConn InActConn";
    rows(list, columns, headline, |real| {
        let forward = real.forward;
        let forward = forward.lvs().map_or(forward.name(), |(_, word)| word);
        format!(
            " {forward:<7} {:<6} {:<10} {:<10}",
            real.weight, real.active, real.inactive
        )
    })
}

/// As `ipvsadm -Ln --stats`; with `exact` as with `--exact`.
pub(super) fn stats(list: &Services, exact: bool) -> String {
    let columns = "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
                   -> RemoteAddress:Port";
    let numbers = |counts: &Counters| {
        let Counters {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = *counts;
        numbers([conns, in_packets, out_packets, in_bytes, out_bytes], exact)
    };
    rows(
        list,
        columns,
        |service| format!("{:<33}{}", name(service), numbers(&service.counters)),
        |real| numbers(&real.counters),
    )
}

/// As `ipvsadm -Ln --rate`; with `exact` as with `--exact`. BPS are bytes.
pub(super) fn rate(list: &Services, exact: bool) -> String {
    let columns = "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
                   -> RemoteAddress:Port";
    let numbers = |rate: Option<Rate>| {
        let Rate {
            conns,
            in_packets,
            out_packets,
            in_bytes,
            out_bytes,
        } = rate.unwrap_or_default();
        numbers([conns, in_packets, out_packets, in_bytes, out_bytes], exact)
    };
    rows(
        list,
        columns,
        |service| format!("{:<33}{}", name(service), numbers(service.rate)),
        |real| numbers(real.rate),
    )
}

/// As `ipvsadm -Ln --thresholds`.
pub(super) fn thresholds(list: &Services) -> String {
    let columns = "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
                   -> RemoteAddress:Port";
    rows(list, columns, headline, |real| {
        format!(
            " {:<10} {:<10} {:<10} {:<10}",
            real.upper, real.lower, real.active, real.inactive
        )
    })
}

/// As `ipvsadm -Ln --persistent-conn`.
pub(super) fn persistent(list: &Services) -> String {
    let columns = "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
                   -> RemoteAddress:Port";
    rows(list, columns, headline, |real| {
        format!(
            " {:<9} {:<11} {:<10} {:<10}",
            real.weight, real.persistent, real.active, real.inactive
        )
    })
}

/// What `ipvsadm` does not know, laid out as it would.
pub(super) fn state(list: &Services) -> String {
    let columns = "Prot LocalAddress:Port Scheduler Flags\n  \
                   -> RemoteAddress:Port           State     Weight File   Sessions";
    rows(list, columns, headline, |real| {
        let state = real.administration.map_or("removed", Administration::name);
        let of_file = real.weight_of_file.unwrap_or(real.weight);
        format!(
            " {state:<9} {:<6} {of_file:<6} {}",
            real.weight,
            real.active + real.inactive
        )
    })
}

/// As `ipvsadm -L --timeout`.
pub(super) fn timeouts(timeouts: &Timeouts) -> String {
    let Timeouts {
        tcp_s,
        tcp_fin_s,
        udp_s,
    } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp_s} {tcp_fin_s} {udp_s}\n")
}

/// Services and their real servers under `columns`; `of_real` is what follows a real server's address.
fn rows(
    list: &Services,
    columns: &str,
    of_service: impl Fn(&Service) -> String,
    of_real: impl Fn(&Real) -> String,
) -> String {
    // `size` is IPVS's number of hash buckets; here it is what the table can hold, which says more.
    let capacity = list.capacity;
    let mut text = format!("IP Virtual Server version 1.2.1 (size={capacity})\n{columns}\n");
    for service in sorted(&list.services) {
        line(&mut text, format_args!("{}", of_service(service)));
        for real in by_address(&service.reals) {
            let (address, rest) = (real.address.to_string(), of_real(real));
            line(&mut text, format_args!("  -> {address:<28}{rest}"));
        }
    }
    text
}

/// What a service is and how it chooses.
fn headline(service: &Service) -> String {
    let mut text = format!("{} {}", name(service), service.scheduler);
    if !service.scheduler_flags.is_empty() {
        let _ = write!(text, " ({})", service.scheduler_flags.join(","));
    }
    if let Some(Persistence { timeout_ms, mask }) = service.persistence {
        let _ = write!(text, " persistent {}", timeout_ms.div_ceil(1000));
        match (service.target.is_v6(), mask) {
            (false, 0..32) => {
                let bits = u32::MAX.checked_shl(32 - u32::from(mask)).unwrap_or(0);
                let _ = write!(text, " mask {}", Ipv4Addr::from_bits(bits));
            }
            (true, 0..128) => {
                let _ = write!(text, " mask {mask}");
            }
            // The whole address.
            _ => {}
        }
    }
    if service.one_packet {
        text.push_str(" ops");
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
        Target::Vip { vip, protocol } => (0, service.target.is_v6(), Some((protocol, vip))),
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

fn keyword(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn name(service: &Service) -> String {
    let target = &service.target;
    let protocol = target.protocol().to_uppercase();
    format!("{protocol:<4} {}", target.address())
}

fn numbers(shown: [u64; 5], exact: bool) -> String {
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
