//! IP in IP (RFC 2003 for IPv4, RFC 2473 for IPv6, RFC 4213 for IPv6 in IPv4), GRE and GUE, with
//! IPVS's choices of TOS, TTL and DF. The inner packet is already as it shall be.

use std::net::IpAddr;

use crate::flow::{Address as _, Addresses, V4};
use crate::io::PacketBuf;
use crate::parse::{PLAIN_L3, Packet, Plain};
use crate::spec::forward::TunnelKind;
use crate::verdict::DropReason;
use crate::wire::checksum::Sum;
use crate::wire::ethernet;
use crate::wire::{gre, gue, ipv4, ipv6};

/// The bytes that a tunnel of this kind to `real` adds.
#[must_use]
pub const fn overhead(kind: TunnelKind, real: IpAddr) -> usize {
    let outer = match real {
        IpAddr::V4(_) => ipv4::HEADER_BYTES,
        IpAddr::V6(_) => ipv6::HEADER_BYTES,
    };
    outer + between(kind)
}

/// The bytes between the outer IP header and the packet inside.
const fn between(kind: TunnelKind) -> usize {
    match kind {
        TunnelKind::Ipip => 0,
        TunnelKind::Gre { checksum: false } => gre::HEADER_BYTES,
        TunnelKind::Gre { checksum: true } => gre::CHECKSUM_HEADER_BYTES,
        TunnelKind::Gue { .. } => gue::HEADER_BYTES,
    }
}

/// A tunnel for one packet. The addresses are borrowed: a copy is written by pieces that are read back by others, and
/// such a read waits until all writes before it have reached the cache.
#[derive(Debug, Clone, Copy)]
pub struct Outer<'a> {
    /// Our end, if we have an address of the real server's family.
    pub source: Option<&'a IpAddr>,
    /// The other end.
    pub real: &'a IpAddr,
    /// What stands between the outer IP header and the packet.
    pub kind: TunnelKind,
    /// A hash of the packet's flow, for GUE's source port.
    pub flow: u64,
    /// Identifies the outer datagram should it be fragmented.
    pub id: u16,
    /// Whether anybody may, whatever the inner one says: it is too long, or nobody looks at that.
    pub may_be_cut: bool,
    /// The TTL or hop limit; `None` is the inner one's, which may not suffice for the way to the other end.
    pub ttl: Option<u8>,
}

/// A tunnel by IP in IP between two IPv4 addresses: what `encapsulate` makes of it, known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipip {
    /// Our end.
    pub source: V4,
    /// The other end.
    pub real: V4,
    /// Whether anybody may fragment it, whatever the inner packet says.
    pub may_be_cut: bool,
    /// The TTL; `None` is the inner packet's.
    pub ttl: Option<u8>,
}

impl Ipip {
    /// Puts the plain IPv4 packet behind the Ethernet header of `frame`, which has one hop less already,
    /// into the tunnel, and writes an Ethernet header with these addresses before it.
    ///
    /// # Errors
    /// [`DropReason::NoHeadroom`] when the buffer has no room in front; [`DropReason::MtuExceeded`] when
    /// the outer datagram would be longer than IP allows.
    #[inline]
    pub fn encapsulate<F: PacketBuf>(
        &self,
        frame: &mut F,
        plain: &Plain<V4>,
        id: u16,
        macs: &[u8; 12],
    ) -> Result<(), DropReason> {
        const OUTER: usize = ipv4::HEADER_BYTES;
        let tos = ipv4::Header::at(frame.bytes(), PLAIN_L3).map_or(0, |header| header.tos());
        let total_length = u16::try_from(usize::from(plain.length) + OUTER)
            .map_err(|_| DropReason::MtuExceeded)?;
        frame.prepend(OUTER).map_err(|_| DropReason::NoHeadroom)?;
        let dont_fragment = plain.dont_fragment && !self.may_be_cut;
        let fields = ipv4::Fields {
            source: self.source,
            destination: self.real,
            protocol: ipv4::IPIP,
            ttl: self.ttl.unwrap_or(plain.ttl.saturating_sub(1)),
            tos: outer_tos(tos),
            id: if dont_fragment { 0 } else { id },
            dont_fragment,
            total_length,
        };
        if let Some((header, rest)) = frame.bytes_mut().split_first_chunk_mut()
            && let Some(outer) = rest.first_chunk_mut()
        {
            ethernet::write_with_addresses(header, macs, ethernet::IPV4);
            ipv4::write_header(outer, &fields);
        }
        Ok(())
    }
}

/// A hash of the packet's addresses, ports and protocol, the same on every node and after a restart.
#[must_use]
pub fn flow_hash(packet: &Packet) -> u64 {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let ([from_high, from_low], [to_high, to_low]) = match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => (source.words(), destination.words()),
        Addresses::V6 {
            source,
            destination,
        } => (source.words(), destination.words()),
    };
    let rest = u64::from(packet.source_port) << 32
        | u64::from(packet.destination_port) << 16
        | u64::from(packet.protocol);
    let words = [from_high, from_low, to_high, to_low, rest];
    words.into_iter().fold(GOLDEN_RATIO, |hash, word| {
        let hash = hash ^ word;
        (hash ^ (hash >> 32)).wrapping_mul(GOLDEN_RATIO)
    })
}

/// What the outer header takes from the inner one.
#[derive(Debug, Clone, Copy)]
struct Inner {
    number: u8,
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    length: usize,
}

fn inner(datagram: &[u8]) -> Option<Inner> {
    if datagram.first()? >> 4 == 6 {
        let header = ipv6::Header::new(datagram)?;
        Some(Inner {
            number: ipv6::IPV6_IN_IP,
            tos: header.traffic_class(),
            ttl: header.hop_limit(),
            // As IPVS sends it, and RFC 4213 section 3.2.1: routers may cut what carries IPv6.
            dont_fragment: false,
            length: datagram.len(),
        })
    } else {
        let header = ipv4::Header::new(datagram)?;
        Some(Inner {
            number: ipv4::IPIP,
            tos: header.tos(),
            ttl: header.ttl(),
            dont_fragment: header.dont_fragment(),
            length: datagram.len(),
        })
    }
}

/// The outer ECN field: congestion that the inner packet met before is not repeated outside.
///
/// That is the full-functionality option of RFC 3168 section 9.1.1, and what Linux and so IPVS do. RFC
/// 6040 section 4.1 would repeat it; a receiver by either standard makes the same of both.
const fn outer_tos(tos: u8) -> u8 {
    const CONGESTION_EXPERIENCED: u8 = 0b11;
    const ECN_CAPABLE_0: u8 = 0b10;
    if tos & 0b11 == CONGESTION_EXPERIENCED {
        tos & !0b11 | ECN_CAPABLE_0
    } else {
        tos
    }
}

/// Puts the datagram of `frame`, which begins at `l3`, into a tunnel.
///
/// # Errors
/// [`DropReason::NoHeadroom`] when the buffer has no room in front; [`DropReason::NoRoute`] when we
/// have no address of the real server's family; [`DropReason::MtuExceeded`] when the outer datagram
/// would be longer than IP allows.
#[inline(always)]
pub fn encapsulate<F: PacketBuf>(
    frame: &mut F,
    l3: usize,
    tunnel: &Outer<'_>,
) -> Result<(), DropReason> {
    let datagram = frame.bytes().get(l3..).unwrap_or_default();
    let mut inner = inner(datagram).ok_or(DropReason::Truncated)?;
    inner.dont_fragment &= !tunnel.may_be_cut;
    inner.ttl = tunnel.ttl.unwrap_or(inner.ttl);
    let overhead = overhead(tunnel.kind, *tunnel.real);
    frame
        .prepend(overhead)
        .map_err(|_| DropReason::NoHeadroom)?;
    let outer = frame.bytes_mut().get_mut(l3..).unwrap_or_default();
    let too_long = |_| DropReason::MtuExceeded;
    let payload_length = inner.length + between(tunnel.kind);
    let payload_length = u16::try_from(payload_length).map_err(too_long)?;
    let payload = match (tunnel.source, tunnel.real) {
        (Some(IpAddr::V4(source)), IpAddr::V4(real)) => {
            let (header, payload) = outer
                .split_first_chunk_mut()
                .ok_or(DropReason::NoHeadroom)?;
            ipv4::write_header(
                header,
                &ipv4::Fields {
                    source: (*source).into(),
                    destination: (*real).into(),
                    protocol: protocol(tunnel.kind, &inner),
                    ttl: inner.ttl,
                    tos: outer_tos(inner.tos),
                    // An atomic datagram needs no identification (RFC 6864); IPVS sends 0.
                    id: if inner.dont_fragment { 0 } else { tunnel.id },
                    dont_fragment: inner.dont_fragment,
                    total_length: u16::try_from(inner.length + overhead).map_err(too_long)?,
                },
            );
            payload
        }
        (Some(IpAddr::V6(source)), IpAddr::V6(real)) => {
            let (header, payload) = outer
                .split_first_chunk_mut()
                .ok_or(DropReason::NoHeadroom)?;
            ipv6::write_header(
                header,
                &ipv6::Fields {
                    source: (*source).into(),
                    destination: (*real).into(),
                    next_header: protocol(tunnel.kind, &inner),
                    hop_limit: inner.ttl,
                    traffic_class: outer_tos(inner.tos),
                    flow_label: 0,
                    payload_length,
                },
            );
            payload
        }
        _ => return Err(DropReason::NoRoute),
    };
    match tunnel.kind {
        TunnelKind::Ipip => {}
        TunnelKind::Gre { checksum } => {
            let ether_type = match inner.number {
                ipv6::IPV6_IN_IP => ethernet::IPV6,
                _ => ethernet::IPV4,
            };
            gre::write_header(payload, ether_type, checksum);
        }
        TunnelKind::Gue { port, checksum } => {
            let fields = gue::Fields {
                source_port: gue::source_port(tunnel.flow),
                destination_port: port,
                protocol: inner.number,
                pseudo_header: checksum.then(|| pseudo_header(tunnel, payload.len())),
            };
            gue::write_headers(payload, &fields, payload_length);
        }
    }
    Ok(())
}

/// The pseudo header under the outer UDP header.
fn pseudo_header(tunnel: &Outer<'_>, length: usize) -> Sum {
    match (tunnel.source, tunnel.real) {
        (Some(IpAddr::V4(source)), IpAddr::V4(real)) => {
            Sum::pseudo_v4((*source).into(), (*real).into(), ipv4::UDP, length)
        }
        (Some(IpAddr::V6(source)), IpAddr::V6(real)) => {
            Sum::pseudo_v6((*source).into(), (*real).into(), ipv4::UDP, length)
        }
        _ => Sum::ZERO,
    }
}

/// What the outer IP header says that it carries.
const fn protocol(kind: TunnelKind, inner: &Inner) -> u8 {
    match kind {
        TunnelKind::Ipip => inner.number,
        TunnelKind::Gre { .. } => gre::PROTOCOL,
        TunnelKind::Gue { .. } => ipv4::UDP,
    }
}

#[cfg(test)]
mod tests;
