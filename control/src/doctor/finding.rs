//! What the doctor says: findings with the commands that mend them, and the machine that it looks at.
//! Nothing is judged here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

plimsoll_dataplane::listed! {
    /// How bad a finding is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Level {
        /// As it should be.
        Ok => "ok",
        /// Could not be looked at, or is as it should be under some conditions.
        Note => "note",
        /// Works, but slower or less surely than it could.
        Warning => "warning",
        /// Does not work.
        Error => "error",
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at: `hugepages`, `cpus`, `device wan`.
    pub about: String,
    /// What was found.
    pub what: String,
    /// Commands that mend it, to be pasted into a shell; what starts with `#` has to be done by hand.
    pub mend: Vec<String>,
}

impl Finding {
    pub(super) fn new(level: Level, about: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            level,
            about: about.into(),
            what: what.into(),
            mend: Vec::new(),
        }
    }

    /// With a command that mends it.
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }
}

/// Where the machine's `/sys` and `/proc` are: `/`, or a folder that looks like it.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// Below this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// What a file says, without blanks around it; `None` if it cannot be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.at(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The number in a file.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// The last part of what a link points to.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.at(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The names in a folder; none if it is not there.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }
}
