//! Source hashing: a client always gets the same real server, as long as the list stays.
//! A table of 256 places, the same as IPVS's; no memory of clients is kept.

use std::sync::Arc;

use super::candidate::{Candidate, Flow, Loads, Server, takes_sessions};
use super::hash::{self, PLACES, short};
use crate::id::RealId;
use crate::spec::scheduler::HashFlags;

/// A place in the list of real servers for each hash.
#[derive(Debug, Clone)]
pub struct LookupTable {
    places: Arc<[u16]>,
    flags: HashFlags,
}

impl LookupTable {
    /// Fills the table: along the list, again and again, as many places in a row as the weight
    /// says; one even for weight 0, as in IPVS.
    pub(super) fn new(servers: &[Server], flags: HashFlags) -> Self {
        let turns = servers.iter().enumerate().flat_map(|(place, one)| {
            // More than the table holds makes no difference.
            let count = one.candidate.weight.clamp(1, u32::from(PLACES) + 1) as usize;
            std::iter::repeat_n(hash::stored(place), count)
        });
        Self {
            places: turns.cycle().take(usize::from(PLACES) + 1).collect(),
            flags,
        }
    }

    /// The settings.
    #[must_use]
    pub fn flags(&self) -> HashFlags {
        self.flags
    }

    fn at<'c>(&self, candidates: &'c [Candidate], place: u8) -> Option<&'c Candidate> {
        hash::candidate(candidates, *self.places.get(usize::from(place))?)
    }
}

/// The real server at the place of the client's hash. If it takes no sessions: nobody, or with
/// `fallback` the next one that does, as far from the hash as IPVS looks for it. So it is without `fallback` too if it is
/// not available.
pub(super) fn choose(
    table: &LookupTable,
    candidates: &[Candidate],
    flow: Flow,
    loads: &impl Loads,
) -> Option<RealId> {
    let port = if table.flags.port {
        u32::from(flow.client_port)
    } else {
        0
    };
    let hash = short(hash::fold(flow.client).wrapping_add(port));
    let chosen = table.at(candidates, hash)?;
    if takes_sessions(chosen, loads) {
        return Some(chosen.real);
    }
    if !table.flags.fallback && chosen.is_available {
        return None;
    }
    // IPVS adds the hash to the offset twice; so its walk begins at twice the hash.
    (0..=PLACES)
        .filter_map(|offset| table.at(candidates, offset.wrapping_add(hash).wrapping_add(hash)))
        .find(|candidate| takes_sessions(candidate, loads))
        .map(|candidate| candidate.real)
}
