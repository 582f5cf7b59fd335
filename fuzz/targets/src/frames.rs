//! Frames out of a fuzzer's bytes: well-formed packets of the network's hosts, and bytes as they are.
//! Where they arrive is decided by the caller.

use plimsoll_dataplane::flow::Addresses;
use plimsoll_dataplane::testing::PacketBuilder;
use plimsoll_dataplane::wire::Mac;

use crate::network::{CLIENTS, GATEWAY_MAC, MACS, OWN, REALS, SHIFT, VIPS, ip};
use crate::script::Script;

/// Longer frames are cut: no port takes them.
const MOST: usize = 2048;

/// A packet between two addresses of one family.
pub(crate) fn packet(from: &str, to: &str) -> PacketBuilder {
    PacketBuilder::new(match (ip(from), ip(to)) {
        (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => Addresses::V4 {
            source: source.into(),
            destination: destination.into(),
        },
        (std::net::IpAddr::V6(source), std::net::IpAddr::V6(destination)) => Addresses::V6 {
            source: source.into(),
            destination: destination.into(),
        },
        _ => panic!("{from} and {to} are of two families"),
    })
}

/// A client's packet to a VIP, or a real server's to a client or to us.
pub(crate) fn flow(script: &mut Script<'_>) -> (u16, PacketBuilder, [u16; 2]) {
    let family = script.below(2);
    let (client, vip) = (CLIENTS[family], VIPS[family]);
    let client_port = 4000 + u16::from(script.byte() % 8);
    let port = [80, 53, 81, 54, 7][script.below(5)];
    let real = script.below(3);
    let real_mac = Mac([2, 0, 0, 0, 1, 0xb + u8::try_from(real).unwrap_or(0)]);
    let real = REALS[family][real];
    match script.below(4) {
        0 | 1 => (
            0,
            packet(client, vip).mac(GATEWAY_MAC, MACS[0]),
            [client_port, port],
        ),
        2 => (
            1,
            packet(real, client).mac(real_mac, MACS[1]),
            [port + SHIFT, client_port],
        ),
        _ => (
            1,
            packet(real, OWN[family]).mac(real_mac, MACS[1]),
            [port, client_port],
        ),
    }
}

/// A well-formed packet and the port that it arrives at, perhaps in fragments.
pub(crate) fn sound(script: &mut Script<'_>) -> (u16, Vec<Vec<u8>>) {
    let (port, builder, [from, to]) = flow(script);
    let (kind, flags, length) = (script.byte(), script.byte(), script.word());
    let payload = vec![flags; usize::from(length) % 1800];
    let builder = match kind % 6 {
        0 | 1 => builder.tcp(from, to).flags(flags),
        2 => builder.udp(from, to),
        3 => builder.sctp(from, to, flags),
        4 => builder.echo_request(from, to),
        _ => builder.protocol(flags),
    };
    let builder = builder.payload(&payload).id(u32::from(length));
    let builder = if kind & 0x80 == 0 {
        builder
    } else {
        builder.ttl(flags & 3)
    };
    let frames = if kind & 0x40 == 0 {
        vec![builder.build()]
    } else {
        builder.build_fragments(600 + usize::from(flags))
    };
    (port, frames)
}

/// Bytes as a frame. So that not all of them end at the first look, a flag puts the right checksum into the
/// IPv4 header.
pub(crate) fn raw(script: &mut Script<'_>) -> Vec<u8> {
    let is_mended = script.flag();
    let length = usize::from(script.word()).min(MOST);
    let mut frame = script.take(length).to_vec();
    if is_mended
        && frame.get(12..14) == Some(&[8, 0])
        && let Some((header, _)) = frame
            .get(14..)
            .and_then(|packet| etherparse::Ipv4Header::from_slice(packet).ok())
    {
        let sum = header.calc_header_checksum().to_be_bytes();
        frame[24..26].copy_from_slice(&sum);
    }
    frame
}
