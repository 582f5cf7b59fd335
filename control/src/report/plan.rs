//! What a reload would change: the JSON of `plan`.
//! Nothing is compared here.

use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::config::Diagnostics;

/// `plimsoll plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The file that was read.
    pub file: String,
    /// Whether it is valid; nothing else is said if it is not.
    pub valid: bool,
    /// What a reload would change.
    pub changes: Changes,
    /// What needs a restart: a reload of this file would be refused.
    pub restart: Vec<String>,
    /// What operators have changed and would no longer count.
    pub dropped: Vec<String>,
    /// What operators have changed and would still count.
    pub runtime: Vec<String>,
    /// Services that would lose real servers with sessions.
    pub touched: Vec<Touched>,
    /// What `plimsoll check` would say about the file.
    pub diagnostics: serde_json::Value,
    /// The same for people; empty if there is nothing to say.
    pub report: String,
}

/// A service that would lose real servers with sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// Its name.
    pub service: String,
    /// Sessions of the real servers that would no longer be there; `on_down` says what becomes of them.
    pub sessions: u64,
}

impl Plan {
    /// That of a file that cannot be put in force.
    #[must_use]
    pub fn invalid(file: String, errors: &Diagnostics, colour: bool) -> Self {
        Self {
            file,
            valid: false,
            changes: Changes::default(),
            restart: Vec::new(),
            dropped: Vec::new(),
            runtime: Vec::new(),
            touched: Vec::new(),
            diagnostics: errors.to_json(),
            report: errors.report(colour),
        }
    }

    /// Whether a reload would change anything, or be refused.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !(self.changes.is_empty() && self.restart.is_empty() && self.dropped.is_empty())
    }
}
