//! Rewriting 32 packets: NAT of either side, and tunnels.
//! The MACs are not set here.

use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};

use gungraun::prelude::*;
use plimsoll_dataplane::flow::{Addresses, Protocol, V4};
use plimsoll_dataplane::io::PacketBuf;
use plimsoll_dataplane::parse::{Packet, Parse, parse, parse_ip};
use plimsoll_dataplane::rewrite::nat::{Side, Socket, readdress};
use plimsoll_dataplane::rewrite::tunnel::{Outer, encapsulate};
use plimsoll_dataplane::spec::forward::TunnelKind;
use plimsoll_dataplane::testing::SlotBuf;
use plimsoll_dataplane::wire::ethernet::HEADER_BYTES;

use crate::setup::{Ip, REAL_PORT, VIRTUAL_PORT, client_port, clients};

/// Where IP begins.
const ETHERNET_BYTES: u16 = 14;
const NEW: Socket<V4> = Socket {
    address: V4(0x0a00_0001),
    port: REAL_PORT,
};

/// A frame, and what is known of it.
pub(crate) struct Known {
    frame: SlotBuf,
    packet: Packet,
    old: Socket<V4>,
}

/// Packets of one protocol, of which one side is to be replaced.
pub(crate) struct Readdressed {
    side: Side,
    protocol: Protocol,
    known: Vec<Known>,
}

fn frames(ip: Ip, protocol: Protocol) -> impl Iterator<Item = SlotBuf> {
    clients().map(move |number| {
        let packet = ip
            .client_packet(number, ip.virtual_address(0))
            .payload(&[7; 18]);
        let packet = match protocol {
            Protocol::Tcp => packet.tcp(client_port(number), VIRTUAL_PORT),
            _ => packet.udp(client_port(number), VIRTUAL_PORT),
        };
        SlotBuf::from_frame(&packet.build())
    })
}

fn readdressed(side: Side, protocol: Protocol) -> Box<Readdressed> {
    let known = frames(Ip::V4, protocol).filter_map(|frame| {
        let Parse::Ip(packet) = parse(frame.bytes()) else {
            return None;
        };
        let Addresses::V4 {
            source,
            destination,
        } = packet.addresses
        else {
            return None;
        };
        let old = match side {
            Side::Source => Socket {
                address: source,
                port: packet.source_port,
            },
            Side::Destination => Socket {
                address: destination,
                port: packet.destination_port,
            },
        };
        Some(Known { frame, packet, old })
    });
    Box::new(Readdressed {
        side,
        protocol,
        known: known.collect(),
    })
}

fn is_readdressed(all: Box<Readdressed>) {
    assert_eq!(all.known.len(), clients().count());
    for known in &all.known {
        let Parse::Ip(packet) = parse(known.frame.bytes()) else {
            unreachable!("a header that is not intact");
        };
        let (address, port) = match all.side {
            Side::Source => (packet.addresses.source(), packet.source_port),
            Side::Destination => (packet.addresses.destination(), packet.destination_port),
        };
        assert_eq!((address, port), (NEW.address.into(), NEW.port));
    }
}

#[library_benchmark(setup = readdressed, teardown = is_readdressed)]
#[bench::destination_udp(Side::Destination, Protocol::Udp)]
#[bench::source_udp(Side::Source, Protocol::Udp)]
#[bench::destination_tcp(Side::Destination, Protocol::Tcp)]
#[bench::source_tcp(Side::Source, Protocol::Tcp)]
fn nat(mut all: Box<Readdressed>) -> Box<Readdressed> {
    let Readdressed {
        side,
        protocol,
        known,
    } = &mut *all;
    for Known { frame, packet, old } in known {
        let l4 = usize::from(packet.l4 - packet.l3);
        let ip = frame
            .bytes_mut()
            .get_mut(HEADER_BYTES..)
            .unwrap_or_default();
        readdress(ip, l4, *protocol, *side, *old, NEW);
    }
    all
}

/// Packets and the tunnel that they are to go through.
pub(crate) struct Tunnelled {
    source: IpAddr,
    real: IpAddr,
    kind: TunnelKind,
    frames: Vec<SlotBuf>,
}

const GRE: TunnelKind = TunnelKind::Gre { checksum: false };
const GUE: TunnelKind = TunnelKind::Gue {
    port: 6080,
    checksum: false,
};

fn tunnelled(ip: Ip, kind: TunnelKind) -> Box<Tunnelled> {
    let source: IpAddr = match ip {
        Ip::V4 => [10, 0, 255, 254].into(),
        Ip::V6 => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1).into(),
    };
    Box::new(Tunnelled {
        source,
        real: ip.real(0),
        kind,
        frames: frames(ip, Protocol::Udp).collect(),
    })
}

fn is_tunnelled(all: Box<Tunnelled>) {
    for frame in &all.frames {
        // The Ethernet header is not written yet.
        let packet = parse_ip(frame.bytes(), ETHERNET_BYTES);
        let real = packet.map(|packet| packet.addresses.destination());
        assert_eq!(real, Ok(all.real));
    }
}

#[library_benchmark(setup = tunnelled, teardown = is_tunnelled)]
#[bench::ipip_4in4(Ip::V4, TunnelKind::Ipip)]
#[bench::gre_4in4(Ip::V4, GRE)]
#[bench::gue_4in4(Ip::V4, GUE)]
#[bench::ipip_6in6(Ip::V6, TunnelKind::Ipip)]
#[bench::gre_6in6(Ip::V6, GRE)]
#[bench::gue_6in6(Ip::V6, GUE)]
fn tunnel(mut all: Box<Tunnelled>) -> Box<Tunnelled> {
    let outer = Outer {
        source: Some(&all.source),
        real: &all.real,
        kind: all.kind,
        flow: 0x1234_5678_9abc_def0,
        id: 1,
        may_be_cut: false,
        ttl: None,
    };
    for frame in &mut all.frames {
        let _ = black_box(encapsulate(frame, HEADER_BYTES, &outer));
    }
    all
}

library_benchmark_group!(name = rewrites, benchmarks = [nat, tunnel]);
