//! The control thread of Plimsoll and everything outside the packet path.

pub mod api;
mod capabilities;
pub mod changes;
pub mod cli;
pub mod compile;
pub mod config;
#[cfg(feature = "dpdk")]
pub mod daemon;
pub mod import;
pub mod incidents;
mod links;
pub mod memory;
pub mod metrics;
pub mod output_file;
pub mod pressure;
pub mod rate;
pub mod report;
pub mod running;
pub mod simulate;
