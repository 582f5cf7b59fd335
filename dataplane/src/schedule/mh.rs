//! Maglev hashing: as `sh`, but a change of the list moves few clients beyond those it must.
//! The table is the same on every node, CPU and version: SipHash with fixed keys or the configured
//! one, nothing else.

use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::candidate::{Candidate, Flow, Loads, Server, takes_sessions};
use super::hash::{self, fold};
use crate::id::RealId;
use crate::spec::scheduler::{HashFlags, Maglev, PLACES, SchedulerKind};

/// The two hash functions of Linux are one with two keys.
const KEYS: [u64; 2] = [2_654_435_761, 2_654_446_892];

/// The two hash functions: where a walk begins, and how far it goes.
#[derive(Debug, Clone, Copy)]
enum Role {
    Place,
    Skip,
}

impl Maglev {
    /// A number for a socket; `offset` tells further ones of the same socket.
    fn hash(self, role: Role, address: IpAddr, port: u16, offset: u32) -> u32 {
        let Some([k0, k1]) = self.key else {
            let [first, second] = KEYS;
            let key = match role {
                Role::Place => first,
                Role::Skip => second,
            };
            let value = fold(address).wrapping_add(u32::from(port));
            let mut hasher = SipHasher13::new_with_keys(key, key);
            hasher.write(&value.wrapping_add(offset).to_le_bytes());
            return low(&hasher);
        };
        let mut hasher = SipHasher13::new_with_keys(k0, k1);
        hasher.write(&[role as u8]);
        match address {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
        hasher.write(&port.to_le_bytes());
        hasher.write(&offset.to_le_bytes());
        low(&hasher)
    }

    /// The most places in a row that one real server takes, in bits: half the table's.
    const fn turn_bits(self) -> u32 {
        (u32::BITS - self.places.leading_zeros()) / 2
    }
}

/// The lower half of a hash.
fn low(hasher: &SipHasher13) -> u32 {
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The Maglev lookup table: a place in the list of real servers for each hash.
#[derive(Debug, Clone)]
pub struct LookupTable {
    places: Arc<[u16]>,
    flags: HashFlags,
    maglev: Maglev,
}

/// One real server's permutation of the table's places.
struct Walk {
    candidate: u16,
    /// The next place it wants.
    place: u32,
    skip: u32,
    /// Places it takes in each round.
    turns: u32,
}

impl LookupTable {
    /// Fills the table, which takes a moment: this is for the control thread.
    pub(super) fn new(servers: &[Server], flags: HashFlags, maglev: Maglev) -> Self {
        let mut walks = walks(servers, maglev);
        let mut places: Vec<Option<u16>> = vec![None; maglev.places as usize];
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
                        walk.place = (walk.place + walk.skip) % maglev.places;
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
            maglev,
        }
    }

    /// Which scheduler this is.
    pub(super) fn kind(&self) -> SchedulerKind {
        SchedulerKind::Mh(self.flags, self.maglev)
    }

    /// The table: places in the list of candidates. Snapshots share it while nothing changes.
    #[must_use]
    pub fn places(&self) -> &[u16] {
        &self.places
    }

    fn at<'c>(
        &self,
        candidates: &'c [Candidate],
        (client, port): (IpAddr, u16),
        offset: u32,
    ) -> (u32, Option<&'c Candidate>) {
        let hash = self.maglev.hash(Role::Place, client, port, offset);
        let place = hash % self.maglev.places;
        let stored = self.places.get(place as usize);
        let candidate = stored.and_then(|stored| hash::candidate(candidates, *stored));
        (place, candidate)
    }
}

/// The walks of those that ever had a weight above 0. Their last one counts, so that draining a
/// real server by weight 0 leaves the table as it is.
fn walks(servers: &[Server], maglev: Maglev) -> Vec<Walk> {
    let weights = || servers.iter().map(|server| server.last_weight);
    let divisor = weights().fold(0, super::wrr::gcd).max(1);
    let greatest = weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(maglev.turn_bits());
    let mut order: Vec<(usize, &Server)> = servers
        .iter()
        .enumerate()
        .filter(|(place, server)| server.last_weight > 0 && *place < usize::from(u16::MAX))
        .collect();
    if maglev.key.is_some() {
        order.sort_by_key(|(_, server)| (server.address, server.port));
    }
    let walk = |(place, server): (usize, &Server)| {
        let hash = |role| maglev.hash(role, server.address, server.port, 0);
        Walk {
            candidate: hash::stored(place),
            place: hash(Role::Place) % maglev.places,
            skip: hash(Role::Skip) % (maglev.places - 1) + 1,
            turns: ((server.last_weight / divisor) >> shift).max(1),
        }
    };
    order.into_iter().map(walk).collect()
}

/// The real server at the place of the client's hash. If it takes no sessions: nobody, or with
/// `fallback` the one at another hash, until there is one that does. So it is without `fallback` too if it is not
/// available.
pub(super) fn choose(
    table: &LookupTable,
    candidates: &[Candidate],
    flow: Flow,
    loads: &impl Loads,
) -> Option<RealId> {
    let port = if table.flags.port {
        flow.client_port
    } else {
        0
    };
    let client = (flow.client, port);
    let (first, chosen) = table.at(candidates, client, 0);
    let chosen = chosen?;
    if takes_sessions(chosen, loads) {
        return Some(chosen.real);
    }
    let looks_on = table.flags.fallback || !chosen.is_available;
    if !looks_on || !candidates.iter().any(|one| takes_sessions(one, loads)) {
        return None;
    }
    let places = table.maglev.places;
    // As often as Linux asks its table; a larger one would make a client cost milliseconds.
    (0..places.min(PLACES))
        .filter_map(|offset| table.at(candidates, client, (offset + first) % places).1)
        .find(|candidate| takes_sessions(candidate, loads))
        .or_else(|| {
            if places <= PLACES {
                return None;
            }
            let start = first as usize % candidates.len();
            let (before, from) = candidates.split_at(start);
            let mut around = from.iter().chain(before);
            around.find(|candidate| takes_sessions(candidate, loads))
        })
        .map(|candidate| candidate.real)
}
