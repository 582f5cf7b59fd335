//! What a firewall's marks mean: which packets a service by mark takes, as rules of the configuration.
//! Knows no service; what a firewall does besides marking is passed over, or told where it changes the way of packets.

mod firewall;
mod iptables;
mod nft;
mod order;
mod packets;
mod reader;
mod text;
mod token;
mod words;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ipnet::IpNet;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::target;

use crate::config::Diagnostics;
use crate::config::diagnostics::{Problem, Problems};
use crate::config::leaf::Leaf;
use firewall::{Firewall, Piece, Step, Unknown, Verdict};
use order::{Candidate, Ordered};
use packets::Space;

/// Which packets have which marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The mark of every packet.
    pieces: Vec<(Space, Vec<Piece>)>,
    /// The rules that set marks.
    candidates: Vec<Candidate>,
    /// Marks of services that have a place without rules too.
    known: BTreeSet<u32>,
    /// Services of a configuration with their rules, in its order.
    own: Vec<((u32, bool), Vec<target::Rule>)>,
}

impl Marks {
    /// Reads a firewall: what `iptables-save` and `nft list ruleset` print, or commands; `name` is what
    /// diagnostics call it. Errors are rules that mark and could not be read, conditions that are not carried
    /// over, and translations of addresses.
    #[must_use]
    pub fn read(name: &str, text: &str) -> (Self, Diagnostics) {
        let (firewall, mut problems) = text::read(text);
        lost(&firewall, &mut problems);
        let marks = Self::worked_out(&firewall).unwrap_or_else(|why| {
            problems.add(Problem::unplaced(format!("{why}: no mark is carried over")));
            Self::default()
        });
        let mut open: Vec<_> = marks
            .candidates
            .iter()
            .filter(|one| one.is_open())
            .collect();
        open.dedup_by_key(|candidate| candidate.place);
        for candidate in open {
            let message = "this line says not where to: its rule takes such packets to any address";
            let help = "LVS balances packets to its own addresses only: add `to:` to the rule";
            problems.add(Problem::new(candidate.place, message).help(help).warning());
        }
        (marks, problems.finish(name, text))
    }

    fn worked_out(firewall: &Firewall) -> Result<Self, Unknown> {
        let candidates = order::candidates(firewall)?;
        let pieces = Space::ALL
            .into_iter()
            .map(|space| Ok((space, firewall.run(space)?)));
        Ok(Self {
            pieces: pieces.collect::<Result<_, Unknown>>()?,
            candidates,
            ..Self::default()
        })
    }

    /// Makes the mark known, though perhaps nothing has it.
    pub fn know(&mut self, mark: u32) {
        self.known.insert(mark);
    }

    /// The rules of a configuration's service of this mark and family.
    pub(super) fn set(&mut self, mark: u32, v6: bool, rules: &[target::Rule]) {
        self.own.push(((mark, v6), rules.to_vec()));
    }

    /// What [`Marks::set`] was given, in its order.
    pub(super) fn own(&self) -> &[((u32, bool), Vec<target::Rule>)] {
        &self.own
    }

    /// The same marks for packets to these networks only.
    #[must_use]
    pub fn within(mut self, networks: &[IpNet]) -> Self {
        order::within(&mut self.pieces, networks);
        for candidate in &mut self.candidates {
            candidate.within(networks);
        }
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.known.is_empty() && self.own.is_empty()
    }

    /// Whether a service of this mark has a place in a configuration, though perhaps no packet has the mark.
    pub(super) fn is_known(&self, mark: u32) -> bool {
        self.known.contains(&mark)
    }

    /// What packets of each service look like, with the services in the order in which the first rule that
    /// matches gives each packet the service of its mark. A packet whose mark no service has is no service's.
    pub(super) fn resolve(&self, services: &[(u32, bool)]) -> Ordered {
        if self.own.is_empty() {
            return order::resolve(&self.candidates, &self.pieces, services);
        }
        let own = self.own.iter().filter(|(mark, _)| services.contains(mark));
        own.cloned().collect()
    }
}

/// Tells what of the rules that matter is not carried over, and that packets are dropped.
fn lost(firewall: &Firewall, problems: &mut Problems) {
    let mut names: BTreeSet<_> = firewall
        .base_chains()
        .iter()
        .map(|chain| &chain.name)
        .collect();
    let mut open: Vec<_> = names.iter().copied().collect();
    while let Some(chain) = open.pop().and_then(|name| firewall.find(name)) {
        for name in chain.rules.iter().flat_map(firewall::Rule::calls) {
            if names.insert(name) {
                open.push(name);
            }
        }
    }
    let matters = |step: &Step| !matches!(step, Step::If { .. });
    let chains = names.into_iter().filter_map(|name| firewall.find(name));
    for rule in chains.flat_map(|chain| &chain.rules) {
        if rule.steps.iter().any(matters) {
            rule.lost
                .iter()
                .for_each(|problem| problems.add(problem.clone()));
        }
    }
    let drops = |rule: &&firewall::Rule| {
        let drop = |step: &Step| matches!(step, Step::Verdict(Verdict::Drop));
        rule.steps.iter().any(drop)
    };
    let seen = firewall.chains().filter(|chain| {
        chain
            .hook
            .is_none_or(|(hook, _)| hook != firewall::Hook::Elsewhere)
    });
    let mut dropping = seen.flat_map(|chain| &chain.rules).filter(drops);
    if let Some(first) = dropping.next() {
        let count = 1 + dropping.count();
        let message = format!("rules that drop packets are not carried over ({count})");
        let help = "there is no packet filter here: filter in front of it, or at the real servers";
        problems.add(Problem::new(first.place, message).help(help).warning());
    }
}

/// The nft command that gives packets of this rule the mark. As the first rule that matches decides here, and
/// `meta mark set` ends no chain, it ends this one: `accept` is for the base chain that it stands in only.
pub(super) fn nft_line(mark: u32, v6: bool, rule: &target::Rule) -> String {
    let family = if v6 { "ip6" } else { "ip" };
    let mut line = format!("nft add rule {family} plimsoll prerouting");
    for (key, net) in [("saddr", rule.from), ("daddr", rule.to)] {
        if let Some(net) = net.filter(|net| net.prefix_len() > 0) {
            let _ = write!(line, " {family} {key} {net}");
        }
    }
    let protocol = rule.protocol.map_or("th", Protocol::name);
    if rule.ports.is_empty() && rule.from_ports.is_empty() && rule.protocol.is_some() {
        let _ = write!(line, " meta l4proto {protocol}");
    } else if rule.protocol.is_none() {
        line.push_str(" meta l4proto { tcp, udp, sctp }");
    }
    for (key, ports) in [("sport", &rule.from_ports), ("dport", &rule.ports)] {
        if !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(Leaf::print).collect();
            let _ = write!(line, " {protocol} {key} {{ {} }}", ports.join(", "));
        }
    }
    let _ = write!(line, " meta mark set {mark} accept");
    line
}

#[cfg(test)]
mod tests;
