//! `/metrics`: the workers' counters summed when they are asked for, in Prometheus' text form.
//! Names and labels are a contract; nothing is counted here, and nobody is made to wait.

mod family;
mod services;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::spec::network::{PortRole, PortSpec};
use plimsoll_dataplane::stats::{Counter, QueueCounters, WorkerStats};
use plimsoll_dataplane::verdict::EvictionCause;
use prometheus::{Registry, TextEncoder};

use crate::report;
use crate::running::{DeviceCounts, Running, Shared, lock};
use crate::runtime::RuntimeChanges;
use family::{Family, counter, gauge};
use services::OfServices;

/// The page of metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    running: Shared,
}

impl Metrics {
    /// The metrics of `running`.
    ///
    /// # Errors
    /// When two metrics have one name, which is a mistake in this room.
    pub fn new(running: Shared) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let mut page = Page::of(&lock(&running));
        let families = page.before.by_ref().chain(page.after.by_ref());
        for name in families.chain(services::families().map(|of| of.family())) {
            registry.register(Box::new(name.description()?))?;
        }
        Ok(Self { running })
    }

    /// The page as it is now: to be written piece by piece, whenever its reader has read the piece before. No other
    /// user of what runs is kept waiting meanwhile.
    #[must_use]
    pub fn page(&self) -> Page {
        Page::of(&lock(&self.running))
    }

    /// The whole page, which may be large.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self) -> prometheus::Result<String> {
        self.page().collect()
    }
}

/// A page that is written in pieces, each of a few hundred samples at most.
///
/// All of it is about one snapshot. Counters are read when their piece is written.
#[derive(Debug)]
pub struct Page {
    snapshot: Arc<Snapshot>,
    runtime: RuntimeChanges,
    before: std::vec::IntoIter<Family>,
    services: std::vec::IntoIter<OfServices>,
    /// The family of services that is being written, and where its next piece begins.
    under_way: Option<(OfServices, services::Place)>,
    after: std::vec::IntoIter<Family>,
}

impl Page {
    fn of(running: &Running) -> Self {
        let mut after = workers(running);
        after.extend(ports(running));
        Self {
            snapshot: Arc::clone(running.snapshot()),
            runtime: running.live().runtime.clone(),
            before: process(running).into_iter(),
            services: services::families().collect::<Vec<_>>().into_iter(),
            under_way: None,
            after: after.into_iter(),
        }
    }

    /// The next piece of the families of services; `None` after the last.
    fn next_of_services(&mut self) -> Option<prometheus::Result<String>> {
        let (of, mut place) = match self.under_way.take() {
            Some(under_way) => under_way,
            None => (self.services.next()?, services::Place::default()),
        };
        let is_first = !place.has_begun;
        let shown = services::Shown {
            snapshot: &self.snapshot,
            runtime: &self.runtime,
        };
        let family = of.piece(shown, &mut place);
        if !place.is_end(&self.snapshot) {
            self.under_way = Some((of, place));
        }
        Some(text(family, is_first))
    }
}

impl Iterator for Page {
    type Item = prometheus::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(family) = self.before.next() {
            return Some(text(family, true));
        }
        if let Some(piece) = self.next_of_services() {
            return Some(piece);
        }
        self.after.next().map(|family| text(family, true))
    }
}

/// A family as Prometheus reads it; without its head if that was written with an earlier piece.
fn text(family: Family, with_head: bool) -> prometheus::Result<String> {
    if family.is_empty() {
        return Ok(String::new());
    }
    let text = TextEncoder::new().encode_to_string(&[family.finish()])?;
    if with_head {
        return Ok(text);
    }
    let lines = text.split_inclusive('\n');
    Ok(lines.skip_while(|line| line.starts_with("# ")).collect())
}

/// Whether the port is an exception path to the kernel.
pub(crate) fn is_kernel(port: &PortSpec) -> bool {
    matches!(port.role, PortRole::Kernel { .. })
}

fn process(running: &Running) -> Vec<Family> {
    let mut build = gauge("build_info", "Always 1; the version is a label.");
    build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let mut start = gauge(
        "start_time_seconds",
        "When the daemon was started, in seconds since 1970.",
    );
    let since_1970 = running.started().duration_since(UNIX_EPOCH);
    start.add(&[], since_1970.unwrap_or_default().as_secs());
    let mut generation = gauge(
        "snapshot_generation",
        "Number of the configuration in force; each change counts it up.",
    );
    generation.add(&[], running.snapshot().generation);
    let mut reloads = counter("reloads_total", "Reloads asked for, by what came of them.");
    for (result, count) in running.reloads() {
        reloads.add(&[("result", result.name())], count);
    }
    let mut successful = gauge(
        "config_last_reload_successful",
        "1 if the last reload found the file to be good, or none was asked for since the start; else 0.",
    );
    let last = running.last_reload();
    let is_good = last.is_none_or(|last| last.result.is_success());
    successful.add(&[], u64::from(is_good));
    let mut success = gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the file was last found to be good, at the start or by a reload, in seconds since 1970.",
    );
    let at = running.last_success().duration_since(UNIX_EPOCH);
    success.add(&[], at.unwrap_or_default().as_secs());
    let mut digest = gauge(
        "config_digest_info",
        "Always 1; the label is the digest of the text that is in force, the same for the same text.",
    );
    let text = format!("{:016x}", running.loaded().fingerprint);
    digest.add(&[("digest", &text)], 1);
    let mut capacity = gauge(
        "sessions_capacity",
        "Sessions that all workers together can hold.",
    );
    capacity.add(&[], running.session_capacity());
    let mut drops = counter("drops_total", "Packets dropped, by reason.");
    for (reason, count) in report::drops(running.stats(), true) {
        drops.add(&[("reason", &reason)], count);
    }
    let mut lost = counter(
        "log_lines_lost_total",
        "Lines of the log that were not written, since nobody read them or there was no room.",
    );
    lost.add(&[], running.lost_log_lines());
    let mut unreachable = gauge(
        "neighbours_unreachable",
        "Neighbours that packets wait for in vain at present; their addresses are at /api/v1/neighbors.",
    );
    unreachable.add(&[], running.unreachable().count() as u64);
    vec![
        build,
        start,
        generation,
        reloads,
        successful,
        success,
        digest,
        capacity,
        drops,
        lost,
        unreachable,
    ]
}

/// One counter of the workers.
type OfWorker = (&'static str, &'static str, fn(&WorkerStats) -> &Counter);

const OF_WORKERS: [OfWorker; 12] = [
    (
        "forwarded_packets_total",
        "Packets sent on to a real server, a client or a gateway.",
        |stats| &stats.forwarded,
    ),
    (
        "replied_packets_total",
        "Packets answered: ARP, NDP, echo.",
        |stats| &stats.replied,
    ),
    (
        "punted_packets_total",
        "Packets given to the kernel.",
        |stats| &stats.punted,
    ),
    (
        "handed_over_packets_total",
        "Packets handed to the worker that owns their flow.",
        |stats| &stats.handed_over,
    ),
    (
        "taken_over_packets_total",
        "Packets taken over from other workers.",
        |stats| &stats.taken_over,
    ),
    (
        "consumed_packets_total",
        "Packets that were for the worker itself: answers of ARP and NDP.",
        |stats| &stats.consumed,
    ),
    (
        "originated_packets_total",
        "Packets made by the worker: ARP, NDP, ICMP, resets.",
        |stats| &stats.originated,
    ),
    (
        "lost_packets_total",
        "Packets made by the worker that could not be sent.",
        |stats| &stats.lost,
    ),
    (
        "neighbours_unreachable_total",
        "Times that a neighbour that packets waited for did not answer.",
        |stats| &stats.neighbours_unreachable,
    ),
    (
        "address_conflicts_total",
        "Times that another host claimed an address of ours; once in 10 s for each address.",
        |stats| &stats.address_conflicts,
    ),
    (
        "busy_polls_total",
        "Rounds of the worker that found work.",
        |stats| &stats.busy_polls,
    ),
    (
        "idle_polls_total",
        "Rounds of the worker that found none.",
        |stats| &stats.idle_polls,
    ),
];

/// The worker's time, in nanoseconds, by what it went to.
const TIMES_OF_WORKERS: [OfWorker; 3] = [
    (
        "busy_seconds_total",
        "Time spent in rounds that found work.",
        |stats| &stats.busy_ns,
    ),
    (
        "idle_seconds_total",
        "Time spent in rounds that found none.",
        |stats| &stats.idle_ns,
    ),
    (
        "slept_seconds_total",
        "Time for which the CPU was given back.",
        |stats| &stats.slept_ns,
    ),
];

/// A family for each counter of `table`, which has its name and its help first.
fn counters<V>(of: &str, table: &[(&str, &str, V)]) -> Vec<Family> {
    let families = table.iter();
    families
        .map(|(name, help, _)| counter(&format!("{of}_{name}"), help))
        .collect()
}

fn workers(running: &Running) -> Vec<Family> {
    let mut families = counters("worker", &OF_WORKERS);
    let mut times = counters("worker", &TIMES_OF_WORKERS);
    let mut dropped = counter(
        "worker_dropped_packets_total",
        "Packets dropped for any reason.",
    );
    let mut sessions = gauge("worker_sessions", "Sessions in the worker's table.");
    let mut evicted = counter(
        "worker_evicted_sessions_total",
        "Sessions evicted because the table was full, by what they were.",
    );
    let mut waiting = gauge(
        "worker_waiting_packets",
        "Packets that wait for a neighbour's MAC or for further fragments.",
    );
    for (number, worker) in running.workers().iter().enumerate() {
        let (number, cpu) = (number.to_string(), worker.cpu.to_string());
        let labels = [("worker", number.as_str()), ("cpu", cpu.as_str())];
        let stats = &worker.stats;
        for (family, (_, _, value)) in families.iter_mut().zip(OF_WORKERS) {
            family.add(&labels, value(stats).value());
        }
        for (family, (_, _, value)) in times.iter_mut().zip(TIMES_OF_WORKERS) {
            let time = Duration::from_nanos(value(stats).value());
            family.add_f64(&labels, time.as_secs_f64());
        }
        dropped.add(&labels, stats.all_drops());
        sessions.add(&labels, u64::from(stats.sessions.value()));
        let [worker, cpu] = labels;
        for cause in EvictionCause::ALL {
            let labels = [worker, cpu, ("cause", cause.label())];
            evicted.add(&labels, stats.evicted(cause));
        }
        waiting.add(&labels, u64::from(stats.waiting.value()));
    }
    families.append(&mut times);
    families.extend([dropped, sessions, evicted, waiting]);
    families
}

/// One counter of the workers' halves of a port.
type OfPort = (&'static str, &'static str, fn(&QueueCounters) -> &Counter);

const OF_PORTS: [OfPort; 5] = [
    ("rx_packets_total", "Frames received.", |port| {
        &port.rx_packets
    }),
    (
        "rx_bytes_total",
        "Bytes received, Ethernet headers included.",
        |port| &port.rx_bytes,
    ),
    ("tx_packets_total", "Frames sent.", |port| &port.tx_packets),
    (
        "tx_bytes_total",
        "Bytes sent, Ethernet headers included.",
        |port| &port.tx_bytes,
    ),
    (
        "misplaced_total",
        "First packets of sessions, of one in eight, that came by another queue than the driver said.",
        |port| &port.misplaced,
    ),
];

/// One counter of a device.
type OfDevice = (&'static str, &'static str, fn(&DeviceCounts) -> u64);

const OF_DEVICES: [OfDevice; 5] = [
    (
        "rx_missed_total",
        "Frames lost in the device since a worker was too slow.",
        |device| device.rx_missed,
    ),
    ("rx_errors_total", "Broken frames received.", |device| {
        device.rx_errors
    }),
    (
        "rx_no_buffer_total",
        "Times that no buffer was there to receive into.",
        |device| device.rx_no_buffer,
    ),
    (
        "rx_too_long_total",
        "Frames dropped as they do not fit into one buffer.",
        |device| device.rx_too_long,
    ),
    (
        "tx_errors_total",
        "Frames that the device could not send.",
        |device| device.tx_errors,
    ),
];

fn ports(running: &Running) -> Vec<Family> {
    let mut traffic = counters("port", &OF_PORTS);
    let mut devices = counters("port", &OF_DEVICES);
    let mut steered = gauge(
        "port_steered",
        "Whether the port is relied on to put each flow on the queue of its owner.",
    );
    let mut up = gauge(
        "port_link_up",
        "Whether the port has a link, as far as is known.",
    );
    let mut present = gauge(
        "port_present",
        "Whether the port's device is there: 0 from when its interface is deleted until it is opened again.",
    );
    for port in running.ports() {
        let side = if is_kernel(port.spec) {
            "kernel"
        } else {
            "network"
        };
        let labels = [("port", &*port.spec.name), ("side", side)];
        for (family, (_, _, value)) in traffic.iter_mut().zip(OF_PORTS) {
            let halves = running.stats();
            let halves = halves.filter_map(|stats| stats.queues(port.spec.device));
            family.add(&labels, halves.map(|half| value(half).value()).sum());
        }
        let counts = port.device.counts();
        for (family, (_, _, value)) in devices.iter_mut().zip(OF_DEVICES) {
            family.add(&labels, value(&counts));
        }
        up.add(&labels, u64::from(port.is_up));
        present.add(&labels, u64::from(port.device.is_present()));
        steered.add(&labels, u64::from(port.device_spec.steered));
    }
    traffic.append(&mut devices);
    traffic.extend([up, present, steered]);
    traffic
}
