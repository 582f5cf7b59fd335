//! `cargo run --release -p plimsoll-pktgen-tests --example services -- 1000000`: prints as JSON how long
//! a configuration of so many services takes, and each change of it. A second number limits the reloads.

use anyhow::Context as _;
use plimsoll_pktgen_tests::bench::services;
use plimsoll_pktgen_tests::output;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().context("how many services?")?;
    let count = count.parse().context("a number of services")?;
    let reloads = arguments.next().unwrap_or_else(|| "5".to_owned());
    let reloads = reloads.parse().context("a number of reloads")?;
    let directory = tempfile::tempdir()?;
    let figures = services::measure(count, reloads, directory.path())?;
    output::line(serde_json::to_string_pretty(&figures)?)?;
    Ok(())
}
