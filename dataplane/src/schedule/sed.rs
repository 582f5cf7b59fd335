//! Shortest expected delay: the real server that would have the fewest active sessions for its
//! weight if it took this one. Inactive sessions do not count (IPVS `sed`).

use super::{Candidate, Load, Loads, wlc};
use crate::snapshot::id::RealId;

/// What this session would make of a real server's active ones.
pub(super) const fn delay(load: Load) -> u64 {
    load.active + 1
}

/// The first one in the list with the shortest delay for its weight.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    wlc::least(candidates, loads, delay).map(|candidate| candidate.real)
}
