//! The fast path of plain packets against the general path, which takes whatever has a priority tag.
//! What frames there are is told by `properties.rs`.

use plimsoll_dataplane::spec::policy::OnDown;
use plimsoll_dataplane::spec::service::{Availability, Remaining};

use super::*;

/// The frame behind a priority tag, which says nothing about a packet. A tagged packet takes the general path
/// through the pipeline.
fn tagged(frame: &[u8]) -> Vec<u8> {
    match frame.split_at_checked(12) {
        Some((macs, rest)) if matches!(rest, [0x08, 0x00, ..] | [0x86, 0xdd, ..]) => {
            [macs, &[0x81, 0x00, 0xa0, 0x00], rest].concat()
        }
        _ => frame.to_vec(),
    }
}

/// Every other real server is out, in all manners.
fn with_some_out() -> Spec {
    let gone = OnDown::ALL.map(Remaining::Gone);
    let manners = [Remaining::Kept, Remaining::KeptButUdp]
        .into_iter()
        .chain(gone);
    let mut spec = everything();
    let reals = spec
        .services
        .iter_mut()
        .flat_map(|service| &mut service.reals);
    for (real, manner) in reals.step_by(2).zip(manners.cycle()) {
        real.availability = Availability::Unavailable(manner);
    }
    spec
}

/// What a run comes to, priority tags of what the kernel gets left out.
fn outcome(arrivals: &[Arrival], each: usize) -> impl PartialEq + std::fmt::Debug {
    let mut rig = Rig::with_sessions(1, 64, &everything());
    let mut sent = Vec::new();
    for (index, arrival) in arrivals.iter().enumerate() {
        rig.inject(arrival.worker, arrival.port, &arrival.frame);
        if index % each == 0 {
            sent.extend(rig.run());
        }
        if index % 16 == 15 {
            sent.extend(rig.wait_ms(700));
        }
        if index == arrivals.len() / 2 {
            rig.reload(&with_some_out());
        }
    }
    sent.extend(rig.run());
    for (_, frame) in &mut sent {
        if frame.get(12..16) == Some(&[0x81, 0x00, 0xa0, 0x00]) {
            frame.drain(12..16);
        }
    }
    let totals = [&REALS[..], &REALS6].concat();
    let totals: Vec<_> = totals
        .into_iter()
        .map(|real| rig.totals(ip(real)))
        .collect();
    (sent, rig.all_drops(), totals, rig.sessions())
}

proptest! {
    #[test]
    fn the_fast_path_and_the_general_path_give_the_same_result(
        frames in prop::collection::vec(sound_frames(), 1..60),
        each in 1..9_usize,
    ) {
        let arrive = |frame: Vec<u8>| Arrival {
            worker: 0,
            port: if frame[..6] == LAN_MAC.0 { LAN } else { WAN },
            frame,
        };
        let plain: Vec<Arrival> = frames.concat().into_iter().map(arrive).collect();
        let long: Vec<Arrival> = plain
            .iter()
            .map(|one| Arrival { frame: tagged(&one.frame), ..one.clone() })
            .collect();
        prop_assert_eq!(outcome(&plain, each), outcome(&long, each));
    }
}
