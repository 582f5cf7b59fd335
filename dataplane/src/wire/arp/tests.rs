//! ARP packets as they are sent and as they must not be.

use super::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 0x0c]);
const OURS: V4 = V4(0xc0a8_210a);
const THEIRS: V4 = V4(0xc0a8_210b);

fn frame(packet: &Packet) -> [u8; FRAME_BYTES] {
    let mut frame = [0xee; FRAME_BYTES];
    assert_eq!(write(&mut frame, Mac::BROADCAST, packet), Some(FRAME_BYTES));
    frame
}

#[test]
fn a_request_is_laid_out_as_in_rfc_826() {
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x0b, 8, 6, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 1, // Ethernet, IPv4, their lengths, request
        2, 0, 0, 0, 0, 0x0b, 192, 168, 33, 10, // sender
        0, 0, 0, 0, 0, 0, 192, 168, 33, 11, // target
    ];
    assert_eq!(frame(&Packet::request(MAC, OURS, THEIRS)), expected);
}

#[test]
fn what_is_written_is_read() {
    let request = Packet::request(PEER, THEIRS, OURS);
    let reply = Packet::reply_to(&request, MAC);
    assert_eq!((reply.sender, reply.sender_mac), (OURS, MAC));
    assert_eq!((reply.target, reply.target_mac), (THEIRS, PEER));
    let announcement = Packet::announcement(MAC, OURS);
    let probe = Packet::probe(MAC, OURS);
    for packet in [request, reply, announcement, probe] {
        assert_eq!(parse(&frame(&packet)[14..]), Some(packet));
    }
    assert!(announcement.is_gratuitous());
    assert!(!probe.is_gratuitous() && probe.sender == V4(0));
}

#[test]
fn malformed_packets_are_refused() {
    let good = frame(&Packet::request(MAC, OURS, THEIRS));
    for length in 0..PACKET_BYTES {
        assert_eq!(parse(&good[14..14 + length]), None);
    }
    // Hardware, protocol, lengths, operation, and a group as the sender.
    for (offset, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 0), (7, 3), (8, 1)] {
        let mut bad = good;
        bad[14 + offset] = value;
        assert_eq!(parse(&bad[14..]), None, "byte {offset}");
    }
    assert_eq!(write(&mut [0; 41], MAC, &Packet::probe(MAC, OURS)), None);
}
