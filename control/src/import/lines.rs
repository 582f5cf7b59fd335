//! A configuration's services as lines for `ipvsadm -R`.
//! Writes what LVS has words for and tells what it has not.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::marks;
use super::table::{Method, Real, Service, Table};
use super::yaml;
use crate::config::diagnostics::Problems;
use crate::config::file::TunnelChecksum;
use crate::config::{Diagnostics, Loaded};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::target::Identity;

/// What came of an export.
#[derive(Debug)]
pub struct Exported {
    /// What could be written, line by line.
    pub lines: String,
    /// The nft commands without which LVS's services by mark get no packets, as comments.
    pub marks: String,
    /// Errors are services that LVS cannot have, warnings what it does without.
    pub diagnostics: Diagnostics,
}

/// Writes the services of a configuration; `name` is what diagnostics call it.
#[must_use]
pub fn export(name: &str, loaded: &Loaded) -> Exported {
    let mut problems = Problems::default();
    let table = yaml::table_of(&loaded.text, &mut problems);
    Exported {
        lines: write(&table),
        marks: write_marks(&table),
        diagnostics: problems.finish(name, &loaded.text),
    }
}

/// Lines from which ipvsadm makes the very same table.
pub(super) fn write(table: &Table) -> String {
    let mut text = String::new();
    for service in &table.services {
        let key = selector(service.key);
        let _ = write!(text, "-A {key} -s {}", service.scheduler);
        write_options(&mut text, service);
        text.push('\n');
        // The kernel puts each new one in front of the others.
        for real in service.reals.iter().rev() {
            let _ = write!(text, "-a {key} -r {}", real.address);
            write_real(&mut text, real);
            text.push('\n');
        }
    }
    text
}

/// The firewall that has to mark the packets of services by mark.
fn write_marks(table: &Table) -> String {
    let mut commands = String::new();
    let mut families = [false; 2];
    for ((mark, v6), rules) in table.marks.own() {
        families = [families[0] || !v6, families[1] || *v6];
        for rule in rules {
            let _ = writeln!(commands, "# {}", marks::nft_line(*mark, *v6, rule));
        }
    }
    let mut text = String::new();
    for (family, _) in ["ip", "ip6"].iter().zip(families).filter(|(_, used)| *used) {
        let hook = "{ type filter hook prerouting priority mangle; }";
        let _ = writeln!(
            text,
            "# nft add table {family} plimsoll\n# nft 'add chain {family} plimsoll prerouting {hook}'"
        );
    }
    text + &commands
}

fn selector(key: Identity) -> String {
    match key {
        Identity::Vip(vip) => {
            let option = match vip.protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", vip.socket())
        }
        Identity::Mark(mark) if mark.is_v6 => format!("-f {} -6", mark.number),
        Identity::Mark(mark) => format!("-f {}", mark.number),
    }
}

fn write_options(text: &mut String, service: &Service) {
    if let Some(persistence) = &service.persistence {
        if let Some(engine) = &persistence.engine {
            let _ = write!(text, " --pe {engine}");
        }
        let _ = write!(text, " -p {}", persistence.timeout_s);
        if let Some(mask) = persistence.mask {
            // ipvsadm reads a number as an IPv4 address of one part, so a mask is written out.
            let _ = if service.key.is_v6() {
                write!(text, " -M {mask}")
            } else {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(mask.into()));
                write!(text, " -M {}", Ipv4Addr::from_bits(mask.unwrap_or(0)))
            };
        }
    }
    if service.one_packet {
        text.push_str(" -o");
    }
    if !service.flags.is_empty() {
        let _ = write!(text, " -b {}", service.flags.join(","));
    }
}

fn write_real(text: &mut String, real: &Real) {
    let Method { forward, tunnel } = real.method;
    // What LVS has not is in no table.
    let option = forward.lvs().map_or("", |(option, _)| option);
    let _ = write!(text, " {option} -w {}", real.weight);
    // Unlike `ipvsadm -S`, which forgets them.
    for (option, value) in [("-x", real.limits.upper), ("-y", real.limits.lower)] {
        if value != 0 {
            let _ = write!(text, " {option} {value}");
        }
    }
    if !forward.encapsulates() || tunnel == Default::default() {
        return;
    }
    let kind = tunnel.kind.lvs_name().unwrap_or_default();
    let _ = write!(text, " --tun-type {kind}");
    if tunnel.port != 0 {
        let _ = write!(text, " --tun-port {}", tunnel.port);
    }
    text.push_str(match tunnel.checksum {
        TunnelChecksum::None => " --tun-nocsum",
        TunnelChecksum::Csum => " --tun-csum",
        TunnelChecksum::Remcsum => " --tun-remcsum",
    });
}
