//! What people bring from LVS, keepalived and DPVS: each file in `import-cases/` with what has to become of it.
//! The program is run as a user would; whatever it writes, `check` has to accept.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pcap_file::pcap::PcapReader;

fn case(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import-cases");
    folder.join(name)
}

/// Exit code, stdout and stderr.
fn plimsoll(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// An import with the base, whose result is valid whatever was lost.
fn import(kind: &str, file: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let base = case("base.yaml");
    let mut args = vec!["import", kind, file.to_str().unwrap()];
    args.extend(["--base", base.to_str().unwrap()]);
    args.extend(more);
    let (code, yaml, told) = plimsoll(&args);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imported.yaml");
    fs::write(&path, &yaml).unwrap();
    let (valid, _, why) = plimsoll(&["check", path.to_str().unwrap()]);
    assert_eq!(valid, Some(0), "{why}\n{yaml}");
    (code, yaml, told)
}

/// The same of rules that are written here.
fn import_rules(rules: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules");
    fs::write(&path, rules).unwrap();
    import("ipvsadm", &path, more)
}

fn vips(yaml: &str) -> Vec<&str> {
    let lines = yaml.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("vip: "))
        .collect()
}

#[track_caller]
fn says(told: &str, what: &[&str]) {
    for what in what {
        assert!(told.contains(what), "`{what}` is not in\n{told}");
    }
}

#[test]
fn dpvss_full_nat_is_named_and_its_service_does_not_become_another() {
    let (code, yaml, told) = import("keepalived", &case("dpvs/keepalived.conf"), &[]);
    assert_eq!(code, Some(1));
    assert!(yaml.contains("services: []\n"), "{yaml}");
    says(
        &told,
        &[
            "full NAT",
            "the service is left out",
            "conhash",
            "laddr_group_name",
            "syn_proxy",
            "local_address_group",
        ],
    );
    assert!(!told.contains("keepalived takes NAT"), "{told}");
    // What was told is in the file too.
    says(&yaml, &["#   ", "`FNAT`, DPVS's full NAT"]);
}

#[test]
fn a_method_or_protocol_that_cannot_be_read_does_not_become_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keepalived.conf");
    for (line, told_of) in [
        ("lb_kind SNAT", "DPVS's SNAT"),
        ("lb_kind dr", "`dr` is not a forwarding method"),
        ("protocol ICMP", "`ICMP` is not a protocol"),
    ] {
        let text = format!(
            "virtual_server 192.0.2.80 80 {{\n {line}\n real_server 10.0.0.21 80 {{\n }}\n}}\n"
        );
        fs::write(&path, text).unwrap();
        let (code, yaml, told) = import("keepalived", &path, &[]);
        assert_eq!(code, Some(1), "{line}");
        assert_eq!(vips(&yaml), <[&str; 0]>::default(), "{line}");
        says(&told, &[told_of, "the service is left out"]);
    }
    let text = "virtual_server match SNAT1 {\n lb_kind SNAT\n}\n";
    fs::write(&path, text).unwrap();
    let (code, _, told) = import("keepalived", &path, &[]);
    assert_eq!(code, Some(1));
    says(&told, &["DPVS's SNAT"]);
}

#[test]
fn keepaliveds_services_by_mark_are_carried_with_the_rules_that_mark() {
    let (file, marks) = (case("fwmark/keepalived.conf"), case("fwmark/marks"));
    let (code, yaml, told) = import("keepalived", &file, &[]);
    assert_eq!(code, Some(1));
    assert!(yaml.contains("services: []\n"), "{yaml}");
    says(&told, &["firewall mark 1", "--marks"]);
    let (code, yaml, told) = import("keepalived", &file, &["--marks", marks.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{told}");
    says(
        &yaml,
        &[
            "    mark: 1\n    match:\n      - { to: \"192.0.2.80/32\" }\n",
            "persistence: { timeout: 5m }",
            "forward: dr",
        ],
    );
}

#[test]
fn includes_may_have_parameters_and_conditions() {
    let file = case("include/keepalived.conf");
    for (id, expected) in [
        ("lb1", ["192.0.2.71:80", "192.0.2.72:80"]),
        ("lb2", ["192.0.2.71:80", "192.0.2.73:80"]),
    ] {
        let (code, yaml, told) = import("keepalived", &file, &["-i", id]);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(vips(&yaml), expected, "{id}");
    }
}

#[test]
fn a_persistence_engine_is_told_by_both_imports() {
    let folder = case("persistence-engine");
    for (kind, file) in [("keepalived", "keepalived.conf"), ("ipvsadm", "rules")] {
        let (code, yaml, told) = import(kind, &folder.join(file), &[]);
        // It changes where a call goes.
        assert_eq!(code, Some(1), "{kind}");
        let what = "the persistence engine `sip` is not carried over";
        says(&told, &[what]);
        says(&yaml, &[what, "persistence: { timeout: 1m }"]);
    }
}

#[test]
fn loopback_addresses_are_left_out_and_the_rest_is_valid() {
    let (code, yaml, told) = import("ipvsadm", &case("loopback-rules"), &[]);
    assert_eq!(code, Some(1));
    assert_eq!(vips(&yaml), ["192.0.2.80:80"]);
    says(&yaml, &["      - { address: 10.0.0.21:80, weight: 1 }\n"]);
    assert!(!yaml.contains("address: 127"), "{yaml}");
    says(
        &told,
        &[
            "127.0.0.1 is a loopback address, which cannot be a real server's: the real server is left out",
            "local node",
            "127.0.0.1 is a loopback address, which cannot be a virtual address: the service is left out",
            "what was written is valid",
        ],
    );
}

#[test]
fn what_the_bases_networks_do_not_reach_is_left_out_with_what_would_mend_it() {
    let base = fs::read_to_string(case("base.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.yaml");
    let without = base.replace("    - { to: 0.0.0.0/0, via: 192.0.2.1 }\n", "");
    fs::write(&path, without.replace("  routes:\n", "")).unwrap();
    let rules = folder.path().join("rules");
    fs::write(
        &rules,
        "-A -t 192.0.2.80:80 -s rr\n-a -t 192.0.2.80:80 -r 10.0.0.21:80 -m\n-a -t 192.0.2.80:80 -r 172.16.0.1:80 -m\n",
    )
    .unwrap();
    let (base, rules) = (path.to_str().unwrap(), rules.to_str().unwrap());
    let (code, yaml, told) = plimsoll(&["import", "ipvsadm", rules, "--base", base]);
    assert_eq!(code, Some(1));
    says(
        &told,
        &[
            "172.16.0.1 cannot be reached: the real server is left out",
            "network.routes",
        ],
    );
    assert!(!yaml.contains("address: 172"), "{yaml}");
}

#[test]
fn sysctls_of_newer_kernels_are_passed_over() {
    let (rules, sysctls) = (
        "-A -t 192.0.2.80:80 -s rr\n-a -t 192.0.2.80:80 -r 10.0.0.21:80 -m\n",
        case("sysctls"),
    );
    let more = ["--sysctl", sysctls.to_str().unwrap()];
    let (code, yaml, told) = import_rules(rules, &more);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    says(&yaml, &["conn_reuse_mode: 1"]);
    // One that nobody knows yet is told, and no more.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sysctls");
    fs::write(&path, "net.ipv4.vs.of_tomorrow = 7\n").unwrap();
    let (code, _, told) = import_rules(rules, &["--sysctl", path.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    says(
        &told,
        &["`of_tomorrow` is no sysctl of IPVS that is known here"],
    );
}

#[test]
fn keepalived_takes_wlc_for_a_scheduler_that_lvs_has_not() {
    let (code, yaml, told) = import("keepalived", &case("schedulers.conf"), &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(vips(&yaml), ["192.0.2.80:6443", "192.0.2.81:80"]);
    says(&yaml, &["scheduler: wlc", "scheduler: rr"]);
    says(
        &told,
        &["`loadbalance` is no scheduler of LVS, and keepalived takes wlc then"],
    );
}

#[test]
fn twos_becomes_p2c_and_an_unknown_schedulers_service_is_left_out() {
    let rules = "-A -t 192.0.2.80:80 -s twos\n-a -t 192.0.2.80:80 -r 10.0.0.21:80 -m -w 1\n";
    let (code, yaml, told) = import_rules(rules, &[]);
    assert_eq!(code, Some(0), "{told}");
    says(&yaml, &["scheduler: p2c"]);
    says(&told, &["the scheduler `twos` becomes `p2c`"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imported.yaml");
    fs::write(&path, &yaml).unwrap();
    let (code, lines, _) = plimsoll(&["export", "ipvsadm", path.to_str().unwrap()]);
    assert_eq!((code, lines.as_str()), (Some(0), rules));
    for scheduler in ["nosuch", "p2c", "swrr"] {
        let rules = format!("-A -t 192.0.2.81:80 -s {scheduler}\n-A -t 192.0.2.80:80 -s rr\n");
        let (code, yaml, told) = import_rules(&rules, &[]);
        assert_eq!(code, Some(1), "{scheduler}");
        assert_eq!(vips(&yaml), ["192.0.2.80:80"]);
        let what = format!("`{scheduler}` is no scheduler of LVS: the service is left out");
        says(&told, &[&what]);
    }
}

/// The service of each mark in the order of the file, with its rules.
fn matches(yaml: &str) -> Vec<&str> {
    let wanted = |line: &&str| {
        line.starts_with("mark: ") || line.starts_with("- { protocol") || line.starts_with("- { to")
    };
    yaml.lines().map(str::trim).filter(wanted).collect()
}

#[test]
fn the_last_mark_wins_as_in_the_firewall() {
    let folder = case("marks-order");
    for marks in ["marks", "marks.nft"] {
        let marks = folder.join(marks);
        let more = ["--marks", marks.to_str().unwrap()];
        let (code, yaml, told) = import("ipvsadm", &folder.join("rules"), &more);
        assert_eq!((code, told.as_str()), (Some(0), ""));
        assert_eq!(
            matches(&yaml),
            [
                "mark: 2",
                "- { protocol: tcp, to: \"192.0.2.80/32\", ports: [443] }",
                "mark: 1",
                "- { protocol: tcp, to: \"192.0.2.80/32\" }",
            ]
        );
    }
}

#[test]
fn a_packet_goes_where_the_firewalls_last_mark_sends_it() {
    let folder = case("marks-order");
    let marks = folder.join("marks");
    let (_, yaml, _) = import(
        "ipvsadm",
        &folder.join("rules"),
        &["--marks", marks.to_str().unwrap()],
    );
    for (port, real) in [(443, [10, 0, 0, 22]), (80, [10, 0, 0, 21])] {
        assert_eq!(simulate(&yaml, port), [real], "port {port}");
    }
}

/// The destinations that a client's SYN to 192.0.2.80 leaves with.
fn simulate(yaml: &str, port: u16) -> Vec<[u8; 4]> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, input, output) = (path("config.yaml"), path("in.pcap"), path("out.pcap"));
    fs::write(&config, yaml).unwrap();
    // From the base's router to the simulation's first port.
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0xaa, 0, 0, 0, 1, 8, 0];
    let mut ip = vec![
        0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 198, 51, 100, 7, 192, 0, 2, 80,
    ];
    let sum: u32 = ip
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend(4000_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    // A sum that is not the pseudo header's alone, which nobody verifies.
    frame.extend([
        0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0x12, 0x34, 0, 0,
    ]);
    let mut pcap = vec![
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
    ];
    let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
    pcap.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    pcap.extend(length);
    pcap.extend(length);
    pcap.extend(frame);
    fs::write(&input, pcap).unwrap();
    let (wan, lan) = (format!("wan={input}"), format!("lan={output}"));
    let (code, _, why) = plimsoll(&["simulate", "--config", &config, "--in", &wan, "--out", &lan]);
    assert_eq!(code, Some(0), "{why}");
    let mut reader = PcapReader::new(fs::File::open(output).unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let frame = packet.unwrap().data;
        if frame[12..14] == [8, 0] && frame[23] == 6 {
            found.push(frame[30..34].try_into().unwrap());
        }
    }
    found
}

#[test]
fn exported_marks_end_their_chain_where_the_first_match_decides() {
    let file = case("export-marks.yaml");
    let (code, lines, marks) = plimsoll(&["export", "ipvsadm", file.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    assert!(
        lines.contains("-A -f 2 -s rr\n-a -f 2 -r 10.0.0.22:0 -m -w 1\n"),
        "{lines}"
    );
    let rules: Vec<&str> = marks
        .lines()
        .filter(|line| line.contains("add rule"))
        .collect();
    assert_eq!(
        rules,
        [
            "# nft add rule ip plimsoll prerouting ip daddr 192.0.2.80/32 tcp dport { 443 } meta mark set 2 accept",
            "# nft add rule ip plimsoll prerouting ip daddr 192.0.2.80/32 meta l4proto tcp meta mark set 1 accept",
        ]
    );
}

#[test]
fn translations_and_lost_conditions_are_told_and_exit_1() {
    let rules = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.21:0 -m\n";
    let folder = tempfile::tempdir().unwrap();
    let marks = folder.path().join("marks");
    for (line, what) in [
        (
            "*nat\n-A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE\nCOMMIT\n",
            "`MASQUERADE` is not carried over",
        ),
        (
            "-t nat -A POSTROUTING -o wan -j SNAT --to-source 192.0.2.10\n",
            "`SNAT` is not carried over",
        ),
        (
            "-t mangle -A PREROUTING -i wan -d 192.0.2.81 -j MARK --set-mark 1\n",
            "`-i` is not carried over",
        ),
    ] {
        let good = "iptables -t mangle -A PREROUTING -d 192.0.2.80 -j MARK --set-mark 1\n";
        fs::write(&marks, format!("{good}{line}")).unwrap();
        let (code, yaml, told) = import_rules(rules, &["--marks", marks.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{line}");
        says(&told, &[what]);
        says(&yaml, &["192.0.2.80/32"]);
    }
    // Marks of packets that are forwarded are not IPVS's.
    fs::write(
        &marks,
        "iptables -t mangle -A FORWARD -d 192.0.2.80 -j MARK --set-mark 1\n",
    )
    .unwrap();
    let (code, yaml, told) = import_rules(rules, &["--marks", marks.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(yaml.contains("services: []\n"), "{yaml}");
    says(
        &told,
        &["IPVS does not see the marks of the chain `FORWARD`"],
    );
}
