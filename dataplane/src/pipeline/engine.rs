//! What one worker's packet path remembers: all that moves. The other half is the [`Snapshot`](crate::snapshot::Snapshot).
//! What is done with it is in the stages' files.

use std::sync::Arc;

use ahash::RandomState;

use super::action::Received;
use super::answer::limit::Limits;
use super::answer::local::Host;
use super::answer::path_mtu::PathMtus;
use super::balance::advance::Counting;
use super::balance::choosing::Choosing;
use super::balance::flush::Flush;
use super::balance::service_cache::ServiceCache;
use super::fast::path_cache::PathCache;
use super::handover::message::Inboxes;
use super::handover::owners::Owners;
use super::leave::exit::Exit;
use super::sessions::Sessions;
use crate::io::Pool;
use crate::memory::Memory;
use crate::reassembly::Reassembly;
use crate::schedule::Start;
use crate::session::SessionTable;
use crate::snapshot::Snapshot;
use crate::stats::WorkerStats;
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
    /// Where the session tables lie.
    pub memory: Memory,
    /// Whether the memory for sessions' side lines is taken at the start: some service has `idle_reset`.
    pub side_lines: bool,
    /// How ports that can be told spread flows over the workers; `None` if there is no such port. The same
    /// for all workers.
    pub steering: Option<Arc<Steering>>,
}

impl Config {
    /// Tables on the heap, side lines' memory as sessions need it, no steering.
    #[must_use]
    pub const fn new(start: Start, sessions: u32, keys: [u64; 4]) -> Self {
        Self {
            start,
            sessions,
            keys,
            memory: Memory::HEAP,
            side_lines: false,
            steering: None,
        }
    }
}

/// One worker's half of the packet path: all that moves. The other half is the [`Snapshot`].
#[derive(Debug)]
pub(crate) struct Engine<P: Pool> {
    pub(super) start: Start,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) sessions: Sessions,
    /// Whether half-open sessions hold too much of a session table.
    pub(super) half_open_pressure: bool,
    /// What the packet at hand was, if it will have to wait for a neighbour.
    pub(super) received: Option<Received>,
    pub(super) path_cache: PathCache,
    pub(super) service_cache: ServiceCache,
    pub(super) choosing: Choosing,
    pub(super) flush: Flush,
    pub(crate) owners: Owners,
    pub(super) reassembly: Reassembly,
    pub(super) limits: Limits,
    pub(super) host: Host,
    pub(super) path_mtus: PathMtus,
    pub(crate) exit: Exit<P>,
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
        let start = config.start;
        let steering = config.steering.clone();
        let mut sessions = Sessions {
            worker: start.worker,
            v4: SessionTable::new(config.sessions, config.keys, config.memory),
            v6: SessionTable::new(config.sessions, config.keys, config.memory),
        };
        if config.side_lines {
            sessions.v4.write_side_lines();
            sessions.v6.write_side_lines();
        }
        Self {
            start,
            sessions,
            half_open_pressure: false,
            received: None,
            path_cache: PathCache::new(),
            service_cache: ServiceCache::new(),
            choosing: Choosing::new(hasher.clone(), a ^ start.worker as u64),
            flush: Flush::default(),
            owners: Owners::new(start, hasher.clone(), steering, Arc::clone(&stats)),
            reassembly: Reassembly::new(hasher.clone()),
            limits: Limits::new(hasher.clone()),
            host: Host::new(hasher.clone(), Arc::clone(&stats)),
            path_mtus: PathMtus::new(hasher.clone()),
            exit: Exit::new(start, hasher, pool, Arc::clone(&stats), inboxes),
            stats,
        }
    }

    /// What this worker counts packets by.
    #[inline]
    pub(super) fn counting<'a>(&self, snapshot: &'a Snapshot) -> Option<Counting<'a>> {
        Counting::new(snapshot, self.start.worker)
    }
}
