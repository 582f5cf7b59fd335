//! `plimsoll status`: what runs, how busy it is and what is wrong with it, in few numbers.
//! Field names are a contract. Clients are named nowhere here, so anybody may be told.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Reload, ReloadResult};

/// `plimsoll status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's.
    pub version: String,
    /// The file that was read and that a reload reads.
    pub file: String,
    /// Of the text that is in force: the same for the same text.
    pub fingerprint: String,
    /// Number of the configuration in force; each change counts it up.
    pub generation: u64,
    /// Whole seconds since the daemon was started.
    pub uptime_s: u64,
    /// How many whole seconds `recent` and `busy_ratio` are about: a minute, or all since a later start.
    pub recent_s: u64,
    /// The session tables of all workers together.
    pub sessions: Use,
    /// Services that are configured.
    pub services: u64,
    /// Real servers that are configured, counted once for each service that has them.
    pub reals: u64,
    /// Those of them that operators have drained, disabled or given another weight.
    #[serde(default)]
    pub operator_changes: u64,
    /// Dropped packets.
    pub drops: DropSummary,
    /// Neighbours that packets wait for in vain.
    pub unreachable_neighbors: u64,
    /// Times that another host claimed an address of ours, a virtual one perhaps; once in 10 s for each address.
    pub address_conflicts: Count,
    /// What came of the last reload; left out if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<LastReload>,
    /// In the order of their numbers.
    pub workers: Vec<WorkerStatus>,
    /// In the order of the configuration; then those to the kernel.
    pub ports: Vec<PortStatus>,
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// So much is used.
    pub used: u64,
    /// So much there is.
    pub capacity: u64,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Since the start.
    pub total: u64,
    /// Of late: in the last `recent_s` seconds.
    pub recent: u64,
}

/// How many packets were dropped, and why most of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropSummary {
    /// Since the start.
    pub total: u64,
    /// Of late: in the last `recent_s` seconds.
    pub recent: u64,
    /// The reason of most of those of late; if there are none, of most since the start. Left out if there are none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<TopDrop>,
}

/// A reason why packets are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopDrop {
    /// Its name, as `plimsoll drops` has it.
    pub reason: String,
    /// Since the start.
    pub total: u64,
    /// Of late.
    pub recent: u64,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// What came of it.
    pub result: ReloadResult,
    /// When, in seconds since 1970.
    pub time_s: u64,
    /// If it was refused: the first reason. May quote the file, so it is told on the control socket only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl LastReload {
    /// A reload that ended at this time.
    pub(crate) fn of(reload: &Reload, at: SystemTime) -> Self {
        let why = match reload.result {
            ReloadResult::Applied | ReloadResult::Unchanged => None,
            ReloadResult::RestartNeeded => reload.restart.first().cloned(),
            ReloadResult::Invalid => first_error(&reload.diagnostics),
        };
        Self {
            result: reload.result,
            time_s: at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            why,
        }
    }
}

/// The first error of what [`crate::config::Diagnostics::to_json`] makes, with its line.
fn first_error(diagnostics: &serde_json::Value) -> Option<String> {
    let all = diagnostics.get("diagnostics")?.as_array()?;
    let is_error =
        |one: &&serde_json::Value| one.get("severity").is_none_or(|word| word == "error");
    let first = all.iter().find(is_error)?;
    let message = first.get("message")?.as_str()?;
    let message = message.lines().next()?;
    let line = first.get("line").and_then(serde_json::Value::as_u64);
    Some(line.map_or_else(
        || message.to_owned(),
        |line| format!("line {line}: {message}"),
    ))
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The CPU that it runs on.
    pub cpu: u64,
    /// Sessions in its table.
    pub sessions: u64,
    /// The part of its time, from 0 to 1, that rounds took of late which found work; left out before any was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_ratio: Option<f64>,
    /// Rounds that found work, since the start.
    pub busy_polls: u64,
    /// Rounds that found none.
    pub idle_polls: u64,
}

/// A port; `plimsoll ports` has more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// Whether it is the TAP to the kernel of the port of this name.
    pub kernel: bool,
    /// Its driver.
    pub driver: String,
    /// Its MAC.
    pub mac: String,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Whether it has a link, as far as is known.
    pub link_up: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Changes;
    use crate::config;

    #[test]
    fn a_refused_reload_says_why_in_one_line() {
        let errors = config::parse("f", "version: 1\nservises: []\n").unwrap_err();
        let mut reload = Reload {
            result: ReloadResult::Invalid,
            file: "f".to_owned(),
            generation: 1,
            changes: Changes::default(),
            restart: vec!["dataplane.sessions 1 -> 2".to_owned()],
            dropped: Vec::new(),
            diagnostics: errors.to_json(),
            report: String::new(),
        };
        let at = UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let last = LastReload::of(&reload, at);
        assert_eq!(last.time_s, 1_700_000_000);
        let why = last.why.unwrap();
        assert!(
            why.starts_with("line 2: ") || why.contains("dataplane"),
            "{why}"
        );
        reload.result = ReloadResult::RestartNeeded;
        let why = LastReload::of(&reload, at).why;
        assert_eq!(why.as_deref(), Some("dataplane.sessions 1 -> 2"));
        reload.result = ReloadResult::Applied;
        assert_eq!(LastReload::of(&reload, at).why, None);
    }
}
