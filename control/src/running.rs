//! The running load balancer as the control thread holds it: what is in force, and how to change it.
//! It opens no device and serves nobody; the daemon and the API do.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::id::PortId;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::snapshot::spec::{PortRole, PortSpec, Spec};
use plimsoll_dataplane::snapshot::target::{Target, is_one_address};
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::worker::{Command, Commands, Listing};

use crate::changes::{self, Changes};
use crate::compile;
use crate::config::{self, Diagnostics, Loaded};
use crate::rate::Rates;
use crate::report::{Reload, ReloadResult};

/// What the control thread keeps of one worker.
#[derive(Debug)]
pub struct WorkerHandle {
    /// The CPU that it runs on.
    pub cpu: usize,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// The way to ask it.
    pub commands: Commands,
}

/// What a device counts itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Frames lost since a worker was too slow.
    pub rx_missed: u64,
    /// Broken frames received.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that no buffer was there to receive into.
    pub rx_no_buffer: u64,
    /// Frames that did not fit into one buffer.
    pub rx_too_long: u64,
}

/// A NIC as the control thread sees it.
pub trait Device: Send + std::fmt::Debug {
    /// Its driver.
    fn driver(&self) -> String;
    /// Whether there is a link.
    fn link_up(&self) -> bool;
    /// What it counted.
    fn counts(&self) -> DeviceCounts;
}

/// What a running load balancer is made of.
#[derive(Debug)]
pub struct Parts {
    /// The file that a reload reads.
    pub file: PathBuf,
    /// What was read from it.
    pub loaded: Loaded,
    /// The data plane's ports.
    pub ports: Vec<PortSpec>,
    /// Their devices, in the same order.
    pub devices: Vec<Box<dyn Device>>,
    /// Has built what the publisher begins with.
    pub builder: Builder,
    /// Every worker has subscribed to it.
    pub publisher: Publisher<Snapshot>,
    /// In the order of their numbers.
    pub workers: Vec<WorkerHandle>,
    /// Time 0 of the workers.
    pub start: Instant,
}

/// The running load balancer.
#[derive(Debug)]
pub struct Running {
    parts: Parts,
    rates: Rates,
    started: SystemTime,
    reloads: [u64; ReloadResult::ALL.len()],
}

/// The running load balancer, shared by all that serve somebody on the control thread.
pub type Shared = Arc<Mutex<Running>>;

/// The only one to use it, for a moment.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Running> {
    // All users are on one thread, and one that panicked has taken the process with it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Nothing is changed or announced yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            rates: Rates::new(Time::default()),
            started: SystemTime::now(),
            reloads: [0; ReloadResult::ALL.len()],
        }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        self.parts.publisher.current()
    }

    /// The workers, in the order of their numbers.
    #[must_use]
    pub fn workers(&self) -> &[WorkerHandle] {
        &self.parts.workers
    }

    /// The workers' counters.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> + Clone {
        self.parts.workers.iter().map(|worker| &*worker.stats)
    }

    /// The ports with their devices.
    pub fn ports(&self) -> impl Iterator<Item = (&PortSpec, &dyn Device)> {
        let devices = self.parts.devices.iter().map(|device| &**device);
        self.parts.ports.iter().zip(devices)
    }

    /// Sessions that all workers together can hold.
    #[must_use]
    pub fn session_capacity(&self) -> u64 {
        let workers = u64::try_from(self.parts.workers.len()).unwrap_or(u64::MAX);
        self.parts
            .loaded
            .valid
            .start()
            .sessions_per_worker
            .saturating_mul(workers)
    }

    /// The workers' present time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_ms(0) + self.parts.start.elapsed()
    }

    /// The rates of services and real servers, as of the last [`Self::estimate`].
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// Brings the rates up to date; to be called once a second or so.
    pub fn estimate(&mut self) {
        let now = self.now();
        self.rates.advance(now, self.parts.publisher.current());
    }

    /// When the daemon was started.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The configuration in force.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.parts.loaded
    }

    /// The file that a reload reads.
    #[must_use]
    pub fn file(&self) -> &std::path::Path {
        &self.parts.file
    }

    /// Reloads so far, by what came of them.
    pub fn reloads(&self) -> impl Iterator<Item = (ReloadResult, u64)> {
        ReloadResult::ALL.into_iter().zip(self.reloads)
    }

    /// Reads the file again and puts it in force, all of it or nothing. `colour` is for the report.
    pub fn reload(&mut self, colour: bool) -> Reload {
        let outcome = match config::load(&self.parts.file) {
            Ok(loaded) => return self.put(loaded, colour),
            Err(errors) => Reload {
                report: errors.report(colour),
                ..self.outcome(ReloadResult::Invalid, &errors)
            },
        };
        self.count(outcome.result);
        outcome
    }

    fn count(&mut self, result: ReloadResult) {
        let place = ReloadResult::ALL.iter().position(|one| *one == result);
        if let Some(count) = place.and_then(|place| self.reloads.get_mut(place)) {
            *count += 1;
        }
    }

    /// Puts in force what was read, all of it or nothing. `colour` is for the report.
    pub fn put(&mut self, loaded: Loaded, colour: bool) -> Reload {
        let outcome = self.apply(loaded, colour);
        self.count(outcome.result);
        outcome
    }

    fn apply(&mut self, loaded: Loaded, colour: bool) -> Reload {
        let report = if loaded.warnings.items().is_empty() {
            String::new()
        } else {
            loaded.warnings.report(colour)
        };
        let (old, new) = (&self.parts.loaded.valid, &loaded.valid);
        let restart = changes::restarts(old.start(), new.start());
        if !restart.is_empty() {
            return Reload {
                restart,
                report,
                ..self.outcome(ReloadResult::RestartNeeded, &loaded.warnings)
            };
        }
        let changes = Changes::between(old.reload(), new.reload());
        let result = if old.reload() == new.reload() {
            ReloadResult::Unchanged
        } else {
            let before = self.announcements();
            let now = self.now();
            let spec = Spec {
                now,
                ..compile::spec(&self.parts.ports, new.reload())
            };
            let settled = self.parts.publisher.settled();
            let snapshot = self.parts.builder.build(&spec, settled);
            self.parts.publisher.publish(snapshot);
            self.announce(self.announcements().difference(&before).copied().collect());
            ReloadResult::Applied
        };
        let outcome = Reload {
            changes,
            report,
            ..self.outcome(result, &loaded.warnings)
        };
        self.parts.loaded = loaded;
        outcome
    }

    fn outcome(&self, result: ReloadResult, diagnostics: &Diagnostics) -> Reload {
        Reload {
            result,
            file: self.parts.file.display().to_string(),
            generation: self.snapshot().generation,
            changes: Changes::default(),
            restart: Vec::new(),
            diagnostics: diagnostics.to_json(),
            report: String::new(),
        }
    }

    /// The VIPs that are on a port's own network, where neighbours ask for them.
    fn announcements(&self) -> BTreeSet<(PortId, IpAddr)> {
        let snapshot = self.snapshot();
        let port_of = |address: IpAddr| {
            let places = (0_u16..).zip(snapshot.ports.iter());
            let mut networks =
                places.filter(|(_, port)| matches!(port.role, PortRole::Network { .. }));
            networks.find(|(_, port)| port.addresses.iter().any(|net| net.contains(&address)))
        };
        snapshot
            .configured_services()
            .filter_map(|service| match &service.target {
                // The addresses of a prefix are answered for, but nobody lists them all.
                Target::Vip(vip) if is_one_address(&vip.addresses) => Some(vip.addresses.addr()),
                Target::Vip(_) | Target::Match { .. } => None,
            })
            .filter_map(|address| port_of(address).map(|(id, _)| (PortId(id), address)))
            .collect()
    }

    /// Tells the links about all VIPs, as after a start or when a link came back.
    pub fn announce_all(&self) {
        self.announce(self.announcements().into_iter().collect());
    }

    fn announce(&self, addresses: Vec<(PortId, IpAddr)>) {
        if let Some(worker) = self.parts.workers.first().filter(|_| !addresses.is_empty()) {
            // A worker that is this far behind has other troubles, and neighbours ask by themselves.
            let _ = worker.commands.push(Command::Announce(addresses));
        }
    }

    /// Asks every worker for its sessions; a worker that is too busy to be asked is left out.
    #[must_use]
    pub fn list_sessions(&self) -> Vec<Arc<Listing>> {
        let ask = |worker: &WorkerHandle| {
            let listing = Arc::new(Listing::default());
            let asked = worker.commands.push(Command::List(Arc::clone(&listing)));
            asked.is_ok().then_some(listing)
        };
        self.parts.workers.iter().filter_map(ask).collect()
    }

    /// Whether every worker uses the newest snapshot.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.parts.publisher.settled()
    }

    /// Frees the snapshots that no worker uses any more.
    pub fn collect(&mut self) {
        self.parts.publisher.collect();
    }
}

#[cfg(test)]
pub(crate) mod tests;
