//! A `plimsolld` in a topology's load balancer: its configuration, its life, and what `plimsoll` says about it.
//!
//! Must not link the daemon: it is a program like any other here, and its outward interfaces are what is tested.

mod config;
mod process;

pub use config::{Config, Service, usable_cpus};
pub use process::{Binaries, Daemon};
