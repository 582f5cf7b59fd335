//! The running load balancer as the control thread holds it: what is in force, and how to change it.
//! It opens no device and serves nobody; the daemon and the API do.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use ipnet::IpNet;
use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::delta::Delta;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::spec::network::{DeviceSpec, PortRole, PortSpec};
use plimsoll_dataplane::spec::target::{Target, is_one_address};
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::worker::{Command, Commands, Listing, NeighbourListing};

use crate::changes::{self, Changes, Difference};
use crate::compile;
use crate::config::{self, Diagnostics, Loaded};
use crate::incidents::{News, Unreachable, Watch};
use crate::links::Links;
use crate::rate::Rates;
use crate::recent::Recent;
use crate::report::status::LastReload;
use crate::report::{Live, Reload, ReloadResult};
use crate::runtime::{self, Keeper, RuntimeChanges};

mod orders;
mod planning;
pub mod reload;

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
    /// Whether there is a link; `None` if that cannot be found out at present, say for want of descriptors.
    fn link(&self) -> Option<bool>;
    /// Whether it is still there: the interface that it borrows, or that was made for it, may have been deleted.
    fn is_present(&self) -> bool {
        true
    }
    /// What it counted.
    fn counts(&self) -> DeviceCounts;
}

/// A port with its device.
#[derive(Debug, Clone, Copy)]
pub struct Port<'r> {
    /// What the data plane knows of it.
    pub spec: &'r PortSpec,
    /// What the data plane knows of its device.
    pub device_spec: &'r DeviceSpec,
    /// The NIC that its device is.
    pub device: &'r dyn Device,
    /// Whether its device had a link when [`Running::look_at_links`] last knew.
    pub is_up: bool,
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
    /// The data plane's devices.
    pub device_specs: Vec<DeviceSpec>,
    /// The NICs that they are, in the same order.
    pub devices: Vec<Box<dyn Device>>,
    /// Has built what the publisher begins with.
    pub builder: Builder,
    /// Every worker has subscribed to it.
    pub publisher: Publisher<Snapshot>,
    /// In the order of their numbers.
    pub workers: Vec<WorkerHandle>,
    /// Time 0 of the workers.
    pub start: Instant,
    /// Lines of the log that were not written.
    pub lost_log_lines: Arc<AtomicU64>,
    /// What operators have changed, laid over what was read.
    pub runtime: RuntimeChanges,
    /// Where that is kept.
    pub keeper: Keeper,
}

/// Announcements that a worker is given at once, so that taking them does not delay packets.
const BATCH: usize = 1024;
/// Batches that it is given in a second: more would be a flood for whoever is told.
const MOST_BATCHES: usize = 16;

/// Packets after which a port is judged by the queues that they came by.
const LEAST_PLACEMENTS: u64 = 64;
/// One in so many may come by another queue: NICs treat headers differently that are rare.
const MOST_MISPLACED: u64 = 8;

/// The running load balancer.
#[derive(Debug)]
pub struct Running {
    parts: Parts,
    links: Links,
    /// What workers have seen and people should know.
    watch: Watch,
    /// VIPs that are still to be announced.
    announcements: Vec<(PortId, IpAddr)>,
    rates: Rates,
    started: SystemTime,
    reloads: [u64; ReloadResult::ALL.len()],
    last_reload: Option<LastReload>,
    /// When the file was last found to be good: at the start, or by a reload.
    last_success: SystemTime,
    recent: Recent,
    /// By device: packets seen on the right queue and on others when it was last judged.
    placements: Vec<(u64, u64)>,
    /// Up to when drains' deadlines have been looked at, in milliseconds since 1970.
    drains_ended_ms: u64,
    reload_turns: Arc<tokio::sync::Mutex<()>>,
}

/// The running load balancer, shared by the control thread and the thread that answers the API.
pub type Shared = Arc<Mutex<Running>>;

/// The only one to use it, for a moment: nobody waits for a client or a file meanwhile, and whoever looks at all
/// services gives it back every few hundred.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Running> {
    // One that panicked has taken the process with it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Nothing is changed or announced yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let links = parts.devices.iter();
        let links = links.map(|device| device.link().unwrap_or(false));
        Self {
            links: Links::new(links.collect()),
            parts,
            watch: Watch::default(),
            announcements: Vec::new(),
            rates: Rates::new(Time::default()),
            started: SystemTime::now(),
            reloads: [0; ReloadResult::ALL.len()],
            last_reload: None,
            last_success: SystemTime::now(),
            recent: Recent::default(),
            placements: Vec::new(),
            drains_ended_ms: runtime::now_ms(),
            reload_turns: Arc::default(),
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
    pub fn ports(&self) -> impl Iterator<Item = Port<'_>> {
        let ports = self.parts.ports.iter();
        ports.filter_map(|spec| {
            let (device_spec, device) = self.device(spec.device)?;
            Some(Port {
                spec,
                device_spec,
                device,
                is_up: self.links.is_up(spec.device),
            })
        })
    }

    /// What is known of a device, and the NIC that it is.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<(&DeviceSpec, &dyn Device)> {
        let spec = self.parts.device_specs.get(id.place())?;
        Some((spec, &**self.parts.devices.get(id.place())?))
    }

    /// Asks the devices for their links, and tells the workers what they do not know; to be called once a second or so.
    /// Returns those that changed. A device that cannot tell at present stays as it was.
    pub fn look_at_links(&mut self) -> Vec<DeviceId> {
        let devices = self.parts.devices.iter();
        let workers = self.parts.workers.iter();
        self.links.look(
            devices.map(|device| device.link()),
            workers.map(|worker| &worker.commands),
        )
    }

    /// Puts another NIC in the place of a device's, which is returned. `steered` says whether it puts flows on the
    /// queues that it was told; if it does not, the device is relied on no longer.
    pub fn replace_device(
        &mut self,
        id: DeviceId,
        device: Box<dyn Device>,
        steered: bool,
    ) -> Option<Box<dyn Device>> {
        let former = std::mem::replace(self.parts.devices.get_mut(id.place())?, device);
        if let Some(spec) = self.parts.device_specs.get_mut(id.place())
            && spec.steered
            && !steered
        {
            spec.steered = false;
            self.change_devices();
        }
        Some(former)
    }

    /// Takes what workers have seen and people should know; to be called once a second or so.
    pub fn look_at_incidents(&mut self) -> Vec<News> {
        let now = self.now();
        let workers = self.parts.workers.iter();
        let incidents =
            workers.flat_map(|worker| std::iter::from_fn(|| worker.stats.incidents.take()));
        self.watch.look(incidents, now)
    }

    /// The neighbours that packets wait for in vain, as of the last [`Self::look_at_incidents`].
    pub fn unreachable(&self) -> impl Iterator<Item = (PortId, IpAddr, Unreachable)> {
        self.watch.unreachable()
    }

    /// The name of a port.
    #[must_use]
    pub fn port_name(&self, port: PortId) -> &str {
        let port = self.parts.ports.get(port.place());
        port.map_or("", |port| &*port.name)
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

    /// What a listing shows besides the snapshot.
    #[must_use]
    pub fn live(&self) -> Live<'_> {
        Live {
            rates: &self.rates,
            runtime: &self.parts.runtime,
        }
    }

    /// Brings the rates and what is kept of late up to date; to be called once a second or so.
    pub fn estimate(&mut self) {
        let now = self.now();
        self.rates.advance(now, self.parts.publisher.current());
        let workers = self.parts.workers.iter();
        self.recent.look(workers.map(|worker| &*worker.stats), now);
    }

    /// Lines of the log that were not written, as nobody read them or they could not be.
    #[must_use]
    pub fn lost_log_lines(&self) -> u64 {
        self.parts.lost_log_lines.load(Ordering::Relaxed)
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
    pub fn file(&self) -> &Path {
        &self.parts.file
    }

    /// Reloads so far, by what came of them.
    pub fn reloads(&self) -> impl Iterator<Item = (ReloadResult, u64)> {
        ReloadResult::ALL.into_iter().zip(self.reloads)
    }

    /// What came of the last reload, if there was one.
    #[must_use]
    pub fn last_reload(&self) -> Option<&LastReload> {
        self.last_reload.as_ref()
    }

    /// When the file was last found to be good: at the start, or by a reload.
    #[must_use]
    pub fn last_success(&self) -> SystemTime {
        self.last_success
    }

    /// What the workers did of late, as of the last [`Self::estimate`].
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Reads the file again and puts it in force, all of it or nothing. `colour` is for the report.
    /// Takes as long as the file is large: [`reload::reload`] is for those who have other things to do.
    pub fn reload(&mut self, colour: bool) -> Reload {
        let read = config::load(&self.parts.file);
        self.put_or_report(read, colour)
    }

    fn put_or_report(&mut self, read: Result<Loaded, Diagnostics>, colour: bool) -> Reload {
        let outcome = match read {
            Ok(loaded) => return self.put(loaded, colour),
            Err(errors) => Reload {
                report: errors.report(colour),
                ..self.outcome(ReloadResult::Invalid, &errors)
            },
        };
        self.count(&outcome);
        outcome
    }

    fn count(&mut self, reload: &Reload) {
        let now = SystemTime::now();
        self.last_reload = Some(LastReload::of(reload, now));
        if reload.result.is_success() {
            self.last_success = now;
        }
        let mut results = ReloadResult::ALL.iter();
        let place = results.position(|one| *one == reload.result);
        if let Some(count) = place.and_then(|place| self.reloads.get_mut(place)) {
            *count += 1;
        }
    }

    /// Puts in force what was read, all of it or nothing. `colour` is for the report.
    pub fn put(&mut self, loaded: Loaded, colour: bool) -> Reload {
        let outcome = self.apply(loaded, colour);
        self.count(&outcome);
        outcome
    }

    fn apply(&mut self, loaded: Loaded, colour: bool) -> Reload {
        let report = loaded.warnings.report(colour);
        let (old, new) = (&self.parts.loaded.valid, &loaded.valid);
        let restart = changes::restarts(old.start(), new.start());
        if !restart.is_empty() {
            return Reload {
                restart,
                report,
                ..self.outcome(ReloadResult::RestartNeeded, &loaded.warnings)
            };
        }
        let difference = Difference::between(old.reload(), new.reload());
        let changes = difference.changes();
        let mut dropped = Vec::new();
        let result = if difference.is_none() {
            ReloadResult::Unchanged
        } else {
            let mut delta = compile::delta(&difference, self.now());
            dropped = self.drop_outdated(new.reload());
            self.lay_over(&mut delta.services);
            self.change(&delta);
            ReloadResult::Applied
        };
        let outcome = Reload {
            changes,
            report,
            dropped,
            ..self.outcome(result, &loaded.warnings)
        };
        self.parts.loaded = loaded;
        outcome
    }

    /// Puts a change in force that was found valid, and announces the VIPs that are new with it. The
    /// configuration that was read knows nothing of it: the next reload may undo it.
    pub fn change(&mut self, delta: &Delta) {
        let before = Arc::clone(self.snapshot());
        let quiescent = self.parts.publisher.is_quiescent();
        let snapshot = self.parts.builder.apply(delta, quiescent);
        self.parts.publisher.publish(snapshot);
        let targets = delta.services.iter().map(|service| &service.target);
        let addresses = targets.filter_map(|target| match target {
            Target::Vip(vip) => Some(vip.addresses),
            Target::Match { .. } => None,
        });
        let new: BTreeSet<IpNet> = addresses.filter(|net| !before.has_vip(net)).collect();
        self.announce(self.on_own_networks(new.iter()));
    }

    /// Ceases to rely on devices that put packets on other queues than their drivers said, and returns the names of
    /// their ports; to be called once a second or so. Sessions stay with their owners, which are computed and do
    /// not depend on where packets come in.
    pub fn check_steering(&mut self) -> Vec<Arc<str>> {
        let steered = DeviceId::each(&self.parts.device_specs).filter(|(_, device)| device.steered);
        let steered: Vec<DeviceId> = steered.map(|(id, _)| id).collect();
        self.placements
            .resize(self.parts.device_specs.len(), (0, 0));
        let mut lost = Vec::new();
        for id in steered {
            let counters = self.stats().filter_map(|stats| stats.queues(id));
            let (placed, misplaced) = counters.fold((0, 0), |(placed, misplaced), queues| {
                (
                    placed + queues.placed.value(),
                    misplaced + queues.misplaced.value(),
                )
            });
            let Some(before) = self.placements.get_mut(id.place()) else {
                continue;
            };
            let (right, wrong) = (placed - before.0, misplaced - before.1);
            if right + wrong < LEAST_PLACEMENTS {
                continue;
            }
            *before = (placed, misplaced);
            if wrong > right / MOST_MISPLACED
                && let Some(device) = self.parts.device_specs.get_mut(id.place())
            {
                device.steered = false;
                let ports = self.parts.ports.iter().filter(|port| port.device == id);
                lost.extend(ports.map(|port| Arc::clone(&port.name)));
            }
        }
        if !lost.is_empty() {
            self.change_devices();
        }
        lost
    }

    /// Puts in force what is known of the devices.
    fn change_devices(&mut self) {
        self.change(&Delta {
            devices: Some(self.parts.device_specs.clone()),
            now: self.now(),
            ..Delta::default()
        });
    }

    fn outcome(&self, result: ReloadResult, diagnostics: &Diagnostics) -> Reload {
        Reload {
            result,
            file: self.parts.file.display().to_string(),
            generation: self.snapshot().generation,
            changes: Changes::default(),
            restart: Vec::new(),
            dropped: Vec::new(),
            diagnostics: diagnostics.to_json(),
            report: String::new(),
        }
    }

    /// Those of some VIPs that are on a port's own network, where neighbours ask for them.
    fn on_own_networks<'n>(&self, vips: impl Iterator<Item = &'n IpNet>) -> Vec<(PortId, IpAddr)> {
        let ports = PortId::each(&*self.snapshot().ports);
        let networks: Vec<_> = ports
            .filter(|(_, port)| matches!(port.role, PortRole::Network { .. }))
            .collect();
        let port_of = |address: &IpAddr| {
            let mut networks = networks.iter();
            networks.find(|(_, port)| port.addresses.iter().any(|net| net.contains(address)))
        };
        // The addresses of a prefix are answered for, but nobody lists them all.
        vips.filter(|net| is_one_address(net))
            .map(IpNet::addr)
            .filter_map(|address| port_of(&address).map(|(id, _)| (*id, address)))
            .collect()
    }

    /// Tells the links about all VIPs, as after a start or when a link came back.
    pub fn announce_all(&mut self) {
        self.announcements.clear();
        let snapshot = Arc::clone(self.snapshot());
        self.announce(self.on_own_networks(snapshot.vips()));
    }

    fn announce(&mut self, addresses: Vec<(PortId, IpAddr)>) {
        self.announcements.extend(addresses);
        self.announce_more();
    }

    /// Goes on with announcements that were too many at once; to be called once a second or so.
    pub fn announce_more(&mut self) {
        let Some(worker) = self.parts.workers.first() else {
            return;
        };
        for _ in 0..MOST_BATCHES {
            let left = self.announcements.len().saturating_sub(BATCH);
            let batch = self.announcements.split_off(left);
            if batch.is_empty() {
                return;
            }
            // A worker that is this far behind has other troubles, and neighbours ask by themselves.
            let _ = worker.commands.push(Command::Announce(batch));
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

    /// Asks every worker for the neighbours that it knows; a worker that is too busy to be asked is left out.
    #[must_use]
    pub fn list_neighbours(&self) -> Vec<Arc<NeighbourListing>> {
        let ask = |worker: &WorkerHandle| {
            let listing = Arc::new(NeighbourListing::default());
            let command = Command::ListNeighbours(Arc::clone(&listing));
            worker.commands.push(command).is_ok().then_some(listing)
        };
        self.parts.workers.iter().filter_map(ask).collect()
    }

    /// Whether every worker uses the newest snapshot.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.parts.publisher.is_quiescent()
    }

    /// Frees the snapshots that no worker uses any more.
    pub fn collect(&mut self) {
        self.parts.publisher.collect();
    }
}

#[cfg(test)]
pub(crate) mod tests;
