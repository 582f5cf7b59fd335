//! What of a table the configuration can carry: its own checks are asked, and what they refuse is left out and told.
//! Reads no rules and knows no format but the one that it has written.

use std::collections::{BTreeSet, HashSet};

use super::scheduler::of_lvs;
use super::sysctl::Sysctls;
use super::table::Table;
use super::yaml::{self, Output};
use crate::config;
use crate::config::diagnostics::{Place, Problem, Problems, Severity};
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::target::{Identity, Mark};
use plimsoll_dataplane::spec::timeouts::OwnTimeouts;

/// Removals that may show further mistakes; each removes all that is known to be wrong.
const ROUNDS: usize = 16;

/// What a mistake of the configuration is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// The table's service of this number.
    Service(usize),
    /// A real server of a service.
    Real(usize, usize),
    /// One of the timeouts that are set.
    Timeout,
    /// A sysctl.
    Sysctl,
}

/// The configuration of a table, from which is removed what it cannot carry. What was removed is an error of
/// `problems`, what is odd about the rest a warning.
pub(super) fn carry(table: &mut Table, output: &Output<'_>, problems: &mut Problems) -> String {
    unmarked(table, problems);
    schedulers(table, problems);
    let mut told = HashSet::new();
    for round in 0.. {
        let yaml = yaml::whole(table, output);
        // Where ports are not even written, nothing is said about how real servers are reached.
        let found = match output.base {
            Some(_) => config::problems(&yaml),
            None => config::problems(&format!("{yaml}version: 1\ndataplane: {{}}\n")),
        };
        let mut lost = BTreeSet::new();
        let mut others = 0;
        for problem in found.kept() {
            let about = about(table, &problem.path);
            if problem.severity == Severity::Error {
                match about {
                    Some(about) => {
                        lost.insert(about);
                        lose(table, about, problem, &mut told, problems);
                    }
                    // Without a base something always lacks.
                    None => others += usize::from(output.base.is_some()),
                }
            }
        }
        if lost.is_empty() && others == 0 {
            for problem in found.kept() {
                note(table, problem, output.base.is_some(), &mut told, problems);
            }
            return yaml;
        }
        if lost.is_empty() || round >= ROUNDS {
            give_up(table, problems);
            return yaml::whole(table, output);
        }
        remove(table, &lost);
    }
    // The loop has no other end.
    String::new()
}

/// A base is valid without services, so this is.
fn give_up(table: &mut Table, problems: &mut Problems) {
    let count = table.services().len();
    table.retain(|_| false);
    let message =
        format!("these rules make no valid configuration: all {count} services are left out");
    problems.add(Problem::unplaced(message).help("import them in parts to see which it is"));
}

/// Removes the services whose marks no packet has.
fn unmarked(table: &mut Table, problems: &mut Problems) {
    let carried: HashSet<Identity> = table.carried().iter().map(|one| one.service.key).collect();
    for service in table.services() {
        let Identity::Mark(Mark { number, is_v6 }) = service.key else {
            continue;
        };
        if carried.contains(&service.key) {
            continue;
        }
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        let (message, help) = if table.marks.is_empty() {
            (
                format!("the service of firewall mark {number} ({family}) is left out"),
                "packets are not marked here: give the rules that do (`iptables-save`, `nft list ruleset`) with --marks",
            )
        } else {
            (
                format!(
                    "no rule of the marks gives an {family} packet the mark {number}: its service is left out"
                ),
                "expected a rule that sets it in a chain of the hooks prerouting or input",
            )
        };
        problems.add(Problem::new(service.place, message).help(help));
    }
    table.retain(|service| {
        !matches!(service.key, Identity::Mark(_)) || carried.contains(&service.key)
    });
}

/// Sees to the schedulers' names and flags.
fn schedulers(table: &mut Table, problems: &mut Problems) {
    for service in table.services_mut() {
        let name = config::diagnostics::quoted(&service.scheduler);
        match of_lvs(&service.scheduler) {
            Some(kind) if kind.name() == service.scheduler => {}
            Some(kind) => {
                let message = format!("the scheduler `{name}` becomes `{}`", kind.name());
                let help = "both draw two real servers by weight and take the one with fewer sessions for its weight";
                let problem = Problem::new(service.place, message).help(help);
                problems.add(problem.warning());
            }
            None => {
                let message = format!("`{name}` is no scheduler of LVS: the service is left out");
                let known = SchedulerKind::LIST.iter();
                let known: Vec<&str> = known.filter_map(|kind| kind.lvs_name()).collect();
                let help = format!("write one of {}", known.join(", "));
                problems.add(Problem::new(service.place, message).help(help));
            }
        }
        let before = service.flags.len();
        // IPVS's schedulers look at no flag by its number but at those that have names (`scheduler::flags`).
        service.flags.retain(|flag| !flag.starts_with("flag-"));
        if service.flags.len() < before {
            let message =
                format!("the scheduler `{name}` takes no notice of its flags, which are left out");
            problems.add(Problem::new(service.place, message).warning());
        }
    }
    table.retain(|service| of_lvs(&service.scheduler).is_some());
}

/// What is at `services[3].reals[1].upper` and the like.
fn about(table: &Table, path: &str) -> Option<About> {
    let index = |text: &str| -> Option<usize> { text.split(']').next()?.parse().ok() };
    if path.starts_with("timeouts") {
        return (table.timeouts != OwnTimeouts::NONE).then_some(About::Timeout);
    }
    if path.starts_with("ipvs") {
        return (!table.sysctls.is_empty()).then_some(About::Sysctl);
    }
    let rest = path.strip_prefix("services[")?;
    let service = table.carried().get(index(rest)?)?.index;
    let real = rest
        .split_once("].reals[")
        .and_then(|(_, rest)| index(rest));
    Some(match real {
        Some(real) => About::Real(service, real),
        None => About::Service(service),
    })
}

/// The rule that something is about.
fn place(table: &Table, about: About) -> Option<Place> {
    match about {
        About::Service(service) => Some(table.services().get(service)?.place),
        About::Real(service, real) => Some(table.services().get(service)?.reals.get(real)?.place),
        About::Timeout | About::Sysctl => None,
    }
}

/// Tells what is left out, and how to get it.
fn lose(
    table: &Table,
    about: About,
    found: &Problem,
    told: &mut HashSet<(Option<Place>, String)>,
    problems: &mut Problems,
) {
    let service = |at: usize| table.services().get(at);
    let (what, loopback) = match about {
        About::Service(at) => {
            let key = service(at).map(|service| service.key);
            let is_loopback =
                matches!(key, Some(Identity::Vip(vip)) if vip.addresses.addr().is_loopback());
            let help = "only programs on the director itself could send there, as to kube-proxy's node ports";
            ("the service is left out", is_loopback.then_some(help))
        }
        About::Real(at, nth) => {
            let real = service(at).and_then(|service| service.reals.get(nth));
            let is_loopback = real.is_some_and(|real| real.address.ip().is_loopback());
            let help = "LVS's local node: write an address of one of Plimsoll's own ports with `kernel: true`, and \
                        `forward: dr`";
            ("the real server is left out", is_loopback.then_some(help))
        }
        About::Timeout => ("the timeouts are left out", None),
        About::Sysctl => ("the sysctls are left out", None),
    };
    let message = format!("{}: {what}", found.message);
    let place = place(table, about);
    if !told.insert((place, message.clone())) {
        return;
    }
    let problem = Problem {
        place,
        ..Problem::unplaced(message)
    };
    let help = loopback.map(str::to_owned).or_else(|| found.help.clone());
    problems.add(problem.path(&found.path).maybe_help(help));
}

/// Tells what is odd about the configuration.
fn note(
    table: &Table,
    found: &Problem,
    whole: bool,
    told: &mut HashSet<(Option<Place>, String)>,
    problems: &mut Problems,
) {
    let place = about(table, &found.path).and_then(|about| place(table, about));
    // One rule of keepalived may make many services.
    if !whole && place.is_none() || !told.insert((place, found.message.clone())) {
        return;
    }
    // Its other places are those of the configuration that was written, not of the rules.
    problems.add(Problem {
        severity: Severity::Warning,
        place,
        also: Vec::new(),
        ..found.clone()
    });
}

/// Removes what cannot be carried; numbers are those from before.
fn remove(table: &mut Table, lost: &BTreeSet<About>) {
    for (at, service) in table.services_mut().iter_mut().enumerate() {
        let mut nth = 0;
        service.reals.retain(|_| {
            nth += 1;
            !lost.contains(&About::Real(at, nth - 1))
        });
    }
    let mut at = 0;
    table.retain(|_| {
        at += 1;
        !lost.contains(&About::Service(at - 1))
    });
    if lost.contains(&About::Timeout) {
        table.timeouts = OwnTimeouts::NONE;
    }
    if lost.contains(&About::Sysctl) {
        table.sysctls = Sysctls::default();
    }
}

/// What was told, for those who read the configuration later. `shown` is how a place reads.
pub(super) fn comments(problems: &Problems, shown: impl Fn(Place) -> String) -> String {
    let mut lines: Vec<(Option<Place>, String)> = problems
        .kept()
        .iter()
        .map(|problem| {
            let place = problem
                .place
                .map_or_else(String::new, |place| shown(place) + ": ");
            // A line of a comment, whatever was quoted.
            let message = problem.message.replace(char::is_control, " ");
            (problem.place, format!("#   {place}{message}\n"))
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    lines.sort();
    let lines = lines.into_iter().map(|(_, line)| line);
    let lines: String = lines.collect();
    format!("# What the import has told:\n{lines}")
}
