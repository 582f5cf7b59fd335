//! [`Device`]: a device of DPDK from probing to removal, held by the port and by each of its queues.
//! What is done with it in between is the business of `port.rs` and `queue.rs`.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device;
use crate::port_error::PortError;

/// A device of DPDK from probing to removal; shared by the port and its queues, since DPDK must not
/// stop it while one of them polls.
#[derive(Debug)]
pub(crate) struct Device {
    id: u16,
    started: AtomicBool,
    control: Mutex<()>,
    /// Frames received in several pieces that do not fit one buffer, which a queue has dropped.
    pub(crate) rx_too_long: AtomicU64,
    /// Frames longer than the device sends, which a queue has dropped.
    pub(crate) tx_too_long: AtomicU64,
}

/// Numbers of the ports that this process has opened, so that none is opened twice.
static OPEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics while it holds the lock, and the data would be whole if it did.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Finds the device, or adds it to DPDK; `port` is the operator's name for the port, used in errors.
    pub(super) fn probe(port: &str, device: &str) -> Result<Self, PortError> {
        let name = device::pci_address(device).unwrap_or_else(|| device::name(device).to_owned());
        let bad_text = || PortError::DeviceText {
            port: port.to_owned(),
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
                return Err(PortError::probe(port, device, errno));
            }
        }
        if !open.insert(id) {
            return Err(PortError::InUse {
                port: port.to_owned(),
                device: device.to_owned(),
            });
        }
        Ok(Self {
            id,
            started: AtomicBool::new(false),
            control: Mutex::new(()),
            rx_too_long: AtomicU64::new(0),
            tx_too_long: AtomicU64::new(0),
        })
    }

    /// To be held through each control call, as DPDK wants these one at a time for a port.
    pub(super) fn control(&self) -> MutexGuard<'_, ()> {
        lock(&self.control)
    }

    /// From now on the device is stopped before it is removed.
    pub(super) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(super) fn info(&self) -> Result<dpdk_sys::plim_port_info, i32> {
        let mut info = MaybeUninit::uninit();
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
