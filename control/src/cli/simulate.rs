//! `plimsoll simulate`: what would the daemon have done with these captures?
//! Asks no daemon; the work is done by `simulate/`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Exit, Terminal};
use crate::simulate::{self, Plan, SimulateError};

/// Run the daemon's pipeline over captures, without DPDK or root.
///
/// Timestamps are the clock; where they run backwards, it stands still. Inputs are pcap or pcapng,
/// outputs are pcap with times in microseconds. A port's MAC is the one in its device string (`mac=...`), else
/// 02:00:00:00:II:01 with II its place in the configuration, from 00.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration at the start.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What arrives on a port. Frames due at one time keep the order of these options.
    #[arg(long = "in", value_name = "PORT=IN.pcap", value_parser = named_file)]
    inputs: Vec<(String, PathBuf)>,
    /// Where to write what leaves a port.
    #[arg(long = "out", value_name = "PORT=OUT.pcap", value_parser = named_file)]
    outputs: Vec<(String, PathBuf)>,
    /// A configuration that replaces it so many seconds after the first frame.
    #[arg(long = "reload", value_name = "SECONDS=FILE.yaml", value_parser = timed_file)]
    reloads: Vec<(Duration, PathBuf)>,
    /// Instead of `dataplane.sessions`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sessions_per_worker: Option<u32>,
    /// How many workers share the ports, as RSS would spread the flows.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Where to write services, sessions and drops as JSON; `-` for stdout.
    #[arg(long, value_name = "OUT.json")]
    report: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let plan = Plan {
            config: self.config,
            inputs: self.inputs,
            outputs: self.outputs,
            reloads: self.reloads,
            sessions_per_worker: self.sessions_per_worker,
            workers: usize::from(self.workers),
        };
        let report = match simulate::run(&plan) {
            Ok(report) => report,
            Err(SimulateError::Config(diagnostics)) => {
                super::check::complain(&diagnostics, terminal);
                return Ok(Exit::InvalidConfig);
            }
            Err(error) => return fail(&error, terminal),
        };
        match self.report {
            Some(path) if path.as_os_str() == "-" => {
                serde_json::to_writer_pretty(&mut *terminal.out, &report)?;
                writeln!(terminal.out)?;
            }
            Some(path) => {
                if let Err(error) = simulate::write_report(&report, &path) {
                    return fail(&error, terminal);
                }
            }
            None => writeln!(
                terminal.out,
                "{} frames in, {} out, {} dropped, {} sessions",
                report.frames_in,
                report.frames_out,
                report.drops.values().sum::<u64>(),
                report.sessions.len(),
            )?,
        }
        Ok(Exit::Ok)
    }
}

fn fail(error: &SimulateError, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    writeln!(terminal.err, "plimsoll: {error}")?;
    Ok(Exit::Failed)
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("expected PORT=FILE".to_owned()),
    }
}

fn timed_file(text: &str) -> Result<(Duration, PathBuf), String> {
    let (seconds, file) = named_file(text).map_err(|_| "expected SECONDS=FILE".to_owned())?;
    // Captures reach no further either.
    const MOST: f64 = u32::MAX as f64;
    let number = seconds.parse().ok();
    let number = number.filter(|number: &f64| (0.0..=MOST).contains(number));
    let at = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    match at {
        Some(at) => Ok((at, file)),
        None => Err(format!(
            "`{seconds}` is no number of seconds from 0 to {MOST}"
        )),
    }
}
