//! The control thread of Plimsoll and everything outside the packet path.

pub mod cli;
pub mod config;
