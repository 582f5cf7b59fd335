//! `plimsoll neighbors`: who is known on the links, and who does not answer.
//! Field names are a contract. Nobody is asked here.

use std::net::IpAddr;

use plimsoll_dataplane::neighbour::record::NeighbourState;
use serde::{Deserialize, Serialize};

use super::by_name;

/// A neighbour that packets wait for in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachableNeighbour {
    /// The port that it is asked for on.
    pub port: String,
    /// Its address: a real server's, a gateway's, or a client's.
    pub address: IpAddr,
    /// Whole seconds since it was first found not to answer.
    pub since_s: u64,
    /// The real servers with this address, as SERVICE/ADDRESS:PORT; ten at most.
    pub reals: Vec<String>,
}

/// A neighbour, as the worker knows it that has the latest news of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The port that it is behind.
    pub port: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC; left out if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// What is known of it: `permanent`, `reachable`, `stale`, `probe`, `incomplete` or `failed`, as `ip neigh` has it.
    #[serde(with = "by_name")]
    pub state: State,
    /// Whole seconds since there was last news of it; left out for a permanent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
}

/// What is known of a neighbour.
pub type State = NeighbourState;

/// `plimsoll neighbors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Those that packets wait for in vain.
    pub unreachable: Vec<UnreachableNeighbour>,
    /// All that are configured or that some worker knows, by port and address.
    #[serde(default)]
    pub neighbors: Vec<Neighbour>,
    /// Whether some are missing since a worker did not answer.
    #[serde(default)]
    pub incomplete: bool,
}
