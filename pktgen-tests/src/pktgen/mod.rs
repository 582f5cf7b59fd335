//! The traffic generator: scenarios, flows, frames, and the judge of what comes back. Pure, without DPDK.
//!
//! Must not know how frames travel: whoever uses this moves them.

mod affinity;
mod check;
mod config;
mod fault;
mod flows;
mod frame;
mod neighbours;
mod scenario;
mod server;
mod template;
#[cfg(test)]
mod tests;

pub use affinity::Affinity;
pub use check::{Checker, Good, Returns, Seen};
pub use config::{DaemonOptions, Hugepages};
pub use fault::{Fault, Tally};
pub use flows::{Clients, Flows, Order, Random};
pub use frame::FrameWriter;
pub use neighbours::Neighbours;
pub use scenario::{Family, Method, Protocol, Scenario, ScenarioError};
pub use server::Servers;
pub use template::{Segment, Shape};
