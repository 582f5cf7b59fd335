//! The real servers: what they answer to a request that has reached them.
//!
//! Must not keep state: the answer follows from the request.

use plimsoll_dataplane::wire::checksum::Delta;
use plimsoll_dataplane::wire::ethernet::{self, HEADER_BYTES as ETHERNET};
use plimsoll_dataplane::wire::{ipv4, ipv6, tcp, udp};

use super::check::{Good, Seen};
use super::scenario::{Family, Protocol, Scenario};
use super::segment::Segment;
use super::shape::Shape;
use super::template::initial;

/// What hosts begin with.
const TTL: u8 = 64;

/// All real servers of a scenario: an echo by UDP, and by TCP a server that answers each segment.
#[derive(Debug, Clone, Copy)]
pub struct Servers {
    family: Family,
    protocol: Protocol,
    data_bytes: u32,
    payload_bytes: u32,
}

impl Servers {
    /// The real servers of a scenario with frames of this shape.
    #[must_use]
    pub fn new(scenario: &Scenario, shape: Shape) -> Self {
        Self {
            family: scenario.family,
            protocol: scenario.protocol,
            data_bytes: shape.data_bytes(scenario),
            payload_bytes: u32::try_from(shape.payload_bytes(scenario)).unwrap_or(0),
        }
    }

    /// Turns a request, as it came out of the balancer and was judged, into the answer to it: SYN into SYN-ACK, data
    /// into data that acknowledges it, FIN into FIN-ACK, a datagram into the same one. `false`, and the frame is
    /// of no further use, if there is no answer to it.
    ///
    /// With DR the answer would go straight to the client. A tunnel's outer header has to be taken off before.
    #[inline]
    pub fn answer(&self, frame: &mut [u8], seen: &Seen) -> bool {
        if !matches!(seen.good, Good::Forwarded { .. }) {
            return false;
        }
        self.turn_round(frame, seen).is_some()
    }

    fn turn_round(&self, frame: &mut [u8], seen: &Seen) -> Option<()> {
        let (flags, numbers) = match self.protocol {
            Protocol::Udp => (0, (0, 0)),
            Protocol::Tcp => self.numbers(seen)?,
        };
        let (header, datagram) = frame.split_first_chunk_mut::<ETHERNET>()?;
        let mut header = ethernet::Header::new_mut(header)?;
        let (from, to) = (header.source(), header.destination());
        header.set_destination(from);
        header.set_source(to);
        let l4 = match self.family {
            Family::V4 => {
                let (header, l4) = datagram.split_first_chunk_mut::<{ ipv4::HEADER_BYTES }>()?;
                let mut header = ipv4::Header::new_mut(header)?;
                let (source, destination) = (header.source(), header.destination());
                header.set_source(destination);
                header.set_destination(source);
                let delta = Delta::NONE.u16(u16::from(header.ttl()) << 8, u16::from(TTL) << 8);
                header.update_checksum(delta);
                header.set_ttl(TTL);
                l4
            }
            Family::V6 => {
                let (header, l4) = datagram.split_first_chunk_mut::<{ ipv6::HEADER_BYTES }>()?;
                let mut header = ipv6::Header::new_mut(header)?;
                let (source, destination) = (header.source(), header.destination());
                header.set_source(destination);
                header.set_destination(source);
                header.set_hop_limit(TTL);
                l4
            }
        };
        // Exchanging two ends changes no sum.
        match self.protocol {
            Protocol::Udp => {
                let mut header = udp::Header::new_mut(l4)?;
                let (source, destination) = (header.source_port(), header.destination_port());
                header.set_source_port(destination);
                header.set_destination_port(source);
            }
            Protocol::Tcp => {
                let mut header = tcp::Header::new_mut(l4)?;
                let (source, destination) = (header.source_port(), header.destination_port());
                header.set_source_port(destination);
                header.set_destination_port(source);
                let delta = Delta::NONE
                    .u16(u16::from(header.flags()), u16::from(flags))
                    .u32(header.sequence(), numbers.0)
                    .u32(header.acknowledgement(), numbers.1);
                header.set_flags(flags);
                header.set_sequence(numbers.0);
                header.set_acknowledgement(numbers.1);
                header.update_checksum(delta);
            }
        }
        Some(())
    }

    /// Flags and numbers of the answer, if there is one.
    fn numbers(&self, seen: &Seen) -> Option<(u8, (u32, u32))> {
        let (client, server) = initial(seen.flow);
        let (flags, sent, received) = match seen.segment {
            Segment::Syn => (tcp::SYN | tcp::ACK, 0, 1),
            Segment::Data => (tcp::PSH | tcp::ACK, 1, 1 + self.payload_bytes),
            Segment::Fin => (
                tcp::FIN | tcp::ACK,
                1 + self.data_bytes,
                2 + self.data_bytes,
            ),
            Segment::Datagram | Segment::SynAck | Segment::Ack | Segment::Last => return None,
        };
        Some((
            flags,
            (server.wrapping_add(sent), client.wrapping_add(received)),
        ))
    }
}
