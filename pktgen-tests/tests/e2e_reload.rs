//! Reloads while requests are under way.
//!
//! A reload is all or nothing, and no connection may notice it.

#![expect(
    clippy::unwrap_used,
    reason = "a request that cannot be made is a failure"
)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{daemon, growth, topology};
use plimsoll_pktgen_tests::daemon::{Config, Daemon};
use plimsoll_pktgen_tests::topology::{Family, Method, Topology};
use plimsoll_pktgen_tests::traffic::{self, Wrk};
use rustix::process::Signal;

const RELOADS: usize = 200;

/// Three configurations that differ: all servers, other weights, one server less.
fn variants(method: Method) -> [Config; 3] {
    let mut all = Config::lesson(method);
    for service in &mut all.services {
        service.scheduler = "wrr".to_owned();
    }
    let (mut weights, mut fewer) = (all.clone(), all.clone());
    for service in &mut weights.services {
        if let Some((_, weight)) = service.reals.first_mut() {
            *weight = 3;
        }
    }
    for service in &mut fewer.services {
        service.reals.pop();
    }
    [all, weights, fewer]
}

#[track_caller]
fn reload(topology: &Topology, daemon: &Daemon<'_>, config: &Config) {
    daemon
        .write_config(&config.yaml(topology.directory()))
        .unwrap();
    daemon.ask(&["reload"]).unwrap();
}

#[track_caller]
fn nobody_notices(method: Method) {
    let topology = topology(method);
    let variants = variants(method);
    let [all, ..] = &variants;
    let daemon = daemon(&topology, all);
    let to = topology.plan.virtual_http(Family::V4);
    // What hosts say to all when they come up is over by now, and every neighbour is known.
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
    thread::sleep(Duration::from_secs(2));
    let before = daemon.drops().unwrap();

    let mut wrk = Wrk::start(&topology, to, 16, None).unwrap();
    thread::sleep(Duration::from_millis(500));
    for config in variants.iter().cycle().take(RELOADS) {
        reload(&topology, &daemon, config);
    }
    assert!(wrk.running(), "the reloads took longer than the load");
    let load = wrk.stop().unwrap();
    assert_eq!(load.failed(), 0, "{load:?}");
    assert!(load.requests >= 1000, "{load:?}");
    assert_eq!(growth(&before, &daemon.drops().unwrap()), [].into());
}

#[test]
fn two_hundred_reloads_go_unnoticed_in_direct_routing() {
    nobody_notices(Method::Direct);
}

#[test]
fn two_hundred_reloads_go_unnoticed_in_nat() {
    nobody_notices(Method::Nat);
}

#[test]
fn two_hundred_reloads_go_unnoticed_in_a_tunnel() {
    nobody_notices(Method::Tunnel);
}

#[test]
fn a_removed_server_gets_no_new_connection() {
    let topology = topology(Method::Direct);
    let [all, _, fewer] = &variants(Method::Direct);
    let daemon = daemon(&topology, all);
    reload(&topology, &daemon, fewer);
    let answers = traffic::curl(&topology, topology.plan.virtual_http(Family::V4), 30).unwrap();
    assert_eq!(
        (answers.failed, answers.by_server.get("server-14")),
        (0, None),
        "{answers:?}"
    );
    reload(&topology, &daemon, all);
    let answers = traffic::curl(&topology, topology.plan.virtual_http(Family::V4), 30).unwrap();
    assert_eq!(answers.by_server.len(), 3, "{answers:?}");
}

#[test]
fn a_broken_file_changes_nothing() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let daemon = daemon(&topology, &config);
    let good = config.yaml(topology.directory());
    let to = topology.plan.virtual_http(Family::V4);
    let broken = [
        good.replace("scheduler: rr", "scheduler: fastest"),
        good.replace("reals:", "backends:"),
        good.replace("192.168.33.13:8088", "192.168.33.1300:8088"),
        "services: [".to_owned(),
        String::new(),
    ];
    for text in &broken {
        assert_ne!(*text, good);
        daemon.write_config(text).unwrap();
        let output = daemon.ask_any(&["reload"]).unwrap();
        assert_eq!(output.status.code(), Some(3), "{text}\n{output:?}");
        assert!(
            !output.stderr.is_empty(),
            "it does not say what is wrong with {text}"
        );
        assert_eq!(daemon.reals("web").unwrap().len(), 3);
    }
    let answers = traffic::curl(&topology, to, 30).unwrap();
    assert_eq!(
        (answers.failed, answers.by_server.len()),
        (0, 3),
        "{answers:?}"
    );
    daemon.write_config(&good).unwrap();
    daemon.ask(&["reload"]).unwrap();
}

#[test]
fn sighup_reloads() {
    let topology = topology(Method::Direct);
    let [all, _, fewer] = &variants(Method::Direct);
    let mut daemon = daemon(&topology, all);
    daemon
        .write_config(&fewer.yaml(topology.directory()))
        .unwrap();
    daemon.signal(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(5);
    while daemon.reals("web").unwrap().len() != 2 {
        assert!(Instant::now() < deadline, "{}", daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(daemon.running());
}
