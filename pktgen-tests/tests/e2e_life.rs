//! Start, end, crash and metrics of the daemon.
//!
//! Needs root, and the daemon in `PLIMSOLL_BIN_DIR`.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{daemon, topology};
use plimsoll_pktgen_tests::daemon::Config;
use plimsoll_pktgen_tests::topology::{Family, Method};
use plimsoll_pktgen_tests::traffic;

#[test]
fn after_a_crash_it_starts_again() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let to = topology.plan.virtual_http(Family::V4);
    for _ in 0..3 {
        let first = daemon(&topology, &config);
        let socket = first.socket_path();
        first.kill();
        assert!(
            socket.exists(),
            "the crash has left no socket, so this test shows nothing"
        );
    }
    let _again = daemon(&topology, &config);
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
}

#[test]
fn sigterm_ends_it_with_success_and_without_a_socket() {
    let topology = topology(Method::Direct);
    let daemon = daemon(&topology, &Config::lesson(Method::Direct));
    let socket = daemon.socket_path();
    assert!(daemon.terminate().unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn the_metrics_are_prometheus_and_count_what_was_sent() {
    let topology = topology(Method::Direct);
    let daemon = daemon(&topology, &Config::lesson(Method::Direct));
    assert_eq!(
        traffic::curl(&topology, topology.plan.virtual_http(Family::V4), 90)
            .unwrap()
            .failed,
        0
    );
    let page = daemon.metrics().unwrap();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut of_service = 0.0;
    let mut reasons = 0;
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.insert(rest.split_once(' ').unwrap().0);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(typed.insert(name, kind), None, "{name} is there twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let name = series.split('{').next().unwrap();
            assert!(
                name.starts_with("plimsoll_") || name.starts_with("process_"),
                "{line}"
            );
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let family = if typed.contains_key(name) {
                name
            } else {
                base.unwrap()
            };
            assert!(helped.contains(family), "no help for {name}");
            if typed.get(family) == Some(&"counter") {
                assert!(name.ends_with("_total"), "{line}");
            }
            reasons += u32::from(series.contains("reason=\""));
            if name == "plimsoll_service_sessions_total" && series.contains("service=\"web\"") {
                of_service += value;
            }
        }
    }
    assert!(reasons > 0, "no drop reasons:\n{page}");
    assert!(of_service >= 90.0, "{of_service} connections:\n{page}");
}
