//! The traffic generator and the daemon as two processes, joined by a vhost-user socket: no root, no hugepages.
//!
//! Must not measure: rates here are low, and what counts is that nothing is lost or wrong.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program that cannot be run is a failure"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use plimsoll_pktgen_tests::pktgen::{DaemonOptions, Family, Hugepages, Method, Protocol, Scenario};
use serde_json::{Value, json};

/// A daemon that ends when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has nothing to tidy up: its socket's directory goes away.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(directory: &Path, scenario: &Scenario, device: &str) -> Daemon {
    let Some(programs) = std::env::var_os("PLIMSOLL_BIN_DIR") else {
        panic!("PLIMSOLL_BIN_DIR must name the directory of plimsolld; `make e2e` sets it");
    };
    let options = DaemonOptions {
        hugepages: Hugepages::Off,
        memory_mib: 64,
        socket: Some(directory.join("control.sock")),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ..DaemonOptions::new(device)
    };
    let config = directory.join("plimsolld.yaml");
    fs::write(&config, scenario.yaml(&options)).unwrap();
    let log = File::create(directory.join("plimsolld.log")).unwrap();
    let child = Command::new(PathBuf::from(programs).join("plimsolld"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    Daemon(child.unwrap_or_else(|error| panic!("plimsolld: {error}: build it first, `make build`")))
}

fn pktgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll-pktgen"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn words(scenario: &Scenario) -> [&'static str; 6] {
    let method = match scenario.method {
        Method::Dr => "dr",
        Method::Nat => "nat",
        Method::Tunnel => "tunnel",
    };
    let family = match scenario.family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    let protocol = match scenario.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    [
        "--method",
        method,
        "--family",
        family,
        "--protocol",
        protocol,
    ]
}

/// Whether the generator's device is the one that makes the socket.
#[derive(Clone, Copy)]
enum Ends {
    VirtioGenerator,
    VhostGenerator,
}

/// Runs the generator against the daemon; its result.
fn run(scenario: &Scenario, ends: Ends, arguments: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vhost.sock");
    let path = path.display();
    let virtio = format!("net_virtio_user0,path={path},server=1,queue_size=256");
    let vhost = format!("net_vhost0,iface={path},client=1");
    let (own, other) = match ends {
        Ends::VirtioGenerator => (virtio, vhost),
        Ends::VhostGenerator => (vhost, virtio),
    };
    let _daemon = daemon(directory.path(), scenario, &other);
    let reals = scenario.reals.to_string();
    let mut all = vec![
        "--device",
        &own,
        "--no-huge",
        "--json",
        "-",
        "--reals",
        &reals,
    ];
    all.extend(words(scenario));
    all.extend([
        "--duration",
        "700ms",
        "--warmup",
        "100ms",
        "--timeout",
        "30s",
    ]);
    all.extend(arguments);
    let output = pktgen(&all);
    let log = fs::read_to_string(directory.path().join("plimsolld.log")).unwrap_or_default();
    assert!(output.status.success(), "{output:?}\n{log}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, none) in [("faults", json!({})), ("lost", json!(0))] {
        assert_eq!(result.get(name), Some(&none), "{result:#}");
    }
    result
}

fn count(result: &Value, pointer: &str) -> u64 {
    result.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn scenario(method: Method, family: Family, protocol: Protocol) -> Scenario {
    Scenario {
        method,
        family,
        protocol,
        reals: 7,
        sessions: 1 << 14,
        ..Scenario::default()
    }
}

#[test]
fn direct_routing_forwards_every_frame_as_it_was() {
    let scenario = scenario(Method::Dr, Family::V4, Protocol::Udp);
    let result = run(&scenario, Ends::VirtioGenerator, &["--rate", "20k"]);
    assert!(count(&result, "/good/forwarded") > 1000, "{result:#}");
    assert!(count(&result, "/latency_ns/p50") > 0, "{result:#}");
}

#[test]
fn nat_rewrites_both_directions() {
    let scenario = scenario(Method::Nat, Family::V6, Protocol::Tcp);
    let result = run(
        &scenario,
        Ends::VirtioGenerator,
        &["--rate", "10k", "--order", "zipf:1.1"],
    );
    let forwarded = count(&result, "/good/forwarded");
    assert!(forwarded > 500, "{result:#}");
    assert_eq!(count(&result, "/good/replies"), forwarded, "{result:#}");
}

#[test]
fn connections_are_complete_from_syn_to_the_last_acknowledgement() {
    for method in [Method::Nat, Method::Tunnel] {
        let scenario = scenario(method, Family::V4, Protocol::Tcp);
        let result = run(
            &scenario,
            Ends::VhostGenerator,
            &[
                "--mode",
                "connections",
                "--rate",
                "1000",
                "--flows",
                "100000",
            ],
        );
        assert!(count(&result, "/connections/complete") > 50, "{result:#}");
        assert_eq!(count(&result, "/connections/lost"), 0, "{result:#}");
    }
}

#[test]
fn what_cannot_be_is_refused_and_nobody_there_is_an_error() {
    for bad in [
        &["--device", "net_null0", "--reals", "0"][..],
        &["--device", "net_null0", "--frame-bytes", "20"],
        &["--device", "net_null0", "--mode", "connections"],
        &["--device", "net_null0", "--order", "random"],
        &["--device", "net_null0", "--rate", "0"],
        &["--device", "net_null0", "--duration", "5"],
        &[],
    ] {
        let output = pktgen(bad);
        assert_eq!(output.status.code(), Some(2), "{bad:?} {output:?}");
        assert!(!output.stderr.is_empty());
    }
    let start = Instant::now();
    let output = pktgen(&[
        "--device",
        "net_null0,no-rx=1",
        "--no-huge",
        "--timeout",
        "1s",
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("10.0.0.1 within 1 s"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(20));
    let output = pktgen(&["--device", "net_no_such0", "--no-huge"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_daemons_configuration_is_printed_as_the_generator_expects_it() {
    let output = pktgen(&[
        "--daemon-config",
        "net_vhost0,iface=/tmp/x",
        "--method",
        "nat",
    ]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("forward: nat") && text.contains("net_vhost0,iface=/tmp/x"));
}
