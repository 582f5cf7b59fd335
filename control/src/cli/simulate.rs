//! `plimsoll simulate`: what would the daemon have done with these captures?
//! Asks no daemon; the work is done by `simulate/`.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::{Exit, Terminal};
use crate::simulate::{self, Faults, Plan, QUEUE_FRAMES, SimulateError};

/// Run the daemon's pipeline over captures, without DPDK or root.
///
/// Timestamps are the clock; where they run backwards, it stands still. Inputs are pcap or pcapng,
/// outputs are pcap with times in microseconds. A port's MAC is the one in its device string (`mac=...`), else
/// 02:00:00:00:II:01 with II its place in the configuration, from 00.
///
/// A frame is received as soon as it arrives, unless the options under "Faults" say otherwise. The run lasts
/// until the last frame and reload are over, and all faults. docs/SIMULATE.md has the fields of the report.
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
    /// How many workers share the ports. Frames are spread as a NIC does that was told how: by the Toeplitz hash of
    /// addresses and ports with Microsoft's key, and fragments by that of their addresses.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Where to write services, sessions, drops and counts of all verdicts as JSON; `-` for stdout.
    #[arg(long, value_name = "OUT.json")]
    report: Option<PathBuf>,
    #[command(flatten)]
    faults: FaultArgs,
}

/// What goes wrong.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Frames that arrive within so many seconds of the first of them arrive in one burst, at the time of the
    /// last; 0 for frames of one time. A worker takes up to 32 of them from a port at once.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    burst: Option<Duration>,
    /// Frames that one worker's receive queue of a port holds; what finds it full is lost. Default: 512.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..))]
    rx_queue: Option<u32>,
    /// Frames that one worker's transmit queue of a port holds and sends within a millisecond; 1024 more wait
    /// for room, further ones are dropped. Default: 512, which are sent at once.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..))]
    tx_queue: Option<u32>,
    /// A worker does not poll from one time to another, in seconds after the first frame. The first worker
    /// is 0.
    #[arg(long = "lag", value_name = "WORKER=FROM..TO", value_parser = lag)]
    lags: Vec<(usize, Range<Duration>)>,
    /// A port's link is down from one time to another, in seconds after the first frame: nothing arrives, and
    /// what is sent waits in the transmit queue.
    #[arg(long = "link-down", value_name = "PORT=FROM..TO", value_parser = outage)]
    links_down: Vec<(String, Range<Duration>)>,
}

impl From<FaultArgs> for Faults {
    fn from(args: FaultArgs) -> Self {
        let frames = |frames| usize::try_from(frames).unwrap_or(QUEUE_FRAMES);
        Self {
            burst: args.burst,
            rx_queue: args.rx_queue.map(frames),
            tx_queue: args.tx_queue.map(frames),
            lags: args.lags,
            links_down: args.links_down,
        }
    }
}

impl Args {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        let plan = Plan {
            config: self.config,
            inputs: self.inputs,
            outputs: self.outputs,
            reloads: self.reloads,
            end: None,
            sessions_per_worker: self.sessions_per_worker,
            workers: usize::from(self.workers),
            faults: self.faults.into(),
        };
        let to_stdout = |path: &&PathBuf| path.as_os_str() == "-";
        let file = self.report.as_ref().filter(|path| !to_stdout(path));
        let report = match simulate::run_and_report(&plan, file.map(PathBuf::as_path)) {
            Ok(report) => report,
            Err(SimulateError::Config(diagnostics)) => {
                super::check::complain(&diagnostics, terminal);
                return Ok(Exit::InvalidConfig);
            }
            Err(error) => return fail(&error, terminal),
        };
        match &self.report {
            Some(path) if to_stdout(&path) => terminal.json(&report)?,
            Some(_) => {}
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
    // The exit code says so too.
    let _ = writeln!(terminal.err, "plimsoll: {error}");
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
    let (at, file) = named_file(text).map_err(|_| "expected SECONDS=FILE".to_owned())?;
    Ok((seconds(&at)?, file))
}

fn seconds(text: &str) -> Result<Duration, String> {
    // Captures reach no further either.
    const MOST: f64 = u32::MAX as f64;
    let number = text.parse().ok();
    let number = number.filter(|number: &f64| (0.0..=MOST).contains(number));
    let time = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    time.ok_or_else(|| format!("`{text}` is no number of seconds from 0 to {MOST}"))
}

fn outage(text: &str) -> Result<(String, Range<Duration>), String> {
    let (name, time) = text.split_once('=').unwrap_or_default();
    match time.split_once("..") {
        Some((from, to)) if !name.is_empty() => {
            let time = seconds(from)?..seconds(to)?;
            if time.is_empty() {
                return Err(format!("`{to}` s is not after `{from}` s"));
            }
            Ok((name.to_owned(), time))
        }
        _ => Err("expected NAME=FROM..TO".to_owned()),
    }
}

fn lag(text: &str) -> Result<(usize, Range<Duration>), String> {
    let (worker, time) = outage(text)?;
    let number = worker.parse();
    number
        .map(|number| (number, time))
        .map_err(|_| format!("`{worker}` is no worker's number"))
}
