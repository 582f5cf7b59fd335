//! A service's slot: assigned, filled, changed and vacated. Its real servers' slots are in `reals.rs`.
//! Which service has precedence is decided in `precedence.rs`.

use std::sync::Arc;

use super::order::{carried_removals, dropped_candidates, former_reals, note_places, scheduler};
use super::owners::own;
use super::reals::{Parent, Present};
use super::{Builder, shared, slot};
use crate::id::{RealId, ServiceId};
use crate::schedule::ramp::Ramp;
use crate::schedule::{Candidate, Cursor, Scheduler, Scheduling};
use crate::snapshot::Snapshot;
use crate::snapshot::model::{Totals, VirtualService};
use crate::snapshot::owner::Owner;
use crate::spec::limits::ServiceLimits;
use crate::spec::policy::{OnDown, Policy};
use crate::spec::service::ServiceSpec;
use crate::spec::target::{Mark, Target};
use crate::time::Time;

impl Builder {
    pub(super) fn configure_service(
        &mut self,
        next: &mut Snapshot,
        spec: &ServiceSpec,
        now: Time,
    ) -> ServiceId {
        let timeouts = spec.timeouts.over(self.timeouts);
        let id = match self.slot_of(next, &spec.target.identity()) {
            Some(id) => id,
            None => self.add_service(next, spec),
        };
        let revived = self.removed_services.remove(id);
        if revived {
            next.lookup.occupy(&spec.target);
            // The scheduler's state is reset, as in IPVS.
            let first_revision = self.next_revision;
            if let Some(service) = next.services.get_mut(id.0) {
                service.scheduling.first_revision = first_revision;
                service.scheduling.scheduled = first_revision;
            }
        }
        let (owner, misplaced) = own(next, id, spec);
        let parent = Parent {
            id,
            service: spec,
            timeouts,
            owner,
            // A new service's first real servers get their full share at once.
            since: next.service(id).filter(|one| one.configured).map(|_| now),
        };
        let present = Present::of(next, id);
        let candidates: Vec<Candidate> = spec
            .reals
            .iter()
            .enumerate()
            .map(|(place, real)| {
                let id = present.find(place, real.address, real.port);
                let id = self.configure_real(next, parent, real, id);
                Candidate {
                    real: id,
                    weight: real.weight,
                    limits: real.limits,
                    since: next.real(id).and_then(|real| real.since),
                    is_available: real.availability.is_available(),
                }
            })
            .collect();
        let former = next.service(id).map(|old| Arc::clone(&old.former));
        for real in former.iter().flat_map(|former| former.iter()) {
            // The slot stays: its sessions still exist.
            if next
                .real(*real)
                .is_some_and(|real| real.timeouts != timeouts)
                && let Some(real) = next.reals.get_mut(real.0)
            {
                real.timeouts = timeouts;
            }
        }
        self.precedence.note(next, id, spec, &candidates);
        let ramp = Ramp::new(spec.slow_start_ms, &candidates);
        let Some(old) = next.service(id) else {
            return id;
        };
        // A new name, owner, rule or policy does not reset the workers' scheduler state, and neither does a real server
        // that comes and goes by its availability: the others keep their turns.
        let same_shares = || {
            let pairs = old.scheduling.candidates.iter().zip(&candidates);
            old.scheduling.candidates.len() == candidates.len()
                && pairs.into_iter().all(|(old, new)| old.has_same_share(new))
        };
        let reschedules = !old.configured
            || old.scheduling.scheduler.kind() != spec.scheduler
            || !old.scheduling.ramp.has_same_duration(ramp)
            || !same_shares();
        let refreshes =
            reschedules || old.scheduling.ramp != ramp || *old.scheduling.candidates != *candidates;
        // Without `..`, so that a new field is not forgotten here.
        let ServiceSpec {
            name,
            target,
            scheduler: _,
            slow_start_ms: _,
            mss_clamp,
            persistence,
            one_packet,
            limits,
            policy,
            on_drain: _,
            timeouts: _,
            reals: _,
        } = spec;
        if !refreshes
            && old.name == *name
            && old.target == *target
            && old.owner == owner
            && old.mss_clamp == *mss_clamp
            && old.persistence == *persistence
            && old.one_packet == *one_packet
            && old.limits == *limits
            && old.policy == *policy
        {
            return id;
        }
        // Computing a scheduler's tables takes long, so it is done only after a change that they depend on.
        let recomputes = reschedules || refreshes && old.scheduling.scheduler.keeps_ranking();
        let scheduler = recomputes.then(|| scheduler(next, spec, &candidates));
        let revision = self.next_revision;
        let dropped = dropped_candidates(&old.scheduling.candidates, &candidates, revision);
        let begins = old.scheduling.scheduler.kind() != spec.scheduler;
        let former = former_reals(&old.former, &dropped, &candidates);
        let carried = carried_removals(&old.scheduling.removed, &dropped, &former, &candidates);
        for real in &former {
            if let Some(real) = next.reals.get_mut(real.0) {
                if real.policy != spec.policy && spec.policy.on_down == OnDown::Reset {
                    next.flush = next.generation;
                }
                real.policy = spec.policy;
                real.timeouts = timeouts;
            }
        }
        for one in &dropped {
            self.remove_real(next, one.real);
        }
        if let Some(scheduler) = &scheduler {
            note_places(next, &candidates, scheduler.keeps_ranking());
        }
        let revision = reschedules.then(|| self.take_revision());
        if let Some(service) = next.services.get_mut(id.0) {
            service.name = Arc::clone(&spec.name);
            service.target = spec.target.clone();
            service.configured = true;
            service.owner = owner;
            service.mss_clamp = spec.mss_clamp;
            service.may_have_misplaced |= misplaced;
            service.persistence = spec.persistence;
            service.one_packet = spec.one_packet;
            service.limits = spec.limits;
            service.policy = spec.policy;
            service.former = shared(former);
            if let Some(scheduler) = scheduler {
                service.scheduling.scheduler = scheduler;
            }
            if refreshes {
                service.scheduling.candidates = shared(candidates);
                service.scheduling.ramp = ramp;
            }
            if let Some(revision) = revision {
                service.scheduling.revision = revision;
                if begins {
                    service.scheduling.scheduled = revision;
                }
                service.scheduling.removed = shared([dropped, carried].concat());
            }
        }
        id
    }

    /// If there are no services yet, reserves memory for the slots of `services`, so that it is not reallocated and copied
    /// several times.
    pub(super) fn make_room(&self, next: &mut Snapshot, services: &[ServiceSpec]) {
        if !next.services.is_empty() {
            return;
        }
        let reals = services.iter().map(|service| service.reals.len()).sum();
        next.services.reserve(services.len(), vacant);
        Self::make_room_for_reals(next, reals);
        for worker in &mut next.workers {
            worker.cursors.reserve(services.len(), Cursor::default);
            worker.services.reserve(services.len(), Default::default);
        }
    }

    fn add_service(&mut self, next: &mut Snapshot, spec: &ServiceSpec) -> ServiceId {
        let id = self
            .free_services
            .pop()
            .unwrap_or_else(|| ServiceId(slot(next.services.len())));
        next.services.grow(id.0 as usize + 1, vacant);
        for worker in &mut next.workers {
            worker.cursors.grow(id.0 as usize + 1, Cursor::default);
            worker.services.grow(id.0 as usize + 1, Default::default);
        }
        if let Some(place) = next.services.get_mut(id.0) {
            *place = VirtualService {
                id,
                name: Arc::clone(&spec.name),
                target: spec.target.clone(),
                scheduling: Scheduling {
                    service: id,
                    scheduler: Scheduler::new(spec.scheduler, &[], 0),
                    first_revision: self.next_revision,
                    scheduled: self.next_revision,
                    ..vacant().scheduling
                },
                ..vacant()
            };
        }
        next.lookup.add(&spec.target, id);
        next.lookup.occupy(&spec.target);
        if let Some(mark) = spec.target.mark() {
            self.marks.insert(mark, id);
        }
        id
    }

    pub(super) fn remove_service(&mut self, next: &mut Snapshot, id: ServiceId) {
        let Some(service) = next.service(id).filter(|service| service.configured) else {
            return;
        };
        let target = service.target.clone();
        let candidates = Arc::clone(&service.scheduling.candidates);
        let former: Vec<RealId> = service
            .former
            .iter()
            .copied()
            .chain(candidates.iter().map(|candidate| candidate.real))
            .collect();
        for candidate in candidates.iter() {
            self.remove_real(next, candidate.real);
        }
        let revision = self.take_revision();
        if let Some(service) = next.services.get_mut(id.0) {
            service.configured = false;
            service.scheduling.candidates = Arc::default();
            service.former = shared(former);
            service.scheduling.removed = Arc::default();
            service.scheduling.revision = revision;
        }
        next.lookup.leave(&target);
        self.precedence.forget(id);
        self.removed_services.insert(id);
    }
}

/// The content of a slot that was never used.
fn vacant() -> VirtualService {
    VirtualService {
        id: ServiceId(u32::MAX),
        name: Arc::default(),
        target: Target::Match {
            mark: Mark {
                number: 0,
                is_v6: false,
            },
            rules: Arc::default(),
        },
        mss_clamp: None,
        configured: false,
        owner: Owner::Receiver,
        may_have_misplaced: false,
        persistence: None,
        one_packet: false,
        limits: ServiceLimits::default(),
        policy: Policy::default(),
        scheduling: Scheduling {
            service: ServiceId(u32::MAX),
            scheduler: Scheduler::Rr,
            candidates: Arc::default(),
            ramp: Ramp::default(),
            removed: Arc::default(),
            revision: 0,
            first_revision: 0,
            scheduled: 0,
        },
        former: Arc::default(),
        past: Totals::default(),
    }
}
