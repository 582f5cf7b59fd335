//! Outer headers against what the standards and LVS say.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::io::heap::HeapBuf;
use crate::testing::PacketBuilder;

const A: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const REAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11));
const REAL6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 11));

const OUTER: Outer<'_> = Outer {
    source: Some(&SOURCE),
    real: &REAL,
    kind: TunnelKind::Ipip,
    flow: 0,
    id: 77,
    may_be_cut: false,
    ttl: None,
};

fn packet() -> PacketBuilder {
    PacketBuilder::v4(A, B).udp(1, 2).payload(b"data")
}

fn wrap(frame: &mut HeapBuf, may_be_cut: bool) -> Result<(), DropReason> {
    encapsulate(
        frame,
        PLAIN_L3,
        &Outer {
            may_be_cut,
            ..OUTER
        },
    )
}

#[test]
fn whoever_must_not_be_fragmented_needs_no_identification() {
    for (df, may_be_cut, flags, id) in [
        (false, false, 0, 77),
        (true, false, ipv4::DONT_FRAGMENT, 0),
        (false, true, 0, 77),
        (true, true, 0, 77),
    ] {
        let builder = if df { packet().df() } else { packet() };
        let mut frame = HeapBuf::from_frame(&builder.build());
        wrap(&mut frame, may_be_cut).unwrap();
        let outer = ipv4::Header::at(frame.bytes(), PLAIN_L3).unwrap();
        assert_eq!(
            (outer.flags(), outer.id()),
            (flags, id),
            "{df} {may_be_cut}"
        );
        assert!(outer.is_intact());
        assert_eq!(frame.bytes()[34..], builder.build_datagram());
    }
}

#[test]
fn congestion_is_not_repeated_outside() {
    for tos in 0..=255_u8 {
        let expected = if tos & 3 == 3 { tos ^ 1 } else { tos };
        assert_eq!(outer_tos(tos), expected);
    }
}

#[test]
fn a_tunnel_without_room_source_or_length_is_refused() {
    let mut frame = HeapBuf::from_frame(&packet().build());
    let other_family = encapsulate(
        &mut frame,
        PLAIN_L3,
        &Outer {
            real: &REAL6,
            ..OUTER
        },
    );
    assert_eq!(other_family, Err(DropReason::NoRoute));
    let mut frame = HeapBuf::from_frame(&packet().build());
    let nobody = Outer {
        source: None,
        ..OUTER
    };
    assert_eq!(
        encapsulate(&mut frame, PLAIN_L3, &nobody),
        Err(DropReason::NoRoute)
    );
    let mut frame = HeapBuf::from_frame(&packet().build());
    for _ in 0..crate::io::HEADROOM_BYTES / overhead(TunnelKind::Ipip, REAL) {
        wrap(&mut frame, false).unwrap();
    }
    assert_eq!(wrap(&mut frame, false), Err(DropReason::NoHeadroom));
    let long = packet().payload(&vec![0; 65_500]);
    let mut frame = HeapBuf::from_frame(&long.build());
    assert_eq!(wrap(&mut frame, true), Err(DropReason::MtuExceeded));
    let mut frame = HeapBuf::from_frame(&[0; PLAIN_L3]);
    assert_eq!(wrap(&mut frame, false), Err(DropReason::Truncated));
}

#[test]
fn each_kind_adds_as_much_as_it_says() {
    let gue = |checksum| TunnelKind::Gue {
        port: 6080,
        checksum,
    };
    let gre = |checksum| TunnelKind::Gre { checksum };
    for (kind, v4, v6) in [
        (TunnelKind::Ipip, 20, 40),
        (gre(false), 24, 44),
        (gre(true), 28, 48),
        (gue(false), 32, 52),
        (gue(true), 32, 52),
    ] {
        assert_eq!((overhead(kind, REAL), overhead(kind, REAL6)), (v4, v6));
        let mut frame = HeapBuf::from_frame(&packet().build());
        encapsulate(&mut frame, PLAIN_L3, &Outer { kind, ..OUTER }).unwrap();
        assert_eq!(frame.bytes()[PLAIN_L3 + v4..], packet().build_datagram());
    }
    let longest = packet().payload(&[0; 65_535 - 24 - 28]);
    let gre = Outer {
        kind: gre(false),
        ..OUTER
    };
    let mut frame = HeapBuf::from_frame(&longest.build());
    assert_eq!(encapsulate(&mut frame, PLAIN_L3, &gre), Ok(()));
    let mut frame = HeapBuf::from_frame(&longest.payload(&[0; 65_535 - 24 - 27]).build());
    assert_eq!(
        encapsulate(&mut frame, PLAIN_L3, &gre),
        Err(DropReason::MtuExceeded)
    );
}
