//! What makes a datagram, what is refused, and that nobody fills the table.

use super::*;

const KEY: DatagramKey = DatagramKey::V4(V4(1), V4(2), 3, 17);

fn table() -> Reassembly {
    Reassembly::new(RandomState::with_seeds(1, 2, 3, 4))
}

fn is_empty(table: &Reassembly) -> bool {
    table.partials.iter().all(Option::is_none)
        && table.index.is_empty()
        && table.sources.is_empty()
        && table.by_age.first().is_none()
        && table.bytes == 0
}

fn piece(payload: &[u8], offset: usize, more: bool) -> Piece<'_> {
    Piece {
        header: b"header",
        payload,
        offset,
        more,
    }
}

#[test]
fn fragments_in_any_order_make_the_datagram() {
    let pieces = [
        (&b"aaaaaaaa"[..], 0, true),
        (b"bbbbbbbbcccccccc", 8, true),
        (b"dd", 24, false),
    ];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut table = table();
        let mut outcome = Outcome::Waits;
        for index in order {
            assert_eq!(outcome, Outcome::Waits);
            let (payload, offset, more) = pieces[index];
            outcome = table.add(KEY, piece(payload, offset, more), Time::default());
        }
        let Outcome::Complete(datagram) = outcome else {
            panic!("{order:?}: {outcome:?}")
        };
        assert_eq!(datagram.payload, b"aaaaaaaabbbbbbbbccccccccdd");
        assert_eq!((datagram.frames, datagram.largest_fragment), (3, 22));
    }
}

#[test]
fn overlaps_and_lies_about_the_end_drop_the_whole_datagram() {
    let bad = [
        piece(b"xxxxxxxy", 0, true),
        piece(b"xxxxxxxx", 0, false),
        piece(b"yyyyyyyyyyyyyyyy", 0, true),
        piece(b"z", 8, true),
        piece(b"", 16, false),
        piece(b"wwwwwwww", 65_528, true),
    ];
    for case in bad {
        let mut table = table();
        assert_eq!(
            table.add(KEY, piece(b"xxxxxxxx", 0, true), Time::default()),
            Outcome::Waits
        );
        let outcome = table.add(KEY, case, Time::default());
        let dropped = Outcome::Dropped {
            reason: DropReason::FragmentInvalid,
            frames: 2,
        };
        assert_eq!(outcome, dropped, "{case:?}");
        assert!(is_empty(&table));
    }
}

#[test]
fn a_piece_that_the_network_repeats_is_dropped_alone() {
    let mut table = table();
    let dropped = Outcome::Dropped {
        reason: DropReason::FragmentInvalid,
        frames: 1,
    };
    let now = Time::default();
    for case in [piece(b"z", 16, false), piece(b"aaaaaaaa", 0, true)] {
        assert_eq!(table.add(KEY, case, now), Outcome::Waits);
        assert_eq!(table.add(KEY, case, now), dropped);
    }
    let Outcome::Complete(datagram) = table.add(KEY, piece(b"bbbbbbbb", 8, true), now) else {
        panic!("not complete")
    };
    assert_eq!(datagram.payload, b"aaaaaaaabbbbbbbbz");
    assert_eq!(datagram.frames, 3);
}

#[test]
fn a_lone_fragment_is_forgotten_in_time() {
    let mut table = table();
    table.add(KEY, piece(b"xxxxxxxx", 8, true), Time::default());
    assert_eq!(table.expire(Time::from_ms(29_999), |_, _, _| {}), 0);
    assert_eq!(table.expire(Time::from_ms(30_000), |_, _, _| {}), 1);
    assert!(is_empty(&table));
}

#[test]
fn lone_fragments_give_way_to_whoever_comes_the_oldest_first() {
    let mut table = table();
    let now = Time::default();
    let honest = DatagramKey::V4(V4(9), V4(2), 3, 17);
    for round in 0..2 {
        // From one source, then from many.
        for number in 0..u32::try_from(3 * DATAGRAMS).unwrap() {
            let key = DatagramKey::V4(V4(100 + number * round), V4(2), number, 17);
            table.add(key, piece(b"xxxxxxxx", 8, true), now);
        }
        assert!(table.index.len() <= DATAGRAMS && table.partials.len() <= DATAGRAMS);
        let first = table.add(honest, piece(b"aaaaaaaa", 0, true), now);
        assert_eq!(first, Outcome::Waits);
        let last = table.add(honest, piece(b"b", 8, false), now);
        assert!(matches!(last, Outcome::Complete(_)), "{last:?}");
    }
    let evicted = table.take_evicted() as usize;
    assert_eq!(evicted + table.index.len(), 6 * DATAGRAMS);
    assert_eq!(
        table.expire(Time::from_ms(30_000), |_, _, _| {}) as usize,
        6 * DATAGRAMS - evicted
    );
    assert!(is_empty(&table));
}

#[test]
fn one_source_takes_a_share_and_not_the_place_of_others() {
    let mut table = table();
    let now = Time::default();
    let honest = DatagramKey::V4(V4(9), V4(2), 3, 17);
    table.add(honest, piece(b"aaaaaaaa", 0, true), now);
    let large = [7; 1400];
    for number in 0..20_000 {
        let key = DatagramKey::V4(V4(1), V4(2), number, 17);
        table.add(key, piece(&large, 1400 * (number as usize % 40), true), now);
    }
    assert_eq!(table.index.len(), 1 + DATAGRAMS / SHARE);
    let last = table.add(honest, piece(b"b", 8, false), now);
    assert!(matches!(last, Outcome::Complete(_)), "{last:?}");
}

#[test]
fn all_ipv6_addresses_of_a_host_are_one_source() {
    let mut table = table();
    let now = Time::default();
    let honest = DatagramKey::V6(V6([9, 9]), V6([2, 2]), 3);
    table.add(honest, piece(b"aaaaaaaa", 0, true), now);
    for host in 0..20_000 {
        let key = DatagramKey::V6(V6([1, host]), V6([2, 2]), 3);
        table.add(key, piece(b"aaaaaaaa", 0, true), now);
    }
    assert_eq!(table.index.len(), 1 + DATAGRAMS / SHARE);
    let last = table.add(honest, piece(b"b", 8, false), now);
    assert!(matches!(last, Outcome::Complete(_)), "{last:?}");
}

#[test]
fn bytes_are_bounded_too() {
    let mut table = table();
    let now = Time::default();
    for number in 0..500_u32 {
        let key = DatagramKey::V4(V4(number % 10), V4(2), number / 10, 17);
        for place in 0..40 {
            table.add(key, piece(&[7; 1400], 1400 * place, true), now);
            assert!(table.bytes <= BYTES);
        }
    }
    assert!(table.bytes > BYTES * 9 / 10 && table.index.len() > 50);
    // One source alone has its share.
    for number in 0..500 {
        let key = DatagramKey::V4(V4(77), V4(2), number, 17);
        for place in 0..40 {
            table.add(key, piece(&[7; 1400], 1400 * place, true), now);
        }
    }
    assert!(table.sources[&IpAddr::from(V4(77))].bytes <= BYTES / SHARE);
    table.expire(Time::from_ms(30_000), |_, _, _| {});
    assert!(is_empty(&table));
}

#[test]
fn of_what_took_too_long_the_first_fragments_are_told() {
    let mut table = Reassembly::new(RandomState::with_seeds(1, 2, 3, 4));
    let key = |id| DatagramKey::V4(V4(1), V4(2), id, 17);
    let piece = |offset, payload| Piece {
        header: b"header",
        payload,
        offset,
        more: true,
    };
    let now = Time::from_ms(0);
    table.add(key(1), piece(0, &b"01234567"[..]), now);
    table.add(key(1), piece(16, b"89abcdef"), now);
    table.add(key(2), piece(8, b"01234567"), now);
    let mut told = Vec::new();
    let frames = table.expire(Time::from_ms(30_000), |key, header, payload| {
        told.push((key, [header, payload].concat()));
    });
    assert_eq!(frames, 3);
    assert_eq!(told, [(key(1), b"header01234567".to_vec())]);
}
