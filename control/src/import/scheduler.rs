//! LVS's names of schedulers and of their flags, and what they are called here.
//! Tells nobody which of them a table loses; that is `carry`'s.

use super::line::Word;
use crate::config::diagnostics::{Problem, quoted};
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;

/// What ipvsadm and keepalived take where none is said.
pub(super) const DEFAULT: &str = "wlc";

/// The scheduler that LVS calls so.
pub(super) fn of_lvs(name: &str) -> Option<SchedulerKind> {
    let mut kinds = SchedulerKind::LIST.iter().copied();
    kinds.find(|kind| kind.lvs_name() == Some(name))
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
