//! Which session a packet belongs to: it is found, begun, or ended.
//! Where its packets go is asked of the forwarder (`leave/`).

use std::sync::Arc;

use crate::pipeline::balance::choosing::Choosing;
use crate::pipeline::balance::service_cache::ServiceCache;
use crate::pipeline::handover::owners::Owners;
use crate::pipeline::limit::ErrorLimit;
use crate::pipeline::sessions::Sessions;
use crate::schedule::Start;
use crate::stats::WorkerStats;

pub(crate) mod admit;
pub(crate) mod advance;
pub(crate) mod begin;
pub(crate) mod choosing;
pub(crate) mod flush;
pub(crate) mod idle;
pub(crate) mod lookup;
pub(crate) mod one_packet;
pub(crate) mod persist;
pub(crate) mod sequence_numbers;
pub(crate) mod service_cache;
pub(crate) mod shed;

/// One worker's balancer: its sessions, and what it remembers to find and begin them.
#[derive(Debug)]
pub(crate) struct Balancer {
    start: Start,
    stats: Arc<WorkerStats>,
    pub(crate) sessions: Sessions,
    service_cache: ServiceCache,
    choosing: Choosing,
    pub(crate) owners: Owners,
    /// On sessions that are begun by an error about one (IPVS: `schedule_icmp`).
    begun_by_errors: ErrorLimit,
}

impl Balancer {
    pub(crate) fn new(
        start: Start,
        stats: Arc<WorkerStats>,
        sessions: Sessions,
        choosing: Choosing,
        owners: Owners,
    ) -> Self {
        Self {
            start,
            stats,
            sessions,
            service_cache: ServiceCache::new(),
            choosing,
            owners,
            begun_by_errors: ErrorLimit::default(),
        }
    }
}
