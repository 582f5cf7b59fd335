//! Traffic generator, topologies, replays and benchmarks for Plimsoll.
