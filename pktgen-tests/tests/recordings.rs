//! Every recording of LVS in `recordings/` is matched, or its deviation documented. Needs no root.

#![expect(
    clippy::unwrap_used,
    reason = "a failing test says where; clippy.toml knows only #[test] functions"
)]

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use plimsoll_dataplane::testing::PacketBuilder;
use plimsoll_dataplane::wire::Mac;
use plimsoll_pktgen_tests::replay::{self, Deviations, Outcome};

/// What matches in full only with `compat: lvs`.
const DOCUMENTED: [&str; 12] = [
    "dr-del-existing",
    "dr-del-service",
    "dr-noroute-arp",
    "dr-reuse-mode",
    "dr-sctp",
    "dr-vlan-mcast",
    "nat-icmp-client",
    "nat-mtu",
    "nat-noconn",
    "tun-icmp",
    "tun-mtu-df",
    "tun-udp",
];

#[test]
fn every_recording_is_matched_or_its_deviation_documented() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = Deviations::read(&here.join("../docs/DEVIATIONS.md")).unwrap();
    let folder = here.join("recordings");
    let names = replay::names(&folder).unwrap();
    assert!(!names.is_empty());
    let outcomes: Vec<(&str, Outcome)> = names
        .iter()
        .map(|name| {
            let outcome = replay::replay(&folder, name, &known).unwrap();
            (name.as_str(), outcome)
        })
        .collect();
    let failures: Vec<String> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_failure())
        .map(|(name, outcome)| format!("{name}: {outcome}"))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let documented: Vec<&str> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Documented(_)))
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(documented, DOCUMENTED);
}

/// No deviation is ever documented for what every user of LVS sees first.
#[test]
fn the_first_things_that_users_of_lvs_see_are_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    for name in [
        "dr-lc",
        "dr-rr",
        "dr-rr-weights",
        "dr-udp",
        "dr-wrr-432",
        "dr-wrr-gcd",
        "nat-rr",
        "nat-udp",
        "nat-wrr",
        "tun-rr",
        "v6-dr-rr",
        "v6-nat",
    ] {
        let outcome = replay::replay(&folder, name, &Deviations::default()).unwrap();
        assert_eq!(outcome.to_string(), "match", "{name}");
    }
}

/// A recording with one change is not matched; says what differs.
fn changed(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(here.join("recordings/nat-udp.json")).unwrap();
    let mut recording = serde_json::from_str(&text).unwrap();
    change(&mut recording);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.json");
    std::fs::write(path, recording.to_string()).unwrap();
    replay::replay(folder.path(), "changed", &Deviations::default())
        .unwrap()
        .to_string()
}

#[test]
fn time_runs_on_to_the_end_of_a_recording_that_ends_with_waiting() {
    let waits = |seconds: f64, then: &'static [&'static str]| {
        changed(move |recording| {
            let steps = recording["steps"].as_array_mut().unwrap();
            steps.push(serde_json::json!({ "sleep": seconds }));
            let commands = then.iter();
            steps.extend(commands.map(|command| serde_json::json!({ "cmd": command })));
        })
    };
    for then in [&[][..], &["ipvsadm -Ln"], &["true", "true"]] {
        assert_eq!(waits(290.0, then), "match");
        let over = waits(310.0, then);
        assert!(over.ends_with("here there is none"), "{over}");
    }
}

#[test]
fn a_narrow_port_keeps_its_ipv4() {
    for port in ["eth0", "eth1"] {
        let outcome = changed(|recording| {
            recording["setup"] = serde_json::json!([format!("ip link set {port} mtu 1000")]);
        });
        assert_eq!(outcome, "match", "{port}");
    }
}

#[test]
fn the_second_router_leads_to_networks_of_both_families() {
    for (service, real, client, vip, real_address) in [
        (
            "10.0.0.100:80",
            "172.16.0.11:80",
            "198.51.100.7",
            "10.0.0.100",
            "172.16.0.11",
        ),
        (
            "[2001:db8::100]:80",
            "[2001:db8:ffff::11]:80",
            "2001:db8:cafe::7",
            "2001:db8::100",
            "2001:db8:ffff::11",
        ),
    ] {
        let (router, lan) = (Mac([2, 0, 0, 0, 1, 0xfe]), Mac([2, 0, 0, 0, 1, 1]));
        let (outside, wan) = (Mac([2, 0, 0, 0, 0, 0xfe]), Mac([2, 0, 0, 0, 0, 1]));
        let syn = |to: &str| {
            let (from, to): (IpAddr, IpAddr) = (client.parse().unwrap(), to.parse().unwrap());
            let builder = match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::v4(from, to),
                (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::v6(from, to),
                _ => unreachable!(),
            };
            builder.tcp(1000, 80).flags(2)
        };
        let hex = |builder: PacketBuilder| {
            let frame = builder.build();
            frame
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let recording = serde_json::json!({
            "rules": [format!("-A -t {service} -s rr"), format!("-a -t {service} -r {real} -m -w 1")],
            "steps": [{
                "in": [{ "dev": "eth0", "hex": hex(syn(vip).mac(outside, wan)) }],
                "out": [{ "dev": "eth1", "hex": hex(syn(real_address).mac(lan, router).ttl(63)) }],
            }],
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("routed.json"), recording.to_string()).unwrap();
        let outcome = replay::replay(folder.path(), "routed", &Deviations::default()).unwrap();
        assert_eq!(outcome.to_string(), "match", "{real}");
    }
}

#[test]
fn whatever_differs_is_told() {
    assert_eq!(changed(|_| {}), "match");
    let byte = changed(|recording| {
        let hex = &mut recording["steps"][0]["out"][0]["hex"];
        let text = hex.as_str().unwrap();
        *hex = format!("{}ff", &text[..text.len() - 2]).into();
    });
    assert!(
        byte.starts_with("differs: step 0, eth1: LVS sent"),
        "{byte}"
    );
    let missing = changed(|recording| {
        recording["steps"][0]["out"] = serde_json::json!([]);
    });
    assert!(
        missing.contains("LVS sent nothing, here came 02"),
        "{missing}"
    );
    let replace = |listing: &'static str, from: &'static str, to: &'static str| {
        changed(move |recording| {
            let text = recording["after"][listing].as_str().unwrap();
            assert!(text.contains(from), "{text}");
            recording["after"][listing] = text.replace(from, to).into();
        })
    };
    let session = replace("ipvsadm -Lnc", "198.51.100.7:", "198.51.100.8:");
    assert!(
        session.starts_with("differs: session: LVS has"),
        "{session}"
    );
    let inactive = replace("ipvsadm -Ln", "Masq    1      0", "Masq    1      7");
    assert!(
        inactive.contains("active and inactive of 10.1.0.11:5353"),
        "{inactive}"
    );
    let unsupported = changed(|recording| {
        recording["sysctl"] = serde_json::json!({ "net.ipv4.vs.conntrack": 1 });
    });
    assert_eq!(
        unsupported,
        "not supported: `conntrack` is not carried over: there is no kernel in the way"
    );
}

#[test]
fn a_program_ends_as_it_would_when_nobody_reads_what_it_prints() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    for (name, status) in [("dr-sctp", 0), ("no-such-recording", 2)] {
        let closed = || std::io::pipe().unwrap().1;
        let mut replay = Command::new(env!("CARGO_BIN_EXE_replay"));
        replay.arg(&recordings).arg(name);
        let ended = replay.stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(ended.code(), Some(status), "{name}");
    }
}
