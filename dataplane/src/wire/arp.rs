//! ARP for IPv4 over Ethernet: RFC 826, announcements and probes of RFC 5227.
//! Who is asked when, and which answers are believed, is decided elsewhere.

use super::ethernet;
use super::field::Field;
use crate::wire::Mac;
use crate::wire::address::V4;

#[cfg(test)]
mod tests;

/// Length of an ARP packet behind the Ethernet header.
pub const PACKET_BYTES: usize = 28;
/// Length of a frame with one, before padding.
pub const FRAME_BYTES: usize = ethernet::HEADER_BYTES + PACKET_BYTES;

const HARDWARE: Field<0, 2> = Field;
const PROTOCOL: Field<2, 2> = Field;
const LENGTHS: Field<4, 2> = Field;
const OPERATION: Field<6, 2> = Field;
const SENDER_MAC: Field<8, 6> = Field;
const SENDER: Field<14, 4> = Field;
const TARGET_MAC: Field<18, 6> = Field;
const TARGET: Field<24, 4> = Field;

const HARDWARE_ETHERNET: u16 = 1;
const LENGTHS_ETHERNET_IPV4: u16 = 0x0604;

/// What a packet wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Asks for the target's MAC address.
    Request = 1,
    /// Tells the sender's MAC address.
    Reply = 2,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// What it wants.
    pub operation: Operation,
    /// Who sent it.
    pub sender_mac: Mac,
    /// Who sent it; 0.0.0.0 in a probe.
    pub sender: V4,
    /// Who is asked; unset in a request.
    pub target_mac: Mac,
    /// Who is asked.
    pub target: V4,
}

impl Packet {
    /// Asks who has `target`.
    #[must_use]
    pub const fn request(mac: Mac, sender: V4, target: V4) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender,
            target_mac: Mac::ZERO,
            target,
        }
    }

    /// Answers `request`: its target has the address `mac`.
    #[must_use]
    pub const fn reply_to(request: &Self, mac: Mac) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: request.target,
            target_mac: request.sender_mac,
            target: request.sender,
        }
    }

    /// Tells everyone that `address` is at `mac` (RFC 5227 section 2.3: a request, not a reply).
    #[must_use]
    pub const fn announcement(mac: Mac, address: V4) -> Self {
        Self::request(mac, address, address)
    }

    /// Asks whether anyone has `address` without claiming it (RFC 5227 section 2.1.1).
    #[must_use]
    pub const fn probe(mac: Mac, address: V4) -> Self {
        Self::request(mac, V4(0), address)
    }

    /// Whether it is about the sender's own address.
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }
}

/// Reads the packet at the start of `bytes`; `None` if it is not well-formed.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Packet> {
    let packet: &[u8; PACKET_BYTES] = bytes.first_chunk()?;
    let expected = HARDWARE.get(packet) == HARDWARE_ETHERNET
        && PROTOCOL.get(packet) == ethernet::IPV4
        && LENGTHS.get(packet) == LENGTHS_ETHERNET_IPV4;
    let operation = match OPERATION.get(packet) {
        1 => Operation::Request,
        2 => Operation::Reply,
        _ => return None,
    };
    let sender_mac = SENDER_MAC.get(packet);
    // RFC 1812 section 3.3.2: nobody has a group's MAC address.
    (expected && sender_mac.is_station()).then(|| Packet {
        operation,
        sender_mac,
        sender: SENDER.get_v4(packet),
        target_mac: TARGET_MAC.get(packet),
        target: TARGET.get_v4(packet),
    })
}

/// Writes a frame from the packet's sender to `destination`; its length, or `None` if `out` is
/// shorter.
#[must_use]
pub fn write(out: &mut [u8], destination: Mac, packet: &Packet) -> Option<usize> {
    let (header, rest) = out.split_first_chunk_mut()?;
    let body: &mut [u8; PACKET_BYTES] = rest.first_chunk_mut()?;
    ethernet::write_header(header, destination, packet.sender_mac, ethernet::ARP);
    HARDWARE.set(body, HARDWARE_ETHERNET);
    PROTOCOL.set(body, ethernet::IPV4);
    LENGTHS.set(body, LENGTHS_ETHERNET_IPV4);
    OPERATION.set(body, packet.operation as u16);
    SENDER_MAC.set(body, packet.sender_mac);
    SENDER.set_v4(body, packet.sender);
    TARGET_MAC.set(body, packet.target_mac);
    TARGET.set_v4(body, packet.target);
    Some(FRAME_BYTES)
}
