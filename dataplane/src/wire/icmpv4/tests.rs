//! Replies and errors against an independent implementation's checksums.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::flow::Addresses;
use crate::parse::{parse_ip, parse_quoted};
use crate::testing::PacketBuilder;

const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 33, 12);

proptest! {
    #[test]
    fn a_reply_is_the_request_with_another_type(id: u16, sequence: u16, payload: Vec<u8>) {
        let packet = PacketBuilder::v4(CLIENT, VIP).payload(&payload);
        let mut l4 = packet.clone().echo_request(id, sequence).build_datagram().split_off(20);
        let expected = packet.echo_reply(id, sequence).build_datagram().split_off(20);
        prop_assert!(make_echo_reply(&mut l4));
        prop_assert!(checksum_is_valid(&l4));
        prop_assert_eq!(&l4, &expected);
        prop_assert!(!make_echo_reply(&mut l4));
        prop_assert_eq!(l4, expected);
    }

    #[test]
    fn a_filled_checksum_is_valid(mut l4 in prop::collection::vec(any::<u8>(), 8..100)) {
        fill_checksum(&mut l4);
        prop_assert!(checksum_is_valid(&l4));
    }
}

fn write(message: ErrorMessage, quoted: &[u8]) -> Vec<u8> {
    let mut out = [0xee; MAX_ERROR_BYTES];
    let length = write_error(&mut out, message, VIP.into(), CLIENT.into(), 0x1234, quoted);
    out[..length.unwrap()].to_vec()
}

#[test]
fn an_error_says_what_it_is_told() {
    let quoted = PacketBuilder::v4(CLIENT, VIP)
        .tcp(40000, 8088)
        .build_datagram();
    let cases = [
        (
            ErrorMessage::DestinationUnreachable {
                code: PORT_UNREACHABLE,
            },
            [3, 3, 0, 0, 0, 0],
        ),
        (
            ErrorMessage::FragmentationNeeded { mtu: 1480 },
            [3, 4, 0, 0, 0x05, 0xc8],
        ),
        (ErrorMessage::TimeExceeded, [11, 0, 0, 0, 0, 0]),
        (ErrorMessage::ReassemblyTimeExceeded, [11, 1, 0, 0, 0, 0]),
        (
            ErrorMessage::ParameterProblem { pointer: 9 },
            [12, 0, 9, 0, 0, 0],
        ),
    ];
    for (message, [kind, code, rest @ ..]) in cases {
        let datagram = write(message, &quoted);
        let header = ipv4::Header::new(&datagram).unwrap();
        assert_eq!(
            (header.tos(), header.ttl(), header.id()),
            (0xc0, 64, 0x1234)
        );
        assert!(!header.dont_fragment());
        let packet = parse_ip(&datagram, 0).unwrap();
        let addresses = Addresses::V4 {
            source: VIP.into(),
            destination: CLIENT.into(),
        };
        assert_eq!((packet.addresses, packet.protocol), (addresses, ipv4::ICMP));
        let l4 = packet.upper(&datagram);
        assert!(checksum_is_valid(l4));
        assert!(is_error(kind));
        assert_eq!((l4[0], l4[1], &l4[4..8]), (kind, code, &rest[..]));
        assert_eq!(l4[8..], quoted);
        assert_eq!(parse_quoted(&l4[8..]).unwrap().destination_port, 8088);
    }
}

#[test]
fn an_error_quotes_what_fits() {
    for (length, expected) in [(0, 28), (547, 575), (548, 576), (549, 576), (9000, 576)] {
        let quoted: Vec<u8> = (0..length).map(|n: u32| n.to_be_bytes()[3]).collect();
        let datagram = write(ErrorMessage::TimeExceeded, &quoted);
        assert_eq!(datagram.len(), expected);
        assert_eq!(datagram[28..], quoted[..expected - 28]);
        assert!(checksum_is_valid(&datagram[20..]));
        assert!(parse_ip(&datagram, 0).is_ok());
    }
    let mut short = [0; 575];
    let message = ErrorMessage::TimeExceeded;
    let (source, destination) = (VIP.into(), CLIENT.into());
    let written = write_error(&mut short, message, source, destination, 0, &[0; 548]);
    assert_eq!(written, None);
}
