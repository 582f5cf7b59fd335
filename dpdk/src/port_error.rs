//! [`PortError`]: why a port cannot be opened, and what an operator can do about it.
//! It only describes; nothing is tried again here.

use std::io;
use std::mem;

use crate::device;
use crate::kernel;
use crate::messages;

/// A port cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The device's text cannot be a device.
    #[error(
        "port `{port}`: `{device}` is neither a PCI address nor a DPDK device with its arguments"
    )]
    DeviceText {
        /// The port.
        port: String,
        /// As configured.
        device: String,
    },
    /// There is no such device, or DPDK may not use it.
    #[error("port `{port}`: device `{device}` cannot be opened: {reason}{advice}{messages}")]
    Probe {
        /// The port.
        port: String,
        /// As given to DPDK.
        device: String,
        /// The error number in words.
        reason: String,
        /// What to do.
        advice: String,
        /// What DPDK logged, or nothing.
        messages: String,
    },
    /// Two ports on one device.
    #[error("port `{port}`: device `{device}` is in use by another port")]
    InUse {
        /// The port.
        port: String,
        /// As configured.
        device: String,
    },
    /// No worker would poll it.
    #[error("port `{port}`: a port needs at least one queue")]
    NoQueues {
        /// The port.
        port: String,
    },
    /// Fewer queues than workers.
    #[error(
        "port `{port}`: {asked} queues are needed, one per worker, and device `{device}` has {most}; \
         configure fewer dataplane.cpus, or more queues in the device's arguments if it takes them"
    )]
    TooManyQueues {
        /// The port.
        port: String,
        /// As given to DPDK.
        device: String,
        /// One per worker.
        asked: u16,
        /// What the device has.
        most: u16,
    },
    /// The MTU is out of the driver's range.
    #[error("port `{port}`: MTU {asked}: the driver {driver} takes {least} to {most}")]
    Mtu {
        /// The port.
        port: String,
        /// Its driver.
        driver: String,
        /// As configured.
        asked: u16,
        /// Smallest.
        least: u16,
        /// Largest.
        most: u16,
    },
    /// Frames would not fit into the pool's buffers.
    #[error(
        "port `{port}`: frames of MTU {mtu} need buffers of {needed} bytes, the pool's have {data_room}"
    )]
    DataRoom {
        /// The port.
        port: String,
        /// As configured.
        mtu: u16,
        /// Bytes, headroom included.
        needed: usize,
        /// Bytes that there are.
        data_room: usize,
    },
    /// The driver refused a step.
    #[error("port `{port}`: device `{device}` cannot {step}: {reason}{messages}")]
    Refused {
        /// The port.
        port: String,
        /// As given to DPDK.
        device: String,
        /// Which one.
        step: &'static str,
        /// The error number in words.
        reason: String,
        /// What DPDK logged, or nothing.
        messages: String,
    },
}

impl PortError {
    /// Whether both are about the same step that fails for the same reason, whatever the device was called in DPDK,
    /// which the texts of both name.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Probe { reason, .. }, Self::Probe { reason: before, .. }) => reason == before,
            (
                Self::Refused { step, reason, .. },
                Self::Refused {
                    step: step_before,
                    reason: before,
                    ..
                },
            ) => step == step_before && reason == before,
            _ => mem::discriminant(self) == mem::discriminant(other),
        }
    }

    pub(super) fn probe(port: &str, device: &str, errno: i32) -> Self {
        Self::Probe {
            port: port.to_owned(),
            device: device.to_owned(),
            reason: io::Error::from_raw_os_error(errno).to_string(),
            advice: advice(device),
            messages: messages::quoted(),
        }
    }

    /// `status` is a negative error number, as DPDK returns it.
    pub(super) fn refused(port: &str, device: &str, step: &'static str, status: i32) -> Self {
        Self::Refused {
            port: port.to_owned(),
            device: device.to_owned(),
            step,
            reason: io::Error::from_raw_os_error(status.saturating_neg()).to_string(),
            messages: messages::quoted(),
        }
    }
}

/// What is wrong most often, for this kind of device.
fn advice(text: &str) -> String {
    let name = device::name(text);
    if let Some(address) = device::pci_address(text) {
        return format!(
            " (is it there, and given to DPDK? `dpdk-devbind.py --status`, \
             `dpdk-devbind.py -b vfio-pci {address}`)"
        );
    }
    let Some(driver) = name.strip_prefix("net_") else {
        return " (names of virtual devices begin with their driver's, such as net_af_packet0)"
            .to_owned();
    };
    let driver = driver.trim_end_matches(|c: char| c.is_ascii_digit());
    if driver.starts_with("af_") {
        match device::argument(text, "iface") {
            None => return " (it needs iface=NAME)".to_owned(),
            Some(interface) if kernel::interface_index(interface).is_none() => {
                return format!(" (there is no network interface `{interface}`; see `ip link`)");
            }
            Some(_) => {}
        }
    }
    let packaged = driver.split('_').take(2).collect::<Vec<_>>().join("-");
    match driver {
        _ if driver.starts_with("tap") => {
            " (it needs CAP_NET_ADMIN, /dev/net/tun, a free interface name of at most 15 bytes, and \
             Debian's package librte-net-tap)"
                .to_owned()
        }
        _ if driver.starts_with("af_packet") => {
            " (it needs CAP_NET_RAW, and Debian's package librte-net-af-packet)".to_owned()
        }
        _ => format!(
            " (are the arguments right, and the driver installed? Debian's package would be \
             librte-net-{packaged})"
        ),
    }
}
