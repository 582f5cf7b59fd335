//! From a desired state, or a change of it, to the next [`Snapshot`]: gives out slots, keeps them while
//! sessions refer to them, and copies only what changed. Runs on the control thread; sees no packet.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use super::Snapshot;
use super::chunked::{Chunked, Sharded};
use super::delta::Delta;
use super::lookup::Lookup;
use super::model::WorkerTable;
use super::owner::NatSockets;
use super::route::Routes;
use crate::id::{PortId, RealId, ServiceId};
use crate::snapshot::route::Egress;
use crate::spec::Spec;
use crate::spec::network::{DeviceSpec, Network, PortSpec, RouteSpec};
use crate::spec::service::ServiceSpec;
use crate::spec::target::{Identity, Mark};
use crate::spec::timeouts::Timeouts;
use crate::time::Time;
use leaving::Leaving;
use precedence::Precedence;

mod leaving;
mod order;
mod owners;
mod precedence;
mod reals;
mod reclaim;
mod services;

/// Makes each snapshot from the one before it.
#[derive(Debug)]
pub struct Builder {
    last: Arc<Snapshot>,
    routes: Vec<RouteSpec>,
    /// Of services that say nothing.
    timeouts: Timeouts,
    /// Services by rules; those by virtual addresses are found as packets find them.
    marks: HashMap<Mark, ServiceId, RandomState>,
    precedence: Precedence,
    /// Slots that nothing refers to.
    free_services: Vec<ServiceId>,
    free_reals: Vec<RealId>,
    /// Slots that are no longer configured but may have sessions.
    removed_services: Leaving<ServiceId>,
    removed_reals: Leaving<RealId>,
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
            devices: Arc::default(),
            ports: Arc::default(),
            routes: Arc::new(Routes::default()),
            locals: Arc::new(map()),
            broadcasts: Arc::new(HashSet::with_hasher(hasher.clone())),
            neighbours: Arc::new(HashMap::with_hasher(hasher.clone())),
            link_neighbours: Arc::new(HashMap::with_hasher(hasher.clone())),
            forwarding: false,
            refuses_replies: false,
            answers_as_lvs: false,
            flush: 0,
            services: Chunked::default(),
            reals: Chunked::default(),
            overloads: Chunked::default(),
            workers: (0..workers).map(|_| WorkerTable::default()).collect(),
            lookup: Lookup::new(hasher),
            networks: Arc::default(),
            rule_owners: Arc::default(),
            nat_sockets: NatSockets::new(hasher.clone()),
            one_packet_sockets: Sharded::new(hasher.clone()),
            nat_reals: Sharded::new(hasher.clone()),
            tunnel_ends: Sharded::new(hasher.clone()),
        };
        Self {
            last: Arc::new(empty),
            routes: Vec::new(),
            timeouts: Timeouts::DEFAULT,
            marks: HashMap::with_hasher(hasher.clone()),
            precedence: Precedence::new(hasher),
            free_services: Vec::new(),
            free_reals: Vec::new(),
            removed_services: Leaving::new(hasher),
            removed_reals: Leaving::new(hasher),
            next_revision: 1,
        }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn current(&self) -> &Arc<Snapshot> {
        &self.last
    }

    /// The snapshot in which `spec` is in force, whatever was before. Takes time by all services;
    /// [`Self::apply`] does not. `quiescent` says that every worker uses the newest snapshot, so that
    /// slots without sessions may be given back.
    pub fn build(&mut self, spec: &Spec, quiescent: bool) -> Arc<Snapshot> {
        let order = spec.services.iter().filter(|service| service.is_ordered());
        let order: Vec<Identity> = order.map(|service| service.target.identity()).collect();
        let change = Change {
            devices: Some(&spec.devices),
            ports: Some(&spec.ports),
            network: Some(&spec.network),
            services: &spec.services,
            removed: Removed::AllOthers,
            order: Some(&order),
            now: spec.now,
        };
        self.advance(&change, quiescent)
    }

    /// The snapshot in which `delta` is in force besides what is already. Takes time by what it
    /// mentions, but a change of the network reaches every real server. `quiescent` is as in
    /// [`Self::build`].
    pub fn apply(&mut self, delta: &Delta, quiescent: bool) -> Arc<Snapshot> {
        let change = Change {
            devices: delta.devices.as_deref(),
            ports: None,
            network: delta.network.as_ref(),
            services: &delta.services,
            removed: Removed::These(&delta.removed),
            order: delta.order.as_deref(),
            now: delta.now,
        };
        self.advance(&change, quiescent)
    }

    fn advance(&mut self, change: &Change<'_>, quiescent: bool) -> Arc<Snapshot> {
        let mut next = Snapshot::clone(&self.last);
        next.generation += 1;
        if quiescent {
            self.reclaim(&mut next, change.services.len());
        }
        if let Some(network) = change.network {
            self.timeouts = network.timeouts;
            set_network(&mut next, network);
        }
        if let Some(devices) = change.devices {
            next.devices = devices.into();
        }
        let routes = change.network.map(|network| &*network.routes);
        if self.rebuild_routes(&mut next, change.ports, routes) {
            self.reroute(&mut next);
        }
        self.make_room(&mut next, change.services);
        // By slot: whose service is in `change`.
        let mut mentioned = Vec::new();
        for service in change.services {
            let id = self.configure_service(&mut next, service, change.now);
            if let Removed::AllOthers = change.removed {
                mark(&mut mentioned, id);
            }
        }
        let gone: Vec<ServiceId> = match change.removed {
            Removed::These(identities) => identities
                .iter()
                .filter_map(|identity| self.slot_of(&next, identity))
                .collect(),
            Removed::AllOthers => next
                .configured_services()
                .map(|service| service.id)
                .filter(|id| mentioned.get(id.0 as usize) != Some(&true))
                .collect(),
        };
        for id in gone {
            self.remove_service(&mut next, id);
        }
        let order = change.order.map(|order| {
            let slots = order.iter().filter_map(|one| self.slot_of(&next, one));
            slots.collect::<Vec<_>>()
        });
        self.precedence.arrange(&mut next, order.as_deref());
        self.last = Arc::new(next);
        Arc::clone(&self.last)
    }

    /// The slot of the service with this identity, also of a removed one that still has it.
    fn slot_of(&self, next: &Snapshot, identity: &Identity) -> Option<ServiceId> {
        match identity {
            Identity::Vip(vip) => next.lookup.slot_of(vip),
            Identity::Mark(mark) => self.marks.get(mark).copied(),
        }
    }

    /// Ports and routes; what is `None` stays. Returns whether the routes to real servers may have changed.
    fn rebuild_routes(
        &mut self,
        next: &mut Snapshot,
        ports: Option<&[PortSpec]>,
        routes: Option<&[RouteSpec]>,
    ) -> bool {
        let ports = ports.filter(|ports| *ports != &*next.ports);
        let routes = routes.filter(|routes| *routes != &*self.routes);
        if ports.is_none() && routes.is_none() {
            return false;
        }
        if let Some(routes) = routes {
            self.routes = routes.to_vec();
        }
        if let Some(ports) = ports {
            next.ports = ports.into();
        }
        next.routes = Arc::new(Routes::new(&next.ports, &self.routes));
        let mut locals = HashMap::with_hasher(next.locals.hasher().clone());
        for (id, port) in PortId::each(&*next.ports) {
            locals.extend(port.addresses.iter().map(|net| (net.addr(), id)));
        }
        let mut broadcasts = HashSet::with_hasher(next.locals.hasher().clone());
        for port in &*next.ports {
            broadcasts.extend(port.addresses.iter().flat_map(broadcasts_of));
        }
        for address in locals.keys().chain(&broadcasts) {
            next.lookup.add_local(*address);
        }
        for address in next.locals.keys().chain(&*next.broadcasts) {
            next.lookup.remove_local(*address);
        }
        next.locals = Arc::new(locals);
        next.broadcasts = Arc::new(broadcasts);
        true
    }

    /// Real servers follow the routes, and so do the sessions of removed ones.
    fn reroute(&self, next: &mut Snapshot) {
        let in_use = next
            .reals
            .iter()
            .filter(|real| real.configured || self.removed_reals.contains(real.id));
        let moved: Vec<(RealId, Option<Egress>)> = in_use
            .map(|real| {
                (
                    real.id,
                    egress_to(next, real.spec.address, real.spec.tunnel_source),
                )
            })
            .filter(|(id, egress)| next.real(*id).is_some_and(|real| real.egress != *egress))
            .collect();
        for (id, egress) in moved {
            if let Some(real) = next.reals.get_mut(id.0) {
                real.egress = egress;
            }
        }
    }

    fn take_revision(&mut self) -> u32 {
        let revision = self.next_revision;
        self.next_revision += 1;
        revision
    }
}

/// What is known of the network but for its routes.
fn set_network(next: &mut Snapshot, network: &Network) {
    // Without `..`, so that a new field is not forgotten here.
    let Network {
        routes: _,
        neighbours,
        link_neighbours,
        forwarding,
        timeouts: _,
        refuses_replies,
        answers_as_lvs,
    } = network;
    next.forwarding = *forwarding;
    next.refuses_replies = *refuses_replies;
    next.answers_as_lvs = *answers_as_lvs;
    let mut known = HashMap::with_hasher(next.neighbours.hasher().clone());
    known.extend(neighbours.iter().copied());
    next.neighbours = Arc::new(known);
    let mut known = HashMap::with_hasher(next.link_neighbours.hasher().clone());
    known.extend(link_neighbours.iter().copied());
    next.link_neighbours = Arc::new(known);
}

/// The addresses of a port's network that no host has. Networks of two addresses have none (RFC 3021), and
/// IPv6 has no broadcast.
fn broadcasts_of(network: &IpNet) -> impl Iterator<Item = IpAddr> {
    let v4 = match network {
        IpNet::V4(net) if net.prefix_len() < 31 => Some([net.network(), net.broadcast()]),
        IpNet::V4(_) | IpNet::V6(_) => None,
    };
    v4.into_iter().flatten().map(IpAddr::V4)
}

/// What is to change, borrowed from whoever describes it.
#[derive(Debug)]
struct Change<'a> {
    /// `None` leaves them as they are.
    devices: Option<&'a [DeviceSpec]>,
    ports: Option<&'a [PortSpec]>,
    network: Option<&'a Network>,
    services: &'a [ServiceSpec],
    removed: Removed<'a>,
    order: Option<&'a [Identity]>,
    now: Time,
}

/// Which services are no longer there.
#[derive(Debug, Clone, Copy)]
enum Removed<'a> {
    These(&'a [Identity]),
    /// All that the change does not mention.
    AllOthers,
}

fn mark(marked: &mut Vec<bool>, id: ServiceId) {
    let index = id.0 as usize;
    if marked.len() <= index {
        marked.resize(index + 1, false);
    }
    if let Some(place) = marked.get_mut(index) {
        *place = true;
    }
}

/// The route to a real server; `None` if it is this machine itself.
fn egress_to(next: &Snapshot, real: IpAddr, source: Option<IpAddr>) -> Option<Egress> {
    let egress = next.routes.egress(real)?;
    (!next.locals.contains_key(&real)).then_some(Egress {
        source: source.or(egress.source),
        ..egress
    })
}

/// A list for a snapshot. Most are empty, and those share one allocation.
fn shared<T>(list: Vec<T>) -> Arc<[T]> {
    if list.is_empty() {
        Arc::default()
    } else {
        list.into()
    }
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
