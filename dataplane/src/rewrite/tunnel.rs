//! IP in IP: RFC 2003 (IPv4), RFC 2473 (IPv6), RFC 4213 (IPv6 in IPv4), with IPVS's choices of
//! TOS, TTL and DF. The inner packet is already as it shall be.

use std::net::IpAddr;

use crate::io::PacketBuf;
use crate::verdict::DropReason;
use crate::wire::ethernet::HEADER_BYTES as ETHERNET;
use crate::wire::{ipv4, ipv6};

/// The bytes that a tunnel to `real` adds.
#[must_use]
pub fn overhead(real: IpAddr) -> usize {
    match real {
        IpAddr::V4(_) => ipv4::HEADER_BYTES,
        IpAddr::V6(_) => ipv6::HEADER_BYTES,
    }
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

/// Puts the datagram behind the Ethernet header of `frame` into one from `source` to `real`. `id`
/// identifies the outer datagram should it be fragmented; `will_be_cut` says that it will be, since
/// the inner one came in fragments itself.
///
/// # Errors
/// [`DropReason::NoHeadroom`] when the buffer has no room in front; [`DropReason::NoRoute`] when we
/// have no address of the real server's family; [`DropReason::MtuExceeded`] when the outer datagram
/// would be longer than IP allows.
pub fn encapsulate<F: PacketBuf>(
    frame: &mut F,
    source: Option<IpAddr>,
    real: IpAddr,
    id: u16,
    will_be_cut: bool,
) -> Result<(), DropReason> {
    let datagram = frame.bytes().get(ETHERNET..).unwrap_or_default();
    let mut inner = inner(datagram).ok_or(DropReason::Truncated)?;
    inner.dont_fragment &= !will_be_cut;
    let overhead = overhead(real);
    frame
        .prepend(overhead)
        .map_err(|_| DropReason::NoHeadroom)?;
    let outer = frame.bytes_mut().get_mut(ETHERNET..).unwrap_or_default();
    let too_long = |_| DropReason::MtuExceeded;
    match (source, real) {
        (Some(IpAddr::V4(source)), IpAddr::V4(real)) => {
            let header = outer.first_chunk_mut().ok_or(DropReason::NoHeadroom)?;
            ipv4::write_header(
                header,
                &ipv4::Fields {
                    source: source.into(),
                    destination: real.into(),
                    protocol: inner.number,
                    ttl: inner.ttl,
                    tos: outer_tos(inner.tos),
                    // An atomic datagram needs no identification (RFC 6864); IPVS sends 0.
                    id: if inner.dont_fragment { 0 } else { id },
                    dont_fragment: inner.dont_fragment,
                    total_length: u16::try_from(inner.length + overhead).map_err(too_long)?,
                },
            );
            Ok(())
        }
        (Some(IpAddr::V6(source)), IpAddr::V6(real)) => {
            let header = outer.first_chunk_mut().ok_or(DropReason::NoHeadroom)?;
            ipv6::write_header(
                header,
                &ipv6::Fields {
                    source: source.into(),
                    destination: real.into(),
                    next_header: inner.number,
                    hop_limit: inner.ttl,
                    traffic_class: outer_tos(inner.tos),
                    flow_label: 0,
                    payload_length: u16::try_from(inner.length).map_err(too_long)?,
                },
            );
            Ok(())
        }
        _ => Err(DropReason::NoRoute),
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

    fn packet() -> PacketBuilder {
        PacketBuilder::v4(A, B).udp(1, 2).payload(b"data")
    }

    fn wrap(frame: &mut HeapBuf, will_be_cut: bool) -> Result<(), DropReason> {
        encapsulate(frame, Some(SOURCE), REAL, 77, will_be_cut)
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
        let other_family = encapsulate(&mut frame, Some(SOURCE), REAL6, 0, false);
        assert_eq!(other_family, Err(DropReason::NoRoute));
        let mut frame = HeapBuf::from_frame(&packet().build());
        assert_eq!(
            encapsulate(&mut frame, None, REAL, 0, false),
            Err(DropReason::NoRoute)
        );
        let mut frame = HeapBuf::from_frame(&packet().build());
        for _ in 0..crate::io::HEADROOM_BYTES / overhead(REAL) {
            wrap(&mut frame, false).unwrap();
        }
        assert_eq!(wrap(&mut frame, false), Err(DropReason::NoHeadroom));
        let long = packet().payload(&vec![0; 65_500]);
        let mut frame = HeapBuf::from_frame(&long.build());
        assert_eq!(wrap(&mut frame, true), Err(DropReason::MtuExceeded));
        let mut frame = HeapBuf::from_frame(&[0; ETHERNET]);
        assert_eq!(wrap(&mut frame, false), Err(DropReason::Truncated));
    }
}
