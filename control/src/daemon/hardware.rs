//! DPDK, its memory and the ports, opened as configured.
//! Nothing polls here, and nothing is compiled.

use std::sync::Arc;

use plimsoll_dataplane::io::QueuePair;
use plimsoll_dataplane::neighbour::MOST_WAITING;
use plimsoll_dataplane::pipeline::{BACKLOG, MOST_OWNED, MOST_SEARCHES};
use plimsoll_dataplane::spec::network::{DeviceSpec, PortRole, PortSpec};
use plimsoll_dataplane::steering::{HashedPorts, KEY_BYTES, Steering};
use plimsoll_dataplane::wire::Mac;
use plimsoll_dpdk::{
    Eal, EalConfig, Memory, MemoryKind, Mempool, Port, PortConfig, RxQueue, TxQueue, device,
};
use tracing::{info, warn};

use super::crash;
use super::error::DaemonError;
use crate::compile;
use crate::config::valid::{Hugepages, Idle, Port as ValidPort, StartConfig};
use crate::running::{Device, DeviceCounts};

/// A worker's queues, in the order of the devices.
pub(super) type Queues = Vec<QueuePair<RxQueue, TxQueue>>;

/// Everything that DPDK gives.
pub(super) struct Hardware {
    pub(super) eal: Eal,
    pub(super) pool: Mempool,
    /// All ports, those to the kernel last.
    pub(super) specs: Vec<PortSpec>,
    /// The devices that they are on.
    pub(super) device_specs: Vec<DeviceSpec>,
    /// The NICs that these are, in the same order.
    pub(super) devices: Vec<Box<dyn Device>>,
    /// How to open them again, in the same order.
    pub(super) configs: Vec<PortConfig>,
    /// By worker.
    pub(super) queues: Vec<Queues>,
    /// How flows are spread over the workers; `None` if no port can be told.
    pub(super) steering: Option<Arc<Steering>>,
}

/// Receive and transmit descriptors of each queue of a NIC.
const DESCRIPTORS: u16 = 512;
/// The same for a port to the kernel, where little goes.
const KERNEL_DESCRIPTORS: u16 = 64;
/// The largest MTU that a TAP takes.
const TAP_MTU: u16 = 1504;
/// Buffers that a thread's cache may hold (see [`Mempool::new`]).
const CACHED: u32 = 384;
/// What a buffer takes beyond its data room, or a little less.
const BUFFER_OVERHEAD_BYTES: u64 = 256;
/// Frames that one worker's inbox may hold.
const INBOX: u32 = MOST_OWNED + MOST_SEARCHES;

impl Hardware {
    /// `hash_key` is for ports that can be told how to spread flows.
    pub(super) fn open(
        start: &StartConfig,
        workers: usize,
        hash_key: [u8; KEY_BYTES],
    ) -> Result<Self, DaemonError> {
        let workers = u16::try_from(workers)
            .map_err(|_| DaemonError::TooMany("dataplane.cpus: too many workers"))?;
        let eal = Eal::init(EalConfig {
            program: "plimsolld".to_owned(),
            memory: match start.hugepages {
                Hugepages::Auto => Memory::Auto,
                Hugepages::On => Memory::Huge,
                Hugepages::Off => Memory::NoHuge,
            },
            size_mib: Some(u32::try_from(start.memory_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)),
            extra_args: start.eal_args.clone(),
            devices: start.ports.iter().map(|port| port.device.clone()).collect(),
        })?;
        let memory = match eal.memory_kind() {
            MemoryKind::Hugepages => "hugepages",
            MemoryKind::Ordinary => "ordinary",
        };
        info!(version = %eal.version(), memory, mib = eal.memory_mib(), "DPDK runs");
        let mtu = start.ports.iter().map(|port| port.mtu_bytes).max();
        let data_room = device::data_room(mtu.unwrap_or(TAP_MTU).max(TAP_MTU));
        let buffers = Buffers::of(start, u32::from(workers));
        let each = bytes_of_buffer(data_room, eal.memory_kind());
        let count = buffers.in_memory(start.memory_bytes, each);
        let pool = Mempool::new(&eal, "plimsoll", count, data_room)?;
        if count < buffers.best {
            let mib = (u64::from(buffers.best) * each) >> 20;
            info!(
                buffers = count,
                "a raised dataplane.memory.size, up to {} MiB, would help under overload",
                mib / 7 * 8 + 8
            );
        }

        let mut opened = Vec::new();
        let mut configs = Vec::new();
        for port in &start.ports {
            let config = PortConfig {
                queues: workers,
                rx_descriptors: DESCRIPTORS,
                tx_descriptors: DESCRIPTORS,
                mtu: port.mtu_bytes,
                hash_key: Some(hash_key),
                interrupts: start.idle == Idle::Sleep,
                ..PortConfig::new(&port.name, &port.device)
            };
            let (port, queues) = open(&eal, &config, &pool, false)?;
            // Neighbours know this one, and so does the data plane.
            configs.push(PortConfig {
                mac: Some(port.mac()),
                ..config
            });
            opened.push((port, queues));
        }
        let macs: Vec<Mac> = opened.iter().map(|(port, _)| Mac(port.mac())).collect();
        let (mut device_specs, mut specs) = compile::ports(start, &macs);
        // What the devices have, and not what they were to have.
        for spec in &mut specs {
            if let Some((port, _)) = opened.get(spec.device.place()) {
                spec.mtu = port.mtu();
            }
        }
        start.ports.iter().for_each(tell_rule);
        let steering = steer(&mut opened, &mut device_specs, hash_key, workers);
        for config in &mut configs {
            config.steering.clone_from(&steering);
        }
        for spec in &mut specs {
            if let PortRole::Kernel { .. } = spec.role
                && let Some(DeviceSpec { mac, .. }) = device_specs.get(spec.device.place())
            {
                let config = PortConfig {
                    queues: workers,
                    // A TAP has few queues (see `plimsoll_dpdk::device`).
                    share: true,
                    rx_descriptors: KERNEL_DESCRIPTORS,
                    tx_descriptors: KERNEL_DESCRIPTORS,
                    mtu: spec.mtu.min(TAP_MTU),
                    interrupts: start.idle == Idle::Sleep,
                    ..PortConfig::new(&spec.name, &device::tap(&spec.name, mac.0))
                };
                let (port, queues) = open(&eal, &config, &pool, true)?;
                spec.mtu = port.mtu();
                configs.push(config);
                opened.push((port, queues));
            }
        }

        let numbered = |(port, _): &(Port, Queues)| (port.id(), port.name().to_owned());
        crash::name_ports(opened.iter().map(numbered));
        let mut queues: Vec<Queues> = (0..workers).map(|_| Vec::new()).collect();
        let mut devices: Vec<Box<dyn Device>> = Vec::new();
        for (port, pairs) in opened {
            devices.push(Box::new(port));
            for (worker, pair) in queues.iter_mut().zip(pairs) {
                worker.push(pair);
            }
        }
        Ok(Self {
            eal,
            pool,
            specs,
            device_specs,
            devices,
            configs,
            queues,
            steering,
        })
    }
}

/// Says how to keep the kernel from taking a second time, by the interface that the port borrows, what it gets
/// by the port's TAP. Linux takes what is for one of its addresses wherever it comes in.
fn tell_rule(port: &ValidPort) {
    if let Some(interface) = device::borrowed_interface(&port.device)
        && port.kernel
    {
        let rule = format!(
            "nft 'add table netdev plimsoll; add chain netdev plimsoll port_{} \
             {{ type filter hook ingress device \"{interface}\" priority 0; policy drop; }}'",
            port.name
        );
        info!(
            port = port.name,
            interface,
            rule,
            "the kernel sees the frames of this interface itself and answers twice, unless this rule is in force"
        );
    }
}

/// Has the devices that can be told spread flows over the workers in one way, and notes which do.
fn steer(
    opened: &mut [(Port, Queues)],
    specs: &mut [DeviceSpec],
    key: [u8; KEY_BYTES],
    workers: u16,
) -> Option<Arc<Steering>> {
    let can = |port: &Port| workers > 1 && port.can_steer_by(&key);
    let hashed = opened.iter().filter(|(port, _)| can(port));
    let mut hashed = hashed.filter_map(|(port, _)| port.hashed()).peekable();
    hashed.peek()?;
    // One rule for all of them, since a flow's owner must not depend on where its packets come in.
    let ports = HashedPorts {
        sctp: hashed.all(|hashed| hashed.ports.sctp),
        ..HashedPorts::default()
    };
    let steering = Steering::new(key, ports, usize::from(workers));
    for ((port, _), spec) in opened.iter_mut().zip(specs) {
        spec.steered = port.steer_by(&steering);
        if spec.steered {
            info!(
                port = port.name(),
                "spreads flows over its queues as it is told"
            );
        }
    }
    Some(Arc::new(steering))
}

fn open(
    eal: &Eal,
    config: &PortConfig,
    pool: &Mempool,
    kernel: bool,
) -> Result<(Port, Queues), DaemonError> {
    let (port, queues) = Port::open(eal, config, pool)?;
    let capabilities = port.capabilities();
    info!(
        port = port.name(),
        kernel,
        device = config.device,
        driver = port.driver(),
        mac = %Mac(port.mac()),
        mtu = port.mtu(),
        queues = config.queues,
        rss = capabilities.rss,
        link_up = port.link_up(),
        "port opened"
    );
    if port.mtu() < config.mtu {
        warn!(
            port = port.name(),
            "the driver cannot set the MTU: {} is what the interface has, and counts instead of {}",
            port.mtu(),
            config.mtu
        );
    } else if !port.mtu_is_set() && !kernel {
        info!(
            port = port.name(),
            mtu = config.mtu,
            "the driver cannot set the MTU: see that whoever is at the other end takes frames of this one"
        );
    }
    let spreads = capabilities.rss
        || ["net_af_packet", "net_tap"]
            .iter()
            .any(|driver| port.driver().starts_with(driver));
    if config.queues > 1 && !spreads {
        warn!(
            port = port.name(),
            "the device does not spread flows over its queues: one worker may get them all"
        );
    }
    Ok((port, queues))
}

/// What a buffer takes. DPDK lets none cross the end of a page, so that of an ordinary page the rest is
/// lost; of a hugepage it is next to nothing.
fn bytes_of_buffer(data_room: usize, memory: MemoryKind) -> u64 {
    const ORDINARY_PAGE: u64 = 4096;
    let bytes = u64::try_from(data_room).unwrap_or(u64::MAX) + BUFFER_OVERHEAD_BYTES;
    match memory {
        MemoryKind::Hugepages => bytes,
        MemoryKind::Ordinary => bytes.next_multiple_of(ORDINARY_PAGE),
    }
}

/// How many buffers there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Buffers {
    /// With fewer the ports' rings cannot be filled.
    least: u32,
    /// With so many there is always one, even if everything that can hold some is full.
    best: u32,
}

impl Buffers {
    fn of(start: &StartConfig, workers: u32) -> Self {
        let count = |ports: usize| u32::try_from(ports).unwrap_or(u32::MAX);
        let ports = count(start.ports.len());
        let kernel_ports = count(start.ports.iter().filter(|port| port.kernel).count());
        let rings = ports
            .saturating_mul(2 * u32::from(DESCRIPTORS))
            .saturating_add(kernel_ports.saturating_mul(2 * u32::from(KERNEL_DESCRIPTORS)));
        let backlogs = ports.saturating_add(kernel_ports).saturating_mul(BACKLOG);
        let all = |of_worker: u32| of_worker.saturating_mul(workers).saturating_add(CACHED);
        let least = rings.saturating_add(CACHED);
        Self {
            least: all(least),
            best: all(least
                .saturating_add(backlogs)
                .saturating_add(MOST_WAITING + INBOX)),
        }
    }

    /// As many as fit into the memory, at so many bytes each, but not fewer than needed and not more than good for anything.
    fn in_memory(self, memory_bytes: u64, each: u64) -> u32 {
        // The rest is for rings and for what drivers need.
        let fit = memory_bytes / 8 * 7 / each;
        u32::try_from(fit)
            .unwrap_or(u32::MAX)
            .clamp(self.least, self.best.max(self.least))
    }
}

impl Device for Port {
    fn driver(&self) -> String {
        Self::driver(self).to_owned()
    }

    fn link(&self) -> Option<bool> {
        Self::link(self)
    }

    fn is_present(&self) -> bool {
        Self::is_present(self)
    }

    fn counts(&self) -> DeviceCounts {
        let stats = self.stats();
        DeviceCounts {
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
            rx_no_buffer: stats.rx_no_buffer,
            rx_too_long: stats.rx_too_long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn start(ports: &str) -> StartConfig {
        let text = format!("version: 1\ndataplane:\n  ports:\n{ports}services: []\n");
        let loaded = config::parse("x", text).unwrap_or_else(|e| panic!("{}", e.report(false)));
        loaded.valid.start().clone()
    }

    #[test]
    fn a_small_machine_has_a_buffer_for_every_place() {
        let start = start("    - { name: wan, device: net_null0, kernel: true }\n");
        let buffers = Buffers::of(&start, 1);
        assert_eq!(buffers.least, 2 * 512 + 2 * 64 + 2 * 384);
        assert_eq!(buffers.best, buffers.least + 2 * 1024 + 1024 + 2048 + 512);
        assert_eq!(buffers.in_memory(512 << 20, 2432), buffers.best);
    }

    #[test]
    fn many_workers_share_the_memory_that_there_is() {
        let start = start(
            "    - { name: wan, device: net_null0 }\n    - { name: lan, device: net_null1 }\n",
        );
        let buffers = Buffers::of(&start, 63);
        let count = buffers.in_memory(512 << 20, 2432);
        assert!(buffers.least < count && count < buffers.best, "{count}");
        assert!(u64::from(count) * 2432 < 512 << 20);
        assert_eq!(buffers.in_memory(16 << 20, 2432), buffers.least);
    }
}
