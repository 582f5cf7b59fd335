//! Where the order of services decides: rules, and which of several one-packet services answers for a
//! socket that their real servers share. Everywhere else services have no order.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};

use super::Builder;
use super::owners::{is_nat, tells_vip};
use crate::schedule::Candidate;
use crate::snapshot::id::{RealId, ServiceId};
use crate::snapshot::rules::Rules;
use crate::snapshot::spec::{RealSpec, ServiceSpec};
use crate::snapshot::target::{Identity, Target};
use crate::snapshot::{Snapshot, SocketKey};

/// The order of services, where it matters, and who would answer for which socket.
#[derive(Debug)]
pub(super) struct Answers {
    /// Who comes first has the lower number.
    ranks: HashMap<ServiceId, u64, RandomState>,
    next_rank: u64,
    /// Configured services by rules.
    by_rules: HashSet<ServiceId, RandomState>,
    rules_changed: bool,
    /// Of one-packet services, the sockets that they would answer for, with their real servers there.
    sockets: HashMap<ServiceId, Vec<(SocketKey, RealId)>, RandomState>,
    /// The real servers on such a socket by the ranks of their services.
    by_rank: HashMap<SocketKey, BTreeMap<u64, RealId>, RandomState>,
    /// Sockets whose real servers have changed since the last snapshot.
    changed: HashSet<SocketKey, RandomState>,
}

impl Answers {
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

    /// To be called while the service still has the rank with which it came.
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
}

impl Builder {
    /// Takes note of what a service with this slot and these real servers has to do with order.
    /// To be called before its slot is filled.
    pub(super) fn note_order(
        &mut self,
        next: &Snapshot,
        id: ServiceId,
        spec: &ServiceSpec,
        candidates: &[Candidate],
    ) {
        let answers = &mut self.answers;
        if !answers.sockets.is_empty() {
            answers.leave_sockets(id);
        }
        if !spec.is_ordered() {
            if !answers.ranks.is_empty() {
                answers.ranks.remove(&id);
            }
            return;
        }
        if !answers.ranks.contains_key(&id) {
            answers.ranks.insert(id, answers.next_rank);
            answers.next_rank += 1;
        }
        match &spec.target {
            Target::Match { rules, .. } => {
                let same = |target: &Target| matches!(target, Target::Match { rules: old, .. } if old == rules);
                let known = next
                    .service(id)
                    .is_some_and(|old| old.configured && same(&old.target));
                answers.rules_changed |= answers.by_rules.insert(id) || !known;
            }
            Target::Vip(vip) if spec.policy.answers_one_packet => {
                let tells =
                    |(real, _): &(&RealSpec, &Candidate)| is_nat(real) && tells_vip(vip, real);
                let reals = spec.reals.iter().zip(candidates).filter(tells);
                let socket = |real: &RealSpec| (vip.protocol, real.address, real.port);
                let sockets = reals.map(|(real, candidate)| (socket(real), candidate.real));
                answers.join_sockets(id, sockets.collect());
            }
            Target::Vip(_) => {}
        }
    }

    /// The service is no longer configured.
    pub(super) fn forget_order(&mut self, id: ServiceId) {
        let answers = &mut self.answers;
        if answers.ranks.is_empty() {
            return;
        }
        answers.leave_sockets(id);
        answers.ranks.remove(&id);
        answers.rules_changed |= answers.by_rules.remove(&id);
    }

    /// Puts into the snapshot what follows from the order of services: `order`, if it is given.
    pub(super) fn arrange(&mut self, next: &mut Snapshot, order: Option<&[Identity]>) {
        if let Some(order) = order {
            self.rank(next, order);
        }
        let answers = &mut self.answers;
        if std::mem::take(&mut answers.rules_changed) {
            let mut services: Vec<ServiceId> = answers.by_rules.iter().copied().collect();
            services.sort_unstable_by_key(|id| answers.rank(*id));
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
        for socket in answers.changed.drain() {
            let reals = answers.by_rank.get(&socket);
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

    /// The services come in this order from now on, and any others behind them.
    fn rank(&mut self, next: &Snapshot, order: &[Identity]) {
        let listed = order.iter().filter_map(|one| self.slot_of(next, one));
        let listed: Vec<ServiceId> = listed.collect();
        let answers = &mut self.answers;
        let mut others: Vec<ServiceId> = answers.ranks.keys().copied().collect();
        others.sort_unstable_by_key(|id| answers.rank(*id));
        let mut ranks = HashMap::with_hasher(answers.ranks.hasher().clone());
        answers.next_rank = 0;
        for id in listed.into_iter().chain(others) {
            if answers.ranks.contains_key(&id) && !ranks.contains_key(&id) {
                ranks.insert(id, answers.next_rank);
                answers.next_rank += 1;
            }
        }
        answers.ranks = ranks;
        answers.rules_changed |= !answers.by_rules.is_empty();
        answers.by_rank.clear();
        let sockets: Vec<_> = answers.sockets.drain().collect();
        for (id, sockets) in sockets {
            answers.join_sockets(id, sockets);
        }
    }
}
