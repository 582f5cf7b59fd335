//! What a run is asked to do, and why it could not be done.
//!
//! Must not do any of it.

use std::time::Duration;

use clap::ValueEnum;
use plimsoll_dataplane::wire::Mac;
use serde::Serialize;

use super::check::Returns;
use super::flows::Order;
use super::scenario::{Protocol, Scenario, ScenarioError};
use super::shape::Shape;

/// What kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Datagrams or segments of flows that exist.
    Stream,
    /// Ever new TCP connections.
    Connections,
}

/// What to do with a scenario.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who takes part.
    pub scenario: Scenario,
    /// How long frames are.
    pub shape: Shape,
    /// Frames of existing flows, or new connections.
    pub mode: Mode,
    /// How many flows there are.
    pub flows: u32,
    /// Decides the clients and the order.
    pub seed: u64,
    /// In which order flows take turns.
    pub order: Order,
    /// Frames, or connections, per second; `None` is as many as can be.
    pub rate: Option<u64>,
    /// Connections at a time.
    pub concurrent: u32,
    /// How long it is measured.
    pub duration: Duration,
    /// How long traffic flows before that, when all flows are open.
    pub warmup: Duration,
    /// How long the other end may take to answer at first.
    pub timeout: Duration,
    /// Whether NAT's real servers answer.
    pub answers: bool,
    /// Who is at the other end.
    pub returns: Returns,
    /// The other end's MAC; `None` asks by ARP or NDP.
    pub balancer: Option<Mac>,
}

impl Plan {
    /// Checks that it can be carried out.
    ///
    /// # Errors
    /// [`RunError`] if not.
    pub fn check(&self) -> Result<(), RunError> {
        self.shape.check(&self.scenario)?;
        if self.mode == Mode::Connections {
            if self.scenario.protocol == Protocol::Udp {
                return Err(RunError::ConnectionsOfUdp);
            }
            if self.returns == Returns::MacSwapped {
                return Err(RunError::ConnectionsOfTestpmd);
            }
        }
        Ok(())
    }
}

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The scenario or the frames cannot be.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Connections need TCP.
    #[error("connections are TCP's: --mode connections needs --protocol tcp")]
    ConnectionsOfUdp,
    /// testpmd keeps no connections.
    #[error(
        "testpmd's macswap has no real servers that answer: it can be measured by --mode stream only"
    )]
    ConnectionsOfTestpmd,
    /// Nobody answers.
    #[error(
        "nobody tells the MAC of {address} within {seconds} s: is the balancer running, connected to this device, and \
         configured with this address? (--daemon-config prints a configuration)"
    )]
    NoBalancer {
        /// Who was asked for.
        address: std::net::IpAddr,
        /// How long.
        seconds: u64,
    },
    /// Nothing comes back.
    #[error(
        "no frame came back within {seconds} s: is the other end running, connected to this device, and forwarding? \
         {seen}"
    )]
    NoReturn {
        /// How long.
        seconds: u64,
        /// What came instead.
        seen: String,
    },
    /// The wish to end.
    #[error("interrupted before anything was measured")]
    Interrupted,
}
