//! Many services, measured by `services.rs`, among the results of a run.
//!
//! Must not measure anything itself.

use anyhow::{Context as _, Result};

use super::model::{LeftOut, Results};
use super::plan::Plan;
use super::services;

/// Reloads of the whole file: each reads it again, which takes most of a minute for a million services.
const RELOADS: usize = 1;

/// A million services, or a few thousand in a quick run.
///
/// # Errors
/// When it cannot be measured.
pub fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    let count = if plan.quick { 10_000 } else { 1_000_000 };
    if plan.quick {
        results.left_out.push(LeftOut::quick("a million services"));
    }
    let directory = tempfile::Builder::new()
        .prefix("plim-bench-")
        .tempdir()
        .context("cannot make a directory for the configuration")?;
    let figures = services::measure(count, RELOADS, directory.path())?;
    if figures.lost > 0 {
        results.faults.push(format!(
            "{count} services: {} of {} packets were lost during the changes",
            figures.lost, figures.packets
        ));
    }
    results.services.push(figures);
    Ok(())
}
