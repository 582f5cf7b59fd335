//! `/metrics`: the workers' counters summed when they are asked for, in Prometheus' text form.
//! Names and labels are a contract; nothing is counted here.

mod family;
#[cfg(test)]
mod tests;

use std::time::{Duration, UNIX_EPOCH};

use plimsoll_dataplane::snapshot::spec::{PortRole, PortSpec};
use plimsoll_dataplane::stats::{Counter, PortCounters, WorkerStats};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use crate::report;
use crate::running::{DeviceCounts, Running, Shared, lock};
use family::{Family, counter, gauge};

/// The page of metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// The metrics of `running`.
    ///
    /// # Errors
    /// When two metrics have one name, which is a mistake in this file.
    pub fn new(running: Shared) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let descriptions = {
            let running = lock(&running);
            let families = families(&running);
            families
                .iter()
                .map(Family::description)
                .collect::<Result<_, _>>()?
        };
        registry.register(Box::new(Source {
            running,
            descriptions,
        }))?;
        Ok(Self { registry })
    }

    /// The page.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

struct Source {
    running: Shared,
    descriptions: Vec<Desc>,
}

impl Collector for Source {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let running = lock(&self.running);
        families(&running).into_iter().map(Family::finish).collect()
    }
}

/// Whether the port is an exception path to the kernel.
pub(crate) fn is_kernel(port: &PortSpec) -> bool {
    matches!(port.role, PortRole::Kernel { .. })
}

fn families(running: &Running) -> Vec<Family> {
    let mut all = process(running);
    all.extend(services(running));
    all.extend(workers(running));
    all.extend(ports(running));
    all
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
        "Counters up with every change of the configuration in force.",
    );
    generation.add(&[], running.snapshot().generation);
    let mut reloads = counter("reloads_total", "Reloads asked for, by what came of them.");
    for (result, count) in running.reloads() {
        reloads.add(&[("result", result.name())], count);
    }
    let mut capacity = gauge(
        "sessions_capacity",
        "Sessions that all workers together can hold.",
    );
    capacity.add(&[], running.session_capacity());
    let mut drops = counter("drops_total", "Packets dropped, by reason.");
    for (reason, count) in report::drops(running.stats(), true) {
        drops.add(&[("reason", &reason)], count);
    }
    vec![build, start, generation, reloads, capacity, drops]
}

/// One metric of services and of real servers: what to say, and where the number is.
type Counted = (&'static str, &'static str, fn(&report::Counters) -> u64);

const COUNTED: [Counted; 5] = [
    ("sessions", "Sessions scheduled", |counts| counts.conns),
    ("in_packets", "Packets of clients", |counts| {
        counts.in_packets
    }),
    (
        "in_bytes",
        "Bytes of clients' packets, from the IP header on",
        |counts| counts.in_bytes,
    ),
    (
        "out_packets",
        "Packets of real servers that passed through (NAT)",
        |counts| counts.out_packets,
    ),
    (
        "out_bytes",
        "Bytes of real servers' packets that passed through (NAT)",
        |counts| counts.out_bytes,
    ),
];

fn services(running: &Running) -> Vec<Family> {
    let family = |of: &str, (name, help, _): &Counted| {
        counter(
            &format!("{of}_{name}_total"),
            &format!("{help}, by {of}.", of = of_whom(of)),
        )
    };
    let mut by_service: Vec<Family> = COUNTED.iter().map(|one| family("service", one)).collect();
    let mut by_real: Vec<Family> = COUNTED.iter().map(|one| family("real", one)).collect();
    let mut present = gauge(
        "real_sessions",
        "Sessions at present, by real server and whether they count as active.",
    );
    let mut persistent = gauge(
        "real_persistent_clients",
        "Clients that persistence keeps at the real server, by real server.",
    );
    let mut weight = gauge(
        "real_weight",
        "The real server's share of new sessions; 0 takes none.",
    );
    for service in report::services(running.snapshot(), None) {
        let vip = service.target.address();
        let labels = [
            ("service", service.name.as_str()),
            ("vip", vip.as_str()),
            ("protocol", service.target.protocol()),
        ];
        for (family, (_, _, value)) in by_service.iter_mut().zip(COUNTED) {
            family.add(&labels, value(&service.counters));
        }
        for real in &service.reals {
            let address = real.address.to_string();
            let labels = [
                ("service", service.name.as_str()),
                ("real", address.as_str()),
            ];
            for (family, (_, _, value)) in by_real.iter_mut().zip(COUNTED) {
                family.add(&labels, value(&real.counters));
            }
            persistent.add(&labels, real.persistent);
            weight.add(&labels, u64::from(real.weight));
            for (state, count) in [("active", real.active), ("inactive", real.inactive)] {
                let [service, real] = labels;
                present.add(&[service, real, ("state", state)], count);
            }
        }
    }
    by_service.append(&mut by_real);
    by_service.extend([present, persistent, weight]);
    by_service
}

fn of_whom(of: &str) -> &str {
    if of == "real" { "real server" } else { of }
}

/// One counter of the workers.
type OfWorker = (&'static str, &'static str, fn(&WorkerStats) -> &Counter);

const OF_WORKERS: [OfWorker; 11] = [
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
        "evicted_sessions_total",
        "Sessions that gave way since the table was full.",
        |stats| &stats.evicted,
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

fn workers(running: &Running) -> Vec<Family> {
    let mut families: Vec<Family> = OF_WORKERS
        .iter()
        .map(|(name, help, _)| counter(&format!("worker_{name}"), help))
        .collect();
    let mut times: Vec<Family> = TIMES_OF_WORKERS
        .iter()
        .map(|(name, help, _)| counter(&format!("worker_{name}"), help))
        .collect();
    let mut dropped = counter(
        "worker_dropped_packets_total",
        "Packets dropped for any reason.",
    );
    let mut sessions = gauge("worker_sessions", "Sessions in the worker's table.");
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
        waiting.add(&labels, u64::from(stats.waiting.value()));
    }
    families.append(&mut times);
    families.extend([dropped, sessions, waiting]);
    families
}

/// One counter of the workers' halves of a port.
type OfPort = (&'static str, &'static str, fn(&PortCounters) -> &Counter);

const OF_PORTS: [OfPort; 4] = [
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
    let name = |name: &str| format!("port_{name}");
    let mut traffic: Vec<Family> = OF_PORTS
        .iter()
        .map(|(of, help, _)| counter(&name(of), help))
        .collect();
    let mut devices: Vec<Family> = OF_DEVICES
        .iter()
        .map(|(of, help, _)| counter(&name(of), help))
        .collect();
    let mut up = gauge("port_link_up", "Whether the port has a link.");
    for (place, (port, device)) in running.ports().enumerate() {
        let side = if is_kernel(port) { "kernel" } else { "network" };
        let labels = [("port", &*port.name), ("side", side)];
        for (family, (_, _, value)) in traffic.iter_mut().zip(OF_PORTS) {
            let halves = running.stats().filter_map(|stats| stats.ports.get(place));
            family.add(&labels, halves.map(|half| value(half).value()).sum());
        }
        let counts = device.counts();
        for (family, (_, _, value)) in devices.iter_mut().zip(OF_DEVICES) {
            family.add(&labels, value(&counts));
        }
        up.add(&labels, u64::from(device.link_up()));
    }
    traffic.append(&mut devices);
    traffic.push(up);
    traffic
}
