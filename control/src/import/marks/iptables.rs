//! Rules of iptables: lines of `iptables-save`, or commands.
//! What they do to a packet is the firewall's to work out.

use super::firewall::{Bits, ChainName, Hook, Rule, Step, Test, Verdict};
use super::packets::Field;
use super::reader::Reader;
use super::token::{Read, Token};
use crate::config::diagnostics::Problem;

/// Targets that end a chain for what they translate or divert; Plimsoll has none of them.
const TRANSLATES: &[&str] = &["DNAT", "MASQUERADE", "NETMAP", "REDIRECT", "SNAT", "TPROXY"];
/// Options of one letter whose values may be joined with them.
const WITH_VALUE: &[&str] = &[
    "-A", "-D", "-E", "-F", "-I", "-N", "-P", "-R", "-X", "-d", "-g", "-i", "-j", "-m", "-o", "-p",
    "-s", "-t", "-w", "-M", "-W",
];
/// Options of the program, which say nothing about packets, and how many values they have at most.
const PROGRAMS: &[(&str, usize)] = &[
    ("--exact", 0),
    ("--line-numbers", 0),
    ("--modprobe", 1),
    ("--numeric", 0),
    ("--set-counters", 2),
    ("--verbose", 0),
    ("--wait", 1),
    ("--wait-interval", 1),
    ("-M", 1),
    ("-W", 1),
    ("-c", 2),
    ("-n", 0),
    ("-v", 0),
    ("-w", 1),
    ("-x", 0),
];
/// Options of those.
const TRANSLATIONS: &[&str] = &[
    "--on-ip",
    "--on-port",
    "--persistent",
    "--random",
    "--random-fully",
    "--to",
    "--to-destination",
    "--to-ports",
    "--to-source",
    "--tproxy-mark",
];
/// Targets after which the packet goes on with the same mark.
const GOES_ON: &[&str] = &[
    "AUDIT", "CHECKSUM", "CLASSIFY", "CT", "DSCP", "ECN", "HL", "LOG", "NFLOG", "NOTRACK",
    "RATEEST", "SECMARK", "SET", "TCPMSS", "TEE", "TOS", "TRACE", "TTL",
];

/// The family of iptables' program of this name.
pub(super) fn program(token: Token<'_>) -> Option<bool> {
    let is_command = |name: &&str| !name.contains(char::is_whitespace);
    let name = token.text.rsplit('/').next().filter(is_command)?;
    if name.starts_with("ip6tables") {
        Some(true)
    } else {
        name.starts_with("iptables").then_some(false)
    }
}

/// Whether a line is iptables'.
pub(super) fn is_line(tokens: &[Token<'_>], in_table: bool) -> bool {
    tokens.first().is_some_and(|first| {
        let text = first.text;
        program(*first).is_some()
            || text.starts_with('-')
            || (in_table && text.starts_with([':', '[']))
    })
}

/// A command or a line as words, with what it is about.
struct Line<'a, 't> {
    words: std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, Token<'t>>>>,
    table: String,
    v6: Option<bool>,
    /// The last module that was asked for.
    module: &'t str,
    /// What becomes of a packet that meets all conditions, wherever these stand.
    target: Option<Token<'t>>,
    target_step: Option<Step>,
    steps: Vec<Step>,
    /// Conditions that cannot be carried.
    conditions: Vec<Token<'t>>,
    lost: Vec<Problem>,
}

/// Tells that a target's translation is not carried over.
fn translates(reader: &mut Reader, target: Token<'_>) {
    let problem = target.problem(format!("`{}` is not carried over", target.text));
    let help = "Plimsoll translates addresses for NAT services only; another router has to do this";
    reader.problems.add(problem.help(help));
}

/// Splits options that are joined with their values, `-jDROP` and `--jump=DROP`, as getopt_long(3) does.
fn split<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        let joined = match token.text.split_once('=') {
            Some((option, value)) if option.starts_with("--") => Some((option, 1, value)),
            _ => token
                .text
                .split_at_checked(2)
                .filter(|(option, value)| WITH_VALUE.contains(option) && !value.is_empty())
                .map(|(option, value)| (option, 0, value)),
        };
        let Some((option, sign, value)) = joined else {
            split.push(*token);
            continue;
        };
        let mut place = token.place;
        split.push(Token {
            text: option,
            place,
        });
        let length = u32::try_from(option.chars().count() + sign).unwrap_or(u32::MAX);
        place.column = place.column.saturating_add(length);
        place.length = place.length.saturating_sub(length).max(1);
        split.push(Token { text: value, place });
    }
    split
}

/// Reads one line.
pub(super) fn statement(reader: &mut Reader, tokens: &[Token<'_>]) -> Read<()> {
    let tokens = &split(tokens)[..];
    let mut words = tokens.iter().copied().peekable();
    while words.next_if(|word| word.text.starts_with('[')).is_some() {}
    let mut v6 = reader.v6;
    let command = words.peek().copied().and_then(program);
    let is_command = command.is_some();
    if is_command {
        v6 = command;
        words.next();
    }
    let Some(first) = words.peek().copied() else {
        return Ok(());
    };
    // The table may stand behind the rule.
    let mut behind = words
        .clone()
        .skip_while(|word| !matches!(word.text, "-t" | "--table"));
    let table = behind.nth(1).map(|word| word.text.to_owned());
    let table = table.or_else(|| reader.table.clone());
    let marks = tokens.iter().any(|token| token.text.ends_with("MARK"));
    let table = table.unwrap_or_else(|| {
        // Of a command it is the filter, which marks as well but has not these chains; what has no command around it is
        // probably about marks.
        let is_filters = |word: Token<'_>| !matches!(word.text, "PREROUTING" | "POSTROUTING");
        let filters = is_command && words.clone().all(is_filters);
        if filters { "filter" } else { "mangle" }.to_owned()
    });
    let mut line = Line {
        words,
        table,
        v6,
        module: "",
        target: None,
        target_step: None,
        steps: Vec::new(),
        conditions: Vec::new(),
        lost: Vec::new(),
    };
    if let Some(chain) = first.text.strip_prefix(':') {
        line.words.next();
        let policy = line.words.next();
        let name = line.name(chain);
        line.declare(reader, &name);
        reader.firewall.chain(name, line.v6).drops = policy.is_some_and(|word| word.text == "DROP");
        return Ok(());
    }
    let told = marks || line.table == "mangle";
    match line.rule(reader, first) {
        // Of what cannot be read, what concerns marks is told, and what ends or turns the way of a packet to a rule that
        // marks.
        Err(problem) if !told => {
            line.unread(reader, tokens, *problem);
            Ok(())
        }
        read => read,
    }
}

impl<'t> Line<'_, 't> {
    fn name(&self, chain: &str) -> ChainName {
        let family = match self.v6 {
            None => "",
            Some(false) => "ip ",
            Some(true) => "ip6 ",
        };
        (format!("iptables {family}{}", self.table), chain.to_owned())
    }

    /// iptables' own chains are at hooks, with the priority of their table.
    fn declare(&self, reader: &mut Reader, name: &ChainName) {
        let priority = match self.table.as_str() {
            "raw" => -300,
            "mangle" => -150,
            "nat" if name.1 == "PREROUTING" => -100,
            "nat" => 100,
            "security" => 50,
            _ => 0,
        };
        let hook = match name.1.as_str() {
            "PREROUTING" => Some(Hook::Prerouting),
            // IPVS is in front of the table nat there.
            "INPUT" if priority < 98 => Some(Hook::Input),
            "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING" => Some(Hook::Elsewhere),
            _ => None,
        };
        let chain = reader.firewall.chain(name.clone(), self.v6);
        chain.hook = hook.map(|hook| (hook, priority));
        chain.declared = true;
    }

    /// Keeps what may become of a packet by a rule that cannot be read as a whole.
    fn unread(&self, reader: &mut Reader, tokens: &[Token<'t>], problem: Problem) {
        let Some(first) = tokens.first() else {
            return;
        };
        let behind = |options: &[&str]| {
            let mut pairs = tokens.iter().zip(tokens.iter().skip(1));
            pairs.find_map(|(option, value)| options.contains(&option.text).then_some(*value))
        };
        let inserts = behind(&["-I", "--insert"]);
        let chain = behind(&["-A", "--append"]).or(inserts);
        let goes = behind(&["-g", "--goto"]);
        let (Some(chain), Some(target)) = (chain, behind(&["-j", "--jump"]).or(goes)) else {
            return;
        };
        let verdict = match target.text {
            "ACCEPT" => Verdict::Accept,
            "DROP" | "REJECT" => Verdict::Drop,
            "RETURN" => Verdict::Return,
            name if GOES_ON.contains(&name) => return,
            name if TRANSLATES.contains(&name) => {
                translates(reader, target);
                Verdict::Accept
            }
            name if goes.is_some() => Verdict::Goto(self.name(name)),
            name => Verdict::Jump(self.name(name)),
        };
        let at = inserts.map(|chain| {
            let behind = tokens.iter().skip_while(|token| token.place != chain.place);
            let number = behind
                .skip(1)
                .take(1)
                .find_map(|token| token.text.parse().ok());
            number.unwrap_or(1)
        });
        let name = self.know(reader, chain);
        let rule = Rule::unread(first.place, problem, vec![verdict]);
        reader.firewall.chain(name, self.v6).insert(rule, at);
    }

    /// A chain that a rule is for, which is a hook's if iptables has it there.
    fn know(&self, reader: &mut Reader, chain: Token<'t>) -> ChainName {
        let name = self.name(chain.text);
        if reader
            .firewall
            .find(&name)
            .is_none_or(|chain| !chain.declared)
            && ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].contains(&chain.text)
        {
            self.declare(reader, &name);
        }
        name
    }

    /// A value, or several with commas between them.
    fn values(&mut self, of: Token<'t>) -> Read<Vec<Token<'t>>> {
        let lacks = || of.problem(format!("`{}` lacks its value", of.shown()));
        let mut values = vec![self.words.next().ok_or_else(lacks)?];
        while self.words.next_if(|next| next.text == ",").is_some() {
            values.extend(self.words.next());
        }
        Ok(values)
    }

    fn value(&mut self, of: Token<'t>) -> Read<Token<'t>> {
        let mut values = self.values(of)?.into_iter();
        values
            .next()
            .ok_or_else(|| of.problem(format!("`{}` lacks its value", of.shown())))
    }

    fn rule(&mut self, reader: &mut Reader, first: Token<'t>) -> Read<()> {
        let (mut chain, mut at) = (None, None);
        let mut negated = false;
        while let Some(word) = self.words.next() {
            match word.text {
                "!" => {
                    negated = true;
                    continue;
                }
                "-t" | "--table" => {
                    self.words.next();
                }
                "-A" | "--append" => chain = Some(self.value(word)?),
                "-I" | "--insert" => {
                    chain = Some(self.value(word)?);
                    let number = self
                        .words
                        .next_if(|word| word.text.parse::<usize>().is_ok());
                    at = Some(number.and_then(|word| word.text.parse().ok()).unwrap_or(1));
                }
                "-F" | "--flush" | "-X" | "--delete-chain" => {
                    let chain = self.words.next_if(|word| !word.text.starts_with('-'));
                    let chain = chain.map(|chain| self.name(chain.text));
                    let table = self.name("").0;
                    reader.firewall.retain(|other| {
                        chain
                            .as_ref()
                            .map_or(other.name.0 != table, |chain| other.name != *chain)
                    });
                    return Ok(());
                }
                "-N" | "--new-chain" | "-P" | "--policy" => {
                    let chain = self.value(word)?;
                    let name = self.name(chain.text);
                    self.declare(reader, &name);
                    let policy = self.words.next();
                    let drops = policy.is_some_and(|word| word.text == "DROP");
                    reader.firewall.chain(name, self.v6).drops = drops;
                    return Ok(());
                }
                "-D" | "--delete" | "-R" | "--replace" | "-E" | "--rename-chain" => {
                    let problem = word.problem(format!("`{}` is not read", word.text));
                    let help = "give what `iptables-save` prints when all is in place";
                    reader.problems.add(problem.help(help));
                    return Ok(());
                }
                "-j" | "--jump" | "-g" | "--goto" => {
                    let value = self.value(word)?;
                    self.target = Some(value);
                    self.target_step = self.step(word, value);
                }
                "-4" | "--ipv4" | "-6" | "--ipv6" => {
                    let v6 = word.text.ends_with('6');
                    if self.v6.is_some_and(|family| family != v6) {
                        // iptables-restore ignores what is for the other program.
                        return Ok(());
                    }
                    self.test(Test::Family { v6 }, false);
                }
                _ if self.is_programs(word) => {}
                _ if self.is_targets(word)? => {}
                _ => self.condition(word, std::mem::take(&mut negated))?,
            }
            negated = false;
        }
        let Some(chain) = chain else {
            let Some(target) = self.target.filter(|target| marks(*target)) else {
                // `-L` and the like.
                return Ok(());
            };
            let problem = target.problem("this line names no chain for its rule");
            return Err(Box::new(problem.help("expected `-A` or `-I` with a chain")));
        };
        if let Some(target) = self.target.filter(|target| marks(*target))
            && self.target_step.is_none()
        {
            let problem = target.problem("this line sets no mark");
            return Err(Box::new(problem.help("expected --set-mark or --set-xmark")));
        }
        self.steps.extend(self.target_step.take());
        let name = self.know(reader, chain);
        let translating = |target: &Token<'_>| TRANSLATES.contains(&target.text);
        if let Some(target) = self.target.filter(translating) {
            translates(reader, target);
        }
        let rule = Rule {
            place: first.place,
            steps: std::mem::take(&mut self.steps),
            lost: std::mem::take(&mut self.lost),
        };
        let rule = rule.without(&self.conditions);
        reader.firewall.chain(name, self.v6).insert(rule, at);
        Ok(())
    }

    fn test(&mut self, test: Test, negated: bool) {
        self.steps.push(Step::If { test, negated });
    }

    fn condition(&mut self, word: Token<'t>, negated: bool) -> Read<()> {
        match word.text {
            // What they load is seen by its own options.
            "-m" | "--match" => self.module = self.value(word)?.text,
            "--comment" => {
                self.value(word)?;
                // Without quotes it may have several words.
                self.pass_values();
            }
            "-s" | "--source" | "--src" | "-d" | "--destination" | "--dst" => {
                let nets = self.values(word)?.into_iter().map(Token::network);
                let nets = nets.collect::<Read<Vec<_>>>()?;
                if let Some(net) = nets.first() {
                    let v6 = net.addr().is_ipv6();
                    self.test(Test::Family { v6 }, false);
                }
                let from = word.text.starts_with("-s") || word.text.starts_with("--s");
                let field = if from { Field::From } else { Field::To };
                self.test(Test::Nets(field, nets), negated);
            }
            "-p" | "--protocol" | "--proto" => {
                let value = self.value(word)?;
                if !matches!(value.text, "all" | "0") {
                    let protocols = value.protocol().into_iter().collect();
                    self.test(Test::Protocols(protocols), negated);
                }
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                self.ports(word, &[Field::Port], negated)?;
            }
            "--sport" | "--sports" | "--source-port" | "--source-ports" => {
                self.ports(word, &[Field::FromPort], negated)?;
            }
            "--mark" if matches!(self.module, "mark" | "connmark") => {
                let (value, mask) = self.value(word)?.masked_mark()?;
                let of_connection = self.module == "connmark";
                let test = Test::Mark {
                    of_connection,
                    value,
                    mask,
                };
                self.test(test, negated);
            }
            // Sessions are begun by what is new, and known afterwards.
            "--ctstate" | "--state" => {
                let states = self.values(word)?;
                let is_new = states.iter().any(|state| state.text == "NEW");
                if is_new == negated {
                    self.test(Test::Always, true);
                }
            }
            // As IPVS sees it.
            "--dst-type" if !negated => {
                let kind = self.value(word)?;
                if kind.text != "LOCAL" {
                    self.conditions.push(word);
                }
            }
            "--syn" if !negated => {}
            _ if word.text.starts_with('-') => {
                self.conditions.push(word);
                self.pass_values();
            }
            _ => self.conditions.push(word),
        }
        Ok(())
    }

    fn ports(&mut self, word: Token<'t>, fields: &[Field], negated: bool) -> Read<()> {
        let ports = self.values(word)?.into_iter().map(|value| value.ports(':'));
        let ports = ports.collect::<Read<Vec<_>>>()?;
        for field in fields {
            self.test(Test::Ports(*field, ports.clone()), negated);
        }
        Ok(())
    }

    /// What becomes of a packet. What `MARK` and `CONNMARK` do is said by their options.
    fn step(&self, option: Token<'t>, target: Token<'t>) -> Option<Step> {
        let verdict = match target.text {
            _ if marks(target) => return None,
            "ACCEPT" => Verdict::Accept,
            "DROP" | "REJECT" => Verdict::Drop,
            "RETURN" => Verdict::Return,
            name if GOES_ON.contains(&name) => return None,
            name if TRANSLATES.contains(&name) => Verdict::Accept,
            name if matches!(option.text, "-g" | "--goto") => Verdict::Goto(self.name(name)),
            name => Verdict::Jump(self.name(name)),
        };
        Some(Step::Verdict(verdict))
    }

    /// Whether a word is an option that says how the program does its work; reads it, with its values.
    fn is_programs(&mut self, option: Token<'t>) -> bool {
        let Some((_, most)) = PROGRAMS.iter().find(|(name, _)| *name == option.text) else {
            return false;
        };
        let is_value = |next: &Token<'_>| !next.text.starts_with('-') && next.text != "!";
        for _ in 0..*most {
            self.words.next_if(|next| next.text == ",");
            self.words.next_if(is_value);
        }
        true
    }

    /// Whether a word is an option of the target's, not a condition; reads it, with its values.
    fn is_targets(&mut self, option: Token<'t>) -> Read<bool> {
        let Some(target) = self.target else {
            return Ok(false);
        };
        match target.text {
            _ if marks(target) => return self.is_marks(target, option),
            "REJECT" if option.text == "--reject-with" => {}
            name if TRANSLATES.contains(&name) && TRANSLATIONS.contains(&option.text) => {}
            _ => return Ok(false),
        }
        self.pass_values();
        Ok(true)
    }

    /// The options of `MARK` and `CONNMARK` (iptables-extensions(8)).
    fn is_marks(&mut self, target: Token<'t>, option: Token<'t>) -> Read<bool> {
        let of_connection = target.text == "CONNMARK";
        let step = match option.text {
            "--save-mark" if of_connection => Step::Save,
            "--restore-mark" if of_connection => Step::Restore,
            "--nfmask" | "--ctmask" | "--mask" if of_connection => {
                return Err(option.problem("a mark of some bits only is not copied here"));
            }
            "--set-xmark" | "--set-mark" | "--and-mark" | "--or-mark" | "--xor-mark" => {
                let (value, mask) = self.value(option)?.masked_mark()?;
                let bits = match option.text {
                    "--set-xmark" => Bits {
                        keep: !mask,
                        flip: value,
                    },
                    "--set-mark" => Bits::NONE.and(!mask).or(value),
                    "--and-mark" => Bits::NONE.and(value),
                    "--or-mark" => Bits::NONE.or(value),
                    _ => Bits::NONE.xor(value),
                };
                if of_connection {
                    Step::SetConnection(bits)
                } else {
                    Step::SetMark(bits)
                }
            }
            _ => return Ok(false),
        };
        self.target_step = Some(step);
        Ok(true)
    }

    /// Passes over the values of an option that says nothing here.
    fn pass_values(&mut self) {
        let is_value = |next: &Token<'_>| !next.text.starts_with('-') && next.text != "!";
        while self.words.next_if(is_value).is_some() {}
    }
}

/// Whether a target is there to set marks.
fn marks(target: Token<'_>) -> bool {
    matches!(target.text, "MARK" | "CONNMARK")
}
