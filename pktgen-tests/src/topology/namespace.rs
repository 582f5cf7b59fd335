//! One network namespace and what is done inside it.
//!
//! Must not touch the machine's own network: every command goes through `ip -n` or `ip netns exec`.

use std::path::Path;
use std::process::{Command, Output};

use super::guard;
use super::process::Process;
use crate::error::Result;

/// A network namespace, deleted together with what runs in it when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with `lo` up.
    pub(super) fn new(name: String) -> Result<Self> {
        guard::add_namespace(&name)?;
        let namespace = Self { name };
        namespace.links("link set lo up\n")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs lines of `ip` commands inside, e.g. `"addr add 192.0.2.1/24 dev eth0"`.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn links(&self, lines: &str) -> Result<()> {
        guard::run_with_input(
            Command::new("ip").args(["-n", &self.name, "-batch", "-"]),
            lines,
        )
        .map(drop)
    }

    /// A command that will run inside.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// When it cannot be started or fails.
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        guard::run(&mut self.command(words))
    }

    /// Runs a command inside to its end, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_any(&self, words: &[&str]) -> Result<Output> {
        guard::run_any(&mut self.command(words))
    }

    /// Starts a command inside that keeps running; what it prints goes to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, words: &[&str], log: &Path) -> Result<Process> {
        Process::start(name, &mut self.command(words), log)
    }

    /// Sets kernel parameters, each as `"net.ipv4.ip_forward=1"`.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn sysctl(&self, settings: &[&str]) -> Result<()> {
        let mut words = vec!["sysctl", "-q", "-w"];
        words.extend(settings);
        self.run(&words).map(drop)
    }

    /// Switches off what veth leaves unfinished because nobody on a real wire would see it: checksums that are
    /// still to be filled in, and frames larger than the MTU that a NIC would have cut.
    ///
    /// # Errors
    /// When the interface does not exist.
    pub fn offloads_off(&self, interface: &str) -> Result<()> {
        self.run(&[
            "ethtool", "-K", interface, "tx", "off", "rx", "off", "sg", "off", "tso", "off", "gso",
            "off", "gro", "off",
        ])
        .map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        guard::remove_namespace(&self.name);
    }
}
