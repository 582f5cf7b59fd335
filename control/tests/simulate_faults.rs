//! The simulator's faults from outside: what each does, and that no frame is missing in the report.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use plimsoll_control::cli::{self, Exit, Terminal};
use plimsoll_dataplane::testing::{PacketBuilder, arp_frame};
use plimsoll_dataplane::wire::{Mac, arp, tcp};
use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = r#"version: 1
dataplane:
  sessions: 1024
  ports:
    - { name: eth0, device: "net_null0", addresses: [10.0.0.1/24], kernel: true }
    - { name: eth1, device: "net_null1", addresses: [10.1.0.1/24] }
network:
  routes: [{ to: 0.0.0.0/0, via: 10.0.0.254 }]
  neighbors:
    - { address: 10.0.0.254, mac: "02:00:00:00:00:fe" }
    - { address: 10.1.0.11, mac: "02:00:00:00:01:0b" }
services:
  - { name: dns, vip: "192.0.2.1:53", protocol: udp, reals: [{ address: "10.1.0.11:53", forward: dr }] }
  - { name: web, vip: "192.0.2.1:80", protocol: tcp, reals: [{ address: "10.1.0.11:8080", forward: nat }] }
  - name: sticky
    vip: "192.0.2.1:81"
    protocol: tcp
    persistence: { timeout: 60s, mask: 8 }
    reals: [{ address: "10.1.0.11:8081", forward: nat }]
  # Nobody answers for this address.
  - { name: tunnel, vip: "192.0.2.1:82", protocol: tcp, reals: [{ address: "10.1.0.99:82", forward: tunnel }] }
"#;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const REAL: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const ETH0_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ETH1_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
const REAL_MAC: Mac = Mac([2, 0, 0, 0, 1, 0xb]);

/// A time after the first frame in microseconds, and a frame.
type Timed = (u64, Vec<u8>);

struct Bench(TempDir);

impl Bench {
    /// A folder with `CONFIG` and what arrives at both ports.
    fn new(eth0: &[Timed], eth1: &[Timed]) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        fs::write(bench.path("config.yaml"), CONFIG).unwrap();
        for (name, frames) in [("eth0", eth0), ("eth1", eth1)] {
            let file = File::create(bench.path(name)).unwrap();
            let header = PcapHeader {
                datalink: DataLink::ETHERNET,
                ..PcapHeader::default()
            };
            let mut writer = PcapWriter::with_header(file, header).unwrap();
            for (at, frame) in frames {
                let at = Duration::from_secs(1000) + Duration::from_micros(*at);
                let length = u32::try_from(frame.len()).unwrap();
                writer
                    .write_packet(&PcapPacket::new(at, length, frame))
                    .unwrap();
            }
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `plimsoll simulate` with these options; {} is the folder.
    fn cli(&self, options: &[&str]) -> (Exit, String, String) {
        let folder = self.0.path().to_str().unwrap();
        let start = [
            "plimsoll simulate --config {}/config.yaml --in eth0={}/eth0 --in eth1={}/eth1",
            "--out eth0={}/eth0.out --out eth1={}/eth1.out --report -",
        ];
        let args = start.iter().chain(options).flat_map(|part| part.split(' '));
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
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    /// The report, whose sums are right.
    fn report(&self, options: &str) -> Value {
        let (exit, out, err) = self.cli(&[options]);
        assert_eq!(exit, Exit::Ok, "{options}: {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        for counts in report["workers"].as_array().unwrap() {
            check(counts, options);
        }
        let counts = &report["counts"];
        check(counts, options);
        let of = |name: &str| counts[name].as_u64().unwrap();
        assert_eq!(of("arrived"), report["frames_in"], "{options}");
        assert_eq!(of("handed_over"), of("taken_over"), "{options}: {counts}");
        let drops = report["drops"].as_object().unwrap().values();
        let drops: u64 = drops.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(of("dropped"), drops, "{options}");
        let left = self.sent("eth0").len() + self.sent("eth1").len();
        assert_eq!(report["frames_out"], left, "{options}");
        report
    }

    /// When frames left a port, in milliseconds after the first frame.
    fn sent(&self, port: &str) -> Vec<u64> {
        let file = File::open(self.path(&format!("{port}.out"))).unwrap();
        let mut reader = PcapReader::new(file).unwrap();
        let times = std::iter::from_fn(|| Some(reader.next_packet()?.unwrap().timestamp));
        let first = Duration::from_secs(1000);
        times
            .map(|at| u64::try_from((at - first).as_millis()).unwrap())
            .collect()
    }
}

/// That no frame is missing.
fn check(counts: &Value, options: &str) {
    let sum = |names: &[&str]| {
        let each = names.iter().map(|name| counts[name].as_u64().unwrap());
        each.sum::<u64>()
    };
    assert_eq!(
        sum(&["arrived"]),
        sum(&["lost_link_down", "lost_rx_full", "received"]),
        "{options}: {counts}"
    );
    let verdicts = [
        "forwarded",
        "replied",
        "punted",
        "handed_over",
        "consumed",
        "dropped",
        "waiting",
    ];
    assert_eq!(
        sum(&["received", "taken_over"]),
        sum(&verdicts),
        "{options}: {counts}"
    );
}

fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc633_6400 + number % 64)
}

fn from_client(number: u32) -> PacketBuilder {
    PacketBuilder::v4(client(number), VIP).mac(GATEWAY_MAC, ETH0_MAC)
}

fn query(number: u32) -> Vec<u8> {
    let port = 1024 + u16::try_from(number % 60_000).unwrap();
    from_client(number).udp(port, 53).payload(&[7; 20]).build()
}

/// A bit of everything, at both ports, five frames a millisecond.
fn mixed(count: u32) -> [Vec<Timed>; 2] {
    let mut ports = [Vec::new(), Vec::new()];
    for number in 0..count {
        let at = u64::from(number) * 200;
        let port = 1024 + u16::try_from(number / 11).unwrap();
        let to_vip = |vport| from_client(number).tcp(port, vport).flags(tcp::SYN).build();
        let reply = PacketBuilder::v4(REAL, client(number - number % 11 + 1));
        let arp = |target| {
            let gateway = Ipv4Addr::new(10, 0, 0, 254);
            arp_frame(
                Mac::BROADCAST,
                &arp::Packet::request(GATEWAY_MAC, gateway.into(), target),
            )
        };
        match number % 11 {
            0 => ports[0].push((at, query(number))),
            1 => ports[0].push((at, to_vip(80))),
            2 => ports[0].push((at, to_vip(81))),
            3 => ports[0].push((at, to_vip(82))),
            4 => ports[1].push((
                at,
                reply
                    .mac(REAL_MAC, ETH1_MAC)
                    .tcp(8080, port)
                    .flags(tcp::SYN | tcp::ACK)
                    .build(),
            )),
            5 => ports[0].push((at, from_client(number).echo_request(1, port).build())),
            6 => ports[0].push((at, arp(VIP.into()))),
            7 => {
                let whole = from_client(number).id(number).udp(port, 53);
                let pieces = whole.payload(&[1; 2000]).build_fragments(1000);
                // Some datagrams never become whole.
                let pieces = pieces.into_iter().skip(usize::from(number % 3 == 0));
                ports[0].extend(pieces.map(|piece| (at, piece)));
            }
            8 => ports[0].push((at, query(number)[..30].to_vec())),
            9 => ports[0].push((
                at,
                PacketBuilder::v4(client(number), Ipv4Addr::new(10, 0, 0, 1))
                    .mac(GATEWAY_MAC, ETH0_MAC)
                    .tcp(port, 22)
                    .build(),
            )),
            _ => ports[0].push((at, from_client(number).tcp(port, 9).flags(tcp::ACK).build())),
        }
    }
    ports
}

fn count(report: &Value, name: &str) -> u64 {
    report["counts"][name].as_u64().unwrap()
}

fn drops(report: &Value, reason: &str) -> u64 {
    report["drops"][reason].as_u64().unwrap_or(0)
}

#[test]
fn no_frame_is_missing_in_the_report_whatever_goes_wrong() {
    let [eth0, eth1] = mixed(8000);
    let bench = Bench::new(&eth0, &eth1);
    for workers in [1, 3] {
        let run = |faults: &str| bench.report(&format!("--workers {workers}{faults}"));
        let calm = run("");
        for verdict in ["forwarded", "replied", "punted", "dropped", "waiting"] {
            assert!(count(&calm, verdict) > 0, "{verdict}: {calm}");
        }
        assert_eq!(count(&calm, "handed_over") > 0, workers > 1);
        assert_eq!(count(&calm, "lost_rx_full"), 0);
        let bursts = run(" --burst 0.02");
        assert_eq!(count(&bursts, "received"), count(&calm, "received"));
        let narrow = run(" --burst 0.02 --rx-queue 32");
        assert!(count(&narrow, "lost_rx_full") > 0);
        let slow = run(" --burst 0.1 --tx-queue 1");
        assert!(count(&slow, "forwarded") > 0);
        let lag = run(" --lag 0=0.2..1.4");
        assert!(count(&lag, "lost_rx_full") > 0);
        let down = run(" --link-down eth1=0.5..1 --link-down eth0=0.7..0.8");
        assert!(count(&down, "lost_link_down") > 0);
        run(
            " --burst 0.05 --rx-queue 64 --tx-queue 2 --lag 0=0.1..0.3 --lag 0=0.9..1.2 --link-down eth1=0..1.3",
        );
    }
}

#[test]
fn the_same_faults_give_the_same_frames() {
    let [eth0, eth1] = mixed(2000);
    let bench = Bench::new(&eth0, &eth1);
    let faults =
        "--workers 3 --burst 0.01 --tx-queue 3 --lag 1=0.1..0.3 --link-down eth1=0.2..0.25";
    let run = || {
        let report = bench.report(faults);
        let frames = ["eth0.out", "eth1.out"].map(|name| fs::read(bench.path(name)).unwrap());
        (report, frames)
    };
    assert!(run() == run());
}

#[test]
fn a_burst_is_received_at_the_time_of_its_last_frame_and_fills_the_queue() {
    let frames: Vec<_> = (0..50)
        .map(|n| (u64::from(n) * 100, query(n)))
        .chain([(20_000, query(50))])
        .collect();
    let bench = Bench::new(&frames, &[]);
    let report = bench.report("--rx-queue 40");
    assert_eq!(
        count(&report, "lost_rx_full"),
        0,
        "each is received at once"
    );
    assert_eq!(
        bench.sent("eth1")[..12],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    );
    let report = bench.report("--rx-queue 40 --burst 0.005");
    assert_eq!(count(&report, "lost_rx_full"), 10);
    assert_eq!(bench.sent("eth1"), [vec![4; 40], vec![20]].concat());
    // Frames of one time, and no others.
    let report = bench.report("--rx-queue 1 --burst 0");
    assert_eq!(count(&report, "lost_rx_full"), 0);
    let together: Vec<_> = (0..50).map(|n| (7, query(n))).collect();
    let report = Bench::new(&together, &[]).report("--rx-queue 1 --burst 0");
    assert_eq!(count(&report, "lost_rx_full"), 49);
}

#[test]
fn a_reload_parts_a_burst() {
    let frames: Vec<_> = (0..4).map(|n| (u64::from(n) * 10_000, query(n))).collect();
    let bench = Bench::new(&frames, &[]);
    bench.report("--burst 1 --reload 0.02={}/config.yaml");
    assert_eq!(bench.sent("eth1"), [10, 10, 30, 30]);
}

#[test]
fn a_transmit_queue_that_overflows_drops_what_finds_no_room() {
    let frames: Vec<_> = (0..2000).map(|n| (0, query(n))).collect();
    let bench = Bench::new(&frames, &[]);
    let report = bench.report("--burst 0 --rx-queue 2000 --tx-queue 64");
    // The queue's frames and those that wait for room.
    assert_eq!(count(&report, "forwarded"), 64 + 1024);
    assert_eq!(drops(&report, "tx_full"), 2000 - 64 - 1024);
    let expected: Vec<_> = (0..17).flat_map(|n| [n + 1; 64]).collect();
    assert_eq!(bench.sent("eth1"), expected);
    let report = bench.report("--burst 0 --rx-queue 2000");
    assert_eq!(count(&report, "forwarded"), 2000);
}

#[test]
fn a_worker_that_lags_loses_what_its_queue_has_no_room_for_and_goes_on() {
    let frames: Vec<_> = (0..1000).map(|n| (u64::from(n) * 1000, query(n))).collect();
    let bench = Bench::new(&frames, &[]);
    let report = bench.report("--lag 0=0.1..0.9 --rx-queue 300");
    assert_eq!(count(&report, "lost_rx_full"), 500);
    let sent = bench.sent("eth1");
    assert_eq!(sent[..100], Vec::from_iter(0..100));
    assert_eq!(sent[100..400], [900; 300]);
    assert_eq!(sent[400..], Vec::from_iter(900..1000));
    // A fault that outlasts the frames is waited for.
    let report = bench.report("--lag 0=0.999..4.5 --link-down eth1=4.1..7");
    assert_eq!(count(&report, "forwarded"), 1000);
    assert_eq!(bench.sent("eth1")[999], 7000);
}

#[test]
fn a_worker_that_lags_fills_the_ring_of_what_is_handed_over_to_it() {
    // The clients of one network have one owner, wherever their packets arrive.
    let syn = |n: u32| {
        let port = 1024 + u16::try_from(n).unwrap();
        from_client(n).tcp(port, 81).flags(tcp::SYN).build()
    };
    let frames: Vec<_> = (0..9000).map(|n| (u64::from(n) * 100, syn(n))).collect();
    let bench = Bench::new(&frames, &[]);
    let full = [0, 1].map(|worker| {
        let report = bench.report(&format!("--workers 2 --lag {worker}=0..1"));
        drops(&report, "handover_full")
    });
    assert!(full.iter().any(|count| *count > 0), "{full:?}");
}

#[test]
fn a_link_that_is_down_keeps_what_is_queued_and_lets_nothing_in() {
    let eth0: Vec<_> = (0..2000).map(|n| (u64::from(n) * 100, query(n))).collect();
    let reply = PacketBuilder::v4(REAL, client(1)).mac(REAL_MAC, ETH1_MAC);
    let reply = reply.tcp(1, 2).build();
    let eth1: Vec<_> = (0..200).map(|n| (n * 1000, reply.clone())).collect();
    let bench = Bench::new(&eth0, &eth1);
    let report = bench.report("--link-down eth1=0.01..0.19");
    assert_eq!(count(&report, "lost_link_down"), 180);
    assert_eq!(drops(&report, "tx_full"), 1800 - 512 - 1024);
    let sent = bench.sent("eth1");
    assert_eq!((sent[99], sent[100], sent[1635]), (9, 190, 190));
    assert_eq!(sent.len(), 100 + 512 + 1024 + 100);
}

#[test]
fn workers_are_told_of_a_link_that_is_down_as_by_the_daemon() {
    let frames: Vec<_> = (0..4000).map(|n| (u64::from(n) * 1000, query(n))).collect();
    let bench = Bench::new(&frames, &[]);
    for workers in [1, 2] {
        let run = |faults: &str| bench.report(&format!("--workers {workers}{faults}"));
        // Known at the second's end: what came until then waits, and none of it that found no room in the device's queue
        // is sent when the link is back.
        let report = run(" --link-down eth1=0.2..2.5");
        assert_eq!(drops(&report, "link_down"), 2000);
        let given_up = 800_usize.saturating_sub(512 * workers);
        assert_eq!(count(&report, "not_sent"), given_up as u64);
        assert_eq!(count(&report, "forwarded"), 2000);
        let sent = bench.sent("eth1");
        assert_eq!(sent.len(), 2000 - given_up);
        let late = sent.iter().filter(|at| **at == 2500).count();
        assert_eq!(late, 800 - given_up);
        // One that is down from the start is known to be.
        let report = run(" --link-down eth1=0..0.7");
        assert_eq!(drops(&report, "link_down"), 1000);
        assert_eq!(count(&report, "not_sent"), 0);
        // Nobody sees a link that is back in time.
        let report = run(" --link-down eth1=1.1..1.9");
        assert_eq!(drops(&report, "link_down"), 0);
        assert_eq!(count(&report, "forwarded"), 4000);
    }
}

#[test]
fn faults_that_cannot_be_are_refused() {
    let bench = Bench::new(&[], &[]);
    for option in [
        "--burst=-1",
        "--burst x",
        "--rx-queue 0",
        "--tx-queue 0",
        "--lag 0",
        "--lag x=1..2",
        "--lag 0=2..2",
        "--lag 0=2..x",
        "--link-down =1..2",
    ] {
        let (code, _, _) = bench.cli(&[option]);
        assert_eq!(code, Exit::Usage, "{option}");
    }
    for (option, reason) in [
        ("--lag 1=1..2", "there is no worker 1"),
        ("--link-down eth9=1..2", "no port is named `eth9`"),
    ] {
        let (code, _, error) = bench.cli(&[option]);
        assert_eq!(code, Exit::Failed, "{option}: {error}");
        assert!(error.contains(reason), "{option}: {error}");
        assert!(!bench.path("eth0.out").exists(), "{option}");
    }
}
