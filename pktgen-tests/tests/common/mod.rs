//! What the tests in namespaces share.
//!
//! Must not skip: without root or without the daemon a test fails and says what it needs.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot get what it needs has failed"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_pktgen_tests::daemon::{Binaries, Config, Daemon};
use plimsoll_pktgen_tests::topology::{Method, Options, SERVERS, Topology};
use plimsoll_pktgen_tests::traffic;

/// The topology of a method.
#[track_caller]
pub(crate) fn topology(method: Method) -> Topology {
    let endpoint = PathBuf::from(env!("CARGO_BIN_EXE_plimsoll-endpoint"));
    match Topology::new(method, Options { endpoint }) {
        Ok(topology) => topology,
        Err(error) => panic!("{error}"),
    }
}

/// The daemon's programs.
#[track_caller]
pub(crate) fn binaries() -> Binaries {
    let Some(directory) = std::env::var_os("PLIMSOLL_BIN_DIR") else {
        panic!(
            "PLIMSOLL_BIN_DIR must name the directory of plimsolld and plimsoll; `make e2e` sets it"
        );
    };
    match Binaries::in_directory(Path::new(&directory)) {
        Ok(binaries) => binaries,
        Err(error) => panic!("{error}: build the daemon first, `make build`"),
    }
}

/// The daemon, forwarding: a first request through each HTTP service has been answered.
#[track_caller]
pub(crate) fn daemon<'t>(topology: &'t Topology, config: &Config) -> Daemon<'t> {
    let daemon = match Daemon::start(topology, &binaries(), &config.yaml(topology.directory())) {
        Ok(daemon) => daemon,
        Err(error) => panic!("{error}"),
    };
    for service in config
        .services
        .iter()
        .filter(|service| service.protocol == "tcp")
    {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let answers = traffic::curl(topology, service.vip, 1).unwrap()
            && answers.failed > 0
        {
            assert!(
                Instant::now() < deadline,
                "{}: no answer: {}\n{}",
                service.vip,
                answers.complaints,
                daemon.log()
            );
        }
    }
    daemon
}

/// All servers are there, and no two differ by more than `slack`.
#[track_caller]
pub(crate) fn evenly(by_server: &BTreeMap<String, u64>, slack: u64) {
    assert_eq!(by_server.len(), SERVERS.len(), "{by_server:?}");
    let least = by_server.values().min().copied().unwrap_or(0);
    let most = by_server.values().max().copied().unwrap_or(0);
    assert!(most - least <= slack, "{by_server:?}");
}

/// An answer and a request of many full-sized segments, by one server each; gives the second one's name.
#[track_caller]
pub(crate) fn bulk(topology: &Topology, to: SocketAddr) -> String {
    let big = traffic::fetch(topology, &[&format!("http://{to}/big")]).unwrap();
    assert_eq!(big.len(), 100_000);
    let body = topology.directory().join("body");
    std::fs::write(&body, vec![b'x'; 100_000]).unwrap();
    let (body, url) = (
        format!("@{}", body.display()),
        format!("http://{to}/upload"),
    );
    let said = traffic::fetch(topology, &["--data-binary", &body, "-H", "Expect:", &url]).unwrap();
    let said = String::from_utf8(said).unwrap();
    match said.trim_end().split_once(' ') {
        Some((name, "100000")) => name.to_owned(),
        _ => panic!("the server has not got all of the body: {said}"),
    }
}

/// A number of a service's real servers, by the servers' names.
#[track_caller]
pub(crate) fn counts(daemon: &Daemon<'_>, service: &str, field: &str) -> BTreeMap<String, u64> {
    daemon
        .reals(service)
        .unwrap()
        .into_iter()
        .map(|(address, real)| {
            let Some(count) = real.get(field).and_then(serde_json::Value::as_u64) else {
                panic!("`plimsoll list -o json` has no number {field}: {real}");
            };
            let address: SocketAddr = address.parse().unwrap();
            let last = address.ip().to_string();
            let last = last.rsplit(['.', ':']).next().unwrap_or_default();
            (format!("server-{last}"), count)
        })
        .collect()
}

/// How much each entry has grown.
pub(crate) fn growth(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect()
}
