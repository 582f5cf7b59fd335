//! `make lint`'s questions about the source tree that rustc and clippy do not ask.
//! It reads text and compiles nothing.
#![expect(clippy::print_stdout, reason = "what it finds is what it is for")]

mod circles;
mod floors;
mod modules;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

/// The roots of the crates, from the ground up.
const CRATES: [&str; 7] = [
    "dataplane/src/lib.rs",
    "dpdk-sys/src/lib.rs",
    "dpdk/src/lib.rs",
    "control/src/lib.rs",
    "pktgen-tests/src/lib.rs",
    "fuzz/targets/src/lib.rs",
    "lint/src/main.rs",
];
/// Where the tables of floors are.
const FLOORS: &str = "ARCHITECTURE.md";

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(&root).with_context(|| format!("no {}", root.display()))?;
    let mut imports = Vec::new();
    for root in CRATES {
        imports.extend(modules::Modules::read(Path::new(root))?.imports());
    }
    let mut findings = circles::findings(&imports);
    let tables = fs::read_to_string(FLOORS).with_context(|| format!("cannot read {FLOORS}"))?;
    for floors in floors::read(&tables).with_context(|| format!("in {FLOORS}"))? {
        findings.extend(floors.findings(&floors.rooms()?, &imports));
    }
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
