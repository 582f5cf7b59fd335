//! LVS's names of schedulers and of their flags, and what they are called here.
//! Tells nobody which of them a table loses; that is `carry`'s.

use super::line::Word;
use crate::config::diagnostics::{Problem, quoted};
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;

/// What ipvsadm and keepalived take where none is said.
pub(super) const DEFAULT: &str = "wlc";
/// Schedulers that `ipvsadm -R` would refuse.
pub(super) const NOT_IN_LVS: [&str; 1] = ["swrr"];
/// Schedulers that are the same under two names: LVS's (Linux 5.12 and later), and the configuration's.
pub(super) const RENAMED: [(&str, &str); 1] = [("twos", "p2c")];

/// LVS's name of a scheduler of the configuration.
pub(super) fn lvs_scheduler(name: &str) -> &str {
    let renamed = RENAMED.iter().find(|(_, here)| *here == name);
    renamed.map_or(name, |(lvs, _)| lvs)
}

/// The configuration's name of a scheduler of LVS.
pub(super) fn own_scheduler(name: &str) -> &str {
    let renamed = RENAMED.iter().find(|(lvs, _)| *lvs == name);
    renamed.map_or(name, |(_, here)| here)
}

/// Whether LVS has a scheduler of this name that can be carried.
pub(super) fn is_lvs_scheduler(name: &str) -> bool {
    let own = own_scheduler(name);
    SchedulerKind::by_name(own).is_some()
        && lvs_scheduler(own) == name
        && !NOT_IN_LVS.contains(&own)
}

/// A list of flags by their names for the scheduler; IPVS knows the numbers flag-1 to flag-3 for all.
pub(super) fn flags(scheduler: &str, word: Word<'_>) -> Result<Vec<String>, Box<Problem>> {
    let mut flags = Vec::new();
    for name in word.text.split(',') {
        let own: &[(&str, &str)] = match scheduler {
            "sh" => &[("flag-1", "sh-fallback"), ("flag-2", "sh-port")],
            "mh" => &[("flag-1", "mh-fallback"), ("flag-2", "mh-port")],
            _ => &[],
        };
        let known = own
            .iter()
            .find(|(number, flag)| name == *number || name == *flag);
        let flag = match known {
            Some((_, flag)) => *flag,
            None if ["flag-1", "flag-2", "flag-3"].contains(&name) => name,
            None => {
                let name = quoted(name);
                let message = format!("`{name}` is not a flag of the scheduler `{scheduler}`");
                let names: Vec<&str> = own.iter().map(|(_, flag)| *flag).collect();
                let expected = [&names[..], &["flag-1", "flag-2", "flag-3"]]
                    .concat()
                    .join(", ");
                let problem = word.problem(message);
                return Err(Box::new(
                    problem.help(format!("expected some of {expected}")),
                ));
            }
        };
        if !flags.iter().any(|other| other == flag) {
            flags.push(flag.to_owned());
        }
    }
    flags.sort();
    Ok(flags)
}
