//! The command line of Plimsoll. All of it is in the library.

use plimsoll_control::cli::{self, Exit};

fn main() -> Exit {
    cli::main(std::env::args_os())
}
