//! Every recording of LVS in `recordings/` is matched, or its deviation documented. Needs no root.

use std::path::Path;

use plimsoll_pktgen_tests::replay::{self, Deviations};

#[test]
fn every_recording_is_matched_or_its_deviation_documented() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = Deviations::read(&here.join("../docs/DEVIATIONS.md")).unwrap();
    let folder = here.join("recordings");
    let names = replay::names(&folder).unwrap();
    assert!(!names.is_empty());
    let outcomes = names.iter().map(|name| {
        let outcome = replay::replay(&folder, name, &known).unwrap();
        (name, outcome)
    });
    let failures: Vec<String> = outcomes
        .filter(|(_, outcome)| outcome.is_failure())
        .map(|(name, outcome)| format!("{name}: {outcome}"))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
