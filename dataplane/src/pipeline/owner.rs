//! Which worker a packet belongs on when it has no session here, and how it gets there.
//! What chooses a flow's owner is in the snapshot; the rings are `message.rs`'s.

use super::{Action, Engine, Origin};
use crate::flow::Address;
use crate::io::Pool;
use crate::snapshot::model::VirtualService;
use crate::snapshot::owner::{NatSocket, Owner};
use crate::verdict::DropReason;

impl<P: Pool> Engine<P> {
    /// A client's packet of no session here, to a service whose flows have owners: where it goes, or
    /// `None` if it is here that it begins one.
    pub(super) fn meet<A: Address>(
        &self,
        service: &VirtualService,
        client: (A, u16),
        origin: Origin,
    ) -> Option<Action> {
        let owner = self.owner(service.owner, client)?;
        if service.strays && self.has_next(origin) {
            // Its session may be where another rule put it, so all workers look first.
            return Some(self.pass_on());
        }
        let searched = service.strays && usize::from(origin.hops) < self.start.workers;
        if owner == self.start.worker {
            None
        } else if origin.hops == 0 || searched {
            Some(Action::HandOver { to: owner })
        } else {
            Some(Action::Drop(DropReason::HandoverLoop))
        }
    }

    /// What may be a reply to `client`, of no session here: where it goes to look on, or `None` if
    /// there is nowhere else.
    pub(super) fn seek<A: Address>(
        &self,
        socket: NatSocket,
        client: (A, u16),
        origin: Origin,
    ) -> Option<Action> {
        let Some(rule) = socket.owner else {
            // The services that share the socket choose differently: one worker after the other.
            return self.has_next(origin).then(|| self.pass_on());
        };
        let to = self.owner(rule, client)?;
        (to != self.start.worker && origin.hops == 0).then_some(Action::HandOver { to })
    }

    /// The worker that owns the flows of a client's socket; `None` is whoever receives them.
    #[inline]
    fn owner<A: Address>(&self, rule: Owner, (client, port): (A, u16)) -> Option<usize> {
        match rule {
            Owner::Receiver => None,
            Owner::Socket => Some(self.choose_worker((client.words(), port))),
            Owner::Network(bits) => Some(self.choose_worker((client.network(bits).words(), 0_u16))),
        }
    }

    /// Whether a packet that must look for its session has not been to every worker.
    pub(super) fn has_next(&self, origin: Origin) -> bool {
        usize::from(origin.hops) + 1 < self.start.workers
    }

    /// The packet looks for its session on the next worker.
    pub(super) fn pass_on(&self) -> Action {
        Action::HandOver {
            to: (self.start.worker + 1) % self.start.workers.max(1),
        }
    }

    /// A worker for `key`, the same one on every worker.
    #[inline]
    pub(super) fn choose_worker(&self, key: impl std::hash::Hash) -> usize {
        let hash = self.owners.hash_one(key);
        usize::try_from(hash % self.start.workers.max(1) as u64).unwrap_or(0)
    }
}
