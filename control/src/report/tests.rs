//! The forms of answers, which scripts rely on.

use super::*;

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
            removed: false,
            upper: 0,
            lower: 0,
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
                "active": 3, "inactive": 4, "persistent": 5,
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
