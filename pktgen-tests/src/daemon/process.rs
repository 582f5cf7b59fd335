//! The running daemon and the questions one can ask it.
//!
//! Must not guess: an answer that is not JSON where JSON was asked for is an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::topology::{Process, Topology};

/// How long the daemon may take to be reachable.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where `plimsolld` and `plimsoll` are.
#[derive(Clone, Debug)]
pub struct Binaries {
    daemon: PathBuf,
    command: PathBuf,
}

impl Binaries {
    /// The two programs in this directory.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn in_directory(directory: &Path) -> Result<Self> {
        let find = |name: &str| {
            let path = directory.join(name);
            fs::canonicalize(&path).map_err(|source| Error::File {
                path: path.display().to_string(),
                source,
            })
        };
        Ok(Self {
            daemon: find("plimsolld")?,
            command: find("plimsoll")?,
        })
    }
}

/// A `plimsolld` that ends when dropped.
#[derive(Debug)]
pub struct Daemon<'t> {
    process: Process,
    topology: &'t Topology,
    binaries: Binaries,
}

impl<'t> Daemon<'t> {
    /// Starts the daemon with this configuration and waits until it answers `plimsoll list`.
    ///
    /// # Errors
    /// When it ends, or is not reachable in time: the error has its last lines.
    pub fn start(topology: &'t Topology, binaries: &Binaries, yaml: &str) -> Result<Self> {
        Self::start_by(&[], topology, binaries, yaml)
    }

    /// Like [`Self::start`], by a command that becomes the one whose words follow its own, such as `setpriv`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_by(
        by: &[&str],
        topology: &'t Topology,
        binaries: &Binaries,
        yaml: &str,
    ) -> Result<Self> {
        write_config(topology, yaml)?;
        let config = config_path(topology).display().to_string();
        let program = binaries.daemon.display().to_string();
        let log = topology.directory().join("plimsolld.log");
        let words = [by, &[&program, "--config", &config]].concat();
        let process = topology.lb.start("plimsolld", &words, &log)?;
        let mut daemon = Self {
            process,
            topology,
            binaries: binaries.clone(),
        };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts a second daemon in the same namespace, whose control socket and HTTP address are others, and gives
    /// its exit status and output once it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after a while.
    pub fn second(&self, yaml: &str) -> Result<(ExitStatus, String)> {
        let directory = self.topology.directory();
        let (config, log) = (directory.join("second.yaml"), directory.join("second.log"));
        write(
            &config,
            &yaml
                .replace("control.sock", "second.sock")
                .replace(":9142", ":9143"),
        )?;
        let program = self.binaries.daemon.display().to_string();
        let config = config.display().to_string();
        let words = [&program, "--config", &config];
        let mut process = self.topology.lb.start("plimsolld", &words, &log)?;
        let status = process.wait(START_LIMIT)?;
        Ok((status, process.output()))
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let (topology, binaries) = (self.topology, self.binaries.clone());
        self.process.wait_until(START_LIMIT, |_| {
            ask(topology, &binaries, &["list"]).is_ok_and(|output| output.status.success())
        })
    }

    /// The configuration's path.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        config_path(self.topology)
    }

    /// The control socket's path.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        socket_path(self.topology)
    }

    /// Replaces the configuration's file; it takes effect at the next reload.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, yaml: &str) -> Result<()> {
        write_config(self.topology, yaml)
    }

    /// Runs `plimsoll` with these words, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ask_any(&self, words: &[&str]) -> Result<Output> {
        ask(self.topology, &self.binaries, words)
    }

    /// Runs `plimsoll` with these words and gives what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        let output = self.ask_any(words)?;
        if !output.status.success() {
            return Err(Error::Failed {
                command: format!("plimsoll {}", words.join(" ")),
                status: output.status,
                stderr: format!(
                    "{}{}",
                    String::from_utf8_lossy(&output.stderr),
                    self.process.tail()
                ),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `plimsoll <words> -o json` says.
    ///
    /// # Errors
    /// When it fails or is not JSON.
    pub fn ask_json(&self, words: &[&str]) -> Result<Value> {
        let text = self.ask(&[words, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|error| Error::Answer {
            what: words.join(" "),
            answer: format!("{error}: {text}"),
        })
    }

    /// Dropped packets by reason, without the reasons that have none.
    ///
    /// # Errors
    /// When the daemon's answer is not `{"drops": {"<reason>": <count>}}`.
    pub fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let answer = self.ask_json(&["drops"])?;
        let surprise = || Error::Answer {
            what: "plimsoll drops -o json".to_owned(),
            answer: answer.to_string(),
        };
        let drops = answer
            .get("drops")
            .and_then(Value::as_object)
            .ok_or_else(surprise)?;
        let counts = drops
            .iter()
            .map(|(reason, count)| Some((reason.clone(), count.as_u64()?)));
        let counts: BTreeMap<_, _> = counts.collect::<Option<_>>().ok_or_else(surprise)?;
        Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// The real servers of a service by address, each with its fields as `plimsoll list` has them.
    ///
    /// # Errors
    /// When there is no such service, or the answer has another shape.
    pub fn reals(&self, service: &str) -> Result<BTreeMap<String, Value>> {
        let answer = self.ask_json(&["list", "--stats"])?;
        let surprise = || Error::Answer {
            what: "plimsoll list -o json".to_owned(),
            answer: answer.to_string(),
        };
        let services = answer
            .get("services")
            .and_then(Value::as_array)
            .ok_or_else(surprise)?;
        let found = services
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(service));
        let reals = found
            .and_then(|entry| entry.get("reals"))
            .and_then(Value::as_array)
            .ok_or_else(surprise)?;
        reals
            .iter()
            .map(|real| Some((real.get("address")?.as_str()?.to_owned(), real.clone())))
            .collect::<Option<_>>()
            .ok_or_else(surprise)
    }

    /// How to type a question to this daemon.
    #[must_use]
    pub fn command_line(&self) -> String {
        let command = self.binaries.command.display();
        format!("{command} --socket {}", self.socket_path().display())
    }

    /// The page of metrics.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub fn metrics(&self) -> Result<String> {
        let url = "http://127.0.0.1:9142/metrics";
        let output = self
            .topology
            .lb
            .run(&["curl", "-sS", "--fail", "--max-time", "10", url])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How long it has used a CPU so far, all of its threads together.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = fs::read_to_string(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        cpu_time(&stat).ok_or(Error::Answer {
            what: path,
            answer: stat,
        })
    }

    /// Sends the daemon a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Ends it without a chance to tidy up, as the kernel's OOM killer would.
    pub fn kill(mut self) {
        self.process.stop(Signal::KILL);
    }

    /// Waits until it has ended by itself, and gives the exit status.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait(START_LIMIT)
    }

    /// Ends it in an orderly way and gives the exit status.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM);
        self.process.wait(Duration::from_secs(20))
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}

fn config_path(topology: &Topology) -> PathBuf {
    topology.directory().join("plimsolld.yaml")
}

fn socket_path(topology: &Topology) -> PathBuf {
    topology.directory().join("control.sock")
}

fn write_config(topology: &Topology, yaml: &str) -> Result<()> {
    write(&config_path(topology), yaml)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|source| Error::File {
        path: path.display().to_string(),
        source,
    })
}

fn ask(topology: &Topology, binaries: &Binaries, words: &[&str]) -> Result<Output> {
    let program = binaries.command.display().to_string();
    let socket = socket_path(topology).display().to_string();
    topology
        .lb
        .run_any(&[&[program.as_str(), "--socket", &socket], words].concat())
}

/// proc(5): the fields after the name, which is in parentheses and may hold any character. utime and stime are in
/// ticks of USER_HZ, which is 100 on every architecture that DPDK runs on.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        10 * (ticks + fields.next()?.parse::<u64>().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_in_user_mode_and_in_the_kernel() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 90 0 0 0 150 25 3 4 20 0 3 0 100 1 1";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu_time("7 (plimsolld) R 1"), None);
        assert_eq!(cpu_time(""), None);
    }
}
