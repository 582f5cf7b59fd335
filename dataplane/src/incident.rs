//! What a worker tells the control thread of, so that people learn of it: a bounded queue that loses what is too much.
//! Nothing is logged or decided here, and packets in themselves are no incidents: counters tell of those.

use std::net::IpAddr;

use crossbeam::queue::ArrayQueue;

use crate::snapshot::id::PortId;
use crate::wire::Mac;

/// Incidents that wait for the control thread at most; it looks every second.
const WAITING: usize = 256;

/// Something that people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// A neighbour that packets waited for has not answered; they are dropped.
    NeighbourUnreachable {
        /// On which port it was asked for.
        port: PortId,
        /// Which.
        address: IpAddr,
    },
    /// A neighbour that packets waited for has answered.
    NeighbourReachable {
        /// On which port.
        port: PortId,
        /// Which.
        address: IpAddr,
    },
    /// Somebody else has claimed an address of ours. Told every 10 seconds at most for each address.
    AddressConflict {
        /// On which port.
        port: PortId,
        /// Which.
        address: IpAddr,
        /// Whose claim it is.
        mac: Mac,
    },
}

/// One worker's incidents. The worker writes, the control thread reads.
#[derive(Debug)]
pub struct Incidents {
    waiting: ArrayQueue<Incident>,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            waiting: ArrayQueue::new(WAITING),
        }
    }
}

impl Incidents {
    /// Has an incident told; what finds no room is forgotten.
    pub(crate) fn put(&self, incident: Incident) {
        let _ = self.waiting.push(incident);
    }

    /// The oldest incident that nobody has taken yet.
    #[must_use]
    pub fn take(&self) -> Option<Incident> {
        self.waiting.pop()
    }
}
