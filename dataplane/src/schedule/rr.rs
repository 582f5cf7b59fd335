//! Round robin: the next real server in the list that takes sessions.
//! Weights above 0 are ignored (IPVS `rr`).

use super::candidate::{Candidate, Loads, Removal, takes_sessions};
use super::cursor::{Cursor, Start};
use crate::id::RealId;

/// The first one after the one used last, around the list once.
pub(super) fn choose(
    cursor: &Cursor,
    candidates: &[Candidate],
    loads: &impl Loads,
) -> Option<RealId> {
    let next = cursor.next().min(candidates.len());
    let (before, after) = candidates.split_at(next);
    let in_turn = (next..).zip(after).chain((0..).zip(before));
    let (place, chosen) = in_turn
        .into_iter()
        .find(|(_, candidate)| takes_sessions(candidate, loads))?;
    cursor.used(place, chosen.real);
    Some(chosen.real)
}

/// Sets a fresh pointer to the worker's share of the list.
pub(super) fn begin(cursor: &Cursor, candidates: &[Candidate], start: Start) {
    let skip = candidates.len() * start.worker / start.workers.max(1);
    if let Some(place) = skip.checked_sub(1)
        && let Some(candidate) = candidates.get(place)
    {
        cursor.used(place, candidate.real);
    }
}

/// Finds the pointer's real server in the changed list. If it was removed, the pointer goes to the
/// one before it, or before the whole list (IPVS moves the pointer back when its entry goes), also if
/// it came back since. `seen` is the revision that the pointer is of.
pub(super) fn adapt(cursor: &Cursor, candidates: &[Candidate], removed: &[Removal], seen: u32) {
    let last = RealId(cursor.last.load(std::sync::atomic::Ordering::Relaxed));
    let stand_in = removed
        .iter()
        .find(|one| one.real == last && one.revision > seen)
        .map(|one| one.stand_in);
    let wanted = stand_in.unwrap_or(Some(last));
    let place = wanted.and_then(|wanted| {
        candidates
            .iter()
            .position(|candidate| candidate.real == wanted)
    });
    match (place, wanted) {
        (Some(place), Some(real)) => cursor.used(place, real),
        _ => cursor.rewind(),
    }
}
