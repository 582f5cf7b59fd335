//! The packet path of Plimsoll. Pure: bytes, tables and a time in, a verdict out.
//! No DPDK, no clock, no I/O and no unsafe code belong here.

#![deny(unsafe_code)]

pub mod flow;
pub mod io;
pub mod parse;
pub mod snapshot;
pub mod testing;
pub mod time;
pub mod verdict;
pub mod wire;
