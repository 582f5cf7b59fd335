//! A `virtual_server` with its real servers: what it says, before it becomes services of the table.
//! What cannot be carried is told here; the table's own rules are the table's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::rule::{self, MAX_INT, MAX_TIMEOUT_S};
use super::super::scheduler;
use super::super::table::{Encapsulation, Method};
use super::address::{self, same};
use super::health::{self, Check, Kind, Timing, lacks_value};
use super::keywords::{FLAGS, LOST_OF_REAL, LOST_OF_SERVER, OF_DPVS};
use super::tree::Statement;
use super::words::Word;
use crate::config::diagnostics::{Place, Problem, Problems};
use crate::config::file::TunnelChecksum;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::limits::Limits;

/// A real server as it is written.
#[derive(Debug)]
pub(super) struct RealServer {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    pub(super) place: Place,
    pub(super) weight: u32,
    pub(super) limits: Limits,
    pub(super) method: Option<Method>,
    pub(super) checks: Vec<Check>,
    pub(super) timing: Timing,
}

/// A virtual server as it is written, but for what names it.
#[derive(Debug, Default)]
pub(super) struct VirtualServer {
    pub(super) protocol: Option<Protocol>,
    pub(super) scheduler: Option<Word>,
    pub(super) flags: Vec<Word>,
    pub(super) method: Option<Method>,
    /// Seconds.
    pub(super) persistence: Option<u32>,
    pub(super) granularity: Option<Word>,
    pub(super) engine: Option<Word>,
    pub(super) ops: Option<Word>,
    pub(super) v6: bool,
    /// It is not carried, which was told.
    pub(super) left_out: bool,
    pub(super) reals: Vec<RealServer>,
    pub(super) timing: Timing,
}

impl VirtualServer {
    /// How packets get to real servers that do not say it themselves.
    pub(super) fn method(&self) -> Method {
        self.method.unwrap_or(Method {
            forward: ForwardMethod::Nat,
            tunnel: Encapsulation::default(),
        })
    }
}

/// Reads one virtual server.
pub(super) struct Reader<'p> {
    problems: &'p mut Problems,
    /// What is not carried, by the block and the keyword: the first of them, and how many.
    lost: BTreeMap<(&'static str, String), (Word, usize)>,
    /// The first checker.
    checker: Option<Word>,
}

type Read<T> = Result<T, Box<Problem>>;

impl<'p> Reader<'p> {
    /// All that a block says; what is wrong is left out and told.
    pub(super) fn read(block: &[Statement], problems: &'p mut Problems) -> VirtualServer {
        let mut reader = Self {
            problems,
            lost: BTreeMap::new(),
            checker: None,
        };
        let mut server = VirtualServer::default();
        for statement in block {
            if let Err(mut problem) = reader.of_server(statement, &mut server) {
                // Nothing may become another protocol or method because it could not be read.
                if matches!(
                    statement.keyword.text.as_str(),
                    "lvs_method" | "lb_kind" | "protocol"
                ) {
                    server.left_out = true;
                    problem.message.push_str(": the service is left out");
                }
                reader.problems.add(*problem);
            }
        }
        reader.tell();
        server
    }

    fn tell(self) {
        for ((block, _), (word, count)) in self.lost {
            let name = word.shown();
            let message = match (block, count) {
                ("", 1) => format!("`{name}` is not carried over"),
                (_, 1) => format!("`{name}` of {block} is not carried over"),
                ("", _) => {
                    format!("`{name}` is not carried over, {count} times in this virtual server")
                }
                _ => format!(
                    "`{name}` of {block} is not carried over, {count} times in this virtual server"
                ),
            };
            self.problems.add(word.problem(message).warning());
        }
        if let Some(word) = self.checker {
            let problem =
                word.problem("health checks are not carried over: all real servers count as up");
            let help = "what `health:` would say is in a comment beside the service";
            self.problems.add(problem.help(help).warning());
        }
    }

    fn lose(&mut self, block: &'static str, word: &Word) {
        let first = || (word.clone(), 0);
        let key = (block, word.text.clone());
        self.lost.entry(key).or_insert_with(first).1 += 1;
    }

    /// Tells what is behind the last word that a keyword takes.
    fn surplus(&mut self, statement: &Statement, taken: usize) {
        if let Some(word) = statement.words.get(taken) {
            let (word_shown, keyword) = (word.shown(), statement.keyword.shown());
            let message = format!("`{word_shown}` is ignored, as keepalived does");
            let help = format!("expected a new line after `{keyword}` and its value");
            self.problems
                .add(word.problem(message).help(help).warning());
        }
    }

    fn of_server(&mut self, statement: &Statement, server: &mut VirtualServer) -> Read<()> {
        let Statement { keyword, words, .. } = statement;
        let first = || words.first().ok_or_else(|| lacks_value(keyword));
        if let Some(done) = server.timing.take(statement) {
            self.surplus(statement, 1);
            return Ok(done?);
        }
        let name = keyword.text.as_str();
        match name {
            "lvs_method" | "lb_kind" => {}
            "real_server" => self.surplus(statement, 2),
            _ if LOST_OF_SERVER.contains(&name) => {}
            _ if OF_DPVS.iter().any(|(known, _)| *known == name) => {}
            _ if name == "ops" || FLAGS.contains(&name) => self.surplus(statement, 0),
            _ => self.surplus(statement, 1),
        }
        match name {
            "lvs_sched" | "lb_algo" => {
                let word = first()?;
                if word.text == "conhash" {
                    server.left_out = true;
                    let message = "`conhash`, DPVS's consistent hashing, is not there in this version: the service is left out";
                    let help = "`mh` hashes consistently too (Maglev): write it in its place";
                    return Err(Box::new(word.problem(message).help(help)));
                }
                server.scheduler = Some(word.clone());
            }
            "lvs_method" | "lb_kind" => server.method = Some(method(keyword, words)?),
            "protocol" => server.protocol = Some(protocol(first()?)?),
            "persistence_timeout" => {
                server.persistence = Some(match words.first() {
                    Some(word) => address::number(word, 1, MAX_TIMEOUT_S, "a number of seconds")?,
                    None => rule::DEFAULT_PERSISTENCE_S,
                });
            }
            "persistence_granularity" => server.granularity = Some(first()?.clone()),
            "persistence_engine" => server.engine = Some(first()?.clone()),
            "ops" => server.ops = Some(keyword.clone()),
            "ip_family" => {
                let word = first()?;
                server.v6 = match word.text.as_str() {
                    "inet" => false,
                    "inet6" => true,
                    _ => {
                        let message = format!("`{}` is not a family of addresses", word.shown());
                        return Err(Box::new(
                            word.problem(message).help("expected inet or inet6"),
                        ));
                    }
                };
            }
            "real_server" => {
                let real = self.real(statement)?;
                server.reals.push(real);
            }
            _ if FLAGS.contains(&name) => server.flags.push(keyword.clone()),
            _ if LOST_OF_SERVER.contains(&name) => self.lose("", keyword),
            _ => {
                let dpvs = OF_DPVS.iter().find(|(known, _)| *known == name);
                return Err(Box::new(match dpvs {
                    Some((_, why)) => {
                        let message = format!("`{name}`, of DPVS, is not carried over");
                        keyword.problem(message).help(*why)
                    }
                    None => unknown(keyword, "virtual_server"),
                }));
            }
        }
        Ok(())
    }

    fn real(&mut self, statement: &Statement) -> Read<RealServer> {
        let Statement { keyword, words, .. } = statement;
        let word = words.first().ok_or_else(|| lacks_value(keyword))?;
        let mut real = RealServer {
            address: address::address(word)?,
            port: match words.get(1) {
                Some(word) => Some(address::port(Some(word))?),
                None => None,
            },
            place: word.place,
            weight: 1,
            limits: Limits::default(),
            method: None,
            checks: Vec::new(),
            timing: Timing::default(),
        };
        for statement in statement.block.as_deref().unwrap_or_default() {
            if let Err(mut problem) = self.of_real(statement, &mut real) {
                if statement.keyword.text == "lvs_method" {
                    problem.message.push_str(": the real server is left out");
                    return Err(problem);
                }
                self.problems.add(*problem);
            }
        }
        let Limits { upper, lower } = real.limits;
        if lower > upper {
            let message = format!("the lower threshold {lower} is above the upper one, {upper}");
            let help = "expected `lthreshold` to be at most `uthreshold`; it is left out";
            self.problems.add(word.problem(message).help(help));
            real.limits.lower = 0;
        }
        Ok(real)
    }

    fn of_real(&mut self, statement: &Statement, real: &mut RealServer) -> Read<()> {
        let Statement { keyword, words, .. } = statement;
        let first = || words.first().ok_or_else(|| lacks_value(keyword));
        let number = |what| first().and_then(|word| address::number(word, 0, MAX_INT, what));
        if let Some(done) = real.timing.take(statement) {
            self.surplus(statement, 1);
            return Ok(done?);
        }
        let name = keyword.text.as_str();
        if matches!(name, "weight" | "uthreshold" | "lthreshold") {
            self.surplus(statement, 1);
        }
        match name {
            "weight" => real.weight = number("a weight")?,
            "uthreshold" => real.limits.upper = number("a threshold")?,
            "lthreshold" => real.limits.lower = number("a threshold")?,
            "lvs_method" => real.method = Some(method(keyword, words)?),
            _ if LOST_OF_REAL.contains(&name) => self.lose("real_server", keyword),
            _ => match health::kind(name) {
                Some(Kind::Known(kind)) => {
                    self.checker.get_or_insert_with(|| keyword.clone());
                    let block = statement.block.as_deref().unwrap_or_default();
                    let (mut lost, mut wrong) = (Vec::new(), Vec::new());
                    real.checks.push(Check::read(
                        kind,
                        block,
                        &mut |word| lost.push(word.clone()),
                        &mut |problem| wrong.push(problem),
                    ));
                    lost.iter().for_each(|word| self.lose("a checker", word));
                    wrong
                        .into_iter()
                        .for_each(|problem| self.problems.add(problem));
                }
                Some(Kind::Other) => self.lose("real_server", keyword),
                None => return Err(Box::new(unknown(keyword, "real_server"))),
            },
        }
        Ok(())
    }
}

pub(super) fn unknown(keyword: &Word, block: &str) -> Problem {
    keyword
        .problem(format!("`{}` is no keyword of `{block}`", keyword.shown()))
        .help("expected a keyword of keepalived 2.2")
}

fn protocol(word: &Word) -> Read<Protocol> {
    match word.text.to_ascii_uppercase().as_str() {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        _ => {
            let message = format!("`{}` is not a protocol", word.shown());
            Err(Box::new(
                word.problem(message).help("expected TCP, UDP or SCTP"),
            ))
        }
    }
}

/// `NAT`, `DR` or `TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]`.
fn method(keyword: &Word, words: &[Word]) -> Read<Method> {
    let mut words = words.iter();
    let name = words.next().ok_or_else(|| lacks_value(keyword))?;
    let mut tunnel = Encapsulation::default();
    let known = |method: &ForwardMethod| method.keepalived() == Some(name.text.as_str());
    let forward = ForwardMethod::ALL.into_iter().find(known);
    let forward = forward.ok_or_else(|| no_method(name))?;
    let mut kind = name;
    while let Some(word) = words.next().filter(|_| forward.encapsulates()) {
        let mut value = || words.next().ok_or_else(|| lacks_value(word));
        match word.text.as_str() {
            "type" => {
                kind = value()?;
                tunnel.kind = TunnelKind::by_name(&kind.text).ok_or_else(|| {
                    let message = format!("`{}` is not a tunnel type", kind.shown());
                    kind.problem(message).help("expected ipip, gue or gre")
                })?;
            }
            "port" => {
                let port = address::number(value()?, 1, u16::MAX.into(), "a port")?;
                tunnel.port = u16::try_from(port).unwrap_or(0);
            }
            "nocsum" => tunnel.checksum = TunnelChecksum::None,
            "csum" => tunnel.checksum = TunnelChecksum::Csum,
            "remcsum" => tunnel.checksum = TunnelChecksum::Remcsum,
            _ => {
                let message = format!("`{}` is no setting of a tunnel", word.shown());
                let help = "expected type, port, nocsum, csum or remcsum";
                return Err(Box::new(word.problem(message).help(help)));
            }
        }
    }
    if matches!(tunnel.kind, TunnelKind::Gue { .. }) != (tunnel.port != 0) {
        let problem = kind.problem("a GUE tunnel has a port, and no other has");
        return Err(Box::new(problem.help("expected `type gue port N`")));
    }
    Ok(Method { forward, tunnel })
}

/// Of a word that is not the name of a forwarding method, or not in this version.
fn no_method(name: &Word) -> Problem {
    let (what, help) = match name.text.as_str() {
        "FNAT" => (
            "full NAT",
            "use NAT with the real servers' replies routed through Plimsoll, or DR or TUN",
        ),
        "SNAT" => (
            "SNAT",
            "the servers' own way out is routed (`network.forwarding`), or another router's to translate",
        ),
        _ => {
            let message = format!("`{}` is not a forwarding method", name.shown());
            let names = ForwardMethod::ALL.into_iter();
            let names: Vec<&str> = names.filter_map(ForwardMethod::keepalived).collect();
            let help = format!("expected one of {}", names.join(", "));
            return name.problem(message).help(help);
        }
    };
    let message = format!(
        "`{}`, DPVS's {what}, is not there in this version",
        name.text
    );
    name.problem(message).help(help)
}

/// The flags' names, as the scheduler knows them.
pub(super) fn flags(scheduler: &str, words: &[Word], problems: &mut Problems) -> Vec<String> {
    let mut flags = Vec::new();
    for word in words {
        match scheduler::flags(scheduler, same(word)) {
            Ok(more) => flags.extend(more),
            Err(problem) => problems.add(*problem),
        }
    }
    flags.sort();
    flags.dedup();
    flags
}
