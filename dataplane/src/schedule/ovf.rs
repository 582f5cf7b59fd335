//! Overflow: the real server with the greatest weight gets sessions until it has more active ones than its weight, then
//! the next. If all have, none is chosen (IPVS `ovf`).

use super::candidate::{Candidate, Loads, takes_sessions};
use super::fo;
use crate::id::RealId;

/// The real server with the greatest weight that has no more active sessions than its weight, so that it ends up with
/// one more.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    fo::heaviest(candidates, |candidate| {
        takes_sessions(candidate, loads)
            && loads.load(candidate.real).active <= u64::from(candidate.weight)
    })
}
