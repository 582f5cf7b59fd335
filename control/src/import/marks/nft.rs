//! Rules of nft: what `nft list ruleset` prints, or commands (nft(8)).
//! Sets and ranges are read; what refers to something named elsewhere is not.

use super::Read;
use super::firewall::{Bits, Firewall, Hook, Rule, Step, Test, Verdict};
use super::packets::Field;
use super::text::{Block, Reader, Token, insert};
use crate::config::diagnostics::Problem;

/// Statements after which a packet has other addresses or another way; Plimsoll has none of them.
const TRANSLATES: &[&str] = &["dnat", "masquerade", "redirect", "snat", "tproxy"];
/// What a part of a rule can begin with that is known.
const BEGINS: &[&str] = &[
    "ip",
    "ip6",
    "meta",
    "tcp",
    "udp",
    "sctp",
    "th",
    "mark",
    "ct",
    "counter",
    "comment",
    "accept",
    "drop",
    "return",
    "continue",
    "reject",
    "jump",
    "goto",
    "snat",
    "dnat",
    "masquerade",
    "redirect",
    "tproxy",
];

/// Chains of tables for both families have none of their own.
fn v6(family: &str) -> Option<bool> {
    match family {
        "ip" => Some(false),
        "ip6" => Some(true),
        _ => None,
    }
}

const FAMILIES: &[&str] = &["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// What the brace behind these words opens, if it is no set of a rule.
pub(super) fn block(statement: &[Token<'_>], blocks: &[Block]) -> Option<Block> {
    let mut words: Vec<&str> = statement.iter().map(|token| token.text).collect();
    if words
        .first()
        .is_some_and(|first| first.rsplit('/').next() == Some("nft"))
    {
        words.remove(0);
    }
    if matches!(words.first(), Some(&("add" | "create"))) {
        words.remove(0);
    }
    let family = |name: &str| FAMILIES.contains(&name);
    match (words.as_slice(), blocks.last()) {
        (["table", name], None) => Some(Block::Table("ip".to_owned(), (*name).to_owned())),
        (["table", f, name], None) if family(f) => {
            Some(Block::Table((*f).to_owned(), (*name).to_owned()))
        }
        (["chain", name], Some(Block::Table(family, table))) => Some(Block::Chain(
            family.clone(),
            table.clone(),
            (*name).to_owned(),
        )),
        (["chain", table, name], None) => Some(Block::Chain(
            "ip".to_owned(),
            (*table).to_owned(),
            (*name).to_owned(),
        )),
        (["chain", f, table, name], None) if family(f) => Some(Block::Chain(
            (*f).to_owned(),
            (*table).to_owned(),
            (*name).to_owned(),
        )),
        (["set" | "map" | "element", ..], None) => Some(Block::Other),
        (_, Some(Block::Table(..) | Block::Other)) => Some(Block::Other),
        _ => None,
    }
}

fn name(family: &str, table: &str, chain: &str) -> (String, String) {
    (format!("{family} {table}"), chain.to_owned())
}

/// Makes a chain known.
pub(super) fn declare(firewall: &mut Firewall, family: &str, table: &str, chain: &str) {
    let chain = firewall.chain(name(family, table, chain), v6(family));
    chain.declared = true;
}

/// Reads one statement.
pub(super) fn statement(reader: &mut Reader, tokens: &[Token<'_>]) -> Read<()> {
    match reader.blocks.last().cloned() {
        Some(Block::Chain(family, table, chain)) => {
            let words: Vec<&str> = tokens.iter().map(|token| token.text).collect();
            match words.as_slice() {
                ["type", _, "hook", hook, "priority", priority @ ..]
                | [
                    "type",
                    _,
                    "hook",
                    hook,
                    "device",
                    _,
                    "priority",
                    priority @ ..,
                ] => {
                    let priority = number_of(priority);
                    let hook = match *hook {
                        "prerouting" => Hook::Prerouting,
                        // IPVS is at 98.
                        "input" if priority < 98 => Hook::Input,
                        _ => Hook::Elsewhere,
                    };
                    let chain = reader
                        .firewall
                        .chain(name(&family, &table, &chain), v6(&family));
                    chain.hook = Some((hook, priority));
                    if matches!(family.as_str(), "arp" | "bridge" | "netdev") {
                        chain.hook = Some((Hook::Elsewhere, priority));
                    }
                    Ok(())
                }
                ["policy", policy] => {
                    let chain = reader
                        .firewall
                        .chain(name(&family, &table, &chain), v6(&family));
                    chain.drops = *policy == "drop";
                    Ok(())
                }
                ["comment", ..] => Ok(()),
                _ => rule(reader, (&family, &table, &chain), tokens, None),
            }
        }
        Some(_) => Ok(()),
        None => command(reader, tokens),
    }
}

/// `mangle`, `mangle + 5` or `-150`.
fn number_of(words: &[&str]) -> i32 {
    let text: String = words.concat();
    let (name, offset) = match text.find(['+', '-']).filter(|at| *at > 0) {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let base = match name {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => 100,
        number => number.parse::<i32>().unwrap_or(0),
    };
    let offset = offset.trim_start_matches('+').parse().unwrap_or(0);
    base.saturating_add(offset)
}

/// A command, or a rule alone.
fn command(reader: &mut Reader, tokens: &[Token<'_>]) -> Read<()> {
    let mut rest = tokens;
    let skip = |rest: &mut &[Token<'_>], words: &[&str]| {
        let is = rest.first().is_some_and(|first| {
            let name = first.text.rsplit('/').next().unwrap_or(first.text);
            words.contains(&name)
        });
        if is {
            *rest = rest.get(1..).unwrap_or_default();
        }
        is
    };
    while skip(&mut rest, &["sudo", "nft"]) {}
    let inserts = rest.first().is_some_and(|first| first.text == "insert");
    let verb = rest.first().copied();
    let has_verb = skip(
        &mut rest,
        &[
            "add", "insert", "create", "delete", "destroy", "flush", "replace",
        ],
    );
    let object = rest.first().map_or("", |object| object.text);
    match (verb.map(|verb| verb.text), object) {
        (Some("flush"), _) if has_verb => {
            let texts: Vec<&str> = rest.iter().map(|token| token.text).collect();
            flush(&mut reader.firewall, &texts);
            Ok(())
        }
        (Some("delete" | "destroy" | "replace"), "rule") => {
            let Some(verb) = verb else { return Ok(()) };
            let problem = verb.problem(format!("`{} rule` is not read", verb.text));
            Err(Box::new(problem.help(
                "give what `nft list ruleset` prints when all is in place",
            )))
        }
        (_, "rule") => {
            skip(&mut rest, &["rule"]);
            let family = match rest.first() {
                Some(first) if FAMILIES.contains(&first.text) => {
                    rest = rest.get(1..).unwrap_or_default();
                    first.text
                }
                _ => "ip",
            };
            let [table, chain, rest @ ..] = rest else {
                return Ok(());
            };
            let mut rest = rest;
            if let [
                Token {
                    text: "handle" | "position" | "index",
                    ..
                },
                _,
                more @ ..,
            ] = rest
            {
                rest = more;
            }
            let at = inserts.then_some(1);
            rule(reader, (family, table.text, chain.text), rest, at)
        }
        // Other commands, of whatever program.
        _ if has_verb => Ok(()),
        // A line of a chain, without anything around it.
        _ => {
            let has = |word: &str| tokens.iter().any(|token| token.text == word);
            if has("mark") && has("set") || is_rule(tokens) {
                rule(reader, ("inet", "", ""), tokens, None)
            } else {
                Ok(())
            }
        }
    }
}

/// Whether words that stand alone are surely a rule: `ip` is a program too.
fn is_rule(tokens: &[Token<'_>]) -> bool {
    let mut words = tokens.iter().map(|token| token.text);
    matches!(
        (words.next(), words.next()),
        (
            Some("ip" | "ip6"),
            Some("saddr" | "daddr" | "protocol" | "nexthdr")
        ) | (Some("tcp" | "udp" | "sctp" | "th"), Some("sport" | "dport"))
            | (Some("meta"), Some("mark" | "l4proto" | "nfproto"))
            | (Some("ct"), Some("mark" | "state"))
    )
}

/// `ruleset`, `table [FAMILY] NAME` or `chain [FAMILY] TABLE NAME`.
fn flush(firewall: &mut Firewall, words: &[&str]) {
    let (object, names) = words.split_first().unwrap_or((&"", &[]));
    let (family, names) = match names {
        [family, rest @ ..] if FAMILIES.contains(family) => (*family, rest),
        names => ("ip", names),
    };
    match (*object, names) {
        ("ruleset", _) => firewall.retain(|_| false),
        ("table", [table]) => {
            let table = name(family, table, "").0;
            firewall.retain(|chain| chain.name.0 != table);
        }
        ("chain", [table, chain]) => {
            let flushed = name(family, table, chain);
            for chain in firewall.chains_mut().filter(|chain| chain.name == flushed) {
                chain.rules.clear();
            }
        }
        _ => {}
    }
}

struct Line<'a, 't> {
    tokens: &'a [Token<'t>],
    at: usize,
    steps: Vec<Step>,
    /// Conditions that cannot be carried.
    conditions: Vec<Token<'t>>,
    /// Translations, which are not carried.
    translations: Vec<Token<'t>>,
}

/// Reads a rule of a chain.
fn rule(
    reader: &mut Reader,
    (family, table, chain): (&str, &str, &str),
    tokens: &[Token<'_>],
    at: Option<usize>,
) -> Read<()> {
    let Some(first) = tokens.first() else {
        return Ok(());
    };
    let mut line = Line {
        tokens,
        at: 0,
        steps: Vec::new(),
        conditions: Vec::new(),
        translations: Vec::new(),
    };
    let jump = |target: &str| name(family, table, target);
    let read = line.read(&jump);
    if read.is_err() {
        let rest = line.rest().filter(|token| TRANSLATES.contains(&token.text));
        let rest: Vec<_> = rest.collect();
        line.translations.extend(rest);
    }
    for word in &line.translations {
        let problem = word.problem(format!("`{}` is not carried over", word.text));
        let help =
            "Plimsoll translates addresses for NAT services only; another router has to do this";
        reader.problems.add(problem.help(help));
    }
    if let Err(problem) = read {
        let has = |word: &str| tokens.iter().any(|token| token.text == word);
        // Of what cannot be read, what marks is told, and what ends or turns the way of a packet to a rule that does.
        if has("mark") && has("set") {
            return Err(problem);
        }
        let verdicts = verdicts(tokens, &jump);
        if !verdicts.is_empty() {
            let rule = Rule::unread(first.place, *problem, verdicts);
            let chain = reader
                .firewall
                .chain(name(family, table, chain), v6(family));
            insert(chain, rule, at);
        }
        return Ok(());
    }
    let mut rule = Rule {
        place: first.place,
        steps: line.steps,
        lost: Vec::new(),
    };
    // What marks is rather read too wide than lost; what ends the way of a packet is rather not.
    let assumed = rule.sets_mark() || rule.calls().next().is_some();
    let lost: Vec<Problem> = line
        .conditions
        .iter()
        .map(|word| word.not_carried(assumed))
        .collect();
    if !assumed && !lost.is_empty() {
        let never = Step::If {
            test: Test::Always,
            negated: true,
        };
        rule.steps.insert(0, never);
    }
    rule.lost = lost;
    let chain = reader
        .firewall
        .chain(name(family, table, chain), v6(family));
    insert(chain, rule, at);
    Ok(())
}

/// What may become of a packet, by a rule that cannot be read as a whole.
fn verdicts(tokens: &[Token<'_>], jump: &dyn Fn(&str) -> (String, String)) -> Vec<Verdict> {
    let mut found = Vec::new();
    let mut words = tokens.iter().map(|token| token.text);
    while let Some(word) = words.next() {
        // In a map a colon may stand in front of its value.
        let verdict = match word.rsplit(':').next().unwrap_or(word) {
            "comment" => break,
            // A text.
            "prefix" => {
                words.next();
                None
            }
            "accept" => Some(Verdict::Accept),
            "drop" | "reject" => Some(Verdict::Drop),
            // What the map has is perhaps said elsewhere.
            "return" | "vmap" => Some(Verdict::Return),
            "jump" => words.next().map(|chain| Verdict::Jump(jump(chain))),
            "goto" => words.next().map(|chain| Verdict::Goto(jump(chain))),
            name if TRANSLATES.contains(&name) => Some(Verdict::Accept),
            _ => None,
        };
        found.extend(verdict);
    }
    found
}

/// Values behind a criterion.
struct Values<'t> {
    negated: bool,
    list: Vec<Token<'t>>,
}

impl<'t> Line<'_, 't> {
    /// What was not read yet, but for the comment.
    fn rest(&self) -> impl Iterator<Item = Token<'t>> {
        let rest = self.tokens.get(self.at..).unwrap_or_default().iter();
        rest.copied().take_while(|token| token.text != "comment")
    }

    fn next(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).map(|token| token.text)
    }

    fn next_if(&mut self, texts: &[&str]) -> bool {
        let is = self.peek().is_some_and(|text| texts.contains(&text));
        self.at += usize::from(is);
        is
    }

    fn test(&mut self, test: Test, negated: bool) {
        self.steps.push(Step::If { test, negated });
    }

    /// One value or a set of them, behind the criterion `of`.
    fn values(&mut self, of: Token<'t>) -> Read<Values<'t>> {
        self.next_if(&["==", "eq"]);
        let mut negated = self.next_if(&["!=", "ne"]);
        if self.next_if(&["!"]) {
            // The sign stands alone in a line that was taken apart.
            negated = true;
            self.next_if(&["="]);
        }
        let Some(first) = self.next() else {
            return Err(of.problem(format!("`{}` lacks its value", of.shown())));
        };
        let list = match first.text {
            text if text.starts_with('@') => {
                let problem = first.problem(format!(
                    "`{}` is a set that is not on this line",
                    first.shown()
                ));
                return Err(Box::new(problem.help("expected its elements in braces")));
            }
            text @ ("map" | "vmap") => return Err(first.problem(format!("a {text} is not read"))),
            "{" => {
                let mut list = Vec::new();
                loop {
                    match self.next() {
                        Some(Token { text: "}", .. }) => break list,
                        Some(Token { text: ",", .. }) => {}
                        Some(value) => list.push(value),
                        None => return Err(first.problem("the set has no end on this line")),
                    }
                }
            }
            _ => {
                let mut list = vec![first];
                while self.next_if(&[","]) {
                    list.extend(self.next());
                }
                list
            }
        };
        if matches!(self.peek(), Some("map" | "vmap")) {
            let what = self.next().unwrap_or(of);
            return Err(what.problem(format!("a {} is not read", what.text)));
        }
        Ok(Values { negated, list })
    }

    fn read(&mut self, name: &dyn Fn(&str) -> (String, String)) -> Read<()> {
        while let Some(word) = self.next() {
            match (word.text, self.peek()) {
                ("ip" | "ip6", Some(what @ ("saddr" | "daddr"))) => {
                    self.at += 1;
                    let values = self.values(word)?;
                    let nets = values.list.into_iter().map(Token::network);
                    let nets = nets.collect::<Read<Vec<_>>>()?;
                    self.test(
                        Test::Family {
                            v6: word.text == "ip6",
                        },
                        false,
                    );
                    let field = if what == "saddr" {
                        Field::From
                    } else {
                        Field::To
                    };
                    self.test(Test::Nets(field, nets), values.negated);
                }
                ("meta", Some("l4proto")) | ("ip", Some("protocol")) | ("ip6", Some("nexthdr")) => {
                    if word.text != "meta" {
                        self.test(
                            Test::Family {
                                v6: word.text == "ip6",
                            },
                            false,
                        );
                    }
                    self.at += 1;
                    let values = self.values(word)?;
                    let protocols = values.list.into_iter().filter_map(Token::protocol);
                    self.test(Test::Protocols(protocols.collect()), values.negated);
                }
                ("meta", Some("nfproto")) => {
                    self.at += 1;
                    let values = self.values(word)?;
                    let is = |name: &str| values.list.iter().any(|value| value.text == name);
                    if let (v4, v6) = (is("ipv4"), is("ipv6"))
                        && v4 != v6
                    {
                        self.test(Test::Family { v6 }, values.negated);
                    }
                }
                ("tcp" | "udp" | "sctp" | "th", Some(what @ ("sport" | "dport"))) => {
                    self.at += 1;
                    let values = self.values(word)?;
                    if word.text != "th" {
                        self.test(
                            Test::Protocols(word.protocol().into_iter().collect()),
                            false,
                        );
                    }
                    let ports = values.list.into_iter().map(|value| value.ports('-'));
                    let ports = ports.collect::<Read<_>>()?;
                    let field = if what == "sport" {
                        Field::FromPort
                    } else {
                        Field::Port
                    };
                    self.test(Test::Ports(field, ports), values.negated);
                }
                // The older form is without `meta`.
                ("meta", Some("mark")) => {}
                ("mark", Some("set")) => {
                    self.at += 1;
                    let step = self.expression(word)?;
                    self.steps.push(step);
                }
                ("mark", _) => self.mark(word, false)?,
                ("ct", Some("mark")) => {
                    self.at += 1;
                    if self.next_if(&["set"]) {
                        let step = match self.expression(word)? {
                            Step::SetMark(bits) if bits.keep == 0 => Step::SetConnection(bits),
                            Step::SetMark(Bits::NONE) => Step::Save,
                            _ => return Err(word.problem("this mark of a connection is not read")),
                        };
                        self.steps.push(step);
                    } else {
                        self.mark(word, true)?;
                    }
                }
                // Sessions are begun by what is new, and known afterwards.
                ("ct", Some("state")) => {
                    self.at += 1;
                    let values = self.values(word)?;
                    let is_new = values.list.iter().any(|state| state.text == "new");
                    if is_new == values.negated {
                        self.test(Test::Always, true);
                    }
                }
                // As IPVS sees it: `fib daddr type local`.
                ("fib", Some("daddr"))
                    if self
                        .tokens
                        .get(self.at + 1)
                        .is_some_and(|token| token.text == "type")
                        && self
                            .tokens
                            .get(self.at + 2)
                            .is_some_and(|token| token.text == "local") =>
                {
                    self.at += 3;
                }
                ("counter", _) => {
                    while matches!(self.peek(), Some("packets" | "bytes")) {
                        self.at += 2;
                    }
                }
                ("comment", _) => self.at = self.tokens.len(),
                ("log" | "notrack", _) => self.skip(),
                ("accept", _) => self.steps.push(Step::Verdict(Verdict::Accept)),
                ("drop", _) => self.steps.push(Step::Verdict(Verdict::Drop)),
                ("reject", _) => {
                    self.skip();
                    self.steps.push(Step::Verdict(Verdict::Drop));
                }
                ("return", _) => self.steps.push(Step::Verdict(Verdict::Return)),
                ("continue", _) => {}
                (verb @ ("jump" | "goto"), _) => {
                    let lacks = || word.problem(format!("`{verb}` lacks its chain"));
                    let chain = name(self.next().ok_or_else(lacks)?.text);
                    let verdict = if verb == "jump" {
                        Verdict::Jump(chain)
                    } else {
                        Verdict::Goto(chain)
                    };
                    self.steps.push(Step::Verdict(verdict));
                }
                (name, _) if TRANSLATES.contains(&name) => {
                    self.translations.push(word);
                    self.skip();
                    self.steps.push(Step::Verdict(Verdict::Accept));
                }
                _ => {
                    self.conditions.push(word);
                    self.skip();
                }
            }
        }
        Ok(())
    }

    /// To the next part that is known.
    fn skip(&mut self) {
        while self.peek().is_some_and(|text| !BEGINS.contains(&text)) {
            self.at += 1;
        }
    }

    /// A condition: `mark 5`, `mark & 0xff == 5`.
    fn mark(&mut self, word: Token<'t>, of_connection: bool) -> Read<()> {
        let mut mask = u32::MAX;
        if self.next_if(&["&", "and"]) {
            mask = self
                .next()
                .ok_or_else(|| word.problem("the mask is missing"))?
                .mark()?;
        }
        let values = self.values(word)?;
        let [value] = values.list.as_slice() else {
            return Err(word.problem("a set of marks is not read"));
        };
        let test = Test::Mark {
            of_connection,
            value: value.mark()?,
            mask,
        };
        self.test(test, values.negated);
        Ok(())
    }

    /// What a mark is set to: `5`, `ct mark`, `meta mark and 0xff or 0x5`.
    fn expression(&mut self, word: Token<'t>) -> Read<Step> {
        let first = self
            .next()
            .ok_or_else(|| word.problem("the mark is missing"))?;
        let mut bits = match first.text {
            "ct" => {
                self.next_if(&["mark"]);
                if self.peek().is_some_and(|next| OPERATORS.contains(&next)) {
                    return Err(first.problem("a mark of some bits only is not copied here"));
                }
                return Ok(Step::Restore);
            }
            "meta" | "mark" => {
                self.next_if(&["mark"]);
                Bits::NONE
            }
            _ => Bits {
                keep: 0,
                flip: first.mark()?,
            },
        };
        while let Some(operator) = self.peek().filter(|next| OPERATORS.contains(next)) {
            self.at += 1;
            let value = self
                .next()
                .ok_or_else(|| word.problem("the mark is missing"))?
                .mark()?;
            bits = match operator {
                "and" | "&" => bits.and(value),
                "or" | "|" => bits.or(value),
                _ => bits.xor(value),
            };
        }
        Ok(Step::SetMark(bits))
    }
}

const OPERATORS: &[&str] = &["and", "&", "or", "|", "xor", "^"];
