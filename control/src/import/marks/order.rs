//! From a firewall's marks to rules of which the first that matches decides, as in the configuration.
//! The firewall's own rules if some order of the services has the same effect, else rules that do not overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::target;

use super::firewall::{ChainName, DEEPEST, Firewall, Piece, Rule, Step, Test, Unknown, Verdict};
use super::packets::{Field, Matcher, Packets, Range, Space, merged};
use crate::config::diagnostics::Place;

/// What names a service by mark: the number, and whether it is for IPv6.
pub(super) type Mark = (u32, bool);

/// More rules than are tried as they are.
const MOST_RULES: usize = 4000;
/// More rules than a packet can meet on all its ways through the chains, each counted once for each way to it.
const MOST_VISITS: usize = 1_000_000;
/// More comparisons of a rule and a piece than that takes.
const MOST_STEPS: usize = 20_000_000;

/// A rule that sets a mark, with what led to it: the positive part of its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) mark: u32,
    pub(super) place: Place,
    /// Which base chain it is reached from.
    base: usize,
    /// Whether no later rule of that chain sees the packet.
    ends: bool,
    like: Like,
}

/// What packets look like; each part has all that it allows, and `None` is anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Like {
    v6: Option<bool>,
    protocols: Option<Vec<Protocol>>,
    from: Option<Vec<IpNet>>,
    to: Option<Vec<IpNet>>,
    ports: Option<Vec<Range>>,
    from_ports: Option<Vec<Range>>,
    never: bool,
}

/// The rules that set marks, in the order in which a packet meets them.
pub(super) fn candidates(firewall: &Firewall) -> Result<Vec<Candidate>, Unknown> {
    let mut walk = Walk {
        firewall,
        marking: firewall.marking(),
        base: 0,
        steps: 0,
        found: Vec::new(),
    };
    for (base, chain) in firewall.base_chains().into_iter().enumerate() {
        let like = Like {
            v6: chain.v6,
            ..Like::default()
        };
        walk.base = base;
        walk.chain(&chain.name, 0, &like)?;
    }
    Ok(walk.found)
}

/// The way through the chains, by every rule that leads to a mark.
struct Walk<'f> {
    firewall: &'f Firewall,
    /// Chains that are worth a look.
    marking: BTreeSet<&'f ChainName>,
    base: usize,
    steps: usize,
    found: Vec<Candidate>,
}

impl Walk<'_> {
    fn chain(&mut self, name: &ChainName, depth: usize, like: &Like) -> Result<(), Unknown> {
        let worth = depth <= DEEPEST && self.marking.contains(name);
        let Some(chain) = self.firewall.find(name).filter(|_| worth) else {
            return Ok(());
        };
        for rule in &chain.rules {
            if self.found.len() > MOST_RULES {
                return Ok(());
            }
            self.steps += 1;
            if self.steps > MOST_VISITS {
                return Err(Unknown::TooMuch);
            }
            self.rule(rule, depth, like.clone())?;
        }
        Ok(())
    }

    fn rule(&mut self, rule: &Rule, depth: usize, mut like: Like) -> Result<(), Unknown> {
        for step in &rule.steps {
            match step {
                _ if like.never => break,
                Step::If { test, negated } => like.and(test, *negated),
                Step::SetMark(bits) if bits.of(0) != 0 => {
                    let ends = rule
                        .steps
                        .iter()
                        .any(|step| matches!(step, Step::Verdict(Verdict::Accept)));
                    self.found.push(Candidate {
                        mark: bits.of(0),
                        place: rule.place,
                        base: self.base,
                        ends,
                        like: like.clone(),
                    });
                }
                Step::Verdict(Verdict::Jump(name) | Verdict::Goto(name)) => {
                    self.chain(name, depth + 1, &like)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Like {
    fn and(&mut self, test: &Test, negated: bool) {
        match test {
            Test::Always => self.never |= negated,
            // What these leave out is seen when the result is compared.
            _ if negated => {}
            Test::Mark { .. } => {}
            Test::Family { v6 } => {
                self.never |= self.v6.is_some_and(|own| own != *v6);
                self.v6 = Some(*v6);
            }
            Test::Protocols(protocols) => {
                let own = self.protocols.take().unwrap_or_else(|| protocols.clone());
                let own = own.into_iter().filter(|one| protocols.contains(one));
                let own: Vec<Protocol> = own.collect();
                self.never |= own.is_empty();
                self.protocols = Some(own);
            }
            Test::Nets(field, nets) => {
                let own = if *field == Field::From {
                    &mut self.from
                } else {
                    &mut self.to
                };
                *own = Some(match own.take() {
                    None => nets.clone(),
                    Some(own) => {
                        let pairs = own.iter().flat_map(|a| nets.iter().map(move |b| (a, b)));
                        pairs.filter_map(|(a, b)| smaller(a, b)).collect()
                    }
                });
                self.never |= own.as_ref().is_some_and(Vec::is_empty);
            }
            Test::Ports(field, ranges) => {
                let own = if *field == Field::FromPort {
                    &mut self.from_ports
                } else {
                    &mut self.ports
                };
                *own = Some(match own.take() {
                    None => ranges.clone(),
                    Some(own) => common(&own, ranges),
                });
                self.never |= own.as_ref().is_some_and(Vec::is_empty);
            }
        }
    }

    /// One rule for each combination of what a rule has one of, for each family that it is for.
    fn rules(&self) -> Vec<(bool, target::Rule)> {
        fn each<T: Copy>(list: Option<&Vec<T>>) -> Vec<Option<T>> {
            list.map_or_else(
                || vec![None],
                |list| list.iter().copied().map(Some).collect(),
            )
        }
        let ports = |list: Option<&Vec<Range>>| list.map_or_else(Vec::new, |list| written(list));
        let (mut to, mut from) = (self.to.clone(), self.from.clone());
        // Anything is written as nothing.
        for nets in [&mut to, &mut from] {
            if nets
                .as_ref()
                .is_some_and(|nets| nets.iter().any(|net| net.prefix_len() == 0))
            {
                *nets = None;
            }
        }
        let mut rules = Vec::new();
        for v6 in [false, true] {
            if self.never || self.v6.is_some_and(|own| own != v6) {
                continue;
            }
            let fits = |net: &Option<IpNet>| net.is_none_or(|net| net.addr().is_ipv6() == v6);
            for protocol in each(self.protocols.as_ref()) {
                for from in each(from.as_ref()).into_iter().filter(fits) {
                    for to in each(to.as_ref()).into_iter().filter(fits) {
                        let rule = target::Rule {
                            protocol,
                            from,
                            to,
                            ports: ports(self.ports.as_ref()),
                            from_ports: ports(self.from_ports.as_ref()),
                        };
                        rules.push((v6, rule));
                    }
                }
            }
        }
        rules
    }
}

fn smaller(a: &IpNet, b: &IpNet) -> Option<IpNet> {
    if a.contains(b) {
        Some(*b)
    } else {
        b.contains(a).then_some(*a)
    }
}

fn common(a: &[Range], b: &[Range]) -> Vec<Range> {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    let common = pairs.filter_map(|(a, b)| {
        let (first, last) = (a.first.max(b.first), a.last.min(b.last));
        (first <= last).then_some(Range { first, last })
    });
    common.collect()
}

fn written(ranges: &[Range]) -> Vec<RangeInclusive<u16>> {
    let port = |number: u128| u16::try_from(number).unwrap_or(u16::MAX);
    let ranges = ranges.iter();
    ranges
        .map(|range| port(range.first)..=port(range.last))
        .collect()
}

/// Services in their order, each with its rules.
pub(super) type Ordered = Vec<(Mark, Vec<target::Rule>)>;

/// What the services of these marks take. Services keep their order where it makes no difference.
pub(super) fn resolve(
    candidates: &[Candidate],
    pieces: &[(Space, Vec<Piece>)],
    services: &[Mark],
) -> Ordered {
    let mut ordered = Vec::new();
    for v6 in [false, true] {
        let services: Vec<u32> = services
            .iter()
            .filter(|service| service.1 == v6)
            .map(|service| service.0)
            .collect();
        let pieces: Vec<_> = pieces.iter().filter(|(space, _)| space.v6 == v6).collect();
        let as_written = as_written(candidates, v6, &services);
        let rules = as_written
            .filter(|rules| agrees(rules, &pieces, &services))
            .unwrap_or_else(|| apart(&pieces, &services));
        let named = rules.into_iter().map(|(mark, rules)| {
            let rules = rules.into_iter().map(|rule| whole(rule, v6));
            ((mark, v6), rules.collect())
        });
        ordered.extend(named);
    }
    ordered
}

/// A rule says at least one thing, and one of IPv6 has an address.
fn whole(mut rule: target::Rule, v6: bool) -> target::Rule {
    if v6 && rule.from.is_none() && rule.to.is_none() {
        rule.to = Some(Ipv6Net::default().into());
    } else if rule == target::Rule::default() {
        rule.to = Some(Ipv4Net::default().into());
    }
    rule
}

/// The firewall's rules by service, if some order of the services has each rule in front of those that it wins over.
fn as_written(
    candidates: &[Candidate],
    v6: bool,
    services: &[u32],
) -> Option<Vec<(u32, Vec<target::Rule>)>> {
    if candidates.len() > MOST_RULES {
        return None;
    }
    let mut rules: Vec<(&Candidate, Vec<target::Rule>)> = Vec::new();
    for candidate in candidates.iter().filter(|one| services.contains(&one.mark)) {
        let own = candidate
            .like
            .rules()
            .into_iter()
            .filter(|(own, _)| *own == v6);
        rules.push((candidate, own.map(|(_, rule)| rule).collect()));
    }
    let matchers: Vec<Vec<(Space, Matcher)>> = rules
        .iter()
        .map(|(_, rules)| {
            let spaces = Space::ALL.iter().filter(|space| space.v6 == v6);
            let pairs = spaces.flat_map(|space| rules.iter().map(move |rule| (*space, rule)));
            pairs
                .filter_map(|(space, rule)| Some((space, Matcher::of(rule, space)?)))
                .collect()
        })
        .collect();
    // Who has to be in front of whom.
    let mut before: BTreeSet<(u32, u32)> = BTreeSet::new();
    for (j, (later, _)) in rules.iter().enumerate() {
        for (i, (earlier, _)) in rules.iter().enumerate().take(j) {
            if earlier.mark == later.mark {
                continue;
            }
            let stays = earlier.ends && earlier.base == later.base;
            let pair = if stays {
                (earlier.mark, later.mark)
            } else {
                (later.mark, earlier.mark)
            };
            if before.contains(&pair) {
                continue;
            }
            let meet = matchers.get(i).zip(matchers.get(j)).is_some_and(|(a, b)| {
                a.iter()
                    .any(|(space, a)| b.iter().any(|(other, b)| space == other && a.meets(b)))
            });
            if meet {
                before.insert(pair);
            }
        }
    }
    let mut order: Vec<u32> = Vec::new();
    while order.len() < services.len() {
        let free = services.iter().find(|mark| {
            let waits = |(first, second): &(u32, u32)| second == *mark && !order.contains(first);
            !order.contains(mark) && !before.iter().any(waits)
        });
        // None is free if they stand in a circle.
        order.push(*free?);
    }
    let of_mark = |mark: u32| {
        let own = rules.iter().filter(|(candidate, _)| candidate.mark == mark);
        let mut all: Vec<target::Rule> = Vec::new();
        for rule in own.flat_map(|(_, rules)| rules) {
            if !all.contains(rule) {
                all.push(rule.clone());
            }
        }
        all
    };
    Some(
        order
            .into_iter()
            .map(|mark| (mark, of_mark(mark)))
            .collect(),
    )
}

/// Whether the first rule that matches says of every packet what the firewall says.
fn agrees(
    rules: &[(u32, Vec<target::Rule>)],
    pieces: &[&(Space, Vec<Piece>)],
    services: &[u32],
) -> bool {
    let mut steps = 0;
    for (space, pieces) in pieces {
        let flat = rules
            .iter()
            .flat_map(|(mark, rules)| rules.iter().map(move |rule| (*mark, rule)));
        let matchers: Vec<(u32, Matcher)> = flat
            .filter_map(|(mark, rule)| Some((mark, Matcher::of(rule, *space)?)))
            .collect();
        for piece in pieces {
            let wanted = Some(piece.mark).filter(|mark| services.contains(mark));
            let mut rest = vec![piece.packets];
            for (mark, matcher) in &matchers {
                let mut still = Vec::new();
                for packets in rest {
                    steps += 1;
                    let (yes, no) = matcher.split(packets);
                    if steps > MOST_STEPS || (!yes.is_empty() && wanted != Some(*mark)) {
                        return false;
                    }
                    still.extend(no);
                }
                rest = still;
                if rest.is_empty() {
                    break;
                }
            }
            if !rest.is_empty() && wanted.is_some() {
                return false;
            }
        }
    }
    true
}

/// What a rule is about but for its protocol and ports.
type Ends = (Vec<IpNet>, Vec<IpNet>, Range);

/// The packets of each service as rules that do not overlap.
fn apart(pieces: &[&(Space, Vec<Piece>)], services: &[u32]) -> Vec<(u32, Vec<target::Rule>)> {
    let all = |mark: u32| {
        let mut by_ends: BTreeMap<Ends, BTreeMap<Protocol, Vec<Range>>> = BTreeMap::new();
        for (space, pieces) in pieces {
            for piece in pieces.iter().filter(|piece| piece.mark == mark) {
                let Packets {
                    to,
                    from,
                    port,
                    from_port,
                } = piece.packets;
                let ends = (to.prefixes(space.v6), from.prefixes(space.v6), from_port);
                by_ends
                    .entry(ends)
                    .or_default()
                    .entry(space.protocol)
                    .or_default()
                    .push(port);
            }
        }
        let mut rules = Vec::new();
        for ((to, from, from_port), by_protocol) in by_ends {
            let mut by_ports: BTreeMap<Vec<Range>, Vec<Protocol>> = BTreeMap::new();
            for (protocol, ports) in by_protocol {
                by_ports.entry(merged(ports)).or_default().push(protocol);
            }
            for (ports, protocols) in by_ports {
                let every = Space::ALL
                    .iter()
                    .all(|space| protocols.contains(&space.protocol));
                let like = Like {
                    protocols: (!every).then_some(protocols),
                    to: Some(to.clone()),
                    from: Some(from.clone()),
                    ports: part(&ports),
                    from_ports: part(&[from_port]),
                    ..Like::default()
                };
                rules.extend(like.rules().into_iter().map(|(_, rule)| rule));
            }
        }
        rules
    };
    services.iter().map(|mark| (*mark, all(*mark))).collect()
}

/// Nothing if it is all ports.
fn part(ports: &[Range]) -> Option<Vec<Range>> {
    let all = ports
        .iter()
        .any(|range| range.first == 0 && range.last == u128::from(u16::MAX));
    (!all).then(|| ports.to_vec())
}

/// Those that are for these networks.
pub(super) fn within(pieces: &mut [(Space, Vec<Piece>)], networks: &[IpNet]) {
    for (space, pieces) in pieces {
        let ranges = networks
            .iter()
            .filter_map(|net| Range::of_net(net, space.v6));
        let ranges = merged(ranges.collect());
        let inside = pieces.iter().flat_map(|piece| {
            let (inside, _) = piece.packets.split(Field::To, &ranges);
            inside
                .into_iter()
                .map(|packets| Piece { packets, ..*piece })
        });
        *pieces = inside.collect();
    }
}

impl Candidate {
    /// Whether it leaves open where packets go.
    pub(super) fn is_open(&self) -> bool {
        self.like.to.is_none() && !self.like.never
    }

    pub(super) fn within(&mut self, networks: &[IpNet]) {
        self.like
            .and(&Test::Nets(Field::To, networks.to_vec()), false);
    }
}
