//! Slots that sessions no longer refer to are given back. Bounded, so that a change of one service does
//! not pay for a million that were removed before it. Only called once all workers use the newest snapshot.

use hashbrown::{HashMap, HashSet};

use super::{Builder, shared};
use crate::id::{RealId, ServiceId};
use crate::snapshot::Snapshot;

/// Slots that are looked at for each snapshot, besides as many as it may need.
const STEP: usize = 1024;

impl Builder {
    /// Gives back slots of removed real servers without sessions, then those of removed services
    /// without real servers. `wanted` is how many services the next snapshot may add.
    pub(super) fn reclaim(&mut self, next: &mut Snapshot, wanted: usize) {
        let most = STEP.saturating_add(2 * wanted);
        let hasher = self.marks.hasher().clone();
        let mut quiet: HashMap<ServiceId, Vec<RealId>, _> = HashMap::with_hasher(hasher);
        for id in self.removed_reals.take(most) {
            match next.real(id).filter(|_| next.live_sessions(id) == 0) {
                Some(real) => quiet.entry(real.service).or_default().push(id),
                None => self.removed_reals.insert(id),
            }
        }
        for (service, reals) in quiet {
            self.give_back(next, service, reals);
        }
        for id in self.removed_services.take(most) {
            let empty = next
                .service(id)
                .filter(|service| service.former.is_empty())
                .map(|service| service.target.clone());
            let Some(target) = empty else {
                self.removed_services.insert(id);
                continue;
            };
            if let Some(mark) = target.mark() {
                self.marks.remove(&mark);
            }
            next.lookup.remove(&target);
            self.free_services.push(id);
        }
    }

    /// Gives back slots of one service together: each by itself would be searched for in its list.
    fn give_back(&mut self, next: &mut Snapshot, service: ServiceId, reals: Vec<RealId>) {
        let Some(owner) = next.services.get_mut(service.0) else {
            return;
        };
        let protocols = owner.target.protocols().to_vec();
        let mut past = owner.past;
        let mut gone = HashSet::with_hasher(self.marks.hasher().clone());
        gone.extend(reals.iter().copied());
        let left = owner.former.iter().copied();
        owner.former = shared(left.filter(|id| !gone.contains(id)).collect());
        for id in reals {
            past.add(&next.real_totals(id));
            let Some(real) = next.real(id) else { continue };
            let (address, port) = (real.spec.address, real.spec.port);
            let (by_nat, end) = (real.replies_come_back, real.errors_come_back);
            if by_nat {
                for protocol in &protocols {
                    next.nat_sockets
                        .release(&(*protocol, address, port), service);
                }
                next.nat_reals.release_key(&address);
            }
            if let Some(end) = end {
                next.tunnel_ends.release_key(&(address, end));
            }
            self.free_reals.push(id);
        }
        if let Some(owner) = next.services.get_mut(service.0) {
            owner.past = past;
        }
    }
}
