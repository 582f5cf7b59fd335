//! How long configurations of many services take: read, compiled, published, and changed under traffic.
//! Times are of one run on this machine; whoever reports them says how many runs there were.

pub mod plan;
mod traffic;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use plimsoll_control::compile;
use plimsoll_control::config::{self, Loaded};
use plimsoll_control::rate::Rates;
use plimsoll_control::report::{self, ReloadResult};
use plimsoll_control::running::{Parts, Running, WorkerHandle};
use plimsoll_control::runtime::{Keeper, RuntimeChanges};
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::delta::Delta;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;
use serde::Serialize;

use plan::PlannedService;
use traffic::Traffic;
pub use traffic::WorkerFigures;

/// The MAC of the only port.
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// For how long the worker is watched while nothing changes, for comparison.
const QUIET: Duration = Duration::from_secs(2);
/// How long a worker may take to begin to use a snapshot before something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The file of the measurement cannot be written, or the system tells nothing about memory.
    #[error("{what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration was refused.
    #[error("the configuration is refused: {0}")]
    Refused(String),
    /// The worker does not follow any more.
    #[error("the worker does not use the new snapshot after {} s", PATIENCE.as_secs())]
    Late,
    /// The worker has panicked.
    #[error("the worker has ended by itself")]
    WorkerEnded,
}

/// All that was measured. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Services, distinct virtual addresses.
    pub services: u32,
    /// Real servers, counted once for each service.
    pub real_servers: usize,
    /// The file's length.
    pub file_bytes: u64,
    /// From the file to a checked configuration: reading, YAML, validation.
    pub load_ms: f64,
    /// From the checked configuration to what the builder is told.
    pub compile_ms: f64,
    /// From that to the first snapshot.
    pub build_ms: f64,
    /// The snapshot, the builder, and one worker's room for counters, for each service.
    pub snapshot_bytes_per_service: f64,
    /// Resident memory of the process once all is in force, for each service.
    pub resident_bytes_per_service: f64,
    /// The most that the process ever had resident, for each service: while a second file was read.
    pub peak_bytes_per_service: f64,
    /// Rates of all services brought up to date once.
    pub rates_ms: f64,
    /// One change at a time without a file: what a command does.
    pub changes: Vec<Change>,
    /// Reloads of the whole file with one change each.
    pub reloads: Vec<Reload>,
    /// The last snapshot freed, and the configuration with it.
    pub drop_ms: f64,
    /// The worker while nothing changed.
    pub quiet: WorkerFigures,
    /// The worker during the changes.
    pub changing: WorkerFigures,
    /// Packets given to the worker in all.
    pub packets: u64,
    /// Packets of these that did not leave for a real server.
    pub lost: u64,
    /// Those that were dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Those that were answered, as a host refuses what it does not serve.
    pub refused: u64,
}

/// One kind of change, made many times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What was changed.
    pub what: &'static str,
    /// From the checked service to the published snapshot: compilation, building, publication,
    /// announcement. The median of all times.
    pub median_ms: f64,
    /// The longest of all times.
    pub longest_ms: f64,
    /// Freeing the former snapshot once the worker has left it, at the longest.
    pub longest_collect_ms: f64,
}

/// One reload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reload {
    /// What was changed.
    pub what: &'static str,
    /// From the file to the checked configuration.
    pub load_ms: f64,
    /// From there to the published snapshot: differences, compilation, building, publication,
    /// announcements, and freeing the former configuration.
    pub put_ms: f64,
    /// From there until the worker uses it.
    pub seen_ms: f64,
    /// Freeing the former snapshot.
    pub collect_ms: f64,
}

/// Measures with `services` services, in a file in `directory`, and at most `reloads` kinds of reload, of
/// which each takes as long as reading the file.
///
/// # Errors
/// When the system or the worker does not do as expected.
pub fn measure(services: u32, reloads: usize, directory: &Path) -> Result<Figures, ServicesError> {
    let snapshot_bytes_per_service = snapshot_bytes(services)?;
    let path = directory.join("services.yaml");
    let planned: Vec<PlannedService> = (0..services).map(PlannedService::new).collect();
    write(&path, &planned)?;
    let file_bytes = std::fs::metadata(&path)
        .map_err(system("the file's length"))?
        .len();

    let (load_ms, loaded) = timed(|| load(&path));
    let loaded = loaded?;
    let real_servers = loaded.valid.reload().services.iter();
    let real_servers = real_servers.map(|service| service.reals.len()).sum();
    let (device_specs, ports) = compile::ports(loaded.valid.start(), &[MAC]);
    let (compile_ms, spec) = timed(|| compile::spec(&device_specs, &ports, loaded.valid.reload()));
    let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
    let (build_ms, first) = timed(|| builder.build(&spec, true));
    drop(spec);
    let mut publisher = Publisher::new(first);
    let worker =
        Traffic::start(&mut publisher, device_specs.len(), MAC).map_err(system("a thread"))?;
    let mut running = Running::new(Parts {
        file: path.clone(),
        loaded,
        devices: Vec::new(),
        builder,
        publisher,
        workers: vec![WorkerHandle {
            cpu: 0,
            stats: Arc::clone(&worker.stats),
            commands: Arc::clone(&worker.commands),
        }],
        ports,
        device_specs,
        start: Instant::now(),
        lost_log_lines: Arc::default(),
        runtime: RuntimeChanges::default(),
        keeper: Keeper::default(),
    });
    let resident = memory("VmRSS")?;
    std::thread::sleep(QUIET);
    let _ = worker.figures();
    std::thread::sleep(QUIET);
    let quiet = worker.figures();

    let changes = changes(&mut running)?;
    let mut made = Vec::new();
    for (what, change) in CHANGES.into_iter().take(reloads) {
        let mut planned = planned.clone();
        change(&mut planned);
        write(&path, &planned)?;
        made.push(reload(what, &mut running, &path)?);
    }
    let changing = worker.figures();
    let mut rates = Rates::new(Time::default());
    let (rates_ms, ()) = timed(|| rates.advance(Time::from_ms(2000), running.snapshot()));
    let stats = Arc::clone(&worker.stats);
    let passed = worker.stop().ok_or(ServicesError::WorkerEnded)?;
    let (drop_ms, ()) = timed(|| drop(running));
    let per_service = |bytes: u64| bytes as f64 / f64::from(services.max(1));
    Ok(Figures {
        services,
        real_servers,
        file_bytes,
        load_ms,
        compile_ms,
        build_ms,
        snapshot_bytes_per_service,
        resident_bytes_per_service: per_service(resident),
        peak_bytes_per_service: per_service(memory("VmHWM")?),
        rates_ms,
        changes,
        reloads: made,
        drop_ms,
        quiet,
        changing,
        packets: passed.sent,
        lost: passed.sent - passed.forwarded,
        drops: report::drops(std::iter::once(&*stats), false),
        refused: stats.replied.value(),
    })
}

/// Times that each kind of change is made without a file.
const TIMES: usize = 50;

/// Makes changes without a file, of services all over the configuration, and undoes each.
fn changes(running: &mut Running) -> Result<Vec<Change>, ServicesError> {
    let reload = running.loaded().valid.reload().clone();
    let step = reload.services.len() / TIMES + 1;
    // Not those that have traffic: a service that is removed may well refuse packets.
    let quiet = reload.services.iter().skip(plan::NEIGHBOURS as usize);
    let spread: Vec<&ServiceSpec> = quiet.step_by(step).collect();
    let mut kinds = [
        Kind::new("a weight", |service, delta| {
            let mut heavier = service.clone();
            heavier.reals.iter_mut().for_each(|real| real.weight = 5);
            delta.services.push(heavier);
        }),
        Kind::new("a weight, back", back),
        Kind::new("a real server added", |service, delta| {
            let mut wider = service.clone();
            let more = service.reals.first().map(|first| RealSpec {
                address: [10, 2, 0, 1].into(),
                port: plan::PORT,
                ..*first
            });
            wider.reals.extend(more);
            delta.services.push(wider);
        }),
        Kind::new("a real server removed", back),
        Kind::new("a service removed", |service, delta| {
            delta.removed.push(service.target.identity());
        }),
        Kind::new("a service added", back),
    ];
    for service in spread {
        for kind in &mut kinds {
            let now = running.now();
            let (ms, ()) = timed(|| {
                let mut delta = Delta {
                    now,
                    ..Delta::default()
                };
                (kind.edit)(service, &mut delta);
                running.change(&delta);
            });
            settle(running)?;
            let (collect_ms, ()) = timed(|| running.collect());
            kind.times.push((ms, collect_ms));
        }
    }
    Ok(kinds.into_iter().map(Kind::figures).collect())
}

/// The service is again as it was in the file.
fn back(service: &ServiceSpec, delta: &mut Delta) {
    delta.services.push(service.clone());
}

/// What is done to a service.
struct Kind {
    what: &'static str,
    edit: fn(&ServiceSpec, &mut Delta),
    /// What each took, in milliseconds: the change, and freeing what was before.
    times: Vec<(f64, f64)>,
}

impl Kind {
    fn new(what: &'static str, edit: fn(&ServiceSpec, &mut Delta)) -> Self {
        Self {
            what,
            edit,
            times: Vec::new(),
        }
    }

    fn figures(self) -> Change {
        let mut times: Vec<f64> = self.times.iter().map(|(change, _)| *change).collect();
        times.sort_by(f64::total_cmp);
        let collects = self.times.iter().map(|(_, collect)| *collect);
        Change {
            what: self.what,
            median_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
            longest_ms: times.last().copied().unwrap_or_default(),
            longest_collect_ms: collects.fold(0.0, f64::max),
        }
    }
}

/// A change of the plan.
type Edit = fn(&mut Vec<PlannedService>);

/// Each is made to the first configuration, so the one before it is undone by the same reload. They
/// are in the middle of the file, as most changes are.
const CHANGES: [(&str, Edit); 5] = [
    ("a weight", |services| {
        let middle = services.len() / 2;
        if let Some(service) = services.get_mut(middle) {
            service.weight = 5;
        }
    }),
    ("nothing but what was before", |_| {}),
    ("a service removed", |services| {
        services.remove(services.len() / 2);
    }),
    ("a service added", |_| {}),
    ("a real server added", |services| {
        let middle = services.len() / 2;
        if let Some(service) = services.get_mut(middle) {
            service.wider = true;
        }
    }),
];

/// A worker that is not told of its snapshots' end for so long has other troubles.
fn settle(running: &Running) -> Result<(), ServicesError> {
    let begun = Instant::now();
    while !running.is_quiescent() {
        if begun.elapsed() > PATIENCE {
            return Err(ServicesError::Late);
        }
        std::hint::spin_loop();
    }
    Ok(())
}

fn reload(what: &'static str, running: &mut Running, path: &Path) -> Result<Reload, ServicesError> {
    let (load_ms, loaded) = timed(|| load(path));
    let loaded = loaded?;
    let (put_ms, outcome) = timed(|| running.put(loaded, false));
    if outcome.result != ReloadResult::Applied {
        return Err(ServicesError::Refused(outcome.report));
    }
    let (seen_ms, seen) = timed(|| settle(running));
    seen?;
    let (collect_ms, ()) = timed(|| running.collect());
    Ok(Reload {
        what,
        load_ms,
        put_ms,
        seen_ms,
        collect_ms,
    })
}

/// Bytes that the builder and a snapshot take for each of `services` services. Nothing large may have
/// been freed before in this process: it would be used again, and not be seen.
fn snapshot_bytes(services: u32) -> Result<f64, ServicesError> {
    const BATCH: u32 = 10_000;
    let mut spec = Spec::default();
    for first in (0..services).step_by(BATCH as usize) {
        let numbers = first..services.min(first.saturating_add(BATCH));
        let loaded = parse(plan::text(numbers.map(PlannedService::new)))?;
        let (devices, ports) = compile::ports(loaded.valid.start(), &[MAC]);
        let batch = compile::spec(&devices, &ports, loaded.valid.reload());
        let mut before = std::mem::replace(&mut spec, batch).services;
        before.append(&mut spec.services);
        spec.services = before;
    }
    let before = memory("VmRSS")?;
    let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
    let snapshot = builder.build(&spec, true);
    let grown = memory("VmRSS")?.saturating_sub(before);
    drop(snapshot);
    Ok(grown as f64 / f64::from(services.max(1)))
}

fn write(path: &Path, services: &[PlannedService]) -> Result<(), ServicesError> {
    let text = plan::text(services.iter().copied());
    std::fs::write(path, text).map_err(system("the configuration cannot be written"))
}

fn load(path: &Path) -> Result<Loaded, ServicesError> {
    config::load(path).map_err(refused)
}

fn parse(text: String) -> Result<Loaded, ServicesError> {
    config::parse("services", text).map_err(refused)
}

fn refused(errors: config::Diagnostics) -> ServicesError {
    ServicesError::Refused(errors.report(false))
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> ServicesError {
    move |source| ServicesError::System { what, source }
}

/// How many milliseconds it took.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed().as_secs_f64() * 1e3, result)
}

/// A figure of this process's memory in bytes, by its name in proc(5), `/proc/pid/status`.
fn memory(name: &str) -> Result<u64, ServicesError> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(system("the memory in use cannot be read"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u64>().ok());
    let missing = || std::io::Error::other(format!("{name} is missing in /proc/self/status"));
    kib.map(|kib| kib * 1024)
        .ok_or_else(missing)
        .map_err(system("the memory in use cannot be read"))
}
