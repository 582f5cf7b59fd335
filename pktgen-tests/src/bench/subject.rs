//! What is measured between two processes: the daemon as a user runs it, or DPDK's testpmd.
//!
//! Must not measure; it starts, asks and ends them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::plan::Plan;
use super::site::{Site, word};
use crate::pktgen::{DaemonOptions, Hugepages, Scenario};
use crate::topology::Process;

/// How long either may take to be ready: a table of a million sessions is written to once.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Packet memory, in MiB.
const MEMORY_MIB: u32 = 256;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// plimsolld with a configuration.
    Plimsoll,
    /// `dpdk-testpmd --forward-mode=macswap`.
    Testpmd,
}

/// One of them, running. Dropping it ends it.
#[derive(Debug)]
pub struct Subject<'s> {
    process: Process,
    site: &'s Site,
    /// plimsoll, for questions; testpmd takes none.
    command: Option<Vec<String>>,
}

/// Whether testpmd is installed.
#[must_use]
pub fn has_testpmd() -> bool {
    Command::new("dpdk-testpmd")
        .arg("--version")
        .output()
        .is_ok()
}

impl<'s> Subject<'s> {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; the error has its last lines.
    pub fn start(kind: Kind, site: &'s Site, plan: &Plan, scenario: &Scenario) -> Result<Self> {
        if let Some(socket) = site.meeting_point() {
            // One that was killed leaves it behind.
            let _ = std::fs::remove_file(socket);
        }
        match kind {
            Kind::Plimsoll => Self::plimsoll(site, plan, scenario),
            Kind::Testpmd => Self::testpmd(site, plan),
        }
    }

    fn plimsoll(site: &'s Site, plan: &Plan, scenario: &Scenario) -> Result<Self> {
        let (config, socket) = (site.file("plimsolld.yaml"), site.file("control.sock"));
        let options = DaemonOptions {
            cpus: vec![plan.subject_cpu],
            hugepages: if site.huge {
                Hugepages::On
            } else {
                Hugepages::Off
            },
            memory_mib: MEMORY_MIB,
            socket: Some(socket.clone()),
            // Any free port: nobody asks there.
            http: Some(([127, 0, 0, 1], 0).into()),
            ..DaemonOptions::new(&site.subject_device())
        };
        std::fs::write(&config, scenario.yaml(&options))
            .with_context(|| config.display().to_string())?;
        let daemon = word(&plan.programs.join("plimsolld"));
        let process = site.start_subject("plimsolld", &[&daemon, "--config", &word(&config)])?;
        let mut subject = Self {
            process,
            site,
            command: Some(vec![
                word(&plan.programs.join("plimsoll")),
                "--socket".to_owned(),
                word(&socket),
            ]),
        };
        let question = subject.question(&["list"]);
        subject.process.wait_until(START_LIMIT, |_| {
            let words: Vec<&str> = question.iter().map(String::as_str).collect();
            let answer = site.ask_subject(&words);
            answer.is_ok_and(|output| output.status.success())
        })?;
        Ok(subject)
    }

    fn testpmd(site: &'s Site, plan: &Plan) -> Result<Self> {
        let cpu = plan.subject_cpu;
        let lcores = format!("0@{cpu},1@{cpu}");
        let memory = MEMORY_MIB.to_string();
        let device = site.subject_device();
        let mut words = vec!["dpdk-testpmd", "--lcores", &lcores, "--no-pci"];
        words.extend([
            "--no-telemetry",
            "--iova-mode=va",
            "-m",
            &memory,
            "--vdev",
            &device,
        ]);
        if site.huge {
            words.extend(["--in-memory", "--single-file-segments"]);
        } else {
            words.extend(["--no-huge", "--no-shconf"]);
        }
        // With statistics it does not wait for a key, which nobody would press.
        words.extend(["--", "--forward-mode=macswap", "--auto-start"]);
        words.extend(["--stats-period=3600", "--total-num-mbufs=16384"]);
        let mut process = site.start_subject("testpmd", &words)?;
        process.wait_until(START_LIMIT, |process| {
            // It prints the port's address when all is set up.
            process.output().contains("Port 0:")
        })?;
        Ok(Self {
            process,
            site,
            command: None,
        })
    }

    fn question(&self, words: &[&str]) -> Vec<String> {
        let mut question = self.command.clone().unwrap_or_default();
        question.extend(words.iter().map(|word| (*word).to_owned()));
        question
    }

    /// Packets that it dropped and counted, by reason; nothing for testpmd.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn drops(&self) -> Result<Vec<(String, u64)>> {
        if self.command.is_none() {
            return Ok(Vec::new());
        }
        let question = self.question(&["drops", "-o", "json"]);
        let words: Vec<&str> = question.iter().map(String::as_str).collect();
        let output = self.site.ask_subject(&words)?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`plimsoll drops`: {}", self.process.tail()))?;
        let Some(drops) = answer.get("drops").and_then(|drops| drops.as_object()) else {
            bail!("`plimsoll drops` answers {answer}");
        };
        let counts = drops
            .iter()
            .filter_map(|(reason, count)| Some((reason.clone(), count.as_u64()?)));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }

    /// Ends it in an orderly way.
    ///
    /// # Errors
    /// When it ends otherwise, or had ended before.
    pub fn end(mut self) -> Result<()> {
        if let Some(status) = self.process.ended() {
            bail!("it had ended by itself ({status}): {}", self.process.tail());
        }
        match self.process.stop(Signal::TERM) {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("it ended with {status}: {}", self.process.tail()),
            None => bail!("it does not end: {}", self.process.tail()),
        }
    }
}

/// Whether a program of ours is where it should be.
#[must_use]
pub fn has_program(plan: &Plan, name: &str) -> bool {
    Path::new(&plan.programs).join(name).is_file()
}
