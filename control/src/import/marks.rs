//! What a firewall's marks mean: lines of nft and of iptables-save, as rules of services by mark.
//! Knows no service; other lines of a firewall are passed over.

mod iptables;
mod nft;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ipnet::{IpNet, Ipv6Net};

use super::yaml::{protocol_name, scalar};
use crate::config::Diagnostics;
use crate::config::diagnostics::{Place, Problem, Problems, Severity};
use crate::config::file::{self, Protocol};
use crate::config::leaf::{Leaf as _, Ports, Written};

/// By mark, what the packets look like that get it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<u32, Vec<Marked>>);

/// A rule, for the families that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marked {
    /// Both if `None`.
    is_v6: Option<bool>,
    rule: file::Rule,
}

/// A line on its way to rules: every criterion with all that it allows.
#[derive(Debug, Default)]
struct Reading {
    is_v6: Option<bool>,
    protocols: Vec<Protocol>,
    from: Vec<IpNet>,
    to: Vec<IpNet>,
    ports: Vec<Ports>,
    from_ports: Vec<Ports>,
    mark: Option<u32>,
}

/// A word of a line, or one of the signs that nft's sets are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'t> {
    text: &'t str,
    place: Place,
}

type Read<T> = Result<T, Box<Problem>>;

impl Marks {
    /// Reads the lines of a firewall; `name` is what diagnostics call them. Errors are lines that mark
    /// but could not be read, warnings conditions that are not carried over.
    #[must_use]
    pub fn read(name: &str, text: &str) -> (Self, Diagnostics) {
        let (mut marks, mut problems) = (Self::default(), Problems::default());
        // The family of the table that lines of `nft list ruleset` are in.
        let mut table = None;
        for (number, line) in (1..).zip(text.lines()) {
            let tokens = tokens(number, line);
            if let Some(family) = nft::table(&tokens) {
                table = family;
            }
            let has = |word: &str| tokens.iter().any(|token| token.text == word);
            let read = if has("MARK") {
                iptables::read(&tokens, &mut problems)
            } else if has("mark") && has("set") {
                nft::read(&tokens, table, &mut problems)
            } else {
                continue;
            };
            match read {
                Ok(reading) => marks.add(reading, &tokens, &mut problems),
                Err(problem) => problems.add(*problem),
            }
        }
        (marks, problems.finish(name, text))
    }

    /// Makes the mark known, though perhaps nothing has it.
    pub fn know(&mut self, mark: u32) {
        self.0.entry(mark).or_default();
    }

    /// The rules of a service of this mark and family.
    pub(super) fn set(&mut self, mark: u32, v6: bool, rules: &[file::Rule]) {
        let marked = rules.iter().map(|rule| Marked {
            is_v6: Some(v6),
            rule: rule.clone(),
        });
        self.0.entry(mark).or_default().extend(marked);
    }

    /// Adds the rules of `other`.
    pub fn extend(&mut self, other: Self) {
        for (mark, rules) in other.0 {
            self.0.entry(mark).or_default().extend(rules);
        }
    }

    /// The same marks for packets to these networks only, where a rule leaves open where to.
    #[must_use]
    pub fn within(&self, networks: &[IpNet]) -> Self {
        let narrowed = |marked: &Marked| -> Vec<Marked> {
            if marked.rule.to.is_some() {
                return vec![marked.clone()];
            }
            let networks = networks.iter().filter(|net| {
                let is_v6 = matches!(net, IpNet::V6(_));
                marked.is_v6.is_none_or(|wanted| wanted == is_v6)
            });
            networks
                .map(|net| Marked {
                    is_v6: Some(matches!(net, IpNet::V6(_))),
                    rule: file::Rule {
                        to: Some(Written(*net)),
                        ..marked.rule.clone()
                    },
                })
                .collect()
        };
        let narrow = |rules: &Vec<Marked>| rules.iter().flat_map(narrowed).collect();
        Self(
            self.0
                .iter()
                .map(|(mark, rules)| (*mark, narrow(rules)))
                .collect(),
        )
    }

    /// Whether anything is known of packets with this mark.
    pub(super) fn has(&self, mark: u32) -> bool {
        self.0.contains_key(&mark)
    }

    /// What packets of this mark and family look like.
    pub(super) fn rules(&self, mark: u32, v6: bool) -> Vec<file::Rule> {
        let rules = self.0.get(&mark).into_iter().flatten();
        rules
            .filter(|marked| marked.is_v6.is_none_or(|is_v6| is_v6 == v6))
            .map(|marked| {
                let mut rule = marked.rule.clone();
                // Without any prefix a rule is for IPv4.
                if v6 && rule.from.is_none() && rule.to.is_none() {
                    rule.to = Some(Written(Ipv6Net::default().into()));
                }
                rule
            })
            .collect()
    }

    fn add(&mut self, reading: Reading, tokens: &[Token<'_>], problems: &mut Problems) {
        let whole = tokens.first().map(|first| first.place);
        let (Some(mark), Some(place)) = (reading.mark, whole) else {
            return;
        };
        if reading.to.is_empty() {
            let message = "this line says not where to: its rule takes such packets to any address";
            let mut problem = Problem::new(place, message)
                .help("LVS balances packets to its own addresses only: add `to:` to the rule");
            problem.severity = Severity::Warning;
            problems.add(problem);
        }
        self.0.entry(mark).or_default().extend(reading.rules());
    }
}

impl Reading {
    /// One rule for each combination of what a rule has one of.
    fn rules(&self) -> Vec<Marked> {
        fn each<T: Copy>(list: &[T]) -> Vec<Option<T>> {
            if list.is_empty() {
                vec![None]
            } else {
                list.iter().copied().map(Some).collect()
            }
        }
        let written = |ports: &[Ports]| ports.iter().copied().map(Written).collect::<Vec<_>>();
        let mut rules = Vec::new();
        for protocol in each(&self.protocols) {
            for from in each(&self.from) {
                for to in each(&self.to) {
                    let prefix = to.or(from).map(|net| matches!(net, IpNet::V6(_)));
                    rules.push(Marked {
                        is_v6: prefix.or(self.is_v6),
                        rule: file::Rule {
                            protocol,
                            from: from.map(Written),
                            to: to.map(Written),
                            ports: written(&self.ports),
                            from_ports: written(&self.from_ports),
                        },
                    });
                }
            }
        }
        rules
    }
}

/// A rule as an item of `match:`.
pub(super) fn item(rule: &file::Rule) -> String {
    let mut keys = Vec::new();
    if let Some(protocol) = rule.protocol {
        keys.push(format!("protocol: {}", protocol_name(protocol)));
    }
    for (key, net) in [("from", rule.from), ("to", rule.to)] {
        keys.extend(net.map(|net| format!("{key}: {}", scalar(&net.0.print()))));
    }
    for (key, ports) in [("ports", &rule.ports), ("from_ports", &rule.from_ports)] {
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(|one| port(one.0)).collect();
            keys.push(format!("{key}: [{}]", ports.join(", ")));
        }
    }
    format!("{{ {} }}", keys.join(", "))
}

fn port(ports: Ports) -> String {
    if ports.first == ports.last {
        ports.print()
    } else {
        scalar(&ports.print())
    }
}

/// The nft command that gives packets of this rule the mark.
pub(super) fn nft_line(mark: u32, v6: bool, rule: &file::Rule) -> String {
    let family = if v6 { "ip6" } else { "ip" };
    let mut line = format!("nft add rule {family} plimsoll prerouting");
    for (key, net) in [("saddr", rule.from), ("daddr", rule.to)] {
        if let Some(net) = net.filter(|net| net.0.prefix_len() > 0) {
            let _ = write!(line, " {family} {key} {}", net.0);
        }
    }
    let protocol = rule.protocol.map_or("th", protocol_name);
    if rule.ports.is_empty() && rule.from_ports.is_empty() && rule.protocol.is_some() {
        let _ = write!(line, " meta l4proto {protocol}");
    } else if rule.protocol.is_none() {
        line.push_str(" meta l4proto { tcp, udp, sctp }");
    }
    for (key, ports) in [("sport", &rule.from_ports), ("dport", &rule.ports)] {
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let _ = write!(line, " {protocol} {key} {{ {} }}", ports.join(", "));
        }
    }
    let _ = write!(line, " meta mark set {mark}");
    line
}

impl Token<'_> {
    fn problem(self, message: impl Into<String>) -> Box<Problem> {
        Box::new(Problem::new(self.place, message))
    }

    /// A condition that the rule will do without.
    fn not_carried(self, problems: &mut Problems) {
        let text = self.text.escape_debug();
        let mut problem = *self.problem(format!("`{text}` is not carried over"));
        problem.severity = Severity::Warning;
        problems.add(problem.help("the rule matches whether this is so or not"));
    }

    fn network(self) -> Read<IpNet> {
        let text = self.text;
        let net = text.parse::<IpNet>().ok();
        let host = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        let network = net.or_else(host).map(|net| net.trunc());
        network.ok_or_else(|| {
            let shown = text.escape_debug();
            let problem = self.problem(format!("`{shown}` is no address or network"));
            Box::new(problem.help("expected an address such as 192.0.2.1, or 192.0.2.0/24"))
        })
    }

    /// `80`, or a range with `between` in the middle.
    fn ports(self, between: char) -> Read<Ports> {
        Ports::parse(&self.text.replace(between, "-")).map_err(|error| {
            let mut problem = Problem::new(self.place, error.message);
            problem = problem.maybe_help(error.help);
            Box::new(problem)
        })
    }

    fn protocol(self) -> Read<Protocol> {
        match self.text {
            "tcp" | "6" => Ok(Protocol::Tcp),
            "udp" | "17" => Ok(Protocol::Udp),
            "sctp" | "132" => Ok(Protocol::Sctp),
            text => {
                let shown = text.escape_debug();
                let problem = self.problem(format!("`{shown}` is no protocol that is balanced"));
                Err(Box::new(problem.help("expected tcp, udp or sctp")))
            }
        }
    }

    /// A mark, decimal or hexadecimal.
    fn mark(self) -> Read<u32> {
        let hex = self.text.strip_prefix("0x");
        let number = match hex {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => self.text.parse().ok(),
        };
        number.filter(|mark| *mark != 0).ok_or_else(|| {
            let shown = self.text.escape_debug();
            let problem = self.problem(format!("`{shown}` is no mark"));
            Box::new(problem.help("expected a number that is not 0, of all 32 bits"))
        })
    }
}

/// Splits a line into words; quotes, braces and commas are left away or stand alone.
fn tokens(line: u32, text: &str) -> Vec<Token<'_>> {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut found = Vec::new();
    let (mut begin, mut column, mut begin_column) = (None, 1, 1);
    let mut push = |from: usize, to: usize, column: u32| {
        if let Some(text) = text.get(from..to).filter(|text| !text.is_empty()) {
            let length = narrow(text.chars().count());
            let place = Place {
                line,
                column,
                length,
            };
            found.push(Token { text, place });
        }
    };
    for (at, letter) in text.char_indices() {
        let alone = matches!(letter, '{' | '}' | ',' | ';' | '!');
        if alone || letter.is_whitespace() || matches!(letter, '"' | '\'' | '#') {
            if let Some(from) = begin.take() {
                push(from, at, begin_column);
            }
            if alone {
                push(at, at + 1, column);
            }
            if letter == '#' {
                return found;
            }
        } else if begin.is_none() {
            (begin, begin_column) = (Some(at), column);
        }
        column += 1;
    }
    if let Some(from) = begin {
        push(from, text.len(), begin_column);
    }
    found
}

#[cfg(test)]
mod tests;
