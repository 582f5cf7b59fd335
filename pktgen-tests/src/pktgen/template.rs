//! A frame of which only a few fields vary: written by patching them in, compared by leaving them out.
//!
//! Must not decide what a difference means to the run: it says which field differs.

use std::net::IpAddr;
use std::ops::Range;

use plimsoll_dataplane::flow::{V4, V6};
use plimsoll_dataplane::wire::checksum::Sum;
use plimsoll_dataplane::wire::ethernet::{self, MIN_FRAME_BYTES};
use plimsoll_dataplane::wire::{Mac, ipv4, ipv6, tcp, udp};

use super::bytes::{chunk, put};
use super::fault::Fault;
use super::scenario::{Family, Method, Protocol, Scenario};
use super::segment::Segment;
use super::shape::Shape;

mod writer;

use writer::Writer;

/// What hosts start with, and what a forwarder leaves.
const TTL: u8 = 64;
/// The client's bits of an address.
const CLIENT_MASK: u32 = (1 << 17) - 1;

/// Where on its way a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// From the clients' router to the balancer.
    Sent,
    /// From the balancer to a real server.
    AtReal,
    /// A NAT server's answer, from the balancer to the clients' router.
    Replied,
    /// What was sent, with its MACs exchanged by testpmd.
    Swapped,
}

/// What varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Fields {
    /// The client's 17 bits.
    pub(super) client: u32,
    /// The client's port.
    pub(super) port: u16,
    /// The real server's number.
    pub(super) real: u16,
    /// TCP's sequence and acknowledgement numbers.
    pub(super) numbers: (u32, u32),
    /// Time, flow and number of a frame with a payload.
    pub(super) mark: [u32; 3],
}

/// The initial sequence numbers of a flow's client and server.
#[inline]
pub(super) const fn initial(flow: u32) -> (u32, u32) {
    let client = flow.wrapping_mul(0x9e37_79b1);
    (client, client.rotate_left(16) ^ 0x5bd1_e995)
}

/// A frame with zeros in the places of what varies.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// The frame, without padding behind the IP packet.
    bytes: Vec<u8>,
    /// All ones where a byte is always the same.
    mask: Vec<u8>,
    /// With padding.
    padded: usize,
    /// What each part is about, to name a difference.
    parts: Vec<(Range<usize>, Fault)>,
    ip_sum: Option<(usize, Sum)>,
    outer_sum: Option<(usize, Sum)>,
    l4_sum: (usize, Sum),
    is_udp: bool,
    has_real: bool,
    outer_real: Option<usize>,
    ip_real: Option<usize>,
    client: usize,
    port: usize,
    tcp: Option<usize>,
    /// Marks that fit into the payload: 0 to 3.
    marks: usize,
    payload: usize,
    /// Offsets from the initial numbers; whether the client sends.
    progress: (u32, u32),
    from_client: bool,
}

impl Template {
    pub(super) fn new(
        scenario: &Scenario,
        shape: Shape,
        balancer: Mac,
        segment: Segment,
        stage: Stage,
    ) -> Self {
        let from_client = stage != Stage::Replied;
        let mut writer = Writer::default();
        let (destination, source) = match stage {
            Stage::Sent => (balancer, Scenario::ROUTER_MAC),
            Stage::AtReal => (Scenario::real_mac(0), balancer),
            Stage::Replied | Stage::Swapped => (Scenario::ROUTER_MAC, balancer),
        };
        writer.part(&destination.0, Fault::DestinationMac);
        let has_real = stage == Stage::AtReal;
        if has_real {
            writer.varies(4..6);
        }
        writer.part(&source.0, Fault::SourceMac);
        let ether_type = match scenario.family {
            Family::V4 => ethernet::IPV4,
            Family::V6 => ethernet::IPV6,
        };
        writer.part(&ether_type.to_be_bytes(), Fault::NotIp);

        let ttl = match stage {
            Stage::Sent | Stage::Swapped => TTL,
            Stage::AtReal | Stage::Replied => TTL - 1,
        };
        let payload_bytes = if segment.has_payload() {
            shape.payload_bytes(scenario)
        } else {
            0
        };
        let (number, l4_header) = match scenario.protocol {
            Protocol::Tcp => (ipv4::TCP, tcp::HEADER_BYTES),
            Protocol::Udp => (ipv4::UDP, udp::HEADER_BYTES),
        };
        let l4_bytes = l4_header + payload_bytes;
        let (outer_real, outer_sum) = if has_real && scenario.method == Method::Tunnel {
            let inner = match scenario.family {
                Family::V4 => (ipv4::IPIP, ipv4::HEADER_BYTES + l4_bytes),
                Family::V6 => (ipv6::IPV6_IN_IP, ipv6::HEADER_BYTES + l4_bytes),
            };
            let ends = (scenario.balancer(), scenario.real(0));
            let ip = writer.ip(ends, inner.0, ttl, inner.1, Some(Fault::OuterHeader));
            let destination = ip.destination.end;
            writer.varies(destination - 2..destination);
            (Some(destination - 2), ip.sum)
        } else {
            (None, None)
        };

        let is_nat_request = has_real && scenario.method == Method::Nat;
        let server = if is_nat_request {
            (scenario.real(0), scenario.real_port())
        } else {
            (scenario.vip(), Scenario::VIP_PORT)
        };
        let ends = if from_client {
            (scenario.clients(), server.0)
        } else {
            (server.0, scenario.clients())
        };
        let ip = writer.ip(ends, number, ttl, l4_bytes, None);
        let (client, server_address) = if from_client {
            (ip.source, ip.destination)
        } else {
            (ip.destination, ip.source)
        };
        let client = client.end - 4;
        writer.varies_bits(client, CLIENT_MASK);
        writer.blame(client..client + 4, Fault::ClientAddress);
        writer.blame(
            server_address.clone(),
            if is_nat_request {
                Fault::RealAddress
            } else if from_client {
                Fault::VirtualAddress
            } else {
                Fault::ReplySource
            },
        );
        let ip_real = is_nat_request.then(|| server_address.end - 2);
        if let Some(at) = ip_real {
            writer.varies(at..at + 2);
        }

        let l4 = writer.bytes.len();
        let port_fault = if is_nat_request {
            Fault::RealAddress
        } else if from_client {
            Fault::VirtualAddress
        } else {
            Fault::ReplySource
        };
        let server_port = server.1.to_be_bytes();
        let port = if from_client {
            writer.part(&[0x80, 0], Fault::ClientAddress);
            writer.part(&server_port, port_fault);
            l4
        } else {
            writer.part(&server_port, port_fault);
            writer.part(&[0x80, 0], Fault::ClientAddress);
            l4 + 2
        };
        writer.varies_bits16(port, 0x7fff);
        let check = match scenario.protocol {
            Protocol::Udp => {
                let length = u16::try_from(l4_bytes).unwrap_or(0);
                writer.part(&length.to_be_bytes(), Fault::Header);
                writer.part(&[0; 2], Fault::TransportChecksum);
                l4 + 6
            }
            Protocol::Tcp => {
                writer.part(&[0; 8], Fault::TcpNumbers);
                writer.varies(l4 + 4..l4 + 12);
                writer.part(&[5 << 4, segment.flags()], Fault::TcpFlags);
                writer.part(&0xffff_u16.to_be_bytes(), Fault::Header);
                writer.part(&[0; 2], Fault::TransportChecksum);
                writer.part(&[0; 2], Fault::Header);
                l4 + 16
            }
        };
        writer.varies(check..check + 2);
        let payload = writer.bytes.len();
        let fill: Vec<u8> = (0..=u8::MAX).cycle().take(payload_bytes).collect();
        writer.part(&fill, Fault::Payload);
        let marks = (payload_bytes / 4).min(3);
        writer.varies(payload..payload + 4 * marks);

        let pseudo = match ends {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Sum::pseudo_v4(V4::from(source), V4::from(destination), number, l4_bytes)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Sum::pseudo_v6(V6::from(source), V6::from(destination), number, l4_bytes)
            }
            _ => Sum::ZERO,
        };
        // The varying port's fixed bit is in the template, and so in the sum.
        let l4_sum = pseudo.bytes(writer.bytes.get(l4..).unwrap_or_default());
        let sent = writer.bytes.len() - outer_sum_bytes(outer_real, scenario.family);
        let padded = writer.bytes.len() + MIN_FRAME_BYTES.saturating_sub(sent);
        Self {
            padded,
            parts: writer.parts,
            ip_sum: ip.sum,
            outer_sum,
            l4_sum: (check, l4_sum),
            is_udp: scenario.protocol == Protocol::Udp,
            has_real,
            outer_real,
            ip_real,
            client,
            port,
            tcp: (scenario.protocol == Protocol::Tcp).then_some(l4 + 4),
            marks,
            payload,
            progress: segment.progress(
                from_client,
                u32::try_from(shape.payload_bytes(scenario)).unwrap_or(0),
                shape.data_bytes(scenario),
            ),
            from_client,
            bytes: writer.bytes,
            mask: writer.mask,
        }
    }

    /// All of one stage, by the segment's number.
    pub(super) fn all(
        scenario: &Scenario,
        shape: Shape,
        balancer: Mac,
        stage: Stage,
    ) -> [Self; Segment::COUNT] {
        Segment::ALL.map(|segment| Self::new(scenario, shape, balancer, segment, stage))
    }

    /// Where TCP's flags are, if it is TCP.
    pub(super) fn flags_at(&self) -> Option<usize> {
        self.tcp.map(|numbers| numbers + 9)
    }

    /// The frame's length with padding, in bytes.
    pub(super) const fn padded(&self) -> usize {
        self.padded
    }

    /// TCP's numbers for a flow.
    #[inline]
    pub(super) fn numbers(&self, flow: u32) -> (u32, u32) {
        let (client, server) = initial(flow);
        let (sender, receiver) = if self.from_client {
            (client, server)
        } else {
            (server, client)
        };
        let (sent, received) = self.progress;
        if received == 0 {
            // The first segment acknowledges nothing.
            return (sender, 0);
        }
        (sender.wrapping_add(sent), receiver.wrapping_add(received))
    }

    #[inline]
    fn l4_check(&self, fields: &Fields) -> u16 {
        let mut sum = self
            .l4_sum
            .1
            .u32(fields.client)
            .u16(fields.port & 0x7fff)
            .u32(fields.numbers.0)
            .u32(fields.numbers.1);
        if self.ip_real.is_some() {
            sum = sum.u16(fields.real);
        }
        for mark in fields.mark.iter().take(self.marks) {
            sum = sum.u32(*mark);
        }
        if self.is_udp {
            sum.finish_udp()
        } else {
            sum.finish()
        }
    }

    #[inline]
    fn ip_check(&self, sum: Sum, fields: &Fields) -> u16 {
        let sum = sum.u32(fields.client);
        match self.ip_real {
            Some(_) => sum.u16(fields.real),
            None => sum,
        }
        .finish()
    }

    /// Writes the frame into the start of `out`; its length, or `None` if `out` is shorter.
    #[inline]
    pub(super) fn write(&self, fields: &Fields, out: &mut [u8]) -> Option<usize> {
        let out = out.get_mut(..self.padded)?;
        let (frame, padding) = out.split_at_mut_checked(self.bytes.len())?;
        frame.copy_from_slice(&self.bytes);
        padding.fill(0);
        let client = u32::from_be_bytes(chunk(frame, self.client)) | fields.client;
        put(frame, self.client, client.to_be_bytes());
        put(frame, self.port, fields.port.to_be_bytes());
        if let Some(at) = self.tcp {
            put(frame, at, fields.numbers.0.to_be_bytes());
            put(frame, at + 4, fields.numbers.1.to_be_bytes());
        }
        for (at, mark) in (self.payload..)
            .step_by(4)
            .zip(fields.mark)
            .take(self.marks)
        {
            put(frame, at, mark.to_be_bytes());
        }
        put(frame, self.l4_sum.0, self.l4_check(fields).to_be_bytes());
        if let Some((at, sum)) = self.ip_sum {
            put(frame, at, self.ip_check(sum, fields).to_be_bytes());
        }
        Some(self.padded)
    }

    /// Whether all that never varies is as it should be. A padding of the sender's may be there or not.
    #[inline]
    pub(super) fn fits(&self, frame: &[u8]) -> bool {
        let length = self.bytes.len();
        if frame.len() != length && frame.len() != self.padded {
            return false;
        }
        let Some(frame) = frame.get(..length) else {
            return false;
        };
        let words = frame.as_chunks::<8>().0.iter();
        let words = words.zip(self.bytes.as_chunks::<8>().0);
        let different = words
            .zip(self.mask.as_chunks::<8>().0)
            .fold(0, |different, ((a, b), mask)| {
                different | (word(*a) ^ word(*b)) & word(*mask)
            });
        // The last bytes once more, where they are no whole word.
        let last = |bytes: &[u8]| bytes.last_chunk::<8>().map_or(0, |bytes| word(*bytes));
        different | (last(frame) ^ last(&self.bytes)) & last(&self.mask) == 0
    }

    /// The varying fields of a frame that [`Self::fits`].
    #[inline]
    pub(super) fn read(&self, frame: &[u8]) -> Fields {
        let mut mark = [0; 3];
        for (at, mark) in (self.payload..).step_by(4).zip(&mut mark).take(self.marks) {
            *mark = u32::from_be_bytes(chunk(frame, at));
        }
        let number = |at| u32::from_be_bytes(chunk(frame, at));
        Fields {
            client: number(self.client) & CLIENT_MASK,
            port: u16::from_be_bytes(chunk(frame, self.port)),
            real: if self.has_real {
                u16::from_be_bytes(chunk(frame, 4))
            } else {
                0
            },
            numbers: self.tcp.map_or((0, 0), |at| (number(at), number(at + 4))),
            mark,
        }
    }

    /// Whether the flow's number in the payload, where there is room for one, is `flow`.
    #[inline]
    pub(super) fn is_marked(&self, fields: &Fields, flow: u32) -> bool {
        let [_, marked, _] = fields.mark;
        self.marks < 2 || marked == flow
    }

    /// How many of time, flow and number a frame carries.
    pub(super) const fn marks(&self) -> usize {
        self.marks
    }

    /// Checks that the addresses name the same real server as the MAC does, and all sums.
    #[inline]
    pub(super) fn verify(&self, frame: &[u8], fields: &Fields) -> Result<(), Fault> {
        let real = |at| u16::from_be_bytes(chunk(frame, at));
        if self.outer_real.is_some_and(|at| real(at) != fields.real) {
            return Err(Fault::OuterHeader);
        }
        if self.ip_real.is_some_and(|at| real(at) != fields.real) {
            return Err(Fault::RealAddress);
        }
        if let Some((at, sum)) = self.outer_sum {
            let expected = sum.u16(fields.real).finish();
            agree(frame, at, expected, Fault::OuterHeader)?;
        }
        if let Some((at, sum)) = self.ip_sum {
            agree(frame, at, self.ip_check(sum, fields), Fault::IpChecksum)?;
        }
        let at = self.l4_sum.0;
        agree(frame, at, self.l4_check(fields), Fault::TransportChecksum)
    }

    /// What is wrong with a frame that does not fit.
    #[cold]
    pub(super) fn blame(&self, frame: &[u8]) -> Fault {
        let pairs = frame.iter().zip(self.bytes.iter().zip(&self.mask));
        let different = pairs
            .enumerate()
            .find(|(_, (a, (b, mask)))| (*a ^ *b) & *mask != 0)
            .map(|(at, _)| at);
        let part = different.and_then(|at| {
            let mut parts = self.parts.iter().rev();
            parts.find(|(range, _)| range.contains(&at))
        });
        part.map_or(Fault::Length, |(_, fault)| *fault)
    }
}

const fn outer_sum_bytes(outer: Option<usize>, family: Family) -> usize {
    match (outer, family) {
        (None, _) => 0,
        (Some(_), Family::V4) => ipv4::HEADER_BYTES,
        (Some(_), Family::V6) => ipv6::HEADER_BYTES,
    }
}

/// Compares a sum; in one's complement all ones are a zero too, but not UDP's, where zero is "none".
#[inline]
fn agree(frame: &[u8], at: usize, expected: u16, fault: Fault) -> Result<(), Fault> {
    let found = u16::from_be_bytes(chunk(frame, at));
    if found == expected || (expected == 0 && found == 0xffff) {
        Ok(())
    } else {
        Err(fault)
    }
}

#[inline]
const fn word(bytes: [u8; 8]) -> u64 {
    u64::from_ne_bytes(bytes)
}
