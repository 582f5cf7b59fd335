//! What a worker tells the control thread of, so that people learn of it: a bounded queue that loses what is too much.
//! Nothing is logged or decided here, and packets in themselves are no incidents: counters tell of those.

use std::net::IpAddr;

use crossbeam::queue::ArrayQueue;

use crate::id::PortId;
use crate::wire::Mac;

/// Incidents that wait for the control thread at most; it looks every second.
const WAITING: usize = 256;
/// The same of claimed addresses, apart from the others: whoever claims one could have many neighbours asked for.
const CONFLICTS: usize = 64;

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
    conflicts: ArrayQueue<Incident>,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            waiting: ArrayQueue::new(WAITING),
            conflicts: ArrayQueue::new(CONFLICTS),
        }
    }
}

impl Incidents {
    /// Has an incident told; what finds no room is forgotten.
    pub(crate) fn put(&self, incident: Incident) {
        let queue = match incident {
            Incident::AddressConflict { .. } => &self.conflicts,
            Incident::NeighbourUnreachable { .. } | Incident::NeighbourReachable { .. } => {
                &self.waiting
            }
        };
        let _ = queue.push(incident);
    }

    /// The oldest incident that nobody has taken yet; claimed addresses first.
    #[must_use]
    pub fn take(&self) -> Option<Incident> {
        self.conflicts.pop().or_else(|| self.waiting.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_address_is_told_although_many_neighbours_do_not_answer() {
        let incidents = Incidents::default();
        let (port, address) = (PortId::new(1), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..1000 {
            incidents.put(Incident::NeighbourUnreachable { port, address });
        }
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let conflict = Incident::AddressConflict { port, address, mac };
        incidents.put(conflict);
        let told: Vec<_> = std::iter::from_fn(|| incidents.take()).collect();
        assert!(told.contains(&conflict));
        assert_eq!(told.len(), WAITING + 1);
    }
}
