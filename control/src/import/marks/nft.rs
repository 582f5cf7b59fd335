//! Rules of nft: what `nft list ruleset` prints, or commands (nft(8)).
//! Sets and ranges are read; what refers to something named elsewhere is not.

mod line;

use super::firewall::{Firewall, Hook, Rule, Verdict};
use super::reader::{Block, Reader};
use super::token::{Read, Token};
use crate::config::diagnostics::quoted;
use line::{Line, TRANSLATES};

/// Chains of tables for both families have none of their own.
fn v6(family: &str) -> Option<bool> {
    match family {
        "ip" => Some(false),
        "ip6" => Some(true),
        _ => None,
    }
}

const FAMILIES: &[&str] = &["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// What is behind the program's name, if that is said.
fn behind_program<'a, 't>(tokens: &'a [Token<'t>]) -> &'a [Token<'t>] {
    match tokens {
        [first, rest @ ..] if first.is_nft() => rest,
        tokens => tokens,
    }
}

/// What the brace behind these words opens, if it is no set of a rule.
pub(super) fn block(statement: &[Token<'_>], blocks: &[Block]) -> Option<Block> {
    let statement = behind_program(statement).iter();
    let mut words: Vec<&str> = statement.map(|token| token.text).collect();
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

/// Whether what is read so far is a rule, in which the braces of a set may be open.
pub(super) fn is_rule_of(statement: &[Token<'_>], blocks: &[Block]) -> bool {
    let is_command = || {
        let mut words = statement.iter().map(|token| token.text);
        statement.first().is_some_and(|first| first.is_nft())
            || words.find(|word| !matches!(*word, "add" | "insert")) == Some("rule")
    };
    match blocks.last() {
        Some(Block::Chain(..)) => true,
        Some(_) => false,
        None => is_command() || is_rule(statement),
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
    let Some(first) = tokens.first().copied() else {
        return Ok(());
    };
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
                    let sees = !matches!(family.as_str(), "arp" | "bridge" | "netdev");
                    if sees && priority_of(priority).is_none() {
                        let place = tokens.iter().rev().nth(priority.len().saturating_sub(1));
                        let what = format!("`{}` is not a priority", quoted(&priority.join(" ")));
                        let problem = place.copied().unwrap_or(first).problem(what);
                        let help = "it says in which order chains see packets: give its number, as `nft list ruleset` does";
                        reader.problems.add(problem.help(help));
                    }
                    let priority = priority_of(priority).unwrap_or(0);
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
                    if !sees {
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

/// `mangle`, `mangle + 5` or `-150`; beyond all numbers it is the last or the first.
fn priority_of(words: &[&str]) -> Option<i32> {
    let number = |text: &str| {
        let number = text.parse::<i128>().ok()?;
        i32::try_from(number.clamp(i32::MIN.into(), i32::MAX.into())).ok()
    };
    let text: String = words.concat();
    let (name, offset) = match text.find(['+', '-']).filter(|at| *at > 0) {
        Some(at) => text.split_at(at),
        None => (text.as_str(), "0"),
    };
    let base = match name {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => 100,
        name => number(name)?,
    };
    Some(base.saturating_add(number(offset)?))
}

/// A command, or a rule alone.
fn command(reader: &mut Reader, tokens: &[Token<'_>]) -> Read<()> {
    let mut rest = behind_program(tokens);
    let skip = |rest: &mut &[Token<'_>], words: &[&str]| {
        let is = rest
            .first()
            .is_some_and(|first| words.contains(&first.text));
        if is {
            *rest = rest.get(1..).unwrap_or_default();
        }
        is
    };
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
            let alone = !tokens.iter().any(|token| token.is_nft());
            if alone && has("mark") && has("set") || is_rule(tokens) {
                rule(reader, ("inet", "", ""), tokens, None)
            } else if let Some(first) = tokens.first().filter(|_| sets_mark(tokens)) {
                let problem = first.problem("a mark in a line that cannot be read");
                let help = "a shell's conditions, loops and variables are not known: give what `iptables-save` or `nft list ruleset` prints when all is in place";
                Err(Box::new(problem.help(help)))
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

/// Whether a command that is not read, perhaps with another in quotes, sets marks.
fn sets_mark(tokens: &[Token<'_>]) -> bool {
    let mut before = "";
    let mut words = tokens
        .iter()
        .flat_map(|token| token.text.split_whitespace());
    words.any(|word| {
        let option = word.split_once('=').map_or(word, |(option, _)| option);
        let target = word
            .strip_prefix("--jump=")
            .or_else(|| word.strip_prefix("-j"))
            .unwrap_or(word);
        let jumps = target != word || matches!(before, "-j" | "--jump");
        let sets = (jumps && matches!(target, "MARK" | "CONNMARK"))
            || matches!(option, "--set-mark" | "--set-xmark")
            || (before, word) == ("mark", "set");
        before = word;
        sets
    })
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
    let mut line = Line::new(tokens);
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
            chain.insert(rule, at);
        }
        return Ok(());
    }
    let rule = Rule {
        place: first.place,
        steps: line.steps,
        lost: Vec::new(),
    };
    let rule = rule.without(&line.conditions);
    let chain = reader
        .firewall
        .chain(name(family, table, chain), v6(family));
    chain.insert(rule, at);
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
