//! What the fuzzers do with their bytes: one function each, which panics if something is wrong.
//! libFuzzer calls them from `fuzz/fuzz_targets`, and a test calls them for each file of the corpus.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is tests, where a panic is a verdict"
)]

mod api;
mod checksum;
mod frames;
mod icmp;
mod network;
mod parse;
mod pcap;
mod pipeline;
mod script;
mod text;

pub use api::api;
pub use icmp::icmp;
pub use parse::parse;
pub use pcap::pcap;
pub use pipeline::Trace;
pub use text::{config, import_ipvsadm, import_keepalived, import_marks, import_sysctl, state};

use plimsoll_dataplane::spec::forward::ForwardMethod;

/// Whole workers of which all services are by direct routing.
pub fn pipeline_dr(data: &[u8]) {
    pipeline::run(ForwardMethod::Direct, data);
}

/// Whole workers of which all services are by NAT.
pub fn pipeline_nat(data: &[u8]) {
    pipeline::run(ForwardMethod::Nat, data);
}

/// Whole workers of which all services are by tunnels of all kinds.
pub fn pipeline_tunnel(data: &[u8]) {
    pipeline::run(ForwardMethod::Tunnel, data);
}

/// What becomes of the frames of a target for whole workers, on so many of them.
#[must_use]
pub fn trace(forward: ForwardMethod, workers: usize, data: &[u8]) -> Trace {
    pipeline::run_on(workers, forward, script::Script::new(data))
}

/// A target's name, which is that of its folder of the corpus too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Lists the targets by their functions' names.
macro_rules! targets {
    ($($name:ident)*) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[$((stringify!($name), $name)),*];
    };
}

targets! {
    parse pipeline_dr pipeline_nat pipeline_tunnel icmp config import_ipvsadm import_keepalived import_marks
    import_sysctl api pcap state
}
