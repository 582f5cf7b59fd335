//! Replies and errors, their checksums checked by an independent implementation.

use std::net::Ipv6Addr;

use etherparse::Icmpv6Slice;
use proptest::prelude::*;

use super::*;
use crate::parse::{parse_ip, parse_quoted};
use crate::testing::PacketBuilder;

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7);
const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x33, 0, 0, 0, 0, 0x12);

fn oracle(l4: &[u8]) -> bool {
    let message = Icmpv6Slice::from_slice(l4).unwrap();
    message.is_checksum_valid(VIP.octets(), CLIENT.octets())
}

proptest! {
    #[test]
    fn a_reply_is_the_request_with_another_type(id: u16, sequence: u16, payload: Vec<u8>) {
        let request = PacketBuilder::v6(CLIENT, VIP).payload(&payload);
        let reply = PacketBuilder::v6(VIP, CLIENT).payload(&payload);
        let mut l4 = request.echo_request(id, sequence).build_datagram().split_off(40);
        let expected = reply.echo_reply(id, sequence).build_datagram().split_off(40);
        prop_assert!(make_echo_reply(&mut l4));
        prop_assert!(checksum_is_valid(VIP.into(), CLIENT.into(), &l4));
        prop_assert!(oracle(&l4));
        prop_assert_eq!(&l4, &expected);
        prop_assert!(!make_echo_reply(&mut l4));
        prop_assert_eq!(l4, expected);
    }

    #[test]
    fn a_filled_checksum_is_valid(mut l4 in prop::collection::vec(any::<u8>(), 8..100)) {
        fill_checksum(VIP.into(), CLIENT.into(), &mut l4);
        prop_assert!(checksum_is_valid(VIP.into(), CLIENT.into(), &l4));
        prop_assert!(oracle(&l4));
    }
}

fn write(message: ErrorMessage, quoted: &[u8]) -> Vec<u8> {
    let mut out = [0xee; MAX_ERROR_BYTES];
    let length = write_error(&mut out, message, VIP.into(), CLIENT.into(), quoted);
    out[..length.unwrap()].to_vec()
}

#[test]
fn an_error_says_what_it_is_told() {
    let quoted = PacketBuilder::v6(CLIENT, VIP)
        .tcp(40000, 8088)
        .build_datagram();
    let cases = [
        (
            ErrorMessage::DestinationUnreachable {
                code: PORT_UNREACHABLE,
            },
            [1, 4, 0, 0, 0, 0],
        ),
        (
            ErrorMessage::PacketTooBig { mtu: 1480 },
            [2, 0, 0, 0, 5, 0xc8],
        ),
        (ErrorMessage::TimeExceeded, [3, 0, 0, 0, 0, 0]),
        (ErrorMessage::ReassemblyTimeExceeded, [3, 1, 0, 0, 0, 0]),
        (
            ErrorMessage::ParameterProblem {
                code: 1,
                pointer: 6,
            },
            [4, 1, 0, 0, 0, 6],
        ),
    ];
    for (message, [kind, code, rest @ ..]) in cases {
        let datagram = write(message, &quoted);
        let packet = parse_ip(&datagram, 0).unwrap();
        assert_eq!((packet.protocol, packet.ttl), (ipv6::ICMP, 64));
        let l4 = packet.upper(&datagram);
        assert!(oracle(l4));
        assert!(is_error(kind));
        assert_eq!((l4[0], l4[1], &l4[4..8]), (kind, code, &rest[..]));
        assert_eq!(l4[8..], quoted);
        assert_eq!(parse_quoted(&l4[8..]).unwrap().destination_port, 8088);
    }
}

#[test]
fn an_error_quotes_what_fits() {
    for (length, expected) in [
        (0, 48),
        (1231, 1279),
        (1232, 1280),
        (1233, 1280),
        (9000, 1280),
    ] {
        let quoted: Vec<u8> = (0..length).map(|n: u32| n.to_be_bytes()[3]).collect();
        let datagram = write(ErrorMessage::TimeExceeded, &quoted);
        assert_eq!(datagram.len(), expected);
        assert_eq!(datagram[48..], quoted[..expected - 48]);
        assert!(oracle(&datagram[40..]));
    }
    let mut short = [0; 1279];
    let message = ErrorMessage::TimeExceeded;
    let (source, destination) = (VIP.into(), CLIENT.into());
    let written = write_error(&mut short, message, source, destination, &[0; 1232]);
    assert_eq!(written, None);
}
