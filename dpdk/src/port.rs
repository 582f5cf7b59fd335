//! [`Port`]: one device of DPDK, opened, configured and started, and closed when nobody uses it.
//! It holds no policy: which ports there are, and how many queues they have, is configuration.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_dataplane::io::QueuePair;
use plimsoll_dataplane::steering::{KEY_BYTES, Steering};

use crate::device;
use crate::eal::Eal;
use crate::interrupt::Interrupt;
use crate::kernel;
use crate::lease::Device;
use crate::mempool::Mempool;
use crate::port_error::PortError;
use crate::queue::{RxQueue, Sharing, TxQueue};

mod capabilities;
mod config;
mod opening;
mod spreading;

pub use capabilities::Capabilities;
pub use config::PortConfig;
use opening::{Mtu, Opening};
pub use spreading::Hashed;
use spreading::{Hashing, QueueTable};

/// What a port counted since it was opened. Drivers leave what they do not know at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped by the device since a queue was full: the worker is too slow.
    pub rx_missed: u64,
    /// Broken frames received.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that no buffer was there to receive into: the pool is too small.
    pub rx_no_buffer: u64,
    /// Frames received in several pieces and dropped, as they do not fit into one buffer.
    pub rx_too_long: u64,
}

/// A port, for the control thread: its queues are the workers'.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
    name: String,
    driver: String,
    mac: [u8; 6],
    capabilities: Capabilities,
    /// The borrowed interface, which is asked for its link.
    kernel_interface: Option<u32>,
    /// The borrowed interface, or the one that was made for the device: without it, the device is dead.
    interface: Option<u32>,
    mtu: Mtu,
    hashed: Option<Hashed>,
    table: QueueTable,
    is_steered: bool,
}

impl Port {
    /// Opens the device, sets up its queues and starts it; returns a queue pair per worker.
    ///
    /// Frames received are in buffers of `pool`. All multicast is received (neighbour discovery needs
    /// it); a device that cannot choose is made promiscuous instead. The kernel interface behind
    /// `net_af_packet` is switched on.
    ///
    /// The device is stopped and removed when the port and all its queues are dropped.
    ///
    /// # Errors
    /// [`PortError`] with what DPDK said; the device is removed again.
    pub fn open(
        _eal: &Eal,
        config: &PortConfig,
        pool: &Mempool,
    ) -> Result<(Self, Vec<QueuePair<RxQueue, TxQueue>>), PortError> {
        if config.queues == 0 {
            return Err(PortError::NoQueues {
                port: config.name.clone(),
            });
        }
        let needed = device::frame_bytes(config.mtu) + dpdk_sys::PLIM_HEADROOM as usize;
        if pool.data_room() < needed {
            return Err(PortError::DataRoom {
                port: config.name.clone(),
                mtu: config.mtu,
                needed,
                data_room: pool.data_room(),
            });
        }
        let mut opening = Opening::probe(config)?;
        let (info, driver) = opening.describe()?;
        let capabilities = Capabilities::of(&info, &driver, &opening.text);
        opening.check_limits(&info, &capabilities, &driver)?;
        if config.share {
            opening.queues = config.queues.min(capabilities.max_queues);
        }
        let rss = if capabilities.rss && config.queues > 1 {
            info.rss_types
        } else {
            0
        };
        let hashing = Hashing::of(&info, rss);
        let mtu = opening.configure(&info, hashing, pool)?;
        opening.start(&driver)?;
        let hashed = opening.hash(hashing);
        let mac = opening.take_mac()?;
        let of_queue: Vec<(Option<Interrupt>, Sharing)> = (0..opening.queues)
            .map(|queue| {
                let interrupt = opening.interrupt(queue, &driver);
                (interrupt, Sharing::of(queue, opening.queues, config.queues))
            })
            .collect();

        let interface = Some(info.kernel_interface)
            .filter(|index| *index != 0 && device::interface(&opening.text).is_some());
        let kernel_interface =
            interface.filter(|_| device::borrowed_interface(&opening.text).is_some());
        let device = Arc::new(opening.device);
        let queues = (0_u16..)
            .zip(of_queue)
            .cycle()
            .take(usize::from(config.queues))
            .map(|(queue, (interrupt, sharing))| QueuePair {
                rx: RxQueue::new(Arc::clone(&device), queue, sharing.rx, interrupt),
                tx: TxQueue::new(Arc::clone(&device), queue, sharing.tx, mtu.bytes),
            })
            .collect();
        let name = config.name.clone();
        let mut port = Self {
            device,
            name,
            driver,
            mac,
            capabilities,
            kernel_interface,
            interface,
            mtu,
            hashed,
            table: QueueTable {
                entries: info.queue_entries,
            },
            is_steered: false,
        };
        if let Some(steering) = &config.steering {
            port.steer_by(steering);
        }
        Ok((port, queues))
    }

    /// The operator's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number in DPDK.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.device.id()
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The largest IP packet that it carries, in bytes: the configured one, or a smaller one that it has and that its
    /// driver cannot change.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.bytes
    }

    /// Whether the driver has set this MTU; else the device, or whoever is at its other end, may have another.
    #[must_use]
    pub fn mtu_is_set(&self) -> bool {
        self.mtu.told
    }

    /// The driver, such as `net_ixgbe`.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// What the device could do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What it hashes, as its driver says; `None` if it hashes nothing or does not say.
    #[must_use]
    pub fn hashed(&self) -> Option<&Hashed> {
        self.hashed.as_ref()
    }

    /// Whether it hashes by this key what every steered port hashes: addresses, and ports of TCP and UDP.
    #[must_use]
    pub fn can_steer_by(&self, key: &[u8; KEY_BYTES]) -> bool {
        let hashed = self.hashed.as_ref();
        hashed.is_some_and(|it| it.is_by(key) && it.addresses && it.ports.tcp && it.ports.udp)
    }

    /// Has the port put flows on the queues that `steering` computes, if it hashes by its key. Says whether it does, as
    /// far as its driver tells.
    pub fn steer_by(&mut self, steering: &Steering) -> bool {
        self.is_steered = self.can_steer_by(steering.key()) && self.spread_over(steering.queues());
        self.is_steered
    }

    /// Whether it puts flows on the queues that it was last told by [`Self::steer_by`] or [`PortConfig::steering`].
    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.is_steered
    }

    /// Has the port choose queues by `queues`, repeated as often as its redirection table is longer. Says whether
    /// it does: the table is read back.
    #[must_use]
    pub fn spread_over(&self, queues: &[u16]) -> bool {
        self.table.set(&self.device, queues)
    }

    /// Its redirection table: queues by the hash modulo their number. `None` if it has none or its driver does not say.
    #[must_use]
    pub fn queue_entries(&self) -> Option<Vec<u16>> {
        self.table.read(&self.device)
    }

    /// Whether there is a link, and that can be found out. See [`Self::link`].
    #[must_use]
    pub fn link_up(&self) -> bool {
        self.link() == Some(true)
    }

    /// Whether there is a link; `None` if that cannot be found out at present: asking takes a descriptor.
    /// `net_af_packet` always claims one, so its interface is asked. An interface that is gone has none.
    #[must_use]
    pub fn link(&self) -> Option<bool> {
        if let Some(index) = self.kernel_interface {
            return match kernel::is_running(index) {
                Ok(is_running) => Some(is_running),
                Err(error) => {
                    let gone = [libc::ENXIO, libc::ENODEV];
                    let is_gone = error
                        .raw_os_error()
                        .is_some_and(|code| gone.contains(&code));
                    is_gone.then_some(false)
                }
            };
        }
        let _control = self.device.control();
        let mut up = false;
        // SAFETY: the port exists while `self.device` is held.
        let status = unsafe { dpdk_sys::plim_port_link_up(self.device.id(), &raw mut up) };
        (status == 0).then_some(up)
    }

    /// Whether the kernel's interface, if the device is one of those that have one, is still there. Once it was deleted,
    /// the device never works again, also if an interface of that name is made: see [`crate::device::may_open_again`].
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.interface.is_none_or(kernel::exists)
    }

    /// The counters, all 0 if the driver has none.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let _control = self.device.control();
        let mut from = MaybeUninit::uninit();
        // SAFETY: the port exists while `self.device` is held; the shim writes the whole struct,
        // whatever it returns.
        let from = unsafe {
            dpdk_sys::plim_port_stats(self.device.id(), from.as_mut_ptr());
            from.assume_init()
        };
        PortStats {
            rx_packets: from.rx_packets,
            tx_packets: from.tx_packets,
            rx_bytes: from.rx_bytes,
            tx_bytes: from.tx_bytes,
            rx_missed: from.rx_missed,
            rx_errors: from.rx_errors,
            tx_errors: from
                .tx_errors
                .saturating_add(self.device.tx_too_long.load(Ordering::Relaxed)),
            rx_no_buffer: from.rx_no_buffer,
            rx_too_long: self.device.rx_too_long.load(Ordering::Relaxed),
        }
    }
}
