//! `dataplane.idle: sleep`: the CPU is given back, and nothing gets lost for it.
//!
//! Needs root, and the daemon in `PLIMSOLL_BIN_DIR`.

#![expect(
    clippy::unwrap_used,
    reason = "a request that cannot be made is a failure"
)]

mod common;

use std::time::{Duration, Instant};

use common::{bulk, daemon, topology};
use plimsoll_pktgen_tests::daemon::{Config, Daemon, Service, usable_cpus};
use plimsoll_pktgen_tests::topology::{Family, Method, Topology};
use plimsoll_pktgen_tests::traffic::{self, Wrk};

fn config(topology: &Topology, idle: &str, cpus: Vec<u16>) -> Config {
    let mut config = Config {
        cpus,
        dataplane: vec![format!("idle: {idle}")],
        ..Config::lesson(topology.plan.method)
    };
    config
        .services
        .push(Service::echo(topology.plan, Family::V4));
    config
}

fn last_cpu() -> Vec<u16> {
    usable_cpus().last().copied().into_iter().collect()
}

/// The share of one CPU that the daemon takes for a second.
#[track_caller]
fn cpu_share(daemon: &Daemon<'_>) -> f64 {
    let (started, before) = (Instant::now(), daemon.cpu_time().unwrap());
    std::thread::sleep(Duration::from_secs(1));
    let used = daemon.cpu_time().unwrap() - before;
    used.as_secs_f64() / started.elapsed().as_secs_f64()
}

/// Everything is answered: requests one by one, with pauses between them, and under load.
#[track_caller]
fn all_is_answered(topology: &Topology, daemon: &Daemon<'_>) {
    let to = topology.plan.virtual_http(Family::V4);
    let answers = traffic::curl(topology, to, 300).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    bulk(topology, to);
    let load = Wrk::start(topology, to, 16, Some(3000))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(load.failed(), 0, "{load:?}");
    let to = topology.plan.virtual_echo(Family::V4);
    traffic::udp(topology, to, 3, 2, 0).unwrap();
    for _ in 0..5 {
        // Long enough for the longest pause to be reached.
        std::thread::sleep(Duration::from_millis(20));
        let seen = traffic::udp(topology, to, 20, 5, 100).unwrap();
        assert_eq!((seen.lost, seen.split_flows), (0, 0), "{seen:?}");
    }
    assert!(daemon.drops().unwrap().is_empty(), "{:?}", daemon.drops());
}

#[test]
fn an_idle_daemon_that_sleeps_leaves_the_cpu_and_loses_nothing() {
    let topology = topology(Method::Direct);
    let daemon = daemon(&topology, &config(&topology, "sleep", last_cpu()));
    let share = cpu_share(&daemon);
    assert!(share < 0.3, "it takes {share} of a CPU when it is idle");
    all_is_answered(&topology, &daemon);
}

#[test]
fn workers_that_sleep_hand_over_to_each_other() {
    let cpus: Vec<u16> = usable_cpus().into_iter().take(2).collect();
    assert_eq!(cpus.len(), 2, "this test needs two CPUs");
    let topology = topology(Method::Nat);
    let daemon = daemon(&topology, &config(&topology, "sleep", cpus));
    all_is_answered(&topology, &daemon);
}

#[test]
fn the_times_of_a_worker_sum_up_to_all_the_time_there_is() {
    let topology = topology(Method::Direct);
    for idle in ["poll", "sleep"] {
        let daemon = daemon(&topology, &config(&topology, idle, last_cpu()));
        let started = Instant::now();
        let before = times(&daemon);
        traffic::curl(&topology, topology.plan.virtual_http(Family::V4), 100).unwrap();
        let after = times(&daemon);
        let [busy, waiting, slept] = [0, 1, 2].map(|of| after[of] - before[of]);
        assert!(busy > 0.0 && waiting > 0.0, "{idle}: {before:?} {after:?}");
        assert_eq!(slept > 0.0, idle == "sleep", "{before:?} {after:?}");
        let all = busy + waiting + slept;
        let real = started.elapsed().as_secs_f64();
        // The counters are as old as the worker's last look at the clock, and `real` has the scrapes in it.
        assert!(all > 0.0 && all < real + 0.1, "{all} of {real} s");
    }
}

/// Seconds that the worker was busy, idle, and asleep.
#[track_caller]
fn times(daemon: &Daemon<'_>) -> [f64; 3] {
    let page = daemon.metrics().unwrap();
    ["busy", "idle", "slept"].map(|what| {
        let name = format!("plimsoll_worker_{what}_seconds_total{{");
        let line = page.lines().find(|line| line.starts_with(&name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    })
}
