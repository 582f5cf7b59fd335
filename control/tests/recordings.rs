//! Replays recordings of a real kernel's IPVS through the simulator and compares every frame, the
//! counters and the sessions. `pktgen-tests/recordings/README.md` tells the format.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use plimsoll_control::simulate::{Plan, Report, run};
use serde_json::Value;

/// Between two steps of a recording.
const STEP: Duration = Duration::from_millis(10);
/// The first frame's time; any will do.
const EPOCH: Duration = Duration::from_secs(1_000_000);
const PORTS: [&str; 2] = ["eth0", "eth1"];

const NETWORK: &str = r#"version: 1
dataplane:
  sessions: 4096
  ports:
    - { name: eth0, device: "net_null0", addresses: [10.0.0.1/24, "2001:db8::1/64"] }
    - { name: eth1, device: "net_null1", addresses: [10.1.0.1/24, "2001:db8:1::1/64"] }
network:
  routes:
    - { to: 0.0.0.0/0, via: 10.0.0.254 }
    - { to: "::/0", via: "2001:db8::fe" }
    - { to: 172.16.0.0/16, via: 10.1.0.254 }
  neighbors:
    - { address: 10.0.0.254, mac: "02:00:00:00:00:fe" }
    - { address: "2001:db8::fe", mac: "02:00:00:00:00:fe" }
    - { address: 10.1.0.254, mac: "02:00:00:00:01:fe" }
    - { address: 10.1.0.11, mac: "02:00:00:00:01:0b" }
    - { address: 10.1.0.12, mac: "02:00:00:00:01:0c" }
    - { address: 10.1.0.13, mac: "02:00:00:00:01:0d" }
    - { address: "2001:db8:1::11", mac: "02:00:00:00:01:0b" }
    - { address: "2001:db8:1::12", mac: "02:00:00:00:01:0c" }
    - { address: "2001:db8:1::13", mac: "02:00:00:00:01:0d" }
"#;

/// One service of a recording's rules.
struct Service {
    protocol: &'static str,
    vip: String,
    scheduler: String,
    flags: String,
    /// As `ipvsadm` has them: the newest first.
    reals: Vec<Real>,
    /// The keys of `tunnel:`.
    tunnel: String,
}

struct Real {
    address: String,
    /// The rest of its mapping.
    settings: String,
}

/// One rule of `ipvsadm`: -A, -a, -e or -d, with -t, -u, -s, -b, -r, -g, -m, -i, -w, -x,
/// -y, --tun-type and --tun-port; one type of tunnel for each service.
fn apply(rule: &str, services: &mut Vec<Service>) {
    let words: Vec<&str> = rule.split(' ').collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).copied()
    };
    let (protocol, vip) = match (value("-t"), value("-u")) {
        (Some(vip), _) => ("tcp", vip),
        (_, Some(vip)) => ("udp", vip),
        _ => panic!("{rule}"),
    };
    if words[0] == "-A" {
        services.push(Service {
            protocol,
            vip: vip.to_owned(),
            scheduler: value("-s").unwrap().to_owned(),
            flags: value("-b").unwrap_or_default().to_owned(),
            reals: Vec::new(),
            tunnel: String::new(),
        });
        return;
    }
    let service = services
        .iter_mut()
        .find(|service| service.protocol == protocol && service.vip == vip)
        .unwrap();
    let forward = match () {
        () if words.contains(&"-m") => "nat",
        () if words.contains(&"-i") => "tunnel",
        () => "dr",
    };
    if let Some(kind) = value("--tun-type") {
        service.tunnel = format!("type: {kind}");
        if let Some(port) = value("--tun-port") {
            write!(service.tunnel, ", port: {port}").unwrap();
        }
    }
    let address = value("-r").unwrap().to_owned();
    let number = |flag: &str, default| value(flag).unwrap_or(default);
    let settings = format!(
        "weight: {}, upper: {}, lower: {}, forward: {forward}",
        number("-w", "1"),
        number("-x", "0"),
        number("-y", "0"),
    );
    let place = service
        .reals
        .iter()
        .position(|real| real.address == address);
    let real = Real { address, settings };
    match (words[0], place) {
        ("-a", None) => service.reals.insert(0, real),
        ("-e", Some(place)) => service.reals[place] = real,
        ("-d", Some(place)) => drop(service.reals.remove(place)),
        _ => panic!("{rule}"),
    }
}

fn config(services: &[Service]) -> String {
    let mut text = NETWORK.to_owned();
    text.push_str("services:\n");
    for (index, service) in services.iter().enumerate() {
        let Service {
            protocol,
            vip,
            scheduler,
            flags,
            reals,
            tunnel,
        } = service;
        writeln!(
            text,
            "  - name: s{index}\n    vip: \"{vip}\"\n    protocol: {protocol}"
        )
        .unwrap();
        writeln!(
            text,
            "    scheduler: {scheduler}\n    scheduler_flags: [{flags}]\n    tunnel: {{ {tunnel} }}\n    reals:"
        )
        .unwrap();
        for Real { address, settings } in reals {
            writeln!(text, "      - {{ address: \"{address}\", {settings} }}").unwrap();
        }
    }
    text
}

/// When each step happens, after the first.
fn times(steps: &[Value]) -> Vec<Duration> {
    let mut now = Duration::ZERO;
    let mut times = Vec::new();
    for step in steps {
        times.push(now);
        now += STEP + Duration::from_secs_f64(step["sleep"].as_f64().unwrap_or(0.0));
    }
    times
}

/// The steps that change rules, as configurations to be loaded at their times.
fn reloads(
    folder: &Path,
    steps: &[Value],
    times: &[Duration],
    services: &mut Vec<Service>,
) -> Vec<(Duration, PathBuf)> {
    let first = first_frame(steps, times);
    let mut reloads = Vec::new();
    for (step, at) in steps.iter().zip(times) {
        let Some(rule) = step["cmd"]
            .as_str()
            .and_then(|cmd| cmd.strip_prefix("ipvsadm "))
        else {
            continue;
        };
        if rule.starts_with("-L") {
            continue;
        }
        apply(rule, services);
        let path = folder.join(format!("reload-{}.yaml", reloads.len()));
        fs::write(&path, config(services)).unwrap();
        reloads.push((at.saturating_sub(first), path));
    }
    reloads
}

/// The simulator counts from the first frame.
fn first_frame(steps: &[Value], times: &[Duration]) -> Duration {
    let mut both = steps.iter().zip(times);
    let first = both.find(|(step, _)| step["in"].is_array());
    first.map_or(Duration::ZERO, |(_, at)| *at)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Blanks what LVS makes up: identification and header checksum of the ICMP errors it sends, and
/// of tunnels' outer headers, and GUE's source port.
fn mask(mut frame: Vec<u8>) -> Vec<u8> {
    let made_up = frame.get(12..14) == Some(&[8, 0]) && matches!(frame[23], 1 | 4);
    if made_up && frame[20] & 0x40 == 0 {
        for at in [18, 19, 24, 25] {
            frame[at] = 0;
        }
    }
    // From our own address to GUE's port.
    let ours = frame.get(26..30) == Some(&[10, 1, 0, 1]);
    if ours && frame[23] == 17 && frame.get(36..38) == Some(&6080_u16.to_be_bytes()) {
        frame[34..36].fill(0);
    }
    frame
}

/// Frames by port.
type Frames = BTreeMap<String, Vec<Vec<u8>>>;

fn frames(step: &Value, key: &str) -> Frames {
    let mut frames = Frames::new();
    for frame in step[key].as_array().into_iter().flatten() {
        let port = frame["dev"].as_str().unwrap().to_owned();
        frames
            .entry(port)
            .or_default()
            .push(bytes(frame["hex"].as_str().unwrap()));
    }
    frames
}

fn write_captures(folder: &Path, steps: &[Value], times: &[Duration]) -> Vec<(String, PathBuf)> {
    let mut inputs = Vec::new();
    for port in PORTS {
        let path = folder.join(format!("{port}.in.pcap"));
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
        for (step, at) in steps.iter().zip(times) {
            for frame in frames(step, "in").remove(port).unwrap_or_default() {
                let length = frame.len().try_into().unwrap();
                let packet = PcapPacket::new(EPOCH + *at, length, &frame);
                writer.write_packet(&packet).unwrap();
            }
        }
        inputs.push((port.to_owned(), path));
    }
    inputs
}

fn read_capture(path: &Path, at: Duration) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        if packet.timestamp == EPOCH + at {
            frames.push(packet.data.into_owned());
        }
    }
    frames
}

/// The lines of a listing with their words, without the column that runs.
fn session_lines(listing: &str) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = listing
        .lines()
        .skip(2)
        .map(|line| {
            let words = line.split_whitespace().map(str::to_owned);
            words
                .enumerate()
                .filter(|(column, _)| *column != 1)
                .map(|(_, word)| word)
                .collect()
        })
        .collect();
    lines.sort();
    lines
}

/// Active, inactive and the counters of every real server, as the recording lists them.
fn expected_reals(after: &Value) -> BTreeMap<String, Vec<u64>> {
    let mut reals = BTreeMap::new();
    for (listing, columns) in [("ipvsadm -Ln", 4..6), ("ipvsadm -Ln --stats --exact", 2..7)] {
        for line in after[listing].as_str().unwrap().lines().skip(3) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[0] != "->" {
                continue;
            }
            let numbers = words[columns.clone()]
                .iter()
                .map(|word| word.parse::<u64>().unwrap());
            reals
                .entry(words[1].to_owned())
                .or_insert_with(Vec::new)
                .extend(numbers);
        }
    }
    reals
}

fn compare_report(name: &str, report: &Report, after: &Value) {
    let mut sessions: Vec<Vec<String>> = report
        .sessions
        .iter()
        .map(|session| {
            vec![
                session.protocol.name().to_uppercase(),
                session.state.to_string(),
                session.client.to_string(),
                session.virtual_.to_string(),
                session.real.to_string(),
            ]
        })
        .collect();
    sessions.sort();
    let listing = after["ipvsadm -Lnc"].as_str().unwrap();
    assert_eq!(sessions, session_lines(listing), "{name}: sessions");
    let expected = expected_reals(after);
    for service in &report.services {
        for real in &service.reals {
            let counters = real.counters;
            let all = [
                real.active,
                real.inactive,
                counters.conns,
                counters.in_packets,
                counters.out_packets,
                counters.in_bytes,
                counters.out_bytes,
            ];
            let expected = &expected[&real.address.to_string()];
            assert_eq!(
                all[..2],
                expected[..2],
                "{name}: sessions of {}",
                real.address
            );
            // The kernel folds its counters every two seconds; some recordings ended before.
            if expected[2..].iter().sum::<u64>() > 0 {
                assert_eq!(
                    all[2..],
                    expected[2..],
                    "{name}: counters of {}",
                    real.address
                );
            }
        }
    }
}

fn replay(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pktgen-tests/recordings");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    let steps = recording["steps"].as_array().unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let config_path = temporary.path().join("config.yaml");
    let mut services = Vec::new();
    for rule in recording["rules"].as_array().unwrap() {
        apply(rule.as_str().unwrap(), &mut services);
    }
    fs::write(&config_path, config(&services)).unwrap();
    let times = times(steps);
    let output = |port: &str| temporary.path().join(format!("{port}.out.pcap"));
    let plan = Plan {
        config: config_path,
        inputs: write_captures(temporary.path(), steps, &times),
        outputs: PORTS
            .iter()
            .map(|port| ((*port).to_owned(), output(port)))
            .collect(),
        reloads: reloads(temporary.path(), steps, &times, &mut services),
        sessions_per_worker: None,
        workers: 1,
    };
    let report = run(&plan).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (number, (step, at)) in steps.iter().zip(&times).enumerate() {
        let expected = frames(step, "out");
        for port in PORTS {
            let sent = read_capture(&output(port), *at);
            let expected = expected.get(port).cloned().unwrap_or_default();
            let masked = |frames: Vec<Vec<u8>>| frames.into_iter().map(mask).collect::<Vec<_>>();
            let (sent, expected) = (masked(sent), masked(expected));
            assert!(
                sent == expected,
                "{name}, step {number} on {port}:\n    sent {sent:02x?}\nexpected {expected:02x?}"
            );
        }
    }
    compare_report(name, &report, &recording["after"]);
}

macro_rules! replays {
    ($($test:ident $name:literal;)*) => {
        $(#[test] fn $test() { replay($name); })*

        #[test]
        fn every_recording_is_replayed() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pktgen-tests/recordings");
            let mut present: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
                .collect();
            let mut replayed = vec![$($name.to_owned()),*];
            present.sort();
            replayed.sort();
            assert_eq!(present, replayed);
        }
    };
}

replays! {
    dr_rr "dr-rr";
    dr_rr_weights "dr-rr-weights";
    dr_wrr_432 "dr-wrr-432";
    dr_wrr_gcd "dr-wrr-gcd";
    dr_wrr_1_1000 "dr-wrr-1-1000";
    dr_all_w0 "dr-all-w0";
    dr_w0_existing "dr-w0-existing";
    dr_lc "dr-lc";
    dr_udp "dr-udp";
    nat_rr "nat-rr";
    nat_wrr "nat-wrr";
    nat_udp "nat-udp";
    tun_rr "tun-rr";
    tun_udp "tun-udp";
    tun_gre "tun-gre";
    tun_gue "tun-gue";
    v6_dr_rr "v6-dr-rr";
    v6_nat "v6-nat";
    dr_wlc_132 "dr-wlc-132";
    dr_sed "dr-sed";
    dr_nq "dr-nq";
    dr_sh "dr-sh";
    dr_sh_port "dr-sh-port";
    dr_sh_fallback "dr-sh-fallback";
    dr_sh_weights "dr-sh-weights";
    v6_sh "v6-sh";
    dr_mh "dr-mh";
    dr_mh_port "dr-mh-port";
    dr_mh_weights "dr-mh-weights";
    dr_fo "dr-fo";
    dr_ovf "dr-ovf";
    dr_thresholds "dr-thresholds";
    dr_lc_inact "dr-lc-inact";
    dr_lc_udp "dr-lc-udp";
}
