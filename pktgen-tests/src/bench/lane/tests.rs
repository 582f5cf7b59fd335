//! That a lane's rounds are right, and that what is wrong is found.

use ahash::RandomState;
use plimsoll_dataplane::pipeline::inboxes;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::snapshot::rcu::Publisher;

use super::*;
use crate::bench::case;
use crate::pktgen::Scenario;

fn with_lane(case: &Case, test: impl FnOnce(&mut Lane<'_>)) {
    let spec = case.scenario().spec(Scenario::BALANCER_MAC).unwrap();
    let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
    let mut publisher = Publisher::new(builder.build(&spec, true));
    let shared = Shared::new(case);
    let reader = publisher.subscribe();
    test(&mut Lane::new(case, 0, reader, inboxes(1), &shared).unwrap());
}

#[test]
fn all_frames_of_all_small_cases_come_back_and_are_right() {
    let (groups, _) = case::memory(true, false);
    let small = |case: &&Case| case.sessions().is_some_and(|count| count <= 1000);
    for case in groups.iter().flatten().filter(small) {
        with_lane(case, |lane| {
            lane.warm_up();
            let (spent, frames) = lane.round(4);
            assert!(spent > Duration::ZERO);
            assert_eq!(frames, 4 * RING as u64);
            assert_eq!(lane.complaints(), Vec::<String>::new());
        });
    }
}

#[test]
fn a_damaged_frame_is_found() {
    with_lane(&Case::STEADY, |lane| {
        lane.fill();
        for _ in 0..RING / BURST {
            lane.poll(0.0);
        }
        if let Some(byte) = lane.wire.from_port.borrow_mut()[7].bytes_mut().last_mut() {
            *byte ^= 1;
        }
        lane.drain();
        let complaints = lane.complaints();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("1 frames"), "{complaints:?}");
    });
}

#[test]
fn a_frame_that_does_not_come_out_is_missed() {
    with_lane(&Case::STEADY, |lane| {
        lane.fill();
        lane.wire.to_port.borrow_mut().pop();
        lane.pass(0.0);
        let complaints = lane.complaints();
        assert!(
            complaints
                .iter()
                .any(|text| text.ends_with("1 frames did not come out")),
            "{complaints:?}"
        );
    });
}

#[test]
fn a_dropped_frame_fails_a_run_although_it_was_counted() {
    with_lane(&Case::STEADY, |lane| {
        lane.fill();
        // Nobody here has this port.
        if let Some(byte) = lane.wire.to_port.borrow_mut()[0].bytes_mut().get_mut(37) {
            *byte ^= 1;
        }
        for _ in 0..RING / BURST {
            lane.poll(0.0);
        }
        lane.drain();
        assert!(!lane.complaints().is_empty());
    });
}
