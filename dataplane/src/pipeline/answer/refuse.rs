//! Refuses packets: a TCP reset, or an ICMP error for other protocols. Resets and errors have separate rate limits.
//! Which packets are refused is decided by the callers.

use crate::flow::{Addresses, Protocol};
use crate::io::Pool;
use crate::parse::Packet;
use crate::pipeline::action::{Action, Origin, Received, punt};
use crate::pipeline::answer::icmp_error::Error;
use crate::pipeline::answer::quoted_hops;
use crate::pipeline::balance::sequence_numbers::next_sequence;
use crate::pipeline::engine::Engine;
use crate::pipeline::sessions::{Tabled, flow_key};
use crate::session::{Direction, Step};
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::wire::{ipv4, ipv6, sctp, tcp, udp};

const TTL: u8 = 64;

impl<P: Pool> Engine<P> {
    /// Refuses a packet to an address of ours that no service and no session takes, as a host refuses a packet to a
    /// closed port. In LVS, the director's kernel does that.
    #[cold]
    pub(crate) fn refuse_as_host(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        now: Time,
    ) {
        // The answer would go to this machine if the source is an address of ours, and to all hosts on the link if it
        // is a broadcast address.
        if snapshot.is_martian_source(packet.addresses.source()) {
            return;
        }
        match packet.balanced_protocol() {
            Some(Protocol::Tcp) => {
                self.reset(snapshot, frame, packet, now);
            }
            Some(Protocol::Udp) if is_udp_sound(packet, packet.upper(frame)) => {
                self.refuse(snapshot, frame, packet, now);
            }
            // Only an INIT is answered. The receiver treats this error as an ABORT (RFC 9260 section 10), which would
            // end an association that uses another path or another balancer.
            Some(Protocol::Sctp) if packet.sctp_chunk == sctp::INIT || snapshot.answers_as_lvs => {
                self.protocol_unreachable(snapshot, frame, packet, now);
            }
            None if !packet.is_icmp() && packet.protocol != ipv6::NO_NEXT_HEADER => {
                self.protocol_unreachable(snapshot, frame, packet, now);
            }
            Some(Protocol::Udp | Protocol::Sctp) | None => {}
        }
    }

    /// Sends "protocol unreachable", as a host without SCTP does, such as an LVS director. Such a host does not examine
    /// the SCTP header.
    fn protocol_unreachable(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        now: Time,
    ) {
        let vip = packet.addresses.destination();
        let datagram = packet.datagram(frame);
        let error = Error::ProtocolUnreachable {
            link: ipv6::walk(datagram).map_or(0, |chain| chain.link),
        };
        self.report(snapshot, datagram, packet, Some(vip), error, now);
    }

    /// Handles a packet whose real server is this machine. The kernel gets it unchanged if the port has a kernel port.
    /// Otherwise it is refused, and the session is advanced by the reset, as in IPVS.
    #[cold]
    pub(crate) fn deliver_here<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        if let Some(action) = punt(snapshot, origin.port) {
            return action;
        }
        if packet.balanced_protocol() == Some(Protocol::Tcp) {
            let length = self.reset(snapshot, frame, packet, now);
            if length > 0 {
                self.session_was_reset::<A>(snapshot, packet, length, now);
            }
        } else {
            self.refuse_as_host(snapshot, frame, packet, now);
        }
        Action::Drop(DropReason::LocalUnhandled)
    }

    /// Advances the packet's session by a reset of `length` bytes from its real server.
    fn session_was_reset<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        packet: &Packet,
        length: usize,
        now: Time,
    ) {
        let Some((source, destination)) = A::pair(packet.addresses) else {
            return;
        };
        let key = flow_key(packet, Protocol::Tcp, source, destination);
        let table = A::table_of(&self.sessions);
        let Some(index) = table.find(table.hash(&key), &key, now) else {
            return;
        };
        let real = table.get(index).real();
        let (Some(known), Some(counting)) = (snapshot.real(real), self.counting(snapshot)) else {
            return;
        };
        let step = Step {
            direction: Direction::Output,
            signal: tcp::RST,
            secure: known.policy.is_secure(self.half_open_pressure),
            timeouts: &known.timeouts,
        };
        let bytes = u32::try_from(length).ok();
        self.sessions
            .advance::<A>(counting, (index, real), step, bytes, now, || false);
    }

    /// Sends the reset of RFC 9293 section 3.5.2, group 1, and section 3.10.7.1. Returns its length, or 0 if none is
    /// sent.
    fn reset(&mut self, snapshot: &Snapshot, frame: &[u8], packet: &Packet, now: Time) -> usize {
        let upper = packet.upper(frame);
        let Some(reset) = reset_of(packet, upper).filter(|_| self.limits.made.resets.allow(now))
        else {
            return 0;
        };
        let to = packet.addresses.source();
        let write = |out: &mut [u8]| write_reset(out, packet.addresses, &reset);
        self.exit.originate(
            snapshot,
            to,
            ipv6::HEADER_BYTES + tcp::HEADER_BYTES,
            write,
            now,
        )
    }

    /// Refuses a NAT real server's packet that has no session.
    #[cold]
    pub(crate) fn refuse_reply(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        now: Time,
    ) -> Action {
        let datagram = quoted_hops::as_quoted(snapshot, packet.datagram(frame));
        let error = Error::PortUnreachable;
        self.report(snapshot, &datagram, packet, None, error, now);
        Action::Drop(DropReason::NoSession)
    }

    /// Sends "host unreachable" because there is no route.
    #[cold]
    pub(crate) fn host_unreachable(
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

    /// Sends "host unreachable" for a client's packet because the next hop's MAC could not be resolved.
    #[cold]
    pub(crate) fn neighbour_unreachable(
        &mut self,
        snapshot: &Snapshot,
        received: &Received,
        now: Time,
    ) {
        let Received { packet, datagram } = received;
        let datagram = quoted_hops::as_quoted(snapshot, datagram);
        let error = Error::HostUnreachable;
        self.report(snapshot, &datagram, packet, None, error, now);
    }
}

/// The fields of a reset that depend on the segment that it answers, or on the session that it ends.
pub(crate) struct Reset {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
}

/// The reset in reply to a segment; `None` for a segment that is itself a reset, or invalid.
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
        (0, next_sequence(&header, data), tcp::RST | tcp::ACK)
    };
    Some(Reset {
        source_port: header.destination_port(),
        destination_port: header.source_port(),
        sequence,
        acknowledgement,
        flags: answer,
    })
}

/// Writes a reset in reply to a packet with these addresses. Returns the datagram's length.
pub(crate) fn write_reset(out: &mut [u8], addresses: Addresses, reset: &Reset) -> Option<usize> {
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
                // As in Linux: a datagram that must not be fragmented needs no identification (RFC 6864).
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

/// Whether a host would accept the datagram: its length and checksum are right.
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
