//! Everything a frame can be, case by case.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::flow::{V4, V6};
use crate::testing::{PacketBuilder, arp_frame};
use crate::wire::{Mac, arp};

mod properties;

const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 33, 12);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x33, 0, 0, 0, 0, 0x12);

fn v4() -> PacketBuilder {
    PacketBuilder::v4(CLIENT, VIP).tcp(40000, 8088)
}

fn v6() -> PacketBuilder {
    PacketBuilder::v6(CLIENT_V6, VIP_V6).tcp(40000, 8088)
}

#[track_caller]
fn packet(frame: &[u8]) -> Packet {
    match parse(frame) {
        Parse::Ip(packet) => packet,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_dropped(frame: &[u8], reason: DropReason) {
    assert_eq!(parse(frame), Parse::Drop(reason));
}

/// The frame with its IPv4 header changed and the header checksum right again.
fn with_ipv4(builder: &PacketBuilder, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = builder.build();
    change(&mut frame[14..]);
    let header_bytes = usize::from(frame[14] & 0x0f) * 4;
    if let Some(header) = frame.get(14..14 + header_bytes) {
        let checksum = ipv4::header_checksum(header);
        if let Some(mut header) = ipv4::Header::at_mut(&mut frame, 14_usize) {
            header.set_checksum(checksum);
        }
    }
    frame
}

#[test]
fn a_tcp_segment_is_found() {
    let frame = v4().flags(tcp::SYN | tcp::ECE).ttl(17).df().build();
    let expected = Packet {
        l3: 14,
        l4: 34,
        end: 54,
        addresses: Addresses::V4 {
            source: CLIENT.into(),
            destination: VIP.into(),
        },
        protocol: 6,
        source_port: 40000,
        destination_port: 8088,
        tcp_flags: tcp::SYN | tcp::ECE,
        sctp_chunk: 0,
        ttl: 17,
        dont_fragment: true,
        fragment: None,
    };
    assert_eq!(packet(&frame), expected);
    let frame = v6().flags(tcp::SYN | tcp::ECE).ttl(17).build();
    let expected = Packet {
        l4: 54,
        end: 74,
        addresses: Addresses::V6 {
            source: CLIENT_V6.into(),
            destination: VIP_V6.into(),
        },
        ..expected
    };
    assert_eq!(packet(&frame), expected);
}

#[test]
fn padding_is_not_part_of_the_datagram() {
    let frame = PacketBuilder::v4(CLIENT, VIP)
        .udp(53, 53)
        .payload(b"hi")
        .padded()
        .build();
    let packet = packet(&frame);
    assert_eq!(frame.len(), 60);
    assert_eq!(packet.end, 14 + 20 + 8 + 2);
    assert_eq!(packet.datagram_bytes(), 30);
    assert_eq!(packet.upper(&frame)[8..], *b"hi");
    assert_eq!(packet.datagram(&frame).len(), 30);
}

#[test]
fn every_cut_of_a_packet_is_refused() {
    for builder in [
        v4(),
        v4().options(&[7; 40]),
        v4().vlan(0),
        v6(),
        v6().extension(ipv6::DESTINATION_OPTIONS, &[0; 30]),
        PacketBuilder::v4(CLIENT, VIP).udp(1, 2),
        PacketBuilder::v6(CLIENT_V6, VIP_V6).echo_request(1, 2),
    ] {
        let frame = builder.payload(b"payload").build();
        packet(&frame);
        for length in 0..frame.len() {
            assert_dropped(&frame[..length], DropReason::Truncated);
        }
    }
}

#[test]
fn a_priority_tag_is_passed_over_and_other_tags_are_refused() {
    let tagged = packet(&v4().vlan(0).build());
    assert_eq!((tagged.l3, tagged.l4, tagged.end), (18, 38, 58));
    let tagged = packet(&v6().tag(ethernet::SERVICE_VLAN, 0).build());
    assert_eq!((tagged.l3, tagged.l4, tagged.end), (18, 58, 78));
    assert_dropped(&v4().vlan(1).build(), DropReason::VlanUnknown);
    assert_dropped(&v4().vlan(4095).build(), DropReason::VlanUnknown);
    for inner in [ethernet::VLAN, ethernet::SERVICE_VLAN] {
        let frame = v4().vlan(0).tag(inner, 0).build();
        assert_dropped(&frame, DropReason::VlanStack);
    }
}

#[test]
fn what_is_not_ip_is_named() {
    let request = arp::Packet::request(Mac([2; 6]), CLIENT.into(), VIP.into());
    let mut frame = arp_frame(Mac::BROADCAST, &request);
    assert_eq!(parse(&frame), Parse::Arp { offset: 14 });
    frame[12..14].copy_from_slice(&0x88cc_u16.to_be_bytes());
    assert_eq!(parse(&frame), Parse::Other { ether_type: 0x88cc });
    let mut tagged = v4().vlan(0).build();
    tagged[16..18].copy_from_slice(&ethernet::ARP.to_be_bytes());
    assert_eq!(parse(&tagged), Parse::Arp { offset: 18 });
}

#[test]
fn bad_ipv4_headers_are_refused() {
    type Change = fn(&mut [u8]);
    let cases: [(Change, DropReason); 7] = [
        (|ip| ip[0] = 0x55, DropReason::Ipv4Header),
        (|ip| ip[0] = 0x44, DropReason::Ipv4Header),
        (|ip| ip[0] = 0x4f, DropReason::Truncated),
        (
            |ip| ip[2..4].copy_from_slice(&[0, 19]),
            DropReason::Ipv4Header,
        ),
        (
            |ip| ip[2..4].copy_from_slice(&[0, 0]),
            DropReason::Ipv4Header,
        ),
        (
            |ip| ip[2..4].copy_from_slice(&[0, 41]),
            DropReason::Truncated,
        ),
        (
            |ip| ip[2..4].copy_from_slice(&[0, 39]),
            DropReason::L4Header,
        ),
    ];
    for (change, reason) in cases {
        assert_dropped(&with_ipv4(&v4(), change), reason);
    }
    assert_dropped(&v4().bad_ip_checksum().build(), DropReason::Ipv4Checksum);
    let options = v4().options(&[1; 8]);
    assert_dropped(
        &options.clone().bad_ip_checksum().build(),
        DropReason::Ipv4Checksum,
    );
    assert_eq!(packet(&options.build()).l4, 14 + 28);
    let shorter_than_its_options = with_ipv4(&options, |ip| ip[3] = 24);
    assert_dropped(&shorter_than_its_options, DropReason::Ipv4Header);
}

#[test]
fn what_lvs_does_not_check_is_not_checked() {
    packet(&v4().bad_checksum().flags(0).build());
    packet(&v4().flags(0xff).build());
    let mut frame = v4().build();
    frame[34 + 12] = 0;
    packet(&frame);
    let mut frame = PacketBuilder::v4(CLIENT, VIP).udp(1, 2).build();
    frame[34 + 4..34 + 6].copy_from_slice(&[0xff, 0xff]);
    let packet = packet(&frame);
    let header = udp::Header::new(packet.upper(&frame)).unwrap();
    assert_eq!(header.length(), 0xffff);
}

#[test]
fn an_upper_layer_must_have_its_header() {
    for (number, bytes) in [(6, 20), (17, 8), (1, 8)] {
        let builder = PacketBuilder::v4(CLIENT, VIP).protocol(number);
        let short = builder.clone().payload(&vec![0; bytes - 1]).padded();
        assert_dropped(&short.build(), DropReason::L4Header);
        packet(&builder.payload(&vec![0; bytes]).build());
    }
    let icmpv6 = PacketBuilder::v6(CLIENT_V6, VIP_V6).protocol(58);
    assert_dropped(&icmpv6.payload(&[0; 7]).build(), DropReason::L4Header);
    packet(&PacketBuilder::v4(CLIENT, VIP).protocol(47).build());
}

#[test]
fn fragments_are_told_from_datagrams() {
    for builder in [v4(), v6()] {
        let frames = builder.id(0x1234).payload(&[9; 100]).build_fragments(48);
        let found: Vec<_> = frames.iter().map(|frame| packet(frame)).collect();
        let pieces: Vec<_> = found.iter().map(|it| it.fragment.unwrap()).collect();
        let fragment = |offset_bytes, more| Fragment {
            id: 0x1234,
            offset_bytes,
            more,
        };
        assert_eq!(
            pieces,
            [fragment(0, true), fragment(48, true), fragment(96, false)]
        );
        for (packet, frame) in found.iter().zip(&frames) {
            assert_eq!((packet.source_port, packet.destination_port), (0, 0));
            assert_eq!((packet.protocol, packet.tcp_flags), (6, 0));
            let expected = if packet.fragment.unwrap().more {
                48
            } else {
                24
            };
            assert_eq!(packet.upper(frame).len(), expected);
        }
    }
}

#[test]
fn an_atomic_fragment_is_whole() {
    let packet = packet(&v6().fragment(0, false).build());
    assert_eq!(packet.fragment, None);
    assert_eq!((packet.l4, packet.destination_port), (62, 8088));
}

#[test]
fn extension_headers_are_passed_over() {
    let frame = v6()
        .extension(ipv6::HOP_BY_HOP, &[1, 4, 0, 0, 0, 0])
        .extension(ipv6::ROUTING, &[4, 0, 0, 0, 0, 0])
        .extension(ipv6::DESTINATION_OPTIONS, &[1, 100])
        .extension(ipv6::AUTHENTICATION, &[0; 22])
        .build();
    let packet = packet(&frame);
    assert_eq!(packet.l4, 14 + 40 + 8 + 8 + 8 + 24);
    assert_eq!((packet.protocol, packet.destination_port), (6, 8088));
}

#[test]
fn bad_chains_are_refused() {
    let options = |builder: PacketBuilder, count| {
        (0..count).fold(builder, |builder, _| {
            builder.extension(ipv6::DESTINATION_OPTIONS, &[])
        })
    };
    packet(&options(v6(), 8).build());
    let refused = [
        options(v6(), 9),
        v6().extension(ipv6::DESTINATION_OPTIONS, &[0; 258]),
        options(v6(), 1).extension(ipv6::HOP_BY_HOP, &[]),
        v6().extension(ipv6::ROUTING, &[0, 1]),
        v6().fragment(0, false)
            .extension(ipv6::FRAGMENT, &[0, 0, 0, 0]),
    ];
    for builder in refused {
        assert_dropped(&builder.build(), DropReason::Ipv6Header);
    }
    packet(&v6().extension(ipv6::DESTINATION_OPTIONS, &[0; 254]).build());

    // A header that says it is longer than the packet.
    let mut frame = options(v6(), 1).build();
    frame[14 + 40 + 1] = 9;
    assert_dropped(&frame, DropReason::Ipv6Header);
    // A jumbogram.
    let mut frame = v6()
        .extension(ipv6::HOP_BY_HOP, &[0xc2, 4, 0, 1, 0, 0])
        .build();
    frame[18..20].copy_from_slice(&[0, 0]);
    assert_dropped(&frame, DropReason::Ipv6Header);
    let mut frame = v6().build();
    frame[14] = 0x40;
    assert_dropped(&frame, DropReason::Ipv6Header);
    // Nothing behind the header is allowed to be nothing.
    let empty = PacketBuilder::v6(CLIENT_V6, VIP_V6).protocol(ipv6::NO_NEXT_HEADER);
    assert_eq!(packet(&empty.build()).l4, 54);
}

#[test]
fn the_chain_of_a_fragment_ends_at_its_header() {
    let datagram = v6()
        .extension(ipv6::HOP_BY_HOP, &[])
        .extension(ipv6::DESTINATION_OPTIONS, &[0; 14])
        .fragment(8, true)
        .id(77)
        .build_datagram();
    let chain = ipv6::walk(&datagram).unwrap();
    let fragment = ipv6::FragmentHeader {
        offset: 64,
        link: 48,
        next_header: 6,
        id: 77,
        offset_bytes: 8,
        more: true,
    };
    assert_eq!(chain.fragment, Some(fragment));
    assert_eq!((chain.protocol, chain.offset), (6, 72));
    assert_eq!(datagram[48], ipv6::FRAGMENT);
}

#[test]
fn the_longest_datagrams_fit() {
    let datagram = v4().payload(&vec![0; 65_535 - 40]).vlan(0).build();
    assert_eq!(packet(&datagram).end, 65_535 + 18);
    let datagram = v6().payload(&vec![0; 65_535 - 20]).vlan(0).build();
    assert_eq!(packet(&datagram).end, 65_535 + 40 + 18);
}

#[test]
fn a_datagram_alone_is_parsed_by_its_version() {
    for builder in [v4(), v6()] {
        let datagram = builder.build_datagram();
        let alone = parse_ip(&datagram, 0).unwrap();
        let framed = packet(&builder.build());
        assert_eq!((alone.l3, alone.l4), (0, framed.l4 - 14));
        assert_eq!(alone.addresses, framed.addresses);
    }
    assert_eq!(parse_ip(&[], 0), Err(DropReason::Truncated));
    assert_eq!(parse_ip(&[0x45], 9), Err(DropReason::Truncated));
    assert_eq!(parse_ip(&[0x75; 40], 0), Err(DropReason::Ipv4Header));
    let mut far = vec![0; usize::from(u16::MAX)];
    far.extend(v4().build_datagram());
    assert_eq!(parse_ip(&far, u16::MAX), Err(DropReason::Truncated));
}

#[test]
fn a_quoted_packet_needs_its_header_and_eight_bytes() {
    for (builder, header_bytes) in [
        (v4().df(), 20),
        (v4().options(&[1; 12]), 32),
        (v6(), 40),
        (v6().extension(ipv6::DESTINATION_OPTIONS, &[]), 48),
        (v6().fragment(0, true), 48),
        (v4().fragment(0, true).bad_ip_checksum(), 20),
    ] {
        let datagram = builder.payload(&[0; 1000]).build_datagram();
        let quoted = parse_quoted(&datagram[..header_bytes + 8]).unwrap();
        assert_eq!(usize::from(quoted.l4), header_bytes);
        assert_eq!((quoted.source_port, quoted.destination_port), (40000, 8088));
        assert_eq!(quoted.protocol, 6);
        assert_eq!(parse_quoted(&datagram), Some(quoted));
        for length in 0..header_bytes + 8 {
            assert_eq!(parse_quoted(&datagram[..length]), None);
        }
    }
    for builder in [v4(), v6()] {
        let later = builder.fragment(8, true).payload(&[0; 20]).build_datagram();
        assert_eq!(parse_quoted(&later), None);
    }
    let echo = PacketBuilder::v4(CLIENT, VIP)
        .echo_request(5, 6)
        .build_datagram();
    assert_eq!(parse_quoted(&echo).unwrap().source_port, 0);
}

#[test]
fn martians_are_known() {
    let v4 = |text: &str| V4::from(text.parse::<Ipv4Addr>().unwrap());
    let v6 = |text: &str| V6::from(text.parse::<Ipv6Addr>().unwrap());
    for text in ["0.0.0.0", "0.1.2.3", "127.0.0.1"] {
        assert!(is_martian_source_v4(v4(text)) && is_martian_destination_v4(v4(text)));
    }
    for text in ["224.0.0.1", "239.255.255.255", "255.255.255.255"] {
        assert!(is_martian_source_v4(v4(text)) && !is_martian_destination_v4(v4(text)));
    }
    for text in [
        "1.0.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "223.255.255.255",
        "240.0.0.1",
    ] {
        assert!(!is_martian_source_v4(v4(text)) && !is_martian_destination_v4(v4(text)));
    }
    for text in ["::", "::1"] {
        assert!(is_martian_source_v6(v6(text)) && is_martian_destination_v6(v6(text)));
    }
    for text in ["ff02::1", "::ffff:127.0.0.1"] {
        assert!(is_martian_source_v6(v6(text)) && !is_martian_destination_v6(v6(text)));
    }
    for text in [
        "::2",
        "2001:db8::1",
        "fe80::1",
        "fd00::1",
        "64:ff9b::1.2.3.4",
    ] {
        assert!(!is_martian_source_v6(v6(text)) && !is_martian_destination_v6(v6(text)));
    }
    let to_loopback = Addresses::V4 {
        source: v4("198.51.100.7"),
        destination: v4("127.0.0.1"),
    };
    assert_eq!(to_loopback.martian(), Some(DropReason::MartianDestination));
}
