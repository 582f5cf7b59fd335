//! The header.

use super::*;

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
