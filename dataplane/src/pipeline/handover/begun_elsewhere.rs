//! Flows that another worker began with a datagram in fragments, and the real server that it chose: where ports do not say
//! how they spread flows, their whole datagrams may come to any worker.
//! It remembers what it is told; sessions are begun in `balance/begin.rs`.

use crate::id::RealId;
use crate::snapshot::Snapshot;
use crate::snapshot::model::{RealServer, VirtualService};
use crate::time::Time;

/// Flows that are remembered, a power of two; of two with the same place the newer one is. 24 KiB.
const PLACES: usize = 1024;

/// One flow.
#[derive(Debug, Clone, Copy)]
struct Flow {
    /// Keyed, of all of its key, so that two that are remembered for each other are nobody's doing.
    hash: u64,
    real: RealId,
    /// When the session ends that the other worker has, if no further packet comes there.
    until: Time,
}

/// What one worker was told.
#[derive(Debug)]
pub(crate) struct BegunElsewhere {
    flows: Box<[Flow]>,
    /// When the last of them ends.
    last: Time,
}

impl BegunElsewhere {
    pub(crate) fn new() -> Self {
        let nothing = Flow {
            hash: 0,
            real: RealId(0),
            until: Time::default(),
        };
        Self {
            flows: vec![nothing; PLACES].into(),
            last: Time::default(),
        }
    }

    pub(crate) fn note(&mut self, hash: u64, real: RealId, until: Time) {
        if let Some(flow) = self.flows.get_mut(place(hash)) {
            *flow = Flow { hash, real, until };
            self.last = self.last.max(until);
        }
    }

    /// Whether any flow may be remembered.
    pub(crate) fn is_empty(&self, now: Time) -> bool {
        self.last <= now
    }

    /// The real server that the flow is at, if it takes new sessions of this service.
    pub(crate) fn real_of<'s>(
        &self,
        snapshot: &'s Snapshot,
        service: &VirtualService,
        hash: u64,
        now: Time,
    ) -> Option<&'s RealServer> {
        let flow = self.flows.get(place(hash))?;
        let real = snapshot.real(flow.real)?;
        let is_its = flow.hash == hash && flow.until > now && real.service == service.id;
        (is_its && real.is_available() && real.spec.weight > 0).then_some(real)
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash).unwrap_or(0) % PLACES
}
