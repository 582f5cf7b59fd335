//! `plimsoll ports`: what `ip -s link` would show of Plimsoll's ports.
//! Field names are a contract.

use serde::{Deserialize, Serialize};

/// A port with what was counted for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name; a TAP to the kernel has the name of its port.
    pub name: String,
    /// Whether this is the TAP by which a port of this name gives the kernel what is not balanced.
    pub kernel: bool,
    /// Whether it has such a TAP.
    pub has_kernel: bool,
    /// Whether it has a link, as far as is known.
    pub link_up: bool,
    /// Whether its device is there: false from when its interface is deleted until it is opened again.
    pub present: bool,
    /// Its MAC.
    pub mac: String,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Its driver.
    pub driver: String,
    /// Its addresses with the lengths of their networks.
    pub addresses: Vec<String>,
    /// Whether it is relied on to put each flow on the queue of its owner.
    pub steered: bool,
    /// What was counted for it.
    #[serde(flatten)]
    pub counters: PortCounters,
}

/// Frames and bytes since the start, Ethernet headers included, and what the device lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost in the device since a worker was too slow.
    pub rx_missed: u64,
    /// Broken frames received.
    pub rx_errors: u64,
    /// Times that no buffer was there to receive into.
    pub rx_no_buffer: u64,
    /// Frames dropped as they do not fit into one buffer.
    pub rx_too_long: u64,
    /// Frames that the device could not send.
    pub tx_errors: u64,
    /// First packets of sessions, of one in eight, that came by another queue than the driver said.
    pub misplaced: u64,
}

/// `plimsoll ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// In the order of the configuration; then those to the kernel.
    pub ports: Vec<Port>,
}
