//! What one worker's packet path remembers: all that moves. The other half is the [`Snapshot`](crate::snapshot::Snapshot).
//! What is done with it is in the stages' files.

use std::sync::Arc;

use ahash::RandomState;

use super::answer::local::Host;
use super::answer::refuse::Answers;
use super::answer::relay::Relay;
use super::balance::Balancer;
use super::balance::choosing::Choosing;
use super::balance::flush::Flush;
use super::fragments::Fragments;
use super::handover::message::Inboxes;
use super::handover::owners::Owners;
use super::leave::exit::Exit;
use super::leave::forward::Forwarder;
use super::sessions::Sessions;
use crate::io::Pool;
use crate::memory::Memory;
use crate::schedule::Start;
use crate::session::SessionTable;
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

/// One worker's half of the packet path: its stages, each with what it alone remembers. The other half is the
/// [`Snapshot`](crate::snapshot::Snapshot).
#[derive(Debug)]
pub(crate) struct Engine<P: Pool> {
    pub(super) worker: usize,
    pub(crate) stats: Arc<WorkerStats>,
    /// Which session a packet belongs to.
    pub(crate) balancer: Balancer,
    pub(super) flush: Flush,
    pub(super) fragments: Fragments,
    /// ICMP errors about sessions.
    pub(super) relay: Relay,
    /// ARP, NDP and echo.
    pub(super) host: Host,
    /// Resets and ICMP errors.
    pub(super) answers: Answers,
    /// How packets leave.
    pub(crate) forwarder: Forwarder<P>,
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
            half_open_pressure: false,
            v4: SessionTable::new(config.sessions, config.keys, config.memory),
            v6: SessionTable::new(config.sessions, config.keys, config.memory),
        };
        if config.side_lines {
            sessions.v4.write_side_lines();
            sessions.v6.write_side_lines();
        }
        let choosing = Choosing::new(hasher.clone(), a ^ start.worker as u64);
        let owners = Owners::new(start, hasher.clone(), steering, Arc::clone(&stats));
        let exit = Exit::new(start, hasher.clone(), pool, Arc::clone(&stats), inboxes);
        Self {
            worker: start.worker,
            balancer: Balancer::new(start, Arc::clone(&stats), sessions, choosing, owners),
            flush: Flush::default(),
            fragments: Fragments::new(hasher.clone(), Arc::clone(&stats)),
            relay: Relay::new(hasher.clone()),
            host: Host::new(hasher.clone(), Arc::clone(&stats)),
            answers: Answers::default(),
            forwarder: Forwarder::new(hasher, exit),
            stats,
        }
    }
}
