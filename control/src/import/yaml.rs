//! A table as YAML, and a configuration's services as a table.
//! Writes all that the format has a key for, whether this version carries it or not. It has none for
//! persistence engines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::scheduler::of_lvs;
use super::table::{Carried, Encapsulation, Method, Real, Service, Table};
use crate::config::diagnostics::{Place, Problem, Problems, Severity};
use crate::config::file::{self, Compat, TunnelChecksum};
use crate::config::leaf::{Leaf as _, print_duration};
use crate::config::{self, Loaded};
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::forward::TunnelKind;
use plimsoll_dataplane::spec::limits::Limits;
use plimsoll_dataplane::spec::policy::OnDown;
use plimsoll_dataplane::spec::target::{self, Identity, Mark, Vip, is_one_address};
use plimsoll_dataplane::spec::timeouts::OwnTimeouts;

/// A configuration whose services are to be replaced.
#[derive(Debug, Clone)]
pub struct Base(Mapping);

impl Base {
    /// The sections of a configuration that was found valid.
    ///
    /// # Errors
    /// When it is not one mapping, which a valid configuration always is.
    pub fn of(loaded: &Loaded) -> Result<Self, serde_yaml::Error> {
        let mut sections: Mapping =
            serde_yaml::from_str(loaded.text.trim_start_matches('\u{feff}'))?;
        sections.remove("services");
        Ok(Self(sections))
    }
}

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ipvsadm,
    Keepalived,
}

/// What is written around the table.
pub(super) struct Output<'o> {
    /// What the rules were read from.
    pub(super) name: &'o str,
    pub(super) kind: Kind,
    /// The other sections, if there are any.
    pub(super) base: Option<&'o Base>,
    /// Comments beside services.
    pub(super) notes: &'o HashMap<Identity, Vec<String>>,
}

/// The whole output of an import.
pub(super) fn whole(table: &Table, output: &Output<'_>) -> String {
    let (command, what) = match output.kind {
        Kind::Ipvsadm => ("ipvsadm", "the ipvsadm rules in"),
        Kind::Keepalived => ("keepalived", "keepalived's configuration in"),
    };
    let name = output.name.escape_debug();
    let (mut text, times) = match output.base {
        Some(Base(sections)) => {
            let mut sections = sections.clone();
            for (key, value) in given(table.timeouts) {
                set(&mut sections, "timeouts", key, value.into());
            }
            for (key, value) in table.sysctls.given() {
                let value = serde_yaml::from_str(value).unwrap_or_default();
                set(&mut sections, "ipvs", key, value);
            }
            sections.retain(|_, section| *section != Value::Mapping(Mapping::new()));
            let sections = serde_yaml::to_string(&sections).unwrap_or_default();
            (sections, String::new())
        }
        None => (
            format!(
                "# Only services: a whole configuration has `version: 1` and `dataplane:` with its ports too, and\n\
                 # `network:` where routes are needed. `plimsoll import {command} FILE --base BASE.yaml` takes them\n\
                 # from a configuration that has them; conf/reference.yaml shows every key.\n"
            ),
            timeouts(table.timeouts) + &table.sysctls.section(),
        ),
    };
    let _ = writeln!(text, "# The services are from {what} {name}.");
    text + &times + &services_with(table, output.notes)
}

fn set(sections: &mut Mapping, section: &str, key: &str, value: Value) {
    let section = sections
        .entry(section.into())
        .or_insert_with(|| Value::Mapping(Mapping::new()));
    if let Value::Mapping(section) = section {
        section.insert(key.into(), value);
    }
}

/// Those times that are set, as the configuration writes them.
fn given(timeouts: OwnTimeouts) -> impl Iterator<Item = (&'static str, String)> {
    let named = timeouts.named();
    named.filter_map(|(key, time)| Some((key, print_duration(time?.into()))))
}

/// The section `timeouts:`, empty if none was set.
#[must_use]
pub fn timeouts(timeouts: OwnTimeouts) -> String {
    let given: Vec<String> = given(timeouts)
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    if given.is_empty() {
        return String::new();
    }
    format!("timeouts: {{ {} }}\n", given.join(", "))
}

/// The section `services:`.
#[must_use]
pub fn services(table: &Table) -> String {
    services_with(table, &HashMap::new())
}

/// The same, with comments behind the services that have some.
fn services_with(table: &Table, notes: &HashMap<Identity, Vec<String>>) -> String {
    let mut text = String::new();
    for Carried { service, rules, .. } in &table.carried() {
        if let Identity::Mark(Mark { number, is_v6 }) = service.key {
            let family = if is_v6 { "-v6" } else { "" };
            let _ = writeln!(text, "  - name: mark-{number}{family}\n    mark: {number}");
            if rules.is_empty() {
                text.push_str("    match: []\n");
            } else {
                text.push_str("    match:\n");
            }
            for rule in rules {
                let _ = writeln!(text, "      - {}", item(rule));
            }
            write_service(&mut text, service);
            write_notes(&mut text, notes.get(&service.key));
        }
        if let Identity::Vip(vip) = service.key {
            let (protocol, vip) = (vip.protocol.name(), vip.socket().to_string());
            // Of what names it, so that the next import gives the same names.
            let name = vip.replace(['[', ']'], "").replace(['/'], "_");
            let name = match name.rsplit_once(':') {
                Some((address, port)) => format!("{protocol}-{address}-{port}"),
                None => name,
            };
            let (name, vip) = (scalar(&name), scalar(&vip));
            let _ = writeln!(
                text,
                "  - name: {name}\n    vip: {vip}\n    protocol: {protocol}"
            );
            write_service(&mut text, service);
            write_notes(&mut text, notes.get(&service.key));
        }
    }
    if text.is_empty() {
        "services: []\n".to_owned()
    } else {
        format!("services:\n{text}")
    }
}

/// A rule as an item of `match:`.
pub(super) fn item(rule: &target::Rule) -> String {
    let mut keys = Vec::new();
    if let Some(protocol) = rule.protocol {
        keys.push(format!("protocol: {}", protocol.name()));
    }
    for (key, net) in [("from", rule.from), ("to", rule.to)] {
        keys.extend(net.map(|net| format!("{key}: {}", scalar(&net.print()))));
    }
    for (key, ports) in [("ports", &rule.ports), ("from_ports", &rule.from_ports)] {
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(port).collect();
            keys.push(format!("{key}: [{}]", ports.join(", ")));
        }
    }
    format!("{{ {} }}", keys.join(", "))
}

fn port(ports: &RangeInclusive<u16>) -> String {
    if ports.start() == ports.end() {
        ports.print()
    } else {
        scalar(&ports.print())
    }
}

fn write_notes(text: &mut String, notes: Option<&Vec<String>>) {
    for note in notes.into_iter().flatten() {
        let _ = writeln!(text, "    # {note}");
    }
}

fn write_service(text: &mut String, service: &Service) {
    let scheduler = of_lvs(&service.scheduler);
    let scheduler = scheduler.map_or(service.scheduler.as_str(), |kind| kind.name());
    let _ = writeln!(text, "    scheduler: {}", scalar(scheduler));
    if !service.flags.is_empty() {
        let flags: Vec<String> = service.flags.iter().map(|flag| scalar(flag)).collect();
        let _ = writeln!(text, "    scheduler_flags: [{}]", flags.join(", "));
    }
    if let Some(persistence) = &service.persistence {
        let mut keys = format!("timeout: {}", seconds(persistence.timeout_s));
        if let Some(mask) = persistence.mask {
            let _ = write!(keys, ", mask: {mask}");
        }
        let _ = writeln!(text, "    persistence: {{ {keys} }}");
    }
    if service.one_packet {
        text.push_str("    one_packet: true\n");
    }
    let methods = service.reals.iter().map(|real| real.method);
    let methods = methods.chain(service.method.filter(|_| service.reals.is_empty()));
    let forward = methods.clone().next().map(|method| method.forward);
    if let Some(forward) = forward {
        let _ = writeln!(text, "    forward: {}", forward.name());
    }
    let mut tunnels = methods.filter(|method| method.forward.encapsulates());
    let tunnel = tunnels.next().map(|method| method.tunnel);
    let tunnel = tunnel.unwrap_or_default();
    if tunnel != Encapsulation::default() {
        let _ = writeln!(text, "    tunnel: {}", tunnel_keys(tunnel));
    }
    if service.reals.is_empty() {
        text.push_str("    reals: []\n");
        return;
    }
    text.push_str("    reals:\n");
    for real in &service.reals {
        let address = match real.address.port() {
            0 => real.address.ip().to_string(),
            _ => real.address.to_string(),
        };
        let (address, weight) = (scalar(&address), real.weight);
        let _ = write!(text, "      - {{ address: {address}, weight: {weight}");
        for (key, value) in [("upper", real.limits.upper), ("lower", real.limits.lower)] {
            if value != 0 {
                let _ = write!(text, ", {key}: {value}");
            }
        }
        if Some(real.method.forward) != forward {
            let _ = write!(text, ", forward: {}", real.method.forward.name());
        }
        if real.method.forward.encapsulates() && real.method.tunnel != tunnel {
            let _ = write!(text, ", tunnel: {}", tunnel_keys(real.method.tunnel));
        }
        text.push_str(" }\n");
    }
}

fn tunnel_keys(tunnel: Encapsulation) -> String {
    let mut keys = format!("{{ type: {}", tunnel.kind.name());
    if tunnel.port != 0 {
        let _ = write!(keys, ", port: {}", tunnel.port);
    }
    match tunnel.checksum {
        TunnelChecksum::None => {}
        checksum @ (TunnelChecksum::Csum | TunnelChecksum::Remcsum) => {
            let _ = write!(keys, ", checksum: {}", checksum.name());
        }
    }
    keys + " }"
}

fn seconds(seconds: u32) -> String {
    print_duration(Duration::from_secs(seconds.into()))
}

/// A text as YAML takes it for one, with quotes where it needs them.
fn scalar(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    // Words and numbers that some YAML reader takes for something else.
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text);
    let address = text.parse::<std::net::SocketAddrV4>().is_ok()
        || text.parse::<std::net::Ipv4Addr>().is_ok();
    if address || (begins && !reserved && text.chars().all(word)) {
        text.to_owned()
    } else {
        // JSON's strings are YAML's quoted ones.
        serde_json::Value::from(text).to_string()
    }
}

/// Rules without any prefix are for IPv4.
fn is_v6(rules: &[target::Rule]) -> bool {
    let mut nets = rules.iter().flat_map(|rule| [rule.from, rule.to]).flatten();
    nets.any(|net| net.addr().is_ipv6())
}

/// The services of a configuration's text, and what of them has no place in a table.
pub(super) fn table_of(text: &str, problems: &mut Problems) -> Table {
    let mut table = Table::default();
    for (index, written) in config::services(text).into_iter().enumerate() {
        let path = format!("services[{index}]");
        let mut lost = |severity, what: String| {
            let mut problem = Problem::unplaced(format!("{path}: {what}")).path(&path);
            problem.severity = severity;
            problems.add(problem);
        };
        // Also of one that LVS cannot have, so that no other service gets its packets.
        if let (Some(rules), Some(mark)) = (&written.r#match, written.mark) {
            table.marks.set(mark.0, is_v6(rules), rules);
        }
        if let Some(service) = service_of(&written, &mut lost) {
            table.push(service);
        }
    }
    table
}

/// The keys of a service of which its rules say something, or that are told by those in them.
const SERVICE_KEYS: &[&str] = &[
    "name",
    "vip",
    "match",
    "mark",
    "protocol",
    "scheduler",
    "scheduler_flags",
    "forward",
    "reals",
    "persistence",
    "one_packet",
    "tunnel",
    "limits",
    "timeouts",
];
/// Those of a real server.
const REAL_KEYS: &[&str] = &["address", "weight", "upper", "lower", "forward", "tunnel"];
/// Those of a tunnel.
const TUNNEL_KEYS: &[&str] = &["type", "port", "checksum"];

/// The keys with values of their own of which no rule says anything; a new key is one until it is listed above.
fn lost_keys(written: &file::Service) -> Vec<String> {
    let mut lost = Vec::new();
    let mut tell = |section: &str, keys: Option<Vec<&str>>, said: &[&str]| {
        let keys = keys.into_iter().flatten();
        let keys = keys.filter(|key| !said.contains(key));
        lost.extend(keys.map(|key| format!("{section}{key}")));
    };
    let mut keys = written.own_keys();
    // LVS does so anyway.
    keys.retain(|key| match *key {
        "compat" => written.compat != Some(Compat::Lvs),
        "on_down" => written.on_down != Some(OnDown::Drop),
        _ => true,
    });
    tell("", Some(keys), SERVICE_KEYS);
    let persistence = written.persistence.as_ref();
    let keys = persistence.map(file::Persistence::own_keys);
    tell("persistence.", keys, &["timeout", "mask"]);
    let limits = written.limits.as_ref();
    tell("limits.", limits.map(file::ServiceLimits::own_keys), &[]);
    let timeouts = written.timeouts.named();
    let timeouts = timeouts.filter_map(|(key, time)| time.map(|_| key));
    tell("timeouts.", Some(timeouts.collect()), &[]);
    let of_tunnel = |tunnel: &Option<_>| tunnel.as_ref().map(file::Tunnel::own_keys);
    tell("tunnel.", of_tunnel(&written.tunnel), TUNNEL_KEYS);
    for (at, real) in written.reals.iter().enumerate() {
        let place = format!("reals[{at}].");
        tell(&place, Some(real.own_keys()), REAL_KEYS);
        let keys = of_tunnel(&real.tunnel);
        tell(&format!("{place}tunnel."), keys, TUNNEL_KEYS);
    }
    lost
}

/// One service, unless LVS cannot have it.
fn service_of(written: &file::Service, lost: &mut impl FnMut(Severity, String)) -> Option<Service> {
    let name = written.name.escape_debug();
    for key in lost_keys(written) {
        let what = format!("`{name}` has the key `{key}`, which ipvsadm has not");
        lost(Severity::Warning, what);
    }
    let own = written.scheduler.name();
    let mut in_lvs = |what: &str, own: &str, lvs: Option<&'static str>| {
        if lvs.is_none() {
            let what = format!("`{name}` has the {what} `{own}`, which LVS has not");
            lost(Severity::Error, what);
        }
        lvs
    };
    let scheduler = in_lvs("scheduler", own, written.scheduler.lvs_name())?;
    for method in written.reals.iter().map(|real| method_of(written, real)) {
        let Method { forward, tunnel } = method;
        let option = forward.lvs().map(|(option, _)| option);
        in_lvs("forwarding method", forward.name(), option)?;
        in_lvs("tunnel", tunnel.kind.name(), tunnel.kind.lvs_name())?;
    }
    if scheduler != own {
        let what = format!(
            "`{name}` has the scheduler `{own}`, which is `{scheduler}` in LVS, from Linux 5.12 on"
        );
        lost(Severity::Warning, what);
    }
    let key = match (written.vip, &written.r#match, written.mark) {
        (Some(vip), _, _) => Identity::Vip(Vip {
            protocol: written.protocol.unwrap_or_default(),
            addresses: vip.addresses,
            port: vip.port,
        }),
        (None, Some(rules), Some(mark)) => Identity::Mark(Mark {
            number: mark.0,
            is_v6: is_v6(rules),
        }),
        // A valid configuration has no such service.
        (None, _, _) => return None,
    };
    if let Identity::Vip(vip) = key {
        if !is_one_address(&vip.addresses) {
            let what = format!("`{name}` has a prefix as virtual address, which ipvsadm has not");
            lost(Severity::Error, what);
            return None;
        }
        if vip.port == 0 && written.persistence.is_none() {
            let what = format!("`{name}` is for every port, which LVS has with persistence only");
            lost(Severity::Error, what);
            return None;
        }
    }
    let reals = written.reals.iter().map(|real| {
        let [upper, lower] = [real.upper, real.lower].map(|limit| limit.map_or(0, |limit| limit.0));
        Real {
            address: (
                real.address.address,
                real.address.port.unwrap_or(key.port()),
            )
                .into(),
            method: method_of(written, real),
            weight: real.weight.0,
            limits: Limits { upper, lower },
            place: NOWHERE,
        }
    });
    let reals = reals.collect();
    let persistence = written.persistence.as_ref().map(|written| {
        let timeout = written.timeout;
        let whole = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        if timeout.subsec_nanos() > 0 {
            let what = format!("`{name}`: ipvsadm takes whole seconds, so {whole}");
            lost(Severity::Warning, what);
        }
        super::table::Persistence {
            timeout_s: u32::try_from(whole.max(1)).unwrap_or(u32::MAX),
            mask: written.mask.map(|mask| mask.0),
            engine: None,
        }
    });
    let flags = written.scheduler_flags.iter();
    let mut flags: Vec<String> = flags.map(|flag| flag.name().to_owned()).collect();
    flags.sort();
    Some(Service {
        key,
        scheduler: scheduler.to_owned(),
        flags,
        persistence,
        one_packet: written.one_packet,
        reals,
        method: None,
        place: NOWHERE,
    })
}

/// Where what comes from no rule is.
const NOWHERE: Place = Place {
    line: 0,
    column: 0,
    length: 0,
};

/// How packets get to a real server, as it says itself or its service says.
fn method_of(service: &file::Service, real: &file::Real) -> Method {
    let forward = real.forward.unwrap_or(service.forward);
    let tunnel = real.tunnel.as_ref().or(service.tunnel.as_ref());
    let tunnel = tunnel.filter(|_| forward.encapsulates());
    Method {
        forward,
        tunnel: tunnel.map_or_else(Encapsulation::default, encapsulation),
    }
}

fn encapsulation(written: &file::Tunnel) -> Encapsulation {
    let port = match written.r#type {
        // ipvsadm has no default.
        TunnelKind::Gue { port, .. } => written.port.map_or(port, |port| port.0),
        _ => written.port.map_or(0, |port| port.0),
    };
    Encapsulation {
        kind: written.r#type,
        port,
        checksum: written.checksum,
    }
}
