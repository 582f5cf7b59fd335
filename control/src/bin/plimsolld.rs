//! The daemon. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_control::daemon::main()
}
