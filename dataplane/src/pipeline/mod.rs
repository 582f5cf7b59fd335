//! The packet path: the only file that names all stages, in order, straight-line over a burst.
//! Each stage's own decisions are in the files beside this one and in the rooms they use.

mod admit;
mod balance;
mod begin;
mod classify;
mod defence;
mod deliver;
mod elsewhere;
mod established;
mod flush;
mod forward;
mod fragments;
mod hops;
mod icmp;
mod idle;
mod inbox;
mod lately;
mod limit;
mod local;
mod message;
mod one_packet;
mod owner;
mod path_mtu;
mod persist;
mod policer;
mod refuse;
mod reply_cache;
mod transit;
mod tunnel_errors;
mod way;

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::flow::{Address, FlowKey, Protocol, ReplyKey, V4, V6};
use crate::io::{BURST, PacketBuf, Pool};
use crate::neighbour::Neighbours;
use crate::parse::{Packet, Parse, parse};
use crate::prefetch::prefetch;
use crate::reassembly::Reassembly;
use crate::rewrite::family::Family;
use crate::schedule::Start;
use crate::schedule::destinations::Destinations;
use crate::schedule::random::Random;
use crate::session::SessionTable;
use crate::snapshot::Snapshot;
use crate::snapshot::id::{PortId, RealId};
use crate::snapshot::model::WorkerTable;
use crate::snapshot::policy::Shedder;
use crate::snapshot::spec::PortRole;
use crate::stats::{RealCounters, WorkerStats};
use crate::steering::Steering;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};

pub use inbox::{Frames, Inbox};
pub use message::{Batch, Inboxes, MOST_OWNED, MOST_SEARCHES, Message, Whole, inboxes};

use deliver::Outgoing;
use established::{Glances, Kind, lookahead};
use inbox::Lane;
use message::{Cut, Leaving};

/// What one worker is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which worker this is, and how many there are.
    pub start: Start,
    /// Sessions of each address family at most.
    pub sessions: u32,
    /// Keys of the session tables and of the choice of a flow's owner. The same for all workers.
    pub keys: [u64; 4],
    /// How ports that can be told spread flows over the workers; `None` if there is no such port. The same
    /// for all workers.
    pub steering: Option<Arc<Steering>>,
}

/// How a packet came here.
#[derive(Debug, Clone, Copy)]
struct Origin {
    port: PortId,
    hops: u8,
    /// Set for a datagram that was put together here.
    cut: Option<Cut>,
}

/// What is to be done with a packet, once its bytes are as they shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Drop(DropReason),
    /// Send the datagram behind the Ethernet header to `next_hop`, cut into fragments if `cut`.
    Route {
        port: PortId,
        next_hop: IpAddr,
        cut: Option<Cut>,
        verdict: Verdict,
    },
    /// Send the frame as it is.
    Emit {
        port: PortId,
        verdict: Verdict,
    },
    /// Give the frame, as it was received, to another worker.
    HandOver {
        to: usize,
        lane: Lane,
    },
    /// It is a fragment: keep it until its datagram is whole.
    Reassemble(Packet),
    /// Nothing more: it has been used, or is of no interest.
    Consume,
}

/// The verdict that received frames get once the frame that stands for them has left.
#[derive(Debug, Clone, Copy)]
struct Fate {
    verdict: Verdict,
    /// How many were received for it: a datagram's fragments, else 1.
    frames: u32,
}

/// A frame on its way; those made here have no fate.
#[derive(Debug)]
pub(crate) struct Waiting<B> {
    frame: B,
    fate: Option<Fate>,
    /// What its sender is told about if the neighbour does not answer.
    received: Option<Received>,
}

/// The beginning of a client's packet, as it came: an error about it quotes what its sender sent
/// (RFC 1812 section 4.3.2.3), and by then it is rewritten.
#[derive(Debug)]
struct Received {
    packet: Packet,
    datagram: Box<[u8]>,
}

/// The session tables of both families.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) v4: SessionTable<V4>,
    pub(crate) v6: SessionTable<V6>,
}

/// A family that has a session table.
pub(crate) trait Tabled: Family {
    fn table(sessions: &mut Sessions) -> &mut SessionTable<Self>;
    fn table_of(sessions: &Sessions) -> &SessionTable<Self>;
}

impl Tabled for V4 {
    #[inline]
    fn table(sessions: &mut Sessions) -> &mut SessionTable<Self> {
        &mut sessions.v4
    }

    #[inline]
    fn table_of(sessions: &Sessions) -> &SessionTable<Self> {
        &sessions.v4
    }
}

impl Tabled for V6 {
    #[inline]
    fn table(sessions: &mut Sessions) -> &mut SessionTable<Self> {
        &mut sessions.v6
    }

    #[inline]
    fn table_of(sessions: &Sessions) -> &SessionTable<Self> {
        &sessions.v6
    }
}

/// One worker's half of the packet path: all that moves. The other half is the [`Snapshot`].
#[derive(Debug)]
pub(crate) struct Engine<P: Pool> {
    start: Start,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) sessions: Sessions,
    neighbours: Neighbours<Waiting<P::Buf>>,
    reassembly: Reassembly,
    pool: P,
    /// Frames to be sent, by port.
    pub(crate) out: Vec<Outgoing<P::Buf>>,
    /// Every worker's inbox, this one's included.
    pub(crate) inboxes: Inboxes<P::Buf>,
    /// Frames for other workers, until the burst is through.
    leaving: Leaving<P::Buf>,
    owners: RandomState,
    steering: Option<Arc<Steering>>,
    /// Counts first packets of sessions, to look at a part of them.
    begun: u8,
    destinations: Destinations,
    random: Random,
    shedder: Shedder,
    flush: flush::Flush,
    next_id: u16,
    /// Over the errors and resets made here.
    made: limit::MadeHere,
    /// Over the errors about sessions that are passed on, by session.
    relayed: limit::FlowLimit,
    /// Over the errors that look for their session on other workers, by the flow that they quote.
    searched: limit::FlowLimit,
    /// What the packet at hand was, if it will have to wait for a neighbour.
    received: Option<Received>,
    policer: policer::Policer,
    /// Over all other packets that look for their session on other workers.
    search: limit::ErrorLimit,
    path_mtus: path_mtu::PathMtus,
    ways: way::Ways,
    lately: lately::Lately,
    elsewhere: elsewhere::Elsewhere,
    reply_cache: reply_cache::ReplyCache,
    /// Whether half-open sessions hold too much of a session table.
    pressed: bool,
    defences: defence::Defences,
}

impl<P: Pool> Engine<P> {
    pub(crate) fn new(
        config: &Config,
        pool: P,
        stats: Arc<WorkerStats>,
        inboxes: Inboxes<P::Buf>,
    ) -> Self {
        let [a, b, c, d] = config.keys;
        let hasher = RandomState::with_seeds(a, b, c, d);
        let ports = stats.ports.len();
        Self {
            start: config.start,
            stats,
            sessions: Sessions {
                v4: SessionTable::new(config.sessions, config.keys),
                v6: SessionTable::new(config.sessions, config.keys),
            },
            neighbours: Neighbours::new(hasher.clone()),
            reassembly: Reassembly::new(hasher.clone()),
            pool,
            out: (0..ports).map(|_| Outgoing::new()).collect(),
            inboxes,
            leaving: Leaving::new(config.start.workers),
            steering: config.steering.clone(),
            begun: 0,
            search: limit::ErrorLimit::new(limit::SEARCHES_PER_SECOND),
            destinations: Destinations::new(hasher.clone()),
            random: Random::new(a ^ config.start.worker as u64),
            shedder: Shedder::default(),
            flush: flush::Flush::default(),
            defences: defence::Defences::new(hasher.clone()),
            policer: policer::Policer::new(&hasher),
            path_mtus: path_mtu::PathMtus::new(hasher.clone()),
            ways: way::Ways::new(),
            lately: lately::Lately::new(),
            elsewhere: elsewhere::Elsewhere::new(),
            reply_cache: reply_cache::ReplyCache::new(),
            owners: hasher.clone(),
            next_id: u16::try_from(config.start.worker).unwrap_or(0),
            made: limit::MadeHere::default(),
            relayed: limit::FlowLimit::new(hasher.clone()),
            searched: limit::FlowLimit::new(hasher.clone()),
            received: None,
            pressed: false,
        }
    }

    /// Takes all of `frames`, at most [`BURST`], through all stages. `hops` counts the workers that
    /// passed them on. Returns how many bytes they had.
    pub(crate) fn burst(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        hops: u8,
        frames: &mut Vec<P::Buf>,
        now: Time,
    ) -> u64 {
        let bytes = self.stages(snapshot, port, hops, frames, now);
        if !self.leaving.is_empty() {
            self.hand_over_all();
        }
        bytes
    }

    #[inline]
    fn stages(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        hops: u8,
        frames: &mut Vec<P::Buf>,
        now: Time,
    ) -> u64 {
        let mut bytes = 0;
        for frame in frames.iter() {
            let frame = frame.bytes();
            prefetch(frame, 0);
            bytes += frame.len() as u64;
        }
        let Some(spec) = snapshot.ports.get(usize::from(port.0)) else {
            self.stats
                .count(Verdict::Dropped(DropReason::NotLocal), frames.len() as u64);
            frames.clear();
            return bytes;
        };
        if let PortRole::Kernel { network } = spec.role {
            for frame in frames.drain(..) {
                let verdict = Verdict::Forwarded;
                self.emit(frame, network, Some(Fate { verdict, frames: 1 }));
            }
            return bytes;
        }
        let origin = Origin {
            port,
            hops,
            cut: None,
        };
        self.renew_ways(snapshot, now);
        let own = snapshot.workers.get(self.start.worker);
        let Some(WorkerTable { reals, .. }) = own else {
            for frame in frames.drain(..) {
                let parse = parse(frame.bytes());
                self.one(snapshot, frame, &parse, origin, now);
            }
            return bytes;
        };
        let nat = snapshot.has_nat();
        let mut glances = Glances::default();
        for frame in frames.iter().take(BURST) {
            self.glance(snapshot, nat, spec, frame.bytes(), &mut glances);
        }
        let mut arriving = frames.drain(..);
        let (mut v4, mut v6) = (&mut glances.v4[..], &mut glances.v6[..]);
        self.step_nearer(v4, 0, lookahead::<V4>());
        self.step_nearer(v6, 0, lookahead::<V6>());
        for run in glances.kinds.chunk_by(PartialEq::eq) {
            let count = run.len();
            match run.first() {
                Some(Kind::V4) => {
                    self.pass_run(snapshot, reals, &mut arriving, count, v4, origin, now);
                    v4 = v4.get_mut(count..).unwrap_or_default();
                }
                Some(Kind::V6) => {
                    self.pass_run(snapshot, reals, &mut arriving, count, v6, origin, now);
                    v6 = v6.get_mut(count..).unwrap_or_default();
                }
                Some(Kind::Other) | None => {
                    for frame in arriving.by_ref().take(count) {
                        let parse = parse(frame.bytes());
                        self.one(snapshot, frame, &parse, origin, now);
                    }
                    self.renew_ways(snapshot, now);
                }
            }
        }
        bytes
    }

    /// The long way: decision, rewriting and delivery of one frame, whatever it is.
    #[inline(never)]
    fn one(
        &mut self,
        snapshot: &Snapshot,
        mut frame: P::Buf,
        parse: &Parse,
        origin: Origin,
        now: Time,
    ) {
        let action = self.classify(snapshot, &mut frame, parse, origin, now);
        self.act(snapshot, frame, action, origin, now);
    }

    /// Delivers a frame as was decided.
    #[inline]
    fn act(
        &mut self,
        snapshot: &Snapshot,
        frame: P::Buf,
        action: Action,
        origin: Origin,
        now: Time,
    ) {
        let received = self.received.take();
        match action {
            Action::Drop(reason) => self.stats.count(Verdict::Dropped(reason), 1),
            Action::Route {
                port,
                next_hop,
                cut: None,
                verdict,
            } => {
                let fate = Some(Fate { verdict, frames: 1 });
                let waiting = Waiting {
                    frame,
                    fate,
                    received,
                };
                self.send(snapshot, waiting, port, next_hop, now);
            }
            Action::Route {
                port,
                next_hop,
                cut: Some(cut),
                verdict,
            } => {
                let fate = Fate { verdict, frames: 1 };
                self.send_cut(snapshot, frame.bytes(), port, next_hop, cut, fate, now);
            }
            Action::Emit {
                verdict: Verdict::Punted,
                ..
            } if !self.may_punt(snapshot, origin.port, frame.bytes(), now) => {
                let verdict = Verdict::Dropped(DropReason::PuntLimited);
                self.stats.count(verdict, 1);
            }
            Action::Emit { port, verdict } => {
                self.emit(frame, port, Some(Fate { verdict, frames: 1 }));
            }
            Action::HandOver { to, lane } => self.hand_over_frame((to, lane), frame, origin),
            Action::Reassemble(packet) => {
                self.reassemble(snapshot, frame.bytes(), &packet, origin.port, now);
            }
            Action::Consume => self.stats.count(Verdict::Consumed, 1),
        }
    }

    /// All stages for a datagram that was put together from fragments, here or on the worker that
    /// handed it over.
    pub(crate) fn datagram(
        &mut self,
        snapshot: &Snapshot,
        mut whole: Whole,
        port: PortId,
        hops: u8,
        now: Time,
    ) {
        let origin = Origin {
            port,
            hops,
            cut: Some(whole.cut),
        };
        let parse = parse(whole.frame.bytes());
        let action = self.classify(snapshot, &mut whole.frame, &parse, origin, now);
        // Its frames are gone, and whoever waits for one of many pieces is told nothing.
        self.received = None;
        let count = whole.frames();
        match action {
            Action::Drop(reason) => self.stats.count(Verdict::Dropped(reason), count),
            Action::Route {
                port,
                next_hop,
                cut,
                verdict,
                ..
            } => {
                let fate = Fate {
                    verdict,
                    frames: whole.frames,
                };
                let cut = cut.unwrap_or(Cut {
                    size: usize::MAX,
                    ..whole.cut
                });
                self.send_cut(
                    snapshot,
                    whole.frame.bytes(),
                    port,
                    next_hop,
                    cut,
                    fate,
                    now,
                );
            }
            Action::HandOver { to, lane } => {
                let hops = hops.saturating_add(1);
                self.hand_over((to, lane), Message::Datagram { whole, port, hops });
            }
            Action::Consume => self.stats.count(Verdict::Consumed, count),
            // The kernel's port takes frames as they came, and these are gone.
            Action::Emit { .. } | Action::Reassemble(_) => {
                self.stats
                    .count(Verdict::Dropped(DropReason::LocalUnhandled), count);
            }
        }
    }

    /// Housekeeping between bursts, bounded in work: expiry, neighbours, reassembly.
    pub(crate) fn tick(&mut self, snapshot: &Snapshot, now: Time) {
        self.expire_sessions::<V4>(snapshot, now);
        self.expire_sessions::<V6>(snapshot, now);
        self.flush(snapshot);
        let Sessions { v4, v6 } = &self.sessions;
        self.pressed = is_pressed(v4) || is_pressed(v6);
        let live = self.sessions.v4.len() + self.sessions.v6.len();
        self.stats
            .sessions
            .set(u32::try_from(live).unwrap_or(u32::MAX));
        self.ask_neighbours(snapshot, now);
        self.expire_fragments(snapshot, now);
    }

    /// Whether `tick` has sessions left to end at `now`.
    pub(crate) fn is_behind(&self, now: Time) -> bool {
        let Sessions { v4, v6 } = &self.sessions;
        v4.is_behind(now) || v6.is_behind(now) || self.flush.is_under_way()
    }

    /// When `tick` next has something to do, if that is by `until`.
    pub(crate) fn next_due(&self, until: Time) -> Option<Time> {
        let Sessions { v4, v6 } = &self.sessions;
        let others = [Some(self.neighbours.next_due()), self.reassembly.next_due()];
        [v4.next_due(until), v6.next_due(until)]
            .into_iter()
            .chain(others)
            .flatten()
            .filter(|due| *due <= until)
            .min()
    }

    /// This worker's counters of a real server.
    #[inline]
    fn counters<'a>(&self, snapshot: &'a Snapshot, real: RealId) -> Option<&'a RealCounters> {
        snapshot.workers.get(self.start.worker)?.reals.get(real.0)
    }
}

/// Whether more than a quarter of the table's places are taken by half-open sessions: no crowd of
/// clients is that slow with its handshakes, but a flood is.
fn is_pressed<A: Address>(table: &SessionTable<A>) -> bool {
    table.half_open() > table.capacity() / 4
}

/// The packet as one of a client to a virtual address.
#[inline]
fn flow_key<A>(packet: &Packet, protocol: Protocol, source: A, destination: A) -> FlowKey<A> {
    FlowKey {
        client: source,
        virtual_address: destination,
        client_port: packet.source_port,
        virtual_port: packet.destination_port,
        protocol,
    }
}

/// The packet as one of a NAT real server to a client.
#[inline]
fn reply_key<A>(packet: &Packet, protocol: Protocol, source: A, destination: A) -> ReplyKey<A> {
    ReplyKey {
        client: destination,
        real: source,
        client_port: packet.destination_port,
        real_port: packet.source_port,
        protocol,
    }
}
