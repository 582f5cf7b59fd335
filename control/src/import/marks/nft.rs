//! Rules of nft that set a mark: `nft add rule ...`, or a line of `nft list ruleset`.
//! Sets and ranges are read; what refers to something named elsewhere is not.

use super::{Problems, Read, Reading, Token};
use crate::config::leaf::Ports;

/// If the line begins a table, which family's it is: `None` for both.
pub(super) fn table(tokens: &[Token<'_>]) -> Option<Option<bool>> {
    let mut texts = tokens.iter().map(|token| token.text);
    (texts.next() == Some("table")).then(|| texts.next().and_then(family))
}

fn family(name: &str) -> Option<bool> {
    match name {
        "ip" => Some(false),
        "ip6" => Some(true),
        _ => None,
    }
}

struct Line<'a, 't> {
    tokens: &'a [Token<'t>],
    at: usize,
}

impl<'a, 't> Line<'a, 't> {
    fn next(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).map(|token| token.text)
    }

    /// One value or a set of them, behind the criterion `of`.
    fn values(&mut self, of: Token<'t>) -> Read<Vec<Token<'t>>> {
        let Some(first) = self.next() else {
            return Err(of.problem(format!("`{}` lacks its value", of.text)));
        };
        match first.text {
            "!" | "!=" => {
                let problem = first.problem("what a packet is not cannot be carried over");
                Err(Box::new(
                    problem.help("expected what it is; write the rest as rules"),
                ))
            }
            "==" => self.values(of),
            text if text.starts_with('@') => {
                let problem = first.problem(format!("`{text}` is a set that is not on this line"));
                Err(Box::new(problem.help("expected its elements in braces")))
            }
            "{" => {
                let mut values = Vec::new();
                loop {
                    match self.next() {
                        Some(Token { text: "}", .. }) => return Ok(values),
                        Some(Token { text: ",", .. }) => {}
                        Some(value) => values.push(value),
                        None => return Err(first.problem("the set has no end on this line")),
                    }
                }
            }
            _ => Ok(vec![first]),
        }
    }
}

/// Reads a line on which `mark` and `set` occur.
pub(super) fn read(
    tokens: &[Token<'_>],
    table: Option<bool>,
    problems: &mut Problems,
) -> Read<Reading> {
    let mut line = Line { tokens, at: 0 };
    let mut reading = Reading {
        is_v6: table,
        ..Reading::default()
    };
    // `nft add rule [FAMILY] TABLE CHAIN`, then what `nft list ruleset` prints.
    if let Some(rule) = tokens.iter().position(|token| token.text == "rule") {
        line.at = rule + 1;
        if matches!(line.peek(), Some("ip" | "ip6" | "inet")) {
            reading.is_v6 = line.next().and_then(|name| family(name.text));
        }
        line.at += 2;
    }
    while let Some(word) = line.next() {
        match (word.text, line.peek()) {
            ("ip" | "ip6", Some(what @ ("saddr" | "daddr"))) => {
                line.at += 1;
                let networks = line.values(word)?.into_iter().map(Token::network);
                let networks = networks.collect::<Read<Vec<_>>>()?;
                let list = if what == "saddr" {
                    &mut reading.from
                } else {
                    &mut reading.to
                };
                list.extend(networks);
            }
            ("meta", Some("l4proto")) | ("ip", Some("protocol")) | ("ip6", Some("nexthdr")) => {
                if word.text != "meta" {
                    reading.is_v6 = family(word.text);
                }
                line.at += 1;
                let protocols = line.values(word)?.into_iter().map(Token::protocol);
                reading.protocols = protocols.collect::<Read<_>>()?;
            }
            ("meta", Some("nfproto")) => {
                line.at += 1;
                for value in line.values(word)? {
                    reading.is_v6 = Some(value.text == "ipv6");
                }
            }
            ("tcp" | "udp" | "sctp" | "th", Some(what @ ("sport" | "dport"))) => {
                line.at += 1;
                if word.text != "th" {
                    reading.protocols = vec![word.protocol()?];
                }
                let ports = line.values(word)?.into_iter().map(|value| value.ports('-'));
                let ports: Vec<Ports> = ports.collect::<Read<_>>()?;
                let list = if what == "sport" {
                    &mut reading.from_ports
                } else {
                    &mut reading.ports
                };
                list.extend(ports);
            }
            // The older form is without `meta`.
            ("meta", Some("mark")) => {}
            ("mark", Some("set")) => {
                line.at += 1;
                let value = line
                    .next()
                    .ok_or_else(|| word.problem("the mark is missing"))?;
                reading.mark = Some(value.mark()?);
                if let Some(more) = line.next().filter(|more| more.text == "or") {
                    return Err(more.problem("a mark of some bits only cannot be carried over"));
                }
                line.at -= 1;
            }
            ("counter", _) => {
                while matches!(line.peek(), Some("packets" | "bytes")) {
                    line.at += 2;
                }
            }
            ("comment", _) => line.at = tokens.len(),
            ("accept" | "return" | "continue" | ";", _) => {}
            _ => {
                word.not_carried(problems);
                while line.peek().is_some_and(|text| !BEGINS.contains(&text)) {
                    line.at += 1;
                }
            }
        }
    }
    Ok(reading)
}

/// What a part of a rule can begin with that is known.
const BEGINS: &[&str] = &[
    "ip", "ip6", "meta", "tcp", "udp", "sctp", "th", "mark", "counter", "comment", "accept",
];
