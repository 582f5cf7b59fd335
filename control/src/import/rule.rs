//! A rule: a line whose options were understood, checked as ipvsadm checks them before it asks the kernel.
//! What is there already, and so whether the rule can be applied, is the table's business.

use super::line::{self, Command, Flag, Given, Line, Word};
use super::scheduler;
use super::table::{self, Encapsulation, Method, Persistence, Real, Rule, Service, What};
use super::value;
use crate::config::diagnostics::{Place, Problem, Problems};
use crate::config::file::TunnelChecksum;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::limits::Limits;
use plimsoll_dataplane::spec::target::{Identity, Mark, Vip};
use plimsoll_dataplane::spec::timeouts::{Millis, OwnTimeouts};

/// What a bare `ipvsadm -p` sets, observed with 1.31; its manual says 300.
pub(super) const DEFAULT_PERSISTENCE_S: u32 = 360;
/// ipvsadm's own limit: 31 days.
pub(super) const MAX_TIMEOUT_S: u32 = 31 * 86_400;
pub(super) const MAX_INT: u32 = i32::MAX.unsigned_abs();

const SERVICE: &[Flag] = &[Flag::Tcp, Flag::Udp, Flag::Sctp, Flag::Mark, Flag::Ipv6];
const SERVICE_OPTIONS: &[Flag] = &[
    Flag::Scheduler,
    Flag::SchedulerFlags,
    Flag::Persistent,
    Flag::Netmask,
    Flag::Engine,
    Flag::OnePacket,
];
const SERVER_OPTIONS: &[Flag] = &[
    Flag::Weight,
    Flag::Upper,
    Flag::Lower,
    Flag::TunType,
    Flag::TunPort,
    Flag::TunNocsum,
    Flag::TunCsum,
    Flag::TunRemcsum,
];

/// Reads a line; `None` if there is no rule on it, or none that makes sense, which is told then.
pub(super) fn read(number: u32, text: &str, problems: &mut Problems) -> Option<Rule> {
    let line = line::read(number, text, problems)?;
    let before = problems.errors();
    let rule = Reader { line, problems }.rule();
    match rule {
        Ok(rule) => (problems.errors() == before).then_some(rule),
        Err(problem) => {
            problems.add(*problem);
            None
        }
    }
}

struct Reader<'t, 'p> {
    line: Line<'t>,
    problems: &'p mut Problems,
}

type Read<T> = Result<T, Box<Problem>>;

impl<'t> Reader<'t, '_> {
    fn given(&self, flag: Flag) -> Option<Given<'t>> {
        self.line.given.iter().find(|g| g.flag == flag).copied()
    }

    fn value(&self, flag: Flag) -> Option<Word<'t>> {
        self.given(flag)?.value
    }

    fn warn(&mut self, problem: Problem) {
        self.problems.add(problem.warning());
    }

    fn rule(mut self) -> Read<Rule> {
        let command = self.line.command;
        let groups: &[&[Flag]] = match command {
            Command::AddService | Command::EditService => &[SERVICE, SERVICE_OPTIONS],
            Command::DeleteService | Command::Zero => &[SERVICE],
            Command::AddServer | Command::EditServer => &[SERVICE, &[Flag::Server], SERVER_OPTIONS],
            Command::DeleteServer => &[SERVICE, &[Flag::Server]],
            Command::Clear | Command::Set | Command::Daemon | Command::Other => &[],
        };
        let stray = |given: &&Given<'_>| {
            let daemons = command == Command::Daemon && matches!(given.flag, Flag::Daemon(_));
            let servers = matches!(command, Command::AddServer | Command::EditServer);
            let methods = servers && matches!(given.flag, Flag::Forward(_));
            given.flag != Flag::Numeric
                && !daemons
                && !methods
                && !groups.iter().any(|group| group.contains(&given.flag))
        };
        for given in self.line.given.iter().filter(stray) {
            let (option, word) = (given.word.shown(), self.line.word.shown());
            let message = format!("`{option}` does not go with `{word}`");
            let help = match command {
                Command::AddService | Command::EditService => {
                    "expected options of a service: -s, -p, -M, --pe, -o, -b"
                }
                Command::AddServer | Command::EditServer => {
                    "expected options of a real server: -g, -i, -m, -w, -x, -y, --tun-..."
                }
                _ => "expected only what names the service and the real server",
            };
            self.problems.add(given.word.problem(message).help(help));
        }
        let (mut service, mut server) = (self.line.word.place, self.line.word.place);
        let what = match command {
            Command::Clear | Command::Other => What::Clear,
            Command::Set => What::Timeouts(self.timeouts()?),
            Command::Daemon => {
                let message = format!("`{}` is not carried over", self.line.word.shown());
                let problem = self.line.word.problem(message);
                self.warn(problem.help("there is no sync daemon here"));
                What::Daemon
            }
            Command::Zero
                if !self
                    .line
                    .given
                    .iter()
                    .any(|one| SERVICE.contains(&one.flag)) =>
            {
                What::Zero(None)
            }
            Command::Zero => {
                let (key, word) = self.key()?;
                service = word.place;
                What::Zero(Some(key))
            }
            Command::AddService | Command::EditService => {
                let (key, word) = self.key()?;
                service = word.place;
                let new = Box::new(self.service(key, word)?);
                if command == Command::AddService {
                    What::AddService(new)
                } else {
                    What::EditService(new)
                }
            }
            Command::DeleteService => {
                let (key, word) = self.key()?;
                service = word.place;
                What::DeleteService(key)
            }
            Command::AddServer | Command::EditServer | Command::DeleteServer => {
                let (key, word) = self.key()?;
                service = word.place;
                let (what, place) = self.server(key, command)?;
                server = place;
                what
            }
        };
        Ok(Rule {
            what,
            service,
            server,
        })
    }

    fn key(&self) -> Read<(Identity, Word<'t>)> {
        let selectors =
            self.line.given.iter().filter(|given| {
                matches!(given.flag, Flag::Tcp | Flag::Udp | Flag::Sctp | Flag::Mark)
            });
        let selectors: Vec<_> = selectors.copied().collect();
        let (given, word) = match selectors.as_slice() {
            [given] => (given, given.value.unwrap_or(given.word)),
            [] => {
                let message = format!("`{}` lacks its service", self.line.word.shown());
                let problem = self.line.word.problem(message);
                return Err(Box::new(
                    problem.help("expected -t, -u, --sctp-service or -f"),
                ));
            }
            [first, second, ..] => {
                let problem = second.word.problem("a line is about one service");
                return Err(Box::new(
                    problem.also(first.word.place, "the first is here"),
                ));
            }
        };
        let protocol = match given.flag {
            Flag::Tcp => Protocol::Tcp,
            Flag::Udp => Protocol::Udp,
            Flag::Sctp => Protocol::Sctp,
            _ => {
                let number = value::number(word, 1..=u32::MAX, "a firewall mark")?;
                let is_v6 = self.given(Flag::Ipv6).is_some();
                return Ok((Identity::Mark(Mark { number, is_v6 }), word));
            }
        };
        if let Some(six) = self.given(Flag::Ipv6) {
            let problem = six.word.problem("`-6` goes with `-f` only");
            return Err(Box::new(
                problem.help("an address tells its family by itself"),
            ));
        }
        let (address, port) = value::address(word)?;
        let vip = Vip {
            protocol,
            addresses: address.into(),
            port: port.unwrap_or(0),
        };
        Ok((Identity::Vip(vip), word))
    }

    fn service(&mut self, key: Identity, word: Word<'t>) -> Read<Service> {
        let scheduler = self.value(Flag::Scheduler);
        let scheduler = scheduler.map_or(scheduler::DEFAULT, |word| word.text);
        let flags = match self.value(Flag::SchedulerFlags) {
            Some(word) => scheduler::flags(scheduler, word)?,
            None => Vec::new(),
        };
        let persistence = self.persistence(key)?;
        let one_packet = self.given(Flag::OnePacket);
        let udp =
            |key| !matches!(key, Identity::Vip(Vip { protocol, .. }) if protocol != Protocol::Udp);
        if let Some(given) = one_packet.filter(|_| !udp(key)) {
            let problem = given.word.problem("one-packet scheduling is for UDP only");
            return Err(Box::new(
                problem.help("expected a service given by -u or -f"),
            ));
        }
        if matches!(key, Identity::Vip(_)) && key.port() == 0 && persistence.is_none() {
            let problem = word.problem("Zero port specified for non-persistent service");
            return Err(Box::new(
                problem.help("expected a port, or -p for all ports"),
            ));
        }
        Ok(Service {
            key,
            scheduler: scheduler.to_owned(),
            flags,
            persistence,
            one_packet: one_packet.is_some(),
            reals: Vec::new(),
            method: None,
            place: word.place,
        })
    }

    fn persistence(&mut self, key: Identity) -> Read<Option<Persistence>> {
        let mask = self.value(Flag::Netmask);
        let mask = mask
            .map(|word| value::mask(word, key.is_v6()))
            .transpose()?;
        let engine = self.value(Flag::Engine).map(|word| word.text.to_owned());
        let Some(given) = self.given(Flag::Persistent) else {
            for flag in [Flag::Netmask, Flag::Engine] {
                if let Some(Given { word, .. }) = self.given(flag) {
                    let message = format!("`{}` has no effect without `-p`", word.shown());
                    self.warn(word.problem(message));
                }
            }
            return Ok(None);
        };
        let timeout_s = match given.value {
            Some(word) => value::number(word, 1..=MAX_TIMEOUT_S, "a number of seconds")?,
            None => DEFAULT_PERSISTENCE_S,
        };
        Ok(Some(Persistence {
            timeout_s,
            mask,
            engine,
        }))
    }

    fn server(&mut self, key: Identity, command: Command) -> Read<(What, Place)> {
        let Some(word) = self.value(Flag::Server) else {
            let message = format!("`{}` lacks its real server", self.line.word.shown());
            let problem = self.line.word.problem(message);
            return Err(Box::new(problem.help("expected -r with an address")));
        };
        let (host, port) = value::address(word)?;
        if command == Command::DeleteServer {
            // ipvsadm does not know how packets get there, so the port is as written.
            let address = table::server(key, host, port, false);
            return Ok((What::DeleteServer(key, address), word.place));
        }
        let forward = self.forward()?;
        let unchanged = !forward.rewrites_destination();
        let address = table::server(key, host, port, unchanged);
        if let Some(port) = port.filter(|port| *port != address.port()) {
            let message = format!("the port {port} becomes the service's, {}", address.port());
            self.warn(
                word.problem(message)
                    .help("only -m changes the port, and ipvsadm replaces it too"),
            );
        }
        if host.is_ipv6() != key.is_v6() && !forward.crosses_families() {
            let problem =
                word.problem("Different address family is allowed only for tunneling servers");
            return Err(Box::new(
                problem.help("expected an address of the service's family, or -i"),
            ));
        }
        let weight = self.number(Flag::Weight, "a weight")?.unwrap_or(1);
        let upper = self.number(Flag::Upper, "a threshold")?.unwrap_or(0);
        let lower = self.number(Flag::Lower, "a threshold")?.unwrap_or(0);
        if let Some(word) = self.value(Flag::Lower).filter(|_| lower > upper) {
            let message = format!("the lower threshold {lower} is above the upper one, {upper}");
            return Err(Box::new(
                word.problem(message)
                    .help("expected at most the value of -x"),
            ));
        }
        let real = Real {
            address,
            method: Method {
                forward,
                tunnel: self.tunnel(forward)?,
            },
            weight,
            limits: Limits { upper, lower },
            place: word.place,
        };
        let what = if command == Command::AddServer {
            What::AddServer(key, real)
        } else {
            What::EditServer(key, real)
        };
        Ok((what, word.place))
    }

    fn number(&self, flag: Flag, what: &str) -> Read<Option<u32>> {
        let word = self.value(flag);
        let number = word.map(|word| value::number(word, 0..=MAX_INT, what));
        Ok(number.transpose()?)
    }

    fn forward(&self) -> Read<ForwardMethod> {
        let mut chosen: Option<(ForwardMethod, Word<'_>)> = None;
        for given in &self.line.given {
            let Flag::Forward(forward) = given.flag else {
                continue;
            };
            if let Some((_, first)) = chosen {
                let problem = given
                    .word
                    .problem("a real server has one forwarding method");
                return Err(Box::new(problem.also(first.place, "another is here")));
            }
            chosen = Some((forward, given.word));
        }
        Ok(chosen.map_or(ForwardMethod::Direct, |(forward, _)| forward))
    }

    fn tunnel(&mut self, forward: ForwardMethod) -> Read<Encapsulation> {
        let flags = [
            Flag::TunType,
            Flag::TunPort,
            Flag::TunNocsum,
            Flag::TunCsum,
            Flag::TunRemcsum,
        ];
        if !forward.encapsulates() {
            for flag in flags {
                if let Some(Given { word, .. }) = self.given(flag) {
                    let message = format!("`{}` has no effect without `-i`", word.shown());
                    self.warn(word.problem(message));
                }
            }
            return Ok(Encapsulation::default());
        }
        let kind = match self.value(Flag::TunType) {
            None => TunnelKind::Ipip,
            Some(word) => TunnelKind::by_name(word.text).ok_or_else(|| {
                let message = format!("`{}` is not a tunnel type", word.shown());
                word.problem(message).help("expected ipip, gue or gre")
            })?,
        };
        let port = match self.value(Flag::TunPort) {
            Some(word) => value::number(word, 1..=u32::from(u16::MAX), "a port")?,
            None => 0,
        };
        if let Some(word) = self.value(Flag::TunType)
            && matches!(kind, TunnelKind::Gue { .. })
            && port == 0
        {
            let problem = word.problem("a GUE tunnel lacks its UDP port");
            return Err(Box::new(problem.help("expected --tun-port")));
        }
        let sums = [
            (Flag::TunNocsum, TunnelChecksum::None),
            (Flag::TunCsum, TunnelChecksum::Csum),
            (Flag::TunRemcsum, TunnelChecksum::Remcsum),
        ];
        let mut chosen = sums
            .into_iter()
            .filter(|(flag, _)| self.given(*flag).is_some());
        let checksum = chosen.next().map_or(TunnelChecksum::None, |(_, sum)| sum);
        if let Some(second) = chosen.next().and_then(|(flag, _)| self.given(flag)) {
            let problem = second.word.problem("a tunnel has one kind of checksum");
            let help = "expected one of --tun-nocsum, --tun-csum and --tun-remcsum";
            return Err(Box::new(problem.help(help)));
        }
        Ok(Encapsulation {
            kind,
            port: u16::try_from(port).unwrap_or(0),
            checksum,
        })
    }

    fn timeouts(&self) -> Read<OwnTimeouts> {
        let [tcp, tcp_fin, udp] = self.line.plain.as_slice() else {
            let problem = self.line.word.problem("`--set` takes three times");
            return Err(Box::new(
                problem.help("expected seconds for TCP, TCP after a FIN, and UDP"),
            ));
        };
        // 0 leaves it as it was.
        let time = |word: &Word<'_>| -> Read<Option<Millis>> {
            let seconds = value::number(*word, 0..=MAX_TIMEOUT_S, "a number of seconds")?;
            Ok((seconds != 0).then_some(Millis(seconds * 1000)))
        };
        Ok(OwnTimeouts {
            tcp: time(tcp)?,
            tcp_fin: time(tcp_fin)?,
            udp: time(udp)?,
            ..OwnTimeouts::NONE
        })
    }
}
