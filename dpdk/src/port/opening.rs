//! The steps from a configured device to a started one, in DPDK's order.
//! Whether to take them, and what comes of it, is `Port::open`'s.

use std::ffi::CStr;
use std::ptr;

use super::capabilities::Capabilities;
use super::config::PortConfig;
use super::spreading::{self, Hashed, Hashing};
use crate::device;
use crate::interrupt::Interrupt;
use crate::kernel;
use crate::lease::Device;
use crate::mempool::Mempool;
use crate::port_error::PortError;

/// Some drivers cannot do with receive interrupts what they can do without, and DPDK's error numbers do not say so.
const CONFIGURE: [&str; 2] = [
    "be configured",
    "be configured with receive interrupts (dataplane.idle: poll does without)",
];
const START: [&str; 2] = [
    "start",
    "start with receive interrupts (dataplane.idle: poll does without)",
];

/// The MTU of an open device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mtu {
    pub(super) bytes: u16,
    /// Whether the driver has set it.
    pub(super) told: bool,
}

/// A port on its way to being started; dropped, its device is removed again.
pub(super) struct Opening<'a> {
    config: &'a PortConfig,
    /// The device as given to DPDK.
    pub(super) text: String,
    /// Queue pairs that it gets.
    pub(super) queues: u16,
    pub(super) device: Device,
}

impl<'a> Opening<'a> {
    pub(super) fn probe(config: &'a PortConfig) -> Result<Self, PortError> {
        let text = device::with_queue_pairs(&config.device, config.queues);
        // Before the driver binds its sockets to it: bound to an interface that is down, they fail.
        if let Some(index) = device::borrowed_interface(&text).and_then(kernel::interface_index) {
            kernel::bring_up(index).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                PortError::refused(&config.name, &text, "switch its interface on", -errno)
            })?;
        }
        let device = Device::probe(&config.name, &text)?;
        Ok(Self {
            config,
            text,
            queues: config.queues,
            device,
        })
    }

    /// DPDK's functions return a negative error number.
    fn check(&self, step: &'static str, status: i32) -> Result<(), PortError> {
        if status < 0 {
            Err(PortError::refused(
                &self.config.name,
                &self.text,
                step,
                status,
            ))
        } else {
            Ok(())
        }
    }

    pub(super) fn describe(&self) -> Result<(dpdk_sys::plim_port_info, String), PortError> {
        let info = self.device.info().map_err(|status| {
            PortError::refused(&self.config.name, &self.text, "describe itself", status)
        })?;
        let driver = if info.driver.is_null() {
            String::new()
        } else {
            // SAFETY: DPDK returns the driver's name, a static C string.
            unsafe { CStr::from_ptr(info.driver) }
                .to_string_lossy()
                .into_owned()
        };
        Ok((info, driver))
    }

    pub(super) fn check_limits(
        &self,
        info: &dpdk_sys::plim_port_info,
        capabilities: &Capabilities,
        driver: &str,
    ) -> Result<(), PortError> {
        let too_many = self.config.queues > capabilities.max_queues;
        if too_many && !(self.config.share && capabilities.max_queues > 0) {
            return Err(PortError::TooManyQueues {
                port: self.config.name.clone(),
                device: self.text.clone(),
                asked: self.config.queues,
                most: capabilities.max_queues,
            });
        }
        if self.config.mtu < info.min_mtu || self.config.mtu > capabilities.max_mtu {
            return Err(PortError::Mtu {
                port: self.config.name.clone(),
                driver: driver.to_owned(),
                asked: self.config.mtu,
                least: info.min_mtu,
                most: capabilities.max_mtu,
            });
        }
        Ok(())
    }

    /// Returns the MTU that the device has now, which is at most the configured one.
    pub(super) fn configure(
        &self,
        info: &dpdk_sys::plim_port_info,
        hashing: Hashing,
        pool: &Mempool,
    ) -> Result<Mtu, PortError> {
        let id = self.device.id();
        let mut rx_descriptors = self.config.rx_descriptors;
        let mut tx_descriptors = self.config.tx_descriptors;
        let configure = |key: Option<&[u8]>| {
            let (key, bytes) = spreading::raw(key);
            // SAFETY: the port was probed, is not started, and is known to this thread only. The key is null or
            // as long as stated, and lives through the call.
            unsafe {
                dpdk_sys::plim_port_configure(
                    id,
                    self.queues,
                    hashing.types,
                    self.config.interrupts,
                    key,
                    bytes,
                )
            }
        };
        let key = hashing.key(self.config.hash_key.as_ref());
        let mut status = configure(key.as_deref());
        if status < 0 && key.is_some() {
            // There are drivers that take none.
            status = configure(None);
        }
        self.check(self.with_or_without(CONFIGURE), status)?;
        // SAFETY: as above.
        let status = unsafe { dpdk_sys::rte_eth_dev_set_mtu(id, self.config.mtu) };
        let mtu = if status == -libc::ENOTSUP {
            Mtu {
                bytes: self.untold_mtu(info.kernel_interface),
                told: false,
            }
        } else {
            self.check("take the MTU", status)?;
            Mtu {
                bytes: self.config.mtu,
                told: true,
            }
        };
        // SAFETY: as above, with two places that live through the call.
        let status = unsafe {
            dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(
                id,
                &raw mut rx_descriptors,
                &raw mut tx_descriptors,
            )
        };
        self.check("take the number of descriptors", status)?;
        // SAFETY: as above. Any negative number stands for "any socket".
        let socket = u32::try_from(unsafe { dpdk_sys::rte_eth_dev_socket_id(id) });
        let socket = socket.unwrap_or(u32::MAX);
        for queue in 0..self.queues {
            // SAFETY: as above; null asks for the driver's defaults, and pools are never freed.
            let status = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(
                    id,
                    queue,
                    rx_descriptors,
                    socket,
                    ptr::null(),
                    pool.raw().as_ptr(),
                )
            };
            self.check("set up a receive queue", status)?;
            // SAFETY: as above.
            let status = unsafe {
                dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx_descriptors, socket, ptr::null())
            };
            self.check("set up a transmit queue", status)?;
        }
        Ok(mtu)
    }

    /// The MTU of a device whose driver has no way to set it. Where an interface of the kernel's is behind it, that one's
    /// counts; the others (vhost, memif, ring) carry whatever fits their limits, which the configured one does.
    fn untold_mtu(&self, kernel_interface: u32) -> u16 {
        let of_interface = (kernel_interface != 0)
            .then(|| kernel::mtu(kernel_interface).ok())
            .flatten();
        of_interface.map_or(self.config.mtu, |mtu| mtu.min(self.config.mtu))
    }

    pub(super) fn start(&self, driver: &str) -> Result<(), PortError> {
        let id = self.device.id();
        // SAFETY: the port is configured and has its queues.
        self.check(self.with_or_without(START), unsafe {
            dpdk_sys::rte_eth_dev_start(id)
        })?;
        self.device.set_started();
        // A TAP hands over whatever the kernel sends; there is nothing to filter.
        if driver.starts_with("net_tap") {
            return Ok(());
        }
        // SAFETY: the port exists.
        let multicast = unsafe { dpdk_sys::rte_eth_allmulticast_enable(id) };
        if self.config.promiscuous || multicast < 0 {
            // SAFETY: the port exists.
            let status = unsafe { dpdk_sys::rte_eth_promiscuous_enable(id) };
            // What has no such switch has no filter.
            if status != -libc::ENOTSUP {
                self.check("be made promiscuous", status)?;
            }
        }
        Ok(())
    }

    /// How the started port hashes flows, if its driver says so: by the key that it was given, if it takes one.
    pub(super) fn hash(&self, hashing: Hashing) -> Option<Hashed> {
        let in_force = hashing.in_force(self.device.id())?;
        match hashing.key(self.config.hash_key.as_ref()) {
            // Some drivers only take it now.
            Some(key) if !in_force.is_by(&key) => {
                hashing.set_key(self.device.id(), &key);
                hashing.in_force(self.device.id())
            }
            _ => Some(in_force),
        }
    }

    /// How the queue of the started port tells that frames come, if that is asked for.
    pub(super) fn interrupt(&self, queue: u16, driver: &str) -> Option<Interrupt> {
        self.config
            .interrupts
            .then(|| Interrupt::of(self.device.id(), queue, driver))?
    }

    /// What the step is called.
    fn with_or_without(&self, [without, with]: [&'static str; 2]) -> &'static str {
        if self.config.interrupts {
            with
        } else {
            without
        }
    }

    /// The MAC of the device, which has it as configured.
    pub(super) fn take_mac(&self) -> Result<[u8; 6], PortError> {
        let own = self.mac()?;
        match self.config.mac {
            Some(mac) if mac != own => {
                // SAFETY: the shim reads 6 bytes.
                let status = unsafe { dpdk_sys::plim_port_set_mac(self.device.id(), mac.as_ptr()) };
                self.check("take the MAC that the port had", status)?;
                Ok(mac)
            }
            _ => Ok(own),
        }
    }

    fn mac(&self) -> Result<[u8; 6], PortError> {
        let mut mac = [0; 6];
        // SAFETY: the shim writes 6 bytes.
        let status = unsafe { dpdk_sys::plim_port_mac(self.device.id(), mac.as_mut_ptr()) };
        self.check("tell its MAC", status)?;
        Ok(mac)
    }
}
