//! Start, end, crash and metrics of the daemon.
//!
//! Needs root, and the daemon in `PLIMSOLL_BIN_DIR`.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be asked or read is a failure"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{binaries, daemon, topology};
use plimsoll_pktgen_tests::daemon::{Config, Daemon};
use plimsoll_pktgen_tests::topology::{Family, Method, Network, Topology};
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

#[test]
fn a_second_daemon_on_one_interface_is_refused_and_told_who_has_it() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let first = daemon(&topology, &config);
    let (status, log) = first.second(&config.yaml(topology.directory())).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    let holder = format!("process {}", first.id());
    assert!(
        log.contains(&holder) && log.contains("interface veth-lan"),
        "{log}"
    );
    let to = topology.plan.virtual_http(Family::V4);
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
    // The name goes with its holder, however that ends.
    first.kill();
    let _again = daemon(&topology, &config);
}

/// The value of a line of /proc/PID/task/TID/status.
#[track_caller]
fn status<'s>(status: &'s str, key: &str) -> &'s str {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim_start_matches(':').trim()
}

/// Every thread's name and status.
fn threads(daemon: &Daemon<'_>) -> Vec<(u32, String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
    let task = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let text = std::fs::read_to_string(path.join("status")).unwrap();
        (id, status(&text, "Name").to_owned(), text)
    };
    tasks.map(task).collect()
}

#[test]
fn only_the_control_thread_keeps_capabilities_and_only_those_for_interfaces() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let daemon = daemon(&topology, &config);
    let threads = threads(&daemon);
    assert!(
        threads
            .iter()
            .any(|(_, name, _)| name.starts_with("worker-"))
            && threads.len() > 2,
        "{threads:?}"
    );
    // CAP_NET_ADMIN is 12 and CAP_NET_RAW 13.
    let of_control = format!("{:016x}", 1 << 12 | 1 << 13);
    let none = format!("{:016x}", 0);
    for (id, name, text) in &threads {
        let kept = if *id == daemon.id() {
            &of_control
        } else {
            &none
        };
        for key in ["CapPrm", "CapEff"] {
            assert_eq!(status(text, key), kept, "{name}: {text}");
        }
        for key in ["CapInh", "CapAmb"] {
            assert_eq!(status(text, key), none, "{name}: {text}");
        }
        assert_eq!(status(text, "NoNewPrivs"), "1", "{name}");
    }
    // It reads its file and forwards all the same.
    let more = config
        .yaml(topology.directory())
        .replace("weight: 1", "weight: 2");
    daemon.write_config(&more).unwrap();
    daemon.ask(&["reload"]).unwrap();
    let to = topology.plan.virtual_http(Family::V4);
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
}

/// The command by which a program runs with the rights that the unit gives it, as a user of its own.
fn by_the_unit() -> Vec<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/plimsolld.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let capabilities: String = unit
        .lines()
        .find_map(|line| line.strip_prefix("AmbientCapabilities="))
        .unwrap()
        .split(' ')
        .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        &format!("--inh-caps=-all{capabilities}"),
        &format!("--ambient-caps=-all{capabilities}"),
        &format!("--bounding-set=-all{capabilities}"),
        "--no-new-privs",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A daemon with those rights.
fn daemon_by_the_unit<'t>(topology: &'t Topology, config: &Config) -> Daemon<'t> {
    // Where the user may make its socket.
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(topology.directory(), all).unwrap();
    let by = by_the_unit();
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    let yaml = config.yaml(topology.directory());
    Daemon::start_by(&by, topology, &binaries(), &yaml).unwrap()
}

#[test]
fn a_second_daemon_is_refused_whichever_user_the_first_one_is() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let first = daemon_by_the_unit(&topology, &config);
    let (status, log) = first.second(&config.yaml(topology.directory())).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    let holder = format!("process {}", first.id());
    assert!(log.contains(&holder), "{log}");
    let to = topology.plan.virtual_http(Family::V4);
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
}

#[test]
fn the_capabilities_of_the_unit_are_enough_for_any_user() {
    let topology = topology(Method::Direct);
    let config = Config::lesson(Method::Direct);
    let daemon = daemon_by_the_unit(&topology, &config);
    let to = topology.plan.virtual_http(Family::V4);
    assert!(traffic::curl(&topology, to, 1).is_ok());
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
    // Opening the interface again takes them too.
    topology.delete_lb_interface(Network::Lan).unwrap();
    let series = "plimsoll_port_present{port=\"lan\",side=\"network\"}";
    wait_for(&daemon, &format!("{series} 0"));
    topology.make_lb_interface(Network::Lan).unwrap();
    wait_for(&daemon, &format!("{series} 1"));
    wait_for(
        &daemon,
        "plimsoll_port_link_up{port=\"lan\",side=\"network\"} 1",
    );
    assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
    assert!(
        !daemon.log().contains("level=warn msg=\"cannot"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_crash_leaves_the_frames_that_its_worker_was_given_last() {
    for opened_again in [false, true] {
        crash(opened_again);
    }
}

fn crash(opened_again: bool) {
    let topology = topology(Method::Direct);
    let mut daemon = daemon(&topology, &Config::lesson(Method::Direct));
    if opened_again {
        let series = "plimsoll_port_present{port=\"lan\",side=\"network\"}";
        topology.delete_lb_interface(Network::Lan).unwrap();
        wait_for(&daemon, &format!("{series} 0"));
        topology.make_lb_interface(Network::Lan).unwrap();
        wait_for(&daemon, &format!("{series} 1"));
        let up = "plimsoll_port_link_up{port=\"lan\",side=\"network\"} 1";
        wait_for(&daemon, up);
        let to = topology.plan.virtual_http(Family::V4);
        assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
    }
    let worker = threads(&daemon)
        .into_iter()
        .find_map(|(id, name, _)| name.starts_with("worker-").then_some(id));
    // Told to one thread, as a fault of its own would be.
    let killed = std::process::Command::new("kill")
        .args(["-SEGV", &worker.unwrap().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let status = daemon.wait().unwrap();
    let log = daemon.log();
    assert_eq!(status.signal(), Some(11), "{status:?}: {log}");
    assert!(
        log.contains("crash by signal 11") && log.contains("from port lan, queue 0"),
        "{log}"
    );
    let frame = log
        .lines()
        .find_map(|line| {
            line.split_once("plimsolld: frame 1, ")?
                .1
                .split_once(" bytes: ")
        })
        .unwrap();
    assert_eq!(frame.0.parse(), Ok(frame.1.len() / 2), "{log}");
    assert!(frame.1.len() >= 2 * 42, "{log}");
}

/// Waits until the metrics have this line.
#[track_caller]
fn wait_for(daemon: &Daemon<'_>, line: &str) {
    wait_until(daemon, line, || {
        daemon.metrics().unwrap().lines().any(|found| found == line)
    });
}

/// Waits until the log has this so many times.
#[track_caller]
fn wait_for_log(daemon: &Daemon<'_>, words: &str, times: usize) {
    wait_until(daemon, words, || {
        daemon.log().matches(words).count() == times
    });
}

#[track_caller]
fn wait_until(daemon: &Daemon<'_>, what: &str, mut is_there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !is_there() {
        assert!(Instant::now() < end, "no {what}: {}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_interface_that_is_deleted_and_made_again_comes_back() {
    for (idle, kernel) in [("poll", true), ("sleep", false)] {
        let topology = topology(Method::Direct);
        let config = Config {
            dataplane: vec![format!("idle: {idle}")],
            ..Config::lesson(Method::Direct)
        };
        let mut yaml = config.yaml(topology.directory());
        if kernel {
            yaml = yaml.replace("mtu: 1500", "mtu: 1500\n      kernel: true");
        }
        let daemon = Daemon::start(&topology, &binaries(), &yaml).unwrap();
        let to = topology.plan.virtual_http(Family::V4);
        let series = "plimsoll_port_present{port=\"lan\",side=\"network\"}";
        let session = traffic::fetch(&topology, &[&format!("http://{to}/")]).unwrap();
        assert!(!session.is_empty());
        for times in 1..=2 {
            topology.delete_lb_interface(Network::Lan).unwrap();
            wait_for(&daemon, &format!("{series} 0"));
            wait_for(
                &daemon,
                "plimsoll_port_link_up{port=\"lan\",side=\"network\"} 0",
            );
            wait_for_log(&daemon, "the interface is gone", times);
            assert!(traffic::curl(&topology, to, 1).unwrap().failed > 0);

            topology.make_lb_interface(Network::Lan).unwrap();
            wait_for(&daemon, &format!("{series} 1"));
            wait_for(
                &daemon,
                "plimsoll_port_link_up{port=\"lan\",side=\"network\"} 1",
            );
            let answers = traffic::curl(&topology, to, 60).unwrap();
            assert_eq!(answers.failed, 0, "{answers:?} {}", daemon.log());
            // Whom the neighbours know by its MAC has it still.
            let mac = topology
                .lb
                .run(&["cat", "/sys/class/net/veth-lan/address"])
                .unwrap();
            let mac = String::from_utf8(mac.stdout).unwrap();
            assert_eq!(mac.trim(), Network::Lan.mac(topology.plan.lb_last()));
        }
        if kernel {
            topology.lb.links("link del lan\n").unwrap();
            wait_for_log(&daemon, "the port opened again", 3);
            topology.lb.links("link show lan\n").unwrap();
            assert_eq!(traffic::curl(&topology, to, 30).unwrap().failed, 0);
        }
        assert!(daemon.terminate().unwrap().success());
    }
}

#[test]
fn real_servers_that_ran_what_real_setup_writes_serve_clients_and_are_neighbours() {
    for method in [Method::Direct, Method::Nat] {
        let topology = topology(method);
        let daemon = daemon(&topology, &Config::lesson(method));
        let plan = topology.plan;
        for server in &topology.servers {
            // As if it had been prepared for nothing.
            let forget = if method == Method::Nat {
                "ip route del default; ip -6 route del default".to_owned()
            } else {
                format!(
                    "ip addr del {}/32 dev lo; ip -6 addr del {}/128 dev lo; \
                     sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.eth0.arp_ignore=0",
                    plan.virtual_address(Family::V4),
                    plan.virtual_address(Family::V6)
                )
            };
            server.namespace.run(&["sh", "-ec", &forget]).unwrap();
            for service in ["web", "web6"] {
                let commands = daemon.ask(&["real-setup", service]).unwrap();
                server.namespace.run(&["sh", "-ec", &commands]).unwrap();
            }
        }
        for family in Family::ALL {
            let served = traffic::curl(&topology, plan.virtual_http(family), 30).unwrap();
            assert_eq!(served.failed, 0, "{method:?} {family:?}");
        }
        let neighbours = daemon.ask_json(&["neighbors"]).unwrap();
        let all = neighbours["neighbors"].as_array().unwrap();
        for server in &topology.servers {
            for family in Family::ALL {
                let address = plan.server(family, server.number).to_string();
                let one = all.iter().find(|one| one["address"] == address.as_str());
                assert!(one.is_some(), "no {address}: {neighbours}");
                let one = one.unwrap();
                assert_eq!(one["state"], "reachable", "{neighbours}");
                assert!(one["mac"].is_string(), "{neighbours}");
            }
        }
        assert_eq!(neighbours["incomplete"], false);
        let status = daemon.ask_json(&["status"]).unwrap();
        assert!(
            status["sessions"]["used"].as_u64().unwrap() >= 60,
            "{status}"
        );
        assert_eq!(status["address_conflicts"]["total"], 0, "{status}");
        let ports = daemon.ask_json(&["ports"]).unwrap();
        let received = ports["ports"][0]["rx_packets"].as_u64();
        assert!(received.unwrap() > 60, "{ports}");
    }
}
