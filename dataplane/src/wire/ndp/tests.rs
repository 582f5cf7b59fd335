//! Every check of RFC 4861 section 7.1, and what we send.

use std::net::Ipv6Addr;

use super::*;
use crate::flow::Addresses;
use crate::parse::{Parse, parse as parse_frame};
use crate::testing::neighbour_frame;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 0x0c]);

fn address(text: &str) -> V6 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

/// The message in a frame, as a receiver would read it.
fn read(frame: &[u8]) -> Option<Message> {
    let Parse::Ip(packet) = parse_frame(frame) else {
        return None;
    };
    let Addresses::V6 {
        source,
        destination,
    } = packet.addresses
    else {
        return None;
    };
    parse(source, destination, packet.ttl, packet.upper(frame))
}

/// The frame of a message after a change of its ICMPv6 part, with the checksum right again.
fn changed(sent: &(Envelope, Message), change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = neighbour_frame(sent);
    let mut l4 = frame.split_off(54);
    change(&mut l4);
    icmpv6::fill_checksum(sent.0.source, sent.0.destination, &mut l4);
    frame[18..20].copy_from_slice(&u16::try_from(l4.len()).unwrap().to_be_bytes());
    frame.extend(l4);
    frame
}

fn question() -> (Envelope, Message) {
    solicitation(MAC, address("2001:db8::1"), address("2001:db8::12:3456"))
}

fn answer() -> (Envelope, Message) {
    reply(MAC, address("2001:db8::1"), address("2001:db8::2"), PEER)
}

#[test]
fn what_is_sent_is_read() {
    let announced = announcement(MAC, address("2001:db8::1"));
    let asked = probe(MAC, address("2001:db8::1"), address("2001:db8::2"), PEER);
    for sent in [question(), answer(), announced, asked] {
        let frame = neighbour_frame(&sent);
        assert_eq!(frame.len(), MAX_FRAME_BYTES);
        assert_eq!(read(&frame), Some(sent.1));
    }
}

#[test]
fn a_question_goes_to_the_solicited_node() {
    let (envelope, _) = question();
    assert_eq!(envelope.destination, address("ff02::1:ff12:3456"));
    assert_eq!(
        envelope.destination_mac,
        Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])
    );
}

#[test]
fn whoever_looks_for_duplicates_is_answered_through_all_nodes() {
    let (envelope, message) = reply(MAC, address("2001:db8::1"), address("::"), PEER);
    assert_eq!(envelope.destination, address("ff02::1"));
    assert_eq!(envelope.destination_mac, Mac([0x33, 0x33, 0, 0, 0, 1]));
    assert!(matches!(
        message,
        Message::Advertisement {
            solicited: false,
            overrides: true,
            ..
        }
    ));
}

#[test]
fn a_forwarded_or_damaged_message_is_refused() {
    for sent in [question(), answer()] {
        let good = neighbour_frame(&sent);
        let mut forwarded = good.clone();
        forwarded[21] = 254;
        assert_eq!(read(&forwarded), None);
        for at in 54..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 4;
            assert_eq!(read(&damaged), None, "byte {at}");
        }
    }
}

#[test]
fn bad_fields_are_refused_in_spite_of_a_right_checksum() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 8] = [
        ("code", |l4| l4[1] = 1),
        ("multicast target", |l4| l4[8] = 0xff),
        ("option of length 0", |l4| l4[25] = 0),
        ("option beyond the end", |l4| l4[25] = 2),
        ("half an option", |l4| l4.extend([1])),
        ("later option of length 0", |l4| l4.extend([0; 8])),
        ("too short", |l4| l4.truncate(23)),
        ("group as MAC address", |l4| l4[26] = 1),
    ];
    for sent in [question(), answer()] {
        assert_eq!(read(&changed(&sent, |_| ())), Some(sent.1));
        for (name, change) in changes {
            assert_eq!(read(&changed(&sent, change)), None, "{name}");
        }
        assert_eq!(
            read(&changed(&sent, |l4| l4[0] = icmpv6::ROUTER_ADVERTISEMENT)),
            None
        );
    }
}

#[test]
fn unknown_options_are_passed_over() {
    for sent in [question(), answer()] {
        let frame = changed(&sent, |l4| {
            l4.splice(24..24, [14, 1, 0, 0, 0, 0, 0, 0]);
            l4.extend([253, 2]);
            l4.extend([0; 14]);
        });
        assert_eq!(read(&frame), Some(sent.1));
    }
}

#[test]
fn without_an_address_there_is_no_mac_and_only_the_group_is_asked() {
    let ask = |destination: &str, source_mac| {
        let envelope = Envelope {
            source: address("::"),
            destination: address(destination),
            ..question().0
        };
        let target = address("2001:db8::12:3456");
        let message = Message::Solicitation { target, source_mac };
        read(&neighbour_frame(&(envelope, message)))
    };
    assert!(ask("ff02::1:ff12:3456", None).is_some());
    assert_eq!(ask("ff02::1:ff12:3456", Some(MAC)), None);
    assert_eq!(ask("ff02::1", None), None);
    assert_eq!(ask("2001:db8::12:3456", None), None);
}

#[test]
fn an_answer_goes_to_one_node() {
    let (envelope, message) = answer();
    let to_all = Envelope {
        destination: address("ff02::1"),
        ..envelope
    };
    assert_eq!(read(&neighbour_frame(&(to_all, message))), None);
}
