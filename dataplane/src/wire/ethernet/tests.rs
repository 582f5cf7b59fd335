//! MAC addresses as text, and the header.

use super::*;

#[test]
fn a_mac_reads_what_it_prints() {
    let mac = Mac([0x02, 0, 0, 0, 0xab, 0x0b]);
    assert_eq!(mac.to_string(), "02:00:00:00:ab:0b");
    assert_eq!(mac.to_string().parse(), Ok(mac));
    assert_eq!("2:0:0:0:AB:b".parse(), Ok(mac));
    assert_eq!("02-00-00-00-AB-0B".parse(), Ok(mac));
}

#[test]
fn what_is_no_mac_is_refused() {
    for text in [
        "",
        "02:00:00:00:00",
        "02:00:00:00:00:0b:00",
        "02:00:00:00:00:",
        "02:00:00:00:00:100",
        "02:00:00:00:00:+b",
        "02:00:00:00:00:0g",
        "02:00:00-00:00:0b",
        "0200.0000.000b",
    ] {
        assert_eq!(text.parse::<Mac>(), Err(InvalidMac), "{text}");
    }
}

#[test]
fn groups_are_told_from_stations() {
    assert!(Mac::BROADCAST.is_group() && Mac::BROADCAST.is_broadcast());
    assert!(Mac([1, 0, 0x5e, 0, 0, 1]).is_group());
    assert!(!Mac::ZERO.is_group() && !Mac::ZERO.is_station());
    assert!(Mac([2, 0, 0, 0, 0, 1]).is_station());
}

#[test]
fn a_header_reads_what_was_written() {
    let (a, b) = (Mac([2, 1, 2, 3, 4, 5]), Mac([2, 6, 7, 8, 9, 10]));
    let mut frame = [0; HEADER_BYTES];
    write_header(&mut frame, a, b, IPV6);
    assert_eq!(frame, [2, 1, 2, 3, 4, 5, 2, 6, 7, 8, 9, 10, 0x86, 0xdd]);
    let mut header = Header::new_mut(&mut frame).unwrap();
    let read = (header.destination(), header.source(), header.ether_type());
    assert_eq!(read, (a, b, IPV6));
    header.set_destination(b);
    header.set_source(a);
    header.set_ether_type(ARP);
    assert_eq!(frame, [2, 6, 7, 8, 9, 10, 2, 1, 2, 3, 4, 5, 0x08, 0x06]);
    assert!(Header::new(&frame[1..]).is_none());
    assert!(Header::at(&frame, 1_u16).is_none());
    assert!(Header::at(&frame, 99_u16).is_none());
}
