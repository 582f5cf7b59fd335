//! Destination hashing: a virtual address always leads to the same real server, for caches behind
//! a service with many addresses. Weights above 0 are ignored (IPVS `dh`).

use super::candidate::{Candidate, Flow, Loads, takes_sessions};
use super::hash::{fold, short};
use crate::id::RealId;

/// The real server at the place of the virtual address's hash, if it takes sessions. The real
/// servers take turns in the 256 places, so no table is needed to know who is where.
pub(super) fn choose(candidates: &[Candidate], flow: Flow, loads: &impl Loads) -> Option<RealId> {
    let place = usize::from(short(fold(flow.virtual_address)));
    let place = place.checked_rem(candidates.len())?;
    candidates
        .get(place)
        .filter(|candidate| takes_sessions(candidate, loads))
        .map(|candidate| candidate.real)
}
