//! `plimsolld`: from a configuration file to workers that poll, and back to nothing.
//! The only place that knows both the control thread and DPDK.

mod claims;
mod clock;
mod cpus;
mod crash;
mod error;
mod hardware;
mod idle;
mod log;
mod notify;
mod privileges;
mod reopen;
mod serve;
mod servers;
mod socket;
mod watchdog;
mod worker;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ahash::RandomState;
use clap::Parser;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::steering::KEY_BYTES;
use plimsoll_dpdk::Coverage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{error, info, warn};

use crate::api::server::Limits;
use crate::cli::Exit;
use crate::compile;
use crate::config::{self, Loaded};
use crate::memory::Need;
use crate::metrics::Metrics;
use crate::running::{Parts, Running};
use crate::runtime::{self, Keeper, RuntimeChanges};
use error::DaemonError;
use hardware::Hardware;
use log::Log;
pub use log::LogFormat;
use reopen::Reopening;
use worker::Workers;

/// The load balancer: owns its NICs and forwards packets until SIGTERM. SIGHUP reloads the
/// configuration, as `plimsoll reload` does.
#[derive(Debug, Parser)]
#[command(name = "plimsolld", version)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How to write the log to stderr; PLIMSOLL_LOG sets what is logged [default: info].
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return ExitCode::from(exit.code());
        }
    };
    // Before the first further thread, which would not be bound by it.
    let bound = privileges::begin();
    let log = match Log::start(args.log_format) {
        Ok(log) => log,
        Err(error) => {
            // There is nobody else to tell.
            let _ = writeln!(io::stderr(), "plimsolld: no thread for the log: {error}");
            return ExitCode::from(Exit::Failed.code());
        }
    };
    crash::watch();
    if let Err(error) = bound {
        warn!(%error, "cannot rule out that a program with the set-user-ID bit gets more rights");
    }
    let exit = logged(&args, &log);
    log.finish();
    ExitCode::from(exit.code())
}

/// The whole program but for its arguments and the last lines of its log.
fn logged(args: &Args, log: &Log) -> Exit {
    let loaded = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.raw(errors.report(colour));
            return Exit::InvalidConfig;
        }
    };
    for warning in loaded.warnings.items() {
        warn!(file = %args.config.display(), "{}", warning.message);
    }
    match run(&args.config, loaded, log) {
        Ok(()) => {
            info!("stopped");
            Exit::Ok
        }
        Err(error) => {
            error!("{error}");
            Exit::Failed
        }
    }
}

/// Everything from the first CPU to the last packet, in order.
fn run(file: &Path, loaded: Loaded, log: &Log) -> Result<(), DaemonError> {
    // As it is told to those who ask from elsewhere.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let start = loaded.valid.start().clone();
    let descriptors = raise_descriptors();
    let placement = cpus::place(start.cpus.as_deref(), &cpus::usable())?;
    Need::of(&loaded.valid, placement.workers.len()).fits(start.hugepages, "dataplane.sessions")?;
    let sockets = socket::Sockets::bind(&start.socket, start.http)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    let claims = runtime.block_on(async { claims::Claims::take(&start.ports) })?;
    // Before DPDK starts, which takes a while: until then SIGHUP would end the process.
    let signals = runtime
        .block_on(async { serve::Signals::new() })
        .map_err(DaemonError::Runtime)?;
    // DPDK's helper threads stay on the CPU that this thread is on when it starts.
    if let Some(cpu) = placement.control {
        cpus::pin(cpu);
        log.pin(cpu);
    }
    // Its thread stays on this one's CPU too.
    let (keeper, mut changes) = Keeper::open(start.state.as_deref())?;
    tell_changes(&mut changes, &loaded, &keeper);

    let mut hash_key = [0; KEY_BYTES];
    fill_random(&mut hash_key)?;
    let hardware = Hardware::open(&start, placement.workers.len(), hash_key)?;
    privileges::reduce(&start.ports, &file);
    let (builder, mut publisher) = compiled(&loaded, &changes, &hardware, placement.workers.len())?;
    let time_zero = Instant::now();
    let Hardware {
        eal,
        pool,
        specs,
        device_specs,
        devices,
        configs,
        queues,
        steering,
    } = hardware;
    let workers = Workers::start(worker::Plan {
        cpus: &placement.workers,
        sessions: u32::try_from(start.sessions_per_worker).unwrap_or(u32::MAX),
        keys: random_words()?,
        side_lines: loaded.valid.has_side_lines(),
        cycles_per_second: eal.cycles_per_second(),
        idle: start.idle,
        steering,
        queues,
        pool: &pool,
        publisher: &mut publisher,
        time_zero,
    })?;
    let services = loaded.valid.reload().services.len();
    let running = Arc::new(Mutex::new(Running::new(Parts {
        file,
        loaded,
        ports: specs,
        device_specs,
        devices,
        builder,
        publisher,
        workers: workers.handles(),
        start: time_zero,
        lost_log_lines: Arc::clone(log.lost()),
        runtime: changes,
        keeper,
    })));
    let metrics = Metrics::new(Arc::clone(&running))?;
    info!(
        workers = placement.workers.len(),
        cpus = ?placement.workers,
        services,
        socket = %start.socket.display(),
        http = %start.http.map_or_else(|| "off".to_owned(), |address| address.to_string()),
        "ready"
    );
    tell_pages();
    let outcome = runtime.block_on(serve::serve(serve::Plan {
        running,
        metrics,
        sockets,
        signals,
        limits: Limits::of_descriptors(descriptors),
        eal: &eal,
        claims: &claims,
        reopening: Reopening::new(&eal, &pool, configs, workers.mailboxes()),
        ended: workers.ended(),
    }));
    notify::stopping();
    info!("stopping");
    // The queues go with the workers, and then the ports with `running`'s last owner.
    workers.stop();
    // A file that is being read just now is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Lets this process open as many descriptors as the system allows it to; returns how many these are.
fn raise_descriptors() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, all) {
        Ok(()) => all.current,
        Err(_) => before.current,
    };
    limit.unwrap_or(u64::MAX)
}

/// Says what operators have changed before, and drops what no longer counts.
fn tell_changes(changes: &mut RuntimeChanges, loaded: &Loaded, keeper: &Keeper) {
    let services = &loaded.valid.reload().services;
    let dropped = changes.rebase(services);
    for one in &dropped {
        let service = services.find(&one.service);
        warn!("{}", one.words(service.map(|service| &*service.name)));
    }
    if !dropped.is_empty() {
        // Said in the log if it fails.
        drop(keeper.save(changes));
    }
    for ((service, (address, port)), change) in changes.iter() {
        let service = services.find(&service).map(|service| &*service.name);
        let real = SocketAddr::new(address, port);
        info!(service, %real, "an operator has changed this real server: {}", change.words());
    }
}

/// The first snapshot.
fn compiled(
    loaded: &Loaded,
    changes: &RuntimeChanges,
    hardware: &Hardware,
    workers: usize,
) -> Result<(Builder, Publisher<plimsoll_dataplane::snapshot::Snapshot>), DaemonError> {
    let [a, b, c, d] = random_words()?;
    let mut builder = Builder::new(workers, &RandomState::with_seeds(a, b, c, d));
    let mut spec = compile::spec(
        &hardware.device_specs,
        &hardware.specs,
        loaded.valid.reload(),
    );
    for service in &mut spec.services {
        changes.lay_over(service, runtime::now_ms());
    }
    let first = builder.build(&spec, true);
    Ok((builder, Publisher::new(first)))
}

/// Says how much of the tables' memory is in huge pages, which the workers have written by now.
fn tell_pages() {
    let coverage = match Coverage::here() {
        Ok(coverage) => coverage,
        Err(error) => return warn!(%error, "cannot tell which pages the tables are in"),
    };
    let (tables_mib, huge_mib) = (coverage.resident >> 20, coverage.huge >> 20);
    match coverage.percent() {
        Some(..90) => warn!(
            tables_mib,
            huge_mib,
            "the kernel had too few free huge pages for the tables, so lookups wait longer for memory: start earlier \
             after boot, and see that /sys/kernel/mm/transparent_hugepage/enabled is not `never`"
        ),
        Some(_) => info!(tables_mib, huge_mib, "the tables are in huge pages"),
        None => info!("no table is in huge pages: they are small, or this kernel has none"),
    }
}

/// Numbers that no attacker knows, so that none can aim at one bucket of a table.
fn random_words() -> Result<[u64; 4], DaemonError> {
    let mut words = [0; 4];
    for word in &mut words {
        let mut bytes = [0; 8];
        fill_random(&mut bytes)?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}

fn fill_random(bytes: &mut [u8]) -> Result<(), DaemonError> {
    let mut source = std::fs::File::open("/dev/urandom").map_err(DaemonError::Random)?;
    source.read_exact(bytes).map_err(DaemonError::Random)
}
