//! Never queue: an idle real server if there is one, else the shortest expected delay.
//! Idle is without active sessions, so that UDP always finds the first in the list (IPVS `nq`).

use super::sed::delay;
use super::{Candidate, Loads, takes_sessions, wlc};
use crate::snapshot::id::RealId;

/// The first idle one whatever its weight; else as `sed`.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    candidates
        .iter()
        .find(|one| takes_sessions(one, loads) && loads.load(one.real).active == 0)
        .or_else(|| wlc::least(candidates, loads, delay))
        .map(|candidate| candidate.real)
}
