//! The packet path of Plimsoll. Pure: bytes, tables and a time in, a verdict out.
//! No DPDK, no clock, no I/O and no unsafe code belong here.

#![deny(unsafe_code)]

pub mod flow;
pub mod id;
pub mod incident;
pub mod io;
pub mod listed;
pub mod listing;
pub mod neighbour;
pub mod parse;
pub mod pipeline;
pub mod prefetch;
pub mod reassembly;
pub mod rewrite;
pub mod schedule;
pub mod session;
pub mod snapshot;
pub mod spec;
pub mod stats;
pub mod steering;
mod sync;
pub mod testing;
pub mod time;
pub mod verdict;
pub mod wire;
pub mod worker;
