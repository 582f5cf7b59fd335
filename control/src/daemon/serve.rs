//! The control thread at work: it obeys signals, looks after the workers and starts who serves the API.
//! It decides nothing about the configuration; `running.rs` does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plimsoll_dpdk::Eal;
use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{error, info, warn};

use super::claims::Claims;
use super::error::DaemonError;
use super::notify::{self, Systemd};
use super::reopen::Reopening;
use super::servers::Servers;
use super::socket::Sockets;
use super::watchdog::{Beat, Watchdog};
use crate::api::Api;
use crate::api::server::Limits;
use crate::config::leaf::print_duration;
use crate::incidents::News;
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::report::{Reload, ReloadResult};
use crate::running::{Port, Running, Shared, lock, reload};

/// How often the control thread looks after things.
const ROUND: Duration = Duration::from_secs(1);

/// Changes of a reload that the log names; nobody reads a million lines.
const MOST_CHANGES: usize = 1000;

/// Signals, waited for from the moment that this is made.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// A log that has reached the limit of file sizes: caught, it is a write that fails, and not the end.
    _file_size: Signal,
}

impl Signals {
    /// In a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(process::Signal::XFSZ.as_raw()))?,
        })
    }
}

/// What is served.
pub(super) struct Plan<'a> {
    pub(super) running: Shared,
    pub(super) metrics: Metrics,
    pub(super) sockets: Sockets,
    pub(super) signals: Signals,
    pub(super) limits: Limits,
    pub(super) eal: &'a Eal,
    pub(super) claims: &'a Claims,
    pub(super) reopening: Reopening<'a>,
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
        limits,
        eal,
        claims,
        mut reopening,
        mut ended,
    } = plan;
    let (control, http, _file) = sockets.into_parts();
    let (tell_reload, mut reloads) = mpsc::unbounded_channel();
    let api = Api::new(running.clone(), metrics, tell_reload.clone());
    // All who answer or watch do so on threads of their own, which end with this function.
    let _servers = Servers::start(control, http, api, limits).map_err(DaemonError::Runtime)?;
    let beat = Beat::default();
    let stats = lock(&running)
        .workers()
        .iter()
        .map(|one| Arc::clone(&one.stats))
        .collect();
    let _watchdog = notify::watchdog_interval()
        .map(|interval| Watchdog::start(interval, stats, Arc::clone(&beat)))
        .transpose()
        .map_err(DaemonError::Runtime)?;

    let mut care = Care::new(running.clone());
    let mut rounds = interval_at(Instant::now() + ROUND, ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    lock(&running).announce_all();
    let mut systemd = Systemd::of_environment();
    systemd.ready(lock(&running).snapshot().generation);
    // Set once it was asked to stop.
    let mut stop_at: Option<Instant> = None;
    loop {
        beat.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            _ = signals.terminate.recv() => {
                let left = lock(&running).sessions_left();
                let drain = lock(&running).loaded().valid.start().drain;
                if stop_at.is_some() || drain.is_zero() || left == 0 {
                    info!(signal = "SIGTERM", left, "asked to stop");
                    return Ok(());
                }
                info!(signal = "SIGTERM", left, "asked to stop: sessions go on for {} at most", print_duration(drain));
                stop_at = Some(Instant::now() + drain);
                notify::draining(ROUND * 5);
            }
            _ = signals.interrupt.recv() => {
                info!(signal = "SIGINT", "asked to stop");
                return Ok(());
            }
            Ok(()) = ended.changed() => {
                let worker = *ended.borrow();
                return Err(DaemonError::WorkerEnded(worker.unwrap_or_default()));
            }
            _ = signals.hangup.recv() => {
                systemd.reloading();
                let (running, tell) = (running.clone(), tell_reload.clone());
                tokio::spawn(async move {
                    // Told to this loop; without it nobody needs to know.
                    let _ = tell.send(reload::reload(&running, false).await);
                });
            }
            Some(reload) = reloads.recv() => {
                log_reload(&reload);
                systemd.ready(reload.generation);
            }
            _ = rounds.tick() => {
                systemd.again();
                claims.hear();
                care.round(eal, &mut reopening);
                if let Some(at) = stop_at {
                    let left = lock(&running).sessions_left();
                    if left == 0 || Instant::now() >= at {
                        info!(left, "sessions have had their time");
                        return Ok(());
                    }
                    notify::draining(ROUND * 5);
                }
            }
        }
    }
}

fn log_news(running: &Running, news: &News) {
    match *news {
        News::Unreachable(port, address) => warn!(
            port = running.port_name(port),
            %address,
            "neighbour does not answer; packets to it are dropped as neighbour_unreachable"
        ),
        News::Reachable(port, address) => {
            info!(port = running.port_name(port), %address, "neighbour answers again");
        }
        News::Forgotten(port, address) => info!(
            port = running.port_name(port),
            %address,
            "no packet waits any more for the neighbour that did not answer"
        ),
        News::Conflict(port, address, mac) => warn!(
            port = running.port_name(port),
            %address,
            %mac,
            "another host claims an address of ours"
        ),
        News::MoreUnreachable(neighbours) => warn!(
            neighbours,
            "more neighbours do not answer; see `plimsoll neighbors`"
        ),
        News::MoreConflicts(claims) => warn!(claims, "other hosts claim more addresses of ours"),
    }
}

fn log_reload(reload: &Reload) {
    let (file, generation) = (reload.file.as_str(), reload.generation);
    for dropped in &reload.dropped {
        warn!(generation, "{dropped}");
    }
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
    announced_twice: bool,
    pressure: Pressure,
}

impl Care {
    fn new(running: Shared) -> Self {
        Self {
            running,
            announced_twice: false,
            pressure: Pressure::default(),
        }
    }

    fn round(&mut self, eal: &Eal, reopening: &mut Reopening<'_>) {
        for message in eal.take_messages() {
            warn!(source = "dpdk", "{}", message.trim_end());
        }
        let mut running = lock(&self.running);
        running.collect();
        running.estimate();
        running.announce_more();
        for service in running.end_drains() {
            info!(
                service = &*service,
                "a drain's deadline has passed: the sessions that are left are ended"
            );
        }
        let now = running.now();
        for one in self.pressure.look(running.stats(), running.snapshot(), now) {
            warn!(
                worker = one.worker,
                service = one.service.as_deref(),
                "{one}"
            );
        }
        reopening.round(&mut running);
        for port in running.check_steering() {
            warn!(
                port = &*port,
                "packets come by other queues than the driver said: flows are spread as if nothing were known of it"
            );
        }
        let mut came_up = false;
        let changed = running.look_at_links();
        let changed = running
            .ports()
            .filter(|port| changed.contains(&port.spec.device));
        for Port { spec, is_up, .. } in changed {
            let (port, kernel) = (&*spec.name, crate::metrics::is_kernel(spec));
            if is_up {
                info!(port, kernel, "link is up");
            } else {
                warn!(
                    port,
                    kernel, "link is down: what would leave by it is dropped"
                );
            }
            came_up |= is_up && !kernel;
        }
        for news in running.look_at_incidents() {
            log_news(&running, &news);
        }
        // A lost first announcement, or a switch that has forgotten us.
        if came_up || !self.announced_twice {
            self.announced_twice = true;
            running.announce_all();
        }
    }
}
