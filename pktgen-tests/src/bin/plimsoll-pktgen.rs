//! The traffic generator on one queue pair of any DPDK device, with one thread.
//!
//! Judges every frame that comes back; exits with 1 if one was not what it should be.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use plimsoll_dataplane::wire::Mac;
use plimsoll_dpdk::{
    Eal, EalConfig, Memory, MemoryKind, Mempool, Port, PortConfig, cycles, device,
};
use plimsoll_pktgen_tests::output;
use plimsoll_pktgen_tests::pktgen::{
    Clock, DaemonOptions, Family, Hugepages, Method, Mode, Order, Plan, Protocol, Report, Returns,
    Run, Scenario, Shape,
};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The largest IP packet.
const MTU: u16 = 1500;
/// Descriptors of each queue; drivers take fewer where they must.
const DESCRIPTORS: u16 = 1024;
/// Buffers: for both queues, what waits, and the cache of the thread.
const BUFFERS: u32 = 8191;

/// Sends traffic to a load balancer over a DPDK device and judges every frame that comes back.
///
/// Clients, their router and all real servers are behind the one device. Exits with 1 if a frame was not what it
/// should be or nothing came back, with 2 if asked for what cannot be.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The device, as DPDK names it: "net_virtio_user0,path=/tmp/x.sock,server=1,queue_size=256",
    /// "net_af_packet0,iface=veth0", a PCI address
    #[arg(long)]
    device: Option<String>,
    /// Print the daemon's configuration for this scenario, with this device as its port, and exit
    #[arg(long, value_name = "DEVICE", conflicts_with = "device")]
    daemon_config: Option<String>,
    /// The CPU to run on [default: any]
    #[arg(long)]
    cpu: Option<usize>,
    /// Take ordinary memory instead of hugepages
    #[arg(long)]
    no_huge: bool,
    /// Memory for packet buffers, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    memory: u32,
    /// A further argument for DPDK; can be given several times
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    eal_arg: Vec<String>,

    /// How the balancer forwards
    #[arg(long, value_enum, default_value_t = Method::Dr)]
    method: Method,
    /// The address family
    #[arg(long, value_enum, default_value_t = Family::V4)]
    family: Family,
    /// The transport protocol
    #[arg(long, value_enum, default_value_t = Protocol::Udp)]
    protocol: Protocol,
    /// How many real servers there are
    #[arg(long, default_value_t = 100)]
    reals: u16,
    /// The scheduler, for --daemon-config
    #[arg(long, default_value = "rr")]
    scheduler: String,
    /// The balancer's workers, for --daemon-config
    #[arg(long, default_value_t = 1)]
    workers: u16,
    /// Sessions that each worker can hold, for --daemon-config [default: what the flows need]
    #[arg(long)]
    sessions: Option<u32>,

    /// Frames of flows that exist, or ever new connections
    #[arg(long, value_enum, default_value_t = Mode::Stream)]
    mode: Mode,
    /// How many flows there are, from which connections take theirs
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1 << 28))]
    flows: u32,
    /// Decides the clients' addresses and the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// In which order flows take turns: sequential, uniform, zipf:S
    #[arg(long, default_value_t = Order::Uniform)]
    order: Order,
    /// A frame's length in bytes, without FCS [default: the shortest, from 60]
    #[arg(long, value_name = "BYTES")]
    frame_bytes: Option<usize>,
    /// Frames (or connections) per second, or max
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// How long to measure
    #[arg(long, default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// How long to send before that, when all flows are open
    #[arg(long, default_value = "500ms", value_parser = duration)]
    warmup: Duration,
    /// How long the other end may take to answer at first
    #[arg(long, default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Connections at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    concurrent: u32,
    /// Connections end without having carried data
    #[arg(long)]
    no_data: bool,
    /// NAT's real servers do not answer
    #[arg(long)]
    no_answers: bool,

    /// Who is at the other end
    #[arg(long, value_enum, default_value_t = Expect::Balanced)]
    expect: Expect,
    /// The other end's MAC [default: ask by ARP or NDP]
    #[arg(long, value_name = "MAC")]
    peer_mac: Option<Mac>,
    /// Write the result as JSON, to this file or to - for stdout
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print a line each second, on stderr [default: if that is a terminal]
    #[arg(long)]
    progress: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Expect {
    /// A load balancer for this scenario
    Balanced,
    /// testpmd with --forward-mode=macswap
    TestpmdMacswap,
}

/// Per second; `None` is as many as can be sent.
#[derive(Clone, Copy, Debug)]
struct Rate(Option<u64>);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self(None));
        }
        let (digits, factor) = match text.as_bytes() {
            [.., b'k'] => (text.trim_end_matches('k'), 1_000),
            [.., b'M'] => (text.trim_end_matches('M'), 1_000_000),
            _ => (text, 1),
        };
        let rate = digits.parse::<u64>().ok().filter(|rate| *rate > 0);
        rate.and_then(|rate| rate.checked_mul(factor))
            .map(|rate| Self(Some(rate)))
            .ok_or_else(|| "expected max, or a number per second such as 1000, 50k, 2M".to_owned())
    }
}

/// At most a day.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time of up to a day, such as 500ms, 5s, 2m".to_owned();
    let at = text
        .find(|character: char| !character.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(at);
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let ms = number.checked_mul(ms).filter(|ms| *ms <= 86_400_000);
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

impl Arguments {
    fn scenario(&self) -> Scenario {
        // Room for a third more than there are flows, and for connections of the last two minutes.
        let needed = self.flows.saturating_add(self.flows / 3).max(1 << 14);
        Scenario {
            method: self.method,
            family: self.family,
            protocol: self.protocol,
            reals: self.reals,
            scheduler: self.scheduler.clone(),
            workers: self.workers,
            sessions: self.sessions.unwrap_or(needed),
        }
    }

    fn plan(&self) -> Plan {
        let scenario = self.scenario();
        let frame_bytes = self.frame_bytes.unwrap_or_else(|| Shape::least(&scenario));
        Plan {
            shape: Shape {
                frame_bytes,
                data: self.mode == Mode::Connections && !self.no_data,
            },
            scenario,
            mode: self.mode,
            flows: self.flows,
            seed: self.seed,
            order: self.order,
            rate: self.rate.0,
            concurrent: self.concurrent,
            duration: self.duration,
            warmup: self.warmup,
            timeout: self.timeout,
            answers: !self.no_answers,
            returns: match self.expect {
                Expect::Balanced => Returns::Balanced,
                Expect::TestpmdMacswap => Returns::MacSwapped,
            },
            balancer: self.peer_mac,
        }
    }
}

fn main() -> ExitCode {
    run(&Arguments::parse()).unwrap_or_else(|error| {
        output::remark(format_args!("plimsoll-pktgen: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let plan = arguments.plan();
    if let Err(error) = plan.check() {
        output::remark(format_args!("plimsoll-pktgen: {error}"));
        return Ok(ExitCode::from(2));
    }
    if let Some(device) = &arguments.daemon_config {
        let options = DaemonOptions {
            cpus: (0..plan.scenario.workers).collect(),
            hugepages: if arguments.no_huge {
                Hugepages::Off
            } else {
                Hugepages::Auto
            },
            ..DaemonOptions::new(device)
        };
        output::text(plan.scenario.yaml(&options))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(device) = &arguments.device else {
        output::remark(
            "plimsoll-pktgen: --device is needed, such as --device net_af_packet0,iface=veth0",
        );
        return Ok(ExitCode::from(2));
    };
    tell(arguments, &measure(arguments, &plan, device)?)
}

fn measure(arguments: &Arguments, plan: &Plan, device: &str) -> Result<Report> {
    if let Some(cpu) = arguments.cpu {
        let mut cpus = CpuSet::new();
        if cpu >= CpuSet::MAX_CPU {
            bail!("--cpu {cpu}: there is no such CPU");
        }
        cpus.set(cpu);
        sched_setaffinity(None, &cpus).with_context(|| format!("--cpu {cpu}"))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stops = Arc::clone(&stop);
    ctrlc::set_handler(move || stops.store(true, Ordering::Relaxed))
        .context("Ctrl-C cannot be caught")?;

    let eal = Eal::init(EalConfig {
        program: "plimsoll-pktgen".to_owned(),
        memory: if arguments.no_huge {
            Memory::NoHuge
        } else {
            Memory::Auto
        },
        size_mib: Some(arguments.memory),
        extra_args: arguments.eal_arg.clone(),
        devices: vec![device.to_owned()],
    })?;
    if !arguments.no_huge && eal.memory_kind() == MemoryKind::Ordinary {
        output::remark(format_args!(
            "plimsoll-pktgen: too few hugepages are free: ordinary memory is used, which is slower"
        ));
    }
    let pool = Mempool::new(&eal, "pktgen", BUFFERS, device::data_room(MTU))?;
    let config = PortConfig {
        rx_descriptors: DESCRIPTORS,
        tx_descriptors: DESCRIPTORS,
        mtu: MTU,
        // The clients' router and the real servers have MACs of their own.
        promiscuous: true,
        ..PortConfig::new("pktgen", device)
    };
    let (_port, queues) = Port::open(&eal, &config, &pool)?;
    let queues = queues
        .into_iter()
        .next()
        .context("the device has no queue")?;
    let clock = Clock {
        now: cycles,
        hz: eal.cycles_per_second(),
    };
    let talks = arguments.progress || io::stderr().is_terminal();
    let mut progress = |line: &str| {
        if talks {
            output::remark(line);
        }
    };
    let run = Run::new(plan, queues, pool.handle(), clock, &stop)?;
    Ok(run.measure(&mut progress)?)
}

fn tell(arguments: &Arguments, report: &Report) -> Result<ExitCode> {
    let json = || serde_json::to_string_pretty(report).context("the result cannot be written");
    match &arguments.json {
        Some(path) if path.as_os_str() == "-" => output::line(json()?)?,
        Some(path) => {
            fs::write(path, json()? + "\n").with_context(|| path.display().to_string())?;
            output::text(report)?;
        }
        None => output::text(report)?,
    }
    if report.received == 0 {
        bail!("nothing came back in the measured time");
    }
    Ok(if report.has_faults() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
