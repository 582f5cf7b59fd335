//! Weighted failover: the real server with the greatest weight takes all sessions.
//! How many sessions there are does not matter (IPVS `fo`); `ovf.rs` has the one that spills over.

use super::candidate::{Candidate, Loads, takes_sessions};
use crate::id::RealId;

/// The first one in the list with the greatest weight of those that pass.
pub(super) fn heaviest(
    candidates: &[Candidate],
    passes: impl Fn(&Candidate) -> bool,
) -> Option<RealId> {
    let mut heaviest: Option<&Candidate> = None;
    for candidate in candidates {
        if heaviest.is_none_or(|other| candidate.weight > other.weight) && passes(candidate) {
            heaviest = Some(candidate);
        }
    }
    heaviest.map(|candidate| candidate.real)
}

/// The heaviest one.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    heaviest(candidates, |candidate| takes_sessions(candidate, loads))
}
