//! Built frames, their lengths and checksums checked by an independent implementation.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Slice, Icmpv6Slice, Ipv4HeaderSlice, TcpSlice, UdpSlice};
use proptest::prelude::*;

use super::*;
use crate::wire::{ipv4, ipv6, udp};

const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const B: Ipv4Addr = Ipv4Addr::new(192, 168, 33, 12);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x33, 0, 0, 0, 0, 0x12);

fn v4(builder: impl Fn(PacketBuilder) -> PacketBuilder) -> Vec<u8> {
    builder(PacketBuilder::v4(A, B)).build_datagram()
}

fn v6(builder: impl Fn(PacketBuilder) -> PacketBuilder) -> Vec<u8> {
    builder(PacketBuilder::v6(A6, B6)).build_datagram()
}

proptest! {
    #[test]
    fn tcp_checksums_are_right(source: u16, destination: u16, payload: Vec<u8>, options in
        prop::collection::vec(any::<u8>(), 0..40)) {
        let make = |it: PacketBuilder| {
            it.tcp(source, destination).tcp_options(&options).payload(&payload)
        };
        let datagram = v4(make);
        let tcp = TcpSlice::from_slice(&datagram[20..]).unwrap();
        prop_assert_eq!(tcp.payload(), &payload);
        let expected = tcp.calc_checksum_ipv4(A.octets(), B.octets()).unwrap();
        prop_assert_eq!(tcp.checksum(), expected);
        let datagram = v6(make);
        let tcp = TcpSlice::from_slice(&datagram[40..]).unwrap();
        let expected = tcp.calc_checksum_ipv6(A6.octets(), B6.octets()).unwrap();
        prop_assert_eq!(tcp.checksum(), expected);
    }

    #[test]
    fn udp_checksums_are_right(source: u16, destination: u16, payload: Vec<u8>) {
        let make = |it: PacketBuilder| it.udp(source, destination).payload(&payload);
        let datagram = v4(make);
        let header = UdpSlice::from_slice(&datagram[20..]).unwrap().to_header();
        prop_assert_eq!((header.source_port, header.destination_port), (source, destination));
        let expected = header.calc_checksum_ipv4_raw(A.octets(), B.octets(), &payload);
        prop_assert_eq!(header.checksum, expected.unwrap());
        let datagram = v6(make);
        let header = UdpSlice::from_slice(&datagram[40..]).unwrap().to_header();
        let expected = header.calc_checksum_ipv6_raw(A6.octets(), B6.octets(), &payload);
        prop_assert_eq!(header.checksum, expected.unwrap());
    }

    #[test]
    fn icmp_checksums_are_right(id: u16, sequence: u16, payload: Vec<u8>) {
        let make = |it: PacketBuilder| it.echo_request(id, sequence).payload(&payload);
        let datagram = v4(make);
        let icmp = Icmpv4Slice::from_slice(&datagram[20..]).unwrap();
        let expected = icmp.icmp_type().calc_checksum(&payload);
        prop_assert_eq!(icmp.checksum(), expected);
        let datagram = v6(make);
        let icmp = Icmpv6Slice::from_slice(&datagram[40..]).unwrap();
        prop_assert!(icmp.is_checksum_valid(A6.octets(), B6.octets()));
    }

    #[test]
    fn fragments_put_together_are_the_datagram(
        payload in prop::collection::vec(any::<u8>(), 1..300),
        piece_bytes in 0..100_usize,
    ) {
        for builder in [PacketBuilder::v4(A, B), PacketBuilder::v6(A6, B6)] {
            let builder = builder.udp(1, 2).payload(&payload);
            let whole = builder.build_datagram();
            let pieces = builder.build_fragments(piece_bytes);
            let header_bytes = match builder.addresses {
                Addresses::V4 { .. } => ipv4::HEADER_BYTES,
                Addresses::V6 { .. } => ipv6::HEADER_BYTES + ipv6::FRAGMENT_HEADER_BYTES,
            };
            let data: Vec<u8> = pieces.iter().flat_map(|it| it[14 + header_bytes..].to_vec()).collect();
            prop_assert!(whole.ends_with(&data));
            prop_assert_eq!(data.len(), udp::HEADER_BYTES + payload.len());
        }
    }
}

#[test]
fn header_checksums_are_right_unless_asked_otherwise() {
    let checksum = |datagram: &[u8]| {
        let header = Ipv4HeaderSlice::from_slice(datagram).unwrap().to_header();
        header.header_checksum == header.calc_header_checksum()
    };
    assert!(checksum(&v4(|it| it.ttl(3).df().id(9).tos(0xb8))));
    assert!(checksum(&v4(|it| it.options(&[1; 39]).fragment(64, true))));
    assert!(!checksum(&v4(PacketBuilder::bad_ip_checksum)));
}

#[test]
fn a_wrong_checksum_is_wrong_and_none_is_none() {
    let good = v4(|it| it.tcp(1, 2));
    let bad = v4(|it| it.tcp(1, 2).bad_checksum());
    assert_ne!(good[36..38], bad[36..38]);
    let none = v4(|it| it.udp(1, 2).no_udp_checksum());
    assert_eq!(none[26..28], [0, 0]);
}

#[test]
fn tags_stand_in_their_order() {
    let frame = PacketBuilder::v4(A, B)
        .tag(ethernet::SERVICE_VLAN, 7)
        .vlan(300)
        .build();
    assert_eq!(frame[12..22], [0x88, 0xa8, 0, 7, 0x81, 0, 1, 44, 8, 0]);
}
