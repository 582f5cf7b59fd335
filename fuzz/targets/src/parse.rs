//! Any bytes as a frame, beside another parser.
//! What becomes of the packet is the pipeline's.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use plimsoll_dataplane::parse::{Parse, parse as parse_frame};
use plimsoll_dataplane::wire::ipv6;

use crate::checksum;

/// Parses the bytes. What both parsers take for a packet has the same addresses and ports.
pub fn parse(data: &[u8]) {
    let Parse::Ip(packet) = parse_frame(data) else {
        return;
    };
    let (datagram, upper) = (packet.datagram(data), packet.upper(data));
    assert!(datagram.len() >= upper.len());
    assert!(checksum::ip(data) || data.get(12..14) != Some(&[8, 0]));
    let Ok(sliced) = SlicedPacket::from_ethernet(data) else {
        return;
    };
    let (source, destination): (IpAddr, IpAddr) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        Some(NetSlice::Ipv6(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => panic!("{packet:?} is no IP packet to others"),
    };
    assert_eq!(packet.addresses.source(), source);
    assert_eq!(packet.addresses.destination(), destination);
    if packet.protocol == ipv6::AUTHENTICATION && source.is_ipv4() {
        // Over IPv4 it is an upper layer (IPVS); the other parser looks behind it, as both do over IPv6.
        return;
    }
    let ports = match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        _ => return,
    };
    assert_eq!((packet.source_port, packet.destination_port), ports);
}
