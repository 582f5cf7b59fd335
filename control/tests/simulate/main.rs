//! The simulator from outside: what its clock does and what it reports.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pcap_file::pcap::PcapReader;
use plimsoll_control::cli::{self, Exit, Terminal};
use plimsoll_control::simulate::{Faults, Plan, Report, run};
use tempfile::TempDir;

mod captures;

const CONFIG: &str = r#"version: 1
dataplane:
  sessions: 1024
  ports:
    - { name: eth0, device: "net_null0", addresses: [10.0.0.1/24] }
    - { name: eth1, device: "net_null1", addresses: [10.1.0.1/24] }
network:
  neighbors:
    - { address: 10.1.0.11, mac: "02:00:00:00:01:0b" }
services:
  - name: dns
    vip: "192.0.2.1:53"
    protocol: udp
    scheduler: rr
    reals:
      - { address: "10.1.0.11:53", forward: dr }
"#;

/// A folder with a configuration, and captures to come.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(config: &str) -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        bench.file("config.yaml", config.as_bytes());
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn plan(&self, capture: &[u8]) -> Plan {
        Plan {
            config: self.path("config.yaml"),
            inputs: vec![("eth0".to_owned(), self.file("in.pcap", capture))],
            outputs: ["eth0", "eth1"]
                .map(|port| (port.to_owned(), self.path(&format!("{port}.out"))))
                .to_vec(),
            reloads: Vec::new(),
            end: None,
            sessions_per_worker: None,
            workers: 1,
            faults: Faults::default(),
        }
    }

    fn run(&self, capture: &[u8]) -> Report {
        run(&self.plan(capture)).unwrap()
    }

    /// Runs until `seconds` after the first frame.
    fn run_until(&self, capture: &[u8], seconds: f64) -> Report {
        let end = Some(Duration::from_secs_f64(seconds));
        run(&Plan {
            end,
            ..self.plan(capture)
        })
        .unwrap()
    }

    fn error(&self, capture: &[u8]) -> String {
        run(&self.plan(capture)).unwrap_err().to_string()
    }

    /// When frames left a port, and these.
    fn sent(&self, port: &str) -> Vec<(Duration, Vec<u8>)> {
        let file = File::open(self.path(&format!("{port}.out"))).unwrap();
        let mut reader = PcapReader::new(file).unwrap();
        std::iter::from_fn(|| {
            let packet = reader.next_packet()?.unwrap();
            Some((packet.timestamp, packet.data.into_owned()))
        })
        .collect()
    }

    /// `plimsoll simulate` with these options after `--config`; {} is the folder.
    fn cli(&self, options: &[&str]) -> (Exit, String) {
        let folder = self.folder.path().to_str().unwrap();
        let start = ["plimsoll", "simulate", "--config", "{}/config.yaml"];
        let args = start.iter().chain(options);
        let args = args.map(|arg| arg.replace("{}", folder).into());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = cli::run(
            args,
            &mut Terminal {
                out: &mut out,
                err: &mut err,
                stderr_colour: false,
            },
        );
        (exit, String::from_utf8(err).unwrap())
    }
}

/// An IPv4 packet in an Ethernet frame for eth0.
fn ipv4(protocol: u8, to: [u8; 4], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    header.extend([0, 7]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0, 198, 51, 100, 1]);
    header.extend(to);
    let words = header
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let ethernet = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xfe, 8, 0];
    [&ethernet, &header[..], payload].concat()
}

/// A query of a client to the virtual service.
fn query(client_port: u16) -> Vec<u8> {
    let [high, low] = client_port.to_be_bytes();
    let udp = [high, low, 0, 53, 0, 108, 0, 0];
    ipv4(17, [192, 0, 2, 1], 0, &[&udp[..], &[0x55; 100]].concat())
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

fn pcap_header(magic: u32, snaplen: u32, link: u32) -> Vec<u8> {
    let words = [magic, 0x0004_0002, 0, 0, snaplen, link];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn record(seconds: u32, fraction: u32, frame: &[u8], original: usize) -> Vec<u8> {
    let words = [
        seconds,
        fraction,
        u32::try_from(frame.len()).unwrap(),
        u32::try_from(original).unwrap(),
    ];
    let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [head, frame.to_vec()].concat()
}

/// A capture with these frames, by seconds.
fn pcap(frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let records = frames.iter();
    let records = records.flat_map(|(at, frame)| record(*at, 0, frame, frame.len()));
    let header = pcap_header(MICROSECONDS, 262_144, 1);
    header.into_iter().chain(records).collect()
}

fn conns(report: &Report) -> u64 {
    report.services[0].reals[0].counters.conns
}

fn drop_count(report: &Report, reason: &str) -> u64 {
    report.drops.get(reason).copied().unwrap_or(0)
}

#[test]
fn a_month_of_silence_costs_nothing_and_sessions_end_in_it() {
    const MONTH: u32 = 30 * 86_400;
    let bench = Bench::new(CONFIG);
    let begin = Instant::now();
    let fragment = ipv4(17, [192, 0, 2, 1], 0x2000, &[0; 64]);
    let capture = pcap(&[
        (0, query(1)),
        (0, query(2)),
        (1, fragment),
        (MONTH, query(1)),
    ]);
    let report = bench.run(&capture);
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(conns(&report), 3);
    assert_eq!(report.sessions.len(), 1);
    let real = &report.services[0].reals[0];
    assert_eq!((real.active, real.inactive), (0, 1));
    assert_eq!(drop_count(&report, "fragment_timeout"), 1);
}

#[test]
fn a_reload_at_the_end_of_time_ends() {
    let bench = Bench::new(CONFIG);
    let end = Duration::MAX;
    let plan = Plan {
        reloads: vec![(end, bench.path("config.yaml"))],
        ..bench.plan(&pcap(&[(0, query(1))]))
    };
    assert_eq!(run(&plan).unwrap().sessions, []);
    let plan = Plan {
        end: Some(end),
        ..bench.plan(&pcap(&[(0, query(1))]))
    };
    assert_eq!(run(&plan).unwrap().sessions, []);
}

#[test]
fn neighbours_are_asked_to_the_millisecond_whatever_comes_next() {
    let config = CONFIG.replace("10.1.0.11, mac", "10.1.0.99, mac");
    for next in [4, 100_000] {
        let bench = Bench::new(&config);
        let mut capture = pcap_header(MICROSECONDS, 65_535, 1);
        capture.extend(record(10, 7_000, &query(1), 150));
        capture.extend(record(10 + next, 7_000, &query(2), 150));
        let report = bench.run(&capture);
        let times: Vec<_> = bench.sent("eth1").into_iter().map(|(at, _)| at).collect();
        let asked = [10, 11, 12].map(|at| Duration::from_millis(at * 1_000 + 7));
        assert_eq!(times[..3], asked);
        assert_eq!(
            times[3],
            Duration::from_millis(u64::from(10 + next) * 1_000 + 7)
        );
        assert_eq!(
            drop_count(&report, "neighbour_unreachable"),
            1,
            "{:?}",
            report.drops
        );
    }
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let bench = Bench::new(CONFIG);
    let report = bench.run(&pcap(&[
        (10, query(1)),
        (20, query(2)),
        (15, query(3)),
        (21, query(4)),
    ]));
    assert_eq!(report.frames_out, 4);
    let times: Vec<_> = bench.sent("eth1").into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [10, 20, 20, 21].map(Duration::from_secs));
}

#[test]
fn a_session_leaves_the_list_and_its_real_servers_numbers_together() {
    // UDP lasts 300 s; what is left is rounded down, as ipvsadm does.
    let cases = [
        (0.5, Some(299)),
        (299.5, Some(0)),
        (300.0, None),
        (300.05, None),
        (301.0, None),
    ];
    for (end, left) in cases {
        let bench = Bench::new(CONFIG);
        let report = bench.run_until(&pcap(&[(1_000, query(1))]), end);
        let shown: Vec<_> = report
            .sessions
            .iter()
            .map(|session| session.expires_s)
            .collect();
        assert_eq!(shown, Vec::from_iter(left), "{end}");
        let real = &report.services[0].reals[0];
        assert_eq!(
            (real.active, real.inactive),
            (0, u64::from(left.is_some())),
            "{end}"
        );
    }
}

#[test]
fn frames_for_the_kernel_do_not_leave() {
    let config = CONFIG.replace("[10.0.0.1/24]", "[10.0.0.1/24], kernel: true");
    let bench = Bench::new(&config);
    let udp = [0x30, 0x39, 0, 123, 0, 8, 0, 0];
    let report = bench.run(&pcap(&[
        (0, ipv4(17, [10, 0, 0, 1], 0, &udp)),
        (1, query(1)),
    ]));
    assert_eq!(
        (report.frames_in, report.frames_out),
        (2, 1),
        "{:?}",
        report.drops
    );
    assert_eq!(bench.sent("eth1").len(), 1);
}

#[test]
fn the_report_has_the_documented_fields() {
    let bench = Bench::new(CONFIG);
    let report = bench.run(&pcap(&[(0, query(4_000)), (0, query(1)[..30].to_vec())]));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["sessions"],
        serde_json::json!([{
            "protocol": "udp", "state": "UDP", "client": "198.51.100.1:4000",
            "virtual": "192.0.2.1:53", "real": "10.1.0.11:53", "expires_s": 300,
        }])
    );
    assert_eq!(
        json["services"][0]["reals"][0],
        serde_json::json!({
            "address": "10.1.0.11:53", "forward": "dr", "weight": 1, "active": 0, "inactive": 1,
            "conns": 1, "in_packets": 1, "out_packets": 0, "in_bytes": 128, "out_bytes": 0,
        })
    );
    assert_eq!(json["drops"], serde_json::json!({"truncated": 1}));
    assert_eq!(
        (&json["frames_in"], &json["frames_out"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn impossible_inputs_and_outputs_fail_with_the_reason_and_destroy_nothing() {
    let cases: [(&[&str], &str); 8] = [
        (
            &["--in", "eth9={}/good"],
            "no port is named `eth9`; the configuration has eth0, eth1",
        ),
        (&["--out", "eth9={}/out"], "no port is named `eth9`"),
        (&["--in", "eth0={}/missing"], "missing: No such file"),
        (&["--in", "eth0={}"], "directory"),
        (
            &["--out", "eth0={}/a", "--out", "eth0={}/b"],
            "port `eth0` has two outputs",
        ),
        (
            &["--out", "eth0={}/a", "--out", "eth1={}/a"],
            "would destroy",
        ),
        (
            &["--in", "eth0={}/good", "--out", "eth1={}/./good"],
            "good: writing it would destroy",
        ),
        (
            &["--out", "eth0={}/nowhere/out"],
            "nowhere/out: No such file",
        ),
    ];
    let good = pcap(&[(0, query(1))]);
    for (options, reason) in cases {
        let bench = Bench::new(CONFIG);
        bench.file("good", &good);
        let (exit, error) = bench.cli(options);
        assert_eq!(exit, Exit::Failed, "{options:?}: {error}");
        assert!(error.contains(reason), "{options:?}: {error}");
        assert_eq!(fs::read(bench.path("good")).unwrap(), good);
    }
    let (exit, error) =
        Bench::new(CONFIG).cli(&["--out", "eth0=/dev/null", "--out", "eth1=/dev/null"]);
    assert_eq!((exit, error.as_str()), (Exit::Ok, ""));
}

#[test]
fn a_report_takes_the_place_of_nothing_that_the_run_reads_or_writes() {
    let good = pcap(&[(0, query(1))]);
    for report in [
        "config.yaml",
        "good",
        "next.yaml",
        "out",
        "hard",
        "soft",
        "new",
    ] {
        let bench = Bench::new(CONFIG);
        bench.file("good", &good);
        bench.file("next.yaml", CONFIG.as_bytes());
        bench.file("out", b"old");
        fs::hard_link(bench.path("good"), bench.path("hard")).unwrap();
        std::os::unix::fs::symlink("config.yaml", bench.path("soft")).unwrap();
        let (exit, error) = bench.cli(&[
            "--in=eth0={}/good",
            "--reload=1={}/next.yaml",
            "--out=eth0={}/out",
            "--out=eth1={}/./new",
            &format!("--report={{}}/{report}"),
        ]);
        assert_eq!(exit, Exit::Failed, "{report}: {error}");
        assert!(error.contains("would destroy"), "{report}: {error}");
        assert_eq!(fs::read(bench.path("good")).unwrap(), good, "{report}");
        assert_eq!(fs::read(bench.path("out")).unwrap(), b"old", "{report}");
        let config = fs::read_to_string(bench.path("config.yaml")).unwrap();
        assert_eq!(config, CONFIG, "{report}");
        assert!(!bench.path("new").exists(), "{report}");
    }
}

#[test]
fn tables_that_no_memory_holds_are_refused_with_the_numbers() {
    let bench = Bench::new(CONFIG);
    for options in [
        &["--sessions-per-worker=4294967295"][..],
        &["--sessions-per-worker=2000000000", "--workers=64"],
    ] {
        let (exit, error) = bench.cli(options);
        assert_eq!(exit, Exit::Failed, "{error}");
        for words in ["not enough memory", "GiB", "lower --sessions-per-worker to"] {
            assert!(error.contains(words), "{error}");
        }
    }
}

#[test]
fn a_full_disk_is_told_whatever_is_written() {
    let good = pcap(&[(0, query(1))]);
    for option in ["--report=/dev/full", "--out=eth1=/dev/full"] {
        let bench = Bench::new(CONFIG);
        bench.file("good", &good);
        let (exit, error) = bench.cli(&["--in=eth0={}/good", option]);
        assert_eq!(exit, Exit::Failed, "{option}: {error}");
        assert!(
            error.contains("/dev/full: No space left"),
            "{option}: {error}"
        );
    }
}

#[test]
fn reloads_are_checked_before_anything_runs() {
    for seconds in ["x", "", "-1", "NaN", "inf", "1e300", "5000000000"] {
        let (exit, _) = Bench::new(CONFIG).cli(&[&format!("--reload={seconds}={{}}/config.yaml")]);
        assert_eq!(exit, Exit::Usage, "{seconds}");
    }
    let bench = Bench::new(CONFIG);
    bench.file("broken.yaml", b"version: 1\nservises: []\n");
    let fewer = CONFIG.lines().filter(|line| !line.contains("net_null1"));
    let fewer = fewer.filter(|line| !line.contains("10.1.0.11, mac"));
    let fewer: Vec<_> = fewer.filter(|line| !line.ends_with("neighbors:")).collect();
    let fewer = fewer
        .join("\n")
        .replace("network:", "")
        .replace("10.1.0.11", "10.0.0.11");
    bench.file("ports.yaml", fewer.as_bytes());
    let (exit, error) = bench.cli(&["--reload", "1=/{}/broken.yaml", "--out", "eth0={}/out"]);
    assert_eq!(exit, Exit::InvalidConfig, "{error}");
    assert!(error.contains("did you mean `services`?"), "{error}");
    let (exit, error) = bench.cli(&["--reload", "1={}/ports.yaml", "--out", "eth0={}/out"]);
    assert_eq!(exit, Exit::Failed, "{error}");
    let reason = "ports.yaml: `dataplane.ports` differs from the configuration at the start";
    assert!(error.contains(reason), "{error}");
    assert!(!bench.path("out").exists());
    let (exit, error) = bench.cli(&["--reload", "0.5={}/config.yaml"]);
    assert_eq!((exit, error.as_str()), (Exit::Ok, ""));
}
