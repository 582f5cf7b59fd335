//! Limits how often an address of ours is defended against another host that claims it.
//! What a claim is, and how an address is defended, is in `local.rs`.

use std::net::IpAddr;

use ahash::RandomState;

use crate::id::PortId;
use crate::pipeline::limit::ErrorLimit;
use crate::time::Time;

/// The least time between two defences of an address (RFC 5227 section 1.1: `DEFEND_INTERVAL`).
const INTERVAL_MS: u64 = 10_000;
/// Entries of the table of defended addresses. Of addresses with the same entry, only the last is stored: if thousands
/// of addresses are claimed, some are defended again earlier, within the limit on all defences.
const PLACES: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Defended {
    port: PortId,
    address: IpAddr,
    at: Time,
}

/// The addresses that one worker has defended in the last seconds.
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

    /// Whether `address` is to be defended now. If so, the defence is recorded, so that two hosts do not announce the
    /// address in an endless loop (RFC 5227 section 2.4 (b)).
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
