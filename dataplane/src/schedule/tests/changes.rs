//! What becomes of the schedulers' pointers when the list or the scheduler changes.

use super::*;

#[test]
fn another_scheduler_begins_at_its_beginning() {
    let list = [(1, 3), (2, 1)];
    let mut bench = Bench::new(Wrr, &list);
    assert_eq!(bench.take(3), [1, 2, 1]);
    bench.change(Rr, &list);
    assert_eq!(bench.take(3), [1, 2, 1]);
    bench.change(Wrr, &list);
    // IPVS begins an added scheduler at the greatest weight.
    assert_eq!(bench.take(4), [1, 1, 1, 2]);
    bench.change(Rr, &list);
    assert_eq!(bench.take(1), [1]);
    bench.change(Lc, &list);
    assert_eq!(bench.take(1), [1]);
    bench.change(Rr, &list);
    assert_eq!(bench.take(2), [1, 2]);
}

#[test]
fn changes_that_nobody_chose_between_count_one_by_one() {
    let list = [(1, 1), (2, 1), (3, 1)];
    let mut bench = Bench::new(Rr, &list);
    assert_eq!(bench.take(2), [1, 2]);
    // The pointer's real server goes, which moves the pointer, and comes back at the head.
    bench.change(Rr, &[(1, 1), (3, 1)]);
    bench.change(Rr, &[(2, 1), (1, 1), (3, 1)]);
    assert_eq!(bench.take(1), [3]);
    bench.change(Wlc, &list);
    bench.change(Rr, &list);
    assert_eq!(bench.take(2), [1, 2]);
    let heavy = [(1, 4), (2, 3), (3, 2)];
    bench.change(Lc, &heavy);
    bench.change(Wrr, &heavy);
    assert_eq!(bench.take(3), [1, 1, 2], "from the greatest weight");
}

#[test]
fn a_slot_that_means_another_service_begins_afresh() {
    let mut bench = Bench::new(Wrr, &[(1, 3), (2, 1)]);
    bench.take(4);
    bench.service.first_revision = bench.service.revision + 1;
    bench.change(Wrr, &[(7, 3), (8, 1)]);
    assert_eq!(bench.take(3), [7, 8, 7]);
    bench.service.first_revision = bench.service.revision + 1;
    bench.change(Rr, &[(7, 3), (8, 1), (9, 1)]);
    assert_eq!(bench.take(2), [7, 8]);
}
