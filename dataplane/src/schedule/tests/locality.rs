//! The schedulers by locality against recorded sequences, and what their memory survives.

use super::destinations::EXPIRY_MS;
use super::*;

const THREE: [(u32, u32); 3] = [(13, 1), (12, 1), (11, 1)];

fn active(active: u64) -> Load {
    Load {
        active,
        inactive: 0,
    }
}

impl Bench {
    fn of_destination(&mut self, last: u8) -> Option<u32> {
        self.flow.virtual_address = [10, 0, 9, last].into();
        self.next()
    }

    fn load(&mut self, loads: &[(u32, u64)]) {
        self.loads.extend(
            loads
                .iter()
                .map(|&(real, count)| (RealId(real), active(count))),
        );
    }
}

#[test]
fn destinations_keep_the_real_servers_recorded_from_ipvs() {
    for kind in [Lblc, Lblcr] {
        let mut bench = Bench::new(kind, &THREE);
        let mut chosen = Vec::new();
        for turn in 0..16 {
            let real = bench.of_destination(turn % 4 + 1).unwrap();
            // One SYN each, so that none is ever counted twice as much as another.
            let count = bench.loads.load(RealId(real)).active;
            bench.load(&[(real, count + 1)]);
            chosen.push(real);
        }
        let recorded = [13, 12, 11, 13].repeat(4);
        assert_eq!(chosen, recorded, "{kind}");
    }
}

#[test]
fn a_destination_moves_when_its_real_server_has_too_many_sessions_and_another_few() {
    let list = [(1, 4), (2, 4)];
    let mut bench = Bench::new(Lblc, &list);
    assert_eq!(bench.of_destination(1), Some(1));
    bench.load(&[(1, 4), (2, 1)]);
    assert_eq!(bench.of_destination(1), Some(1), "no more than its weight");
    bench.load(&[(1, 5), (2, 2)]);
    assert_eq!(
        bench.of_destination(1),
        Some(1),
        "half the weight is not few"
    );
    bench.load(&[(1, 5), (2, 1)]);
    assert_eq!(bench.of_destination(1), Some(2));
    bench.load(&[(1, 0), (2, 4)]);
    assert_eq!(bench.of_destination(1), Some(2), "it stays there");
}

#[test]
fn a_destination_leaves_a_drained_or_removed_real_server() {
    for kind in [Lblc, Lblcr] {
        let mut bench = Bench::new(kind, &[(1, 1), (2, 1)]);
        assert_eq!(bench.of_destination(1), Some(1));
        bench.change(kind, &[(1, 0), (2, 1)]);
        assert_eq!(bench.of_destination(1), Some(2), "{kind}");
        bench.change(kind, &[(3, 1)]);
        assert_eq!(bench.of_destination(1), Some(3), "{kind}");
        bench.change(kind, &[]);
        assert_eq!(bench.of_destination(1), None, "{kind}");
        // Another service in the slot knows nothing of the old one's destinations.
        bench.change(kind, &[(4, 1), (3, 1)]);
        assert_eq!(bench.of_destination(1), Some(3), "{kind}");
        bench.service.first_revision = bench.service.revision;
        assert_eq!(bench.of_destination(1), Some(4), "{kind}");
    }
}

#[test]
fn a_destination_is_scheduled_afresh_after_a_day() {
    for kind in [Lblc, Lblcr] {
        let mut bench = Bench::new(kind, &[(1, 9), (2, 9)]);
        assert_eq!(bench.of_destination(1), Some(1));
        bench.load(&[(1, 5), (2, 5)]);
        bench.load(&[(2, 0)]);
        bench.now = Time::from_ms(EXPIRY_MS);
        assert_eq!(bench.of_destination(1), Some(1), "{kind}");
        bench.now = Time::from_ms(2 * EXPIRY_MS + 1);
        assert_eq!(bench.of_destination(1), Some(2), "{kind}");
    }
}

#[test]
fn replication_adds_a_real_server_under_load_and_takes_the_busiest_away_after_a_day() {
    let list = [(1, 4), (2, 4), (3, 4)];
    let mut bench = Bench::new(Lblcr, &list);
    assert_eq!(bench.of_destination(1), Some(1));
    bench.load(&[(1, 5), (2, 1), (3, 1)]);
    assert_eq!(bench.of_destination(1), Some(2), "the set is now 2, 1");
    bench.load(&[(1, 0), (2, 3), (3, 0)]);
    assert_eq!(bench.of_destination(1), Some(1), "the least loaded member");
    bench.load(&[(1, 1), (2, 1)]);
    assert_eq!(bench.of_destination(1), Some(2), "the newest of equals");
    // A day after the last change the busier one is taken away; that packet still may go there.
    bench.now = Time::from_ms(EXPIRY_MS);
    assert!(bench.of_destination(1).is_some());
    bench.load(&[(1, 3), (2, 2)]);
    bench.now = Time::from_ms(EXPIRY_MS + 1);
    assert_eq!(bench.of_destination(1), Some(2));
    bench.load(&[(1, 0), (2, 2)]);
    assert_eq!(bench.of_destination(1), Some(2), "1 is no member any more");
}

#[test]
fn replication_has_a_bound() {
    let list: Vec<(u32, u32)> = (0..40).map(|real| (real, 4)).collect();
    let mut bench = Bench::new(Lblcr, &list);
    let mut chosen = Vec::new();
    for _ in 0..40 {
        let real = bench.of_destination(1).unwrap();
        bench.load(&[(real, 5)]);
        chosen.push(real);
    }
    assert_eq!(chosen, (0..40).collect::<Vec<_>>());
    // Nobody has few sessions now, so a member is chosen.
    assert!(bench.of_destination(1).is_some());
}
