//! What schedulers see: real servers, their loads, the packet at hand.
//! Nobody chooses here.

use std::net::IpAddr;

use crate::id::RealId;
use crate::spec::limits::Limits;
use crate::time::Time;

/// A real server as a scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its slot.
    pub real: RealId,
    /// Its share; 0 takes no new sessions.
    pub weight: u32,
    /// How many sessions it shall have.
    pub limits: Limits,
    /// When it came, or came back from weight 0, while the service was there; what slow start counts
    /// from.
    pub since: Option<Time>,
    /// Whether it takes new sessions, apart from its weight: no scheduler's flag lets a client fail for one that does
    /// not, and no table is filled afresh.
    pub is_available: bool,
}

impl Candidate {
    /// Whether it is the same real server, and schedulers give it the same share, apart from its availability.
    #[must_use]
    pub fn has_same_share(&self, other: &Self) -> bool {
        // Without `..`, so that a new field is not forgotten here.
        let Self {
            real,
            weight,
            limits,
            since: _,
            is_available: _,
        } = *self;
        (real, weight, limits) == (other.real, other.weight, other.limits)
    }
}

/// A real server as the tables of the schedulers by hash are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// What the scheduler will see.
    pub candidate: Candidate,
    /// Where it is.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its latest weight that was not 0; 0 if there was none.
    pub last_weight: u32,
}

/// The sessions of a real server, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Sessions in an active state.
    pub active: u64,
    /// All others.
    pub inactive: u64,
}

/// What the schedulers ask about real servers while they choose.
pub trait Loads {
    /// A real server's present sessions.
    fn load(&self, real: RealId) -> Load;
    /// Whether it has reached its upper threshold and not fallen below the lower one since.
    fn is_overloaded(&self, candidate: &Candidate) -> bool;
}

/// Whether a real server takes new sessions at all.
#[inline]
pub(super) fn takes_sessions(candidate: &Candidate, loads: &impl Loads) -> bool {
    candidate.weight > 0 && candidate.is_available && !loads.is_overloaded(candidate)
}

/// What the schedulers by hash and by locality know of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Who sent it.
    pub client: IpAddr,
    /// From which port, host order.
    pub client_port: u16,
    /// To which address.
    pub virtual_address: IpAddr,
}

/// That a real server was removed from a service's list, where it may be again by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Which.
    pub real: RealId,
    /// The one before it in the list; `None` if there was none.
    pub stand_in: Option<RealId>,
    /// The service's revision from then on: who has seen it has drawn the consequences.
    pub revision: u32,
}
