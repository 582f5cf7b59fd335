//! Incremental updates against sums from scratch, and the cases of RFC 1071 and RFC 1624.

use proptest::prelude::*;

use super::*;

/// RFC 1071 section 1, as slow and plain as it is written.
fn reference(bytes: &[u8]) -> u16 {
    let mut sum = 0_u128;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u128::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

#[test]
fn the_example_of_rfc_1071_section_3() {
    let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.fold(), 0xddf2);
    assert_eq!(sum.finish(), 0x220d);
}

#[test]
fn the_example_of_rfc_1624_section_4() {
    assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn a_sum_does_not_overflow_on_the_longest_datagram() {
    let bytes = vec![0xff; 65_535];
    assert_eq!(Sum::of(&bytes).finish(), reference(&bytes));
    assert_eq!(Sum(u64::MAX).fold(), 0xffff);
}

#[test]
fn carries_are_folded_in_wherever_they_arise() {
    let parts = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff_u64];
    for a in parts {
        for b in parts {
            for c in parts {
                for d in parts {
                    let sum = a << 48 | b << 32 | c << 16 | d;
                    assert_eq!(!Sum(sum).fold(), reference(&sum.to_be_bytes()), "{sum:x}");
                    let mut header = [0; 20];
                    header[..8].copy_from_slice(&sum.to_be_bytes());
                    header[8..16].copy_from_slice(&sum.rotate_left(16).to_be_bytes());
                    header[16..].copy_from_slice(&[0xff, 0xff, 0xff, 0xfe]);
                    assert_eq!(is_intact(&header), reference(&header) == 0, "{header:x?}");
                    let check = reference(&header);
                    header[16..18].copy_from_slice(&check.to_be_bytes());
                    header[18..].copy_from_slice(&[0, 1]);
                    assert_eq!(is_intact(&header), reference(&header) == 0, "{header:x?}");
                }
            }
        }
    }
}

#[test]
fn udp_never_says_that_it_has_no_checksum_and_never_gets_one() {
    assert_eq!(Sum::of(&[0xff, 0xff]).finish(), 0);
    assert_eq!(Sum::of(&[0xff, 0xff]).finish_udp(), 0xffff);
    assert_eq!(Delta::NONE.u16(1, 2).apply_udp(0), 0);
    // 0xdd2f becomes 0, as above.
    assert_eq!(Delta::NONE.u16(0x5555, 0x3285).apply_udp(0xdd2f), 0xffff);
}

#[test]
fn no_change_leaves_every_checksum_valid() {
    for check in 0..=u16::MAX {
        assert_eq!(Delta::NONE.apply(check), check);
        let same = Delta::NONE.u16(7, 7).apply(check);
        // 0 and 0xffff are the same number in one's complement.
        assert_eq!(same % 0xffff, check % 0xffff);
        assert_eq!(Delta::NONE.u16(7, 7).apply_udp(check), check);
    }
}

fn address() -> impl Strategy<Value = V6> {
    any::<[u64; 2]>().prop_map(V6)
}

/// `bytes` with a UDP-like checksum field at 0 and ports and addresses in known places.
fn packet(check: u16, source: V6, port: u16, rest: &[u8]) -> Vec<u8> {
    let mut packet = check.to_be_bytes().to_vec();
    packet.extend(source.0[0].to_be_bytes());
    packet.extend(source.0[1].to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend(rest);
    packet
}

proptest! {
    #[test]
    fn a_sum_is_that_of_rfc_1071(bytes: Vec<u8>, split: prop::sample::Index) {
        prop_assert_eq!(Sum::of(&bytes).finish(), reference(&bytes));
        let (left, right) = bytes.split_at((split.index(bytes.len() + 1)) & !1);
        prop_assert_eq!(Sum::of(left).bytes(right).finish(), reference(&bytes));
    }

    #[test]
    fn typed_words_add_like_their_bytes(a: u16, b: u32, c: u64, d in address()) {
        let mut bytes = a.to_be_bytes().to_vec();
        bytes.extend(b.to_be_bytes());
        bytes.extend(c.to_be_bytes());
        bytes.extend(d.0[0].to_be_bytes());
        bytes.extend(d.0[1].to_be_bytes());
        prop_assert_eq!(Sum::ZERO.u16(a).u32(b).u64(c).v6(d).finish(), reference(&bytes));
    }

    #[test]
    fn pseudo_headers_add_like_their_bytes(
        a: u32, b: u32, c in address(), d in address(), protocol: u8, length in 0..=65_535_u16,
    ) {
        let mut bytes = a.to_be_bytes().to_vec();
        bytes.extend(b.to_be_bytes());
        bytes.extend([0, protocol]);
        bytes.extend(length.to_be_bytes());
        let sum = Sum::pseudo_v4(V4(a), V4(b), protocol, usize::from(length));
        prop_assert_eq!(sum.finish(), reference(&bytes));

        let mut bytes = Vec::new();
        for half in [c.0, d.0].concat() {
            bytes.extend(half.to_be_bytes());
        }
        bytes.extend(u32::from(length).to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        let sum = Sum::pseudo_v6(c, d, protocol, usize::from(length));
        prop_assert_eq!(sum.finish(), reference(&bytes));
    }

    #[test]
    fn an_update_gives_what_a_sum_from_scratch_gives(
        old in (address(), any::<u16>()),
        new in (address(), any::<u16>()),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let scratch = |(source, port)| reference(&packet(0, source, port, &rest));
        // Data of nothing but zeros has two right checksums; a real packet is never so.
        prop_assume!(scratch(old) != 0xffff && scratch(new) != 0xffff);
        let delta = Delta::NONE.v6(old.0, new.0).u16(old.1, new.1);
        prop_assert_eq!(delta.apply(scratch(old)), scratch(new));
        prop_assert_eq!(delta.reversed().apply(scratch(new)), scratch(old));
        let udp = |check| if check == 0 { 0xffff } else { check };
        prop_assert_eq!(delta.apply_udp(udp(scratch(old))), udp(scratch(new)));

        let apart = Delta::NONE.v6(old.0, new.0).and(Delta::NONE.u16(old.1, new.1));
        prop_assert_eq!(apart.apply(scratch(old)), scratch(new));
        let one_by_one = update_u16(update_v6(scratch(old), old.0, new.0), old.1, new.1);
        prop_assert_eq!(one_by_one, scratch(new));
        prop_assert!(Sum::of(&packet(delta.apply(scratch(old)), new.0, new.1, &rest)).is_valid());
    }

    #[test]
    fn an_update_of_32_bits_is_one_of_two_words(check: u16, old: u32, new: u32) {
        let halves = |n: u32| [(n >> 16) as u16, (n & 0xffff) as u16];
        let ([a, b], [c, d]) = (halves(old), halves(new));
        let two = update_u16(update_u16(check, a, c), b, d);
        prop_assert_eq!(update_u32(check, old, new) % 0xffff, two % 0xffff);
        prop_assert_eq!(Delta::NONE.v4(V4(old), V4(new)), Delta::NONE.u32(old, new));
    }
}
