//! Measures Plimsoll beside testpmd in one run, checks every frame, and holds the figures against the bar.
//!
//! Exit status 1 says that a frame was wrong or lost without a counter; how fast anything is does not matter to it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use plimsoll_pktgen_tests::bench::machine::Machine;
use plimsoll_pktgen_tests::bench::model::{LeftOut, Part, Results};
use plimsoll_pktgen_tests::bench::plan::{self, Plan};
use plimsoll_pktgen_tests::bench::{self, report};
use plimsoll_pktgen_tests::daemon::usable_cpus;
use plimsoll_pktgen_tests::output;

/// The daemon's: what is measured in this process has its tables in huge pages too.
#[cfg(feature = "dpdk")]
#[global_allocator]
static ALLOCATOR: plimsoll_dpdk::HugePages = plimsoll_dpdk::HugePages;

/// Measures Plimsoll beside testpmd in the same places.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Under three minutes, for correctness: small tables, few rounds
    #[arg(long)]
    quick: bool,
    /// Only this part; can be given several times
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// How often every case takes its turn [default: 11, quick: 3]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// The CPU of what is measured, and that of whoever is at the other end [default: the last and the first]
    #[arg(long, value_delimiter = ',', value_name = "CPU,CPU")]
    cpus: Vec<u16>,
    /// Where latest.json and performance.svg are left
    #[arg(long, value_name = "DIR", default_value = "pktgen-tests/results")]
    output: PathBuf,
    /// The source tree whose README.md and docs/performance.svg shall have this run's figures
    #[arg(long, value_name = "DIR", conflicts_with_all = ["quick", "only"])]
    publish: Option<PathBuf>,
    /// Where plimsolld, plimsoll and plimsoll-pktgen are [default: where this program is]
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// What two programs and this one need for packets at a time, in MiB.
const HUGEPAGES_MIB: u64 = 400;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::remark(format_args!("plimsoll-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was right.
fn run(arguments: Arguments) -> Result<bool> {
    let plan = plan(&arguments)?;
    let mut results = Results::new(plan.quick, Machine::here());
    if !plan.huge {
        results.left_out.push(LeftOut {
            what: "packets in hugepages".to_owned(),
            why: format!(
                "fewer than {HUGEPAGES_MIB} MiB of them are free, so ordinary memory is used"
            ),
        });
    }
    for part in Part::ALL {
        if arguments.only.is_empty() || arguments.only.contains(&part) {
            output::remark(format_args!("plimsoll-bench: {} ...", part.title()));
            bench::run(part, &plan, &mut results).with_context(|| part.title())?;
        }
    }
    results.bar = bench::bar::judge(&results);
    output::text(report::tables(&results))?;
    report::store(&results, &arguments.output)?;
    if let Some(root) = &arguments.publish
        && results.faults.is_empty()
    {
        report::publish(&results, root)?;
    }
    output::remark(format_args!(
        "plimsoll-bench: results are in {}",
        arguments.output.display()
    ));
    Ok(results.faults.is_empty())
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let usable = usable_cpus();
    let (subject_cpu, other_cpu) = match arguments.cpus.as_slice() {
        [] => (
            usable.last().copied().unwrap_or(0),
            usable.first().copied().unwrap_or(0),
        ),
        [one] => (*one, *one),
        [subject, other] => (*subject, *other),
        more => anyhow::bail!("--cpus takes one or two CPUs, not {}", more.len()),
    };
    for cpu in [subject_cpu, other_cpu] {
        ensure!(usable.contains(&cpu), "CPU {cpu} cannot be used here");
    }
    let beside = std::env::current_exe().context("cannot find this program's directory")?;
    let beside = beside.parent().map(PathBuf::from).unwrap_or_default();
    Ok(Plan {
        huge: plan::hugepages_are_free(HUGEPAGES_MIB),
        quick: arguments.quick,
        rounds: arguments
            .rounds
            .map_or(if arguments.quick { 3 } else { 11 }, usize::from),
        subject_cpu,
        other_cpu,
        programs: arguments.bin_dir.clone().unwrap_or(beside),
    })
}
