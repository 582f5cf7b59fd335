//! Instructions per stage of the packet path, counted by Valgrind: they show a regression on a
//! machine that is too noisy for clocks. Every stage takes 32 packets, so a 32nd of a figure is one
//! packet's. Nothing is timed, and caches play no part: `make bench` is for those.

#![expect(
    clippy::boxed_local,
    reason = "what is prepared moves into what is counted and out of it: as a pointer, that is free"
)]
#![expect(
    clippy::disallowed_types,
    reason = "expanded from `library_benchmark`, for another tool than Valgrind"
)]

mod choosing;
mod lookup;
mod parsing;
mod rewriting;
mod round;
mod setup;
mod table;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind, main};

use choosing::schedulers;
use lookup::lookups;
use parsing::headers;
use rewriting::rewrites;
use round::rounds;
use table::sessions;

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]).format([EventKind::Ir])),
    library_benchmark_groups = [headers, sessions, lookups, schedulers, rewrites, rounds]
);
