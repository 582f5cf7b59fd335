//! A rule line as words and options, by ipvsadm 1.31's own table of options.
//! What the values of options mean is `rule`'s.

use plimsoll_dataplane::spec::forward::ForwardMethod;

use crate::config::diagnostics::{Place, Problem, Problems, begins_like, quoted};

/// A word of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) place: Place,
}

impl<'t> Word<'t> {
    /// The word from its byte `from` on.
    fn tail(self, from: usize) -> Self {
        let (head, text) = self.text.split_at_checked(from).unwrap_or((self.text, ""));
        let skipped = narrow(head.chars().count());
        Self {
            text,
            place: Place {
                column: self.place.column + skipped,
                length: self.place.length.saturating_sub(skipped).max(1),
                ..self.place
            },
        }
    }

    pub(super) fn problem(self, message: impl Into<String>) -> Problem {
        Problem::new(self.place, message)
    }

    /// The word for a message.
    pub(super) fn shown(self) -> String {
        quoted(self.text)
    }
}

/// What a line is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    AddService,
    EditService,
    DeleteService,
    Clear,
    AddServer,
    EditServer,
    DeleteServer,
    Set,
    /// Counters begin anew, which no configuration says.
    Zero,
    /// Starts or stops the sync daemon.
    Daemon,
    /// Nothing that rules are made of.
    Other,
}

/// An option that belongs to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Scheduler,
    SchedulerFlags,
    Persistent,
    Netmask,
    Engine,
    OnePacket,
    Server,
    Forward(ForwardMethod),
    Weight,
    Upper,
    Lower,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
    /// Changes how things are printed only.
    Numeric,
    /// One that only a listing has.
    Listing(&'static str),
    /// One of the sync daemon.
    Daemon(&'static str),
}

#[derive(Debug, Clone, Copy)]
enum Meaning {
    Command(Command),
    Flag(Flag),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// The next word unless it begins with a dash.
    Maybe,
}

struct Known {
    short: Option<char>,
    long: &'static str,
    meaning: Meaning,
    takes: Takes,
}

const fn command(short: Option<char>, long: &'static str, command: Command) -> Known {
    Known {
        short,
        long,
        meaning: Meaning::Command(command),
        takes: Takes::Nothing,
    }
}

const fn flag(short: Option<char>, long: &'static str, flag: Flag, takes: Takes) -> Known {
    Known {
        short,
        long,
        meaning: Meaning::Flag(flag),
        takes,
    }
}

const fn listing(short: Option<char>, long: &'static str) -> Known {
    flag(short, long, Flag::Listing(long), Takes::Nothing)
}

const fn daemon(long: &'static str) -> Known {
    flag(None, long, Flag::Daemon(long), Takes::Value)
}

/// Takes `master` or `backup`.
const fn daemon_command(long: &'static str) -> Known {
    Known {
        takes: Takes::Value,
        ..command(None, long, Command::Daemon)
    }
}

const KNOWN: &[Known] = &[
    command(Some('A'), "add-service", Command::AddService),
    command(Some('E'), "edit-service", Command::EditService),
    command(Some('D'), "delete-service", Command::DeleteService),
    command(Some('C'), "clear", Command::Clear),
    command(Some('a'), "add-server", Command::AddServer),
    command(Some('e'), "edit-server", Command::EditServer),
    command(Some('d'), "delete-server", Command::DeleteServer),
    command(None, "set", Command::Set),
    command(Some('L'), "list", Command::Other),
    command(Some('l'), "list", Command::Other),
    command(Some('R'), "restore", Command::Other),
    command(Some('S'), "save", Command::Other),
    command(Some('Z'), "zero", Command::Zero),
    command(Some('h'), "help", Command::Other),
    daemon_command("start-daemon"),
    daemon_command("stop-daemon"),
    flag(Some('t'), "tcp-service", Flag::Tcp, Takes::Value),
    flag(Some('u'), "udp-service", Flag::Udp, Takes::Value),
    flag(None, "sctp-service", Flag::Sctp, Takes::Value),
    flag(Some('f'), "fwmark-service", Flag::Mark, Takes::Value),
    flag(Some('6'), "ipv6", Flag::Ipv6, Takes::Nothing),
    flag(Some('s'), "scheduler", Flag::Scheduler, Takes::Value),
    flag(Some('b'), "sched-flags", Flag::SchedulerFlags, Takes::Value),
    flag(Some('p'), "persistent", Flag::Persistent, Takes::Maybe),
    flag(Some('M'), "netmask", Flag::Netmask, Takes::Value),
    flag(None, "pe", Flag::Engine, Takes::Value),
    flag(Some('o'), "ops", Flag::OnePacket, Takes::Nothing),
    flag(Some('r'), "real-server", Flag::Server, Takes::Value),
    flag(
        Some('g'),
        "gatewaying",
        Flag::Forward(ForwardMethod::Direct),
        Takes::Nothing,
    ),
    flag(
        Some('i'),
        "ipip",
        Flag::Forward(ForwardMethod::Tunnel),
        Takes::Nothing,
    ),
    flag(
        Some('m'),
        "masquerading",
        Flag::Forward(ForwardMethod::Nat),
        Takes::Nothing,
    ),
    flag(Some('w'), "weight", Flag::Weight, Takes::Value),
    flag(Some('x'), "u-threshold", Flag::Upper, Takes::Value),
    flag(Some('y'), "l-threshold", Flag::Lower, Takes::Value),
    flag(None, "tun-type", Flag::TunType, Takes::Value),
    flag(None, "tun-port", Flag::TunPort, Takes::Value),
    flag(None, "tun-nocsum", Flag::TunNocsum, Takes::Nothing),
    flag(None, "tun-csum", Flag::TunCsum, Takes::Nothing),
    flag(None, "tun-remcsum", Flag::TunRemcsum, Takes::Nothing),
    flag(Some('n'), "numeric", Flag::Numeric, Takes::Nothing),
    listing(Some('c'), "connection"),
    listing(None, "stats"),
    listing(None, "rate"),
    listing(None, "timeout"),
    listing(None, "daemon"),
    listing(None, "thresholds"),
    listing(None, "persistent-conn"),
    listing(None, "tun-info"),
    listing(None, "sort"),
    listing(None, "nosort"),
    listing(None, "exact"),
    daemon("syncid"),
    daemon("sync-maxlen"),
    daemon("mcast-interface"),
    daemon("mcast-group"),
    daemon("mcast-port"),
    daemon("mcast-ttl"),
];

/// An option with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'t> {
    pub(super) flag: Flag,
    /// The option itself.
    pub(super) word: Word<'t>,
    pub(super) value: Option<Word<'t>>,
}

/// A line taken apart.
#[derive(Debug)]
pub(super) struct Line<'t> {
    pub(super) command: Command,
    /// The command's word.
    pub(super) word: Word<'t>,
    pub(super) given: Vec<Given<'t>>,
    /// What follows `--set`.
    pub(super) plain: Vec<Word<'t>>,
}

/// Whether one of the first lines begins with an option of ipvsadm, so that mistakes may be shown with their lines.
pub(super) fn is_familiar(text: &str) -> bool {
    begins_like(text, &['#'], |line| {
        let mut words = words(1, line).into_iter();
        let first = words.find(|word| word.text.rsplit('/').next() != Some("ipvsadm"));
        first.is_some_and(|first| options(first).is_ok())
    })
}

/// Takes a line apart; `None` if there is nothing on it, or nothing that makes sense.
pub(super) fn read<'t>(number: u32, text: &'t str, problems: &mut Problems) -> Option<Line<'t>> {
    let mut words = words(number, text).into_iter().peekable();
    let is_ipvsadm = |word: &Word<'_>| word.text.rsplit('/').next() == Some("ipvsadm");
    let name = words.next_if(is_ipvsadm);
    let first = *words.peek().or(name.as_ref())?;
    let mut command: Option<(Command, Word<'t>)> = None;
    let (mut given, mut plain): (Vec<Given<'t>>, Vec<Word<'t>>) = (Vec::new(), Vec::new());
    let mut good = true;
    while let Some(word) = words.next() {
        let options = match options(word) {
            Ok(options) => options,
            // The three times after `--set`.
            Err(_) if command.is_some_and(|(command, _)| command == Command::Set) => {
                plain.push(word);
                continue;
            }
            Err(problem) => {
                problems.add(problem);
                good = false;
                continue;
            }
        };
        for (known, word, attached) in options {
            let value = match known.takes {
                Takes::Nothing => None,
                Takes::Value => attached.or_else(|| words.next()),
                Takes::Maybe => {
                    attached.or_else(|| words.next_if(|word| !word.text.starts_with('-')))
                }
            };
            if known.takes == Takes::Value && value.is_none() {
                problems.add(
                    word.problem(format!("`{}` lacks its value", word.shown()))
                        .help("expected it behind the option"),
                );
                good = false;
            }
            match known.meaning {
                Meaning::Command(what) => {
                    if let Some((_, first)) = command {
                        problems.add(
                            word.problem("a line has one command, this is its second")
                                .also(first.place, "the first is here"),
                        );
                        good = false;
                    }
                    command = command.or(Some((what, word)));
                }
                Meaning::Flag(flag) => {
                    if let Some(first) = given.iter().find(|other| other.flag == flag) {
                        problems.add(
                            word.problem(format!("`{}` is here twice", word.shown()))
                                .also(first.word.place, "the first is here"),
                        );
                        good = false;
                    }
                    given.push(Given { flag, word, value });
                }
            }
        }
    }
    let Some((command, word)) = command else {
        if good {
            problems.add(first.problem("this line has no command").help(COMMANDS));
        }
        return None;
    };
    if command == Command::Other {
        let message = format!("`{}` makes no rule", word.shown());
        problems.add(word.problem(message).help(COMMANDS));
        return None;
    }
    good.then_some(Line {
        command,
        word,
        given,
        plain,
    })
}

const COMMANDS: &str =
    "expected -A, -E, -D, -C or -Z for a service, -a, -e or -d for a real server, or --set";

type Found<'t> = (&'static Known, Word<'t>, Option<Word<'t>>);

/// The options of one word, the last with the value that is attached to it.
fn options(word: Word<'_>) -> Result<Vec<Found<'_>>, Problem> {
    let unknown = |word: Word<'_>| {
        word.problem(format!("`{}` is no option of ipvsadm", word.shown()))
            .help("expected an option such as -t, -s, -r or -w")
    };
    if let Some(long) = word.text.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or(long);
        let known = KNOWN.iter().find(|known| known.long == name);
        let known = known.ok_or_else(|| unknown(word))?;
        let attached = (name.len() < long.len()).then(|| word.tail("--=".len() + name.len()));
        if let Some(value) = attached.filter(|_| known.takes == Takes::Nothing) {
            return Err(value
                .problem(format!("`--{name}` takes no value"))
                .help("expected the option alone"));
        }
        return Ok(vec![(known, word, attached)]);
    }
    let Some(letters) = word.text.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return Err(word
            .problem(format!("`{}` belongs to no option", word.shown()))
            .help("expected an option such as -t, -s, -r or -w"));
    };
    let mut found = Vec::new();
    for (at, letter) in letters.char_indices() {
        let known = KNOWN.iter().find(|known| known.short == Some(letter));
        let known = known.ok_or_else(|| unknown(word))?;
        let rest = 1 + at + letter.len_utf8();
        if known.takes == Takes::Nothing || rest == word.text.len() {
            found.push((known, word, None));
            continue;
        }
        let equals = usize::from(word.text.get(rest..).is_some_and(|r| r.starts_with('=')));
        found.push((known, word, Some(word.tail(rest + equals))));
        break;
    }
    Ok(found)
}

fn words(line: u32, text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut column = 1;
    // Splitting at every blank keeps the columns: each piece is followed by one.
    for piece in text.split(char::is_whitespace) {
        let length = narrow(piece.chars().count());
        if piece.starts_with('#') {
            break;
        }
        if !piece.is_empty() {
            words.push(Word {
                text: piece,
                place: Place {
                    line,
                    column,
                    length,
                },
            });
        }
        column += length + 1;
    }
    words
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
