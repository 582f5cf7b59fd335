//! `plimsoll drain`, `undrain`, `disable`, `enable` and `weight`: real servers taken out and put back while the daemon
//! runs.
//! The daemon decides and keeps what was ordered; waiting is done here.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::arguments::duration;
use super::client::{Client, NoAnswer, escape};
use super::{Exit, Format, Terminal};
use crate::report::{OrderRequest, RealState, RealStates};
use crate::runtime::{Administration, Ending, Order, RealPattern};

/// How often the sessions that are left are counted.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// How often their number is shown.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// What all of them are told.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// SERVICE/ADDRESS:PORT, or an address, of all services; without port all its ports. IPv6 in brackets.
    #[arg(value_name = "REAL")]
    real: RealPattern,
    /// How to write the result [default: text].
    #[arg(short, long, value_enum)]
    pub(super) output: Option<Format>,
}

/// Have a real server take no new sessions; those that it has go on. It stays so through reloads and restarts, until
/// `undrain` or `enable`.
#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    #[command(flatten)]
    pub(super) common: Common,
    /// Wait until no session is left: TCP and SCTP sessions that are not closing, and UDP flows.
    #[arg(long)]
    wait: bool,
    /// Until when: after that the sessions that are left are ended with --then; without it, waiting ends with exit 1.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// What becomes of the sessions that are left at the deadline. The daemon sees to it, whether or not this waits.
    #[arg(long, requires = "deadline", value_enum)]
    then: Option<Ending>,
}

impl clap::ValueEnum for Ending {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        use plimsoll_dataplane::listed::Listed as _;
        Some(clap::builder::PossibleValue::new((*self).name()).help(self.about()))
    }
}

/// Take a drain back.
#[derive(Debug, clap::Args)]
pub(super) struct Undrain {
    #[command(flatten)]
    pub(super) common: Common,
}

/// Have a real server take no new sessions, and do with those that it has what `on_down` says. It stays so through
/// reloads and restarts, until `enable`.
#[derive(Debug, clap::Args)]
pub(super) struct Disable {
    #[command(flatten)]
    pub(super) common: Common,
}

/// Have a real server that was drained or disabled take new sessions again.
#[derive(Debug, clap::Args)]
pub(super) struct Enable {
    #[command(flatten)]
    pub(super) common: Common,
}

/// Give a real server another weight than the file's. It stays so through reloads and restarts, until `reset`, or until
/// the file says another weight than now.
#[derive(Debug, clap::Args)]
pub(super) struct Weight {
    #[command(flatten)]
    pub(super) common: Common,
    /// 0 to 2147483647, or `reset` for the file's.
    #[arg(value_name = "N|reset", value_parser = weight)]
    weight: NewWeight,
}

/// A weight; `None` is the file's.
#[derive(Debug, Clone, Copy)]
struct NewWeight(Option<u32>);

fn weight(text: &str) -> Result<NewWeight, String> {
    if text == "reset" {
        return Ok(NewWeight(None));
    }
    let number = text.parse::<u32>().ok().filter(|n| *n <= 0x7fff_ffff);
    number
        .map(|number| NewWeight(Some(number)))
        .ok_or_else(|| "expected a number from 0 to 2147483647, or `reset`".to_owned())
}

impl Undrain {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        self.common.order(Order::Undrain, client, terminal)
    }
}

impl Disable {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        self.common.order(Order::Disable, client, terminal)
    }
}

impl Enable {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        self.common.order(Order::Enable, client, terminal)
    }
}

impl Weight {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let weight = self.weight.0;
        self.common
            .order(Order::Weight { weight }, client, terminal)
    }
}

impl Drain {
    pub(super) fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        if self.deadline.is_some() && self.then.is_none() && !self.wait {
            let said = "a --deadline is for --wait, or for what --then says";
            writeln!(terminal.err, "plimsoll: {said}")?;
            return Ok(Exit::Usage);
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let order = Order::Drain {
            deadline_ms: self.deadline.filter(|_| self.then.is_some()).map(ms),
            then: self.then,
        };
        let begin = Instant::now();
        let states = match self.common.send(order, client) {
            Ok(states) => states,
            Err(error) => return error.tell(terminal),
        };
        if !self.wait {
            return self.common.show(&states, terminal);
        }
        if let Some(why) = &states.not_kept {
            tell_not_kept(why, terminal);
        }
        self.watch(begin, states, client, terminal)
    }

    /// Waits until no session is left, or the deadline has passed.
    fn watch(
        &self,
        begin: Instant,
        mut states: RealStates,
        client: &Client,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Exit> {
        let not_kept = states.not_kept.take();
        let text = self.common.output.unwrap_or_default() == Format::Text;
        let mut shown: Option<(u64, Instant)> = None;
        let exit = loop {
            let left: u64 = states.reals.iter().map(|real| real.left).sum();
            let is_new = shown.is_none_or(|(before, at)| {
                before != left && (left == 0 || at.elapsed() >= BETWEEN_LINES)
            });
            if text && is_new {
                shown = Some((left, Instant::now()));
                writeln!(terminal.out, "{}: {}", self.common.real, sessions(left))?;
                terminal.out.flush()?;
            }
            let ended = states.reals.iter().all(|real| real.ended);
            if left == 0 || ended {
                break Exit::Ok;
            }
            let out = |real: &RealState| real.administration == Administration::Drained;
            if let Some(back) = states.reals.iter().find(|real| !out(real)) {
                let (name, is) = (back.name(), back.administration.name());
                writeln!(terminal.err, "plimsoll: {name} is {is} meanwhile")?;
                break Exit::Failed;
            }
            // With `then` the daemon says when it has passed.
            let over = self.deadline.filter(|_| self.then.is_none());
            if over.is_some_and(|deadline| begin.elapsed() >= deadline) {
                let left = sessions(left);
                writeln!(
                    terminal.err,
                    "plimsoll: the deadline has passed: {left}; --then ends them"
                )?;
                break Exit::Failed;
            }
            sleep(BETWEEN_LOOKS);
            states = match self.common.look(client) {
                Ok(states) => states,
                Err(error) => return error.tell(terminal),
            };
        };
        if let (true, Exit::Ok, Some(then)) = (text, exit, self.then)
            && states.reals.iter().any(|real| real.ended)
        {
            let done = match then {
                Ending::Reset => "are reset",
                Ending::Reschedule => "go to other real servers with their next packet",
            };
            writeln!(
                terminal.out,
                "{}: the deadline has passed: sessions that were left {done}",
                self.common.real
            )?;
        }
        states.not_kept = not_kept;
        if !text {
            terminal.json(&states)?;
        }
        Ok(match (exit, &states.not_kept) {
            (Exit::Ok, Some(_)) => Exit::Failed,
            _ => exit,
        })
    }
}

impl Common {
    fn order(
        &self,
        order: Order,
        client: &Client,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<Exit> {
        match self.send(order, client) {
            Ok(states) => self.show(&states, terminal),
            Err(error) => error.tell(terminal),
        }
    }

    fn send(&self, order: Order, client: &Client) -> Result<RealStates, NoAnswer> {
        let real = self.real.to_string();
        client.order("/api/v1/reals", &OrderRequest { real, order })
    }

    fn look(&self, client: &Client) -> Result<RealStates, NoAnswer> {
        let real = self.real.to_string();
        client.get(&format!("/api/v1/reals?real={}", escape(&real)))
    }

    fn show(&self, states: &RealStates, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        match self.output.unwrap_or_default() {
            Format::Json => terminal.json(states)?,
            Format::Text => {
                for real in &states.reals {
                    writeln!(terminal.out, "{}", line(real))?;
                }
            }
        }
        Ok(match &states.not_kept {
            Some(why) => {
                tell_not_kept(why, terminal);
                Exit::Failed
            }
            None => Exit::Ok,
        })
    }
}

fn tell_not_kept(why: &str, terminal: &mut Terminal<'_>) {
    // What the exit code says is true also if nobody reads why.
    let _ = writeln!(
        terminal.err,
        "plimsoll: this is in force, and will not survive a restart of plimsolld: {why}"
    );
}

fn line(real: &RealState) -> String {
    let (name, state, weight) = (real.name(), real.administration.name(), real.weight);
    let of_file = real
        .weight_of_file
        .map_or_else(String::new, |file| format!(" (the file's is {file})"));
    let left = sessions(real.left);
    format!("{name}: {state}, weight {weight}{of_file}, {left}")
}

fn sessions(left: u64) -> String {
    match left {
        0 => "no session is left".to_owned(),
        1 => "1 session is left".to_owned(),
        _ => format!("{left} sessions are left"),
    }
}
