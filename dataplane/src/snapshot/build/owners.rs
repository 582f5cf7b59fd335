//! What the builder derives for several workers and for replies: who owns a service's sessions, and who
//! answers without one. It gives out no slots.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;

use super::Builder;
use crate::flow::Protocol;
use crate::snapshot::id::{RealId, ServiceId};
use crate::snapshot::model::ForwardMethod;
use crate::snapshot::owner::Owner;
use crate::snapshot::spec::{RealSpec, ServiceSpec, Spec};
use crate::snapshot::target::{Target, Vip, is_one_address};
use crate::snapshot::{Snapshot, SocketKey};

type Sockets = HashMap<SocketKey, RealId, RandomState>;

pub(super) fn map_of_sockets(hasher: &RandomState) -> Sockets {
    HashMap::with_hasher(hasher.clone())
}

impl Builder {
    /// Whose sockets the answers of one-packet services come from. There are few such services, and
    /// mostly none.
    pub(super) fn one_packet_sockets(&self, spec: &Spec) -> Arc<Sockets> {
        let mut sockets = map_of_sockets(self.service_ids.hasher());
        let answers =
            |service: &&ServiceSpec| service.one_packet && service.policy.answers_one_packet;
        for service in spec.services.iter().filter(answers) {
            let Target::Vip(vip) = &service.target else {
                continue;
            };
            let Some(service_id) = self.service_ids.get(&service.target.identity()) else {
                continue;
            };
            let tells = |real: &&RealSpec| is_nat(real) && tells_vip(vip, real);
            for real in service.reals.iter().filter(tells) {
                let key = (*service_id, real.address, real.port);
                if let Some(id) = self.real_ids.get(&key) {
                    let socket = (vip.protocol, real.address, real.port);
                    sockets.entry(socket).or_insert(*id);
                }
            }
        }
        Arc::new(sockets)
    }
}

/// What chooses the owners of a service's sessions from now on, and whether some may be elsewhere.
/// Sticks while the slot means this service: sessions may live on that began under NAT, or whose
/// clients were persistent.
pub(super) fn own(next: &mut Snapshot, id: ServiceId, spec: &ServiceSpec) -> (Owner, bool) {
    let wanted = match spec.persistence {
        Some(persistence) => Owner::Network(persistence.mask),
        None if has_sessions(spec) && spec.reals.iter().any(is_nat) => Owner::Socket,
        None => Owner::Receiver,
    };
    let Some(service) = next.service(id) else {
        return (wanted, false);
    };
    let old = service.owner;
    let (owner, strays) = old.then(wanted);
    if owner != old {
        let reals = service.candidates.iter().map(|candidate| candidate.real);
        let reals: Vec<RealId> = reals.chain(service.former.iter().copied()).collect();
        for id in reals {
            let real = next.real(id).filter(|real| real.replies_come_back);
            if let Some((address, port)) = real.map(|real| (real.address, real.port)) {
                for protocol in spec.target.protocols() {
                    let socket = (*protocol, address, port);
                    next.nat_sockets.change(socket, old, owner);
                }
            }
        }
    }
    next.has_networks |= matches!(owner, Owner::Network(_));
    (owner, strays)
}

/// Whether the socket that a real server answers from says which virtual address and port were asked.
fn tells_vip(vip: &Vip, real: &RealSpec) -> bool {
    is_one_address(&vip.addresses) && (vip.port != 0 || real.port == 0)
}

/// Whether any packet of the service begins a session, which needs an owner under NAT.
fn has_sessions(spec: &ServiceSpec) -> bool {
    !spec.one_packet || spec.target.protocols() != [Protocol::Udp]
}

fn is_nat(real: &RealSpec) -> bool {
    real.forward == ForwardMethod::Nat
}
