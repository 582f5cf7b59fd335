//! Overflow: the real server with the greatest weight takes sessions until it has more active ones
//! than its weight, then the next. When all have, nobody does (IPVS `ovf`).

use super::candidate::{Candidate, Loads, takes_sessions};
use super::fo;
use crate::id::RealId;

/// The heaviest one with no more active sessions than its weight: it takes one more than that.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    fo::heaviest(candidates, |candidate| {
        takes_sessions(candidate, loads)
            && loads.load(candidate.real).active <= u64::from(candidate.weight)
    })
}
