//! `cargo run --release -p plimsoll-pktgen-tests --example services -- 1000000`: prints as JSON how long
//! a configuration of so many services takes, and each change of it.

use anyhow::Context as _;
use plimsoll_pktgen_tests::bench::services;

fn main() -> anyhow::Result<()> {
    let count = std::env::args().nth(1).context("how many services?")?;
    let count = count.parse().context("a number of services")?;
    let directory = tempfile::tempdir()?;
    let figures = services::measure(count, directory.path())?;
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}
