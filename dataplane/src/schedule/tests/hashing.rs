//! The schedulers by hash against what IPVS was seen to choose, and against their descriptions.

use super::*;

const THREE: [(u32, u32); 3] = [(13, 1), (12, 1), (11, 1)];

/// The clients of the recordings: 203.0.113.1, 203.0.113.8 and so on.
fn clients() -> impl Iterator<Item = IpAddr> {
    (0..32_u8).map(|number| [203, 0, 113, 1 + 7 * number].into())
}

impl Bench {
    fn of_client(&mut self, client: IpAddr) -> Option<u32> {
        self.flow.client = client;
        self.next()
    }

    fn of_clients(&mut self) -> Vec<Option<u32>> {
        clients().map(|client| self.of_client(client)).collect()
    }

    fn of_ports(&mut self) -> Vec<u32> {
        let ports = 1000..1032;
        ports
            .filter_map(|port| {
                self.flow.client_port = port;
                self.next()
            })
            .collect()
    }
}

fn some(reals: &[u32]) -> Vec<Option<u32>> {
    reals.iter().copied().map(Some).collect()
}

#[test]
fn source_hashing_gives_the_real_servers_recorded_from_ipvs() {
    let recorded = [
        11, 13, 12, 12, 11, 13, 13, 11, 11, 13, 12, 11, 11, 12, 12, 11, 13, 12, 12, 13, 13, 12, 12,
        13, 13, 12, 11, 13, 13, 11, 11, 13,
    ];
    assert_eq!(Bench::new(Sh(PLAIN), &THREE).of_clients(), some(&recorded));
    let recorded = [
        13, 13, 13, 13, 11, 13, 13, 11, 11, 13, 12, 11, 11, 12, 12, 11, 12, 12, 12, 12, 12, 12, 12,
        12, 12, 12, 13, 12, 12, 13, 13, 12,
    ];
    let mut bench = Bench::new(Sh(PLAIN), &[(13, 3), (12, 2), (11, 1)]);
    assert_eq!(bench.of_clients(), some(&recorded));
    let recorded = [
        13, 12, 11, 12, 11, 12, 13, 13, 11, 13, 11, 13, 12, 13, 11, 13,
    ];
    assert_eq!(Bench::new(Sh(PORT), &THREE).of_ports()[..16], recorded);
    let mut alone = Bench::new(Sh(PLAIN), &THREE).of_ports();
    alone.dedup();
    assert_eq!(alone.len(), 1, "the port does not matter");
    let recorded = [
        12, 13, 13, 11, 11, 13, 13, 11, 11, 13, 13, 11, 11, 12, 12, 12,
    ];
    let mut bench = Bench::new(Sh(PLAIN), &THREE);
    let clients = (0..16_u16).map(|n| [0x2001, 0xdb8, 0xcafe, n, 0, 0, 0, 3 * n + 1]);
    let chosen: Vec<_> = clients.map(|words| bench.of_client(words.into())).collect();
    assert_eq!(chosen, some(&recorded));
}

#[test]
fn source_hashing_leaves_the_clients_of_a_drained_real_server_alone_or_falls_back() {
    let drained = [(13, 1), (12, 0), (11, 1)];
    let whole = Bench::new(Sh(PLAIN), &THREE).of_clients();
    let expected: Vec<_> = whole
        .iter()
        .map(|one| one.filter(|real| *real != 12))
        .collect();
    assert_eq!(Bench::new(Sh(PLAIN), &drained).of_clients(), expected);
    let recorded = [
        11, 13, 11, 11, 11, 13, 13, 11, 11, 13, 11, 11, 11, 11, 11, 11,
    ];
    let mut bench = Bench::new(Sh(FALLBACK), &drained);
    assert_eq!(bench.of_clients()[..16], some(&recorded));
}

#[test]
fn destination_hashing_gives_the_real_servers_recorded_from_ipvs() {
    let recorded = [
        12, 13, 11, 11, 12, 11, 12, 11, 13, 11, 13, 11, 13, 12, 13, 11,
    ];
    let mut bench = Bench::new(Dh, &[(13, 1), (12, 5), (11, 1)]);
    let mut choices = |list: &[(u32, u32)]| -> Vec<_> {
        bench.change(Dh, list);
        (1..=16_u8)
            .map(|last| {
                bench.flow.virtual_address = [10, 0, 9, last].into();
                bench.next()
            })
            .collect()
    };
    assert_eq!(choices(&THREE), some(&recorded));
    let drained = choices(&[(13, 1), (12, 0), (11, 1)]);
    let expected = recorded.map(|real| Some(real).filter(|real| *real != 12));
    assert_eq!(drained, expected);
}

#[test]
fn maglev_hashing_gives_the_real_servers_recorded_from_ipvs() {
    let recorded = [
        11, 13, 12, 12, 12, 11, 13, 13, 12, 12, 13, 12, 12, 13, 11, 12, 12, 13, 11, 12, 11, 13, 12,
        12, 12, 12, 12, 11, 11, 11, 13, 13,
    ];
    assert_eq!(Bench::new(mh(PLAIN), &THREE).of_clients(), some(&recorded));
    let recorded = [
        11, 13, 12, 12, 12, 11, 13, 13, 12, 13, 13, 13, 12, 13, 13, 13, 13, 13, 11, 12, 13, 13, 12,
        12, 12, 13, 13, 13, 11, 13, 13, 13,
    ];
    let mut bench = Bench::new(mh(PLAIN), &[(13, 5), (12, 2), (11, 1)]);
    assert_eq!(bench.of_clients(), some(&recorded));
    let recorded = [
        11, 13, 11, 11, 11, 12, 13, 11, 11, 13, 12, 13, 13, 11, 13, 12, 13, 13, 13, 13, 11, 12, 12,
        11, 11, 11, 13, 12, 11, 11, 11, 12,
    ];
    assert_eq!(Bench::new(mh(PORT), &THREE).of_ports(), recorded);
}

#[test]
fn draining_a_real_server_leaves_the_maglev_table_as_it_is() {
    for kind in [mh(PLAIN), mh(FALLBACK)] {
        let mut bench = Bench::new(kind, &THREE);
        let before = bench.of_clients();
        bench.change(kind, &[(13, 1), (12, 0), (11, 1)]);
        let during = bench.of_clients();
        for (before, during) in before.iter().zip(&during) {
            match (before, kind == mh(FALLBACK)) {
                (Some(12), true) => assert!(matches!(during, Some(11 | 13))),
                (Some(12), false) => assert_eq!(*during, None),
                _ => assert_eq!(before, during),
            }
        }
        bench.change(kind, &THREE);
        assert_eq!(bench.of_clients(), before);
    }
}

#[test]
fn an_overloaded_real_server_is_passed_over_by_hash_too() {
    for kind in [Sh(FALLBACK), mh(FALLBACK)] {
        let mut bench = Bench::new(kind, &THREE);
        bench.overload(&[12]);
        assert!(
            bench
                .of_clients()
                .iter()
                .all(|one| matches!(one, Some(11 | 13)))
        );
        bench.overload(&[11, 12, 13]);
        assert_eq!(bench.of_clients(), [None; 32]);
    }
}

/// Each client of many, spread over all addresses.
fn many(bench: &mut Bench) -> Vec<u32> {
    (0..4000_u32)
        .filter_map(|number| bench.of_client(IpAddr::V4(number.wrapping_mul(2_654_435_769).into())))
        .collect()
}

#[test]
fn removing_one_real_server_moves_few_other_clients_of_maglev() {
    let list: Vec<(u32, u32)> = (0..10).map(|real| (real, 1)).collect();
    let mut bench = Bench::new(mh(PLAIN), &list);
    let before = many(&mut bench);
    bench.change(mh(PLAIN), &list[1..]);
    let after = many(&mut bench);
    let stayed = before.iter().filter(|real| **real != 0).count();
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| **old != 0 && old != new)
        .count();
    assert!(moved * 20 < stayed, "{moved} of {stayed}");
}

#[test]
fn maglev_gives_each_real_server_its_weight() {
    let mut bench = Bench::new(mh(PLAIN), &[(1, 10), (2, 30), (3, 60)]);
    let chosen = many(&mut bench);
    for (real, share) in [(1, 400), (2, 1200), (3, 2400)] {
        let count = chosen.iter().filter(|one| **one == real).count();
        assert!(count.abs_diff(share) < 120, "{real}: {count}");
    }
}

proptest! {
    #[test]
    fn source_hashing_does_what_its_description_says(
        list in lists(),
        port in any::<u16>(),
        client in any::<u32>(),
        overloaded in prop::collection::vec(0..8_u32, 0..8),
        flags in (any::<bool>(), any::<bool>()),
    ) {
        let flags = HashFlags { fallback: flags.0, port: flags.1 };
        let mut bench = Bench::new(Sh(flags), &list);
        bench.overload(&overloaded);
        bench.flow.client_port = port;
        let mut slots = Vec::new();
        while slots.len() < 256 && !list.is_empty() {
            for &(real, weight) in &list {
                slots.extend((0..weight.max(1)).map(|_| (real, weight)));
            }
        }
        let ok = |slot: u64| slots.get(usize::try_from(slot).unwrap())
            .filter(|(real, weight)| *weight > 0 && !overloaded.contains(real))
            .map(|(real, _)| *real);
        let key = u64::from(client) + if flags.port { u64::from(port) } else { 0 };
        let hash = ((key * 0x61c8_8647) % (1 << 32)) >> 24;
        let mut expected = ok(hash);
        for offset in 0..256 {
            if flags.fallback && expected.is_none() {
                expected = ok(((offset + hash) % 256 + hash) & 255);
            }
        }
        prop_assert_eq!(bench.of_client(IpAddr::V4(client.into())), expected);
    }
}
