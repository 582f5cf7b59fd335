//! The compiled configuration: immutable, numbered, shared by all workers.
//! It is built by `build.rs` on the control thread and reaches the workers through `rcu.rs`.

pub mod build;
pub mod chunked;
mod counts;
pub mod delta;
mod filter;
mod lookup;
pub mod model;
pub mod owner;
pub mod rcu;
#[cfg(test)]
#[path = "rcu/tests.rs"]
mod rcu_tests;
pub mod route;
mod rules;

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use crate::flow::{Address, FlowKey, Protocol};
use crate::id::{DeviceId, PortId, RealId, ServiceId};
use crate::schedule::threshold::Overload;
use crate::schedule::{self, Candidate, Load, Loads};
use crate::spec::forward::TunnelKind;
use crate::spec::network::{DeviceSpec, PortRole, PortSpec};
use crate::spec::target::Target;
use crate::wire::Mac;
use chunked::{Chunked, Sharded};
use lookup::Lookup;
use model::{RealServer, VirtualService, WorkerTable};
use owner::{NatSocket, NatSockets, Owner, SocketKey};
use route::Routes;

/// One generation of the configuration.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts up by one with every change.
    pub generation: u64,
    /// By [`DeviceId`].
    pub devices: Arc<[DeviceSpec]>,
    /// By [`PortId`].
    pub ports: Arc<[PortSpec]>,
    /// Routes by longest prefix.
    pub routes: Arc<Routes>,
    /// The ports' own addresses.
    pub locals: Arc<HashMap<IpAddr, PortId, RandomState>>,
    /// The network and broadcast addresses of the ports' IPv4 networks, which no host has.
    broadcasts: Arc<HashSet<IpAddr, RandomState>>,
    /// Neighbours that need no ARP or NDP.
    pub neighbours: Arc<HashMap<IpAddr, Mac, RandomState>>,
    /// The same with link-local addresses, by their ports.
    link_neighbours: Arc<HashMap<(PortId, IpAddr), Mac, RandomState>>,
    /// Whether packets that are for nobody here are routed.
    pub forwarding: bool,
    /// See [`Network::refuses_replies`](crate::spec::network::Network::refuses_replies).
    pub refuses_replies: bool,
    /// See [`Network::answers_as_lvs`](crate::spec::network::Network::answers_as_lvs).
    pub answers_as_lvs: bool,
    /// The generation that last removed a real server whose sessions end
    /// ([`OnDown::Reset`](crate::spec::policy::OnDown::Reset)).
    pub flush: u64,
    /// By [`ServiceId`]; holes are services that are no longer configured.
    pub services: Chunked<VirtualService>,
    /// By [`RealId`]; holes are real servers that are no longer configured.
    pub reals: Chunked<RealServer>,
    /// Which real servers have reached their upper threshold, by [`RealId`]; what workers share.
    pub overloads: Chunked<Overload>,
    /// What one worker keeps per slot, by worker.
    pub workers: Vec<WorkerTable>,
    lookup: Lookup,
    /// The lengths of clients' networks that own the sessions of some service, or did.
    networks: Arc<[u8]>,
    /// What chooses, or chose, the owners of the sessions of services by rules.
    rule_owners: Arc<[Owner]>,
    /// Sockets that NAT packets come back from. Port 0 stands for all ports.
    nat_sockets: NatSockets,
    /// Whose socket it is, for the NAT real servers of one-packet services: what answers a datagram
    /// has no session that would say so. Where several have it, the first in the configuration.
    /// Port 0 stands for all ports.
    one_packet_sockets: Sharded<SocketKey, RealId>,
    /// Their addresses, with the number of real servers on each.
    nat_reals: Sharded<IpAddr, u32>,
    /// The far ends of tunnels, with the number of real servers behind each.
    tunnel_ends: Sharded<(IpAddr, TunnelKind), u32>,
}

impl Snapshot {
    /// The port with this number.
    #[inline]
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<&PortSpec> {
        self.ports.get(id.place())
    }

    /// The device with this number.
    #[inline]
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Option<&DeviceSpec> {
        self.devices.get(id.place())
    }

    /// The device that a port is on, by which its frames leave.
    #[inline]
    #[must_use]
    pub fn device_of(&self, port: PortId) -> Option<DeviceId> {
        self.port(port).map(|port| port.device)
    }

    /// The MAC of a port, which is its device's.
    #[inline]
    #[must_use]
    pub fn mac_of(&self, port: PortId) -> Option<Mac> {
        self.device(self.device_of(port)?).map(|device| device.mac)
    }

    /// See [`PortSpec::header_bytes`].
    #[inline]
    #[must_use]
    pub fn header_bytes(&self, port: PortId) -> Option<usize> {
        self.port(port).map(PortSpec::header_bytes)
    }

    /// The ports on a device.
    pub fn ports_on(&self, device: DeviceId) -> impl Iterator<Item = PortId> {
        let ports = PortId::each(&*self.ports);
        ports.filter_map(move |(id, port)| (port.device == device).then_some(id))
    }

    /// The MAC of a neighbour that needs no ARP or NDP.
    #[inline]
    #[must_use]
    pub fn fixed_mac(&self, port: PortId, neighbour: IpAddr) -> Option<Mac> {
        let of_link = match neighbour {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                self.link_neighbours.get(&(port, neighbour))
            }
            _ => self.neighbours.get(&neighbour),
        };
        of_link.copied()
    }

    /// The neighbours that need no ARP or NDP: the port that each is behind, its address and its MAC. Those that are
    /// behind no port are left out.
    pub fn fixed_neighbours(&self) -> impl Iterator<Item = (PortId, IpAddr, Mac)> {
        let of_all = self.neighbours.iter().filter_map(|(address, mac)| {
            let egress = self.routes.egress(*address)?;
            Some((egress.port, *address, *mac))
        });
        let of_links = self.link_neighbours.iter();
        of_all.chain(of_links.map(|((port, address), mac)| (*port, *address, *mac)))
    }

    /// Whether `address` is a neighbour's on this port.
    pub(crate) fn is_on_link(&self, port: PortId, address: IpAddr) -> bool {
        if let IpAddr::V6(address) = address
            && address.is_unicast_link_local()
        {
            return true;
        }
        self.routes
            .egress(address)
            .is_some_and(|egress| egress.port == port && egress.next_hop == address)
    }

    /// The service that a client's packet belongs to: by a rule that it matches, else by its
    /// destination. A removed one while sessions refer to it, if there is no configured one.
    #[inline]
    #[must_use]
    pub fn service_for<A: Address>(&self, key: &FlowKey<A>) -> Option<&VirtualService> {
        let (client, address): (IpAddr, IpAddr) = (key.client.into(), key.virtual_address.into());
        self.service_by_rule(
            key.protocol,
            (client, key.client_port),
            (address, key.virtual_port),
        )
        .or_else(|| self.service_at(key.protocol, address, key.virtual_port))
    }

    #[inline]
    fn service_by_rule(
        &self,
        protocol: Protocol,
        client: (IpAddr, u16),
        to: (IpAddr, u16),
    ) -> Option<&VirtualService> {
        let id = self.lookup.rules.find(protocol, client, to)?;
        // What a NAT real server sends away is a reply, or passes through. Under IPVS a mark without
        // a local destination means nothing.
        let is_reply = self.is_nat_socket(protocol, client.0, client.1) && !self.is_ours(to.0);
        self.service(id).filter(|_| !is_reply)
    }

    /// The service on this virtual socket: configured, or removed while sessions refer to it.
    ///
    /// An address goes before a prefix, a longer prefix before a shorter one, and of each its port
    /// before port 0.
    #[inline]
    #[must_use]
    pub fn service_at(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Option<&VirtualService> {
        let mut removed: Option<&VirtualService> = None;
        let configured = self.lookup.find_at(protocol, address, port, |id| {
            let takes = |service: &&VirtualService| match &service.target {
                Target::Vip(vip) if vip.is_ftp() && port != vip.port => {
                    self.takes_ftp_data(service)
                }
                _ => true,
            };
            let service = self.service(id).filter(takes)?;
            if service.configured {
                return Some(service);
            }
            // One with an owner leads to sessions on other workers.
            let is_owned = |service: &VirtualService| service.owner != Owner::Receiver;
            if removed.is_none_or(|first| !is_owned(first) && is_owned(service)) {
                removed = Some(service);
            }
            None
        });
        configured.or(removed)
    }

    /// Whether an FTP service has its clients' data connections too: those of clients that its
    /// persistence keeps at a real server that answers them itself (IPVS, without the module `ip_vs_ftp`).
    fn takes_ftp_data(&self, service: &VirtualService) -> bool {
        let is_one_way = |id| {
            let real = self.real(id);
            real.is_some_and(|real| !real.spec.forward.replies_return())
        };
        let mut reals = service
            .scheduling
            .candidates
            .iter()
            .map(|candidate| candidate.real);
        service.persistence.is_some() && reals.all(is_one_way)
    }

    /// Whether a packet's session may be on another worker than its service's rule says. That can happen where several
    /// services can take the same packet: after one of them has changed, the packet may belong to another one, with
    /// another rule.
    #[inline]
    #[must_use]
    pub fn may_have_misplaced_sessions(&self) -> bool {
        self.lookup.has_overlaps() && (self.has_nat() || !self.networks.is_empty())
    }

    /// Whether every port that clients and real servers are behind is known to spread flows as it was told.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        let mut networks = self
            .ports
            .iter()
            .filter(|port| matches!(port.role, PortRole::Network { .. }));
        networks.all(|port| {
            self.device(port.device)
                .is_some_and(|device| device.steered)
        })
    }

    /// The lengths of clients' networks that own the sessions of some service, or did.
    #[must_use]
    pub fn networks(&self) -> &[u8] {
        &self.networks
    }

    /// What chooses, or may have chosen, the owner of a session with this key: of every service in a slot that
    /// could take its packets.
    pub(crate) fn for_each_owner<A: Address>(&self, key: &FlowKey<A>, mut take: impl FnMut(Owner)) {
        let mut misplaced = false;
        let (address, port) = (key.virtual_address.into(), key.virtual_port);
        let _: Option<()> = self.lookup.find_at(key.protocol, address, port, |id| {
            if let Some(service) = self.service(id) {
                take(service.owner);
                misplaced |= service.may_have_misplaced;
            }
            None
        });
        // A rule may have matched that is no longer there.
        self.rule_owners.iter().copied().for_each(&mut take);
        if misplaced {
            take(Owner::Flow);
            take(Owner::Socket);
            self.networks
                .iter()
                .copied()
                .map(Owner::Network)
                .for_each(take);
        }
    }

    /// The virtual sockets for which a real server answers from `socket`, as far as it is these that choose
    /// the owners of its sessions; `port` is the real server's.
    pub(crate) fn virtual_sockets_of(
        &self,
        socket: NatSocket<'_>,
        port: u16,
    ) -> impl Iterator<Item = (IpAddr, u16)> {
        socket.flows().filter_map(move |id| {
            let Target::Vip(vip) = &self.service(id)?.target else {
                return None;
            };
            let port = if vip.port == 0 { port } else { vip.port };
            Some((vip.addresses.addr(), port))
        })
    }

    /// The service in this slot.
    #[inline]
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&VirtualService> {
        self.services.get(id.0)
    }

    /// The real server in this slot.
    #[inline]
    #[must_use]
    pub fn real(&self, id: RealId) -> Option<&RealServer> {
        self.reals.get(id.0)
    }

    /// Whether a service is on this address, or on a prefix that it is in.
    #[inline]
    #[must_use]
    pub fn is_vip(&self, address: IpAddr) -> bool {
        self.lookup.is_vip(address)
    }

    /// Whether a configured service has exactly these virtual addresses.
    #[must_use]
    pub fn has_vip(&self, addresses: &IpNet) -> bool {
        self.lookup.has_addresses(addresses)
    }

    /// The virtual addresses and prefixes of configured services, each once, in no particular order.
    pub fn vips(&self) -> impl Iterator<Item = &IpNet> {
        self.lookup.addresses()
    }

    /// Whether packets to this address may be a service's: it is a VIP, or a rule takes it.
    #[inline]
    #[must_use]
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        self.is_vip(address) || self.lookup.rules.may_match(address)
    }

    /// Whether a packet to this address may be a service's, configured or removed, or for ourselves. Never wrong if
    /// it says no.
    #[inline]
    #[must_use]
    pub fn may_be_a_services<A: Address>(&self, address: A) -> bool {
        self.lookup.has_overlaps() || self.lookup.may_have(address)
    }

    /// Whether the address is a VIP or a port's.
    #[inline]
    #[must_use]
    pub fn is_ours(&self, address: IpAddr) -> bool {
        self.lookup.may_be_ours(address)
            && (self.locals.contains_key(&address) || self.is_vip(address))
    }

    /// Whether no packet from outside comes from here: it is one of our addresses (LAND), or the network or
    /// broadcast address of a port's network, which is no host's (RFC 1812 section 5.3.7, RFC 1122 section
    /// 3.2.1.3) and which an answer would reach the whole link by. What is wrong everywhere, `martian` of
    /// the packet's addresses says.
    #[inline]
    #[must_use]
    pub fn is_martian_source(&self, address: IpAddr) -> bool {
        self.lookup.may_be_ours(address)
            && (self.is_ours(address) || self.broadcasts.contains(&address))
    }

    /// Whether the address is the network or broadcast address of a port's network.
    #[inline]
    #[must_use]
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.lookup.may_be_ours(address) && self.broadcasts.contains(&address)
    }

    /// Whether the real server is this machine itself: its address is a port's.
    #[must_use]
    pub fn is_this_machine(&self, real: &RealServer) -> bool {
        real.egress.is_none() && self.locals.contains_key(&real.spec.address)
    }

    /// Whether a NAT real server answers from this socket.
    #[inline]
    #[must_use]
    pub fn is_nat_socket(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.nat_socket(protocol, address, port).is_some()
    }

    /// What is known of a socket that a NAT real server answers from.
    #[inline]
    pub(crate) fn nat_socket(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Option<NatSocket<'_>> {
        self.nat_sockets.find(protocol, address, port)
    }

    /// The real server of a one-packet service that answers from a socket by NAT, with the virtual
    /// address and port that it answers for.
    #[inline]
    #[must_use]
    pub fn one_packet_real(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Option<(RealId, IpAddr, u16)> {
        if self.one_packet_sockets.is_empty() {
            return None;
        }
        let id = [port, 0].into_iter().find_map(|port| {
            let socket = (protocol, address, port);
            self.one_packet_sockets.get(&socket).copied()
        })?;
        let service = self.service(self.real(id)?.service)?;
        let Target::Vip(vip) = &service.target else {
            return None;
        };
        let virtual_port = if vip.port == 0 { port } else { vip.port };
        Some((id, vip.addresses.addr(), virtual_port))
    }

    /// Whether a NAT real server may have this address, so that what comes from it is probably a
    /// reply. Never wrong if it says no.
    #[inline]
    #[must_use]
    pub fn may_be_nat_real<A: Address>(&self, address: A) -> bool {
        self.nat_sockets.may_have(address)
    }

    /// Whether a NAT real server has this address.
    #[inline]
    #[must_use]
    pub fn is_nat_real(&self, address: IpAddr) -> bool {
        self.nat_reals.get(&address).is_some()
    }

    /// Whether a tunnel of this kind leads to a real server with this address.
    #[inline]
    #[must_use]
    pub fn is_tunnel_end(&self, address: IpAddr, kind: TunnelKind) -> bool {
        self.tunnel_ends.get(&(address, kind.end())).is_some()
    }

    /// Whether any service has its packets by rules, so that it takes more than a virtual socket to find one.
    #[inline]
    #[must_use]
    pub fn has_rules(&self) -> bool {
        !self.lookup.rules.is_empty()
    }

    /// Whether any service is configured.
    #[must_use]
    pub fn has_services(&self) -> bool {
        self.lookup.has_services()
    }

    /// Whether more than one service is configured.
    #[must_use]
    pub fn has_several_services(&self) -> bool {
        self.lookup.has_several_services()
    }

    /// Whether a service has as many sessions as it may, over all workers. Only proven ones count, and no session is
    /// taken back when it is proven, so a service may have as many more as were unproven when it came to its limit.
    #[must_use]
    pub fn is_at_limit(&self, id: ServiceId) -> bool {
        let limit = self.service(id).and_then(|service| service.limits.sessions);
        limit.is_some_and(|limit| self.limited_sessions(id) >= u64::from(limit.get()))
    }

    /// A service's sessions that count against its limit, which are proven and not finished, over all workers.
    #[must_use]
    pub fn limited_sessions(&self, id: ServiceId) -> u64 {
        self.workers
            .iter()
            .filter_map(|worker| worker.services.get(id.0))
            .map(|counters| u64::from(counters.limited.value()))
            .sum()
    }

    /// Whether any real server is reached by NAT, so that replies pass through here.
    #[inline]
    #[must_use]
    pub fn has_nat(&self) -> bool {
        !self.nat_sockets.is_empty()
    }

    /// The services that are configured, in the order of their slots.
    pub fn configured_services(&self) -> impl Iterator<Item = &VirtualService> {
        self.services.iter().filter(|service| service.configured)
    }

    /// A real server's present sessions, over all workers.
    #[must_use]
    pub fn load(&self, id: RealId) -> Load {
        let mut load = Load::default();
        for counters in self
            .workers
            .iter()
            .filter_map(|worker| worker.reals.get(id.0))
        {
            load.active += u64::from(counters.active.value());
            load.inactive += u64::from(counters.inactive.value());
        }
        load
    }

    /// Brings what depends on a real server's load up to date: whether it has reached its thresholds, and its
    /// rank in the scheduler. To be called after a session on `worker` was added or removed, or became active
    /// or inactive.
    #[inline]
    pub fn refresh_load(&self, worker: usize, id: RealId) {
        if let Some(real) = self.real(id) {
            self.refresh_load_of(worker, real);
        }
    }

    /// The same for a real server that was looked up already.
    #[inline]
    pub(crate) fn refresh_load_of(&self, worker: usize, real: &RealServer) {
        if real.spec.limits.is_set()
            && let Some(overload) = self.overloads.get(real.id.0)
        {
            overload.update(real.spec.limits, self.load(real.id));
        }
        if let Some(place) = real.ranking_place
            && let Some(service) = self.service(real.service)
        {
            schedule::update_ranking(&service.scheduling, worker, place as usize, self);
        }
    }
}

impl Loads for Snapshot {
    fn load(&self, real: RealId) -> Load {
        self.load(real)
    }

    #[inline]
    fn is_overloaded(&self, candidate: &Candidate) -> bool {
        candidate.limits.is_set()
            && self
                .overloads
                .get(candidate.real.0)
                .is_some_and(|one| one.update(candidate.limits, self.load(candidate.real)))
    }
}
