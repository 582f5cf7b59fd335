//! The simulated machine: the daemon's workers on ports in memory, and a clock that is moved.
//! It differs from the daemon only in what the queues are and where time comes from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use plimsoll_dataplane::id::DeviceId;
use plimsoll_dataplane::io::heap::MemoryPool;
use plimsoll_dataplane::io::memory::{MemoryRx, MemoryTx, MemoryWire, memory_port};
use plimsoll_dataplane::parse::parse;
use plimsoll_dataplane::pipeline::{self, Config};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::session::Flags;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::network::{DeviceSpec, PortSpec};
use plimsoll_dataplane::steering::Steering;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;
use plimsoll_dataplane::worker::{
    self, Command, Commands, Listing, Resources, SessionRecord, Worker,
};

use super::faults::Outages;
use super::output::Output;
use super::{Counts, Faults, SimulateError};
use crate::config::ValidConfig;
use crate::config::valid::Port;
use crate::links::Links;
use crate::{compile, report};

/// After a silence this long, the workers are polled once before anything arrives, as they would
/// have been all the time.
const SILENCE_MS: u64 = 50;
/// How often the daemon's control thread asks the ports for their links.
const ROUND_MS: u64 = 1000;
/// The clock stops here, far from where times overflow.
const LAST_MS: u64 = 1 << 62;
/// The keys of all tables: the same in every run, so that runs can be compared.
const KEYS: [u64; 4] = [0x706c_696d, 0x736f_6c6c, 0x7369_6d75, 0x6c61_7465];

type SimulatedWorker = Worker<MemoryRx, MemoryTx, MemoryPool>;

/// One worker with its ends of the devices' queues.
struct Place {
    worker: SimulatedWorker,
    commands: Commands,
    wires: Vec<MemoryWire>,
    /// When it does not poll.
    lags: Outages,
}

/// All workers, and what the control thread would hold.
pub(super) struct Machine {
    builder: Builder,
    publisher: Publisher<Snapshot>,
    devices: Vec<DeviceSpec>,
    ports: Vec<PortSpec>,
    /// How many of the devices are configured; those to the kernel follow.
    networks: usize,
    places: Vec<Place>,
    steering: Arc<Steering>,
    now_ms: u64,
    /// When the link of each configured device is down.
    links: Vec<Outages>,
    /// What the workers have been told of that.
    known_links: Links,
    /// If the devices take time to send: the millisecond whose frames are sent last.
    sent_ms: Option<u64>,
}

/// What the tables and counters show.
pub(super) type Figures = (
    Vec<report::Service>,
    Vec<report::Session>,
    BTreeMap<String, u64>,
);

impl Machine {
    pub(super) fn new(
        config: &ValidConfig,
        workers: usize,
        sessions: u32,
        faults: &Faults,
    ) -> Self {
        let [a, b, c, d] = KEYS;
        let hasher = RandomState::with_seeds(a, b, c, d);
        let macs: Vec<Mac> = (0_u8..).zip(&config.start().ports).map(mac).collect();
        let (mut devices, ports) = compile::ports(config.start(), &macs);
        let steering = Arc::new(Steering::usual(workers));
        for device in devices.iter_mut().take(macs.len()) {
            device.steered = true;
        }
        let mut builder = Builder::new(workers, &hasher);
        let snapshot = builder.build(&compile::spec(&devices, &ports, config.reload()), true);
        let mut publisher = Publisher::new(snapshot);
        let inboxes = pipeline::inboxes(workers);
        let mtu = ports
            .iter()
            .map(|port| usize::from(port.mtu))
            .max()
            .unwrap_or(1500);
        let places = (0..workers)
            .map(|worker| {
                let (queues, wires): (_, Vec<MemoryWire>) =
                    devices.iter().map(|_| memory_port()).unzip();
                for wire in &wires {
                    wire.set_rx_limit(faults.rx_frames());
                    wire.set_tx_limit(faults.tx_frames());
                }
                let commands = worker::commands();
                let start = Start { worker, workers };
                let resources = Resources {
                    queues,
                    // Headroom, Ethernet, a VLAN tag, and a cache line to spare.
                    pool: MemoryPool::with_capacity(1 << 20, mtu + 256),
                    reader: publisher.subscribe(),
                    commands: Arc::clone(&commands),
                    inboxes: Arc::clone(&inboxes),
                };
                let lags = Outages::of(&faults.lags, &worker);
                let worker = Worker::new(
                    &Config {
                        steering: Some(Arc::clone(&steering)),
                        ..Config::new(start, sessions, KEYS)
                    },
                    resources,
                );
                Place {
                    worker,
                    commands,
                    wires,
                    lags,
                }
            })
            .collect();
        let names = config.start().ports.iter().map(|port| &port.name);
        let mut machine = Self {
            builder,
            publisher,
            devices,
            ports,
            networks: macs.len(),
            places,
            steering,
            now_ms: 0,
            links: names
                .map(|name| Outages::of(&faults.links_down, name))
                .collect(),
            known_links: Links::new(vec![true; macs.len()]),
            sent_ms: faults.tx_queue.map(|_| 0),
        };
        machine.set_links();
        // What is so at the start is known before the first frame.
        let polling = machine.places.iter_mut();
        for place in polling.filter(|place| !place.lags.contains(0)) {
            place.worker.poll(Time::default());
        }
        machine
    }

    /// Replaces the configuration.
    pub(super) fn reload(&mut self, config: &ValidConfig) {
        let quiescent = self.publisher.is_quiescent();
        let spec = Spec {
            now: Time::from_ms(self.now_ms),
            ..compile::spec(&self.devices, &self.ports, config.reload())
        };
        self.publisher.publish(self.builder.build(&spec, quiescent));
    }

    /// Lets a frame arrive at the worker that a NIC's RSS would choose: by the Toeplitz hash of addresses and
    /// ports, of fragments and what has no ports by that of the addresses.
    pub(super) fn inject(&mut self, device: DeviceId, frame: &[u8]) {
        let worker = self.steering.queue_of(&parse(frame));
        let wire = self
            .places
            .get(worker)
            .and_then(|place| place.wires.get(device.place()));
        if let Some(wire) = wire {
            wire.send(frame);
        }
    }

    /// Moves the clock to `at` after the first frame, and never back. On the way it stops wherever
    /// housekeeping has something to do, a fault begins or ends, or frames leave, and nowhere else: a
    /// silence costs what falls due in it, however long it is. Returns how many frames left.
    pub(super) fn advance(
        &mut self,
        at: Duration,
        first: Duration,
        outputs: &mut [Output],
    ) -> Result<u64, SimulateError> {
        let target = u64::try_from(at.as_millis()).unwrap_or(LAST_MS);
        let target = target.min(LAST_MS).max(self.now_ms);
        let silence = target - self.now_ms > SILENCE_MS;
        let mut left = 0;
        while let Some(due_ms) = self.next_stop(target) {
            self.now_ms = self.now_ms.max(due_ms);
            self.set_links();
            left += self.settle(Duration::from_millis(self.now_ms), first, outputs)?;
        }
        self.now_ms = target;
        self.set_links();
        if silence {
            left += self.settle(at, first, outputs)?;
        }
        Ok(left)
    }

    /// Goes on until all faults are over and everything that is queued has left. Returns how many frames
    /// left.
    pub(super) fn finish(
        &mut self,
        first: Duration,
        outputs: &mut [Output],
    ) -> Result<u64, SimulateError> {
        let lags = self.places.iter().map(|place| &place.lags);
        let end = lags.chain(&self.links).map(Outages::end).max();
        let mut left = 0;
        if let Some(end) = end.filter(|end| *end > self.now_ms) {
            left += self.advance(Duration::from_millis(end), first, outputs)?;
        }
        while self.is_sending() {
            let next = Duration::from_millis(self.now_ms + 1);
            left += self.advance(next, first, outputs)?;
        }
        Ok(left)
    }

    /// Polls all workers that do not lag until none has anything to do, and writes what they sent. Returns
    /// how many frames left.
    pub(super) fn settle(
        &mut self,
        at: Duration,
        first: Duration,
        outputs: &mut [Output],
    ) -> Result<u64, SimulateError> {
        let (now, now_ms) = (Time::from_ms(self.now_ms), self.now_ms);
        let networks = self.networks;
        let time = first.saturating_add(at);
        let mut left = 0;
        let sends_at_once = self.sent_ms.is_none();
        if self.sent_ms.is_none_or(|sent_ms| sent_ms < now_ms) {
            self.sent_ms = self.sent_ms.map(|_| now_ms);
            for place in &self.places {
                left += place.collect(time, networks, outputs)?;
            }
        }
        loop {
            let mut busy = false;
            let polling = self.places.iter_mut();
            for place in polling.filter(|place| !place.lags.contains(now_ms)) {
                busy |= place.worker.poll(now) > 0;
                if sends_at_once {
                    left += place.collect(time, networks, outputs)?;
                }
            }
            busy |= self.polling().any(|place| place.worker.has_more(now));
            if !busy && self.next_due(now).is_none() {
                return Ok(left);
            }
        }
    }

    /// The workers that do not lag.
    fn polling(&self) -> impl Iterator<Item = &Place> {
        let places = self.places.iter();
        places.filter(|place| !place.lags.contains(self.now_ms))
    }

    /// When housekeeping next has something to do, if that is by `until`.
    fn next_due(&self, until: Time) -> Option<Time> {
        let polling = self.polling();
        polling
            .filter_map(|place| place.worker.next_due(until))
            .min()
    }

    /// The next time at which something happens by itself, in milliseconds, if that is by `until`.
    fn next_stop(&self, until: u64) -> Option<u64> {
        let due = self.next_due(Time::from_ms(until)).map(Time::as_ms);
        let lags = self.places.iter().map(|place| &place.lags);
        let faults = lags.chain(&self.links);
        let faults = faults.filter_map(|outages| outages.next_change(self.now_ms));
        let sending = self.is_sending().then_some(self.now_ms + 1);
        let round = self.known_links.differ(self.links_up()).then(|| {
            let next = self.now_ms / ROUND_MS + 1;
            next * ROUND_MS
        });
        faults
            .chain(due)
            .chain(sending)
            .chain(round)
            .filter(|at| *at <= until)
            .min()
    }

    /// Whether frames are on their way out of a transmit queue.
    fn is_sending(&self) -> bool {
        let mut wires = self.places.iter().flat_map(|place| &place.wires);
        self.sent_ms.is_some() && wires.any(|wire| wire.queued() > 0 && !wire.is_down())
    }

    /// Whether each configured device has a link now.
    fn links_up(&self) -> impl Iterator<Item = bool> {
        let links = self.links.iter();
        links.map(|link| !link.contains(self.now_ms))
    }

    /// Takes links down and brings them back as the time has come, and tells the workers when the daemon's control
    /// thread would see it.
    fn set_links(&mut self) {
        for place in &self.places {
            for (wire, up) in place.wires.iter().zip(self.links_up()) {
                wire.set_down(!up);
            }
        }
        if self.now_ms.is_multiple_of(ROUND_MS) {
            let up: Vec<bool> = self.links_up().collect();
            let workers = self.places.iter().map(|place| &place.commands);
            self.known_links.look(up.into_iter().map(Some), workers);
        }
    }

    /// What became of the frames, by worker.
    pub(super) fn counts(&self) -> Vec<Counts> {
        self.places
            .iter()
            .map(|place| Counts::of(&place.wires, place.worker.stats()))
            .collect()
    }

    /// What the tables and counters show now. Workers reap a session within 64 ms of its end; here
    /// it is gone at once, from the sessions and from the numbers of its real server.
    pub(super) fn report(&mut self) -> Figures {
        let now = Time::from_ms(self.now_ms);
        let snapshot = Arc::clone(self.publisher.current());
        let records: Vec<_> = self
            .places
            .iter_mut()
            .flat_map(|place| place.records(now))
            .collect();
        let (live, ended): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record.deadline > now);
        let mut sessions: Vec<_> = live
            .iter()
            .map(|record| report::session(&snapshot, record, now))
            .collect();
        sessions.sort_by_key(|session| (session.protocol, session.virtual_, session.client));
        let mut services = report::services(&snapshot, None);
        uncount(&snapshot, &mut services, &ended);
        let stats: Vec<_> = self
            .places
            .iter()
            .map(|place| Arc::clone(place.worker.stats()))
            .collect();
        let drops = report::drops(stats.iter().map(|stats| &**stats), false);
        (services, sessions, drops)
    }
}

/// Takes sessions that have ended off the numbers of their real servers, and removed ones that had no others out.
fn uncount(snapshot: &Snapshot, services: &mut Vec<report::Service>, ended: &[SessionRecord]) {
    let mut numbers = HashMap::<_, (u64, u64, u64)>::new();
    for record in ended {
        let (active, inactive, persistent) = numbers.entry(record.real).or_default();
        *(if record.flags.contains(Flags::TEMPLATE) {
            persistent
        } else if record.state.is_active() {
            active
        } else {
            inactive
        }) += 1;
    }
    let all = snapshot.services.iter();
    let all = all.filter(|service| report::is_shown(snapshot, service));
    for (service, shown) in all.zip(services.iter_mut()) {
        let reals = service.scheduling.candidates.iter();
        let reals = reals.filter_map(|candidate| snapshot.real(candidate.real));
        let reals = reals.chain(report::removed_reals(snapshot, service));
        for (real, shown) in reals.zip(&mut shown.reals) {
            let (active, inactive, persistent) = numbers.get(&real.id).copied().unwrap_or_default();
            shown.active = shown.active.saturating_sub(active);
            shown.inactive = shown.inactive.saturating_sub(inactive);
            shown.persistent = shown.persistent.saturating_sub(persistent);
        }
        shown
            .reals
            .retain(|real| !real.removed || real.active + real.inactive + real.persistent > 0);
    }
    services.retain(|service| !service.removed || !service.reals.is_empty());
}

impl Place {
    /// Writes what the worker sent, and returns how many frames left through the first `networks`
    /// devices. What goes to the kernel's stays in this machine.
    fn collect(
        &self,
        at: Duration,
        networks: usize,
        outputs: &mut [Output],
    ) -> Result<u64, SimulateError> {
        let mut left = 0;
        for (device, wire) in DeviceId::each(&self.wires) {
            for frame in wire.drain() {
                left += u64::from(device.place() < networks);
                for output in outputs.iter_mut().filter(|output| output.device == device) {
                    output.write(at, &frame)?;
                }
            }
        }
        Ok(left)
    }

    /// All sessions in the worker's tables.
    fn records(&mut self, now: Time) -> Vec<SessionRecord> {
        let listing = Arc::new(Listing::default());
        let mut records = Vec::new();
        if self
            .commands
            .push(Command::List(Arc::clone(&listing)))
            .is_ok()
        {
            while !listing.is_done() {
                self.worker.poll(now);
                records.extend(std::iter::from_fn(|| listing.take()));
            }
        }
        records
    }
}

/// A simulated port's MAC: the one its device string names (`mac=...`), else 02:00:00:00:II:01 with
/// II the port's place in the configuration, from 00.
fn mac((index, port): (u8, &Port)) -> Mac {
    let named = port
        .device
        .split(',')
        .filter_map(|argument| argument.strip_prefix("mac="))
        .find_map(|text| text.parse().ok());
    named.unwrap_or(Mac([2, 0, 0, 0, index, 1]))
}
