//! Writes the first inputs of the fuzzers: from the recordings of LVS, the samples and the tests' files.
//! What fuzzers find further is put beside them by `make fuzz-corpus`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool of developers, for which a panic is an error message"
)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use plimsoll_dataplane::testing::Rng;
use serde_json::Value;

/// Longer scripts are cut: a fuzzer is quicker with short ones.
const MOST_SCRIPT: usize = 1500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn files(folder: &str, extension: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let mut files: Vec<_> = paths
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The frames that were put in, by port.
fn frames(recording: &Value) -> Vec<(u8, Vec<u8>)> {
    let steps = recording["steps"].as_array().unwrap().iter();
    let frames = steps.flat_map(|step| step["in"].as_array().into_iter().flatten());
    frames
        .map(|frame| {
            let port = u8::from(frame["dev"] == "eth1");
            (port, bytes(frame["hex"].as_str().unwrap()))
        })
        .collect()
}

fn script(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut script = vec![1];
    for (number, (port, frame)) in (0_u8..).zip(frames) {
        let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
        // A raw frame at the next worker, as it is.
        script.extend([4 | number << 4, *port, 0]);
        script.extend(length);
        script.extend(frame);
        script.push(13);
        if script.len() > MOST_SCRIPT {
            break;
        }
    }
    script
}

fn recordings() {
    let mut kinds = HashSet::new();
    for (name, text) in files("pktgen-tests/recordings", "json") {
        let recording: Value = serde_json::from_slice(&text).unwrap();
        let frames = frames(&recording);
        let rules = recording["rules"].as_array().unwrap();
        let rules: Vec<_> = rules.iter().map(|rule| rule.as_str().unwrap()).collect();
        write("import_ipvsadm", &name, rules.join("\n").as_bytes());
        for (port, frame) in &frames {
            let kind = (frame.get(12..14), frame.get(20..24), frame.get(54));
            if kinds.insert(format!("{port} {kind:?}")) && frame.len() < 400 && kinds.len() < 150 {
                write("parse", &format!("{name}-{}", kinds.len()), frame);
            }
        }
        let target = match &name[..3] {
            "dr-" => "pipeline_dr",
            "nat" => "pipeline_nat",
            "tun" => "pipeline_tunnel",
            _ => continue,
        };
        write(target, &name, &script(&frames));
        let mut capture = Vec::new();
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(&mut capture, header).unwrap();
        for ((_, frame), at) in frames.iter().take(4).zip(0..) {
            let length = u32::try_from(frame.len()).unwrap();
            let packet = PcapPacket::new(Duration::from_millis(at * 700), length, frame);
            writer.write_packet(&packet).unwrap();
        }
        if kinds.len() % 4 == 0 {
            write("pcap", &name, &capture);
        }
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(12 + body.len()).unwrap().to_le_bytes();
    [&kind.to_le_bytes(), &length[..], body, &length].concat()
}

/// A capture of the newer format, with a time resolution and an offset.
fn pcapng() -> Vec<u8> {
    let section = [
        &0x1a2b_3c4d_u32.to_le_bytes()[..],
        &[1, 0, 0, 0],
        &[0xff; 8],
    ];
    let options = [9, 0, 1, 0, 9, 0, 0, 0, 14, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let interface = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &options, &[0; 4]];
    let packet = [&[0; 12][..], &[60, 0, 0, 0, 60, 0, 0, 0], &[2; 60]];
    [
        block(0x0a0d_0d0a, &section.concat()),
        block(1, &interface.concat()),
        block(6, &packet.concat()),
    ]
    .concat()
}

const KEEPALIVED: [(&str, &str); 4] = [
    (
        "server",
        "global_defs {\n lvs_timeouts tcp 900 tcpfin 120 udp 300\n}\nvirtual_server 10.0.0.100 80 {\n lb_algo wrr\n \
         lb_kind NAT\n protocol TCP\n persistence_timeout 300\n real_server 10.0.0.11 8080 {\n weight 3\n \
         TCP_CHECK {\n connect_timeout 3\n }\n }\n sorry_server 10.0.0.99 80\n}\n",
    ),
    (
        "group",
        "virtual_server_group g {\n 10.0.0.100-103 80\n 2001:db8::100 80\n fwmark 5\n}\nvirtual_server group g {\n \
         lvs_sched sh\n lvs_method TUN\n quorum 2\n real_server 10.0.0.11 80 { weight 1\n inhibit_on_failure\n }\n}\n",
    ),
    (
        "parameters",
        "$VIP=10.0.0.100\n$REAL(x)=\\\nreal_server 10.0.0.$x 80 {\\\n weight $x\\\n}\n~SEQ(n,1,3) virtual_server $VIP 8$n {\n\
         delay_loop 3\n lb_algo rr\n lb_kind DR\n protocol UDP\n ops\n $REAL(11)\n}\n@a include other.conf\n\
         include /etc/keepalived/conf.d/*.conf\n\0virtual_server 10.0.0.101 53 { lb_kind DR\n protocol UDP }\n",
    ),
    (
        "quotes",
        "a \"b c\" 'd' { # e\n! f\n}\n@^a virtual_server x\n",
    ),
];

const MARKS: [(&str, &str); 3] = [
    (
        "iptables",
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.0.0.100/32 -p tcp -m multiport --dports 80,443,8000:8010 -j MARK \
         --set-xmark 0x1/0xffffffff\n-A PREROUTING -s 198.51.100.0/24 -p udp --dport 53 -j MARK --set-mark 2\nCOMMIT\n",
    ),
    (
        "nft",
        "table ip mangle {\n chain prerouting {\n type filter hook prerouting priority mangle; policy accept;\n ip daddr \
         { 10.0.0.100, 10.0.0.101 } tcp dport { 80, 443 } meta mark set 0x00000001\n }\n}\n",
    ),
    (
        "inet",
        "table inet t {\n chain c {\n ip6 daddr 2001:db8::/64 meta l4proto { tcp, udp } th dport 53 mark set 2 counter\n }\n}\n",
    ),
];

const STATE: &str = r#"{ "version": 1, "changes": [
  { "service": { "vip": "192.0.2.1:80", "protocol": "tcp" }, "real": "10.0.0.1:80", "administration": "drained",
    "since_ms": 1700000000000, "deadline": { "at_ms": 5, "then": "reset" } },
  { "service": { "vip": "[2001:db8::/64]:0", "protocol": "udp" }, "real": "[2001:db8::1]:0",
    "administration": "enabled", "since_ms": 0, "weight": { "weight": 0, "of_file": 3 } },
  { "service": { "mark": 7, "ipv6": true }, "real": "10.0.0.2:80", "administration": "disabled", "since_ms": 1 }
] }
"#;

const SYSCTL: &str = "net.ipv4.vs.conn_reuse_mode = 1\nnet.ipv4.vs.drop_packet = 0\nnet.ipv4.vs.am_droprate = 10\n\
                      net/ipv4/vs/expire_nodest_conn=1\n-net.ipv4.vs.sync_threshold = 3\t50\nnet.ipv4.vs.secure_tcp=4\n";

/// Router, method and path by number, then what is behind the path.
const REQUESTS: [(&str, &[u8]); 8] = [
    ("drops", b"\x00\x00\x06?all=true"),
    ("sessions", b"\x00\x00\x04?limit=3"),
    ("reload", b"\x01\x01\x07?colour=true\n{}"),
    ("refused", b"\x00\x01\x07"),
    ("elsewhere", b"\x01\x00\x08/api/v2/%2e%2e?x"),
    ("metrics", b"\x01\x02\x01"),
    ("neighbors", b"\x01\x00\x0b?port=wan&address=10.0.0.11"),
    ("real-setup", b"\x01\x00\x0c?service=web&os=networkd"),
];

fn main() {
    recordings();
    for folder in ["conf", "control/tests/diagnostics"] {
        for (name, text) in files(folder, "yaml") {
            write("config", &name, &text);
        }
    }
    for (name, text) in KEEPALIVED {
        write("import_keepalived", name, text.as_bytes());
    }
    for (name, text) in MARKS {
        write("import_marks", name, text.as_bytes());
    }
    write("import_sysctl", "all", SYSCTL.as_bytes());
    for (name, request) in REQUESTS {
        write("api", name, request);
    }
    write("state", "orders", STATE.as_bytes());
    write("pcap", "ng", &pcapng());
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let noise: Vec<_> = (0..120)
            .map(|_| u8::try_from(rng.below(256)).unwrap())
            .collect();
        write("icmp", &format!("noise-{seed}"), &noise);
        for target in ["pipeline_dr", "pipeline_nat", "pipeline_tunnel"] {
            write(target, &format!("noise-{seed}"), &noise);
        }
    }
}
