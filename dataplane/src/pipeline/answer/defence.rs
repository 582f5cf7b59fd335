//! How often our addresses are defended against others who claim them.
//! What a claim is, and how an address is defended, is `local.rs`'s.

use std::net::IpAddr;

use ahash::RandomState;

use crate::id::PortId;
use crate::pipeline::answer::limit::ErrorLimit;
use crate::time::Time;

/// Between two defences of an address (RFC 5227 section 1.1: `DEFEND_INTERVAL`).
const INTERVAL_MS: u64 = 10_000;
/// Addresses that are remembered; of those with the same place only the last is. Whoever claims thousands of a prefix
/// has some defended sooner again, within the limit on all, and none forgotten.
const PLACES: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Defended {
    port: PortId,
    address: IpAddr,
    at: Time,
}

/// What one worker has defended within the last seconds.
#[derive(Debug)]
pub(crate) struct Defences {
    places: Box<[Option<Defended>]>,
    all: ErrorLimit,
    hasher: RandomState,
}

impl Defences {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self {
            places: vec![None; PLACES].into(),
            all: ErrorLimit::default(),
            hasher,
        }
    }

    /// Whether `address` is to be defended now, which is then remembered: not in every turn of a quarrel (RFC 5227
    /// section 2.4 (b)).
    pub(crate) fn is_due(&mut self, port: PortId, address: IpAddr, now: Time) -> bool {
        let hash = self.hasher.hash_one((port, address));
        let place = usize::try_from(hash % PLACES as u64).unwrap_or(0);
        let Some(place) = self.places.get_mut(place) else {
            return false;
        };
        let was_recent = place.is_some_and(|last| {
            (last.port, last.address) == (port, address) && now.ms_since(last.at) < INTERVAL_MS
        });
        if was_recent || !self.all.allow(now) {
            return false;
        }
        *place = Some(Defended {
            port,
            address,
            at: now,
        });
        true
    }
}
