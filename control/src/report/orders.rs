//! What operators order of real servers, and what is told of these then: the JSON of `drain`, `weight` and their like.
//! Nothing is changed here.

use std::net::SocketAddr;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::{RealServer, VirtualService};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::runtime::{Administration, Deadline, Order};

/// What is asked for on `/api/v1/reals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRequest {
    /// Which real servers: SERVICE/ADDRESS:PORT, or an address, of all services.
    pub real: String,
    /// What they are to do.
    #[serde(flatten)]
    pub order: Order,
}

/// A real server, as far as operators take it out and put it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealState {
    /// Its service's name.
    pub service: String,
    /// Its service.
    #[serde(flatten)]
    pub target: Target,
    /// Its address and port.
    pub real: SocketAddr,
    /// What it does.
    pub administration: Administration,
    /// When it was drained or disabled, in milliseconds since 1970; left out if it is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Its share of new sessions.
    pub weight: u32,
    /// The file's weight, if it is another one; left out if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_of_file: Option<u32>,
    /// TCP and SCTP sessions that are not closing, and UDP flows.
    pub left: u64,
    /// When a drain ends what is left, and how; left out if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Whether that has been done; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl RealState {
    /// SERVICE/ADDRESS:PORT.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.service, self.real)
    }
}

/// Real servers as they are, perhaps after an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealStates {
    /// Those that were meant.
    pub reals: Vec<RealState>,
    /// Why the order is in force and will not survive a restart of the daemon; left out if it will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
}

/// The sessions for whose end a drain waits: TCP and SCTP sessions that are not closing, and UDP flows. They are counted
/// by real server and not by protocol, so those of a service with rules for several are all of them, closing ones too.
#[must_use]
pub fn left(snapshot: &Snapshot, service: &VirtualService, real: &RealServer) -> u64 {
    let load = snapshot.load(real.id);
    let has_udp = service.target.protocols().contains(&Protocol::Udp);
    load.active + if has_udp { load.inactive } else { 0 }
}
