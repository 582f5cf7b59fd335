//! Whether the checksums of a frame are right, by another implementation than the one under test.
//! Says nothing of frames that it does not understand.

use etherparse::checksum::Sum16BitWords;
use etherparse::{EtherType, IpNumber, NetSlice, SlicedPacket};

/// Whether the checksum behind the IP header is right: of TCP, UDP, ICMP. `None` if there is none to be
/// found: fragments, extension headers, other protocols, and what is no packet.
pub(crate) fn transport(frame: &[u8]) -> Option<bool> {
    let (number, addresses, upper) = match SlicedPacket::from_ethernet(frame).ok()?.net? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let addresses = [header.source(), header.destination()].concat();
            (header.protocol(), addresses, ip.payload().clone())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let addresses = [header.source(), header.destination()].concat();
            (header.next_header(), addresses, ip.payload().clone())
        }
        NetSlice::Arp(_) => return None,
    };
    if upper.fragmented || upper.ip_number != number {
        return None;
    }
    let bytes = upper.payload;
    let length = u32::try_from(bytes.len()).ok()?;
    let pseudo = || {
        Sum16BitWords::new()
            .add_slice(&addresses)
            .add_4bytes(length.to_be_bytes())
            .add_2bytes([0, number.0])
    };
    let sum = match number {
        IpNumber::UDP if addresses.len() == 8 && bytes.get(6..8)? == [0, 0] => return Some(true),
        // A datagram's length is its own, and may be less than the packet's.
        IpNumber::UDP if bytes.get(4..6)? != u16::try_from(length).ok()?.to_be_bytes() => {
            return None;
        }
        IpNumber::TCP | IpNumber::UDP | IpNumber::IPV6_ICMP => pseudo(),
        IpNumber::ICMP => Sum16BitWords::new(),
        _ => return None,
    };
    Some(sum.add_slice(bytes).ones_complement() == 0)
}

/// Whether the IPv4 header's checksum is right, and those of the IPv4 headers in it; true for anything else.
pub(crate) fn ip(frame: &[u8]) -> bool {
    let is_v4 = frame.get(12..14) == Some(&EtherType::IPV4.0.to_be_bytes());
    !is_v4 || frame.get(14..).is_some_and(header_is_right)
}

fn header_is_right(packet: &[u8]) -> bool {
    // Over the bytes as they are: etherparse keeps no bit that is reserved.
    let header = etherparse::Ipv4HeaderSlice::from_slice(packet);
    header.is_ok_and(|header| {
        Sum16BitWords::new()
            .add_slice(header.slice())
            .ones_complement()
            == 0
    })
}
