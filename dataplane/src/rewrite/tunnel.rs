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
