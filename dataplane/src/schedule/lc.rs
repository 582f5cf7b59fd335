//! Least connection: the real server with the fewest sessions, active ones counting more.
//! Weights above 0 are ignored (IPVS `lc`).

use super::wlc::overhead;
use super::{Candidate, Loads, takes_sessions};
use crate::snapshot::id::RealId;

/// The first one in the list with the least overhead.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    candidates
        .iter()
        .filter(|candidate| takes_sessions(candidate, loads))
        .min_by_key(|candidate| overhead(loads.load(candidate.real)))
        .map(|candidate| candidate.real)
}
