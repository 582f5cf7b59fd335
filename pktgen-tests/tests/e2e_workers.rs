//! Two workers on two queues of each port.
//!
//! Which worker gets a frame is the kernel's choice (PACKET_FANOUT): in NAT the way back ends on either of them.

#![expect(
    clippy::unwrap_used,
    reason = "a request that cannot be made is a failure"
)]

mod common;

use common::{bulk, daemon, topology};
use plimsoll_pktgen_tests::daemon::{Config, Service, usable_cpus};
use plimsoll_pktgen_tests::topology::{Family, Method};
use plimsoll_pktgen_tests::traffic::{self, Wrk};

#[track_caller]
fn two_workers(method: Method) {
    let cpus: Vec<u16> = usable_cpus().into_iter().take(2).collect();
    assert_eq!(cpus.len(), 2, "this test needs two CPUs");
    let topology = topology(method);
    let mut config = Config {
        cpus,
        ..Config::lesson(method)
    };
    config
        .services
        .extend(Family::ALL.map(|family| Service::echo(topology.plan, family)));
    let daemon = daemon(&topology, &config);
    for family in Family::ALL {
        let to = topology.plan.virtual_http(family);
        let answers = traffic::curl(&topology, to, 300).unwrap();
        assert_eq!(answers.failed, 0, "{answers:?}");
        assert_eq!(answers.by_server.len(), 3, "{answers:?}");
        bulk(&topology, to);
        let load = Wrk::start(&topology, to, 16, Some(5000))
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(load.failed(), 0, "{load:?}");
        let to = topology.plan.virtual_echo(family);
        traffic::udp(&topology, to, 10, 2, 0).unwrap();
        let seen = traffic::udp(&topology, to, 50, 4, 100).unwrap();
        assert_eq!(
            (seen.lost, seen.split_flows),
            (0, 0),
            "{seen:?}\n{:?}",
            daemon.drops()
        );
    }
}

#[test]
fn two_workers_forward_direct_routing() {
    two_workers(Method::Direct);
}

#[test]
fn two_workers_bring_both_directions_of_nat_together() {
    two_workers(Method::Nat);
}

#[test]
fn two_workers_forward_a_tunnel() {
    two_workers(Method::Tunnel);
}
