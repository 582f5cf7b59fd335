//! `plimsoll import` and `plimsoll export` from outside: exit codes, and what goes to which output.

#![expect(
    clippy::unwrap_used,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn plimsoll(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // It may end without reading: an invalid base is told before the rules are read.
    if let Err(error) = input.write_all(stdin.as_bytes()) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    drop(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const RULES: &str = "-A -t 192.0.2.12:8088 -s wrr\n\
                     -a -t 192.0.2.12:8088 -r 192.0.2.31:8088 -g -w 1\n\
                     -a -t 192.0.2.12:8088 -r 192.0.2.33:8088 -g -w 2\n";

#[test]
fn rules_become_a_configuration_that_check_accepts_and_that_exports_as_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/dr-one-arm.yaml");
    let base = base.to_str().unwrap();
    let output = plimsoll(&["import", "ipvsadm", "-", "--base", base], RULES);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let file = folder.path().join("imported.yaml");
    fs::write(&file, &output.stdout).unwrap();
    let file = file.to_str().unwrap();
    let check = plimsoll(&["check", file], "");
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    assert!(text(&check.stdout).contains("1 service, 2 real servers"));
    let export = plimsoll(&["export", "ipvsadm", file], "");
    assert_eq!(text(&export.stdout), RULES);
    assert_eq!(export.status.code(), Some(0));
}

#[test]
fn a_line_that_cannot_be_read_exits_1_with_its_place_and_keeps_the_rest() {
    let output = plimsoll(
        &["import", "ipvsadm", "-"],
        &format!("{RULES}-A -t nonsense\n"),
    );
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("stdin:4:7"), "{errors}");
    assert!(errors.contains("1 error"), "{errors}");
    assert!(text(&output.stdout).contains("vip: 192.0.2.12:8088"));
}

#[test]
fn a_missing_file_exits_1_and_a_base_that_is_invalid_3() {
    let output = plimsoll(&["import", "ipvsadm", "/nonexistent"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent cannot be read"));
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.yaml");
    fs::write(&base, "version: 2\n").unwrap();
    let base = base.to_str().unwrap();
    let output = plimsoll(&["import", "ipvsadm", "-", "--base", base], RULES);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "");
    let output = plimsoll(&["export", "ipvsadm", base], "");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn services_by_mark_are_carried_over_once_their_marks_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/dr-one-arm.yaml");
    let base = base.to_str().unwrap();
    let rules =
        "-A -f 5 -s wrr\n-a -f 5 -r 192.0.2.31:0 -g -w 1\n-a -f 5 -r 192.0.2.33:0 -g -w 2\n";
    let without = plimsoll(&["import", "ipvsadm", "-", "--base", base], rules);
    assert!(text(&without.stderr).contains("the service of firewall mark 5 (IPv4) is left out"));
    assert!(text(&without.stdout).contains("services: []"));
    assert_eq!(without.status.code(), Some(1));
    let marks = folder.path().join("marks.nft");
    let line = "ip daddr 203.0.113.0/24 tcp dport { 80, 8000-8010 } meta mark set 5";
    fs::write(
        &marks,
        format!("nft add rule ip plimsoll prerouting {line}\n"),
    )
    .unwrap();
    let marks = marks.to_str().unwrap();
    let output = plimsoll(
        &["import", "ipvsadm", "-", "--base", base, "--marks", marks],
        rules,
    );
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let file = folder.path().join("imported.yaml");
    fs::write(&file, &output.stdout).unwrap();
    let file = file.to_str().unwrap();
    let check = plimsoll(&["check", file], "");
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let export = plimsoll(&["export", "ipvsadm", file], "");
    assert_eq!(text(&export.stdout), rules);
    assert!(
        text(&export.stderr).contains(line),
        "{}",
        text(&export.stderr)
    );
    fs::write(marks, "tcp dport http meta mark set 5\n").unwrap();
    let output = plimsoll(&["import", "ipvsadm", "-", "--marks", marks], rules);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(":1:11"),
        "{}",
        text(&output.stderr)
    );
}

const KEEPALIVED: &str = "global_defs {\n router_id here\n}\n\
    virtual_server 192.0.2.12 8088 {\n protocol TCP\n lvs_sched wrr\n lvs_method DR\n \
    include reals/*.{conf,inc}\n}\n";

#[test]
fn keepaliveds_services_become_a_configuration_that_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("keepalived.conf"), KEEPALIVED).unwrap();
    fs::create_dir(path("reals")).unwrap();
    let real = |last: u8, weight: u8| {
        format!("real_server 192.0.2.{last} 8088 {{\n weight {weight}\n TCP_CHECK {{\n }}\n}}\n")
    };
    // The first pattern's files come first.
    fs::write(path("reals/b.conf"), real(33, 2)).unwrap();
    fs::write(path("reals/a.inc"), real(31, 1)).unwrap();
    fs::write(path("reals/c.bak"), "wibble\n").unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/dr-one-arm.yaml");
    let (from, to) = (path("keepalived.conf"), path("out.yaml"));
    let args = [
        "import",
        "keepalived",
        &from,
        "-o",
        &to,
        "--base",
        base.to_str().unwrap(),
    ];
    let output = plimsoll(&args, "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    let report = text(&output.stderr);
    assert!(report.contains("keepalived.conf:2:2]"), "{report}");
    assert!(report.contains("b.conf:3:2]"), "{report}");
    let yaml = fs::read_to_string(&to).unwrap();
    assert!(
        yaml.contains("keepalived.conf:2: `router_id` is not carried over\n"),
        "{yaml}"
    );
    assert!(
        yaml.contains("    # health: { type: tcp, interval: 1m, timeout: 5s, rise: 1, fall: 2 }\n")
    );
    let check = plimsoll(&["check", &to], "");
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let export = plimsoll(&["export", "ipvsadm", &to], "");
    let expected = "-A -t 192.0.2.12:8088 -s wrr\n\
                    -a -t 192.0.2.12:8088 -r 192.0.2.33:8088 -g -w 2\n\
                    -a -t 192.0.2.12:8088 -r 192.0.2.31:8088 -g -w 1\n";
    assert_eq!(text(&export.stdout), expected);
}

#[test]
fn what_keepalived_would_not_read_exits_1_with_its_place() {
    let conf = format!("{KEEPALIVED}wibble\n");
    let output = plimsoll(&["import", "keepalived", "-"], &conf);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stderr);
    assert!(report.contains("stdin:10:1]"), "{report}");
    assert!(text(&output.stdout).contains("vip: 192.0.2.12:8088"));
    let output = plimsoll(
        &["import", "keepalived", "-", "-o", "/nonexistent/out"],
        KEEPALIVED,
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/out cannot be written"));
}

/// The rules that LVS was recorded with are services here.
#[test]
fn every_recordings_rules_become_a_valid_configuration() {
    let base = "version: 1\n\
                dataplane: { ports: [\
                { name: wan, device: net_null0, addresses: [10.0.0.1/24, \"2001:db8::1/64\"], mtu: 1600, kernel: true },\
                { name: lan, device: net_null1, addresses: [10.1.0.1/24, \"2001:db8:1::1/64\"], mtu: 1600 }] }\n\
                network: { routes: [{ to: 172.16.0.0/16, via: 10.1.0.254 }] }\n";
    let base = plimsoll_control::config::parse("base", base).unwrap();
    let base = plimsoll_control::import::Base::of(&base).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pktgen-tests/recordings");
    // What the marks of the recordings mean is the replay's business.
    let lines =
        (1..10).map(|mark| format!("ip daddr 10.0.0.100 tcp dport {mark} meta mark set {mark}\n"));
    let (marks, _) = plimsoll_control::import::Marks::read("marks", &lines.collect::<String>());
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let recording: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let rules: Vec<&str> = recording["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule.as_str().unwrap())
            .collect();
        let name = path.display().to_string();
        let mut table = plimsoll_control::import::Table::default();
        table.marks = marks.clone();
        let imported =
            plimsoll_control::import::import(table, &name, &rules.join("\n"), Some(&base));
        assert!(
            imported.diagnostics.items().is_empty(),
            "{}",
            imported.diagnostics.report(false)
        );
        let loaded = plimsoll_control::config::parse(&name, imported.yaml)
            .unwrap_or_else(|errors| panic!("{}", errors.report(false)));
        assert!(!loaded.valid.reload().services.is_empty(), "{name}");
        count += 1;
    }
    assert!(count > 0);
}
