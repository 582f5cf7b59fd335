//! [`PortConfig`]: how a port is opened.
//! It checks nothing: what a device cannot do is found when it is opened.

use std::sync::Arc;

use plimsoll_dataplane::steering::{KEY_BYTES, Steering};

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
    /// Where the device has fewer, several workers share one, which locks for each burst: for ports that
    /// little goes through.
    pub share: bool,
    /// Receive descriptors per queue; rounded to what the driver takes. Each holds a buffer.
    pub rx_descriptors: u16,
    /// Transmit descriptors per queue; rounded to what the driver takes.
    pub tx_descriptors: u16,
    /// Largest IP packet.
    pub mtu: u16,
    /// The MAC address that the device is given, if it has another: that of the device in whose place it comes.
    pub mac: Option<[u8; 6]>,
    /// Receive frames for other MACs too.
    pub promiscuous: bool,
    /// The key that flows are to be hashed by; the driver's own if it takes none.
    pub hash_key: Option<[u8; KEY_BYTES]>,
    /// How flows are to be spread over the queues (see [`crate::Port::steer_by`]); by the driver's own redirection table if
    /// that is not known yet.
    pub steering: Option<Arc<Steering>>,
    /// Have the receive queues tell when frames come, where the driver can (see [`crate::RxQueue::interrupt`]).
    pub interrupts: bool,
}

impl PortConfig {
    /// One queue pair with 512 descriptors each way, MTU 1500, not promiscuous, no interrupts.
    #[must_use]
    pub fn new(name: &str, device: &str) -> Self {
        Self {
            name: name.to_owned(),
            device: device.to_owned(),
            queues: 1,
            share: false,
            rx_descriptors: 512,
            tx_descriptors: 512,
            mtu: 1500,
            mac: None,
            promiscuous: false,
            hash_key: None,
            steering: None,
            interrupts: false,
        }
    }
}
