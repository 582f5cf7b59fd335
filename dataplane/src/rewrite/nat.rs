//! NAT: one side's address and port are replaced, checksums follow incrementally (RFC 1624; SCTP's by
//! its linearity).
//! A wrong transport checksum stays wrong, as in IPVS: the receiver is the one to judge.

use crate::flow::{Addresses, Protocol};
use crate::parse::Packet;
use crate::wire::checksum::Delta;
use crate::wire::family::Family;
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6, sctp, tcp, udp};

/// Which side of a packet is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where it comes from: a reply, from the real server's address to the virtual one.
    Source,
    /// Where it goes: a request, from the virtual address to the real server's.
    Destination,
}

/// An address with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket<A> {
    /// The address.
    pub address: A,
    /// The port, host order.
    pub port: u16,
}

/// Replaces `side` of a packet, which is `old`, by `new`. `ip` is the packet from its IP header to its last byte, with
/// TCP's, UDP's or SCTP's header at `l4`. Says whether it is a datagram without a checksum, which stays without one: see
/// [`give_checksum`].
#[inline(always)]
pub fn readdress<A: Family>(
    ip: &mut [u8],
    l4: usize,
    protocol: Protocol,
    side: Side,
    old: Socket<A>,
    new: Socket<A>,
) -> bool {
    match side {
        Side::Source => A::set_source(ip, old.address, new.address),
        Side::Destination => A::set_destination(ip, old.address, new.address),
    }
    let delta = A::delta(old.address, new.address).u16(old.port, new.port);
    match protocol {
        Protocol::Tcp => set_port_tcp(ip, l4, side, new.port, delta),
        Protocol::Udp => return set_port_udp(ip, l4, side, new.port, delta) == Some(false),
        Protocol::Sctp => set_port_sctp(ip, l4, side, new.port),
    }
    false
}

/// Gives a readdressed datagram that came without a checksum one, as IPVS does (RFC 768 allows both). `packet` has the
/// offsets of its headers in `frame`.
#[cold]
pub fn give_checksum(frame: &mut [u8], packet: &Packet) {
    let Ok(now) = crate::parse::parse_ip(frame, packet.l3) else {
        return;
    };
    let upper = udp_datagram(packet.upper(frame));
    let checksum = now
        .addresses
        .pseudo_header(packet.protocol, upper.len())
        .bytes(upper)
        .finish_udp();
    if let Some(mut header) = udp::Header::at_mut(frame, packet.l4) {
        header.set_checksum(checksum);
    }
}

/// No pseudo header: only the port is under the checksum (RFC 9260 section 6.8).
#[cold]
fn set_port_sctp(ip: &mut [u8], l4: usize, side: Side, port: u16) {
    let chunk_bytes = ip.len().saturating_sub(l4 + sctp::HEADER_BYTES);
    if let Some(mut header) = sctp::Header::at_mut(ip, l4) {
        match side {
            Side::Source => header.readdress_source(port, chunk_bytes),
            Side::Destination => header.readdress_destination(port, chunk_bytes),
        }
    }
}

#[inline(always)]
fn set_port_tcp(bytes: &mut [u8], l4: usize, side: Side, port: u16, delta: Delta) {
    if let Some(mut header) = tcp::Header::at_mut(bytes, l4) {
        match side {
            Side::Source => header.set_source_port(port),
            Side::Destination => header.set_destination_port(port),
        }
        header.update_checksum(delta);
    }
}

/// Says whether there is a checksum; `None` if there is no header.
#[inline(always)]
fn set_port_udp(bytes: &mut [u8], l4: usize, side: Side, port: u16, delta: Delta) -> Option<bool> {
    let mut header = udp::Header::at_mut(bytes, l4)?;
    match side {
        Side::Source => header.set_source_port(port),
        Side::Destination => header.set_destination_port(port),
    }
    header.update_checksum(delta);
    Some(header.checksum() != 0)
}

/// Replaces, in an ICMP error, the address on `side` and the other side's socket in the packet that it quotes, which
/// travelled the other way.
///
/// The quoted IPv4 header's checksum and the ICMP checksum follow; the quoted transport checksum,
/// which may not even be there, does not (IPVS leaves it too).
pub fn readdress_error<A: Family>(frame: &mut [u8], packet: &Packet, side: Side, new: Socket<A>) {
    let (l3, end) = (usize::from(packet.l3), packet.end as usize);
    let before_quote = usize::from(packet.l4 - packet.l3) + icmpv4::HEADER_BYTES;
    let Some((ip, quote)) = frame
        .get_mut(l3..end)
        .and_then(|datagram| datagram.split_at_mut_checked(before_quote))
    else {
        return;
    };
    let Some(quoted) = crate::parse::parse_quoted(quote) else {
        return;
    };
    let (Some((source, destination)), Some((quoted_source, quoted_destination))) =
        (A::pair(packet.addresses), A::pair(quoted.addresses))
    else {
        return;
    };
    let port_at = usize::from(quoted.l4);
    let port_at = match side {
        Side::Source => {
            A::set_source(ip, source, new.address);
            A::set_destination(quote, quoted_destination, new.address);
            port_at + 2
        }
        Side::Destination => {
            A::set_destination(ip, destination, new.address);
            A::set_source(quote, quoted_source, new.address);
            port_at
        }
    };
    if let Some(port) = quote.get_mut(port_at..port_at + 2) {
        port.copy_from_slice(&new.port.to_be_bytes());
    }
    fill_icmp_checksum(frame, packet);
}

fn fill_icmp_checksum(frame: &mut [u8], packet: &Packet) {
    match packet.addresses {
        Addresses::V4 { .. } => icmpv4::fill_checksum(packet.upper_mut(frame)),
        Addresses::V6 { .. } => {
            // The packet's addresses are those from before.
            let Some(ip) = ipv6::Header::new(packet.datagram(frame)) else {
                return;
            };
            let (source, destination) = (ip.source(), ip.destination());
            icmpv6::fill_checksum(source, destination, packet.upper_mut(frame));
        }
    }
}

/// Whether the packet can be rewritten without making a bad one look good: a UDP datagram's length has to be
/// that of a datagram within its packet, and over IPv6 there has to be a checksum (RFC 8200 section 8.1),
/// since NAT would write one.
#[must_use]
pub fn is_translatable(frame: &[u8], packet: &Packet) -> bool {
    if packet.protocol != ipv4::UDP || packet.fragment.is_some() {
        return true;
    }
    let upper = packet.upper(frame);
    udp::Header::new(upper).is_some_and(|header| {
        let length = usize::from(header.length());
        (udp::HEADER_BYTES..=upper.len()).contains(&length)
            && (header.checksum() != 0 || !packet.addresses.is_v6())
    })
}

/// Whether the transport checksum is the bare sum of the pseudo header, or for SCTP nothing: the
/// sender left the rest to a NIC that never did it (Linux `CHECKSUM_PARTIAL`).
#[must_use]
pub fn is_checksum_unfinished(frame: &[u8], packet: &Packet, protocol: Protocol) -> bool {
    let upper = packet.upper(frame);
    let (upper, checksum) = match protocol {
        Protocol::Tcp => (
            upper,
            tcp::Header::new(upper).map(|header| header.checksum()),
        ),
        Protocol::Udp => (
            udp_datagram(upper),
            udp::Header::new(upper).map(|header| header.checksum()),
        ),
        Protocol::Sctp => {
            return sctp::Header::new(upper).is_some_and(|header| header.checksum() == 0)
                && sctp::checksum_of(upper) != 0;
        }
    };
    let pseudo = packet.addresses.pseudo_header(packet.protocol, upper.len());
    // A finished checksum may be the same number by chance, so a match is looked into.
    checksum == Some(pseudo.fold()) && !pseudo.bytes(upper).is_valid()
}

/// What is under a datagram's checksum: not what lies behind its own length (RFC 768).
fn udp_datagram(upper: &[u8]) -> &[u8] {
    let length = udp::Header::new(upper).map_or(0, |header| usize::from(header.length()));
    upper
        .get(..length)
        .filter(|_| length >= udp::HEADER_BYTES)
        .unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{V4, V6};
    use crate::parse::{Parse, parse};
    use crate::testing::PacketBuilder;

    fn parsed(frame: &[u8]) -> Packet {
        match parse(frame) {
            Parse::Ip(packet) => packet,
            other => unreachable!("{other:?}"),
        }
    }

    /// The frame that `make` builds from `old`, readdressed to `new`, is the one built from `new`.
    fn holds<A: Family>(
        make: impl Fn(Socket<A>) -> PacketBuilder,
        protocol: Protocol,
        side: Side,
        old: Socket<A>,
        new: Socket<A>,
    ) {
        let mut frame = make(old).build();
        let packet = parsed(&frame);
        let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
        let ip = &mut frame[l3..];
        assert!(!readdress(ip, l4 - l3, protocol, side, old, new));
        assert_eq!(frame, make(new).build());
        let ip = &mut frame[l3..];
        readdress(ip, l4 - l3, protocol, side, new, old);
        assert_eq!(frame, make(old).build(), "there and back again");
    }

    proptest! {
        #[test]
        fn a_readdressed_packet_is_the_one_sent_there(
            a: u32, b: u32, c: u32, ports: (u16, u16, u16), payload: Vec<u8>, kind: u8,
            high: u64, six: (u64, u64, u64),
        ) {
            // What a client or a real server cannot have is refused before.
            let [a, b, c] = [a, b, c].map(|bits| V4(bits % 0x6000_0000 + 0x0100_0000));
            let [d, e, f] = [six.0, six.1, six.2].map(|low| V6([high >> 3 | 1 << 61, low]));
            let (peer, old, new) = ports;
            let socket4 = |address, port| Socket { address, port };
            let socket6 = |address, port| Socket { address, port };
            for side in [Side::Source, Side::Destination] {
                let v4 = |one: Socket<V4>| match side {
                    Side::Source => (PacketBuilder::v4(one.address, a), (one.port, peer)),
                    Side::Destination => (PacketBuilder::v4(a, one.address), (peer, one.port)),
                };
                let v6 = |one: Socket<V6>| match side {
                    Side::Source => (PacketBuilder::v6(one.address, d), (one.port, peer)),
                    Side::Destination => (PacketBuilder::v6(d, one.address), (peer, one.port)),
                };
                let tcp = |(builder, (source, destination)): (PacketBuilder, (u16, u16))| {
                    builder.tcp(source, destination).payload(&payload)
                };
                let udp = |(builder, (source, destination)): (PacketBuilder, (u16, u16))| {
                    builder.udp(source, destination).payload(&payload)
                };
                let sctp = |(builder, (source, destination)): (PacketBuilder, (u16, u16))| {
                    builder.sctp(source, destination, kind).payload(&payload)
                };
                holds(|one| tcp(v4(one)), Protocol::Tcp, side, socket4(b, old), socket4(c, new));
                holds(|one| udp(v4(one)), Protocol::Udp, side, socket4(b, old), socket4(c, new));
                holds(|one| tcp(v6(one)), Protocol::Tcp, side, socket6(e, old), socket6(f, new));
                holds(|one| udp(v6(one)), Protocol::Udp, side, socket6(e, old), socket6(f, new));
                holds(|one| sctp(v4(one)), Protocol::Sctp, side, socket4(b, old), socket4(c, new));
                holds(|one| sctp(v6(one)), Protocol::Sctp, side, socket6(e, old), socket6(f, new));
            }
        }

        #[test]
        fn a_packet_under_nat_has_the_crc_of_another_implementation(
            ports: (u16, u16, u16), kind: u8, payload: Vec<u8>, wrong: u32,
        ) {
            let (client, vip, real) = (V4(0x0102_0304), V4(0x0506_0708), V4(0x0a01_0203));
            let (peer, old, new) = ports;
            let mut frame = PacketBuilder::v4(client, vip).sctp(peer, old, kind).payload(&payload).build();
            let packet = parsed(&frame);
            let at = usize::from(packet.l4) + 8;
            for (place, bit) in frame[at..at + 4].iter_mut().zip(wrong.to_le_bytes()) {
                *place ^= bit;
            }
            let (from, to) = (Socket { address: vip, port: old }, Socket { address: real, port: new });
            let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
            let ip = &mut frame[l3..];
            readdress(ip, l4 - l3, Protocol::Sctp, Side::Destination, from, to);
            let mut plain = packet.upper(&frame).to_vec();
            let found = u32::from_le_bytes([plain[8], plain[9], plain[10], plain[11]]);
            plain[8..12].fill(0);
            prop_assert_eq!(found, crc32c::crc32c(&plain) ^ wrong, "what was wrong stays wrong");
        }

        #[test]
        fn a_finished_checksum_is_never_taken_for_an_unfinished_one(
            a: u32, b: u32, ports: (u16, u16), payload: Vec<u8>,
        ) {
            let (a, b) = (V4(a % 0x6000_0000 + 1), V4(b % 0x6000_0000 + 1));
            for (protocol, builder) in [
                (Protocol::Tcp, PacketBuilder::v4(a, b).tcp(ports.0, ports.1)),
                (Protocol::Udp, PacketBuilder::v4(a, b).udp(ports.0, ports.1)),
            ] {
                let mut frame = builder.payload(&payload).build();
                let packet = parsed(&frame);
                prop_assert!(!is_checksum_unfinished(&frame, &packet, protocol));
                let upper = packet.upper(&frame).len();
                let partial = packet.addresses.pseudo_header(packet.protocol, upper).fold();
                let at = usize::from(packet.l4) + if protocol == Protocol::Tcp { 16 } else { 6 };
                frame[at..at + 2].copy_from_slice(&partial.to_be_bytes());
                let unfinished = is_checksum_unfinished(&frame, &packet, protocol);
                // By chance the rest of the packet may add up to nothing.
                let is_right = packet
                    .addresses
                    .pseudo_header(packet.protocol, upper)
                    .bytes(packet.upper(&frame))
                    .is_valid();
                prop_assert_eq!(unfinished, !is_right);
            }
        }
    }

    #[test]
    fn a_sequence_number_is_not_taken_for_a_length() {
        let (a, b) = (V4(0x0102_0304), V4(0x0506_0708));
        let segment = PacketBuilder::v4(a, b).tcp(1, 2).numbers(20 << 16, 0);
        let mut frame = segment.payload(&[7; 30]).build();
        let packet = parsed(&frame);
        let upper = packet.upper(&frame).len();
        let partial = packet
            .addresses
            .pseudo_header(packet.protocol, upper)
            .fold();
        let at = usize::from(packet.l4) + 16;
        frame[at..at + 2].copy_from_slice(&partial.to_be_bytes());
        assert!(is_checksum_unfinished(&frame, &packet, Protocol::Tcp));
    }

    #[test]
    fn an_sctp_packet_without_its_checksum_is_unfinished() {
        let (a, b) = (V4(0x0102_0304), V4(0x0506_0708));
        let builder = PacketBuilder::v4(a, b).sctp(1, 2, sctp::INIT);
        let mut frame = builder.build();
        let packet = parsed(&frame);
        assert!(!is_checksum_unfinished(&frame, &packet, Protocol::Sctp));
        frame[34 + 8..34 + 12].fill(0);
        assert!(is_checksum_unfinished(&frame, &packet, Protocol::Sctp));
        let wrong = builder.bad_checksum().build();
        assert!(
            !is_checksum_unfinished(&wrong, &packet, Protocol::Sctp),
            "wrong, not absent"
        );
    }
}
