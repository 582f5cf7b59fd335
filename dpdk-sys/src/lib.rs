//! Raw bindings to DPDK: the functions that `build.rs` lists, and the shims of `src/shim.c`.
//! Nothing here is safe and nothing here decides; ownership and checks live in `plimsoll-dpdk`.

pub use bindings::*;

#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused,
    clippy::all,
    clippy::restriction,
    clippy::pedantic,
    reason = "generated from DPDK's headers, whose names and styles are not ours"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
