//! A directory below the temporary one that goes with its owner, and the programs that run beside it.
//!
//! Must not outlive its owner: see `guard.rs`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::guard;
use super::process::Process;
use crate::error::Result;

/// A directory below the temporary one that goes with its owner.
#[derive(Debug)]
pub struct WorkDirectory(PathBuf);

impl WorkDirectory {
    /// Makes one. From now on a signal takes down whatever was made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        guard::catch_signals();
        guard::sweep();
        Self::named(&guard::fresh_prefix()?)
    }

    pub(super) fn named(prefix: &str) -> Result<Self> {
        guard::add_directory(prefix).map(Self)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Starts a program outside of all namespaces that keeps running; what it prints goes to `<name>.log` here.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, words: &[&str]) -> Result<Process> {
        let log = self.0.join(format!("{name}.log"));
        Process::start(name, &mut command(words), &log)
    }

    /// Runs a program outside of all namespaces to its end, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_any(&self, words: &[&str]) -> Result<Output> {
        guard::run_any(&mut command(words))
    }
}

fn command(words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        guard::remove_directory(&self.0);
    }
}
