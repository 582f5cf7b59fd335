//! Where the pointers of round robin go when real servers are removed, over several changes.
//! Nothing is changed here.

use ahash::RandomState;
use hashbrown::HashSet;

use super::super::id::RealId;
use crate::schedule::Candidate;

/// The candidates of `old` that `new` lacks, each with the nearest one before it that stays.
pub(super) fn dropped_candidates(
    old: &[Candidate],
    new: &[Candidate],
    hasher: &RandomState,
) -> Vec<(RealId, Option<RealId>)> {
    let mut kept = HashSet::with_hasher(hasher.clone());
    kept.extend(new.iter().map(|candidate| candidate.real));
    let mut heir = None;
    let mut dropped = Vec::new();
    for candidate in old {
        if kept.contains(&candidate.real) {
            heir = Some(candidate.real);
        } else {
            dropped.push((candidate.real, heir));
        }
    }
    dropped
}

/// The removals of earlier changes, which a worker may not have seen yet: where the real server
/// that stood in for one is now dropped too, its own stand-in takes over.
pub(super) fn carried_removals(
    earlier: &[(RealId, Option<RealId>)],
    dropped: &[(RealId, Option<RealId>)],
    former: &[RealId],
) -> Vec<(RealId, Option<RealId>)> {
    let now_dropped = |wanted: RealId| dropped.iter().find(|(real, _)| *real == wanted);
    earlier
        .iter()
        .filter(|(real, _)| now_dropped(*real).is_none() && former.contains(real))
        .map(|(real, heir)| match heir.and_then(now_dropped) {
            Some((_, next_heir)) => (*real, *next_heir),
            None => (*real, *heir),
        })
        .collect()
}
