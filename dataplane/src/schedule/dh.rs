//! Destination hashing: a virtual address always leads to the same real server, for caches behind
//! a service with many addresses. Weights above 0 are ignored (IPVS `dh`).

use super::candidate::{Candidate, Flow, Loads, takes_sessions};
use super::hash::{fold, short};
use crate::id::RealId;

/// The real server at the place of the virtual address's hash, if it takes sessions; the next one in the list that does
/// if it is not available. The real servers take turns in the 256 places, so no table is needed to know who is where.
pub(super) fn choose(candidates: &[Candidate], flow: Flow, loads: &impl Loads) -> Option<RealId> {
    let place = usize::from(short(fold(flow.virtual_address)));
    let place = place.checked_rem(candidates.len())?;
    let (before, after) = candidates.split_at(place);
    let takes = |candidate: &&Candidate| takes_sessions(candidate, loads);
    let chosen = match after.first()? {
        chosen if chosen.is_available => Some(chosen).filter(takes),
        _ => after.iter().chain(before).find(takes),
    };
    chosen.map(|candidate| candidate.real)
}
