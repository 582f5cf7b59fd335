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
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_pktgen_tests::daemon::{Binaries, Config, Daemon};
use plimsoll_pktgen_tests::topology::{Family, Method, Options, Plan, SERVERS, Topology};
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

/// `count` requests, all answered, shared out as round robin does: no two servers differ by more than `slack`.
#[track_caller]
pub(crate) fn requests_are_shared(topology: &Topology, family: Family, count: u64, slack: u64) {
    let answers = traffic::curl(
        topology,
        Plan::new(topology.plan.method).virtual_http(family),
        count,
    )
    .unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    evenly(&answers.by_server, slack);
}

/// All three servers are there, and no two differ by more than `slack`.
#[track_caller]
pub(crate) fn evenly(by_server: &BTreeMap<String, u64>, slack: u64) {
    assert_eq!(by_server.len(), SERVERS.len(), "{by_server:?}");
    let (least, most) = (
        by_server.values().min().unwrap(),
        by_server.values().max().unwrap(),
    );
    assert!(most - least <= slack, "{by_server:?}");
}
