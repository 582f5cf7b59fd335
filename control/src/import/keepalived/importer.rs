//! The statements of keepalived.conf as rules for the table: groups, virtual servers, real servers.
//! What a single virtual server's block says is `server`'s; which services there may be is the table's.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::super::rule;
use super::super::scheduler;
use super::super::table::{self, Persistence, Real, Rule, Service, Table, What};
use super::super::value;
use super::keywords::{DPVS_GROUPS, LOST_OF_FILE};
use super::server::{self, RealServer, VirtualServer, unknown};
use super::tree::Statement;
use super::words::Word;
use super::{address, health};
use crate::config::diagnostics::{Place, Problem, Problems, Severity};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::target::{Identity, Mark, Vip};
use plimsoll_dataplane::spec::timeouts::{Millis, OwnTimeouts};

/// A virtual server's addresses and marks.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(Member, Place)>,
}

#[derive(Debug, Clone, Copy)]
enum Member {
    Address(IpAddr, u16),
    /// The family, if it is said.
    Mark(u32, Option<bool>),
}

/// Makes a table of statements.
#[derive(Default)]
pub(super) struct Importer {
    pub(super) table: Table,
    /// Comments beside services.
    pub(super) notes: HashMap<Identity, Vec<String>>,
    pub(super) problems: Problems,
    groups: HashMap<String, Group>,
    /// What was told, so that a group's members do not tell it again each.
    told: HashSet<(Option<Place>, String)>,
}

impl Importer {
    /// Nothing is read yet but what the table has, and what is wrong with the text.
    pub(super) fn new(problems: Problems, table: Table) -> Self {
        Self {
            table,
            problems,
            ..Self::default()
        }
    }

    fn add(&mut self, severity: Severity, mut problem: Problem) {
        problem.severity = severity;
        if self.told.insert((problem.place, problem.message.clone())) {
            self.problems.add(problem);
        }
    }

    fn lose(&mut self, word: &Word) {
        let problem = word.problem(format!("`{}` is not carried over", word.shown()));
        let problem = if word.text.starts_with("vrrp") {
            problem.help("keepalived can go on with VRRP on a port with `kernel: true`")
        } else {
            problem
        };
        self.add(Severity::Warning, problem);
    }

    /// Reads the statements that are outside of every block.
    pub(super) fn all(&mut self, statements: &[Statement]) {
        // A group may be written behind the virtual server that uses it.
        let (groups, others): (Vec<_>, Vec<_>) = statements
            .iter()
            .partition(|statement| statement.keyword.text == "virtual_server_group");
        for statement in groups {
            if let Err(problem) = self.group(statement) {
                self.problems.add(problem);
            }
        }
        for statement in others {
            let keyword = &statement.keyword;
            match keyword.text.as_str() {
                "global_defs" => self.global(statement.block.as_deref().unwrap_or_default()),
                "virtual_server" => {
                    if let Err(problem) = self.server(statement) {
                        self.problems.add(problem);
                    }
                }
                name if LOST_OF_FILE.contains(&name) => self.lose(keyword),
                name if DPVS_GROUPS.contains(&name) => {
                    let message = format!("`{name}`, of DPVS, is not carried over");
                    let problem = keyword.problem(message);
                    self.add(
                        Severity::Warning,
                        problem.help("what it is for is told where it is used"),
                    );
                }
                _ => self.problems.add(unknown(keyword, "keepalived.conf")),
            }
        }
    }

    fn global(&mut self, block: &[Statement]) {
        for Statement { keyword, words, .. } in block {
            // There are far too many others to know them all.
            if keyword.text == "lvs_timeouts" {
                match timeouts(words) {
                    Ok(timeouts) => self.table.timeouts = timeouts,
                    Err(problem) => self.problems.add(problem),
                }
            } else {
                self.lose(keyword);
            }
        }
    }

    fn group(&mut self, statement: &Statement) -> Result<(), Problem> {
        let keyword = &statement.keyword;
        let name = statement.words.first();
        let name = name.ok_or_else(|| health::lacks_value(keyword))?;
        let mut group = Group::default();
        for Statement { keyword, words, .. } in statement.block.as_deref().unwrap_or_default() {
            if keyword.text == "fwmark" {
                match mark(keyword, words) {
                    Ok(mark) => group.members.push((mark, keyword.place)),
                    Err(problem) => self.problems.add(problem),
                }
                continue;
            }
            let range = address::range(keyword);
            match range.and_then(|range| Ok((range, address::port(words.first())?))) {
                Ok((range, port)) => group.members.extend(
                    range
                        .into_iter()
                        .map(|address| (Member::Address(address, port), keyword.place)),
                ),
                Err(problem) => self.problems.add(problem),
            }
        }
        if self.groups.insert(name.text.clone(), group).is_some() {
            let problem = name.problem(format!("the group `{}` is here twice", name.shown()));
            return Err(problem.help("the later one counts"));
        }
        Ok(())
    }

    fn server(&mut self, statement: &Statement) -> Result<(), Problem> {
        let Statement { keyword, words, .. } = statement;
        let first = words.first().ok_or_else(|| health::lacks_value(keyword))?;
        let members = match (first.text.as_str(), words.get(1)) {
            ("match", _) => {
                let message =
                    "`match`, DPVS's SNAT, is not there in this version: the service is left out";
                let help = "the servers' own way out is routed (`network.forwarding`), or another router's to translate";
                return Err(first.problem(message).help(help));
            }
            ("fwmark", _) => vec![(
                mark(first, words.get(1..).unwrap_or_default())?,
                first.place,
            )],
            ("group", None) => return Err(health::lacks_value(first)),
            ("group", Some(name)) => match self.groups.get(&name.text) {
                Some(group) => group.members.clone(),
                None => {
                    let message = format!("there is no group `{}`", name.shown());
                    return Err(name
                        .problem(message)
                        .help("expected the name of a `virtual_server_group`"));
                }
            },
            (_, port) => {
                let member = Member::Address(address::address(first)?, address::port(port)?);
                vec![(member, first.place)]
            }
        };
        let block = statement.block.as_deref().unwrap_or_default();
        let server = server::Reader::read(block, &mut self.problems);
        if server.left_out {
            return Ok(());
        }
        self.defaults(first, &server, &members);
        let scheduler = self.scheduler(&server);
        self.engine(&server);
        let flags = server::flags(scheduler, &server.flags, &mut self.problems);
        for (member, place) in members {
            let key = key(member, &server);
            if let Some(service) = self.service(key, place, first, &server, scheduler, &flags) {
                self.apply(What::AddService(Box::new(service)), place);
                self.reals(key, &server);
            }
        }
        Ok(())
    }

    /// The scheduler that keepalived would set.
    fn scheduler<'s>(&mut self, server: &'s VirtualServer) -> &'s str {
        let Some(word) = &server.scheduler else {
            return scheduler::DEFAULT;
        };
        if scheduler::of_lvs(&word.text).is_some() {
            return &word.text;
        }
        let message = format!(
            "`{}` is no scheduler of LVS, and keepalived takes wlc then",
            word.shown()
        );
        self.add(Severity::Warning, word.problem(message));
        scheduler::DEFAULT
    }

    /// Tells that a persistence engine is lost.
    fn engine(&mut self, server: &VirtualServer) {
        if let (Some(word), Some(_)) = (&server.engine, server.persistence) {
            let message = format!(
                "the persistence engine `{}` is not carried over",
                word.shown()
            );
            let problem = word.problem(message);
            self.add(
                Severity::Error,
                problem.help("clients are told apart by their addresses"),
            );
        }
    }

    /// Tells what keepalived takes for granted.
    fn defaults(&mut self, word: &Word, server: &VirtualServer, members: &[(Member, Place)]) {
        let by_address = |(member, _): &(Member, Place)| matches!(member, Member::Address(..));
        for (missing, what) in [
            (
                server.protocol.is_none() && members.iter().any(by_address),
                "no protocol is set, and keepalived takes UDP then",
            ),
            (
                server.scheduler.is_none(),
                "no scheduler is set, and keepalived takes wlc then",
            ),
            (
                server.method.is_none(),
                "no forwarding method is set, and keepalived takes NAT then",
            ),
        ] {
            if missing {
                self.add(Severity::Warning, word.problem(what));
            }
        }
    }

    fn service(
        &mut self,
        key: Identity,
        place: Place,
        word: &Word,
        server: &VirtualServer,
        scheduler: &str,
        flags: &[String],
    ) -> Option<Service> {
        if self.table.find(key).is_some() {
            let problem = Problem::new(place, "Service already exists");
            let help = "expected an address, port and protocol that no other virtual server has";
            self.add(Severity::Error, problem.help(help));
            return None;
        }
        let by_address = matches!(key, Identity::Vip(_));
        let mut timeout_s = server.persistence;
        let wanted = server.granularity.as_ref().or(server.engine.as_ref());
        if timeout_s.is_none() && by_address && key.port() == 0 {
            let what = "all ports are for persistent services only, so keepalived makes it one";
            self.add(Severity::Warning, word.problem(what));
            timeout_s = Some(rule::DEFAULT_PERSISTENCE_S);
        } else if let Some(word) = wanted.filter(|_| timeout_s.is_none()) {
            let message = format!(
                "`{}` has no effect without `persistence_timeout`",
                word.shown()
            );
            self.add(Severity::Warning, word.problem(message));
        }
        let mask = server.granularity.as_ref().filter(|_| timeout_s.is_some());
        let mask = mask.and_then(|word| {
            let mask = value::mask(address::same(word), key.is_v6());
            mask.map_err(|problem| self.add(Severity::Error, problem))
                .ok()
        });
        let udp = !matches!(key, Identity::Vip(Vip { protocol, .. }) if protocol != Protocol::Udp);
        if let Some(word) = server.ops.as_ref().filter(|_| !udp) {
            let problem =
                word.problem("one-packet scheduling is for UDP only, so keepalived leaves it out");
            self.add(Severity::Warning, problem);
        }
        Some(Service {
            key,
            scheduler: scheduler.to_owned(),
            flags: flags.to_vec(),
            persistence: timeout_s.map(|timeout_s| Persistence {
                timeout_s,
                mask,
                engine: server.engine.as_ref().map(|word| word.text.clone()),
            }),
            one_packet: server.ops.is_some() && udp,
            reals: Vec::new(),
            method: Some(server.method()),
            place,
        })
    }

    /// keepalived adds the real servers in the order of the file, and IPVS puts each in front.
    fn reals(&mut self, key: Identity, server: &VirtualServer) {
        let mut seen = HashSet::new();
        let mut notes: Vec<(String, Vec<String>)> = Vec::new();
        for real in &server.reals {
            let method = real.method.unwrap_or(server.method());
            let unchanged = !method.forward.rewrites_destination();
            let address = table::server(key, real.address, real.port, unchanged);
            let Some(address) = self.placed(key, real, method.forward, address) else {
                continue;
            };
            if !seen.insert(address) {
                let problem = Problem::new(
                    real.place,
                    "this real server is here twice, and keepalived takes the first",
                );
                self.add(Severity::Warning, problem);
                continue;
            }
            let new = Real {
                address,
                method,
                weight: real.weight,
                limits: real.limits,
                place: real.place,
            };
            self.apply(What::AddServer(key, new), real.place);
            let checks = real.checks.iter();
            let keys = checks.map(|check| check.keys(real.timing, server.timing));
            notes.push((address.to_string(), keys.collect()));
        }
        let note = note(&notes);
        if !note.is_empty() {
            self.notes.insert(key, note);
        }
    }

    /// A real server's address, if the service can have it.
    fn placed(
        &mut self,
        key: Identity,
        real: &RealServer,
        forward: ForwardMethod,
        address: SocketAddr,
    ) -> Option<SocketAddr> {
        if real.address.is_ipv6() != key.is_v6() && !forward.crosses_families() {
            let message = "Different address family is allowed only for tunneling servers";
            let problem = Problem::new(real.place, message);
            let help = "expected an address of the virtual server's family, or `lvs_method TUN`";
            self.add(Severity::Error, problem.help(help));
            return None;
        }
        if let Some(port) = real
            .port
            .filter(|port| *port != 0 && *port != address.port())
        {
            let message = format!("the port {port} becomes the service's, {}", address.port());
            let problem = Problem::new(real.place, message);
            self.add(
                Severity::Warning,
                problem.help("only NAT changes the port, and IPVS sends to the service's too"),
            );
        }
        Some(address)
    }

    fn apply(&mut self, what: What, place: Place) {
        let rule = Rule {
            what,
            service: place,
            server: place,
        };
        self.table.apply(rule, &mut self.problems);
    }
}

/// What `health:` would say, as comment lines: once if it is the same for all.
fn note(checks: &[(String, Vec<String>)]) -> Vec<String> {
    let alike =
        |(_, keys): &(String, Vec<String>)| checks.first().is_some_and(|first| first.1 == *keys);
    match checks.first() {
        Some((_, keys)) if checks.iter().all(alike) => match keys.as_slice() {
            [] => Vec::new(),
            [one] => vec![format!("health: {one}")],
            several => several
                .iter()
                .map(|one| format!("health, all of them: {one}"))
                .collect(),
        },
        _ => checks
            .iter()
            .flat_map(|(address, keys)| {
                let none = keys
                    .is_empty()
                    .then(|| format!("health of {address}: none"));
                let lines = keys
                    .iter()
                    .map(move |one| format!("health of {address}: {one}"));
                lines.chain(none)
            })
            .collect(),
    }
}

fn mark(keyword: &Word, words: &[Word]) -> Result<Member, Problem> {
    let word = words.first().ok_or_else(|| health::lacks_value(keyword))?;
    let mark = address::number(word, 1, u32::MAX, "a firewall mark")?;
    let v6 = match words.get(1) {
        None => None,
        Some(word) => match word.text.as_str() {
            "inet" => Some(false),
            "inet6" => Some(true),
            _ => {
                let message = format!("`{}` is not a family of addresses", word.shown());
                return Err(word.problem(message).help("expected inet or inet6"));
            }
        },
    };
    Ok(Member::Mark(mark, v6))
}

fn key(member: Member, server: &VirtualServer) -> Identity {
    match member {
        Member::Address(address, port) => Identity::Vip(Vip {
            protocol: server.protocol.unwrap_or(Protocol::Udp),
            addresses: address.into(),
            port,
        }),
        Member::Mark(number, v6) => {
            // Real servers that must be of the service's family tell it.
            let told = |real: &&RealServer| {
                let method = real.method.unwrap_or(server.method());
                !method.forward.crosses_families()
            };
            let by_reals = server.reals.iter().find(told);
            let by_reals = by_reals.map(|real| real.address.is_ipv6());
            let is_v6 = v6.or(by_reals).unwrap_or(server.v6);
            Identity::Mark(Mark { number, is_v6 })
        }
    }
}

/// `lvs_timeouts [tcp S] [tcpfin S] [udp S]`.
fn timeouts(words: &[Word]) -> Result<OwnTimeouts, Problem> {
    let mut timeouts = OwnTimeouts::NONE;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let field = match word.text.as_str() {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            _ => {
                let message = format!("`{}` is not a timeout", word.shown());
                return Err(word.problem(message).help("expected tcp, tcpfin or udp"));
            }
        };
        let value = words.next().ok_or_else(|| health::lacks_value(word))?;
        let seconds = address::number(value, 1, rule::MAX_TIMEOUT_S, "a number of seconds")?;
        *field = Some(Millis(seconds * 1000));
    }
    Ok(timeouts)
}
