//! Raw bindings to DPDK: the functions that `build.rs` lists, and the shims of `src/shim.c`.
//! Nothing here is safe and nothing here decides; ownership and checks live in `plimsoll-dpdk`.
//!
//! # What there is
//!
//! - `rte_*`: functions and structures of DPDK with its own names. `build.rs` has the list of functions and
//!   finds libdpdk 22.11 or newer by pkg-config; without it the error names the missing package.
//! - `plim_*`: functions of `src/shim.c`, each for one of DPDK's inline functions, or for fields of a structure that
//!   differs between versions. `src/shim.h` documents them.
//!
//! # Example
//!
//! ```
//! use std::ffi::CStr;
//!
//! // SAFETY: `rte_version` needs no initialisation and returns a static C string.
//! let version = unsafe { CStr::from_ptr(dpdk_sys::rte_version()) };
//! assert!(version.to_bytes().starts_with(b"DPDK "));
//! ```

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
