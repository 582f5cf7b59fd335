//! From a [`Spec`] to the next [`Snapshot`]: gives out slots, keeps them while sessions refer to
//! them, and copies only what changed. Runs on the control thread; nothing here sees a packet.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use super::Snapshot;
use super::chunked::{Chunked, Sharded};
use super::id::{PortId, RealId, ServiceId};
use super::lookup::Lookup;
use super::model::{Egress, ForwardMethod, RealServer, Totals, VirtualService, WorkerTable};
use super::owner::{NatSockets, Owner};
use super::policy::OnDown;
use super::route::Routes;
use super::rules::Rules;
use super::spec::{RealSpec, RouteSpec, ServiceSpec, Spec};
use super::target::{Identity, Target};
use crate::schedule::ramp::Ramp;
use crate::schedule::threshold::Overload;
use crate::schedule::{Candidate, Cursor, Scheduler};
use crate::session::Timeouts;
use crate::time::Time;
use order::{carried_removals, dropped_candidates, note_places, scheduler};
use owners::{map_of_sockets, own};

mod order;
mod owners;

/// What makes a real server the same one across reloads.
type RealKey = (ServiceId, IpAddr, u16);

/// Makes each snapshot from the one before it.
#[derive(Debug)]
pub struct Builder {
    last: Arc<Snapshot>,
    routes: Vec<RouteSpec>,
    service_ids: HashMap<Identity, ServiceId, RandomState>,
    real_ids: HashMap<RealKey, RealId, RandomState>,
    /// Slots that nothing refers to.
    free_services: Vec<ServiceId>,
    free_reals: Vec<RealId>,
    /// Slots that are no longer configured but may have sessions.
    removed_services: HashSet<ServiceId, RandomState>,
    removed_reals: HashSet<RealId, RandomState>,
    next_revision: u32,
}

impl Builder {
    /// Begins with an empty snapshot for `workers` workers. `hasher` keys every table that packets
    /// are looked up in.
    #[must_use]
    pub fn new(workers: usize, hasher: &RandomState) -> Self {
        let map = || HashMap::with_hasher(hasher.clone());
        let empty = Snapshot {
            generation: 0,
            ports: Arc::from([]),
            routes: Arc::new(Routes::default()),
            locals: Arc::new(map()),
            neighbours: Arc::new(HashMap::with_hasher(hasher.clone())),
            forwarding: false,
            refuses_replies: false,
            flush: 0,
            services: Chunked::default(),
            reals: Chunked::default(),
            overloads: Chunked::default(),
            workers: (0..workers).map(|_| WorkerTable::default()).collect(),
            lookup: Lookup::new(hasher),
            has_networks: false,
            nat_sockets: NatSockets::new(hasher.clone()),
            one_packet_sockets: Arc::new(map_of_sockets(hasher)),
            nat_reals: Sharded::new(hasher.clone()),
            tunnel_ends: Sharded::new(hasher.clone()),
        };
        Self {
            last: Arc::new(empty),
            routes: Vec::new(),
            service_ids: HashMap::with_hasher(hasher.clone()),
            real_ids: HashMap::with_hasher(hasher.clone()),
            free_services: Vec::new(),
            free_reals: Vec::new(),
            removed_services: HashSet::with_hasher(hasher.clone()),
            removed_reals: HashSet::with_hasher(hasher.clone()),
            next_revision: 1,
        }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn current(&self) -> &Arc<Snapshot> {
        &self.last
    }

    /// The snapshot in which `spec` is in force. `settled` says that every worker uses the newest
    /// snapshot, so that slots without sessions may be given back.
    pub fn build(&mut self, spec: &Spec, settled: bool) -> Arc<Snapshot> {
        let mut next = Snapshot::clone(&self.last);
        next.generation += 1;
        if settled {
            self.reclaim(&mut next);
        }
        let moved = self.rebuild_network(&mut next, spec);
        if moved {
            self.reroute_removed(&mut next);
        }
        let mut wanted_services = HashSet::with_hasher(self.service_ids.hasher().clone());
        let mut rules = Rules::default();
        for service in &spec.services {
            let timeouts = service.timeouts.unwrap_or(spec.timeouts);
            let id = self.configure_service(&mut next, (service, timeouts), moved, spec.now);
            wanted_services.insert(id);
            if let Target::Match { mark, rules: own } = &service.target {
                rules.add(*mark, own, id);
            }
        }
        next.lookup.rules = Arc::new(rules);
        let gone: Vec<ServiceId> = next
            .configured_services()
            .map(|service| service.id)
            .filter(|id| !wanted_services.contains(id))
            .collect();
        for id in gone {
            self.remove_service(&mut next, id);
        }
        next.one_packet_sockets = self.one_packet_sockets(spec);
        self.last = Arc::new(next);
        Arc::clone(&self.last)
    }

    /// Ports, routes and neighbours. Says whether the ways to real servers may have changed.
    fn rebuild_network(&mut self, next: &mut Snapshot, spec: &Spec) -> bool {
        next.forwarding = spec.forwarding;
        next.refuses_replies = spec.refuses_replies;
        let mut neighbours = HashMap::with_hasher(next.neighbours.hasher().clone());
        neighbours.extend(spec.neighbours.iter().copied());
        next.neighbours = Arc::new(neighbours);
        if *next.ports == *spec.ports && self.routes == spec.routes {
            return false;
        }
        next.ports = spec.ports.clone().into();
        next.routes = Arc::new(Routes::new(&spec.ports, &spec.routes));
        let mut locals = HashMap::with_hasher(next.locals.hasher().clone());
        for (index, port) in (0_u16..).zip(&spec.ports) {
            locals.extend(port.addresses.iter().map(|net| (net.addr(), PortId(index))));
        }
        next.locals = Arc::new(locals);
        self.routes.clone_from(&spec.routes);
        true
    }

    /// Sessions of removed real servers follow the routes too.
    fn reroute_removed(&self, next: &mut Snapshot) {
        for id in &self.removed_reals {
            let egress = next
                .real(*id)
                .and_then(|real| way(next, real.address, real.tunnel_source));
            if let Some(real) = next.reals.get_mut(id.0) {
                real.egress = egress;
            }
        }
    }

    fn configure_service(
        &mut self,
        next: &mut Snapshot,
        (spec, timeouts): (&ServiceSpec, Timeouts),
        moved: bool,
        now: Time,
    ) -> ServiceId {
        let key = spec.target.identity();
        let id = match self.service_ids.get(&key) {
            Some(id) => *id,
            None => self.add_service(next, spec, key),
        };
        let revived = self.removed_services.remove(&id);
        if revived {
            next.lookup.occupy(&spec.target);
            // Its scheduler begins anew, as IPVS's does.
            let born = self.next_revision;
            if let Some(service) = next.services.get_mut(id.0) {
                service.born = born;
                service.scheduled = born;
            }
        }
        let (owner, strays) = own(next, id, spec);
        let parent = Parent {
            service: spec,
            timeouts,
            owner,
        };
        // Those that a service begins with share what there is from the start.
        let since = next.service(id).filter(|one| one.configured).map(|_| now);
        let candidates: Vec<Candidate> = spec
            .reals
            .iter()
            .map(|real| {
                let id = self.configure_real(next, id, parent, real, moved, since);
                Candidate {
                    real: id,
                    weight: real.weight,
                    limits: real.limits,
                    since: next.real(id).and_then(|real| real.since),
                }
            })
            .collect();
        let former = next.service(id).map(|old| Arc::clone(&old.former));
        for real in former.iter().flat_map(|former| former.iter()) {
            // Sessions live on there.
            if next
                .real(*real)
                .is_some_and(|real| real.timeouts != timeouts)
                && let Some(real) = next.reals.get_mut(real.0)
            {
                real.timeouts = timeouts;
            }
        }
        let ramp = Ramp::new(spec.slow_start_ms, &candidates);
        let Some(old) = next.service(id) else {
            return id;
        };
        if old.configured
            && old.name == spec.name
            && old.target == spec.target
            && old.owner == owner
            && old.mss_clamp == spec.mss_clamp
            && old.persistence == spec.persistence
            && old.one_packet == spec.one_packet
            && old.policy == spec.policy
            && old.scheduler.kind() == spec.scheduler
            && old.ramp == ramp
            && *old.candidates == *candidates
        {
            return id;
        }
        // A new name, owner, rule or policy leaves the schedulers of the workers where they are.
        let reschedules = !old.configured
            || old.scheduler.kind() != spec.scheduler
            || old.ramp != ramp
            || *old.candidates != *candidates;
        // A scheduler's tables take time, so they are filled for what has changed only.
        let scheduler = reschedules.then(|| scheduler(next, spec, &candidates));
        let (revision, hasher) = (self.next_revision, self.real_ids.hasher());
        let dropped = dropped_candidates(&old.candidates, &candidates, revision, hasher);
        let begins = old.scheduler.kind() != spec.scheduler;
        let former: Vec<RealId> = old
            .former
            .iter()
            .copied()
            .chain(dropped.iter().map(|one| one.real))
            .filter(|real| !candidates.iter().any(|candidate| candidate.real == *real))
            .collect();
        let carried = carried_removals(&old.removed, &dropped, &former, &candidates);
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
            note_places(next, &candidates, scheduler.takes_notice());
        }
        let revision = reschedules.then(|| self.take_revision());
        if let Some(service) = next.services.get_mut(id.0) {
            service.name = Arc::clone(&spec.name);
            service.target = spec.target.clone();
            service.configured = true;
            service.owner = owner;
            service.mss_clamp = spec.mss_clamp;
            service.strays |= strays;
            service.persistence = spec.persistence;
            service.one_packet = spec.one_packet;
            service.policy = spec.policy;
            service.former = former.into();
            if let (Some(revision), Some(scheduler)) = (revision, scheduler) {
                service.scheduler = scheduler;
                service.candidates = candidates.into();
                service.ramp = ramp;
                service.revision = revision;
                if begins {
                    service.scheduled = revision;
                }
                service.removed = [dropped, carried].concat().into();
            }
        }
        id
    }

    fn add_service(&mut self, next: &mut Snapshot, spec: &ServiceSpec, key: Identity) -> ServiceId {
        let id = self
            .free_services
            .pop()
            .unwrap_or_else(|| ServiceId(slot(next.services.len())));
        let service = VirtualService {
            id,
            name: Arc::clone(&spec.name),
            target: spec.target.clone(),
            mss_clamp: None,
            configured: false,
            owner: Owner::Receiver,
            strays: false,
            persistence: spec.persistence,
            one_packet: spec.one_packet,
            policy: spec.policy,
            scheduler: Scheduler::new(spec.scheduler, &[], 0),
            candidates: Arc::from([]),
            ramp: Ramp::default(),
            revision: 0,
            born: self.next_revision,
            scheduled: self.next_revision,
            removed: Arc::from([]),
            former: Arc::from([]),
            past: Totals::default(),
        };
        next.services.grow(id.0 as usize + 1, || VirtualService {
            id: ServiceId(u32::MAX),
            ..service.clone()
        });
        for worker in &mut next.workers {
            worker.cursors.grow(id.0 as usize + 1, Cursor::default);
        }
        if let Some(place) = next.services.get_mut(id.0) {
            *place = service;
        }
        next.lookup.add(&spec.target, id);
        next.lookup.occupy(&spec.target);
        self.service_ids.insert(key, id);
        id
    }

    fn configure_real(
        &mut self,
        next: &mut Snapshot,
        service: ServiceId,
        parent: Parent<'_>,
        spec: &RealSpec,
        moved: bool,
        since: Option<Time>,
    ) -> RealId {
        let key = (service, spec.address, spec.port);
        let id = match self.real_ids.get(&key) {
            Some(id) => *id,
            None => self.add_real(next, key, parent, spec),
        };
        self.removed_reals.remove(&id);
        let Some(old) = next.real(id) else { return id };
        let comes = !old.configured || old.weight == 0 && spec.weight > 0;
        let reaches_by_nat = spec.forward == ForwardMethod::Nat && !old.replies_come_back;
        let changed = !old.configured
            || old.weight != spec.weight
            || old.limits != spec.limits
            || old.forward != spec.forward
            || old.tunnel != spec.tunnel
            || old.tunnel_source != spec.tunnel_source
            || old.policy != parent.service.policy
            || old.timeouts != parent.timeouts
            || moved;
        let former_end = old.errors_come_back;
        if changed {
            let egress = way(next, spec.address, spec.tunnel_source);
            if let Some(real) = next.reals.get_mut(id.0) {
                real.weight = spec.weight;
                if comes {
                    real.since = since;
                }
                if spec.weight > 0 {
                    real.last_weight = spec.weight;
                }
                real.limits = spec.limits;
                real.forward = spec.forward;
                real.tunnel = spec.tunnel;
                real.tunnel_source = spec.tunnel_source;
                real.policy = parent.service.policy;
                real.timeouts = parent.timeouts;
                real.configured = true;
                real.egress = egress;
                real.replies_come_back |= reaches_by_nat;
            }
            if reaches_by_nat {
                for protocol in parent.service.target.protocols() {
                    next.nat_sockets
                        .retain((*protocol, spec.address, spec.port), parent.owner);
                }
                next.nat_reals.retain_key(spec.address);
            }
            let end = spec.tunnel.end();
            if spec.forward == ForwardMethod::Tunnel && former_end != Some(end) {
                if let Some(former) = former_end {
                    next.tunnel_ends.release_key(&(spec.address, former));
                }
                next.tunnel_ends.retain_key((spec.address, end));
                if let Some(real) = next.reals.get_mut(id.0) {
                    real.errors_come_back = Some(end);
                }
            }
        }
        id
    }

    fn add_real(
        &mut self,
        next: &mut Snapshot,
        key: RealKey,
        parent: Parent<'_>,
        spec: &RealSpec,
    ) -> RealId {
        let id = self
            .free_reals
            .pop()
            .unwrap_or_else(|| RealId(slot(next.reals.len())));
        let real = RealServer {
            id,
            service: key.0,
            address: spec.address,
            port: spec.port,
            weight: spec.weight,
            last_weight: 0,
            since: None,
            noticed: None,
            limits: spec.limits,
            forward: spec.forward,
            tunnel: spec.tunnel,
            tunnel_source: spec.tunnel_source,
            errors_come_back: None,
            policy: parent.service.policy,
            timeouts: parent.timeouts,
            configured: false,
            replies_come_back: false,
            egress: None,
            baseline: next.slot_totals(id),
        };
        next.reals.grow(id.0 as usize + 1, || RealServer {
            id: RealId(u32::MAX),
            ..real.clone()
        });
        for worker in &mut next.workers {
            worker.reals.grow(id.0 as usize + 1, Default::default);
        }
        next.overloads.grow(id.0 as usize + 1, Overload::default);
        if let Some(overload) = next.overloads.get(id.0) {
            overload.clear();
        }
        if let Some(place) = next.reals.get_mut(id.0) {
            *place = real;
        }
        self.real_ids.insert(key, id);
        id
    }

    fn remove_service(&mut self, next: &mut Snapshot, id: ServiceId) {
        let Some(service) = next.service(id) else {
            return;
        };
        let target = service.target.clone();
        let candidates = Arc::clone(&service.candidates);
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
            service.candidates = Arc::from([]);
            service.former = former.into();
            service.removed = Arc::from([]);
            service.revision = revision;
        }
        next.lookup.leave(&target);
        self.removed_services.insert(id);
    }

    fn remove_real(&mut self, next: &mut Snapshot, id: RealId) {
        if let Some(real) = next.reals.get_mut(id.0) {
            real.configured = false;
            real.noticed = None;
            if real.policy.on_down == OnDown::Reset {
                next.flush = next.generation;
            }
            self.removed_reals.insert(id);
        }
    }

    /// Gives back the slots of removed real servers without sessions, then those of removed
    /// services without real servers.
    fn reclaim(&mut self, next: &mut Snapshot) {
        let quiet: Vec<RealId> = self
            .removed_reals
            .iter()
            .copied()
            .filter(|id| next.live_sessions(*id) == 0)
            .collect();
        for id in quiet {
            self.removed_reals.remove(&id);
            self.free_reals.push(id);
            let totals = next.real_totals(id);
            let Some(real) = next.real(id).cloned() else {
                continue;
            };
            self.real_ids
                .remove(&(real.service, real.address, real.port));
            if let Some(service) = next.services.get_mut(real.service.0) {
                if real.replies_come_back {
                    for protocol in service.target.protocols() {
                        let socket = (*protocol, real.address, real.port);
                        next.nat_sockets.release(&socket);
                    }
                    next.nat_reals.release_key(&real.address);
                }
                if let Some(end) = real.errors_come_back {
                    next.tunnel_ends.release_key(&(real.address, end));
                }
                service.past.add(&totals);
                service.former = service
                    .former
                    .iter()
                    .copied()
                    .filter(|former| *former != id)
                    .collect();
            }
        }
        let empty: Vec<ServiceId> = self
            .removed_services
            .iter()
            .copied()
            .filter(|id| {
                next.service(*id)
                    .is_some_and(|service| service.former.is_empty())
            })
            .collect();
        for id in empty {
            self.removed_services.remove(&id);
            self.free_services.push(id);
            if let Some(target) = next.service(id).map(|service| service.target.clone()) {
                self.service_ids.remove(&target.identity());
                next.lookup.remove(&target);
            }
        }
    }

    fn take_revision(&mut self) -> u32 {
        let revision = self.next_revision;
        self.next_revision += 1;
        revision
    }
}

/// The way to a real server; none to one that is this machine itself.
fn way(next: &Snapshot, real: IpAddr, source: Option<IpAddr>) -> Option<Egress> {
    let egress = next.routes.egress(real)?;
    (!next.locals.contains_key(&real)).then_some(Egress {
        source: source.or(egress.source),
        ..egress
    })
}

/// What a real server has from its service.
#[derive(Debug, Clone, Copy)]
struct Parent<'a> {
    service: &'a ServiceSpec,
    timeouts: Timeouts,
    owner: Owner,
}

/// A slot number; four billion real servers do not fit into any machine this runs on.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by memory, see above"
)]
fn slot(index: usize) -> u32 {
    index as u32
}

#[cfg(test)]
mod tests;
