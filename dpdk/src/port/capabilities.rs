//! [`Capabilities`]: what a device could do, by what its driver tells and what that leaves out.
//! It asks no device, and switches nothing on.

use crate::device;

/// What a device could do, and does; of what it could, only RSS is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Spreads flows over queues itself.
    pub rss: bool,
    /// Checks IPv4, TCP and UDP checksums.
    pub rx_checksum: bool,
    /// Fills in IPv4, TCP and UDP checksums.
    pub tx_checksum: bool,
    /// Hands over frames whose TCP or UDP checksum a sender on this very machine has left unfinished
    /// (it holds the sum of the pseudo header only), without a mark. The receiver of such a frame
    /// drops it, unless the checksum is completed on the way.
    pub rx_unfinished_checksums: bool,
    /// Most queue pairs.
    pub max_queues: u16,
    /// Largest MTU.
    pub max_mtu: u16,
}

impl Capabilities {
    /// Those of a device, as given to DPDK in `text`.
    pub(super) fn of(info: &dpdk_sys::plim_port_info, driver: &str, text: &str) -> Self {
        // DPDK's own rule: drivers that do not tell their largest MTU have 18 bytes of overhead.
        let told = info.max_mtu != u16::MAX;
        let queues = info.max_rx_queues.min(info.max_tx_queues);
        let is_tap = driver.starts_with("net_tap");
        let of_tap = u16::try_from(dpdk_sys::PLIM_TAP_QUEUES).unwrap_or(u16::MAX);
        let by_frame = u16::try_from(info.max_rx_frame.saturating_sub(18)).unwrap_or(u16::MAX);
        Self {
            // The kernel spreads a TAP's flows; its driver claims RSS for something else.
            rss: info.rss_types != 0 && !is_tap,
            rx_checksum: info.rx_checksum,
            tx_checksum: info.tx_checksum,
            rx_unfinished_checksums: device::borrowed_interface(text).is_some(),
            max_queues: if is_tap { queues.min(of_tap) } else { queues },
            max_mtu: if told { info.max_mtu } else { by_frame },
        }
    }
}
