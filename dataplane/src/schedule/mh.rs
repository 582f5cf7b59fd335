//! Maglev hashing: as `sh`, but a change of the list moves few clients beyond those it must.
//! The table is the same on every node, CPU and version: SipHash with fixed keys, nothing else.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::hash::{self, HashFlags, fold};
use super::{Candidate, Flow, Loads, Server, takes_sessions};
use crate::snapshot::id::RealId;

/// Places of the table: the prime that Linux is built with by default (`IP_VS_MH_TAB_INDEX` 12).
pub const PLACES: u32 = 4093;

/// The two hash functions are one with two keys.
const KEYS: [u64; 2] = [2_654_435_761, 2_654_446_892];

/// The most places in a row that one real server takes, in bits (half the table's 12).
const TURN_BITS: u32 = 6;

/// The table.
#[derive(Debug, Clone)]
pub struct Plan {
    places: Arc<[u16]>,
    flags: HashFlags,
}

/// One real server's way through the table.
struct Walk {
    candidate: u16,
    /// The next place it wants.
    place: u32,
    skip: u32,
    /// Places it takes in each round.
    turns: u32,
}

impl Plan {
    /// Fills the table, which takes a moment: this is for the control thread.
    pub(super) fn new(servers: &[Server], flags: HashFlags) -> Self {
        let mut walks = walks(servers);
        let mut places: Vec<Option<u16>> = vec![None; PLACES as usize];
        let mut free = if walks.is_empty() { 0 } else { places.len() };
        'filling: loop {
            for walk in &mut walks {
                for _ in 0..walk.turns {
                    if free == 0 {
                        break 'filling;
                    }
                    // The skip and the number of places have no common divisor, so the walk
                    // comes to every place, and one is free.
                    while let Some(Some(_)) = places.get(walk.place as usize) {
                        walk.place = (walk.place + walk.skip) % PLACES;
                    }
                    if let Some(place) = places.get_mut(walk.place as usize) {
                        *place = Some(walk.candidate);
                    }
                    free -= 1;
                }
            }
            if walks.is_empty() {
                break;
            }
        }
        Self {
            places: places.into_iter().flatten().collect(),
            flags,
        }
    }

    /// The settings.
    #[must_use]
    pub fn flags(&self) -> HashFlags {
        self.flags
    }

    /// The table: places in the list of candidates. Snapshots share it while nothing changes.
    #[must_use]
    pub fn places(&self) -> &[u16] {
        &self.places
    }

    fn at<'c>(&self, candidates: &'c [Candidate], value: u32) -> (u32, Option<&'c Candidate>) {
        let place = hash(value, KEYS[0]) % PLACES;
        let stored = self.places.get(place as usize);
        let candidate = stored.and_then(|stored| hash::candidate(candidates, *stored));
        (place, candidate)
    }
}

/// The walks of those that ever had a weight above 0. Their last one counts, so that draining a
/// real server by weight 0 leaves the table as it is.
fn walks(servers: &[Server]) -> Vec<Walk> {
    let weights = || servers.iter().map(|server| server.last_weight);
    let divisor = weights().fold(0, super::wrr::gcd).max(1);
    let greatest = weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(TURN_BITS);
    servers
        .iter()
        .enumerate()
        .filter(|(place, server)| server.last_weight > 0 && *place < usize::from(u16::MAX))
        .map(|(place, server)| {
            let value = key(server.address, server.port);
            Walk {
                candidate: hash::stored(place),
                place: hash(value, KEYS[0]) % PLACES,
                skip: hash(value, KEYS[1]) % (PLACES - 1) + 1,
                turns: ((server.last_weight / divisor) >> shift).max(1),
            }
        })
        .collect()
}

/// A socket in 32 bits.
fn key(address: IpAddr, port: u16) -> u32 {
    fold(address).wrapping_add(u32::from(port))
}

/// The lower half of SipHash-1-3 of a little-endian word; `key` is both halves of its key.
fn hash(value: u32, key: u64) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key, key);
    hasher.write(&value.to_le_bytes());
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The real server at the place of the client's hash. If it takes no sessions: nobody, or with
/// `fallback` the one at another hash, until there is one that does.
pub(super) fn choose(
    plan: &Plan,
    candidates: &[Candidate],
    flow: Flow,
    loads: &impl Loads,
) -> Option<RealId> {
    let port = if plan.flags.port { flow.client_port } else { 0 };
    let value = key(flow.client, port);
    let (first, chosen) = plan.at(candidates, value);
    let chosen = chosen?;
    if takes_sessions(chosen, loads) {
        return Some(chosen.real);
    }
    if !plan.flags.fallback || !candidates.iter().any(|one| takes_sessions(one, loads)) {
        return None;
    }
    (0..PLACES)
        .filter_map(|offset| {
            let offset = (offset + first) % PLACES;
            plan.at(candidates, value.wrapping_add(offset)).1
        })
        .find(|candidate| takes_sessions(candidate, loads))
        .map(|candidate| candidate.real)
}
