//! How frames reach a neighbour: by which device, and behind which Ethernet header.
//! Which neighbour that is, and what is sent to it, is decided elsewhere.

use crate::id::DeviceId;
use crate::io::PacketBuf;
use crate::snapshot::Snapshot;
use crate::spec::network::PortSpec;
use crate::wire::Mac;
use crate::wire::ethernet;

/// What every frame to one neighbour has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Adjacency {
    /// The destination's and the source's MAC.
    pub(crate) macs: [u8; 12],
    /// Where its frames leave.
    pub(crate) device: DeviceId,
}

impl Adjacency {
    /// Of the neighbour on this port that has this MAC; `None` if there is no such device.
    #[inline]
    pub(crate) fn new(snapshot: &Snapshot, port: &PortSpec, neighbour: Mac) -> Option<Self> {
        let device = port.device;
        Some(Self {
            macs: ethernet::addresses(neighbour, snapshot.device(device)?.mac),
            device,
        })
    }

    /// Writes the Ethernet header of `header_bytes` in front of a frame's datagram: the addresses first, the type last.
    #[inline]
    pub(crate) fn write_header<F: PacketBuf>(&self, frame: &mut F, header_bytes: usize) {
        let bytes = frame.bytes_mut();
        let Some((header, datagram)) = bytes.split_at_mut_checked(header_bytes) else {
            return;
        };
        let ether_type = match datagram.first() {
            Some(first) if first >> 4 == 6 => ethernet::IPV6,
            _ => ethernet::IPV4,
        };
        if let Some(first) = header.first_chunk_mut() {
            ethernet::write_addresses(first, &self.macs);
        }
        if let Some(last) = header.last_chunk_mut() {
            *last = ether_type.to_be_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::heap::HeapBuf;

    #[test]
    fn a_header_is_as_long_as_its_port_has_them() {
        for (header_bytes, version, ether_type) in [
            (14, 0x45, [8, 0]),
            (14, 0x60, [0x86, 0xdd]),
            (18, 0x60, [0x86, 0xdd]),
        ] {
            let adjacency = Adjacency {
                macs: [7; 12],
                device: DeviceId::new(0),
            };
            let mut frame = [1; 40];
            frame[header_bytes] = version;
            let mut expected = frame;
            expected[..12].fill(7);
            expected[header_bytes - 2..header_bytes].copy_from_slice(&ether_type);
            let mut buffer = HeapBuf::from_frame(&frame);
            adjacency.write_header(&mut buffer, header_bytes);
            assert_eq!(buffer.bytes(), expected);
        }
    }
}
