//! IP in IP (RFC 2003 for IPv4, RFC 2473 for IPv6, RFC 4213 for IPv6 in IPv4), GRE and GUE, with
//! IPVS's choices of TOS, TTL and DF. The inner packet is already as it shall be.

use std::net::IpAddr;

use crate::flow::Address as _;
use crate::io::PacketBuf;
use crate::parse::{Addresses, Packet};
use crate::snapshot::model::TunnelKind;
use crate::verdict::DropReason;
use crate::wire::ethernet::{self, HEADER_BYTES as ETHERNET};
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
        TunnelKind::Gre => gre::HEADER_BYTES,
        TunnelKind::Gue { .. } => gue::HEADER_BYTES,
    }
}

/// A tunnel for one packet.
#[derive(Debug, Clone, Copy)]
pub struct Outer {
    /// Our end, if we have an address of the real server's family.
    pub source: Option<IpAddr>,
    /// The other end.
    pub real: IpAddr,
    /// What stands between the outer IP header and the packet.
    pub kind: TunnelKind,
    /// A hash of the packet's flow, for GUE's source port.
    pub flow: u64,
    /// Identifies the outer datagram should it be fragmented.
    pub id: u16,
    /// Whether it will be, since the inner one came in fragments itself or is too long.
    pub will_be_cut: bool,
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
            dont_fragment: true,
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

/// The outer ECN field: congestion that the inner packet met before is not repeated outside
/// (Linux `INET_ECN_encapsulate`; RFC 3168 section 9.1.1).
const fn outer_tos(tos: u8) -> u8 {
    const CONGESTION_EXPERIENCED: u8 = 0b11;
    const ECN_CAPABLE_0: u8 = 0b10;
    if tos & 0b11 == CONGESTION_EXPERIENCED {
        tos & !0b11 | ECN_CAPABLE_0
    } else {
        tos
    }
}

/// Puts the datagram behind the Ethernet header of `frame` into a tunnel.
///
/// # Errors
/// [`DropReason::NoHeadroom`] when the buffer has no room in front; [`DropReason::NoRoute`] when we
/// have no address of the real server's family; [`DropReason::MtuExceeded`] when the outer datagram
/// would be longer than IP allows.
pub fn encapsulate<F: PacketBuf>(frame: &mut F, tunnel: &Outer) -> Result<(), DropReason> {
    let datagram = frame.bytes().get(ETHERNET..).unwrap_or_default();
    let mut inner = inner(datagram).ok_or(DropReason::Truncated)?;
    inner.dont_fragment &= !tunnel.will_be_cut;
    let overhead = overhead(tunnel.kind, tunnel.real);
    frame
        .prepend(overhead)
        .map_err(|_| DropReason::NoHeadroom)?;
    let outer = frame.bytes_mut().get_mut(ETHERNET..).unwrap_or_default();
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
                    source: source.into(),
                    destination: real.into(),
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
                    source: source.into(),
                    destination: real.into(),
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
        TunnelKind::Gre => {
            let header = payload.first_chunk_mut().ok_or(DropReason::NoHeadroom)?;
            let ether_type = match inner.number {
                ipv6::IPV6_IN_IP => ethernet::IPV6,
                _ => ethernet::IPV4,
            };
            gre::write_header(header, ether_type);
        }
        TunnelKind::Gue { port } => {
            let header = payload.first_chunk_mut().ok_or(DropReason::NoHeadroom)?;
            let source = gue::source_port(tunnel.flow);
            gue::write_header(header, source, port, payload_length, inner.number);
        }
    }
    Ok(())
}

/// What the outer IP header says that it carries.
const fn protocol(kind: TunnelKind, inner: &Inner) -> u8 {
    match kind {
        TunnelKind::Ipip => inner.number,
        TunnelKind::Gre => gre::PROTOCOL,
        TunnelKind::Gue { .. } => ipv4::UDP,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::testing::{HeapBuf, PacketBuilder};

    const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const REAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11));
    const REAL6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 11));

    const OUTER: Outer = Outer {
        source: Some(SOURCE),
        real: REAL,
        kind: TunnelKind::Ipip,
        flow: 0,
        id: 77,
        will_be_cut: false,
    };

    fn packet() -> PacketBuilder {
        PacketBuilder::v4(A, B).udp(1, 2).payload(b"data")
    }

    fn wrap(frame: &mut HeapBuf, will_be_cut: bool) -> Result<(), DropReason> {
        encapsulate(
            frame,
            &Outer {
                will_be_cut,
                ..OUTER
            },
        )
    }

    #[test]
    fn whoever_must_not_be_fragmented_needs_no_identification() {
        for (df, will_be_cut, flags, id) in [
            (false, false, 0, 77),
            (true, false, ipv4::DONT_FRAGMENT, 0),
            (false, true, 0, 77),
            (true, true, 0, 77),
        ] {
            let builder = if df { packet().df() } else { packet() };
            let mut frame = HeapBuf::from_frame(&builder.build());
            wrap(&mut frame, will_be_cut).unwrap();
            let outer = ipv4::Header::at(frame.bytes(), ETHERNET).unwrap();
            assert_eq!(
                (outer.flags(), outer.id()),
                (flags, id),
                "{df} {will_be_cut}"
            );
            assert!(outer.sum().is_valid());
            assert_eq!(frame.bytes()[34..], builder.build_datagram());
        }
    }

    #[test]
    fn congestion_is_not_repeated_outside() {
        for tos in 0..=255_u8 {
            let expected = if tos & 3 == 3 { tos ^ 1 } else { tos };
            assert_eq!(outer_tos(tos), expected);
        }
    }

    #[test]
    fn a_tunnel_without_room_source_or_length_is_refused() {
        let mut frame = HeapBuf::from_frame(&packet().build());
        let other_family = encapsulate(
            &mut frame,
            &Outer {
                real: REAL6,
                ..OUTER
            },
        );
        assert_eq!(other_family, Err(DropReason::NoRoute));
        let mut frame = HeapBuf::from_frame(&packet().build());
        let nobody = Outer {
            source: None,
            ..OUTER
        };
        assert_eq!(encapsulate(&mut frame, &nobody), Err(DropReason::NoRoute));
        let mut frame = HeapBuf::from_frame(&packet().build());
        for _ in 0..crate::io::HEADROOM_BYTES / overhead(TunnelKind::Ipip, REAL) {
            wrap(&mut frame, false).unwrap();
        }
        assert_eq!(wrap(&mut frame, false), Err(DropReason::NoHeadroom));
        let long = packet().payload(&vec![0; 65_500]);
        let mut frame = HeapBuf::from_frame(&long.build());
        assert_eq!(wrap(&mut frame, true), Err(DropReason::MtuExceeded));
        let mut frame = HeapBuf::from_frame(&[0; ETHERNET]);
        assert_eq!(wrap(&mut frame, false), Err(DropReason::Truncated));
    }

    #[test]
    fn each_kind_adds_as_much_as_it_says() {
        let gue = TunnelKind::Gue { port: 6080 };
        for (kind, v4, v6) in [
            (TunnelKind::Ipip, 20, 40),
            (TunnelKind::Gre, 24, 44),
            (gue, 32, 52),
        ] {
            assert_eq!((overhead(kind, REAL), overhead(kind, REAL6)), (v4, v6));
            let mut frame = HeapBuf::from_frame(&packet().build());
            encapsulate(&mut frame, &Outer { kind, ..OUTER }).unwrap();
            assert_eq!(frame.bytes()[ETHERNET + v4..], packet().build_datagram());
        }
        let longest = packet().payload(&[0; 65_535 - 24 - 28]);
        let gre = Outer {
            kind: TunnelKind::Gre,
            ..OUTER
        };
        let mut frame = HeapBuf::from_frame(&longest.build());
        assert_eq!(encapsulate(&mut frame, &gre), Ok(()));
        let mut frame = HeapBuf::from_frame(&longest.payload(&[0; 65_535 - 24 - 27]).build());
        assert_eq!(encapsulate(&mut frame, &gre), Err(DropReason::MtuExceeded));
    }
}
