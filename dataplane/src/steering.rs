//! Receive-side scaling (RSS) computed in software: on which queue a NIC puts a packet, by the Toeplitz hash
//! that it was told to use. It programs no NIC and counts nothing.

use std::sync::Arc;

use crate::flow::{Address, Protocol};
use crate::parse::{Packet, Parse};
use crate::wire::{ipv4, ipv6};

/// Bytes of a key that matter: a window of 32 bits moves over the 36 bytes that are hashed of IPv6.
pub const KEY_BYTES: usize = 40;

/// The key of Microsoft's verification suite ("Verifying the RSS Hash Calculation"), known to work well and what
/// many drivers begin with. It is not symmetric: both directions of a NAT flow have different addresses, so
/// that no symmetry would bring them together. The daemon draws a key of its own, which nobody outside knows.
pub const DEFAULT_KEY: [u8; KEY_BYTES] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Entries of the redirection table: what most NICs have at least, or a multiple of it. A NIC with more is given
/// this table several times over, which comes to the same since the index is the hash modulo their number.
pub const ENTRIES: usize = 128;

/// Half bytes of the longest input.
const NIBBLES: usize = 72;

/// The Toeplitz hash by one key, as a table: by half byte of the input and its value, what it adds.
#[derive(Debug, Clone)]
struct Toeplitz(Box<[[u32; 16]; NIBBLES]>);

impl Toeplitz {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut table = Box::new([[0; 16]; NIBBLES]);
        for (place, sums) in table.iter_mut().enumerate() {
            for (value, sum) in (0_u8..).zip(sums) {
                for bit in (0..4).filter(|bit| value & (8 >> bit) != 0) {
                    *sum ^= window(key, place * 4 + bit);
                }
            }
        }
        Self(table)
    }

    /// `hash` with what `input` adds to it, whose half bytes begin at place `first`.
    #[inline]
    fn add(&self, hash: u32, first: usize, input: u64, nibbles: u32) -> u32 {
        let places = self.0.iter().skip(first);
        (0..nibbles).zip(places).fold(hash, |hash, (number, sums)| {
            let value = input >> (4 * (nibbles - 1 - number)) & 0xf;
            let sum = usize::try_from(value)
                .ok()
                .and_then(|value| sums.get(value));
            hash ^ sum.copied().unwrap_or(0)
        })
    }

    /// What the source's address and, if it counts, port add to the hash.
    #[inline]
    fn source<A: Address>(&self, address: A, port: Option<u16>) -> u32 {
        self.end(0, address, port)
    }

    /// The same of the destination.
    #[inline]
    fn destination<A: Address>(&self, address: A, port: Option<u16>) -> u32 {
        self.end(1, address, port)
    }

    /// One end of a packet; the addresses are hashed before the ports, and of each the source's first.
    #[inline]
    fn end<A: Address>(&self, place: usize, address: A, port: Option<u16>) -> u32 {
        let words = address.words();
        let nibbles = 2 * size_of::<A>();
        let first = place * nibbles;
        let hash = if nibbles == 8 {
            self.add(0, first, words[0], 8)
        } else {
            let hash = self.add(0, first, words[0], 16);
            self.add(hash, first + 16, words[1], 16)
        };
        let behind = 2 * nibbles + place * 4;
        port.map_or(hash, |port| self.add(hash, behind, port.into(), 4))
    }
}

/// The 32 bits of the key from `bit` on.
fn window(key: &[u8; KEY_BYTES], bit: usize) -> u32 {
    let bits = key.iter().skip(bit / 8).take(5);
    let bits = bits.fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let wanted = bits >> (8 - bit % 8) & u64::from(u32::MAX);
    u32::try_from(wanted).unwrap_or(0)
}

/// Which packets of a protocol a NIC hashes with their ports; of the others it hashes the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedPorts {
    /// Of TCP.
    pub tcp: bool,
    /// Of UDP.
    pub udp: bool,
    /// Of SCTP, which few NICs know.
    pub sctp: bool,
}

impl Default for HashedPorts {
    /// What every NIC with RSS can do.
    fn default() -> Self {
        Self {
            tcp: true,
            udp: true,
            sctp: false,
        }
    }
}

impl HashedPorts {
    const fn of(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.udp,
            Protocol::Sctp => self.sctp,
        }
    }
}

/// How packets are spread over queues, and flows over workers: queue N is worker N's. The same on every port
/// and for as long as the process runs, since the owners of sessions follow from it.
#[derive(Debug, Clone)]
pub struct Steering {
    key: [u8; KEY_BYTES],
    toeplitz: Toeplitz,
    ports: HashedPorts,
    queues: Arc<[u16]>,
}

impl Steering {
    /// Spreads over `workers` workers in equal parts.
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES], ports: HashedPorts, workers: usize) -> Self {
        let workers = u16::try_from(workers.max(1)).unwrap_or(u16::MAX);
        let queues = (0..workers).cycle().take(ENTRIES).collect();
        Self {
            key,
            toeplitz: Toeplitz::new(&key),
            ports,
            queues,
        }
    }

    /// The same with [`DEFAULT_KEY`] and what every NIC can do.
    #[must_use]
    pub fn usual(workers: usize) -> Self {
        Self::new(DEFAULT_KEY, HashedPorts::default(), workers)
    }

    /// The key that NICs are to be given.
    #[must_use]
    pub const fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// Which ports NICs are to hash.
    #[must_use]
    pub const fn hashed_ports(&self) -> HashedPorts {
        self.ports
    }

    /// The redirection table that NICs are to be given: queues by the hash modulo their number.
    #[must_use]
    pub fn queues(&self) -> &[u16] {
        &self.queues
    }

    /// The worker that a flow's packets from `source` to `destination` are received by, unless they are
    /// fragments.
    #[inline]
    #[must_use]
    pub fn worker_of_flow<A: Address>(
        &self,
        protocol: Protocol,
        source: (A, u16),
        destination: (A, u16),
    ) -> usize {
        let part = self.part_of_destination(protocol, destination);
        self.worker_of_source(protocol, part, source)
    }

    /// What a destination adds to the hash of a flow, for [`Self::worker_of_source`].
    #[inline]
    #[must_use]
    pub fn part_of_destination<A: Address>(
        &self,
        protocol: Protocol,
        (address, port): (A, u16),
    ) -> u32 {
        let port = self.ports.of(protocol).then_some(port);
        self.toeplitz.destination(address, port)
    }

    /// [`Self::worker_of_flow`] for a destination whose part of the hash is known.
    #[inline]
    #[must_use]
    pub fn worker_of_source<A: Address>(
        &self,
        protocol: Protocol,
        destination: u32,
        (address, port): (A, u16),
    ) -> usize {
        let port = self.ports.of(protocol).then_some(port);
        self.entry(destination ^ self.toeplitz.source(address, port))
    }

    /// The worker that all other packets between two addresses are received by: fragments, ICMP.
    #[inline]
    #[must_use]
    pub fn worker_of_pair<A: Address>(&self, source: A, destination: A) -> usize {
        let (source, destination) = (
            self.toeplitz.source(source, None),
            self.toeplitz.destination(destination, None),
        );
        self.entry(source ^ destination)
    }

    /// The queue that a NIC puts a frame on. What is no IP has none and goes to the first.
    #[must_use]
    pub fn queue_of(&self, parsed: &Parse) -> usize {
        use crate::flow::Addresses::{V4, V6};
        let Parse::Ip(packet) = parsed else { return 0 };
        match packet.addresses {
            V4 {
                source,
                destination,
            } => self.queue_of_packet(packet, source, destination),
            V6 {
                source,
                destination,
            } => self.queue_of_packet(packet, source, destination),
        }
    }

    fn queue_of_packet<A: Address>(&self, packet: &Packet, source: A, destination: A) -> usize {
        match packet.balanced_protocol() {
            Some(protocol) if is_plain(packet) => self.worker_of_flow(
                protocol,
                (source, packet.source_port),
                (destination, packet.destination_port),
            ),
            _ => self.worker_of_pair(source, destination),
        }
    }

    #[inline]
    fn entry(&self, hash: u32) -> usize {
        let index = usize::try_from(hash).unwrap_or(0) % ENTRIES;
        self.queues.get(index).copied().map_or(0, usize::from)
    }
}

/// Whether a NIC finds the packet's ports: it is no fragment, and no extension header is before them.
#[must_use]
pub fn is_plain(packet: &Packet) -> bool {
    let header_bytes = usize::from(packet.l4 - packet.l3);
    packet.fragment.is_none()
        && (!packet.addresses.is_v6() || header_bytes == ipv6::HEADER_BYTES)
        && header_bytes >= ipv4::HEADER_BYTES
}

/// The same for any NIC: some do not look behind IPv4's options, so that anybody could have such packets come
/// by other queues.
#[must_use]
pub fn is_certainly_plain(packet: &Packet) -> bool {
    let header_bytes = usize::from(packet.l4 - packet.l3);
    is_plain(packet) && (packet.addresses.is_v6() || header_bytes == ipv4::HEADER_BYTES)
}

#[cfg(test)]
mod tests;
