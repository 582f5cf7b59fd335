//! A real server that is taken out while clients download from it.
//!
//! No connection may break, and none may go there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a request that cannot be made, or an answer that is not there, is a failure"
)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{binaries, counts, daemon, topology};
use plimsoll_pktgen_tests::daemon::{Config, Daemon};
use plimsoll_pktgen_tests::topology::{Family, Method, Process, Topology};
use plimsoll_pktgen_tests::traffic;
use rustix::process::Signal;

const DOWNLOADS: usize = 200;

/// As many downloads at once, each of about five seconds, by one curl, which says of each its status, its bytes and its server.
fn downloads(topology: &Topology, to: std::net::SocketAddr) -> Process {
    let log = topology.directory().join("downloads.log");
    let (most, url) = (
        DOWNLOADS.to_string(),
        format!("http://{to}/paced?[1-{DOWNLOADS}]"),
    );
    let format = "%{http_code} %{size_download} %header{x-server}\n";
    let words = [
        "curl",
        "-sS",
        "--no-progress-meter",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        &most,
        "--max-time",
        "60",
        "-o",
        "/dev/null",
        "-w",
        format,
        &url,
    ];
    topology.client.start("curl", &words, &log).unwrap()
}

fn active(daemon: &Daemon<'_>) -> u64 {
    counts(daemon, "web", "active").values().sum()
}

fn drains(method: Method) {
    let topology = topology(method);
    let config = Config::lesson(method);
    let daemon = daemon(&topology, &config);
    let to = topology.plan.virtual_http(Family::V4);
    let drained = config.services[0].reals[0].0;
    let name = format!("web/{drained}");

    let mut curl = downloads(&topology, to);
    let deadline = Instant::now() + Duration::from_secs(10);
    while active(&daemon) < DOWNLOADS as u64 {
        assert!(
            Instant::now() < deadline,
            "{} of {DOWNLOADS}",
            active(&daemon)
        );
        thread::sleep(Duration::from_millis(20));
    }
    let begin = Instant::now();
    let (said, ended) = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let said = daemon.ask(&["drain", &name, "--wait"]).unwrap();
            (said, Instant::now())
        });
        let deadline = Instant::now() + Duration::from_secs(5);
        while daemon.reals("web").unwrap()[&drained.to_string()]["administration"] != "drained" {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(20));
        }
        let answers = traffic::curl(&topology, to, 60).unwrap();
        assert_eq!(answers.failed, 0, "{answers:?}");
        let servers: Vec<_> = answers.by_server.keys().collect();
        assert_eq!(servers, ["server-13", "server-14"], "{answers:?}");
        waiting.join().unwrap()
    });
    assert!(
        said.contains("sessions are left") && said.contains("no session is left"),
        "{said}"
    );
    assert!(
        ended - begin > Duration::from_secs(1),
        "it did not wait for the downloads"
    );
    assert_eq!(counts(&daemon, "web", "active")["server-11"], 0);

    curl.wait(Duration::from_secs(60)).unwrap();
    let printed = curl.output();
    let good = |line: &&str| line.starts_with("200 100000 ");
    let good: Vec<&str> = printed.lines().filter(good).collect();
    assert_eq!(good.len(), DOWNLOADS, "{printed}");
    let there = good
        .iter()
        .filter(|line| line.ends_with("server-11"))
        .count();
    assert!(there > DOWNLOADS / 4, "{there} downloads were there");
    assert!(
        ended.elapsed() < Duration::from_secs(5),
        "the command ends with the last of its downloads"
    );

    daemon.ask(&["undrain", &name]).unwrap();
    let answers = traffic::curl(&topology, to, 30).unwrap();
    assert_eq!(
        (answers.failed, answers.by_server.len()),
        (0, 3),
        "{answers:?}"
    );
}

#[test]
fn a_drained_server_finishes_its_downloads_in_direct_routing() {
    drains(Method::Direct);
}

#[test]
fn a_drained_server_finishes_its_downloads_in_nat() {
    drains(Method::Nat);
}

#[test]
fn at_the_deadline_downloads_are_ended_or_the_command_says_how_many_are_left() {
    let topology = topology(Method::Nat);
    let config = Config::lesson(Method::Nat);
    let daemon = daemon(&topology, &config);
    let to = topology.plan.virtual_http(Family::V4);
    let name = format!("web/{}", config.services[0].reals[0].0);
    let mut curl = downloads(&topology, to);
    while active(&daemon) < DOWNLOADS as u64 {
        thread::sleep(Duration::from_millis(20));
    }
    let output = daemon
        .ask_any(&["drain", &name, "--wait", "--deadline", "500ms"])
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the deadline has passed"));
    let said = daemon
        .ask(&[
            "drain",
            &name,
            "--wait",
            "--deadline",
            "500ms",
            "--then",
            "reset",
        ])
        .unwrap();
    assert!(said.contains("are reset"), "{said}");
    let deadline = Instant::now() + Duration::from_secs(5);
    while counts(&daemon, "web", "active")["server-11"] > 0 {
        assert!(Instant::now() < deadline, "sessions are left");
        thread::sleep(Duration::from_millis(20));
    }
    curl.wait(Duration::from_secs(60)).unwrap();
    let printed = curl.output();
    let whole = printed
        .lines()
        .filter(|line| line.starts_with("200 100000 "));
    let whole: Vec<&str> = whole.collect();
    assert!(
        whole.iter().all(|line| !line.ends_with("server-11")),
        "{printed}"
    );
    assert!(whole.len() > DOWNLOADS / 2, "{printed}");
}

#[test]
fn at_sigterm_downloads_go_on_as_long_as_they_may() {
    let topology = topology(Method::Nat);
    let config = Config::lesson(Method::Nat);
    let yaml = config.yaml(topology.directory());
    let yaml = yaml.replace("control:\n", "control:\n  drain: 30s\n");
    let mut daemon = Daemon::start(&topology, &binaries(), &yaml).unwrap();
    let to = topology.plan.virtual_http(Family::V4);
    let mut curl = downloads(&topology, to);
    let deadline = Instant::now() + Duration::from_secs(10);
    while active(&daemon) < DOWNLOADS as u64 {
        assert!(Instant::now() < deadline, "{}", active(&daemon));
        thread::sleep(Duration::from_millis(20));
    }
    daemon.signal(Signal::TERM);
    curl.wait(Duration::from_secs(60)).unwrap();
    let printed = curl.output();
    let whole = printed
        .lines()
        .filter(|line| line.starts_with("200 100000 "));
    assert_eq!(whole.count(), DOWNLOADS, "{printed}");
    let deadline = Instant::now() + Duration::from_secs(5);
    while daemon.running() {
        assert!(Instant::now() < deadline, "{}", daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        daemon.log().contains("sessions have had their time"),
        "{}",
        daemon.log()
    );
}
