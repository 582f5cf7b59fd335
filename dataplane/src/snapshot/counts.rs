//! What workers count of real servers and services, summed over all of them: for who asks, never for a packet.
//! Nothing is counted here.

use super::Snapshot;
use super::model::{Totals, VirtualService};
use crate::id::RealId;

impl Snapshot {
    /// Sessions that refer to a real server, over all workers.
    #[must_use]
    pub fn live_sessions(&self, id: RealId) -> u64 {
        self.workers
            .iter()
            .filter_map(|worker| worker.reals.get(id.0))
            .map(|counters| u64::from(counters.entries.value()))
            .sum()
    }

    /// What all workers counted for a real server since it was configured.
    #[must_use]
    pub fn real_totals(&self, id: RealId) -> Totals {
        let baseline = self.real(id).map(|real| real.baseline).unwrap_or_default();
        self.slot_totals(id).since(&baseline)
    }

    /// What all workers counted for a service's real servers, former ones included.
    #[must_use]
    pub fn service_totals(&self, service: &VirtualService) -> Totals {
        let mut totals = service.past;
        for id in service
            .scheduling
            .candidates
            .iter()
            .map(|one| one.real)
            .chain(service.former.iter().copied())
        {
            totals.add(&self.real_totals(id));
        }
        totals
    }

    pub(super) fn slot_totals(&self, id: RealId) -> Totals {
        let mut totals = Totals::default();
        for counters in self
            .workers
            .iter()
            .filter_map(|worker| worker.reals.get(id.0))
        {
            totals.add_counters(counters);
        }
        totals
    }
}
