//! The traffic generator: scenarios, flows, frames, and the judge of what comes back. Pure, without DPDK.
//!
//! Must not know how frames travel: whoever uses this moves them.

mod affinity;
mod bytes;
mod check;
mod config;
mod connections;
mod engine;
mod fault;
mod flows;
mod frame;
mod load;
mod neighbours;
mod plan;
mod report;
mod run;
mod scenario;
mod segment;
mod server;
mod shape;
mod template;
#[cfg(test)]
mod tests;

pub use affinity::Affinity;
pub use check::{Checker, Good, Returns, Seen};
pub use config::{DaemonOptions, Hugepages};
pub use connections::{Connected, Connections};
pub use engine::{Cast, Engine, Figures};
pub use fault::{Fault, Tally};
pub use flows::{Clients, Flows, Order, Random};
pub use frame::FrameWriter;
pub use load::{Load, Opening, Pacer, Reaction, Stream};
pub use neighbours::Neighbours;
pub use plan::{Mode, Plan, RunError};
pub use report::{GoodFrames, Latency, Report};
pub use run::{Clock, Progress, Run};
pub use scenario::{Family, Method, Protocol, Scenario, ScenarioError};
pub use segment::Segment;
pub use server::Servers;
pub use shape::Shape;
