//! A service's real servers as a list: its scheduler, who stands where, and whom the pointers of round
//! robin go to when some are removed, over several changes. It gives out no slots.

use ahash::RandomState;
use hashbrown::HashSet;

use crate::schedule::{Candidate, Scheduler, Server};
use crate::snapshot::Snapshot;
use crate::snapshot::id::RealId;
use crate::snapshot::model::{RealServer, Removal};
use crate::snapshot::spec::ServiceSpec;

/// The scheduler that `spec` asks for.
pub(super) fn scheduler(
    next: &Snapshot,
    spec: &ServiceSpec,
    candidates: &[Candidate],
) -> Scheduler {
    let servers: Vec<Server> = spec
        .reals
        .iter()
        .zip(candidates)
        .map(|(real, candidate)| Server {
            candidate: *candidate,
            address: real.address,
            port: real.port,
            last_weight: next.real(candidate.real).map_or(0, |real| real.last_weight),
        })
        .collect();
    Scheduler::new(spec.scheduler, &servers, next.workers.len())
}

/// Has the real servers know their places in the list, or none if nobody asks for them.
pub(super) fn note_places(next: &mut Snapshot, candidates: &[Candidate], asked: bool) {
    for (place, candidate) in (0..).zip(candidates) {
        let noticed = asked.then_some(place);
        let differs = |real: &RealServer| real.noticed != noticed;
        if next.real(candidate.real).is_some_and(differs)
            && let Some(real) = next.reals.get_mut(candidate.real.0)
        {
            real.noticed = noticed;
        }
    }
}

/// The candidates of `old` that `new` lacks, each with the nearest one before it that stays.
pub(super) fn dropped_candidates(
    old: &[Candidate],
    new: &[Candidate],
    revision: u32,
    hasher: &RandomState,
) -> Vec<Removal> {
    let mut kept = HashSet::with_hasher(hasher.clone());
    kept.extend(new.iter().map(|candidate| candidate.real));
    let mut heir = None;
    let mut dropped = Vec::new();
    for candidate in old {
        if kept.contains(&candidate.real) {
            heir = Some(candidate.real);
        } else {
            dropped.push(Removal {
                real: candidate.real,
                heir,
                revision,
            });
        }
    }
    dropped
}

/// The removals of earlier changes, which a worker may not have seen yet: where the real server
/// that stood in for one is now dropped too, its own stand-in takes over. Whoever is neither in the
/// list nor among the `former` has lost its slot.
pub(super) fn carried_removals(
    earlier: &[Removal],
    dropped: &[Removal],
    former: &[RealId],
    candidates: &[Candidate],
) -> Vec<Removal> {
    let now_dropped = |wanted: RealId| dropped.iter().find(|one| one.real == wanted);
    let has_slot = |wanted: RealId| {
        former.contains(&wanted) || candidates.iter().any(|one| one.real == wanted)
    };
    earlier
        .iter()
        .filter(|one| now_dropped(one.real).is_none() && has_slot(one.real))
        .map(|one| match one.heir.and_then(now_dropped) {
            Some(next) => Removal {
                heir: next.heir,
                ..*one
            },
            None => *one,
        })
        .collect()
}
