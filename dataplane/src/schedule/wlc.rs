//! Weighted least connection: the real server with the fewest sessions for its weight.
//! The comparison is shared by `sed`, `nq`, `lblc` and `lblcr`; what a session costs is not.

use super::{Candidate, Load, Loads, takes_sessions};
use crate::snapshot::id::RealId;

/// What a real server's sessions cost: IPVS counts an active one 256 times and adds the total of
/// all (Linux 6.1.192 and later stable kernels).
pub(super) const fn overhead(load: Load) -> u64 {
    load.active * 257 + load.inactive
}

/// Whether a cost is the lesser one, each in proportion to its weight. Without a division, as in
/// IPVS: `cost / weight < other cost / other weight`.
pub(super) fn is_less((cost, weight): (u64, u32), (other, other_weight): (u64, u32)) -> bool {
    u128::from(cost) * u128::from(other_weight) < u128::from(other) * u128::from(weight)
}

/// The first one in the list with the least cost for its weight.
pub(super) fn least<'c>(
    candidates: impl IntoIterator<Item = &'c Candidate>,
    loads: &impl Loads,
    cost: impl Fn(Load) -> u64,
) -> Option<&'c Candidate> {
    let mut least: Option<(&Candidate, u64)> = None;
    for candidate in candidates {
        if !takes_sessions(candidate, loads) {
            continue;
        }
        let cost = cost(loads.load(candidate.real));
        let better = least.is_none_or(|(other, other_cost)| {
            is_less((cost, candidate.weight), (other_cost, other.weight))
        });
        if better {
            least = Some((candidate, cost));
        }
    }
    least.map(|(candidate, _)| candidate)
}

/// The one with the least overhead for its weight.
pub(super) fn choose(candidates: &[Candidate], loads: &impl Loads) -> Option<RealId> {
    least(candidates, loads, overhead).map(|candidate| candidate.real)
}
