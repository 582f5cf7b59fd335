//! Locality-based least connection with replication: a virtual address has a set of real servers,
//! which grows when they have too many sessions and shrinks after a day of peace (IPVS `lblcr`).

use arrayvec::ArrayVec;

use super::destinations::{Destination, Destinations, EXPIRY_MS, Key, MEMBERS};
use super::lblc::has_too_many;
use super::wlc::{is_less, overhead};
use super::{Candidate, Loads, wlc};
use crate::snapshot::id::RealId;
use crate::time::Time;

/// The least loaded member of the destination's set, or else the one that `wlc` chooses, which
/// becomes a member.
pub(super) fn choose(
    destinations: &mut Destinations,
    key: Key,
    candidates: &[Candidate],
    loads: &impl Loads,
    now: Time,
) -> Option<RealId> {
    let Some(known) = destinations.find(&key, now) else {
        let chosen = wlc::choose(candidates, loads)?;
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
    let least = wlc::least(members.iter().copied(), loads, overhead);
    if known.members.len() > 1 && now.ms_since(known.changed) > EXPIRY_MS {
        remove(known, most_loaded(&members, loads), now);
    }
    if let Some(least) = least.filter(|one| !has_too_many(one, candidates, loads)) {
        return Some(least.real);
    }
    let chosen = wlc::choose(candidates, loads)?;
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
    let mut most: Option<(&Candidate, u64)> = None;
    for member in members.iter().filter(|member| member.weight > 0) {
        let cost = overhead(loads.load(member.real));
        if most.is_none_or(|(other, least)| is_less((least, other.weight), (cost, member.weight))) {
            most = Some((member, cost));
        }
    }
    most.map(|(member, _)| member.real)
}
