//! The beginning of a packet, as an ICMP error quotes it.
//! Whether the error is believed, and whose session it is about, is decided elsewhere.

use crate::flow::{Addresses, Protocol};
use crate::wire::{ipv4, ipv6, udp};

/// The packet that an ICMP error quotes: only its beginning is there. Offsets count from its
/// first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Where the upper layer's header begins, of which at least eight bytes are there.
    pub l4: u16,
    /// Who sent to whom.
    pub addresses: Addresses,
    /// The upper layer's number.
    pub protocol: u8,
    /// The sender's port; 0 if no protocol that we balance. An echo's identifier is not a port.
    pub source_port: u16,
    /// The receiver's port; 0 if no protocol that we balance.
    pub destination_port: u16,
}

/// Reads the packet quoted in an ICMP error, of which RFC 792 promises the header and eight bytes.
///
/// `None` if less is there, or if it is a fragment other than the first. Its length and its
/// checksums are not checked: the quote is cut off, and routers change what they quote.
#[must_use]
pub fn parse_quoted(bytes: &[u8]) -> Option<Quoted> {
    let (l4, protocol, addresses) = match bytes.first()? >> 4 {
        4 => {
            let header = ipv4::Header::new(bytes)?;
            let header_bytes = u16::from(header.header_bytes());
            if header_bytes < 20 || header.offset_bytes() != 0 {
                return None;
            }
            let addresses = Addresses::V4 {
                source: header.source(),
                destination: header.destination(),
            };
            (header_bytes, header.protocol(), addresses)
        }
        6 => {
            let header = ipv6::Header::new(bytes)?;
            let chain = ipv6::walk(bytes)?;
            if chain.fragment.is_some_and(|it| it.offset_bytes != 0) {
                return None;
            }
            let addresses = Addresses::V6 {
                source: header.source(),
                destination: header.destination(),
            };
            (chain.offset, chain.protocol, addresses)
        }
        _ => return None,
    };
    // TCP's, UDP's and SCTP's ports are in the same place.
    let ports = udp::Header::at(bytes, l4)?;
    let has_ports = Protocol::from_number(protocol).is_some();
    Some(Quoted {
        l4,
        addresses,
        protocol,
        source_port: if has_ports { ports.source_port() } else { 0 },
        destination_port: if has_ports {
            ports.destination_port()
        } else {
            0
        },
    })
}
