//! Least connection: the real server with the fewest sessions, active ones counting more.
//! Weights above 0 are ignored (IPVS `lc`).

use super::{Candidate, Load};
use crate::snapshot::id::RealId;

/// What a real server's sessions cost: IPVS counts an active one 256 times and adds the total of
/// all (Linux 6.1.192 and later stable kernels).
const fn overhead(load: Load) -> u64 {
    load.active * 257 + load.inactive
}

/// The first one in the list with the least overhead.
pub(super) fn choose(candidates: &[Candidate], load: impl Fn(RealId) -> Load) -> Option<RealId> {
    candidates
        .iter()
        .filter(|candidate| candidate.weight > 0)
        .min_by_key(|candidate| overhead(load(candidate.real)))
        .map(|candidate| candidate.real)
}
