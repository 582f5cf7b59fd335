//! Locality-based least connection: a virtual address stays at its real server until that one has
//! too many sessions. For caches behind a service with many addresses (IPVS `lblc`).

use super::candidate::{Candidate, Loads};
use super::destinations::{Destinations, Key};
use super::ramp::Shares;
use super::rank::Measure;
use crate::id::RealId;
use crate::time::Time;

/// Whether a real server has more active sessions than its weight while another one has fewer than
/// half of its own.
pub(super) fn has_too_many(
    candidate: &Candidate,
    candidates: &[Candidate],
    loads: &impl Loads,
) -> bool {
    let active = |one: &Candidate| loads.load(one.real).active;
    active(candidate) > u64::from(candidate.weight)
        && candidates
            .iter()
            .any(|one| one.is_available && active(one) * 2 < u64::from(one.weight))
}

/// The real server that the destination was given to, or else the one that `wlc` chooses.
///
/// As in IPVS, one that has reached its upper threshold keeps the destinations that it has.
pub(super) fn choose(
    destinations: &mut Destinations,
    key: Key,
    candidates: &[Candidate],
    loads: &impl Loads,
    shares: Shares,
    now: Time,
) -> Option<RealId> {
    let known = destinations.find(&key, now);
    let given = known.as_ref().and_then(|known| known.members.first());
    let kept = given
        .and_then(|real| candidates.iter().find(|one| one.real == *real))
        .filter(|one| one.weight > 0 && one.is_available)
        .filter(|one| !has_too_many(one, candidates, loads));
    if let Some(kept) = kept {
        return Some(kept.real);
    }
    let chosen = Measure::Wlc.least(candidates, loads, shares)?.real;
    match known {
        Some(known) => {
            known.members.clear();
            known.members.push(chosen);
        }
        None => destinations.enter(key, chosen, now),
    }
    Some(chosen)
}
