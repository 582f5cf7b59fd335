//! The control thread at work: it serves the API, obeys signals and looks after the workers.
//! It decides nothing about the configuration; `running.rs` does.

use std::future::IntoFuture as _;
use std::io;
use std::time::Duration;

use plimsoll_dpdk::Eal;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing::{error, info, warn};

use super::DaemonError;
use super::notify::{self, Watchdog};
use super::socket::Sockets;
use crate::api::Api;
use crate::metrics::Metrics;
use crate::report::{Reload, ReloadResult};
use crate::running::{self, Shared, lock};

/// How often the control thread looks after things.
const ROUND: Duration = Duration::from_secs(1);

/// Changes of a reload that the log names; nobody reads a million lines.
const MOST_CHANGES: usize = 1000;

/// Signals, waited for from the moment that this is made.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// In a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// What is served.
pub(super) struct Plan<'a> {
    pub(super) running: Shared,
    pub(super) metrics: Metrics,
    pub(super) sockets: Sockets,
    pub(super) signals: Signals,
    pub(super) eal: &'a Eal,
    /// Tells which worker has ended, should one.
    pub(super) ended: watch::Receiver<Option<usize>>,
}

/// Serves until it is told to stop, or a worker has ended.
pub(super) async fn serve(plan: Plan<'_>) -> Result<(), DaemonError> {
    let Plan {
        running,
        metrics,
        sockets,
        mut signals,
        eal,
        mut ended,
    } = plan;
    let (control, http, _file) = sockets.into_parts();
    let listen = || -> io::Result<_> {
        Ok((
            UnixListener::from_std(control)?,
            TcpListener::from_std(http)?,
        ))
    };
    let (control, http) = listen().map_err(DaemonError::Runtime)?;
    let (tell_reload, mut reloads) = mpsc::unbounded_channel();
    let api = Api::new(running.clone(), metrics, tell_reload.clone());
    let control = axum::serve(control, api.clone().control()).into_future();
    let http = axum::serve(http, api.read_only()).into_future();
    // Each question is a task of its own; these two only accept.
    let servers = [tokio::spawn(control), tokio::spawn(http)];

    let mut care = Care::new(running.clone());
    let mut rounds = interval_at(Instant::now() + ROUND, ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = notify::watchdog_interval().map(interval);
    lock(&running).announce_all();
    notify::ready(lock(&running).snapshot().generation);
    let outcome = loop {
        tokio::select! {
            _ = signals.terminate.recv() => {
                info!(signal = "SIGTERM", "asked to stop");
                break Ok(());
            }
            _ = signals.interrupt.recv() => {
                info!(signal = "SIGINT", "asked to stop");
                break Ok(());
            }
            Ok(()) = ended.changed() => {
                let worker = *ended.borrow();
                break Err(DaemonError::WorkerEnded(worker.unwrap_or_default()));
            }
            _ = signals.hangup.recv() => {
                notify::reloading();
                let (running, tell) = (running.clone(), tell_reload.clone());
                tokio::spawn(async move {
                    // Told to this loop; without it nobody needs to know.
                    let _ = tell.send(running::reload(&running, false).await);
                });
            }
            Some(reload) = reloads.recv() => {
                log_reload(&reload);
                notify::ready(reload.generation);
            }
            _ = rounds.tick() => care.round(eal),
            () = next(&mut watchdog) => care.feed_watchdog(),
        }
    };
    for server in servers {
        server.abort();
    }
    outcome
}

/// The next tick; never, without an interval.
async fn next(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn log_reload(reload: &Reload) {
    let (file, generation) = (reload.file.as_str(), reload.generation);
    match reload.result {
        ReloadResult::Applied => {
            let lines = reload.changes.lines();
            for what in lines.iter().take(MOST_CHANGES) {
                info!(generation, "{what}");
            }
            if let Some(more) = lines
                .len()
                .checked_sub(MOST_CHANGES)
                .filter(|more| *more > 0)
            {
                info!(generation, "and {more} other changes");
            }
            info!(file, generation, "configuration reloaded");
        }
        ReloadResult::Unchanged => info!(file, generation, "configuration is in force already"),
        ReloadResult::Invalid => {
            error!(
                file,
                generation, "reload refused, nothing changed: {}", reload.report
            );
        }
        ReloadResult::RestartNeeded => error!(
            file,
            generation,
            "reload refused, nothing changed; it needs a restart: {}",
            reload.restart.join("; ")
        ),
    }
    if reload.result != ReloadResult::Invalid && !reload.report.is_empty() {
        warn!(file, "{}", reload.report);
    }
}

/// What is looked after once in a while.
struct Care {
    running: Shared,
    watchdog: Watchdog,
    well: bool,
    announced_twice: bool,
    /// By port.
    links: Vec<bool>,
}

impl Care {
    fn new(running: Shared) -> Self {
        let links = lock(&running)
            .ports()
            .map(|(_, device)| device.link_up())
            .collect();
        Self {
            running,
            watchdog: Watchdog::default(),
            well: true,
            announced_twice: false,
            links,
        }
    }

    fn round(&mut self, eal: &Eal) {
        for message in eal.take_messages() {
            warn!(source = "dpdk", "{}", message.trim_end());
        }
        let mut running = lock(&self.running);
        running.collect();
        running.estimate();
        running.announce_more();
        let mut came_up = false;
        for ((port, device), was_up) in running.ports().zip(&mut self.links) {
            let is_up = device.link_up();
            if is_up != *was_up {
                let kernel = crate::metrics::is_kernel(port);
                info!(
                    port = &*port.name,
                    kernel,
                    "link is {}",
                    if is_up { "up" } else { "down" }
                );
                *was_up = is_up;
                came_up |= is_up && !kernel;
            }
        }
        // A lost first announcement, or a switch that has forgotten us.
        if came_up || !self.announced_twice {
            self.announced_twice = true;
            running.announce_all();
        }
    }

    fn feed_watchdog(&mut self) {
        let fed = self.watchdog.feed(lock(&self.running).stats());
        if fed != self.well {
            self.well = fed;
            if fed {
                info!("all workers poll again");
            } else {
                error!("a worker does not poll any more; the watchdog is not fed");
            }
        }
    }
}
