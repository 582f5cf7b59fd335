//! A service's list of real servers: its scheduler, each real server's place, and where round robin continues after
//! removals, over several changes.
//! Slots are assigned elsewhere.

use crate::id::RealId;
use crate::schedule::{Candidate, Removal, Scheduler, Server};
use crate::snapshot::Snapshot;
use crate::snapshot::model::RealServer;
use crate::spec::service::ServiceSpec;

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

/// Stores each real server's place in the list, or `None` if the scheduler does not need it.
pub(super) fn note_places(next: &mut Snapshot, candidates: &[Candidate], asked: bool) {
    for (place, candidate) in (0..).zip(candidates) {
        let ranking_place = asked.then_some(place);
        let differs = |real: &RealServer| real.ranking_place != ranking_place;
        if next.real(candidate.real).is_some_and(differs)
            && let Some(real) = next.reals.get_mut(candidate.real.0)
        {
            real.ranking_place = ranking_place;
        }
    }
}

/// The candidates of `old` that are not in `new`, each with the nearest one before it that is.
pub(super) fn dropped_candidates(
    old: &[Candidate],
    new: &[Candidate],
    revision: u32,
) -> Vec<Removal> {
    let kept = Among::new(new.iter().map(|candidate| candidate.real));
    let mut stand_in = None;
    let mut dropped = Vec::new();
    for candidate in old {
        if kept.has(candidate.real) {
            stand_in = Some(candidate.real);
        } else {
            dropped.push(Removal {
                real: candidate.real,
                stand_in,
                revision,
            });
        }
    }
    dropped
}

/// Real servers that are no longer candidates but may have sessions: those of `old` that were not added again, and the
/// `dropped` ones.
pub(super) fn former_reals(
    old: &[RealId],
    dropped: &[Removal],
    candidates: &[Candidate],
) -> Vec<RealId> {
    if old.is_empty() && dropped.is_empty() {
        return Vec::new();
    }
    let back = Among::new(candidates.iter().map(|candidate| candidate.real));
    let former = old.iter().copied();
    let former = former.chain(dropped.iter().map(|one| one.real));
    former.filter(|real| !back.has(*real)).collect()
}

/// The removals of earlier changes, which a worker may not have applied yet. If the stand-in of a removed real server
/// is now dropped too, its own stand-in replaces it. A removal is forgotten if its real server is neither a candidate
/// nor among `former`, since its slot was freed.
pub(super) fn carried_removals(
    earlier: &[Removal],
    dropped: &[Removal],
    former: &[RealId],
    candidates: &[Candidate],
) -> Vec<Removal> {
    if earlier.is_empty() {
        return Vec::new();
    }
    let now_dropped = Among::new(dropped.iter().map(|one| one.real));
    let listed = candidates.iter().map(|candidate| candidate.real);
    let in_slots = Among::new(former.iter().copied().chain(listed));
    let stand_in_of = |gone: RealId| {
        let place = now_dropped.place(gone)?;
        dropped.get(place).map(|one| one.stand_in)
    };
    earlier
        .iter()
        .filter(|one| !now_dropped.has(one.real) && in_slots.has(one.real))
        .map(|one| match one.stand_in.and_then(stand_in_of) {
            Some(stand_in) => Removal { stand_in, ..*one },
            None => *one,
        })
        .collect()
}

/// The places of some real servers in a list, found without a search through it.
#[derive(Debug)]
struct Among(Vec<(RealId, usize)>);

impl Among {
    fn new(list: impl Iterator<Item = RealId>) -> Self {
        let mut sorted: Vec<_> = list.zip(0..).collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    fn place(&self, wanted: RealId) -> Option<usize> {
        let at = self.0.binary_search_by_key(&wanted, |(real, _)| *real);
        at.ok()
            .and_then(|at| self.0.get(at))
            .map(|(_, place)| *place)
    }

    fn has(&self, wanted: RealId) -> bool {
        self.place(wanted).is_some()
    }
}
