//! `plimsoll doctor`: what of the machine, the configuration and the network around would keep Plimsoll from working.
//! It changes nothing: each finding has the command that mends it.

mod devices;
pub mod finding;
pub mod live;
mod machine;

use serde::{Deserialize, Serialize};

use crate::config::ValidConfig;
use finding::{Finding, Level, Root};
use live::Live;

/// `plimsoll doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Whether there is nothing that does not work.
    pub works: bool,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

/// Looks at a machine, for a configuration and beside what a running daemon tells; at as much as there is.
#[must_use]
pub fn examine(root: &Root, config: Option<&ValidConfig>, live: Option<&Live>) -> Diagnosis {
    let mut findings = Vec::new();
    findings.push(machine::transparent(root));
    if let Some(config) = config {
        let start = config.start();
        findings.push(machine::hugepages(root, start, live.is_some()));
        findings.extend(machine::cpus(root, start));
        for port in &start.ports {
            findings.extend(devices::device(root, port, start));
        }
    } else {
        let what = "none was looked at: give its file with --config";
        findings.push(Finding::new(Level::Note, "configuration", what));
    }
    match live {
        Some(live) => findings.extend(live::live(live)),
        None => findings.push(Finding::new(
            Level::Note,
            "daemon",
            "none answers: links, neighbours and who claims our addresses were not looked at",
        )),
    }
    Diagnosis {
        works: findings.iter().all(|one| one.level < Level::Error),
        findings,
    }
}

#[cfg(test)]
mod tests;
