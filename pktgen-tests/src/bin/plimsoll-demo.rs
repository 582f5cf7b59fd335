//! The five-minute demonstration: real requests through each forwarding method, and what became of them.
//!
//! Needs root and no NIC. Leaves nothing behind, however it ends.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use plimsoll_pktgen_tests::daemon::{Binaries, Config, Daemon};
use plimsoll_pktgen_tests::output;
use plimsoll_pktgen_tests::topology::{
    Family, Method, Options, SERVERS, Swept, Topology, signals_are_welcome, sweep,
};
use plimsoll_pktgen_tests::traffic::{self, Answers, Wrk};

/// Sends real HTTP requests through Plimsoll in network namespaces, with each forwarding method.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where plimsolld, plimsoll and plimsoll-endpoint are [default: where this program is]
    #[arg(long, value_name = "DIRECTORY")]
    bin_dir: Option<PathBuf>,
    /// Only this forwarding method; can be given several times
    #[arg(long, value_enum)]
    method: Vec<Choice>,
    /// Requests by curl, through each method and in each address family
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    requests: u64,
    /// Then as many requests by wrk, 16 at a time
    #[arg(long, default_value_t = 0, value_name = "REQUESTS")]
    wrk: u64,
    /// Only remove what demos and tests that were killed have left behind
    #[arg(long, exclusive = true)]
    clean: bool,
    /// Keep the last method running until Ctrl-C, and print what to try
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    Dr,
    Nat,
    Tunnel,
}

impl From<Choice> for Method {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Dr => Self::Direct,
            Choice::Nat => Self::Nat,
            Choice::Tunnel => Self::Tunnel,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.clean {
        return match clean() {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                output::remark(format_args!("plimsoll-demo: {error:#}"));
                ExitCode::FAILURE
            }
        };
    }
    match demo(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            output::remark(format_args!("plimsoll-demo: {failed} requests failed"));
            ExitCode::FAILURE
        }
        Err(error) => {
            output::remark(format_args!("plimsoll-demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Removes what killed owners have left, by the names and marks that only they give; gives the number of things that are
/// still there.
fn clean() -> Result<usize> {
    let swept = sweep();
    for id in &swept.processes {
        output::line(format_args!("ended process {id}"))?;
    }
    for name in &swept.namespaces {
        output::line(format_args!("removed namespace {name}"))?;
    }
    for path in &swept.directories {
        output::line(format_args!("removed {}", path.display()))?;
    }
    for what in &swept.left {
        output::remark(format_args!("plimsoll-demo: cannot remove {what}"));
    }
    if swept == Swept::default() {
        output::line("nothing was left behind")?;
    }
    Ok(swept.left.len())
}

/// Shows each method, gives the number of failed requests.
fn demo(arguments: &Arguments) -> Result<u64> {
    let here = std::env::current_exe().context("cannot find this program's directory")?;
    let beside = here.parent().unwrap_or(Path::new("."));
    let directory = arguments.bin_dir.as_deref().unwrap_or(beside);
    let binaries = Binaries::in_directory(directory)?;
    let options = Options {
        endpoint: directory.join("plimsoll-endpoint"),
    };
    let methods = order(arguments);
    let mut failed = 0;
    for (index, method) in methods.iter().enumerate() {
        let last = index + 1 == methods.len();
        let topology = Topology::new(*method, options.clone())?;
        let yaml = Config::lesson(*method).yaml(topology.directory());
        let daemon = Daemon::start(&topology, &binaries, &yaml)?;
        failed += show(arguments, &topology, &daemon)?;
        if last && arguments.keep {
            print_hints(&topology, &daemon)?;
            keep();
        }
        daemon.terminate()?;
    }
    Ok(failed)
}

fn order(arguments: &Arguments) -> Vec<Method> {
    if !arguments.method.is_empty() {
        return arguments
            .method
            .iter()
            .map(|choice| (*choice).into())
            .collect();
    }
    let mut methods = Method::ALL.to_vec();
    if arguments.keep {
        // The last one stays, and direct routing is the one to begin playing with.
        methods.reverse();
    }
    methods
}

fn show(arguments: &Arguments, topology: &Topology, daemon: &Daemon<'_>) -> Result<u64> {
    let plan = topology.plan;
    let vip = plan.virtual_http(Family::V4);
    output::line(format_args!(
        "\n{}: {vip}, round robin",
        plan.method.title()
    ))?;
    output::line(format_args!("{}\n", path(plan.method)))?;
    for family in Family::ALL {
        wait_for_first_answer(topology, daemon, plan.virtual_http(family))?;
    }
    let mut answers = Vec::new();
    for family in Family::ALL {
        answers.push(traffic::curl(
            topology,
            plan.virtual_http(family),
            arguments.requests,
        )?);
    }
    output::line(shares(topology, &answers))?;
    let mut failed: u64 = answers.iter().map(|answers| answers.failed).sum();
    for complaints in answers
        .iter()
        .map(|answers| answers.complaints.trim())
        .filter(|text| !text.is_empty())
    {
        output::line(format_args!("curl says: {complaints}"))?;
    }
    if arguments.wrk > 0 {
        for family in Family::ALL {
            let to = plan.virtual_http(family);
            let load = Wrk::start(topology, to, 16, Some(arguments.wrk))?.finish()?;
            let milliseconds = load.microseconds / 1000;
            output::line(format_args!(
                "wrk to {to}: {} requests in {milliseconds} ms, {} failed",
                load.requests,
                load.failed()
            ))?;
            failed += load.failed();
            if load.failed() > 0 {
                output::line(format_args!("  {load:?}"))?;
            }
        }
    }
    output::line(format_args!(
        "\n$ plimsoll list\n{}",
        daemon.ask(&["list"])?.trim_end()
    ))?;
    output::line(format_args!(
        "\n$ plimsoll list --stats\n{}",
        daemon.ask(&["list", "--stats"])?.trim_end()
    ))?;
    Ok(failed)
}

const fn path(method: Method) -> &'static str {
    match method {
        Method::Direct => {
            "client 192.168.33.2 -> plimsolld 192.168.33.10 -> a server, which answers the client directly"
        }
        Method::Nat => {
            "client 198.51.100.7 -> plimsolld 198.51.100.10, 192.168.33.10 -> port 80 of a server, and the same way back"
        }
        Method::Tunnel => {
            "client 192.168.33.2 -> plimsolld 192.168.33.10 -> IP in IP by a router -> a server in 10.33.0.0/24, \
             which answers the client directly"
        }
    }
}

fn wait_for_first_answer(topology: &Topology, daemon: &Daemon<'_>, to: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answers = traffic::curl(topology, to, 1)?;
        if answers.failed == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let complaints = answers.complaints.trim();
            let drops = daemon.ask(&["drops"]).unwrap_or_default();
            bail!(
                "no answer from {to} within 10 s: {complaints}\n{drops}\n{}",
                daemon.log()
            );
        }
    }
}

/// One line for each server: requests and share, in IPv4 and IPv6.
fn shares(topology: &Topology, answers: &[Answers]) -> Table {
    let plan = topology.plan;
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["server", "address", "IPv4", "share", "IPv6", "share"]);
    for number in SERVERS {
        let name = format!("server-{number}");
        let address = SocketAddr::new(plan.server(Family::V4, number), plan.http_port());
        let mut row = vec![name.clone(), address.to_string()];
        for answers in answers {
            let count = answers.by_server.get(&name).copied().unwrap_or(0);
            row.extend([count.to_string(), percent(count, answers.requests)]);
        }
        table.add_row(row);
    }
    for (title, value) in [
        (
            "requests",
            (|answers| answers.requests) as fn(&Answers) -> u64,
        ),
        ("failed", |answers| answers.failed),
    ] {
        let mut row = vec![title.to_owned(), String::new()];
        for answers in answers {
            row.extend([value(answers).to_string(), String::new()]);
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn percent(part: u64, whole: u64) -> String {
    let tenths = (part * 1000 + whole / 2) / whole.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn print_hints(topology: &Topology, daemon: &Daemon<'_>) -> Result<()> {
    let plan = topology.plan;
    let vip = plan.virtual_http(Family::V4);
    let plimsoll = daemon.command_line();
    let inside = |name: &str| format!("ip netns exec {name}");
    let (from, lb, switch) = (
        inside(topology.client.name()),
        inside(topology.lb.name()),
        inside(topology.switch().name()),
    );
    output::line(format_args!(
        "\nIt goes on running. Try, in another shell:

  one request            {from} curl http://{vip}/
  many requests          {from} wrk -c 16 -d 10 -H 'Connection: close' http://{vip}/
  the table              {plimsoll} list --stats
  the sessions           {plimsoll} list --sessions
  why packets dropped    {plimsoll} drops
  take a server out      give it `weight: 0` in {config}, then {plimsoll} reload
  metrics                {lb} curl -s http://127.0.0.1:9142/metrics
  frames on the wire     {switch} tcpdump -nei lan-lb

Ctrl-C takes everything down.",
        config = daemon.config_path().display(),
    ))?;
    Ok(())
}

fn keep() -> ! {
    signals_are_welcome();
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
