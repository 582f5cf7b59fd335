//! Real clients, run in a topology's client namespace: curl, wrk and the UDP probe.
//!
//! Must not retry or forgive: what they count as failed is failed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::endpoint::udp::Seen;
use crate::error::{Error, Result};
use crate::topology::{Process, Topology};

/// The answers to a number of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Requests that were made.
    pub requests: u64,
    /// Requests without an answer, or with another status than 200.
    pub failed: u64,
    /// Good answers by the server that gave them.
    pub by_server: BTreeMap<String, u64>,
    /// What curl complained about.
    pub complaints: String,
}

/// Makes `count` requests one after another, each on a connection of its own.
///
/// # Errors
/// When curl cannot be started; failed requests are counted, they are no error.
pub fn curl(topology: &Topology, to: SocketAddr, count: u64) -> Result<Answers> {
    let url = format!("http://{to}/?[1-{count}]");
    let format = "%{http_code} %header{x-server}\n";
    let words = [
        "curl",
        "-sS",
        "--connect-timeout",
        "5",
        "--max-time",
        "10",
        "-H",
        "Connection: close",
        "-o",
        "/dev/null",
        "-w",
        format,
        &url,
    ];
    let output = topology.client.run_any(&words)?;
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(answers(
        count,
        &String::from_utf8_lossy(&output.stdout),
        complaints,
    ))
}

fn answers(requests: u64, printed: &str, complaints: String) -> Answers {
    let mut by_server: BTreeMap<String, u64> = BTreeMap::new();
    for server in printed.lines().filter_map(|line| line.strip_prefix("200 ")) {
        *by_server.entry(server.to_owned()).or_default() += 1;
    }
    let good: u64 = by_server.values().sum();
    Answers {
        requests,
        failed: requests.saturating_sub(good),
        by_server,
        complaints,
    }
}

/// Runs curl once with further words and gives the body.
///
/// # Errors
/// When the request fails or its status is an error.
pub fn fetch(topology: &Topology, words: &[&str]) -> Result<Vec<u8>> {
    let curl = [
        "curl",
        "-sS",
        "--fail",
        "--connect-timeout",
        "5",
        "--max-time",
        "20",
    ];
    topology
        .client
        .run(&[&curl, words].concat())
        .map(|output| output.stdout)
}

/// What `wrk` has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Answers received.
    pub requests: u64,
    /// Connections that could not be made.
    pub connect_errors: u64,
    /// Connections that broke while reading.
    pub read_errors: u64,
    /// Connections that broke while writing.
    pub write_errors: u64,
    /// Answers that were not a success.
    pub status_errors: u64,
    /// Requests that took too long.
    pub timeouts: u64,
    /// How long it ran.
    pub microseconds: u64,
}

impl Load {
    /// Everything that went wrong.
    #[must_use]
    pub const fn failed(&self) -> u64 {
        self.connect_errors
            + self.read_errors
            + self.write_errors
            + self.status_errors
            + self.timeouts
    }
}

/// A `wrk` at work. Every request is a new connection.
#[derive(Debug)]
pub struct Wrk {
    process: Process,
}

impl Wrk {
    /// Starts `wrk`, which stops by itself after `requests` answers, if given, and after two minutes in any case.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        topology: &Topology,
        to: SocketAddr,
        connections: u32,
        requests: Option<u64>,
    ) -> Result<Self> {
        let script: PathBuf = topology.directory().join("wrk.lua");
        std::fs::write(&script, script_text(requests)).map_err(|source| Error::File {
            path: script.display().to_string(),
            source,
        })?;
        let log = topology.directory().join("wrk.log");
        // Appending would mix this run's summary with an earlier one's.
        let _ = std::fs::remove_file(&log);
        let (url, connections, script) = (
            format!("http://{to}/"),
            connections.to_string(),
            script.display().to_string(),
        );
        let words = [
            "wrk",
            "-t",
            "1",
            "-c",
            &connections,
            "-d",
            "120",
            "--timeout",
            "8",
            "-H",
            "Connection: close",
            "-s",
            &script,
            &url,
        ];
        Ok(Self {
            process: topology.client.start("wrk", &words, &log)?,
        })
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits until the given number of answers has come, then ends it.
    ///
    /// # Errors
    /// When it does not get that far, or its summary cannot be read.
    pub fn finish(mut self) -> Result<Load> {
        self.process
            .wait_until(Duration::from_secs(125), |process| {
                process.output().contains("enough\n") || process.ended().is_some()
            })?;
        self.stop()
    }

    /// Ends it now; what is under way does not count.
    ///
    /// # Errors
    /// When its summary cannot be read.
    pub fn stop(mut self) -> Result<Load> {
        self.process.signal(Signal::INT);
        self.process.wait(Duration::from_secs(20))?;
        summary(&self.process.output())
    }
}

/// wrk counts by time only: the script says when there have been enough answers, and prints the sums for us.
fn script_text(requests: Option<u64>) -> String {
    let count = requests.map_or_else(String::new, |requests| {
        format!(
            "local seen = 0\n\
             function response()\n\
             \x20 seen = seen + 1\n\
             \x20 if seen == {requests} then io.write('enough\\n') io.flush() wrk.thread:stop() end\n\
             end\n"
        )
    });
    format!(
        "{count}function done(summary)\n\
         \x20 local e = summary.errors\n\
         \x20 io.write(string.format('summary %d %d %d %d %d %d %d\\n', summary.requests, e.connect, e.read,\n\
         \x20   e.write, e.status, e.timeout, summary.duration))\n\
         end\n"
    )
}

fn summary(printed: &str) -> Result<Load> {
    let surprise = || Error::Answer {
        what: "wrk".to_owned(),
        answer: printed.to_owned(),
    };
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("summary "))
        .ok_or_else(surprise)?;
    let numbers: Vec<u64> = line
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    let &[
        requests,
        connect_errors,
        read_errors,
        write_errors,
        status_errors,
        timeouts,
        microseconds,
    ] = numbers.as_slice()
    else {
        return Err(surprise());
    };
    Ok(Load {
        requests,
        connect_errors,
        read_errors,
        write_errors,
        status_errors,
        timeouts,
        microseconds,
    })
}

/// Asks the UDP echo from `flows` ports, `per_flow` times each.
///
/// # Errors
/// When the probe cannot be started or its answer not be read.
pub fn udp(
    topology: &Topology,
    to: SocketAddr,
    flows: u32,
    per_flow: u32,
    bytes: usize,
) -> Result<Seen> {
    let (endpoint, to) = (topology.endpoint(), to.to_string());
    let (flows, per_flow, bytes) = (flows.to_string(), per_flow.to_string(), bytes.to_string());
    let words = [
        &endpoint,
        "udp-probe",
        "--to",
        &to,
        "--flows",
        &flows,
        "--per-flow",
        &per_flow,
        "--bytes",
        &bytes,
    ];
    let output = topology.client.run(&words)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    seen(&text).ok_or_else(|| Error::Answer {
        what: "udp-probe".to_owned(),
        answer: text,
    })
}

fn seen(text: &str) -> Option<Seen> {
    let value: Value = serde_json::from_str(text).ok()?;
    let number = |key: &str| value.get(key)?.as_u64();
    let by_server = value.get("by_server")?.as_object()?;
    Some(Seen {
        sent: number("sent")?,
        lost: number("lost")?,
        split_flows: number("split_flows")?,
        by_server: by_server
            .iter()
            .map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_200_has_failed() {
        let answers = answers(
            4,
            "200 server-11\n502 server-13\n200 server-11\n000 \n",
            String::new(),
        );
        assert_eq!((answers.requests, answers.failed), (4, 2));
        assert_eq!(
            answers.by_server,
            BTreeMap::from([("server-11".to_owned(), 2)])
        );
    }

    #[test]
    fn the_summary_of_wrk_is_read() {
        let load = summary("Running\nsummary 10000 0 1 0 2 0 3000000\n").unwrap();
        assert_eq!(
            (load.requests, load.failed(), load.microseconds),
            (10_000, 3, 3_000_000)
        );
        assert!(summary("no such file").is_err());
    }

    #[test]
    fn the_probe_s_answer_is_read_back() {
        let there = Seen {
            sent: 9,
            lost: 2,
            split_flows: 1,
            by_server: BTreeMap::from([("a".to_owned(), 7)]),
        };
        assert_eq!(seen(&there.json().to_string()), Some(there));
    }
}
