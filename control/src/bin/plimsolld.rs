//! The daemon. All of it is in the library.

use std::process::ExitCode;

use plimsoll_dpdk::HugePages;

/// The tables of a million sessions are tens of megabytes, looked up at random.
#[global_allocator]
static ALLOCATOR: HugePages = HugePages;

fn main() -> ExitCode {
    plimsoll_control::daemon::main()
}
