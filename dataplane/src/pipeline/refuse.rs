//! What a client is told when its packet goes nowhere: resets, and ICMP where there is no connection.
//! Which packets those are was decided before; all of it is limited by the same token bucket.

use super::icmp::Error;
use super::{Action, Engine, Tabled};
use crate::flow::Protocol;
use crate::io::{PacketBuf, Pool};
use crate::parse::{Addresses, Packet, parse_ip};
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::wire::{ipv4, ipv6, tcp, udp};

const TTL: u8 = 64;
/// Where the IP header is in a frame on its way out.
const BEHIND_ETHERNET: u16 = 14;

impl<P: Pool> Engine<P> {
    /// No service is where the packet wants to go, or it belongs to no session: our address answers as
    /// a host does on whose port nobody listens. LVS leaves that to the kernel under it.
    #[cold]
    pub(super) fn refuse_as_host(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        now: Time,
    ) {
        // A segment in the name of one of our addresses would have us answer ourselves.
        if snapshot.is_ours(packet.addresses.source()) {
            return;
        }
        match packet.balanced_protocol() {
            Some(Protocol::Tcp) => self.reset(snapshot, frame, packet, now),
            Some(Protocol::Udp) if is_udp_sound(packet, packet.upper(frame)) => {
                self.refuse(snapshot, frame, packet, now);
            }
            _ => {}
        }
    }

    /// The reset of RFC 9293 section 3.5.2, group 1, and section 3.10.7.1.
    fn reset(&mut self, snapshot: &Snapshot, frame: &[u8], packet: &Packet, now: Time) {
        let upper = packet.upper(frame);
        let Some(reset) = reset_of(packet, upper).filter(|_| self.errors.allow(now)) else {
            return;
        };
        let to = packet.addresses.source();
        let write = |out: &mut [u8]| write_reset(out, packet.addresses, &reset);
        self.originate(
            snapshot,
            to,
            ipv6::HEADER_BYTES + tcp::HEADER_BYTES,
            write,
            now,
        );
    }

    /// A NAT real server's packet belongs to no session. As in IPVS it is quoted one hop older than it
    /// came.
    #[cold]
    pub(super) fn refuse_reply<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        now: Time,
    ) -> Action {
        if let Some(packet) = &self.prepare::<A, F>(frame, packet) {
            let datagram = packet.datagram(frame.bytes());
            self.report(
                snapshot,
                datagram,
                packet,
                None,
                Error::PortUnreachable,
                now,
            );
        }
        Action::Drop(DropReason::NoSession)
    }

    /// No way leads to the real server.
    #[cold]
    pub(super) fn host_unreachable(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        now: Time,
    ) {
        let datagram = packet.datagram(frame);
        self.report(
            snapshot,
            datagram,
            packet,
            None,
            Error::HostUnreachable,
            now,
        );
    }

    /// The neighbour for which `frame` waited does not answer.
    ///
    /// What is still a client's packet to a VIP is quoted as it would have been forwarded, as LVS
    /// does. Under NAT or in a tunnel it is not, and its sender would not know its own packet: then
    /// nobody is told.
    #[cold]
    pub(super) fn neighbour_unreachable(&mut self, snapshot: &Snapshot, frame: &[u8], now: Time) {
        let Ok(packet) = parse_ip(frame, BEHIND_ETHERNET) else {
            return;
        };
        let destination = packet.addresses.destination();
        if snapshot.is_virtual(destination)
            && !snapshot.is_nat_real(destination)
            && !snapshot.is_ours(packet.addresses.source())
        {
            self.host_unreachable(snapshot, frame, &packet, now);
        }
    }
}

/// What of a reset depends on the segment that it answers.
struct Reset {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
}

/// The reset that answers a segment; `None` if none does: to a reset, or a segment that its receiver
/// would not look at.
fn reset_of(packet: &Packet, upper: &[u8]) -> Option<Reset> {
    let header = tcp::Header::new(upper)?;
    let flags = header.flags();
    let data = upper
        .len()
        .checked_sub(usize::from(header.header_bytes()))?;
    let is_sound = usize::from(header.header_bytes()) >= tcp::HEADER_BYTES
        && packet
            .addresses
            .pseudo_header(ipv4::TCP, upper.len())
            .bytes(upper)
            .is_valid();
    if flags & tcp::RST != 0 || !is_sound {
        return None;
    }
    let (sequence, acknowledgement, answer) = if flags & tcp::ACK != 0 {
        (header.acknowledgement(), 0, tcp::RST)
    } else {
        let opens = u32::from(flags & tcp::SYN != 0);
        let closes = u32::from(flags & tcp::FIN != 0);
        let length = u32::try_from(data).ok()? + opens + closes;
        let next = header.sequence().wrapping_add(length);
        (0, next, tcp::RST | tcp::ACK)
    };
    Some(Reset {
        source_port: header.destination_port(),
        destination_port: header.source_port(),
        sequence,
        acknowledgement,
        flags: answer,
    })
}

/// Writes a reset back along `addresses`; the datagram's length.
fn write_reset(out: &mut [u8], addresses: Addresses, reset: &Reset) -> Option<usize> {
    let (back, header_bytes) = match addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            let fields = ipv4::Fields {
                source: destination,
                destination: source,
                protocol: ipv4::TCP,
                ttl: TTL,
                tos: 0,
                // As Linux does: what is never fragmented needs no number (RFC 6864).
                id: 0,
                dont_fragment: true,
                total_length: u16::try_from(ipv4::HEADER_BYTES + tcp::HEADER_BYTES).ok()?,
            };
            ipv4::write_header(out.first_chunk_mut()?, &fields);
            let back = Addresses::V4 {
                source: destination,
                destination: source,
            };
            (back, ipv4::HEADER_BYTES)
        }
        Addresses::V6 {
            source,
            destination,
        } => {
            let fields = ipv6::Fields {
                source: destination,
                destination: source,
                next_header: ipv4::TCP,
                hop_limit: TTL,
                traffic_class: 0,
                flow_label: 0,
                payload_length: u16::try_from(tcp::HEADER_BYTES).ok()?,
            };
            ipv6::write_header(out.first_chunk_mut()?, &fields);
            let back = Addresses::V6 {
                source: destination,
                destination: source,
            };
            (back, ipv6::HEADER_BYTES)
        }
    };
    let length = header_bytes + tcp::HEADER_BYTES;
    let segment = out.get_mut(header_bytes..length)?;
    segment.fill(0);
    let mut header = tcp::Header::new_mut(segment)?;
    header.set_source_port(reset.source_port);
    header.set_destination_port(reset.destination_port);
    header.set_sequence(reset.sequence);
    header.set_acknowledgement(reset.acknowledgement);
    header.set_header_bytes(u8::try_from(tcp::HEADER_BYTES).ok()?);
    header.set_flags(reset.flags);
    let checksum = back
        .pseudo_header(ipv4::TCP, tcp::HEADER_BYTES)
        .bytes(segment)
        .finish();
    tcp::Header::new_mut(segment)?.set_checksum(checksum);
    Some(length)
}

/// Whether a host would take the datagram: it is as long as it states, with the right checksum.
fn is_udp_sound(packet: &Packet, upper: &[u8]) -> bool {
    let Some(header) = udp::Header::new(upper) else {
        return false;
    };
    let Some(datagram) = upper.get(..usize::from(header.length())) else {
        return false;
    };
    if datagram.len() < udp::HEADER_BYTES {
        return false;
    }
    match (header.checksum(), packet.addresses) {
        (0, Addresses::V4 { .. }) => true,
        (0, Addresses::V6 { .. }) => false,
        _ => packet
            .addresses
            .pseudo_header(ipv4::UDP, datagram.len())
            .bytes(datagram)
            .is_valid(),
    }
}
