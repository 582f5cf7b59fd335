//! Which worker a packet belongs on when it has no session here, and how it gets there.
//! What chooses a flow's owner is in the snapshot; the rings are `message.rs`'s.

use super::begin::opens;
use super::{Action, Engine, Origin};
use crate::flow::{Address, FlowKey};
use crate::io::Pool;
use crate::parse::Packet;
use crate::snapshot::Snapshot;
use crate::snapshot::model::VirtualService;
use crate::snapshot::owner::{NatSocket, Owner};
use crate::verdict::DropReason;

impl<P: Pool> Engine<P> {
    /// A client's packet of no session here, to a service: where it goes, or `None` if it is here
    /// that it begins one, or is refused.
    #[inline]
    pub(super) fn meet<A: Address>(
        &self,
        snapshot: &Snapshot,
        service: &VirtualService,
        key: &FlowKey<A>,
        packet: &Packet,
        origin: Origin,
    ) -> Option<Action> {
        let begins = opens(key.protocol, packet, false);
        // Where its session may be with an owner by another rule, all workers look first.
        let searches = service.strays || !begins && snapshot.may_have_lost_strays();
        if searches && self.has_next(origin) {
            return Some(self.pass_on());
        }
        let owner = self.owner(service.owner, (key.client, key.client_port))?;
        if owner == self.start.worker {
            None
        } else if origin.hops == 0 || searches && usize::from(origin.hops) < self.start.workers {
            Some(Action::HandOver { to: owner })
        } else {
            Some(Action::Drop(DropReason::HandoverLoop))
        }
    }

    /// The other worker that owns a flow of the service; `None` if it is this one.
    pub(super) fn owner_of<A: Address>(
        &self,
        service: &VirtualService,
        key: &FlowKey<A>,
    ) -> Option<usize> {
        self.owner(service.owner, (key.client, key.client_port))
            .filter(|owner| *owner != self.start.worker)
    }

    /// A packet without a session, that begins none: where services may share packets, its session
    /// may still be with an owner whom its service no longer names.
    #[inline]
    pub(super) fn seek_owner<A: Address>(
        &self,
        snapshot: &Snapshot,
        key: &FlowKey<A>,
        origin: Origin,
    ) -> Option<Action> {
        if !snapshot.may_have_strays() || snapshot.is_nat_real(key.client.into()) {
            return None;
        }
        if snapshot.may_have_lost_strays() {
            return self.has_next(origin).then(|| self.pass_on());
        }
        let to = self.owner(Owner::Socket, (key.client, key.client_port))?;
        (to != self.start.worker && origin.hops == 0).then_some(Action::HandOver { to })
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
