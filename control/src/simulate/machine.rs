//! The simulated machine: the daemon's workers on ports in memory, and a clock that is moved.
//! It differs from the daemon only in what the queues are and where time comes from.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use plimsoll_dataplane::parse::{Parse, parse};
use plimsoll_dataplane::pipeline::{self, Config};
use plimsoll_dataplane::schedule::Start;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;
use plimsoll_dataplane::snapshot::spec::PortSpec;
use plimsoll_dataplane::testing::{MemoryPool, MemoryRx, MemoryTx, MemoryWire, memory_port};
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;
use plimsoll_dataplane::worker::{self, Command, Commands, Listing, Parts, Worker};

use super::SimulateError;
use super::captures::Output;
use crate::config::ValidConfig;
use crate::config::valid::Port;
use crate::{compile, report};

/// How far the clock moves at once while nothing arrives; housekeeping is finer than this nowhere.
const STEP_MS: u64 = 50;
/// The keys of all tables: the same in every run, so that runs can be compared.
const KEYS: [u64; 4] = [0x706c_696d, 0x736f_6c6c, 0x7369_6d75, 0x6c61_7465];

type SimulatedWorker = Worker<MemoryRx, MemoryTx, MemoryPool>;

/// One worker with its ends of the ports.
struct Place {
    worker: SimulatedWorker,
    commands: Commands,
    wires: Vec<MemoryWire>,
}

/// All workers, and what the control thread would hold.
pub(super) struct Machine {
    builder: Builder,
    publisher: Publisher<Snapshot>,
    ports: Vec<PortSpec>,
    places: Vec<Place>,
    now_ms: u64,
}

/// What the tables and counters show.
pub(super) type Figures = (
    Vec<report::Service>,
    Vec<report::Session>,
    BTreeMap<String, u64>,
);

impl Machine {
    pub(super) fn new(config: &ValidConfig, workers: usize, sessions: u32) -> Self {
        let [a, b, c, d] = KEYS;
        let hasher = RandomState::with_seeds(a, b, c, d);
        let macs: Vec<Mac> = (0_u8..).zip(&config.start().ports).map(mac).collect();
        let ports = compile::ports(config.start(), &macs);
        let mut builder = Builder::new(workers, &hasher);
        let snapshot = builder.build(&compile::spec(&ports, config.reload()), true);
        let mut publisher = Publisher::new(snapshot);
        let inboxes = pipeline::inboxes(workers);
        let mtu = ports
            .iter()
            .map(|port| usize::from(port.mtu))
            .max()
            .unwrap_or(1500);
        let places = (0..workers)
            .map(|worker| {
                let (queues, wires) = ports.iter().map(|_| memory_port()).unzip();
                let commands = worker::commands();
                let start = Start { worker, workers };
                let parts = Parts {
                    ports: queues,
                    // Headroom, Ethernet, a VLAN tag, and a cache line to spare.
                    pool: MemoryPool::with_capacity(1 << 20, mtu + 256),
                    reader: publisher.subscribe(),
                    commands: Arc::clone(&commands),
                    inboxes: Arc::clone(&inboxes),
                };
                let worker = Worker::new(
                    &Config {
                        start,
                        sessions,
                        keys: KEYS,
                    },
                    parts,
                );
                Place {
                    worker,
                    commands,
                    wires,
                }
            })
            .collect();
        Self {
            builder,
            publisher,
            ports,
            places,
            now_ms: 0,
        }
    }

    /// Replaces the configuration.
    pub(super) fn reload(&mut self, config: &ValidConfig) {
        let settled = self.publisher.settled();
        let spec = compile::spec(&self.ports, config.reload());
        self.publisher.publish(self.builder.build(&spec, settled));
    }

    /// Lets a frame arrive at the worker that a NIC's RSS would choose.
    pub(super) fn inject(&mut self, port: u16, frame: &[u8]) {
        let worker = usize::try_from(flow_hash(frame) % self.places.len() as u64).unwrap_or(0);
        let wire = self
            .places
            .get(worker)
            .and_then(|place| place.wires.get(usize::from(port)));
        if let Some(wire) = wire {
            wire.send(frame);
        }
    }

    /// Moves the clock to `at` after the first frame, step by step, with all that falls due on the
    /// way. Returns how many frames left.
    pub(super) fn advance(
        &mut self,
        at: Duration,
        first: Duration,
        outputs: &mut [Output],
    ) -> Result<u64, SimulateError> {
        let target = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let mut left = 0;
        while self.now_ms + STEP_MS < target {
            self.now_ms += STEP_MS;
            let at = Duration::from_millis(self.now_ms);
            left += self.settle(at, first, outputs)?;
        }
        self.now_ms = self.now_ms.max(target);
        Ok(left)
    }

    /// Polls all workers until none has anything to do, and writes what they sent. Returns how many
    /// frames left.
    pub(super) fn settle(
        &mut self,
        at: Duration,
        first: Duration,
        outputs: &mut [Output],
    ) -> Result<u64, SimulateError> {
        let now = Time::from_ms(self.now_ms);
        let mut left = 0;
        loop {
            let mut busy = false;
            for place in &mut self.places {
                busy |= place.worker.poll(now) > 0 || place.worker.is_behind(now);
                left += place.collect(first + at, outputs)?;
            }
            if !busy {
                return Ok(left);
            }
        }
    }

    /// What the tables and counters show now.
    pub(super) fn report(&mut self) -> Figures {
        let now = Time::from_ms(self.now_ms);
        let snapshot = Arc::clone(self.publisher.current());
        let mut sessions = Vec::new();
        for place in &mut self.places {
            let listing = Arc::new(Listing::default());
            if place
                .commands
                .push(Command::List(Arc::clone(&listing)))
                .is_err()
            {
                continue;
            }
            while !listing.is_done() {
                place.worker.poll(now);
                while let Some(record) = listing.take() {
                    if record.deadline > now {
                        sessions.push(report::session(&snapshot, &record, now));
                    }
                }
            }
            while let Some(record) = listing.take() {
                if record.deadline > now {
                    sessions.push(report::session(&snapshot, &record, now));
                }
            }
        }
        sessions.sort_by_key(|session: &report::Session| {
            (session.protocol, session.virtual_, session.client)
        });
        let stats: Vec<_> = self
            .places
            .iter()
            .map(|place| Arc::clone(place.worker.stats()))
            .collect();
        (
            report::services(&snapshot),
            sessions,
            report::drops(stats.iter().map(|stats| &**stats), false),
        )
    }
}

impl Place {
    fn collect(&self, at: Duration, outputs: &mut [Output]) -> Result<u64, SimulateError> {
        let mut left = 0;
        for (port, wire) in (0_u16..).zip(&self.wires) {
            for frame in wire.drain() {
                left += 1;
                for output in outputs.iter_mut().filter(|output| output.port == port) {
                    output.write(at, &frame)?;
                }
            }
        }
        Ok(left)
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

/// What RSS would hash: addresses and, where there are any, ports.
fn flow_hash(frame: &[u8]) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    if let Parse::Ip(packet) = parse(frame) {
        let (from, to) = (packet.addresses.source(), packet.addresses.destination());
        hasher.write(from.to_string().as_bytes());
        hasher.write(to.to_string().as_bytes());
        hasher.write_u16(packet.source_port);
        hasher.write_u16(packet.destination_port);
    }
    hasher.finish()
}
