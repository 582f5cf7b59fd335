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
    assert!(text(&without.stderr).contains("firewall mark 5 is not carried over"));
    assert!(text(&without.stdout).contains("services: []"));
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
