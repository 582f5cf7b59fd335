//! A long-running program of a topology: nginx, the daemon, a traffic generator.
//!
//! Must not be leaked: its owner's `Drop` ends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::guard;
use crate::error::{Error, Result};

/// A program that runs until it is told to stop or dropped; its output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command; what it prints is appended to the file `log`.
    pub(super) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .map_err(|source| Error::File {
                    path: log.display().to_string(),
                    source,
                })
        };
        command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        Ok(Self {
            name: name.to_owned(),
            child: guard::spawn(command)?,
            log: log.to_owned(),
            ended: None,
        })
    }

    /// The process id. `ip netns exec` becomes the program, so this is the program's own.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines it has printed, each indented on a line of its own, for error messages.
    #[must_use]
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(30))
            .map(|line| format!("\n    {line}"))
            .collect()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                guard::forget_process(self.child.id());
            }
        }
        self.ended
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            guard::send(self.child.id(), signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Late`] when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Error::Late {
                    what: format!("the end of {}", self.name),
                    seconds: limit.as_secs(),
                    log: self.tail(),
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until `ready` is true; fails early when the program ends before that.
    ///
    /// # Errors
    /// [`Error::Late`] when the deadline passes, [`Error::Failed`] when the program ends.
    pub fn wait_until(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&mut Self) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            if let Some(status) = self.ended() {
                return Err(Error::Failed {
                    command: self.name.clone(),
                    status,
                    stderr: self.tail(),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::Late {
                    what: self.name.clone(),
                    seconds: limit.as_secs(),
                    log: self.tail(),
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks it to end with `signal`, insists after a few seconds, and gives the exit status.
    pub fn stop(&mut self, signal: Signal) -> Option<ExitStatus> {
        self.signal(signal);
        if self.wait(Duration::from_secs(5)).is_err() {
            self.signal(Signal::KILL);
            let _ = self.wait(Duration::from_secs(5));
        }
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Signal::TERM);
    }
}
