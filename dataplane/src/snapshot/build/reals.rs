//! A real server's slot: given out, filled, changed and left, and what is known by its address.
//! A service's list as a whole is in `services.rs`.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;

use super::{Builder, egress_to, slot};
use crate::id::{RealId, ServiceId};
use crate::schedule::threshold::Overload;
use crate::snapshot::Snapshot;
use crate::snapshot::model::{RealServer, Totals};
use crate::snapshot::owner::Owner;
use crate::spec::forward::ForwardMethod;
use crate::spec::policy::{OnDown, Policy};
use crate::spec::service::{RealSpec, Remaining, ServiceSpec};
use crate::spec::timeouts::Timeouts;
use crate::time::Time;

/// Lists up to this length are searched; longer ones get a map.
const SHORT: usize = 16;

/// Workers look through their tables for the sessions of such a real server.
const RESET: Remaining = Remaining::Gone(OnDown::Reset);

/// What a real server has from its service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent<'a> {
    pub(super) id: ServiceId,
    pub(super) service: &'a ServiceSpec,
    pub(super) timeouts: Timeouts,
    pub(super) owner: Owner,
    /// From when those that come now count.
    pub(super) since: Option<Time>,
}

/// The real servers that have slots in a service, also removed ones: what makes one the same across
/// reloads is its address and port.
#[derive(Debug)]
pub(super) struct Present {
    /// In the list's order, the removed ones behind.
    list: Vec<(IpAddr, u16, RealId)>,
    by_socket: HashMap<(IpAddr, u16), RealId, RandomState>,
}

impl Present {
    pub(super) fn of(next: &Snapshot, id: ServiceId) -> Self {
        let slots = next.service(id).map(|service| {
            let listed = service
                .scheduling
                .candidates
                .iter()
                .map(|candidate| candidate.real);
            listed.chain(service.former.iter().copied())
        });
        let list: Vec<_> = slots
            .into_iter()
            .flatten()
            .filter_map(|id| {
                next.real(id)
                    .map(|real| (real.spec.address, real.spec.port, id))
            })
            .collect();
        // It is for this one list and keyed like the tables that packets are looked up in.
        let mut by_socket = HashMap::with_hasher(next.locals.hasher().clone());
        if list.len() > SHORT {
            by_socket.extend(
                list.iter()
                    .map(|(address, port, id)| ((*address, *port), *id)),
            );
        }
        Self { list, by_socket }
    }

    /// The slot of the real server on this socket, which probably stands at `place` already.
    pub(super) fn find(&self, place: usize, address: IpAddr, port: u16) -> Option<RealId> {
        let is_it = |one: &&(IpAddr, u16, RealId)| (one.0, one.1) == (address, port);
        let found = match self.list.get(place).filter(is_it) {
            Some(found) => Some(found),
            None if self.list.len() <= SHORT => self.list.iter().find(is_it),
            None => return self.by_socket.get(&(address, port)).copied(),
        };
        found.map(|(_, _, id)| *id)
    }
}

impl Builder {
    /// Fills the slot `id`, or a new one.
    pub(super) fn configure_real(
        &mut self,
        next: &mut Snapshot,
        parent: Parent<'_>,
        spec: &RealSpec,
        id: Option<RealId>,
    ) -> RealId {
        let id = id.unwrap_or_else(|| self.add_real(next, parent, spec));
        self.removed_reals.remove(id);
        let Some(old) = next.real(id) else { return id };
        let takes = |spec: &RealSpec| spec.weight > 0 && spec.availability.is_available();
        let comes = !old.configured || !takes(&old.spec) && takes(spec);
        let begins_to_reply = spec.forward.replies_return() && !old.replies_come_back;
        let changed = !old.configured
            || old.spec != *spec
            || old.policy != parent.service.policy
            || old.timeouts != parent.timeouts;
        if !changed {
            return id;
        }
        let was_reset = old.configured && old.remaining() == RESET;
        let former_end = old.errors_come_back;
        let end = (spec.forward.encapsulates()).then(|| spec.tunnel.end());
        let egress = egress_to(next, spec.address, spec.tunnel_source);
        if let Some(real) = next.reals.get_mut(id.0) {
            real.spec = *spec;
            if comes {
                real.since = parent.since;
            }
            if spec.weight > 0 {
                real.last_weight = spec.weight;
            }
            real.policy = parent.service.policy;
            real.timeouts = parent.timeouts;
            real.configured = true;
            real.egress = egress;
            real.replies_come_back |= begins_to_reply;
            real.errors_come_back = end.or(former_end);
            if real.remaining() == RESET && !was_reset {
                next.flush = next.generation;
            }
        }
        if begins_to_reply {
            for protocol in parent.service.target.protocols() {
                next.nat_sockets.retain(
                    (*protocol, spec.address, spec.port),
                    parent.owner,
                    parent.id,
                );
            }
            next.nat_reals.retain_key(spec.address);
        }
        if let Some(end) = end.filter(|end| former_end != Some(*end)) {
            if let Some(former) = former_end {
                next.tunnel_ends.release_key(&(spec.address, former));
            }
            next.tunnel_ends.retain_key((spec.address, end));
        }
        id
    }

    fn add_real(&mut self, next: &mut Snapshot, parent: Parent<'_>, spec: &RealSpec) -> RealId {
        let id = self
            .free_reals
            .pop()
            .unwrap_or_else(|| RealId(slot(next.reals.len())));
        let len = id.0 as usize + 1;
        next.reals.grow(len, vacant);
        for worker in &mut next.workers {
            worker.reals.grow(len, Default::default);
        }
        next.overloads.grow(len, Overload::default);
        if let Some(overload) = next.overloads.get(id.0) {
            overload.clear();
        }
        let baseline = next.slot_totals(id);
        if let Some(place) = next.reals.get_mut(id.0) {
            *place = RealServer {
                id,
                service: parent.id,
                // In force once it is configured.
                spec: RealSpec { weight: 0, ..*spec },
                baseline,
                ..vacant()
            };
        }
        id
    }

    pub(super) fn make_room_for_reals(next: &mut Snapshot, reals: usize) {
        next.reals.reserve(reals, vacant);
        for worker in &mut next.workers {
            worker.reals.reserve(reals, Default::default);
        }
        next.overloads.reserve(reals, Overload::default);
    }

    pub(super) fn remove_real(&mut self, next: &mut Snapshot, id: RealId) {
        if let Some(real) = next.reals.get_mut(id.0) {
            real.configured = false;
            real.ranking_place = None;
            if real.remaining() == RESET {
                next.flush = next.generation;
            }
            self.removed_reals.insert(id);
        }
    }
}

/// What is in a slot that was never used.
fn vacant() -> RealServer {
    RealServer {
        id: RealId(u32::MAX),
        service: ServiceId(u32::MAX),
        spec: RealSpec {
            weight: 0,
            ..RealSpec::new(IpAddr::from([0, 0, 0, 0]), 0, ForwardMethod::Direct)
        },
        last_weight: 0,
        since: None,
        ranking_place: None,
        errors_come_back: None,
        policy: Policy::default(),
        timeouts: Timeouts::DEFAULT,
        configured: false,
        replies_come_back: false,
        egress: None,
        baseline: Totals::default(),
    }
}
