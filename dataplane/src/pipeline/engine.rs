//! What one worker's packet path remembers: all that moves. The other half is the [`Snapshot`](crate::snapshot::Snapshot).
//! What is done with it is in the stages' files.

use std::sync::Arc;

use ahash::RandomState;

use super::action::{Received, Waiting};
use super::defence::Defences;
use super::elsewhere::Elsewhere;
use super::flush::Flush;
use super::lately::Lately;
use super::limit::{ErrorLimit, FlowLimit, MadeHere, SEARCHES_PER_SECOND};
use super::message::{Inboxes, Leaving};
use super::outgoing::Outgoing;
use super::path_mtu::PathMtus;
use super::policer::Policer;
use super::reply_cache::ReplyCache;
use super::sessions::Sessions;
use super::shed::Shedder;
use super::way::Ways;
use crate::id::RealId;
use crate::io::Pool;
use crate::neighbour::Neighbours;
use crate::reassembly::Reassembly;
use crate::schedule::Start;
use crate::schedule::destinations::Destinations;
use crate::schedule::random::Random;
use crate::session::SessionTable;
use crate::snapshot::Snapshot;
use crate::stats::{RealCounters, WorkerStats};
use crate::steering::Steering;

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

/// One worker's half of the packet path: all that moves. The other half is the [`Snapshot`].
#[derive(Debug)]
pub(crate) struct Engine<P: Pool> {
    pub(super) start: Start,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) sessions: Sessions,
    pub(super) neighbours: Neighbours<Waiting<P::Buf>>,
    pub(super) reassembly: Reassembly,
    pub(super) pool: P,
    /// Frames to be sent, by port.
    pub(crate) out: Vec<Outgoing<P::Buf>>,
    /// Every worker's inbox, this one's included.
    pub(crate) inboxes: Inboxes<P::Buf>,
    /// Frames for other workers, until the burst is through.
    pub(super) leaving: Leaving<P::Buf>,
    pub(super) owners: RandomState,
    pub(super) steering: Option<Arc<Steering>>,
    /// Counts first packets of sessions, to look at a part of them.
    pub(super) begun: u8,
    pub(super) destinations: Destinations,
    pub(super) random: Random,
    pub(super) shedder: Shedder,
    pub(super) flush: Flush,
    pub(super) next_id: u16,
    /// Over the errors and resets made here.
    pub(super) made: MadeHere,
    /// Over the errors about sessions that are passed on, by session.
    pub(super) relayed: FlowLimit,
    /// Over the errors that look for their session on other workers, by the flow that they quote.
    pub(super) searched: FlowLimit,
    /// What the packet at hand was, if it will have to wait for a neighbour.
    pub(super) received: Option<Received>,
    pub(super) policer: Policer,
    /// Over all other packets that look for their session on other workers.
    pub(super) search: ErrorLimit,
    pub(super) path_mtus: PathMtus,
    pub(super) ways: Ways,
    pub(super) lately: Lately,
    pub(super) elsewhere: Elsewhere,
    pub(super) reply_cache: ReplyCache,
    /// Whether half-open sessions hold too much of a session table.
    pub(super) pressed: bool,
    pub(super) defences: Defences,
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
            search: ErrorLimit::new(SEARCHES_PER_SECOND),
            destinations: Destinations::new(hasher.clone()),
            random: Random::new(a ^ config.start.worker as u64),
            shedder: Shedder::default(),
            flush: Flush::default(),
            defences: Defences::new(hasher.clone()),
            policer: Policer::new(&hasher),
            path_mtus: PathMtus::new(hasher.clone()),
            ways: Ways::new(),
            lately: Lately::new(),
            elsewhere: Elsewhere::new(),
            reply_cache: ReplyCache::new(),
            owners: hasher.clone(),
            next_id: u16::try_from(config.start.worker).unwrap_or(0),
            made: MadeHere::default(),
            relayed: FlowLimit::new(hasher.clone()),
            searched: FlowLimit::new(hasher.clone()),
            received: None,
            pressed: false,
        }
    }

    /// This worker's counters of a real server.
    #[inline]
    pub(super) fn counters<'a>(
        &self,
        snapshot: &'a Snapshot,
        real: RealId,
    ) -> Option<&'a RealCounters> {
        snapshot.workers.get(self.start.worker)?.reals.get(real.0)
    }
}
