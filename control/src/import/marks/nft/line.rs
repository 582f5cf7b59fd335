//! The words of one rule of nft: conditions, marks and verdicts (nft(8)).
//! Which chain it is for, and what is done if it cannot be read, is `nft`'s.

use super::super::firewall::{Bits, Step, Test, Verdict};
use super::super::packets::Field;
use super::super::token::{Read, Token};

/// Statements after which a packet has other addresses or another way; Plimsoll has none of them.
pub(super) const TRANSLATES: &[&str] = &["dnat", "masquerade", "redirect", "snat", "tproxy"];

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

/// A rule as words, and what they mean as far as they are read.
pub(super) struct Line<'a, 't> {
    tokens: &'a [Token<'t>],
    at: usize,
    pub(super) steps: Vec<Step>,
    /// Conditions that cannot be carried.
    pub(super) conditions: Vec<Token<'t>>,
    /// Translations, which are not carried.
    pub(super) translations: Vec<Token<'t>>,
}

/// Values behind a criterion.
struct Values<'t> {
    negated: bool,
    list: Vec<Token<'t>>,
}

impl<'a, 't> Line<'a, 't> {
    pub(super) const fn new(tokens: &'a [Token<'t>]) -> Self {
        Self {
            tokens,
            at: 0,
            steps: Vec::new(),
            conditions: Vec::new(),
            translations: Vec::new(),
        }
    }

    /// What was not read yet, but for the comment.
    pub(super) fn rest(&self) -> impl Iterator<Item = Token<'t>> {
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

    pub(super) fn read(&mut self, name: &dyn Fn(&str) -> (String, String)) -> Read<()> {
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
