//! How frames reach a neighbour: by which device, and behind which Ethernet header.
//! Which neighbour that is, and what is sent to it, is decided elsewhere.

use crate::id::{DeviceId, PortId};
use crate::io::PacketBuf;
use crate::snapshot::Snapshot;
use crate::wire::Mac;
use crate::wire::ethernet::{self, HEADER_BYTES as ETHERNET};

/// What every frame to one neighbour has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adjacency {
    /// The destination's and the source's MAC.
    pub(crate) macs: [u8; 12],
    /// Where its frames leave.
    pub(crate) device: DeviceId,
}

impl Adjacency {
    /// Of the neighbour on `port` that has this MAC; `None` if there is no such port.
    #[inline]
    pub(crate) fn new(snapshot: &Snapshot, port: PortId, neighbour: Mac) -> Option<Self> {
        let device = snapshot.device_of(port)?;
        Some(Self {
            macs: ethernet::addresses(neighbour, snapshot.device(device)?.mac),
            device,
        })
    }

    /// Writes the Ethernet header in front of a frame's datagram.
    #[inline]
    pub(crate) fn write_header<F: PacketBuf>(&self, frame: &mut F) {
        let bytes = frame.bytes_mut();
        let ether_type = match bytes.get(ETHERNET) {
            Some(first) if first >> 4 == 6 => ethernet::IPV6,
            _ => ethernet::IPV4,
        };
        if let Some(header) = bytes.first_chunk_mut() {
            ethernet::write_with_addresses(header, &self.macs, ether_type);
        }
    }
}
