//! The control thread of Plimsoll and everything outside the packet path.

pub mod cli;
pub mod compile;
pub mod config;
pub mod report;
pub mod simulate;
