//! Floods from invented addresses, several times larger than the session table, beside real downloads.
//!
//! Needs root, and the daemon in `PLIMSOLL_BIN_DIR`.

#![expect(
    clippy::unwrap_used,
    reason = "a request that cannot be made is a failure"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{daemon, topology};
use plimsoll_pktgen_tests::daemon::{Config, Service};
use plimsoll_pktgen_tests::topology::{Family, Method, Process, Topology};
use plimsoll_pktgen_tests::traffic;

/// Downloads that go on through all floods of a test.
const DOWNLOADS: usize = 6;
/// What each of them gets.
const BYTES: &str = "100000";
/// Sessions that the table holds. A service may have half of it, which a flood at it turns over within a second; an
/// honest client's second datagram comes sooner even where this test shares its CPUs.
const SESSIONS: u32 = 4096;
/// Invented clients of each flood, and of so many each second.
const CLIENTS: u32 = 8_000;
const RATE: u32 = 2_000;
/// With direct routing and tunnels it takes longer to prove a session.
const BEGUN: Duration = Duration::from_secs(5);

/// Downloads at a few kilobytes a second, each on a connection of its own.
struct Downloads(Vec<Process>);

impl Downloads {
    fn start(topology: &Topology, to: SocketAddr) -> Self {
        let url = format!("http://{to}/slow");
        let start = |number| {
            let log = topology.directory().join(format!("download-{number}.log"));
            let words = [
                "curl",
                "-sS",
                "--fail",
                "--max-time",
                "90",
                "-o",
                "/dev/null",
                "-w",
                "%{size_download}",
                &url,
            ];
            topology.client.start("curl", &words, &log).unwrap()
        };
        Self((0..DOWNLOADS).map(start).collect())
    }

    /// Every one of them got all of its bytes, over the one connection that it began with.
    #[track_caller]
    fn finish(self) {
        for mut process in self.0 {
            let status = process.wait(Duration::from_secs(90)).unwrap();
            assert!(status.success(), "{status}: {}", process.output());
            assert_eq!(process.output(), BYTES);
        }
    }
}

/// Runs a flood to its end, and meanwhile requests of honest clients.
#[track_caller]
fn withstand(topology: &Topology, kind: &str, to: SocketAddr, web: SocketAddr, echo: SocketAddr) {
    let log = topology.directory().join(format!("flood-{kind}.log"));
    let (endpoint, to) = (topology.endpoint(), to.to_string());
    let (clients, rate) = (CLIENTS.to_string(), RATE.to_string());
    let words = [
        &endpoint,
        "flood",
        "--kind",
        kind,
        "--to",
        &to,
        "--clients",
        &clients,
        "--rate",
        &rate,
    ];
    let mut flood = topology.client.start("flood", &words, &log).unwrap();
    let mut rounds = 0;
    while flood.ended().is_none() {
        let answers = traffic::curl(topology, web, 20).unwrap();
        assert_eq!(answers.failed, 0, "{kind}: {answers:?}");
        let seen = traffic::udp(topology, echo, 2, 3, 0).unwrap();
        assert_eq!((seen.lost, seen.split_flows), (0, 0), "{kind}: {seen:?}");
        rounds += 1;
    }
    let ended = flood.ended();
    assert!(
        ended.is_some_and(|status| status.success()),
        "{kind}: {}",
        flood.output()
    );
    assert!(rounds > 0, "{kind}: no request while it lasted");
}

#[track_caller]
fn downloads_outlive_floods(method: Method) {
    let topology = topology(method);
    let plan = topology.plan;
    let mut config = Config {
        sessions: SESSIONS,
        ..Config::lesson(method)
    };
    config.services.push(Service::echo(plan, Family::V4));
    // With NAT the real servers' answers to invented clients go back the way they came.
    if method == Method::Nat {
        let via = plan.client(Family::V4);
        config.extra.push(format!(
            "network:\n  routes:\n    - {{ to: 198.18.0.0/15, via: {via} }}"
        ));
    }
    let daemon = daemon(&topology, &config);
    let (web, echo) = (plan.virtual_http(Family::V4), plan.virtual_echo(Family::V4));
    traffic::udp(&topology, echo, 3, 2, 0).unwrap();
    let closed = SocketAddr::new(web.ip(), 7);

    let downloads = Downloads::start(&topology, web);
    std::thread::sleep(BEGUN);
    for (kind, to) in [
        ("syn", web),
        ("syn-ack", web),
        ("datagrams", echo),
        ("stray-ack", web),
        ("syn", closed),
        ("path-mtu", web),
    ] {
        withstand(&topology, kind, to, web, echo);
    }
    downloads.finish();
    let metrics = daemon.metrics().unwrap();
    let evicted: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("plimsoll_worker_evicted_sessions_total{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert!(
        evicted > f64::from(SESSIONS),
        "the floods did not fill the table: {evicted}"
    );
}

#[test]
fn downloads_outlive_floods_in_direct_routing() {
    downloads_outlive_floods(Method::Direct);
}

#[test]
fn downloads_outlive_floods_in_nat() {
    downloads_outlive_floods(Method::Nat);
}

#[test]
fn downloads_outlive_floods_in_a_tunnel() {
    downloads_outlive_floods(Method::Tunnel);
}

/// Ten thousand connections that are over are no reason to refuse the next.
#[track_caller]
fn finished_connections_give_way(method: Method) {
    let topology = topology(method);
    let config = Config {
        sessions: 1024,
        ..Config::lesson(method)
    };
    let _daemon = daemon(&topology, &config);
    let web = topology.plan.virtual_http(Family::V4);
    let load = traffic::Wrk::start(&topology, web, 16, Some(10_000)).unwrap();
    let load = load.finish().unwrap();
    assert_eq!(load.failed(), 0, "{load:?}");
    assert!(load.requests >= 10_000, "{load:?}");
}

#[test]
fn finished_connections_give_way_in_direct_routing() {
    finished_connections_give_way(Method::Direct);
}

#[test]
fn finished_connections_give_way_in_nat() {
    finished_connections_give_way(Method::Nat);
}

#[test]
fn finished_connections_give_way_in_a_tunnel() {
    finished_connections_give_way(Method::Tunnel);
}
