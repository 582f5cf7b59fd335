//! Plays recordings of a real kernel's IPVS to the simulator and tells which are matched.
//!
//! Needs no root and no DPDK.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use plimsoll_pktgen_tests::output;
use plimsoll_pktgen_tests::replay::{self, Deviations, Outcome};

/// Compares Plimsoll with recordings of LVS: every frame, and the sessions and counters at the end.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The folder of the recordings
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only these, by their names without `.json`
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The table of documented deviations [default: docs/DEVIATIONS.md of the source tree]
    #[arg(long, value_name = "FILE")]
    deviations: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::remark(format_args!("replay: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<bool> {
    let table = arguments
        .deviations
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DEVIATIONS.md"));
    let known = Deviations::read(&table)?;
    let all = replay::names(&arguments.folder)?;
    let names = if arguments.names.is_empty() {
        all
    } else {
        if let Some(missing) = arguments.names.iter().find(|name| !all.contains(name)) {
            bail!("{} has no recording {missing}", arguments.folder.display());
        }
        arguments.names
    };
    if names.is_empty() {
        bail!("{} has no recordings", arguments.folder.display());
    }
    let (mut matching, mut documented, mut differing) = (0, 0, 0);
    for name in &names {
        let outcome = replay::replay(&arguments.folder, name, &known);
        let outcome = outcome.with_context(|| name.clone())?;
        match outcome {
            Outcome::Match => {
                matching += 1;
                if known.names(name) {
                    output::remark(format_args!(
                        "{} lists {name}, which matches",
                        table.display()
                    ));
                }
            }
            Outcome::Documented(_) => documented += 1,
            Outcome::Differs(_) | Outcome::NotSupported(_) => differing += 1,
        }
        output::line(format_args!("{name}: {outcome}"))?;
    }
    output::line(format_args!(
        "{matching} match, {documented} documented, {differing} differ"
    ))?;
    Ok(differing == 0)
}
