//! A firewall's chains and what they do to marks, worked out for all packets at once.
//! How rules are written is `iptables`' and `nft`'s; which services there are is not known.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use plimsoll_dataplane::flow::Protocol;

use super::packets::{Field, Packets, Range, Space, merged};
use super::token::Token;
use crate::config::diagnostics::{Place, Problem};

/// Chains that call chains, as deep as iptables lets them.
pub(super) const DEEPEST: usize = 16;
/// More pieces than any firewall's marks make of the packets.
const MOST_PIECES: usize = 50_000;
/// More pairs of a rule and a piece than that takes.
const MOST_STEPS: usize = 10_000_000;

/// Where a chain's packets are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Prerouting,
    Input,
    /// Packets that IPVS has seen already, or does not see.
    Elsewhere,
}

/// What names a chain: its table with the family, and its name there.
pub(super) type ChainName = (String, String);

/// A change of bits: those of `keep` stay, then those of `flip` turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) keep: u32,
    pub(super) flip: u32,
}

impl Bits {
    pub(super) const NONE: Self = Self {
        keep: u32::MAX,
        flip: 0,
    };

    pub(super) const fn of(self, mark: u32) -> u32 {
        (mark & self.keep) ^ self.flip
    }

    pub(super) const fn and(self, bits: u32) -> Self {
        Self {
            keep: self.keep & bits,
            flip: self.flip & bits,
        }
    }

    pub(super) const fn or(self, bits: u32) -> Self {
        Self {
            keep: self.keep & !bits,
            flip: self.flip | bits,
        }
    }

    pub(super) const fn xor(self, bits: u32) -> Self {
        Self {
            keep: self.keep,
            flip: self.flip ^ bits,
        }
    }
}

/// What a condition asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Always,
    Family {
        v6: bool,
    },
    /// Those of them that are balanced.
    Protocols(Vec<Protocol>),
    Nets(Field, Vec<IpNet>),
    Ports(Field, Vec<Range>),
    /// The packet's mark, or its connection's.
    Mark {
        of_connection: bool,
        value: u32,
        mask: u32,
    },
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Leaves the base chain; later ones see it.
    Accept,
    Drop,
    Return,
    Jump(ChainName),
    Goto(ChainName),
}

/// A rule's parts, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    If {
        test: Test,
        negated: bool,
    },
    SetMark(Bits),
    SetConnection(Bits),
    /// ct mark := packet mark.
    Save,
    /// Packet mark := ct mark.
    Restore,
    Verdict(Verdict),
}

/// A rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) place: Place,
    pub(super) steps: Vec<Step>,
    /// What of it is not carried over, told if it matters.
    pub(super) lost: Vec<Problem>,
}

impl Step {
    /// What lets no packet on.
    const NEVER: Self = Self::If {
        test: Test::Always,
        negated: true,
    };
}

impl Rule {
    pub(super) fn sets_mark(&self) -> bool {
        let sets = |step: &Step| {
            matches!(
                step,
                Step::SetMark(_) | Step::SetConnection(_) | Step::Save | Step::Restore
            )
        };
        self.steps.iter().any(sets)
    }

    /// Leaves out conditions that are not known. What marks is rather read too wide than lost; what ends the way of a
    /// packet is rather not.
    pub(super) fn without(mut self, conditions: &[Token<'_>]) -> Self {
        let assumed = self.sets_mark() || self.calls().next().is_some();
        let lost = conditions.iter().map(|word| word.not_carried(assumed));
        self.lost.extend(lost);
        if !assumed && !conditions.is_empty() {
            self.steps.insert(0, Step::NEVER);
        }
        self
    }

    /// A rule that never matches, for one that cannot be read: of a packet it does nothing, and what is lost with it is told
    /// where a packet can reach it.
    pub(super) fn unread(place: Place, problem: Problem, verdicts: Vec<Verdict>) -> Self {
        let verdicts = verdicts.into_iter().map(Step::Verdict);
        Self {
            place,
            steps: std::iter::once(Step::NEVER).chain(verdicts).collect(),
            lost: vec![Problem {
                message: format!("{}: the rule is taken not to match", problem.message),
                ..problem
            }],
        }
    }

    /// The chains that it calls: several if a map says which.
    pub(super) fn calls(&self) -> impl Iterator<Item = &ChainName> {
        self.steps.iter().filter_map(|step| match step {
            Step::Verdict(Verdict::Jump(name) | Verdict::Goto(name)) => Some(name),
            _ => None,
        })
    }
}

/// A chain.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) name: ChainName,
    /// Both if `None`.
    pub(super) v6: Option<bool>,
    /// How many chains there were before it.
    order: usize,
    /// Of a base chain, with its priority.
    pub(super) hook: Option<(Hook, i32)>,
    /// Whether the text says what it is.
    pub(super) declared: bool,
    pub(super) drops: bool,
    pub(super) rules: Vec<Rule>,
}

/// All chains.
#[derive(Debug, Clone, Default)]
pub(super) struct Firewall {
    chains: BTreeMap<ChainName, Chain>,
}

/// Packets that have the same marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) packets: Packets,
    pub(super) mark: u32,
    pub(super) connection: u32,
}

/// Why the marks are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    #[error("these rules are too many, or too entangled, to be worked out")]
    TooMuch,
    #[error("chains call each other in a circle, or more than 16 deep")]
    TooDeep,
}

impl Chain {
    /// Adds a rule at the end or, with a number from 1 on, at that place.
    pub(super) fn insert(&mut self, rule: Rule, at: Option<usize>) {
        let end = self.rules.len();
        let at = at.map_or(end, |number| number.saturating_sub(1).min(end));
        self.rules.insert(at, rule);
    }
}

impl Firewall {
    pub(super) fn find(&self, name: &ChainName) -> Option<&Chain> {
        self.chains.get(name)
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.chains.values()
    }

    pub(super) fn chains_mut(&mut self) -> impl Iterator<Item = &mut Chain> {
        self.chains.values_mut()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Chain) -> bool) {
        self.chains.retain(|_, chain| keep(chain));
    }

    /// The chain, which is made if there is none.
    pub(super) fn chain(&mut self, name: ChainName, v6: Option<bool>) -> &mut Chain {
        let order = self.chains.len();
        self.chains.entry(name.clone()).or_insert_with(|| Chain {
            name,
            v6,
            order,
            hook: None,
            declared: false,
            drops: false,
            rules: Vec::new(),
        })
    }

    /// Chains that begin a packet's way and in which a mark may be set, in the order of that way.
    pub(super) fn base_chains(&self) -> Vec<&Chain> {
        let marking = self.marking();
        let mut base: Vec<&Chain> = self
            .chains
            .values()
            .filter(|chain| chain.hook.is_some_and(|(hook, _)| hook != Hook::Elsewhere))
            .filter(|chain| marking.contains(&chain.name))
            .collect();
        base.sort_by_key(|chain| (chain.hook, chain.order));
        base
    }

    /// The chains in which a mark may be set, or in one that they call. Looks at every rule once.
    pub(super) fn marking(&self) -> BTreeSet<&ChainName> {
        let mut callers: BTreeMap<&ChainName, Vec<&ChainName>> = BTreeMap::new();
        let mut open: Vec<&ChainName> = Vec::new();
        for chain in self.chains.values() {
            if chain.rules.iter().any(Rule::sets_mark) {
                open.push(&chain.name);
            }
            for called in chain.rules.iter().flat_map(Rule::calls) {
                callers.entry(called).or_default().push(&chain.name);
            }
        }
        let mut marking = BTreeSet::new();
        while let Some(name) = open.pop() {
            if marking.insert(name) {
                open.extend(callers.get(name).into_iter().flatten());
            }
        }
        marking
    }

    /// The mark of every packet of a space when IPVS sees it.
    pub(super) fn run(&self, space: Space) -> Result<Vec<Piece>, Unknown> {
        let mut run = Run {
            firewall: self,
            space,
            dropped: Vec::new(),
            steps: 0,
        };
        let mut pieces = vec![Piece {
            packets: space.all(),
            mark: 0,
            connection: 0,
        }];
        for chain in self.base_chains() {
            let mut through = run.chain(chain, pieces, 0)?;
            if chain.drops {
                run.dropped.append(&mut through.returned);
            }
            pieces = through.returned;
            pieces.append(&mut through.accepted);
        }
        // What is dropped is no service's by its mark.
        pieces.extend(
            run.dropped
                .into_iter()
                .map(|piece| Piece { mark: 0, ..piece }),
        );
        Ok(pieces)
    }
}

/// What went through a chain.
#[derive(Default)]
struct Through {
    returned: Vec<Piece>,
    accepted: Vec<Piece>,
}

struct Run<'f> {
    firewall: &'f Firewall,
    space: Space,
    dropped: Vec<Piece>,
    steps: usize,
}

impl Run<'_> {
    fn chain(
        &mut self,
        chain: &Chain,
        mut pieces: Vec<Piece>,
        depth: usize,
    ) -> Result<Through, Unknown> {
        let mut through = Through::default();
        if chain.v6.is_some_and(|v6| v6 != self.space.v6) {
            through.returned = pieces;
            return Ok(through);
        }
        if depth > DEEPEST {
            return Err(Unknown::TooDeep);
        }
        for rule in &chain.rules {
            let mut next = Vec::with_capacity(pieces.len());
            for piece in pieces {
                let (returned, accepted) = (through.returned.len(), through.accepted.len());
                let dropped = self.dropped.len();
                let on = self.rule(rule, piece, &mut through, depth)?;
                let same = |other: &Piece| {
                    (other.mark, other.connection) == (piece.mark, piece.connection)
                };
                let untouched = (returned, accepted, dropped)
                    == (
                        through.returned.len(),
                        through.accepted.len(),
                        self.dropped.len(),
                    );
                if untouched && on.iter().all(same) {
                    next.push(piece);
                } else {
                    next.extend(on);
                }
            }
            if next.len() + through.returned.len() + through.accepted.len() > MOST_PIECES {
                return Err(Unknown::TooMuch);
            }
            pieces = next;
        }
        through.returned.append(&mut pieces);
        Ok(through)
    }

    /// What goes on behind the rule.
    fn rule(
        &mut self,
        rule: &Rule,
        piece: Piece,
        through: &mut Through,
        depth: usize,
    ) -> Result<Vec<Piece>, Unknown> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(Unknown::TooMuch);
        }
        let (mut here, mut next) = (vec![piece], Vec::new());
        for step in &rule.steps {
            match step {
                Step::If { test, negated } => {
                    let mut still = Vec::new();
                    for piece in here {
                        let (yes, no) = test.split(self.space, piece);
                        let (yes, no) = if *negated { (no, yes) } else { (yes, no) };
                        still.extend(yes);
                        next.extend(no);
                    }
                    here = still;
                }
                Step::SetMark(bits) => here.iter_mut().for_each(|p| p.mark = bits.of(p.mark)),
                Step::SetConnection(bits) => {
                    here.iter_mut()
                        .for_each(|p| p.connection = bits.of(p.connection));
                }
                Step::Save => here.iter_mut().for_each(|p| p.connection = p.mark),
                Step::Restore => here.iter_mut().for_each(|p| p.mark = p.connection),
                Step::Verdict(Verdict::Accept) => through.accepted.append(&mut here),
                Step::Verdict(Verdict::Drop) => self.dropped.append(&mut here),
                Step::Verdict(Verdict::Return) => through.returned.append(&mut here),
                Step::Verdict(Verdict::Jump(name) | Verdict::Goto(name)) => {
                    if let Some(chain) = self.firewall.find(name)
                        && !here.is_empty()
                    {
                        let mut inner = self.chain(chain, std::mem::take(&mut here), depth + 1)?;
                        through.accepted.append(&mut inner.accepted);
                        if matches!(step, Step::Verdict(Verdict::Goto(_))) {
                            through.returned.append(&mut inner.returned);
                        } else {
                            here = inner.returned;
                        }
                    }
                }
            }
            if here.is_empty() {
                break;
            }
        }
        next.extend(here);
        Ok(next)
    }
}

impl Test {
    /// The packets for which it is so, and the others.
    fn split(&self, space: Space, piece: Piece) -> (Vec<Piece>, Vec<Piece>) {
        let whole = |yes: bool| {
            if yes {
                (vec![piece], Vec::new())
            } else {
                (Vec::new(), vec![piece])
            }
        };
        let by = |field, ranges: &[Range]| {
            let (yes, no) = piece.packets.split(field, ranges);
            let pieces = |packets: Vec<Packets>| {
                let pieces = packets.into_iter();
                pieces.map(|packets| Piece { packets, ..piece }).collect()
            };
            (pieces(yes), pieces(no))
        };
        match self {
            Self::Always => whole(true),
            Self::Family { v6 } => whole(*v6 == space.v6),
            Self::Protocols(protocols) => whole(protocols.contains(&space.protocol)),
            Self::Nets(field, nets) => {
                let ranges = nets.iter().filter_map(|net| Range::of_net(net, space.v6));
                by(*field, &merged(ranges.collect()))
            }
            Self::Ports(field, ranges) => by(*field, &merged(ranges.clone())),
            Self::Mark {
                of_connection,
                value,
                mask,
            } => {
                let mark = if *of_connection {
                    piece.connection
                } else {
                    piece.mark
                };
                whole(mark & mask == *value)
            }
        }
    }
}
