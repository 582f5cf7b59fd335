//! The forms of answers, which scripts rely on.

use std::sync::Arc;

use ahash::RandomState;
use plimsoll_dataplane::snapshot::build::Builder;
use plimsoll_dataplane::wire::Mac;
use serde_json::{Value as Json, json};

use super::*;
use crate::{compile, config};

/// A service in a tunnel whose real servers are `reals`.
fn snapshot(reals: &str) -> Arc<Snapshot> {
    let text = format!(
        "version: 1
dataplane:
  cpus: [0]
  ports: [{{ name: wan, device: net_null0, addresses: [192.0.2.2/24] }}]
services:
  - name: web
    vip: 192.0.2.10:80
    forward: tunnel
    reals: {reals}
"
    );
    let loaded = config::parse("test", text).unwrap_or_else(|e| panic!("{}", e.report(false)));
    let (start, reload) = (loaded.valid.start(), loaded.valid.reload());
    let (devices, ports) = compile::ports(start, &[Mac([2, 0, 0, 0, 0, 1])]);
    let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
    builder.build(&compile::spec(&devices, &ports, reload), true)
}

/// The real servers of the first service in JSON.
fn listed_reals(snapshot: &Snapshot) -> Vec<Json> {
    let services = services(snapshot, None);
    let reals = services[0].reals.iter();
    reals
        .map(|real| serde_json::to_value(real).unwrap())
        .collect()
}

#[test]
fn a_real_server_shows_its_tunnel_by_the_keys_of_the_file() {
    let reals = listed_reals(&snapshot(
        "[{ address: 192.0.2.21, weight: 2, upper: 9, lower: 8 },
          { address: 192.0.2.22, tunnel: { type: gre, ttl: 64 } },
          { address: 192.0.2.23, tunnel: { type: gue, port: 6081, checksum: csum, source: 192.0.2.2 } }]",
    ));
    assert_eq!(reals[0].get("settings"), None);
    let gre = json!({ "tunnel.type": "gre", "tunnel.ttl": "64" });
    assert_eq!(reals[1]["settings"], gre);
    let gue = json!({
        "tunnel.type": "gue", "tunnel.port": "6081", "tunnel.checksum": "csum", "tunnel.source": "192.0.2.2",
    });
    assert_eq!(reals[2]["settings"], gue);
    let real: Real = serde_json::from_value(reals[2].clone()).unwrap();
    assert_eq!(serde_json::to_value(real).unwrap(), reals[2]);
}

/// The keys of a mapping, those of mappings below it with theirs: `tunnel.ttl`.
fn keys(schema: &Json, above: &str, found: &mut Vec<String>) {
    for (key, below) in schema["properties"].as_object().unwrap() {
        let name = format!("{above}{key}");
        if below.get("properties").is_some() {
            keys(below, &format!("{name}."), found);
        } else {
            found.push(name);
        }
    }
}

#[test]
fn a_real_server_without_a_tunnel_shows_none() {
    let reals = listed_reals(&snapshot(
        "[{ address: 192.0.2.21, forward: dr, tunnel: { type: gre, ttl: 64 } }]",
    ));
    assert_eq!(reals[0].get("settings"), None, "{}", reals[0]);
}

#[test]
fn every_key_of_a_real_server_is_shown() {
    // Each key with another value than it has if omitted.
    let reals = listed_reals(&snapshot(
        "[{ address: 192.0.2.21, weight: 2, upper: 9, lower: 8, forward: tunnel, tunnel:
            { type: gue, port: 6081, checksum: csum, source: 192.0.2.2, ttl: 64 } }]",
    ));
    let services = &config::schema()["properties"]["services"];
    let mut known = Vec::new();
    keys(
        &services["items"]["properties"]["reals"]["items"],
        "",
        &mut known,
    );
    assert!(known.len() > 9, "{known:?}");
    for key in known {
        let shown = [&reals[0], &reals[0]["settings"]].map(|shown| shown.get(&key));
        assert_eq!(
            shown.iter().flatten().count(),
            1,
            "{key}, which must be written above, in {}",
            reals[0]
        );
    }
}

#[test]
fn the_forms_are_what_the_documentation_promises() {
    let service = Service {
        name: "web".into(),
        target: Target::Vip {
            vip: VipSocket {
                addresses: IpAddr::from([192, 0, 2, 1]).into(),
                port: 80,
            },
            protocol: Protocol::Tcp,
        },
        removed: false,
        scheduler: "rr".into(),
        scheduler_flags: Vec::new(),
        persistence: None,
        one_packet: false,
        counters: Counters {
            conns: 1,
            ..Counters::default()
        },
        rate: None,
        reals: vec![Real {
            address: "[2001:db8::1]:80".parse().unwrap(),
            forward: ForwardMethod::Tunnel,
            weight: 2,
            weight_of_file: None,
            administration: Some(Administration::Enabled),
            removed: false,
            upper: 0,
            lower: 0,
            settings: BTreeMap::default(),
            active: 3,
            inactive: 4,
            persistent: 5,
            counters: Counters::default(),
            rate: None,
        }],
    };
    let json = serde_json::to_value(&service).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "name": "web", "vip": "192.0.2.1:80", "protocol": "tcp", "scheduler": "rr",
            "conns": 1, "in_packets": 0, "out_packets": 0, "in_bytes": 0, "out_bytes": 0,
            "reals": [{
                "address": "[2001:db8::1]:80", "forward": "tunnel", "weight": 2,
                "administration": "enabled", "active": 3, "inactive": 4, "persistent": 5,
                "conns": 0, "in_packets": 0, "out_packets": 0, "in_bytes": 0, "out_bytes": 0,
            }],
        })
    );
    assert_eq!(serde_json::from_value::<Service>(json).unwrap(), service);
    let hashed = Service {
        scheduler_flags: vec!["sh-port".into()],
        rate: Some(Rate {
            conns: 7,
            ..Rate::default()
        }),
        persistence: Some(Persistence {
            timeout_ms: 50_000,
            mask: 24,
        }),
        one_packet: true,
        ..service.clone()
    };
    let json = serde_json::to_value(&hashed).unwrap();
    assert_eq!(json["scheduler_flags"], serde_json::json!(["sh-port"]));
    assert_eq!(
        json["rate"],
        serde_json::json!({
            "conns": 7, "in_packets": 0, "out_packets": 0, "in_bytes": 0, "out_bytes": 0,
        })
    );
    let persistence = serde_json::json!({ "timeout_ms": 50_000, "mask": 24 });
    assert_eq!(json["persistence"], persistence);
    assert_eq!(json["one_packet"], true);
    assert_eq!(serde_json::from_value::<Service>(json).unwrap(), hashed);
    for protocol in [SessionProtocol::Ip, SessionProtocol::One(Protocol::Udp)] {
        let json = serde_json::to_value(protocol).unwrap();
        assert_eq!(json, protocol.name());
        assert_eq!(
            serde_json::from_value::<SessionProtocol>(json).unwrap(),
            protocol
        );
    }
    let marked = Service {
        target: Target::Mark {
            mark: 5,
            ipv6: true,
        },
        ..service
    };
    let json = serde_json::to_value(&marked).unwrap();
    assert_eq!((&json["mark"], &json["ipv6"]), (&5.into(), &true.into()));
    assert!(json.get("vip").is_none() && json.get("protocol").is_none());
    assert_eq!(serde_json::from_value::<Service>(json).unwrap(), marked);
}

#[test]
fn every_reason_is_there_when_all_are_asked_for() {
    let worker = WorkerStats::new(0);
    assert!(drops([&worker].into_iter(), false).is_empty());
    assert_eq!(
        drops([&worker, &worker].into_iter(), true).len(),
        DropReason::ALL.len()
    );
}

#[test]
fn results_have_the_same_name_in_json_and_in_metrics() {
    for result in ReloadResult::ALL {
        assert_eq!(serde_json::to_value(result).unwrap(), result.name());
    }
}
