//! Locality-based least connection with replication: a virtual address has a set of real servers,
//! which grows when they have too many sessions and shrinks after a day of peace (IPVS `lblcr`).

use arrayvec::ArrayVec;

use super::candidate::{Candidate, Loads};
use super::destinations::{Destination, Destinations, EXPIRY_MS, Key, MEMBERS};
use super::lblc::has_too_many;
use super::ramp::Shares;
use super::rank::{Measure, Rank};
use super::wlc;
use crate::id::RealId;
use crate::time::Time;

/// The least loaded member of the destination's set, or else the one that `wlc` chooses, which
/// becomes a member.
pub(super) fn choose(
    destinations: &mut Destinations,
    key: Key,
    candidates: &[Candidate],
    loads: &impl Loads,
    shares: Shares,
    now: Time,
) -> Option<RealId> {
    let Some(known) = destinations.find(&key, now) else {
        let chosen = Measure::Wlc.least(candidates, loads, shares)?.real;
        destinations.enter(key, chosen, now);
        return Some(chosen);
    };
    // The newest first, as IPVS's list has them.
    let members: ArrayVec<&Candidate, MEMBERS> = known
        .members
        .iter()
        .rev()
        .filter_map(|real| candidates.iter().find(|one| one.real == *real))
        .collect();
    let least = Measure::Wlc.least(members.iter().copied(), loads, shares);
    if known.members.len() > 1 && now.ms_since(known.changed) > EXPIRY_MS {
        remove(known, most_loaded(&members, loads), now);
    }
    if let Some(least) = least.filter(|one| !has_too_many(one, candidates, loads)) {
        return Some(least.real);
    }
    let chosen = Measure::Wlc.least(candidates, loads, shares)?.real;
    if !known.members.contains(&chosen) {
        known
            .members
            .retain(|real| candidates.iter().any(|one| one.real == *real));
        if known.members.is_full() {
            remove(known, most_loaded(&members, loads), now);
        }
        if known.members.try_push(chosen).is_ok() {
            known.changed = now;
        }
    }
    Some(chosen)
}

fn remove(known: &mut Destination, member: Option<RealId>, now: Time) {
    if let Some(member) = member {
        known.members.retain(|real| *real != member);
        known.changed = now;
    }
}

/// The first of the set with the most overhead for its weight.
fn most_loaded(members: &[&Candidate], loads: &impl Loads) -> Option<RealId> {
    let mut most: Option<(&Candidate, Rank)> = None;
    for member in members.iter().filter(|member| member.weight > 0) {
        let rank = Rank {
            cost: wlc::cost(loads.load(member.real)),
            weight: member.weight.into(),
        };
        if most.is_none_or(|(_, other)| other.is_less(rank)) {
            most = Some((member, rank));
        }
    }
    most.map(|(member, _)| member.real)
}
