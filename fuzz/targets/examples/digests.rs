//! What becomes of a million frames by each forwarding method, on one worker and on four, as a number each. Two versions
//! that print the same treat all of them alike: what left, where and in which order, drops, and real servers' counters.
//!
//! `cargo run -p plimsoll-fuzz-targets --example digests`

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::testing::Rng;
use plimsoll_fuzz_targets::trace;

/// Frames by each method.
const FRAMES: u64 = 1_000_000;

fn main() {
    for forward in ForwardMethod::ALL {
        let name = forward.name();
        let corpus =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../corpus/pipeline_{name}"));
        let mut files: Vec<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        let files: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        for workers in [1, 4] {
            let mut rng = Rng::new(1);
            let mut frames = 0;
            let mut all = DefaultHasher::new();
            while frames < FRAMES {
                // Several files in a row, with some bits turned: nearly every step of theirs comes to something else.
                let mut bytes: Vec<u8> = (0..4)
                    .flat_map(|_| files[rng.below(files.len())].clone())
                    .collect();
                for _ in 0..rng.below(20) {
                    let at = rng.below(bytes.len());
                    bytes[at] ^= 1 << rng.below(8);
                }
                let trace = trace(forward, workers, &bytes);
                frames += trace.frames;
                trace.digest().hash(&mut all);
            }
            println!("{name} {workers} {frames} {:016x}", all.finish());
        }
    }
}
