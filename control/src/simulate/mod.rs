//! The daemon's pipeline over pcaps, whose timestamps are the clock: no DPDK, no root.
//! Nothing here decides about packets; the workers are the daemon's.

mod counts;
mod error;
mod faults;
mod input;
mod machine;
mod output;

use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_dataplane::id::DeviceId;
use serde::Serialize;

use crate::config::valid::Hugepages;
use crate::config::{self, Loaded, ValidConfig};
use crate::memory::Need;
use crate::output_file::{Identity, OutputFile};
use crate::report;
pub use counts::Counts;
pub use error::SimulateError;
pub use faults::{Faults, QUEUE_FRAMES};
use input::{Capture, Input};
use machine::Machine;
use output::Output;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration at the start.
    pub config: PathBuf,
    /// What arrives on which port. Frames due at one time keep this order. In each capture, a frame
    /// whose time is before that of the frame before arrives together with it.
    pub inputs: Vec<(String, PathBuf)>,
    /// Where to write what leaves which port.
    pub outputs: Vec<(String, PathBuf)>,
    /// Configurations that replace it, by time after the first frame.
    pub reloads: Vec<(Duration, PathBuf)>,
    /// How long after the first frame time runs on, where the last frame or reload comes before that.
    pub end: Option<Duration>,
    /// Instead of the configured capacity.
    pub sessions_per_worker: Option<u32>,
    /// How many workers, at least 1.
    pub workers: usize,
    /// What goes wrong. The run lasts at least until all of it is over.
    pub faults: Faults,
}

/// What the tables and counters stand at when the last event is over.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The configured services with their real servers.
    pub services: Vec<report::Service>,
    /// The sessions that have not ended, in the order of protocol, virtual address and client.
    pub sessions: Vec<report::Session>,
    /// Packets dropped, by reason.
    pub drops: std::collections::BTreeMap<String, u64>,
    /// Frames that went in.
    pub frames_in: u64,
    /// Frames that left through configured ports; what goes to the kernel does not leave.
    pub frames_out: u64,
    /// What became of the frames that went in.
    pub counts: Counts,
    /// The same by worker.
    pub workers: Vec<Counts>,
}

/// Runs the plan to its last event.
///
/// # Errors
/// See [`SimulateError`]. No file has been written or changed then, unless one of several could not be put in its place
/// at the end, or what is written to is no file.
pub fn run(plan: &Plan) -> Result<Report, SimulateError> {
    run_and_report(plan, None)
}

/// Runs the plan to its last event, and writes the report as JSON, if that is wanted.
///
/// # Errors
/// See [`SimulateError`]. When the report cannot be written, the captures are there.
pub fn run_and_report(plan: &Plan, report: Option<&Path>) -> Result<Report, SimulateError> {
    let start = load(&plan.config)?;
    let mut reloads = Vec::new();
    for (at, path) in &plan.reloads {
        let next = load(path)?;
        if let Some(section) = restart_section(&start, &next) {
            return Err(SimulateError::NeedsRestart {
                path: path.clone(),
                section,
            });
        }
        reloads.push((*at, next));
    }
    // Stable: two reloads at one time keep the command line's order.
    reloads.sort_by_key(|(at, _)| *at);
    let mut inputs = Vec::new();
    for (name, path) in &plan.inputs {
        inputs.push(Input::open(device(&start, name)?, path)?);
    }
    check_faults(&start, plan)?;
    let capacity = start.start().sessions_per_worker;
    let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
    let sessions = plan.sessions_per_worker.unwrap_or(capacity);
    let setting = match plan.sessions_per_worker {
        Some(_) => "--sessions-per-worker",
        None => "dataplane.sessions",
    };
    Need::new(plan.workers.max(1), sessions.into(), false, 0).fits(Hugepages::Off, setting)?;
    let Files {
        mut outputs,
        report: report_file,
    } = create(&start, plan, report)?;
    let mut machine = Machine::new(&start, plan.workers.max(1), sessions, &plan.faults);
    let (mut frames_in, mut frames_out) = (0, 0);
    let mut reloads = reloads.into_iter().peekable();
    let mut captures = input::merge(inputs).peekable();
    let first = match captures.peek() {
        Some(Ok(capture)) => capture.at,
        _ => Duration::ZERO,
    };
    loop {
        // A reload comes before frames of the same time.
        let frame_at = match captures.peek() {
            Some(Ok(capture)) => Some(capture.at.saturating_sub(first)),
            Some(Err(_)) => Some(Duration::ZERO),
            None => None,
        };
        let due = reloads.next_if(|(at, _)| frame_at.is_none_or(|frame_at| *at <= frame_at));
        let at = if let Some((at, config)) = due {
            frames_out += machine.advance(at, first, &mut outputs)?;
            machine.reload(&config);
            at
        } else if let Some(capture) = captures.next() {
            let capture = capture?;
            let begin = capture.at;
            let mut burst = vec![capture];
            if let Some(width) = plan.faults.burst {
                let reload_at = reloads.peek().map(|(at, _)| *at);
                let belongs = |at: Duration| {
                    at - begin <= width
                        && reload_at.is_none_or(|reload_at| at.saturating_sub(first) < reload_at)
                };
                while let Some(next) =
                    captures.next_if(|next| next.as_ref().is_ok_and(|next| belongs(next.at)))
                {
                    burst.push(next?);
                }
            }
            let last = burst.last().map_or(begin, |last| last.at);
            let at = last.saturating_sub(first);
            frames_out += machine.advance(at, first, &mut outputs)?;
            for Capture { device, frame, .. } in burst {
                machine.inject(device, &frame);
                frames_in += 1;
            }
            at
        } else {
            break;
        };
        frames_out += machine.settle(at, first, &mut outputs)?;
    }
    if let Some(end) = plan.end {
        frames_out += machine.advance(end, first, &mut outputs)?;
        frames_out += machine.settle(end, first, &mut outputs)?;
    }
    frames_out += machine.finish(first, &mut outputs)?;
    for output in outputs {
        output.finish()?;
    }
    let workers = machine.counts();
    let (services, sessions, drops) = machine.report();
    let report = Report {
        services,
        sessions,
        drops,
        frames_in,
        frames_out,
        counts: Counts::sum(&workers),
        workers,
    };
    if let Some((path, file)) = report_file {
        write_report(&report, file).map_err(|why| SimulateError::Write { path, why })?;
    }
    Ok(report)
}

/// That all that goes wrong is something that exists.
fn check_faults(config: &ValidConfig, plan: &Plan) -> Result<(), SimulateError> {
    let workers = plan.workers.max(1);
    if let Some((worker, _)) = plan.faults.lags.iter().find(|(at, _)| *at >= workers) {
        return Err(SimulateError::NoWorker {
            worker: *worker,
            workers,
        });
    }
    let mut ports = plan.faults.links_down.iter();
    ports.try_for_each(|(name, _)| device(config, name).map(|_| ()))
}

/// What is to be written.
struct Files {
    outputs: Vec<Output>,
    report: Option<(PathBuf, OutputFile)>,
}

/// Begins the files to be written, unless one would take the place of what is read or written already.
fn create(
    config: &ValidConfig,
    plan: &Plan,
    report: Option<&Path>,
) -> Result<Files, SimulateError> {
    let mut outputs: Vec<Output> = Vec::new();
    let reloads = plan.reloads.iter().map(|(_, path)| path);
    let inputs = plan.inputs.iter().map(|(_, path)| path);
    let read = std::iter::once(&plan.config).chain(reloads).chain(inputs);
    let mut used: Vec<_> = read.filter_map(|path| Identity::of(path)).collect();
    let mut claim = |path: &Path| {
        let identity = Identity::of(path);
        if identity.as_ref().is_some_and(|file| used.contains(file)) {
            return Err(SimulateError::SameFile(path.to_owned()));
        }
        used.extend(identity);
        Ok(())
    };
    for (name, path) in &plan.outputs {
        let device = device(config, name)?;
        if outputs.iter().any(|output| output.device == device) {
            return Err(SimulateError::TwoOutputs(name.clone()));
        }
        claim(path)?;
        outputs.push(Output::create(device, path)?);
    }
    let report = report.map(|path| -> Result<_, SimulateError> {
        claim(path)?;
        let file = OutputFile::create(path);
        let file = file.map_err(|why| SimulateError::Write {
            path: path.to_owned(),
            why: why.to_string(),
        })?;
        Ok((path.to_owned(), file))
    });
    Ok(Files {
        outputs,
        report: report.transpose()?,
    })
}

/// Writes the report as JSON.
fn write_report(report: &Report, mut file: OutputFile) -> Result<(), String> {
    serde_json::to_writer_pretty(&mut file, report).map_err(|why| why.to_string())?;
    file.finish().map_err(|why| why.to_string())
}

fn load(path: &Path) -> Result<ValidConfig, SimulateError> {
    let Loaded { valid, .. } = config::load(path).map_err(SimulateError::Config)?;
    Ok(valid)
}

/// The section that differs although only a restart changes it. What only the daemon looks at, such
/// as sockets and CPUs, may differ here.
fn restart_section(old: &ValidConfig, new: &ValidConfig) -> Option<&'static str> {
    (old.start().ports != new.start().ports).then_some("dataplane.ports")
}

/// The device of the configured port with this name.
fn device(config: &ValidConfig, name: &str) -> Result<DeviceId, SimulateError> {
    let ports = &config.start().ports;
    let port = DeviceId::each(ports).find(|(_, port)| port.name == name);
    port.map(|(device, _)| device)
        .ok_or_else(|| SimulateError::NoPort {
            name: name.to_owned(),
            known: ports
                .iter()
                .map(|port| port.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
}
