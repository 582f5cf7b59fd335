//! `kernel: true`: this machine's own Linux beside the load balancer on one port.
//!
//! Needs root, and the daemon in `PLIMSOLL_BIN_DIR`.

#![expect(
    clippy::unwrap_used,
    reason = "a command that cannot be run is a failure"
)]

mod common;

use common::{binaries, topology};
use plimsoll_pktgen_tests::daemon::{Config, Daemon};
use plimsoll_pktgen_tests::topology::{Family, Method, Network, Topology};
use plimsoll_pktgen_tests::traffic;

/// What ping prints about so many echoes of the load balancer's own address.
#[track_caller]
fn ping(topology: &Topology, count: u8) -> String {
    let to = topology.plan.lb(Network::Lan, Family::V4).to_string();
    let count = count.to_string();
    // The last answer ends it, so a second one to the last echo is not seen.
    let words = ["ping", "-c", &count, "-i", "0.2", "-w", "10", &to];
    let output = topology.client.run_any(&words).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn with_the_rule_of_the_readme_the_kernel_answers_once() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let yaml = config
        .yaml(topology.directory())
        .replace("mtu: 1500", "mtu: 1500\n      kernel: true");
    let daemon = Daemon::start(&topology, &binaries(), &yaml).unwrap();
    let address = topology.plan.lb(Network::Lan, Family::V4);
    let tap = Network::Lan.name();
    topology
        .lb
        .links(&format!("addr add {address}/24 dev {tap}\n"))
        .unwrap();

    let said = ping(&topology, 5);
    assert!(
        said.contains("DUP!"),
        "the kernel does not answer by the borrowed interface, so this test shows nothing: {said}"
    );
    let rule = daemon
        .log()
        .lines()
        .find_map(|line| Some(line.split_once("rule=")?.1.to_owned()))
        .unwrap_or_else(|| panic!("no rule in the log: {}", daemon.log()));
    let rule: String = serde_json::from_str(&rule).unwrap();
    topology.lb.run(&["sh", "-c", &rule]).unwrap();
    let said = ping(&topology, 5);
    assert!(
        said.contains("5 received") && !said.contains("DUP!"),
        "{said}"
    );

    let to = topology.plan.virtual_http(Family::V4);
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
}
