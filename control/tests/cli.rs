//! The `plimsoll` command from outside: exit codes, and what goes to which output.

#![expect(
    clippy::unwrap_used,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use plimsoll_control::memory::Need;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

fn plimsoll(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(args)
        .output()
        .unwrap()
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../conf")
        .join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_valid_file_exits_0_and_says_what_it_holds() {
    let file = sample("reference.yaml");
    let file = file.to_str().unwrap();
    let output = plimsoll(&["check", file]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        format!(
            "{file}: valid (2 ports, 3 services, 6 real servers)\nmemory: {}\n",
            Need::new(2, 1 << 20, true, 512 << 20).text()
        )
    );
    let output = plimsoll(&["check", "-o", "json", file]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let memory = &json["memory"];
    assert_eq!(memory["workers"], 2);
    assert_eq!(memory["buffers_bytes"], 512 << 20);
    let all = |name: &str| memory[name].as_u64().unwrap();
    assert_eq!(all("tables_bytes"), 2 * all("tables_per_worker_bytes"));
    assert_eq!(
        all("total_bytes"),
        all("tables_bytes") + all("buffers_bytes")
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn an_invalid_file_exits_3_with_the_reasons_on_stderr_without_colour() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    fs::write(
        &file,
        "version: 1\ndataplane: { ports: [] }\nservises: []\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let output = plimsoll(&["check", file]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "");
    let report = text(&output.stderr);
    assert!(report.contains("broken.yaml:3:1]"), "{report}");
    assert!(report.contains("did you mean `services`?"), "{report}");
    assert!(report.contains("expected at least one port"), "{report}");
    assert!(!report.contains('\u{1b}'), "{report}");

    let output = plimsoll(&["check", "-o", "json", file]);
    assert_eq!(output.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!(json["errors"], 2);
    assert_eq!(json["diagnostics"][1]["line"], 3);
    assert_eq!(json["diagnostics"][1]["path"], "servises");
}

#[test]
fn what_is_no_configuration_file_exits_3_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    let latin1 = folder.path().join("latin1");
    fs::write(&latin1, b"version: 1\n# caf\xe9\n").unwrap();
    let huge = folder.path().join("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let zeros = folder.path().join("zeros");
    fs::File::create(&zeros).unwrap().set_len(1 << 20).unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .is_ok_and(|status| status.success());
    let mut cases = vec![
        (folder.path().to_owned(), "is a directory"),
        (empty, "holds no configuration"),
        (latin1, "line 2 is not UTF-8"),
        (huge, "is larger than"),
        (zeros, "control character U+0000"),
        (folder.path().join("missing"), "no such file or directory"),
        (PathBuf::from("/dev/zero"), "is not a regular file"),
    ];
    if made {
        cases.push((pipe, "is not a regular file"));
    }
    for (path, reason) in cases {
        let output = plimsoll(&["check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{}", path.display());
        let report = text(&output.stderr);
        assert!(report.contains(reason), "{report}");
    }
}

#[test]
fn the_output_format_may_stand_before_the_subcommand() {
    let file = sample("reference.yaml");
    let file = file.to_str().unwrap();
    let json = |args: &[&str]| -> serde_json::Value {
        let output = plimsoll(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let behind = json(&["check", "-o", "json", file]);
    assert_eq!(json(&["-o", "json", "check", file]), behind);
    assert_eq!(
        json(&["--output", "text", "check", "-o", "json", file]),
        behind
    );
    // A file, and no format.
    let output = plimsoll(&["-o", "json", "schema"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("-o"), "{output:?}");
}

#[test]
fn a_senseless_command_line_exits_2_and_help_exits_0() {
    for args in [
        &["chekc"][..],
        &["check"],
        &[],
        &["check", "a", "b"],
        &["completion", "nosh"],
    ] {
        assert_eq!(plimsoll(args).status.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["check", "--help"]] {
        assert_eq!(plimsoll(args).status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn schema_and_completion_are_printed() {
    let schema = plimsoll(&["schema"]);
    assert_eq!(schema.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["title"], "Plimsoll configuration");
    for shell in ["bash", "zsh", "fish"] {
        let script = plimsoll(&["completion", shell]);
        assert_eq!(script.status.code(), Some(0));
        assert!(text(&script.stdout).contains("plimsoll"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [&["schema"][..], &["completion", "bash"], &["--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

/// A socket whose first question gets this answer.
fn answering_socket(folder: &Path, status: &str, body: &str) -> String {
    let (socket, listener) = silent_socket(folder);
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 16];
        stream.read_exact(&mut question).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // Until the client goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    socket
}

const INVALID: &str = r#"{"result":"invalid","file":"f","generation":1,"changes":{"added":[],"removed":[],"changed":[],"other":[]},"restart":[],"diagnostics":[],"report":"wrong"}"#;
const RESTART: &str = r#"{"result":"restart_needed","file":"f","generation":1,"changes":{"added":[],"removed":[],"changed":[],"other":[]},"restart":["dataplane"],"diagnostics":[],"report":""}"#;
const INCOMPLETE: &str = r#"{"sessions":[],"truncated":false,"incomplete":true}"#;
const MISSING: &str = r#"{"unreachable":[],"neighbors":[],"incomplete":true}"#;
const TRUNCATED: &str = r#"{"sessions":[],"truncated":true,"incomplete":false}"#;

#[test]
fn what_the_exit_code_says_does_not_depend_on_who_reads_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.yaml");
    fs::write(&broken, "version: 2\n").unwrap();
    let broken = broken.to_str().unwrap();
    let rules = folder.path().join("rules");
    fs::write(&rules, "-A -t 10.0.0.1:80 -s nonsense\n").unwrap();
    let rules = rules.to_str().unwrap();
    let out = folder.path().join("out.yaml");
    let out = out.to_str().unwrap();
    for (args, answer, code) in [
        (&["check", broken][..], None, 3),
        (&["import", "ipvsadm", rules, "--base", broken], None, 3),
        (&["import", "ipvsadm", rules], None, 1),
        (&["import", "ipvsadm", "/nonexistent"], None, 1),
        (
            &[
                "simulate",
                "--config",
                broken,
                "--in",
                "wan=/nonexistent",
                "--out",
                &format!("wan={out}"),
            ],
            None,
            3,
        ),
        (&["list"], None, 5),
        (&["status"], None, 5),
        (&["neighbors"], None, 5),
        (&["neighbors"], Some(("200 OK", MISSING)), 1),
        (&["real-setup", "web"], None, 5),
        (&["doctor", "--config", broken], None, 3),
        (&["real-setup", "web", "--config", broken], None, 3),
        (&["reload"], Some(("422 No", INVALID)), 3),
        (&["reload"], Some(("409 No", RESTART)), 1),
        (&["list", "--sessions"], Some(("200 OK", TRUNCATED)), 0),
        (&["list", "--sessions"], Some(("200 OK", INCOMPLETE)), 1),
    ] {
        let mut results = Vec::new();
        for stderr in ["/dev/full", "/dev/null"] {
            let folder = tempfile::tempdir().unwrap();
            let socket = match answer {
                Some((status, body)) => answering_socket(folder.path(), status, body),
                None => folder.path().join("none").to_str().unwrap().to_owned(),
            };
            let stderr = fs::File::options().write(true).open(stderr).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
                .args([&["--socket", &socket], args].concat())
                .stderr(stderr)
                .output()
                .unwrap();
            results.push((output.status.code(), text(&output.stdout)));
        }
        assert_eq!(results[0].0, Some(code), "{args:?} {answer:?}");
        assert_eq!(results[0], results[1], "{args:?} {answer:?}");
    }
}

#[test]
fn sessions_that_are_missing_are_told_whatever_was_asked_for() {
    for (body, code, words) in [
        (INCOMPLETE, 1, "a worker did not answer"),
        (TRUNCATED, 0, ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let socket = answering_socket(folder.path(), "200 OK", body);
        let output = plimsoll(&["--socket", &socket, "list", "--sessions", "--limit", "5"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let told = text(&output.stderr);
        assert!(
            told.contains(words) && told.is_empty() == words.is_empty(),
            "{told}"
        );
    }
}

/// A socket that accepts connections on its own, as that of a stopped process does.
fn silent_socket(folder: &Path) -> (String, UnixListener) {
    let path = folder.join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (path.to_str().unwrap().to_owned(), listener)
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    for (args, words) in [
        (&["list"][..], "gives no sign for 200ms"),
        (&["list", "--sessions"], "--timeout"),
        (&["drops"], "stopped"),
        (&["status"], "stopped"),
        (&["ports"], "stopped"),
        (&["neighbors"], "stopped"),
        (&["routes"], "stopped"),
        (&["real-setup", "web"], "stopped"),
        (&["reload"], "gives no sign"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (socket, _listener) = silent_socket(folder.path());
        let output = plimsoll(&[&["--socket", &socket, "--timeout", "200ms"], args].concat());
        assert_eq!(output.status.code(), Some(5), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains(words), "{output:?}");
    }
    let output = plimsoll(&["--timeout", "soon", "list"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_daemon_that_stops_in_the_middle_or_whose_queue_is_full_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, listener) = silent_socket(folder.path());
    let ask = || plimsoll(&["--socket", &socket, "--timeout", "200ms", "list"]);
    let half = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 16];
        stream.read_exact(&mut question).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"capacity\":")
            .unwrap();
        (listener, stream)
    });
    let output = ask();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(text(&output.stderr).contains("gives no sign"), "{output:?}");
    let (_listener, _stream) = half.join().unwrap();

    let mut waiting = Vec::new();
    loop {
        let stream = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let address = SocketAddrUnix::new(socket.as_str()).unwrap();
        if rustix::net::connect(&stream, &address).is_err() {
            break;
        }
        waiting.push(stream);
    }
    let output = ask();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(text(&output.stderr).contains("gives no sign"), "{output:?}");
}

#[test]
fn results_that_find_no_room_are_told_with_exit_1() {
    let file = sample("nat-two-arm.yaml");
    let file = file.to_str().unwrap();
    for args in [
        &["check", file][..],
        &["check", "-o", "json", file],
        &["schema"],
        &["completion", "bash"],
        &["export", "ipvsadm", file],
        &["--help"],
        &["simulate", "--config", file],
        &["simulate", "--config", file, "--report", "-"],
    ] {
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(args)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    }
}

#[test]
fn an_import_writes_over_none_of_its_inputs_and_leaves_no_half_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let text = "include more.conf\nvirtual_server 192.0.2.10 80 {\n  protocol TCP\n  lb_algo rr\n  lb_kind DR\n}\n";
    fs::write(at("keepalived.conf"), text).unwrap();
    fs::write(at("more.conf"), "! nothing\n").unwrap();
    for output in ["keepalived.conf", "more.conf", "./keepalived.conf"] {
        let done = plimsoll(&[
            "import",
            "keepalived",
            &at("keepalived.conf"),
            "-o",
            &at(output),
        ]);
        assert_eq!(done.status.code(), Some(1), "{output}: {done:?}");
        assert_eq!(fs::read_to_string(at("keepalived.conf")).unwrap(), text);
        assert_eq!(fs::read_to_string(at("more.conf")).unwrap(), "! nothing\n");
    }
    let done = plimsoll(&[
        "import",
        "keepalived",
        &at("keepalived.conf"),
        "-o",
        "/dev/full",
    ]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(text_of(&done).contains("No space left"), "{done:?}");
    let done = plimsoll(&[
        "import",
        "keepalived",
        &at("keepalived.conf"),
        "-o",
        &at("out.yaml"),
    ]);
    assert!(
        fs::read_to_string(at("out.yaml"))
            .unwrap()
            .contains("192.0.2.10:80"),
        "{done:?}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_a_real_server_needs_is_written_from_a_file_without_a_daemon() {
    let file = sample("tunnel.yaml");
    let file = file.to_str().unwrap();
    let output = plimsoll(&["real-setup", "web", "--config", file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).contains("\nmodprobe ipip\n"),
        "{output:?}"
    );
    let output = plimsoll(&["real-setup", "web", "--config", file, "--os", "windows"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = plimsoll(&["real-setup", "nobody", "--config", file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text_of(&output).contains("no service is called `nobody`"));
    for args in [&["real-setup"][..], &["real-setup", "web", "--os", "plan9"]] {
        assert_eq!(plimsoll(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_doctor_finds_what_a_machine_lacks_for_a_file() {
    let machine = tempfile::tempdir().unwrap();
    let root = machine.path().to_str().unwrap();
    let none = machine.path().join("none.sock");
    let none = none.to_str().unwrap();
    let file = sample("reference.yaml");
    let file = file.to_str().unwrap();
    let ask =
        |args: &[&str]| plimsoll(&[&["--socket", none, "doctor", "--root", root], args].concat());
    let output = ask(&["--config", file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stdout).contains("\nERROR    device "),
        "{output:?}"
    );
    let output = ask(&["--config", file, "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["works"], false);
    assert_eq!(json["findings"][0]["about"], "transparent huge pages");
    let output = ask(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
