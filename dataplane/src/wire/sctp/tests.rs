//! Fields at their places, the chunk that decides, and checksums that follow.

use proptest::prelude::*;

use super::*;

/// A COOKIE ECHO from port 1000 to port 80, as it was recorded on a wire.
const RECORDED: [u8; 20] = [
    0x03, 0xe8, 0x00, 0x50, 0x00, 0x00, 0x00, 0x09, 0x7d, 0x82, 0xf9, 0x35, 0x0a, 0x00, 0x00, 0x08,
    0x61, 0x62, 0x63, 0x64,
];

fn with_chunks(chunks: &[&[u8]]) -> Vec<u8> {
    let mut packet = vec![0; HEADER_BYTES];
    packet.extend(chunks.concat());
    packet
}

#[test]
fn ports_and_tag_are_where_rfc_9260_has_them() {
    let mut bytes: Vec<u8> = (1..=12).collect();
    let header = Header::new(&bytes).unwrap();
    assert_eq!(
        (header.source_port(), header.destination_port()),
        (0x0102, 0x0304)
    );
    assert_eq!(header.verification_tag(), 0x0506_0708);
    assert_eq!(header.checksum(), 0x0c0b_0a09);
    let mut header = Header::new_mut(&mut bytes).unwrap();
    header.set_ports(0xa1a2, 0xa3a4);
    header.set_verification_tag(0xa5a6_a7a8);
    header.set_checksum(0xacab_aaa9);
    let expected: Vec<u8> = (0xa1..=0xac).collect();
    assert_eq!(bytes, expected);
}

#[test]
fn a_recorded_packet_has_the_checksum_that_is_computed() {
    let header = Header::new(&RECORDED).unwrap();
    assert_eq!(checksum_of(&RECORDED), header.checksum());
    assert_eq!(header.verification_tag(), 9);
    assert_eq!(deciding_chunk(&RECORDED), Some(COOKIE_ECHO));
}

#[test]
fn the_first_chunk_decides() {
    for kind in 0..=u8::MAX {
        let packet = with_chunks(&[&[kind, 0, 0, 4], &[SHUTDOWN, 0, 0, 8, 0, 0, 0, 0]]);
        assert_eq!(deciding_chunk(&packet), Some(kind));
    }
}

#[test]
fn an_abort_counts_behind_a_cookie_only() {
    for kind in 0..=u8::MAX {
        // Five bytes are padded to eight.
        let packet = with_chunks(&[&[kind, 0, 0, 5, 1, 0, 0, 0], &[ABORT, 0, 0, 4]]);
        let expected = match kind {
            COOKIE_ECHO | COOKIE_ACK => ABORT,
            other => other,
        };
        assert_eq!(deciding_chunk(&packet), Some(expected));
    }
    let third = [ABORT, 0, 0, 4];
    let packet = with_chunks(&[&[COOKIE_ACK, 0, 0, 4], &[SACK, 0, 0, 4], &third]);
    assert_eq!(deciding_chunk(&packet), Some(COOKIE_ACK));
}

#[test]
fn a_packet_without_a_whole_chunk_header_says_nothing() {
    let packet = with_chunks(&[&[INIT, 0, 0, 4]]);
    for length in 0..packet.len() {
        assert_eq!(deciding_chunk(&packet[..length]), None);
    }
    assert_eq!(deciding_chunk(&packet), Some(INIT));
}

#[test]
fn a_chunk_with_an_impossible_length_is_not_passed() {
    // With a length of 0 the second chunk would be the first one again, and so on.
    for length in [0, 1, 3, u16::MAX] {
        let [high, low] = length.to_be_bytes();
        let packet = with_chunks(&[&[COOKIE_ECHO, 0, high, low], &[ABORT, 0, 0, 4]]);
        assert_eq!(deciding_chunk(&packet), Some(COOKIE_ECHO));
    }
}

proptest! {
    #[test]
    fn readdressing_leads_to_the_checksum_of_the_new_packet(
        ports: (u16, u16), tag: u32, new: u16, chunks: Vec<u8>, wrong: u32, from_source: bool,
    ) {
        let mut packet = with_chunks(&[&chunks]);
        let mut header = Header::new_mut(&mut packet).unwrap();
        header.set_ports(ports.0, ports.1);
        header.set_verification_tag(tag);
        let right = checksum_of(&packet);
        let mut header = Header::new_mut(&mut packet).unwrap();
        header.set_checksum(right ^ wrong);
        if from_source {
            header.readdress_source(new, chunks.len());
        } else {
            header.readdress_destination(new, chunks.len());
        }
        let found = Header::new(&packet).unwrap().checksum();
        let mut plain = packet.clone();
        plain[8..12].fill(0);
        prop_assert_eq!(found, ::crc32c::crc32c(&plain) ^ wrong);
        prop_assert_eq!(checksum_of(&packet), found ^ wrong);
    }
}
