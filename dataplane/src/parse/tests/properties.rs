//! The parser against an independent one, and against damaged and arbitrary frames.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::flow::{V4, V6};
use crate::testing::Rng;

/// Every kind of packet that the builder can make, with anything in its fields.
fn any_packet() -> impl Strategy<Value = PacketBuilder> {
    let addresses = prop_oneof![
        any::<(u32, u32)>().prop_map(|(source, destination)| Addresses::V4 {
            source: V4(source),
            destination: V4(destination),
        }),
        any::<([u64; 2], [u64; 2])>().prop_map(|(source, destination)| Addresses::V6 {
            source: V6(source),
            destination: V6(destination),
        }),
    ];
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..=most);
    let extras = (
        bytes(40),
        bytes(14),
        bytes(100),
        any::<(bool, bool, bool)>(),
    );
    let numbers = any::<(u8, u8, u16, u16, u8, u32)>();
    (addresses, 0..5_u8, numbers, extras).prop_map(|(addresses, kind, numbers, extras)| {
        let (ttl, tos, source, destination, flags, id) = numbers;
        let (options, extension, payload, (tagged, df, padded)) = extras;
        let mut builder = PacketBuilder::new(addresses).ttl(ttl).tos(tos).id(id);
        builder = builder.payload(&payload);
        if !options.len().is_multiple_of(3) {
            // Options of the end-of-list kind: the oracle reads the others.
            builder = builder.options(&vec![0; options.len()]);
        }
        if !extension.len().is_multiple_of(3) {
            builder = builder.extension(ipv6::DESTINATION_OPTIONS, &extension);
        }
        if tagged {
            builder = builder.vlan(0);
        }
        if df {
            builder = builder.df();
        }
        if padded {
            builder = builder.padded();
        }
        match kind {
            0 => builder.tcp(source, destination).flags(flags),
            1 => builder.udp(source, destination),
            2 => builder.echo_request(source, destination),
            3 => builder
                .tcp(source, destination)
                .fragment(source & 0x7ff8, true),
            _ => builder.protocol(253),
        }
    })
}

/// What both parsers can say about an IP packet.
#[derive(Debug, PartialEq)]
struct Summary {
    addresses: Addresses,
    protocol: u8,
    ttl: u8,
    ports: Option<(u16, u16)>,
    fragmented: bool,
    upper: Vec<u8>,
}

fn ours(frame: &[u8]) -> Option<Summary> {
    let Parse::Ip(packet) = parse(frame) else {
        return None;
    };
    let has_ports = packet.balanced_protocol().is_some() && packet.fragment.is_none();
    Some(Summary {
        addresses: packet.addresses,
        protocol: packet.protocol,
        ttl: packet.ttl,
        ports: has_ports.then_some((packet.source_port, packet.destination_port)),
        fragmented: packet.fragment.is_some(),
        upper: packet.upper(frame).to_vec(),
    })
}

fn oracle(frame: &[u8]) -> Option<Summary> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let net = sliced.net.as_ref()?;
    let (addresses, ttl) = match net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let addresses = Addresses::V4 {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
            };
            (addresses, header.ttl())
        }
        // The oracle takes a payload length of 0 for "as long as the frame".
        NetSlice::Ipv6(ip) if ip.header().payload_length() == 0 => return None,
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let addresses = Addresses::V6 {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
            };
            (addresses, header.hop_limit())
        }
        NetSlice::Arp(_) => return None,
    };
    let payload = net.ip_payload_ref()?;
    Some(Summary {
        addresses,
        protocol: payload.ip_number.0,
        ttl,
        ports: match &sliced.transport {
            Some(TransportSlice::Tcp(it)) => Some((it.source_port(), it.destination_port())),
            Some(TransportSlice::Udp(it)) => Some((it.source_port(), it.destination_port())),
            _ => None,
        },
        fragmented: payload.fragmented,
        upper: payload.payload.to_vec(),
    })
}

/// Offsets in order and within the frame: what every later stage relies on.
fn assert_in_bounds(frame: &[u8]) {
    match parse(frame) {
        Parse::Ip(packet) => {
            assert!(packet.l3 < packet.l4);
            assert!(u32::from(packet.l4) <= packet.end);
            assert!(packet.end as usize <= frame.len());
            match packet.protocol {
                _ if packet.fragment.is_some() => {}
                6 => assert!(packet.upper(frame).len() >= 20),
                17 => assert!(packet.upper(frame).len() >= 8),
                _ if packet.is_icmp() => assert!(packet.upper(frame).len() >= 8),
                _ => {}
            }
        }
        Parse::Arp { offset } => assert!(usize::from(offset) <= frame.len()),
        Parse::Other { .. } | Parse::Drop(_) => {}
    }
}

proptest! {
    #[test]
    fn what_is_built_is_parsed_as_an_independent_parser_does(builder in any_packet()) {
        let frame = builder.build();
        let nothing_inside = packet(&frame).upper(&frame).is_empty();
        prop_assume!(!nothing_inside);
        prop_assert_eq!(ours(&frame), oracle(&frame));
    }

    #[test]
    fn what_is_plain_is_parsed_the_same_and_nothing_else_is_plain(
        builder in any_packet(),
        flip in prop::option::of((0..100_usize, 0..8_u8)),
    ) {
        let mut frame = builder.build();
        if let Some((at, bit)) = flip {
            let at = 14 + at % (frame.len() - 14);
            frame[at] ^= 1 << bit;
        }
        let parsed = parse(&frame);
        let datagram = &frame[14..];
        let plain = match frame[12..14] {
            [0x08, 0x00] => plain_v4(datagram).map(|plain| plain.packet()),
            [0x86, 0xdd] => plain_v6(datagram).map(|plain| plain.packet()),
            _ => None,
        };
        if let Some(packet) = plain {
            prop_assert_eq!(parsed, Parse::Ip(packet));
        } else if let Parse::Ip(packet) = parsed {
            let bare = if packet.addresses.is_v6() { 40 } else { 20 };
            let is_plain = packet.l3 == 14
                && packet.l4 == 14 + bare
                && packet.fragment.is_none()
                && matches!(packet.protocol, 6 | 17);
            prop_assert!(!is_plain);
        }
    }

    #[test]
    fn damaged_packets_are_parsed_as_an_independent_parser_does(
        builder in any_packet(),
        seed: u64,
        flips in 1..4,
    ) {
        let mut frame = builder.build();
        let mut rng = Rng::new(seed);
        for _ in 0..flips {
            // Headers rather than payload; the EtherTypes of other protocols are not the subject.
            let at = 14 + rng.below(frame.len().min(100) - 14);
            frame[at] ^= 1 << rng.below(8);
        }
        assert_in_bounds(&frame);
        if let (Some(ours), Some(oracle)) = (ours(&frame), oracle(&frame)) {
            // The oracle knows fewer kinds of extension headers and looks behind a first
            // fragment's header.
            prop_assert_eq!(ours.addresses, oracle.addresses);
            prop_assert_eq!(ours.ttl, oracle.ttl);
            if !ours.fragmented && ours.protocol == oracle.protocol {
                prop_assert_eq!(ours.ports, oracle.ports);
                prop_assert_eq!(ours.upper, oracle.upper);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_parsed_within_their_bounds(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        ether_type in prop::sample::select(vec![0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x0806]),
        first: u8,
    ) {
        assert_in_bounds(&bytes);
        let _ = parse_quoted(&bytes);
        let mut frame = bytes;
        if let Some(place) = frame.get_mut(12..14) {
            place.copy_from_slice(&ether_type.to_be_bytes());
        }
        if let Some(place) = frame.get_mut(14) {
            *place = 0x45 ^ (first & 0x33);
        }
        assert_in_bounds(&frame);
        for l3 in [0, 14, 18, 199, 200, 201, u16::MAX] {
            if let Ok(packet) = parse_ip(&frame, l3) {
                prop_assert!(packet.end as usize <= frame.len());
            }
        }
        let _ = parse_quoted(frame.get(14..).unwrap_or_default());
    }

    #[test]
    fn chains_of_arbitrary_headers_stay_within_the_packet(
        numbers in prop::collection::vec(prop::sample::select(vec![0_u8, 43, 44, 51, 60, 6, 59]), 0..12),
        data in prop::collection::vec(any::<u8>(), 0..24),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let builder = numbers.iter().fold(v6(), |builder, number| builder.extension(*number, &data));
        let frame = builder.payload(&payload).build();
        assert_in_bounds(&frame);
        let _ = parse_quoted(&frame[14..]);
    }
}
