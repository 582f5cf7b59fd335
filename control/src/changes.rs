//! What differs between two configurations: what a reload changes, and what only a restart can.
//! It compares and describes; nothing is applied here.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::leaf::print_duration;
use crate::config::valid::{
    Identity, MssClamp, Real, ReloadConfig, Service, StartConfig, is_link_local,
};

/// What a reload changes. Words are for people; which list they are in is for programs too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// New services.
    pub added: Vec<String>,
    /// Services that are no longer there.
    pub removed: Vec<String>,
    /// Services that are there in both, with what differs.
    pub changed: Vec<ServiceChange>,
    /// Routes, neighbours, timeouts and other things that belong to no service.
    pub other: Vec<String>,
}

/// What differs in one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceChange {
    /// The service.
    pub service: String,
    /// What differs.
    pub what: Vec<String>,
}

/// Which services differ between two configurations, found without a look at what they compile to.
#[derive(Debug)]
pub struct Difference<'c> {
    old: &'c ReloadConfig,
    new: &'c ReloadConfig,
    /// New services, in the order of the file.
    pub added: Vec<&'c Service>,
    /// Services that are no longer there.
    pub removed: Vec<&'c Service>,
    /// Services that are there in both and differ: as they were and as they are to be.
    pub changed: Vec<(&'c Service, &'c Service)>,
    /// Whether anything differs that belongs to no service.
    pub network: bool,
    /// Whether services have come, gone or changed places whose order decides about packets.
    pub reordered: bool,
    same: bool,
}

impl<'c> Difference<'c> {
    /// From `old` to `new`. A service is the same one as long as its protocol and VIP, or its mark, are.
    #[must_use]
    pub fn between(old: &'c ReloadConfig, new: &'c ReloadConfig) -> Self {
        let network = !is_same_network(old, new);
        // Most changes are of a few lines in one place, so only what lies between two alike parts is
        // put into a map.
        let alike = |(old, new): &(&Service, &Service)| old == new;
        let ahead = old.services.iter().zip(&new.services);
        let ahead = ahead.take_while(alike).count();
        let (before, after) = (rest(&old.services, ahead), rest(&new.services, ahead));
        let behind = before.iter().rev().zip(after.iter().rev());
        let behind = behind.take_while(alike).count();
        let (before, after) = (but_last(before, behind), but_last(after, behind));

        let key = |service: &Service| service.target.identity();
        let mut left: HashMap<Identity, &Service> = before
            .iter()
            .map(|service| (key(service), service))
            .collect();
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        for service in after {
            match left.remove(&key(service)) {
                Some(former) if former == service => {}
                Some(former) => changed.push((former, service)),
                None => added.push(service),
            }
        }
        let gone = before.iter().filter(|one| left.contains_key(&key(one)));
        let ordered = |services: &'c [Service]| services.iter().filter(|one| one.is_ordered());
        Self {
            removed: gone.collect(),
            reordered: !ordered(before).map(key).eq(ordered(after).map(key)),
            same: !network && before.is_empty() && after.is_empty(),
            old,
            new,
            added,
            changed,
            network,
        }
    }

    /// Whether both say the same in the same order.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.same
    }

    /// Whether a service that says the same may compile to something else.
    #[must_use]
    pub fn reaches_all_services(&self) -> bool {
        self.old.timeouts != self.new.timeouts || self.old.hash_key != self.new.hash_key
    }

    /// The configuration that is to be.
    #[must_use]
    pub const fn new_config(&self) -> &'c ReloadConfig {
        self.new
    }

    /// The same for people.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let added = self.added.iter().map(|service| {
            format!(
                "{}, {}, {} real server{}",
                title(service),
                service.scheduler,
                service.reals.len(),
                if service.reals.len() == 1 { "" } else { "s" }
            )
        });
        let changed = self.changed.iter().map(|(old, new)| ServiceChange {
            service: title(new),
            what: service_changes(old, new),
        });
        Changes {
            added: added.collect(),
            removed: self.removed.iter().map(|service| title(service)).collect(),
            changed: changed.filter(|change| !change.what.is_empty()).collect(),
            other: if self.network {
                other_changes(self.old, self.new)
            } else {
                Vec::new()
            },
        }
    }
}

fn rest(services: &[Service], from: usize) -> &[Service] {
    services.get(from..).unwrap_or_default()
}

fn but_last(services: &[Service], count: usize) -> &[Service] {
    let len = services.len().saturating_sub(count);
    services.get(..len).unwrap_or_default()
}

fn is_same_network(old: &ReloadConfig, new: &ReloadConfig) -> bool {
    // Named one by one, so that a new field is not forgotten here.
    let ReloadConfig {
        routes,
        neighbors,
        forwarding,
        timeouts,
        refuses_replies,
        answers_as_lvs,
        hash_key,
        services: _,
    } = old;
    *routes == new.routes
        && *neighbors == new.neighbors
        && *forwarding == new.forwarding
        && *timeouts == new.timeouts
        && *refuses_replies == new.refuses_replies
        && *answers_as_lvs == new.answers_as_lvs
        && *hash_key == new.hash_key
}

impl Changes {
    /// From `old` to `new`. A service is the same one as long as its protocol and VIP, or its mark, are.
    #[must_use]
    pub fn between(old: &ReloadConfig, new: &ReloadConfig) -> Self {
        Difference::between(old, new).changes()
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One line each: `+` added, `-` removed, `~` changed.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.added.iter().map(|what| format!("+ service {what}")));
        lines.extend(self.removed.iter().map(|what| format!("- service {what}")));
        for change in &self.changed {
            lines.extend(
                change
                    .what
                    .iter()
                    .map(|what| format!("~ service {}: {what}", change.service)),
            );
        }
        lines.extend(self.other.iter().map(|what| format!("~ {what}")));
        lines
    }
}

fn title(service: &Service) -> String {
    format!("{} ({})", service.name, service.target.identity())
}

fn service_changes(old: &Service, new: &Service) -> Vec<String> {
    let mut what = Vec::new();
    differ(&mut what, "name", &old.name, &new.name);
    if old.target != new.target {
        what.push("match".to_owned());
    }
    differ(&mut what, "scheduler", &old.scheduler, &new.scheduler);
    let slow_start = |service: &Service| print_duration(service.slow_start);
    differ(&mut what, "slow_start", &slow_start(old), &slow_start(new));
    let clamp =
        |clamp: Option<MssClamp>| clamp.map_or_else(|| "none".to_owned(), |it| it.to_string());
    differ(
        &mut what,
        "mss_clamp",
        &clamp(old.mss_clamp),
        &clamp(new.mss_clamp),
    );
    let persistence = |service: &Service| match service.persistence {
        Some(persistence) => persistence.to_string(),
        None => "none".to_owned(),
    };
    let (before, after) = (persistence(old), persistence(new));
    differ(&mut what, "persistence", &before, &after);
    differ(&mut what, "one_packet", &old.one_packet, &new.one_packet);
    let limit = |service: &Service| {
        let most = service.max_sessions;
        most.map_or_else(|| "none".to_owned(), |most| most.to_string())
    };
    differ(&mut what, "limits.sessions", &limit(old), &limit(new));
    if old.policy != new.policy {
        what.push("compat, ipvs, on_down or idle_reset".to_owned());
    }
    let (before, after) = (old.timeouts, new.timeouts);
    for (name, before, after) in [
        ("timeouts.tcp", before.tcp, after.tcp),
        ("timeouts.tcp_fin", before.tcp_fin, after.tcp_fin),
        (
            "timeouts.tcp_time_wait",
            before.tcp_time_wait,
            after.tcp_time_wait,
        ),
        ("timeouts.udp", before.udp, after.udp),
        ("timeouts.sctp", before.sctp, after.sctp),
    ] {
        let shown = |time: Option<Duration>| {
            time.map_or_else(|| "the common one".to_owned(), |time| format!("{time:?}"))
        };
        differ(&mut what, name, &shown(before), &shown(after));
    }
    let mut before: HashMap<SocketAddr, &Real> =
        old.reals.iter().map(|real| (real.address, real)).collect();
    for real in &new.reals {
        let Some(former) = before.remove(&real.address) else {
            what.push(format!(
                "real {} added, weight {}",
                real.address, real.weight
            ));
            continue;
        };
        let label = |key: &str| format!("{key} of {}", real.address);
        differ(&mut what, &label("weight"), &former.weight, &real.weight);
        differ(&mut what, &label("upper"), &former.upper, &real.upper);
        differ(&mut what, &label("lower"), &former.lower, &real.lower);
        differ(
            &mut what,
            &label("forward"),
            &former.forward.name(),
            &real.forward.name(),
        );
        differ(&mut what, &label("tunnel"), &former.tunnel, &real.tunnel);
        let source = |real: &Real| match real.tunnel_source {
            Some(source) => source.to_string(),
            None => "the port's".to_owned(),
        };
        differ(
            &mut what,
            &label("tunnel source"),
            &source(former),
            &source(real),
        );
        let ttl = |real: &Real| match real.tunnel_ttl {
            Some(hops) => hops.to_string(),
            None => "inherit".to_owned(),
        };
        differ(&mut what, &label("tunnel ttl"), &ttl(former), &ttl(real));
    }
    let gone = old
        .reals
        .iter()
        .filter(|real| before.contains_key(&real.address));
    what.extend(gone.map(|real| format!("real {} removed", real.address)));
    if what.is_empty() && old.reals != new.reals {
        what.push("order of the real servers".to_owned());
    }
    what
}

/// Which port's an address is, if it does not say so itself.
fn link_port(address: std::net::IpAddr, port: usize) -> String {
    if is_link_local(address) {
        format!(" on port {port}")
    } else {
        String::new()
    }
}

fn other_changes(old: &ReloadConfig, new: &ReloadConfig) -> Vec<String> {
    let mut what = Vec::new();
    lists(&mut what, "route", &old.routes, &new.routes, |route| {
        let port = link_port(route.via, route.port);
        format!("{} via {}{port}", route.to, route.via)
    });
    lists(
        &mut what,
        "neighbor",
        &old.neighbors,
        &new.neighbors,
        |neighbor| {
            let port = link_port(neighbor.address, neighbor.port);
            format!("{}{port} at {}", neighbor.address, mac(neighbor.mac))
        },
    );
    differ(&mut what, "forwarding", &old.forwarding, &new.forwarding);
    let (before, after) = (old.timeouts, new.timeouts);
    for (name, before, after) in [
        ("timeouts.tcp", before.tcp, after.tcp),
        ("timeouts.tcp_fin", before.tcp_fin, after.tcp_fin),
        (
            "timeouts.tcp_time_wait",
            before.tcp_time_wait,
            after.tcp_time_wait,
        ),
        ("timeouts.udp", before.udp, after.udp),
        ("timeouts.sctp", before.sctp, after.sctp),
    ] {
        if before != after {
            what.push(format!("{name} {before:?} -> {after:?}"));
        }
    }
    differ(
        &mut what,
        "ipvs.nat_icmp_send",
        &old.refuses_replies,
        &new.refuses_replies,
    );
    if old.answers_as_lvs != new.answers_as_lvs {
        what.push("compat".to_owned());
    }
    if old.hash_key != new.hash_key {
        what.push("hash.key".to_owned());
    }
    what
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn differ<T: PartialEq + Display>(what: &mut Vec<String>, name: &str, old: &T, new: &T) {
    if old != new {
        what.push(format!("{name} {old} -> {new}"));
    }
}

fn lists<T: Eq + Hash>(
    what: &mut Vec<String>,
    name: &str,
    old: &[T],
    new: &[T],
    show: impl Fn(&T) -> String,
) {
    let (before, after): (HashSet<&T>, HashSet<&T>) = (old.iter().collect(), new.iter().collect());
    for one in new.iter().filter(|one| !before.contains(one)) {
        what.push(format!("{name} {} added", show(one)));
    }
    for one in old.iter().filter(|one| !after.contains(one)) {
        what.push(format!("{name} {} removed", show(one)));
    }
}

/// What differs that only a restart can change, by its place in the file.
#[must_use]
pub fn restarts(old: &StartConfig, new: &StartConfig) -> Vec<String> {
    let mut what = Vec::new();
    let cpus = |config: &StartConfig| match &config.cpus {
        Some(cpus) => format!("{cpus:?}"),
        None => "every CPU but the first".to_owned(),
    };
    differ(&mut what, "dataplane.cpus", &cpus(old), &cpus(new));
    differ(
        &mut what,
        "dataplane.sessions",
        &old.sessions_per_worker,
        &new.sessions_per_worker,
    );
    if old.hugepages != new.hugepages {
        what.push("dataplane.memory.hugepages".to_owned());
    }
    differ(
        &mut what,
        "dataplane.memory.size in bytes",
        &old.memory_bytes,
        &new.memory_bytes,
    );
    differ(
        &mut what,
        "dataplane.idle",
        &old.idle.name(),
        &new.idle.name(),
    );
    if old.eal_args != new.eal_args {
        what.push(format!(
            "dataplane.eal_args {:?} -> {:?}",
            old.eal_args, new.eal_args
        ));
    }
    if old.ports != new.ports {
        let names = |config: &StartConfig| -> Vec<String> {
            config.ports.iter().map(|port| port.name.clone()).collect()
        };
        if names(old) == names(new) {
            let differing = old.ports.iter().zip(&new.ports).filter(|(a, b)| a != b);
            what.extend(differing.map(|(port, _)| format!("dataplane.ports: port {}", port.name)));
        } else {
            differ(
                &mut what,
                "dataplane.ports",
                &names(old).join(", "),
                &names(new).join(", "),
            );
        }
    }
    differ(
        &mut what,
        "control.socket",
        &old.socket.display().to_string(),
        &new.socket.display().to_string(),
    );
    let http = |start: &StartConfig| {
        start
            .http
            .map_or_else(|| "off".to_owned(), |address| address.to_string())
    };
    differ(&mut what, "control.http", &http(old), &http(new));
    what
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const BASE: &str = r#"
version: 1
dataplane:
  cpus: [1]
  ports: [{ name: wan, device: net_null0, addresses: [192.0.2.2/24] }]
services:
  - name: web
    vip: 192.0.2.10:80
    protocol: tcp
    scheduler: rr
    forward: dr
    reals: [{ address: "192.0.2.21:80" }, { address: "192.0.2.22:80" }]
  - name: dns
    vip: 192.0.2.10:53
    protocol: udp
    scheduler: rr
    forward: dr
    reals: []
"#;

    fn changes(replace: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let load = |text: String| config::parse("x", text).unwrap_or_else(|e| panic!("{e:?}"));
        let new = replace
            .iter()
            .fold(BASE.to_owned(), |text, (from, to)| text.replace(from, to));
        let (old, new) = (load(BASE.to_owned()).valid, load(new).valid);
        let changes = Changes::between(old.reload(), new.reload());
        assert_eq!(changes.is_empty(), changes.lines().is_empty());
        (changes.lines(), restarts(old.start(), new.start()))
    }

    #[test]
    fn the_same_text_changes_nothing() {
        assert_eq!(changes(&[]), (Vec::new(), Vec::new()));
    }

    #[test]
    fn every_change_is_named() {
        let (lines, restarts) = changes(&[
            (
                "scheduler: rr\n    forward: dr\n    reals: [{ address: \"192.0.2.21:80\" }, { address: \"192.0.2.22:80\" }]",
                "scheduler: sh\n    scheduler_flags: [sh-port]\n    slow_start: 60s\n    persistence: { mask: 24 }\n    forward: dr\n    reals: [{ address: \"192.0.2.22:80\", weight: 0, upper: 9 }, { address: \"192.0.2.23:80\" }]",
            ),
            ("vip: 192.0.2.10:53", "vip: 192.0.2.11:53"),
            (
                "services:",
                "timeouts: { udp: 1m, sctp: 20m }\nnetwork:\n  routes: [{ to: 0.0.0.0/0, via: 192.0.2.1 }]\n  neighbors: [{ address: 192.0.2.21, mac: \"02:00:00:00:00:0b\" }]\nservices:",
            ),
        ]);
        assert_eq!(restarts, Vec::<String>::new());
        assert_eq!(
            lines,
            [
                "+ service dns (udp 192.0.2.11:53), rr, 0 real servers",
                "- service dns (udp 192.0.2.10:53)",
                "~ service web (tcp 192.0.2.10:80): scheduler rr -> sh (sh-port)",
                "~ service web (tcp 192.0.2.10:80): slow_start 0s -> 1m",
                "~ service web (tcp 192.0.2.10:80): persistence none -> 360s by /24",
                "~ service web (tcp 192.0.2.10:80): weight of 192.0.2.22:80 1 -> 0",
                "~ service web (tcp 192.0.2.10:80): upper of 192.0.2.22:80 0 -> 9",
                "~ service web (tcp 192.0.2.10:80): real 192.0.2.23:80 added, weight 1",
                "~ service web (tcp 192.0.2.10:80): real 192.0.2.21:80 removed",
                "~ route 0.0.0.0/0 via 192.0.2.1 added",
                "~ neighbor 192.0.2.21 at 02:00:00:00:00:0b added",
                "~ timeouts.udp 300s -> 60s",
                "~ timeouts.sctp 900s -> 1200s",
            ]
        );
    }

    #[test]
    fn a_services_own_times_are_named() {
        let (lines, _) = changes(&[(
            "protocol: tcp\n",
            "protocol: tcp\n    timeouts: { tcp: 1m }\n    idle_reset: true\n",
        )]);
        let web = "~ service web (tcp 192.0.2.10:80):";
        assert_eq!(
            lines,
            [
                format!("{web} compat, ipvs, on_down or idle_reset"),
                format!("{web} timeouts.tcp the common one -> 60s"),
            ]
        );
    }

    #[test]
    fn another_tunnel_is_named() {
        let (lines, _) = changes(&[(
            "scheduler: rr\n    forward: dr\n    reals: [{ address: \"192.0.2.21:80\" }, { address: \"192.0.2.22:80\" }]",
            "forward: tunnel\n    mss_clamp: auto\n    tunnel: { type: gue, checksum: csum, source: 192.0.2.2 }\n    reals: [{ address: 192.0.2.21 }]",
        )]);
        let web = "~ service web (tcp 192.0.2.10:80):";
        assert_eq!(
            lines,
            [
                format!("{web} mss_clamp none -> auto"),
                format!("{web} forward of 192.0.2.21:80 dr -> tunnel"),
                format!("{web} tunnel of 192.0.2.21:80 ipip -> gue to port 6080 with checksum"),
                format!("{web} tunnel source of 192.0.2.21:80 the port's -> 192.0.2.2"),
                format!("{web} real 192.0.2.22:80 removed"),
            ]
        );
    }

    #[test]
    fn what_needs_a_restart_is_named_by_its_place() {
        let (lines, restarts) = changes(&[
            ("cpus: [1]", "cpus: [0, 1]\n  sessions: 10\n  idle: sleep"),
            ("192.0.2.2/24]", "192.0.2.3/24]"),
            ("services:", "control: { http: \"127.0.0.1:1\" }\nservices:"),
        ]);
        assert_eq!(lines, Vec::<String>::new());
        assert_eq!(
            restarts,
            [
                "dataplane.cpus [1] -> [0, 1]",
                "dataplane.sessions 1048576 -> 10",
                "dataplane.idle poll -> sleep",
                "dataplane.ports: port wan",
                "control.http 127.0.0.1:9142 -> 127.0.0.1:1",
            ]
        );
        let (_, restarts) = changes(&[("name: wan", "name: lan")]);
        assert_eq!(restarts, ["dataplane.ports wan -> lan"]);
        let (_, restarts) = changes(&[("services:", "control: { http: off }\nservices:")]);
        assert_eq!(restarts, ["control.http 127.0.0.1:9142 -> off"]);
    }
}
