//! What differs between two configurations: what a reload changes, and what only a restart can.
//! It compares and describes; nothing is applied here.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::spec::network::Network;
use plimsoll_dataplane::spec::service::{Persistence, RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::Identity;
use plimsoll_dataplane::spec::timeouts::Millis;
use serde::{Deserialize, Serialize};

use crate::config::file::NO_STATE;
use crate::config::leaf::print_duration;
use crate::config::valid::{ReloadConfig, StartConfig};

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
    pub added: Vec<&'c ServiceSpec>,
    /// Services that are no longer there.
    pub removed: Vec<&'c ServiceSpec>,
    /// Services that are there in both and differ: as they were and as they are to be.
    pub changed: Vec<(&'c ServiceSpec, &'c ServiceSpec)>,
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
        let network = old.network != new.network || old.hash_key != new.hash_key;
        // Most changes are of a few lines in one place, so only what lies between two alike parts is
        // put into a map.
        let alike = |(old, new): &(&ServiceSpec, &ServiceSpec)| old == new;
        let ahead = old.services.iter().zip(new.services.iter());
        let ahead = ahead.take_while(alike).count();
        let (before, after) = (rest(&old.services, ahead), rest(&new.services, ahead));
        let behind = before.iter().rev().zip(after.iter().rev());
        let behind = behind.take_while(alike).count();
        let (before, after) = (but_last(before, behind), but_last(after, behind));

        let key = |service: &ServiceSpec| service.target.identity();
        let mut left: HashMap<Identity, &ServiceSpec> = before
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
        let ordered = |services: &'c [ServiceSpec]| services.iter().filter(|one| one.is_ordered());
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
        self.old.network.timeouts != self.new.network.timeouts
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

fn rest(services: &[ServiceSpec], from: usize) -> &[ServiceSpec] {
    services.get(from..).unwrap_or_default()
}

fn but_last(services: &[ServiceSpec], count: usize) -> &[ServiceSpec] {
    let len = services.len().saturating_sub(count);
    services.get(..len).unwrap_or_default()
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

fn title(service: &ServiceSpec) -> String {
    format!("{} ({})", service.name, service.target.identity())
}

fn service_changes(old: &ServiceSpec, new: &ServiceSpec) -> Vec<String> {
    // Without `..`, so that a new field is not forgotten here.
    let ServiceSpec {
        name,
        target,
        scheduler,
        slow_start_ms,
        mss_clamp,
        persistence,
        one_packet,
        limits,
        policy,
        on_drain,
        timeouts,
        reals,
    } = old;
    let mut what = Vec::new();
    differ(&mut what, "name", name, &new.name);
    if *target != new.target {
        what.push("match".to_owned());
    }
    // By what is shown: who knows another hash key is told so once.
    let [before, after] = [scheduler, &new.scheduler].map(ToString::to_string);
    differ(&mut what, "scheduler", &before, &after);
    let time = |ms: u32| print_duration(Duration::from_millis(ms.into()));
    let [before, after] = [*slow_start_ms, new.slow_start_ms].map(time);
    differ(&mut what, "slow_start", &before, &after);
    let [before, after] = [*mss_clamp, new.mss_clamp].map(|clamp| or(clamp, "none"));
    differ(&mut what, "mss_clamp", &before, &after);
    let shown = |persistence: Option<Persistence>| {
        let persistence = persistence
            .map(|Persistence { timeout_ms, mask }| format!("{} by /{mask}", Millis(timeout_ms)));
        or(persistence, "none")
    };
    let [before, after] = [*persistence, new.persistence].map(shown);
    differ(&mut what, "persistence", &before, &after);
    differ(&mut what, "one_packet", one_packet, &new.one_packet);
    let [before, after] = [*limits, new.limits].map(|limits| or(limits.sessions, "none"));
    differ(&mut what, "limits.sessions", &before, &after);
    if *policy != new.policy {
        what.push("compat, ipvs, on_down or idle_reset".to_owned());
    }
    differ(
        &mut what,
        "on_drain",
        &on_drain.name(),
        &new.on_drain.name(),
    );
    for ((name, before), (_, after)) in timeouts.named().zip(new.timeouts.named()) {
        let [before, after] = [before, after].map(|time| or(time, "the common one"));
        differ(&mut what, &format!("timeouts.{name}"), &before, &after);
    }
    let socket = |real: &RealSpec| SocketAddr::new(real.address, real.port);
    let mut left: HashMap<SocketAddr, &RealSpec> =
        reals.iter().map(|real| (socket(real), real)).collect();
    for real in &new.reals {
        match left.remove(&socket(real)) {
            Some(former) => {
                let differences = former.differences(real);
                what.extend(differences.map(|(key, before, after)| {
                    format!("{key} of {} {before} -> {after}", socket(real))
                }));
            }
            None => what.push(format!(
                "real {} added, weight {}",
                socket(real),
                real.weight
            )),
        }
    }
    let gone = reals.iter().map(socket);
    let gone = gone.filter(|socket| left.contains_key(socket));
    what.extend(gone.map(|socket| format!("real {socket} removed")));
    if what.is_empty() && *reals != new.reals {
        what.push("order of the real servers".to_owned());
    }
    what
}

fn or<T: Display>(value: Option<T>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn other_changes(old: &ReloadConfig, new: &ReloadConfig) -> Vec<String> {
    // Without `..`, so that a new field is not forgotten here.
    let Network {
        routes,
        neighbours,
        link_neighbours,
        forwarding,
        timeouts,
        refuses_replies,
        answers_as_lvs,
    } = &old.network;
    let other = &new.network;
    let mut what = Vec::new();
    // Which port's an address is, if it does not say so itself.
    let on = |port: Option<PortId>| {
        port.map_or_else(String::new, |port| format!(" on port {}", port.place()))
    };
    lists(&mut what, "route", routes, &other.routes, |route| {
        format!("{} via {}{}", route.to, route.via, on(route.port))
    });
    let each = |network: &Network| -> Vec<(IpAddr, Option<PortId>, String)> {
        let known = network.neighbours.iter();
        let known = known.map(|(address, mac)| (*address, None, mac.to_string()));
        let of_links = network.link_neighbours.iter();
        let of_links =
            of_links.map(|((port, address), mac)| (*address, Some(*port), mac.to_string()));
        known.chain(of_links).collect()
    };
    if (neighbours, link_neighbours) != (&other.neighbours, &other.link_neighbours) {
        let (before, after) = (each(&old.network), each(other));
        lists(
            &mut what,
            "neighbor",
            &before,
            &after,
            |(address, port, mac)| format!("{address}{} at {mac}", on(*port)),
        );
    }
    differ(&mut what, "forwarding", forwarding, &other.forwarding);
    for ((name, before), (_, after)) in timeouts.named().zip(other.timeouts.named()) {
        differ(&mut what, &format!("timeouts.{name}"), &before, &after);
    }
    let (before, after) = (refuses_replies, &other.refuses_replies);
    differ(&mut what, "ipvs.nat_icmp_send", before, after);
    if *answers_as_lvs != other.answers_as_lvs {
        what.push("compat".to_owned());
    }
    if old.hash_key != new.hash_key {
        what.push("hash.key".to_owned());
    }
    what
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
    // Without `..`, so that a new field is not forgotten here.
    let StartConfig {
        cpus: _,
        sessions_per_worker,
        hugepages,
        memory_bytes,
        idle,
        eal_args,
        ports,
        socket,
        http: _,
        state: _,
        drain,
    } = old;
    let mut what = Vec::new();
    let cpus = |config: &StartConfig| match &config.cpus {
        Some(cpus) => format!("{cpus:?}"),
        None => "every CPU but the first".to_owned(),
    };
    differ(&mut what, "dataplane.cpus", &cpus(old), &cpus(new));
    differ(
        &mut what,
        "dataplane.sessions",
        sessions_per_worker,
        &new.sessions_per_worker,
    );
    if *hugepages != new.hugepages {
        what.push("dataplane.memory.hugepages".to_owned());
    }
    differ(
        &mut what,
        "dataplane.memory.size in bytes",
        memory_bytes,
        &new.memory_bytes,
    );
    differ(&mut what, "dataplane.idle", &idle.name(), &new.idle.name());
    if *eal_args != new.eal_args {
        what.push(format!(
            "dataplane.eal_args {:?} -> {:?}",
            eal_args, new.eal_args
        ));
    }
    if *ports != new.ports {
        let names = |config: &StartConfig| -> Vec<String> {
            config.ports.iter().map(|port| port.name.clone()).collect()
        };
        if names(old) == names(new) {
            let differing = ports.iter().zip(&new.ports).filter(|(a, b)| a != b);
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
        &socket.display().to_string(),
        &new.socket.display().to_string(),
    );
    let http = |start: &StartConfig| {
        start
            .http
            .map_or_else(|| "off".to_owned(), |address| address.to_string())
    };
    differ(&mut what, "control.http", &http(old), &http(new));
    let state = |start: &StartConfig| {
        let folder = start.state.as_ref();
        folder.map_or_else(
            || NO_STATE.to_owned(),
            |folder| folder.display().to_string(),
        )
    };
    differ(&mut what, "control.state", &state(old), &state(new));
    let [before, after] = [*drain, new.drain].map(print_duration);
    differ(&mut what, "control.drain", &before, &after);
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
                format!("{web} tunnel.type of 192.0.2.21:80 ipip -> gue"),
                format!("{web} tunnel.checksum of 192.0.2.21:80 none -> csum"),
                format!("{web} tunnel.source of 192.0.2.21:80 the port's -> 192.0.2.2"),
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
