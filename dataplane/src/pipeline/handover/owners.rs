//! Which worker a packet is handed over to if its session is not on this one.
//! The rule for a flow's owner comes from the snapshot; messages and rings are in `message.rs` and `inbox.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ahash::RandomState;
use arrayvec::ArrayVec;

use crate::flow::{Address, FlowKey, Protocol, ReplyKey};
use crate::id::RealId;
use crate::parse::{Packet, Plain};
use crate::pipeline::action::{Action, Context, Decision, Origin};
use crate::pipeline::handover::begun_elsewhere::BegunElsewhere;
use crate::pipeline::handover::reply_cache::{ReplyCache, Rule};
use crate::pipeline::inbox::Lane;
use crate::pipeline::limit::{ErrorLimit, FlowLimit, SEARCHES_PER_SECOND};
use crate::pipeline::sessions::Tabled;
use crate::schedule::Start;
use crate::snapshot::Snapshot;
use crate::snapshot::model::{RealServer, VirtualService};
use crate::snapshot::owner::{NatSocket, Owner};
use crate::stats::WorkerStats;
use crate::steering::{self, Steering};
use crate::time::Time;
use crate::verdict::DropReason;

/// One new session in so many is sampled, to check that ports put packets into the queues that `Steering` computes.
const SAMPLE: u8 = 8;

/// The workers that a packet visits in search of its session: each once, in this order.
#[derive(Debug, Default)]
struct Visits(ArrayVec<usize, 16>);

impl Visits {
    /// If there is no room for more, the last ones are not visited. A configuration would need more than a dozen
    /// different netmasks of persistence for that.
    fn add(&mut self, worker: Option<usize>) {
        if let Some(worker) = worker
            && !self.0.contains(&worker)
        {
            let _ = self.0.try_push(worker);
        }
    }

    /// The next worker for a packet that is on `here` and was handed over `hops` times.
    fn next(&self, here: usize, hops: u8) -> Option<usize> {
        let mut left = self.0.iter().copied();
        if hops > 0 {
            let place = left.by_ref().position(|worker| worker == here)?;
            // The worker at `place` is reached after `place` hops, or one more if the packet was received by a worker
            // that is not the first of the list. With any other number it has visited all of them, and is here to begin
            // its session.
            if ![place, place + 1].contains(&hops.into()) {
                return None;
            }
        }
        left.find(|worker| *worker != here)
    }
}

/// Computes the owners of flows, and limits how many packets of one worker search other workers for their session.
#[derive(Debug)]
pub(crate) struct Owners {
    start: Start,
    stats: Arc<WorkerStats>,
    hasher: RandomState,
    /// How the ports' NICs spread flows over queues, if that is known.
    steering: Option<Arc<Steering>>,
    /// Counts first packets of sessions, to sample one in [`SAMPLE`].
    begun: u8,
    /// Limits packets that search other workers for their session, except ICMP errors.
    search: ErrorLimit,
    /// Limits ICMP errors that search other workers, for each flow that they quote.
    searched: FlowLimit,
    begun_elsewhere: BegunElsewhere,
    reply_cache: ReplyCache,
}

impl Owners {
    pub(crate) fn new(
        start: Start,
        hasher: RandomState,
        steering: Option<Arc<Steering>>,
        stats: Arc<WorkerStats>,
    ) -> Self {
        Self {
            start,
            stats,
            searched: FlowLimit::new(hasher.clone()),
            hasher,
            steering,
            begun: 0,
            search: ErrorLimit::new(SEARCHES_PER_SECOND),
            begun_elsewhere: BegunElsewhere::new(),
            reply_cache: ReplyCache::new(),
        }
    }

    /// For a client's packet to a service, without a session here: where it is handed over to; `None` if this worker
    /// begins its session, if the packet `begins` one, or refuses it.
    #[inline]
    pub(crate) fn go_to_owner<A: Address>(
        &mut self,
        context: &Context<'_>,
        service: &VirtualService,
        key: &FlowKey<A>,
        packet: &Packet,
        begins: bool,
    ) -> Option<Decision> {
        let Context {
            snapshot, origin, ..
        } = *context;
        if self.start.workers == 1 {
            return None;
        }
        let owner = self.owner(service.owner, key);
        if begins {
            self.sample_place(snapshot, key, packet, origin);
        }
        // A segment that begins no session may have arrived on another queue than those before it: `net_af_packet` does
        // that when a queue is full, a bond when a member fails, and some NICs with headers that they cannot parse.
        let received = !begins && service.owner == Owner::Receiver;
        let misplaced =
            service.may_have_misplaced || !begins && snapshot.may_have_misplaced_sessions();
        // A datagram in fragments always may: a NIC does not hash the ports of fragments.
        let is_cut = !begins && misplaced && origin.cut.is_some();
        if (received || is_cut) && !self.is_steered(snapshot) {
            return self.search_all(context);
        }
        // Its session may be on an owner by another rule: those workers are visited first.
        if received || misplaced {
            return self.visit_owners(context, key, owner, begins);
        }
        let to = owner.filter(|owner| *owner != self.start.worker);
        to.map(|to| {
            if origin.hops > 0 {
                return Err(DropReason::HandoverLoop.into());
            }
            let lane = Lane::Owner;
            Ok(Action::HandOver { to, lane })
        })
    }

    /// A segment whose session may be on any worker is handed over to the next one, within the rate limit.
    #[cold]
    fn search_all(&mut self, context: &Context<'_>) -> Option<Decision> {
        self.has_next(context.origin).then(|| {
            if self.search.allow(context.now) {
                Ok(self.pass_on())
            } else {
                Err(DropReason::SearchLimited.into())
            }
        })
    }

    /// The rest of [`Self::go_to_owner`] where sessions may be misplaced: visits every worker that may own the session.
    #[cold]
    fn visit_owners<A: Address>(
        &mut self,
        context: &Context<'_>,
        key: &FlowKey<A>,
        owner: Option<usize>,
        begins: bool,
    ) -> Option<Decision> {
        let here = self.start.worker;
        let mut visits = Visits::default();
        if !begins {
            visits.add(owner);
        }
        for worker in self.owners_by_any_rule(context.snapshot, key).0 {
            // The owner comes last, since the session begins there if no other worker has it.
            if !begins || Some(worker) != owner {
                visits.add(Some(worker));
            }
        }
        visits.add(owner);
        let to = visits.next(here, context.origin.hops)?;
        let (to, lane) = if Some(to) == owner {
            (to, Lane::Owner)
        } else if self.search.allow(context.now) {
            (to, Lane::Search)
        } else if begins {
            // Over the limit: the session begins as if no other worker had it.
            (owner.filter(|owner| *owner != here)?, Lane::Owner)
        } else {
            return Some(Err(DropReason::SearchLimited.into()));
        };
        Some(Ok(Action::HandOver { to, lane }))
    }

    /// For a packet without a session here and without a service: where services can take the same packets, its session
    /// may be on the owner by the rule of a service that was changed or removed since. Over the rate limit it is
    /// treated as a packet without a session, not dropped, since it may not be for any service at all. Packets to the
    /// machine itself, or to all hosts on the link, do not search, so that a flood of searches cannot delay routing
    /// protocols and logins.
    #[inline]
    pub(crate) fn search_misplaced<A: Address>(
        &mut self,
        context: &Context<'_>,
        key: &FlowKey<A>,
    ) -> Option<Action> {
        let snapshot = context.snapshot;
        if !snapshot.may_have_misplaced_sessions() {
            return None;
        }
        let (from, to) = (key.client.into(), key.virtual_address.into());
        let is_left_alone = snapshot.locals.contains_key(&to)
            || is_multicast_or_broadcast(to)
            || snapshot.is_broadcast(to)
            || snapshot.is_nat_real(from)
            || snapshot.is_nat_real(to);
        let decision = (!is_left_alone).then(|| self.visit_owners(context, key, None, false));
        decision.flatten().and_then(Result::ok)
    }

    /// The owners of a flow by each rule that a service which could take its packets has or had. The worker that the
    /// NIC chooses comes first.
    fn owners_by_any_rule<A: Address>(&self, snapshot: &Snapshot, key: &FlowKey<A>) -> Visits {
        let mut visits = Visits::default();
        if self.is_steered(snapshot) {
            visits.add(self.owner(Owner::Flow, key));
        }
        snapshot.for_each_owner(key, |rule| visits.add(self.owner(rule, key)));
        visits
    }

    /// For a packet that may be a reply and has no session here: the next worker that may own its session; `None` if
    /// all were visited.
    pub(crate) fn go_to_replys_owner<A: Tabled>(
        &self,
        context: &Context<'_>,
        socket: NatSocket<'_>,
        reply: &ReplyKey<A>,
    ) -> Option<Action> {
        let to = self
            .owners_of_reply(context.snapshot, socket, reply)
            .next(self.start.worker, context.origin.hops)?;
        Some(Action::HandOver {
            to,
            lane: Lane::Owner,
        })
    }

    /// The owner of a reply that came directly from the NIC, if that is another worker and the reply's sender alone
    /// tells it; else `None`. It is not asked whether the session is here.
    #[inline]
    pub(crate) fn owner_of_misplaced<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        reply: &Plain<A>,
    ) -> Option<usize> {
        if self.start.workers == 1 {
            return None;
        }
        let addresses = A::addresses(reply.source, reply.destination);
        let reply = &reply.reply_key();
        if addresses.martian().is_some() || snapshot.may_be_a_services(reply.client) {
            return None;
        }
        let steering = self.steering.as_deref();
        let to = match self.reply_cache.rule_of(snapshot, steering, reply) {
            Rule::Unknown => return None,
            Rule::Socket => self.choose_worker((reply.client.words(), reply.client_port)),
            Rule::Flow(part) => {
                let client = (reply.client, reply.client_port);
                steering?.worker_of_source(reply.protocol, part, client)
            }
        };
        (to != self.start.worker).then_some(to)
    }

    fn owners_of_reply<A: Tabled>(
        &self,
        snapshot: &Snapshot,
        socket: NatSocket<'_>,
        reply: &ReplyKey<A>,
    ) -> Visits {
        let mut visits = Visits::default();
        // The real server's socket identifies the virtual socket; the client is in the reply.
        let key = |(virtual_address, virtual_port)| FlowKey {
            client: reply.client,
            virtual_address,
            client_port: reply.client_port,
            virtual_port,
            protocol: reply.protocol,
        };
        for (address, port) in snapshot.virtual_sockets_of(socket, reply.real_port) {
            if let Some(address) = A::of(address) {
                visits.add(self.owner(Owner::Flow, &key((address, port))));
            }
        }
        let client = key((reply.client, 0));
        match socket.owner() {
            Some(Owner::Flow) => {}
            Some(rule) => visits.add(self.owner(rule, &client)),
            None => {
                visits.add(self.owner(Owner::Socket, &client));
                for bits in snapshot.networks() {
                    visits.add(self.owner(Owner::Network(*bits), &client));
                }
            }
        }
        visits
    }

    /// For an ICMP error that quotes a packet of this flow, whose session is not here: the next worker to search.
    /// `reply` is the key of the quoted packet's replies, if it is a packet to a NAT real server.
    pub(crate) fn search_quoted<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        key: &FlowKey<A>,
        reply: Option<&ReplyKey<A>>,
    ) -> Option<Decision> {
        let Context {
            snapshot, origin, ..
        } = *context;
        let here = self.start.worker;
        let mut visits = Visits::default();
        let mut anywhere = false;
        if let Some(reply) = reply {
            let address = reply.real.into();
            if let Some(socket) = snapshot.nat_socket(reply.protocol, address, reply.real_port) {
                visits = self.owners_of_reply(snapshot, socket, reply);
            }
        }
        if let Some(service) = snapshot.service_for(key) {
            let misplaced = service.may_have_misplaced || snapshot.may_have_misplaced_sessions();
            visits.add(self.owner(service.owner, key));
            if service.owner == Owner::Receiver || misplaced {
                // The session may be on the worker that received its packets, which is unknown for ports that are not
                // steered.
                anywhere = !self.is_steered(snapshot);
                let others = self.owners_by_any_rule(snapshot, key).0;
                others
                    .into_iter()
                    .for_each(|worker| visits.add(Some(worker)));
            }
        }
        let action = if anywhere {
            self.has_next(origin).then(|| self.pass_on())?
        } else {
            let to = visits.next(here, origin.hops)?;
            let lane = Lane::Search;
            Action::HandOver { to, lane }
        };
        let allowed = origin.hops > 0 || self.searched.allow(*key, context.now);
        let limited = DropReason::IcmpLimited.into();
        Some(allowed.then_some(action).ok_or(limited))
    }

    /// For a reassembled datagram without a session here, to a service with the rule [`Owner::Receiver`]: the worker to
    /// hand it over to; `None` if its session begins here.
    #[cold]
    pub(crate) fn go_to_receiver<A: Address>(
        &mut self,
        context: &Context<'_>,
        key: &FlowKey<A>,
    ) -> Option<Action> {
        let Context {
            snapshot, origin, ..
        } = *context;
        if self.is_steered(snapshot) {
            let to = self.owner(Owner::Flow, key);
            let to = to.filter(|to| *to != self.start.worker && origin.hops == 0)?;
            return Some(Action::HandOver {
                to,
                lane: Lane::Owner,
            });
        }
        // Unfragmented datagrams of the flow may have begun its session on the worker that the NIC chose. If no worker
        // that was searched has it, it begins on the worker that collects the flow's fragments, where later ones find
        // it.
        let home = self.collector(key.client, key.virtual_address);
        let is_back = home == self.start.worker && origin.hops > 0;
        if !is_back && self.has_next(origin) && self.search.allow(context.now) {
            return Some(self.pass_on());
        }
        (home != self.start.worker).then_some(Action::HandOver {
            to: home,
            lane: Lane::Search,
        })
    }

    /// For a service with the rule [`Owner::Receiver`]: whether unfragmented datagrams of a flow may arrive on another
    /// worker than reassembled ones, without a way to compute which.
    pub(crate) fn may_be_elsewhere(&self, snapshot: &Snapshot, protocol: Protocol) -> bool {
        self.start.workers > 1 && protocol == Protocol::Udp && !self.is_steered(snapshot)
    }

    /// The hash of a flow that begins here with a reassembled datagram, to be broadcast to the other workers; `None`
    /// over the rate limit. Anybody can send fragments, so this shares the limit of searches.
    #[cold]
    pub(crate) fn hash_to_broadcast<A: Address>(
        &mut self,
        key: &FlowKey<A>,
        now: Time,
    ) -> Option<u64> {
        self.search.allow(now).then(|| self.hasher.hash_one(key))
    }

    /// Handles the message that a flow has begun on another worker with a reassembled datagram.
    pub(crate) fn note_begun_elsewhere(&mut self, flow: u64, real: RealId, until: Time) {
        self.begun_elsewhere.note(flow, real, until);
    }

    /// The real server that another worker chose for a flow that began there with a reassembled datagram.
    pub(crate) fn begun_elsewhere<'s, A: Address>(
        &self,
        snapshot: &'s Snapshot,
        service: &VirtualService,
        key: &FlowKey<A>,
        now: Time,
    ) -> Option<&'s RealServer> {
        if self.begun_elsewhere.is_empty(now) {
            return None;
        }
        let name = self.hasher.hash_one(key);
        self.begun_elsewhere.real_of(snapshot, service, name, now)
    }

    /// Whether all network ports are known to spread flows as `steering` computes. All of them, since a flow may move
    /// to another port, and ICMP errors about it may arrive on any.
    fn is_steered(&self, snapshot: &Snapshot) -> bool {
        self.steering.is_some() && snapshot.is_steered()
    }

    /// Counts, for one new session in [`SAMPLE`], whether the device put its first packet into the computed queue.
    #[inline]
    fn sample_place<A: Address>(
        &mut self,
        snapshot: &Snapshot,
        key: &FlowKey<A>,
        packet: &Packet,
        origin: Origin,
    ) {
        self.begun = self.begun.wrapping_add(1);
        let Some(steering) = self
            .steering
            .as_deref()
            .filter(|_| self.begun.is_multiple_of(SAMPLE))
        else {
            return;
        };
        let came_here =
            origin.hops == 0 && origin.cut.is_none() && steering::is_certainly_plain(packet);
        let Some(id) = snapshot.device_of(origin.port).filter(|_| came_here) else {
            return;
        };
        let is_steered = snapshot.device(id).is_some_and(|device| device.steered);
        if let Some(counters) = self.stats.queues(id).filter(|_| is_steered) {
            let right = flow_worker(steering, key) == self.start.worker;
            let counter = if right {
                &counters.placed
            } else {
                &counters.misplaced
            };
            counter.add(1);
        }
    }

    /// The other worker that owns a flow of the service; `None` if it is this one.
    pub(crate) fn owner_of<A: Address>(
        &self,
        service: &VirtualService,
        key: &FlowKey<A>,
    ) -> Option<usize> {
        self.owner(service.owner, key)
            .filter(|owner| *owner != self.start.worker)
    }

    /// The worker that owns a flow by this rule; `None` for the worker that receives it.
    #[inline]
    fn owner<A: Address>(&self, rule: Owner, key: &FlowKey<A>) -> Option<usize> {
        let (client, port) = (key.client, key.client_port);
        match rule {
            Owner::Receiver => None,
            Owner::Socket => Some(self.choose_worker((client.words(), port))),
            Owner::Network(bits) => Some(self.choose_worker((client.network(bits).words(), 0_u16))),
            Owner::Flow => self.steering.as_deref().map(|it| flow_worker(it, key)),
        }
    }

    /// The worker that reassembles the fragments from one address to another: the one that receives them, if that is
    /// known.
    pub(crate) fn collector<A: Address>(&self, source: A, destination: A) -> usize {
        match &self.steering {
            Some(steering) => steering.worker_of_pair(source, destination),
            None => self.choose_worker((source.words(), destination.words())),
        }
    }

    /// Whether a packet that is handed over from worker to worker has not visited all of them yet.
    pub(crate) fn has_next(&self, origin: Origin) -> bool {
        usize::from(origin.hops) + 1 < self.start.workers
    }

    /// Hands the packet over to the next worker, to search there for its session.
    pub(crate) fn pass_on(&self) -> Action {
        Action::HandOver {
            to: (self.start.worker + 1) % self.start.workers.max(1),
            lane: Lane::Search,
        }
    }

    /// Chooses a worker by a hash of `key`. The result is the same on every worker.
    #[inline]
    fn choose_worker(&self, key: impl std::hash::Hash) -> usize {
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash % self.start.workers.max(1) as u64).unwrap_or(0)
    }
}

/// Whether the address is multicast or broadcast.
fn is_multicast_or_broadcast(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// The worker that receives a client's packets, computed as the NIC does.
fn flow_worker<A: Address>(steering: &steering::Steering, key: &FlowKey<A>) -> usize {
    let client = (key.client, key.client_port);
    steering.worker_of_flow(
        key.protocol,
        client,
        (key.virtual_address, key.virtual_port),
    )
}
