//! Never queue: an idle real server if there is one, else the shortest expected delay (IPVS `nq`).
//! Idle is without active sessions, so that UDP always finds the first in the list.

use super::candidate::Load;
use super::sed;

/// An idle one costs nothing, whatever its weight; else as `sed`.
pub(super) const fn cost(load: Load) -> u64 {
    if load.active == 0 { 0 } else { sed::cost(load) }
}
