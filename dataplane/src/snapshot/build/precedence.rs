//! The precedence of services, in the two cases where it matters: which service's match rules are tried first, and
//! which of several one-packet services translates replies from a real server's socket that they share.
//! It does not touch services of any other kind: those have no order.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use super::owners::identifies_vip;
use crate::id::{RealId, ServiceId};
use crate::schedule::Candidate;
use crate::snapshot::Snapshot;
use crate::snapshot::owner::SocketKey;
use crate::snapshot::rules::Rules;
use crate::spec::service::{RealSpec, ServiceSpec};
use crate::spec::target::Target;

/// The precedence of services, and the users of sockets that one-packet services may share.
#[derive(Debug)]
pub(super) struct Precedence {
    /// The rank of each service whose order matters. The lowest takes precedence.
    ranks: HashMap<ServiceId, u64, RandomState>,
    next_rank: u64,
    /// Configured services with match rules.
    by_rules: HashSet<ServiceId, RandomState>,
    rules_changed: bool,
    /// For each one-packet service, the sockets of its real servers whose replies it could translate.
    sockets: HashMap<ServiceId, Vec<(SocketKey, RealId)>, RandomState>,
    /// For each such socket, its real servers by the ranks of their services.
    by_rank: HashMap<SocketKey, BTreeMap<u64, RealId>, RandomState>,
    /// Sockets whose entries in `by_rank` have changed since the last snapshot.
    changed: HashSet<SocketKey, RandomState>,
}

impl Precedence {
    pub(super) fn new(hasher: &RandomState) -> Self {
        Self {
            ranks: HashMap::with_hasher(hasher.clone()),
            next_rank: 0,
            by_rules: HashSet::with_hasher(hasher.clone()),
            rules_changed: false,
            sockets: HashMap::with_hasher(hasher.clone()),
            by_rank: HashMap::with_hasher(hasher.clone()),
            changed: HashSet::with_hasher(hasher.clone()),
        }
    }

    fn rank(&self, id: ServiceId) -> u64 {
        self.ranks.get(&id).copied().unwrap_or(u64::MAX)
    }

    /// Removes the service's sockets. To be called before its rank changes.
    fn leave_sockets(&mut self, id: ServiceId) {
        let rank = self.rank(id);
        for (socket, _) in self.sockets.remove(&id).into_iter().flatten() {
            if let Some(reals) = self.by_rank.get_mut(&socket) {
                reals.remove(&rank);
                if reals.is_empty() {
                    self.by_rank.remove(&socket);
                }
            }
            self.changed.insert(socket);
        }
    }

    fn join_sockets(&mut self, id: ServiceId, sockets: Vec<(SocketKey, RealId)>) {
        let rank = self.rank(id);
        for (socket, real) in &sockets {
            self.by_rank.entry(*socket).or_default().insert(rank, *real);
            self.changed.insert(*socket);
        }
        self.sockets.insert(id, sockets);
    }

    /// Adds or updates a service with this slot and these real servers. To be called before the slot is filled: the old
    /// contents tell whether its rules have changed.
    pub(super) fn note(
        &mut self,
        next: &Snapshot,
        id: ServiceId,
        spec: &ServiceSpec,
        candidates: &[Candidate],
    ) {
        if !self.sockets.is_empty() {
            self.leave_sockets(id);
        }
        if !spec.is_ordered() {
            if !self.ranks.is_empty() {
                self.ranks.remove(&id);
            }
            return;
        }
        if !self.ranks.contains_key(&id) {
            self.ranks.insert(id, self.next_rank);
            self.next_rank += 1;
        }
        match &spec.target {
            Target::Match { rules, .. } => {
                let same = |target: &Target| matches!(target, Target::Match { rules: old, .. } if old == rules);
                let known = next
                    .service(id)
                    .is_some_and(|old| old.configured && same(&old.target));
                self.rules_changed |= self.by_rules.insert(id) || !known;
            }
            Target::Vip(vip) if spec.policy.answers_one_packet => {
                let tells = |(real, _): &(&RealSpec, &Candidate)| {
                    real.forward.replies_name_client() && identifies_vip(vip, real)
                };
                let reals = spec.reals.iter().zip(candidates).filter(tells);
                let socket = |real: &RealSpec| (vip.protocol, real.address, real.port);
                let sockets = reals.map(|(real, candidate)| (socket(real), candidate.real));
                self.join_sockets(id, sockets.collect());
            }
            Target::Vip(_) => {}
        }
    }

    /// Removes a service that is no longer configured.
    pub(super) fn forget(&mut self, id: ServiceId) {
        if self.ranks.is_empty() {
            return;
        }
        self.leave_sockets(id);
        self.ranks.remove(&id);
        self.rules_changed |= self.by_rules.remove(&id);
    }

    /// Writes what depends on the precedence into the snapshot. `order` is the new order of services, if it has
    /// changed.
    pub(super) fn arrange(&mut self, next: &mut Snapshot, order: Option<&[ServiceId]>) {
        if let Some(order) = order {
            self.reorder(order);
        }
        if std::mem::take(&mut self.rules_changed) {
            let mut services: Vec<ServiceId> = self.by_rules.iter().copied().collect();
            services.sort_unstable_by_key(|id| self.rank(*id));
            let mut rules = Rules::default();
            for id in services {
                if let Some(Target::Match { mark, rules: own }) =
                    next.service(id).map(|service| &service.target)
                {
                    rules.add(*mark, own, id);
                }
            }
            next.lookup.rules = Arc::new(rules);
        }
        for socket in self.changed.drain() {
            let reals = self.by_rank.get(&socket);
            match reals.and_then(|reals| reals.values().next()) {
                Some(first) => {
                    if next.one_packet_sockets.get(&socket) != Some(first) {
                        next.one_packet_sockets.insert(socket, *first);
                    }
                }
                None => {
                    next.one_packet_sockets.remove(&socket);
                }
            }
        }
    }

    /// Sets the order of services. Those that `order` lacks follow behind, in their present order.
    fn reorder(&mut self, order: &[ServiceId]) {
        let mut others: Vec<ServiceId> = self.ranks.keys().copied().collect();
        others.sort_unstable_by_key(|id| self.rank(*id));
        let mut ranks = HashMap::with_hasher(self.ranks.hasher().clone());
        self.next_rank = 0;
        for id in order.iter().copied().chain(others) {
            if self.ranks.contains_key(&id) && !ranks.contains_key(&id) {
                ranks.insert(id, self.next_rank);
                self.next_rank += 1;
            }
        }
        self.ranks = ranks;
        self.rules_changed |= !self.by_rules.is_empty();
        self.by_rank.clear();
        let sockets: Vec<_> = self.sockets.drain().collect();
        for (id, sockets) in sockets {
            self.join_sockets(id, sockets);
        }
    }
}
