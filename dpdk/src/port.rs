//! [`Port`]: one device of DPDK, opened, configured and started, and closed when nobody uses it.
//! It holds no policy: which ports there are, and how many queues they have, is configuration.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plimsoll_dataplane::io::PortQueues;

use crate::device;
use crate::eal::Eal;
use crate::kernel;
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};

mod error;

pub use error::PortError;

/// How a port is opened.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// The operator's name for it, used in errors.
    pub name: String,
    /// A PCI address, or a virtual device with its arguments (see [`crate::device`]). The number of
    /// queues is added to the arguments where the driver needs it.
    pub device: String,
    /// Queue pairs: one per worker.
    pub queues: u16,
    /// Receive descriptors per queue; rounded to what the driver takes. Each holds a buffer.
    pub rx_descriptors: u16,
    /// Transmit descriptors per queue; rounded to what the driver takes.
    pub tx_descriptors: u16,
    /// Largest IP packet.
    pub mtu: u16,
    /// Receive frames for other MACs too.
    pub promiscuous: bool,
}

impl PortConfig {
    /// One queue pair with 512 descriptors each way, MTU 1500, not promiscuous.
    #[must_use]
    pub fn new(name: &str, device: &str) -> Self {
        Self {
            name: name.to_owned(),
            device: device.to_owned(),
            queues: 1,
            rx_descriptors: 512,
            tx_descriptors: 512,
            mtu: 1500,
            promiscuous: false,
        }
    }
}

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

/// What a device could do; none of it but RSS is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Spreads flows over queues itself.
    pub rss: bool,
    /// Checks IPv4, TCP and UDP checksums.
    pub rx_checksum: bool,
    /// Fills in IPv4, TCP and UDP checksums.
    pub tx_checksum: bool,
    /// Most queue pairs.
    pub max_queues: u16,
    /// Largest MTU.
    pub max_mtu: u16,
}

/// A device of DPDK from probing to removal; shared by the port and its queues, since DPDK must not
/// stop it while one of them polls.
#[derive(Debug)]
pub(crate) struct Device {
    id: u16,
    started: AtomicBool,
    /// Held through each control call, as DPDK wants these one at a time for a port.
    control: Mutex<()>,
}

/// Numbers of the ports that this process has opened, so that none is opened twice.
static OPEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Finds the device, or adds it to DPDK.
    fn probe(config: &PortConfig, device: &str) -> Result<Self, PortError> {
        let name = device::pci_address(device).unwrap_or_else(|| device::name(device).to_owned());
        let bad_text = || PortError::DeviceText {
            port: config.name.clone(),
            device: device.to_owned(),
        };
        let c_name = CString::new(name.as_str()).map_err(|_| bad_text())?;
        let c_device = CString::new(device).map_err(|_| bad_text())?;
        if name.is_empty() || name.len() >= dpdk_sys::PLIM_DEVICE_NAME_BYTES as usize {
            return Err(bad_text());
        }

        let mut open = lock(&OPEN);
        let mut id = 0_u16;
        // SAFETY: C strings that live through the calls, and a place for the number.
        let found = unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) };
        if found != 0 {
            // SAFETY: DPDK runs (`Port::open` has an `Eal`); it copies the string.
            let status = unsafe { dpdk_sys::rte_dev_probe(c_device.as_ptr()) };
            // SAFETY: as above.
            let found =
                unsafe { dpdk_sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) };
            if status != 0 || found != 0 {
                let errno = if status < 0 { -status } else { libc::ENODEV };
                return Err(PortError::probe(&config.name, device, errno));
            }
        }
        if !open.insert(id) {
            return Err(PortError::InUse {
                port: config.name.clone(),
                device: device.to_owned(),
            });
        }
        Ok(Self {
            id,
            started: AtomicBool::new(false),
            control: Mutex::new(()),
        })
    }

    fn info(&self) -> Result<dpdk_sys::plim_port_info, i32> {
        let mut info = std::mem::MaybeUninit::uninit();
        // SAFETY: the shim writes the whole struct, whatever it returns.
        let (status, info) = unsafe {
            let status = dpdk_sys::plim_port_info(self.id, info.as_mut_ptr());
            (status, info.assume_init())
        };
        if status == 0 { Ok(info) } else { Err(status) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let mut open = lock(&OPEN);
        if self.started.load(Ordering::Acquire) {
            // SAFETY: the port exists until it is removed below. No queue polls it any more: each
            // holds an `Arc` of this device.
            unsafe { dpdk_sys::rte_eth_dev_stop(self.id) };
        }
        // SAFETY: as above; removing the device closes the port. The buffers that the driver holds go
        // back to pools that are never freed.
        if unsafe { dpdk_sys::plim_port_remove_device(self.id) } != 0 {
            // SAFETY: as above.
            unsafe { dpdk_sys::rte_eth_dev_close(self.id) };
        }
        open.remove(&self.id);
    }
}

/// A port, for the control thread: its queues are the workers'.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
    name: String,
    driver: String,
    mac: [u8; 6],
    capabilities: Capabilities,
    kernel_interface: Option<u32>,
    too_long: Arc<AtomicU64>,
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
    ) -> Result<(Self, Vec<PortQueues<RxQueue, TxQueue>>), PortError> {
        let port = || config.name.clone();
        if config.queues == 0 {
            return Err(PortError::NoQueues { port: port() });
        }
        let needed = device::frame_bytes(config.mtu) + dpdk_sys::PLIM_HEADROOM as usize;
        if pool.data_room() < needed {
            return Err(PortError::DataRoom {
                port: port(),
                mtu: config.mtu,
                needed,
                data_room: pool.data_room(),
            });
        }
        let text = device::with_queue_pairs(&config.device, config.queues);
        // Before the driver binds its sockets to it: bound to an interface that is down, they fail.
        if let Some(index) = device::borrowed_interface(&text).and_then(kernel::interface_index) {
            kernel::bring_up(index).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                PortError::refused(&config.name, &text, "switch its interface on", -errno)
            })?;
        }
        let device = Device::probe(config, &text)?;
        let refused = |step, status: i32| PortError::refused(&config.name, &text, step, status);
        let check = |step, status: i32| {
            if status < 0 {
                Err(refused(step, status))
            } else {
                Ok(())
            }
        };
        let info = device
            .info()
            .map_err(|status| refused("describe itself", status))?;
        let driver = if info.driver.is_null() {
            String::new()
        } else {
            // SAFETY: DPDK returns the driver's name, a static C string.
            unsafe { CStr::from_ptr(info.driver) }
                .to_string_lossy()
                .into_owned()
        };
        let capabilities = capabilities(&info, &driver);
        if config.queues > capabilities.max_queues {
            return Err(PortError::TooManyQueues {
                port: port(),
                device: text,
                asked: config.queues,
                most: capabilities.max_queues,
            });
        }
        if config.mtu < info.min_mtu || config.mtu > capabilities.max_mtu {
            return Err(PortError::Mtu {
                port: port(),
                driver,
                asked: config.mtu,
                least: info.min_mtu,
                most: capabilities.max_mtu,
            });
        }

        let id = device.id;
        let rss = if capabilities.rss && config.queues > 1 {
            info.rss_types
        } else {
            0
        };
        let mut rx_descriptors = config.rx_descriptors;
        let mut tx_descriptors = config.tx_descriptors;
        // SAFETY: the port was probed, is not started, and is known to this thread only.
        // The pool lives for ever. Null means the driver's defaults for a queue.
        unsafe {
            check(
                "be configured",
                dpdk_sys::plim_port_configure(id, config.queues, rss),
            )?;
            let status = dpdk_sys::rte_eth_dev_set_mtu(id, config.mtu);
            if status != -libc::ENOTSUP {
                check("take the MTU", status)?;
            }
            check(
                "take the number of descriptors",
                dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(
                    id,
                    &raw mut rx_descriptors,
                    &raw mut tx_descriptors,
                ),
            )?;
            let socket = u32::try_from(dpdk_sys::rte_eth_dev_socket_id(id)).unwrap_or(u32::MAX);
            for queue in 0..config.queues {
                let status = dpdk_sys::rte_eth_rx_queue_setup(
                    id,
                    queue,
                    rx_descriptors,
                    socket,
                    std::ptr::null(),
                    pool.raw().as_ptr(),
                );
                check("set up a receive queue", status)?;
                let status = dpdk_sys::rte_eth_tx_queue_setup(
                    id,
                    queue,
                    tx_descriptors,
                    socket,
                    std::ptr::null(),
                );
                check("set up a transmit queue", status)?;
            }
        }
        let kernel_interface = Some(info.kernel_interface)
            .filter(|index| *index != 0 && device::borrowed_interface(&text).is_some());
        // SAFETY: the port is configured and has its queues.
        check("start", unsafe { dpdk_sys::rte_eth_dev_start(id) })?;
        device.started.store(true, Ordering::Release);
        // A TAP hands over whatever the kernel sends; there is nothing to filter.
        if !driver.starts_with("net_tap") {
            // SAFETY: the port exists.
            let multicast = unsafe { dpdk_sys::rte_eth_allmulticast_enable(id) };
            if config.promiscuous || multicast < 0 {
                // SAFETY: the port exists.
                let status = unsafe { dpdk_sys::rte_eth_promiscuous_enable(id) };
                if status != -libc::ENOTSUP {
                    check("be made promiscuous", status)?;
                }
            }
        }
        let mut mac = [0; 6];
        // SAFETY: the shim writes 6 bytes.
        check("tell its MAC", unsafe {
            dpdk_sys::plim_port_mac(id, mac.as_mut_ptr())
        })?;

        let device = Arc::new(device);
        let too_long = Arc::new(AtomicU64::new(0));
        let queues = (0..config.queues)
            .map(|queue| PortQueues {
                rx: RxQueue::new(Arc::clone(&device), id, queue, Arc::clone(&too_long)),
                tx: TxQueue::new(Arc::clone(&device), id, queue),
            })
            .collect();
        let name = config.name.clone();
        Ok((
            Self {
                device,
                name,
                driver,
                mac,
                capabilities,
                kernel_interface,
                too_long,
            },
            queues,
        ))
    }

    /// The operator's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number in DPDK.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.device.id
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
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

    /// Whether there is a link. `net_af_packet` always claims one, so its interface is asked.
    #[must_use]
    pub fn link_up(&self) -> bool {
        if let Some(index) = self.kernel_interface {
            return kernel::is_running(index).unwrap_or(false);
        }
        let _control = lock(&self.device.control);
        let mut up = false;
        // SAFETY: the port exists while `self.device` is held.
        let status = unsafe { dpdk_sys::plim_port_link_up(self.device.id, &raw mut up) };
        status == 0 && up
    }

    /// The counters, all 0 if the driver has none.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        let _control = lock(&self.device.control);
        let mut from = std::mem::MaybeUninit::uninit();
        // SAFETY: the port exists while `self.device` is held; the shim writes the whole struct,
        // whatever it returns.
        let from = unsafe {
            dpdk_sys::plim_port_stats(self.device.id, from.as_mut_ptr());
            from.assume_init()
        };
        PortStats {
            rx_packets: from.rx_packets,
            tx_packets: from.tx_packets,
            rx_bytes: from.rx_bytes,
            tx_bytes: from.tx_bytes,
            rx_missed: from.rx_missed,
            rx_errors: from.rx_errors,
            tx_errors: from.tx_errors,
            rx_no_buffer: from.rx_no_buffer,
            rx_too_long: self.too_long.load(Ordering::Relaxed),
        }
    }
}

fn capabilities(info: &dpdk_sys::plim_port_info, driver: &str) -> Capabilities {
    // DPDK's own rule: drivers that do not tell their largest MTU have 18 bytes of overhead.
    let told = info.max_mtu != u16::MAX;
    let by_frame = u16::try_from(info.max_rx_frame.saturating_sub(18)).unwrap_or(u16::MAX);
    Capabilities {
        // The kernel spreads a TAP's flows; its driver claims RSS for something else.
        rss: info.rss_types != 0 && !driver.starts_with("net_tap"),
        rx_checksum: info.rx_checksum,
        tx_checksum: info.tx_checksum,
        max_queues: info.max_rx_queues.min(info.max_tx_queues),
        max_mtu: if told { info.max_mtu } else { by_frame },
    }
}
