//! Every forwarding method in both address families, with nginx, curl, wrk and UDP.
//!
//! Needs root, and the daemon in `PLIMSOLL_BIN_DIR`.

#![expect(
    clippy::unwrap_used,
    reason = "a request that cannot be made is a failure"
)]

mod common;

use common::{bulk, counts, daemon, evenly, growth, topology};
use plimsoll_pktgen_tests::daemon::{Config, Service};
use plimsoll_pktgen_tests::topology::{Family, Method, Plan};
use plimsoll_pktgen_tests::traffic::{self, Wrk};

/// Requests, transfers and load through one method; the daemon's table agrees with the servers.
#[track_caller]
fn http(method: Method, family: Family) {
    let topology = topology(method);
    let daemon = daemon(&topology, &Config::lesson(method));
    let to = topology.plan.virtual_http(family);
    let service = Service::http(topology.plan, family, family).name;

    let before = counts(&daemon, &service, "conns");
    let answers = traffic::curl(&topology, to, 300).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    evenly(&answers.by_server, 1);
    let after = counts(&daemon, &service, "conns");
    assert_eq!(growth(&before, &after), answers.by_server);
    assert_eq!(counts(&daemon, &service, "active").values().sum::<u64>(), 0);
    assert!(counts(&daemon, &service, "inactive").values().sum::<u64>() >= 300);

    for _ in 0..3 {
        bulk(&topology, to);
    }
    let load = Wrk::start(&topology, to, 16, Some(10_000))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(load.failed(), 0, "{load:?}");
    assert!(load.requests >= 10_000, "{load:?}");
}

#[test]
fn direct_routing_forwards_http_over_ipv4() {
    http(Method::Direct, Family::V4);
}

#[test]
fn direct_routing_forwards_http_over_ipv6() {
    http(Method::Direct, Family::V6);
}

#[test]
fn nat_forwards_http_over_ipv4_and_maps_the_port() {
    http(Method::Nat, Family::V4);
}

#[test]
fn nat_forwards_http_over_ipv6_and_maps_the_port() {
    http(Method::Nat, Family::V6);
}

#[test]
fn a_tunnel_forwards_http_over_ipv4() {
    http(Method::Tunnel, Family::V4);
}

#[test]
fn a_tunnel_forwards_http_over_ipv6() {
    http(Method::Tunnel, Family::V6);
}

/// HTTP of one family in a tunnel of the given kind and family.
#[track_caller]
fn tunnel(inner: Family, outer: Family) {
    let topology = topology(Method::Tunnel);
    let service = Service::http(topology.plan, inner, outer);
    let config = Config {
        services: vec![service],
        ..Config::lesson(Method::Tunnel)
    };
    let _daemon = daemon(&topology, &config);
    let to = topology.plan.virtual_http(inner);
    let answers = traffic::curl(&topology, to, 60).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    evenly(&answers.by_server, 1);
    bulk(&topology, to);
}

#[test]
fn an_ipv4_service_reaches_ipv6_servers_in_a_tunnel() {
    tunnel(Family::V4, Family::V6);
}

#[test]
fn an_ipv6_service_reaches_ipv4_servers_in_a_tunnel() {
    tunnel(Family::V6, Family::V4);
}

/// Datagrams of this size: each is answered, and a flow stays with its server.
#[track_caller]
fn udp(method: Method, families: &[Family], bytes: usize) {
    let topology = topology(method);
    let plan = Plan::new(method);
    let services = Family::ALL
        .map(|family| Service::echo(plan, family))
        .to_vec();
    let _daemon = daemon(
        &topology,
        &Config {
            services,
            ..Config::lesson(method)
        },
    );
    for &family in families {
        let to = plan.virtual_echo(family);
        // The daemon has to learn its neighbours first, and a datagram is not sent again.
        traffic::udp(&topology, to, 3, 2, 0).unwrap();
        let seen = traffic::udp(&topology, to, 30, 10, bytes).unwrap();
        assert_eq!(
            (seen.sent, seen.lost, seen.split_flows),
            (300, 0, 0),
            "{family:?}: {seen:?}"
        );
        evenly(&seen.by_server, 10);
    }
}

#[test]
fn direct_routing_keeps_udp_flows_together() {
    udp(Method::Direct, &Family::ALL, 1000);
}

#[test]
fn nat_keeps_udp_flows_together() {
    udp(Method::Nat, &Family::ALL, 1000);
}

#[test]
fn a_tunnel_keeps_udp_flows_together() {
    udp(Method::Tunnel, &Family::ALL, 1000);
}

// IPv6 only: af_packet's fan-out has the kernel reassemble IPv4 fragments, into frames longer than
// its ring takes. The recordings and the tables in `dataplane/tests` cover IPv4.
#[test]
fn fragments_follow_their_datagram_in_direct_routing() {
    udp(Method::Direct, &[Family::V6], 4000);
}

#[test]
fn fragments_follow_their_datagram_both_ways_in_nat() {
    udp(Method::Nat, &[Family::V6], 4000);
}
