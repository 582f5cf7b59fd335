//! The topologies themselves, with the kernel in the load balancer's place.
//!
//! What fails here is no fault of the daemon.

#![expect(
    clippy::unwrap_used,
    reason = "a request that cannot be made is a failure"
)]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{bulk, topology};
use plimsoll_pktgen_tests::topology::{Family, Method, Network, Topology};
use plimsoll_pktgen_tests::traffic;

/// Asks until the answer comes from this server: addresses have to be resolved first.
#[track_caller]
fn answered_by(topology: &Topology, to: SocketAddr, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answers = traffic::curl(topology, to, 10).unwrap();
        if answers.by_server.get(name) == Some(&10) {
            return;
        }
        assert!(Instant::now() < deadline, "{to} by {name}: {answers:?}");
    }
}

/// Points the client's neighbour entry for the virtual address at a MAC address: what direct routing amounts to.
fn virtual_address_is_at(topology: &Topology, mac: &str) {
    for family in Family::ALL {
        let vip = topology.plan.virtual_address(family);
        topology
            .client
            .links(&format!(
                "neigh replace {vip} lladdr {mac} dev eth0 nud permanent\n"
            ))
            .unwrap();
    }
}

#[test]
fn in_direct_routing_each_server_answers_for_the_virtual_address() {
    let topology = topology(Method::Direct);
    for server in &topology.servers {
        virtual_address_is_at(&topology, &Network::Lan.mac(server.number));
        for family in Family::ALL {
            answered_by(
                &topology,
                topology.plan.virtual_http(family),
                &server.name(),
            );
            assert_eq!(
                bulk(&topology, topology.plan.virtual_http(family)),
                server.name()
            );
            let seen =
                traffic::udp(&topology, topology.plan.virtual_echo(family), 2, 5, 1400).unwrap();
            assert_eq!(
                (seen.lost, seen.by_server.get(&server.name())),
                (0, Some(&10)),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn no_server_announces_the_virtual_address() {
    let topology = topology(Method::Direct);
    for family in Family::ALL {
        let answers = traffic::curl(&topology, topology.plan.virtual_http(family), 1).unwrap();
        assert_eq!(answers.failed, 1, "{answers:?}");
    }
}

#[test]
fn in_nat_the_servers_answer_through_the_load_balancer() {
    let topology = topology(Method::Nat);
    topology.kernel_takes_the_ports().unwrap();
    for family in Family::ALL {
        let (prefix, via) = (
            Network::Lan.prefix(family),
            topology.plan.lb(Network::Wan, family),
        );
        topology
            .client
            .links(&format!("route add {prefix} via {via}\n"))
            .unwrap();
        for server in &topology.servers {
            let to = SocketAddr::new(
                topology.plan.server(family, server.number),
                topology.plan.http_port(),
            );
            answered_by(&topology, to, &server.name());
            assert_eq!(bulk(&topology, to), server.name());
            let to = SocketAddr::new(to.ip(), topology.plan.echo_port());
            assert_eq!(traffic::udp(&topology, to, 2, 5, 1400).unwrap().lost, 0);
        }
    }
}

#[test]
fn in_a_tunnel_each_server_takes_the_packets_out_and_answers_directly() {
    let topology = topology(Method::Tunnel);
    topology.kernel_takes_the_ports().unwrap();
    virtual_address_is_at(&topology, &Network::Lan.mac(topology.plan.lb_last()));
    let (endpoint, log) = (topology.endpoint(), topology.directory().join("encap.log"));
    for outer in Family::ALL {
        for server in &topology.servers {
            let to = topology.plan.server(outer, server.number).to_string();
            let mut encap = topology
                .lb
                .start("encapsulator", &[&endpoint, "encap", "--to", &to], &log)
                .unwrap();
            encap
                .wait_until(Duration::from_secs(5), |process| {
                    process.output().contains("ready")
                })
                .unwrap();
            // Room for the outer header: the kernel tells the client by ICMP.
            topology.lb.links("link set encap0 mtu 1460\n").unwrap();
            for inner in Family::ALL {
                let vip = topology.plan.virtual_address(inner);
                topology
                    .lb
                    .links(&format!("route add {vip} dev encap0\n"))
                    .unwrap();
                answered_by(&topology, topology.plan.virtual_http(inner), &server.name());
                assert_eq!(
                    bulk(&topology, topology.plan.virtual_http(inner)),
                    server.name()
                );
                let seen =
                    traffic::udp(&topology, topology.plan.virtual_echo(inner), 2, 5, 1000).unwrap();
                assert_eq!(seen.lost, 0, "{seen:?}");
            }
            drop(encap);
            std::fs::remove_file(&log).unwrap();
        }
    }
}

#[test]
fn a_thousand_connections_at_once_reach_a_server() {
    let topology = topology(Method::Direct);
    virtual_address_is_at(&topology, &Network::Lan.mac(11));
    answered_by(
        &topology,
        topology.plan.virtual_http(Family::V4),
        "server-11",
    );
    let load = traffic::Wrk::start(
        &topology,
        topology.plan.virtual_http(Family::V4),
        16,
        Some(1000),
    )
    .unwrap();
    let load = load.finish().unwrap();
    assert_eq!(load.failed(), 0, "{load:?}");
    assert!(load.requests >= 1000, "{load:?}");
}

#[test]
fn nothing_is_left_behind() {
    let topology = topology(Method::Tunnel);
    let directory = topology.directory().to_owned();
    let prefix = topology.client.name().trim_end_matches("client").to_owned();
    let servers: Vec<String> = topology
        .servers
        .iter()
        .map(|server| processes(server.namespace.name()))
        .collect();
    assert!(
        servers
            .iter()
            .all(|processes| processes.split_whitespace().count() >= 4),
        "{servers:?}"
    );
    drop(topology);
    let names = String::from_utf8(
        Command::new("ip")
            .args(["netns", "list"])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert!(!names.contains(&prefix), "{names}");
    assert!(!directory.exists());
    for id in servers
        .iter()
        .flat_map(|processes| processes.split_whitespace())
    {
        assert!(
            !Path::new("/proc").join(id).exists(),
            "process {id} still runs"
        );
    }
}

fn processes(namespace: &str) -> String {
    String::from_utf8(
        Command::new("ip")
            .args(["netns", "pids", namespace])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap()
}

#[test]
fn what_a_killed_owner_has_left_is_removed_and_nothing_else() {
    // Beyond the largest process id that Linux gives (4194304), so nobody's.
    const DEAD: &str = "plim-4194999-1-";
    let ip = |words: &[&str]| {
        let status = Command::new("ip").args(words).status().unwrap();
        assert!(status.success(), "ip {words:?}");
    };
    let sleep = |program: &mut Command, owner: &str| {
        program.env("PLIMSOLL_LAB_OWNER", owner).spawn().unwrap()
    };
    let alive = format!("plim-{}-1000-", std::process::id());
    let (namespace, others) = (format!("{DEAD}client"), format!("{alive}client"));
    ip(&["netns", "add", &namespace]);
    ip(&["netns", "add", &others]);
    let directory = std::env::temp_dir().join(format!("{DEAD}x"));
    std::fs::create_dir_all(directory.join("deep")).unwrap();
    let mut outside = sleep(Command::new("sleep").arg("600"), DEAD);
    let mut inside = Command::new("ip")
        .args(["netns", "exec", &namespace, "sleep", "600"])
        .spawn()
        .unwrap();
    let mut ours = sleep(Command::new("sleep").arg("600"), &alive);
    // Until then it is not there yet.
    while processes(&namespace).is_empty() {
        std::thread::yield_now();
    }

    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll-demo"))
        .arg("--clean")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let names = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    let spared = names.contains(&others) && ours.try_wait().unwrap().is_none();
    ours.kill().unwrap();
    ours.wait().unwrap();
    ip(&["netns", "del", &others]);
    assert!(output.status.success() && spared, "{said}{names}");
    assert!(!names.contains(&namespace) && !directory.exists(), "{said}");
    for process in [&mut outside, &mut inside] {
        let id = process.id();
        assert!(said.contains(&format!("ended process {id}\n")), "{said}");
        assert!(!process.wait().unwrap().success());
    }
}
