//! The compiled lookup against a scan of the list of services by the documented order.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::flow::{FlowKey, V4};
use crate::snapshot::Snapshot;
use crate::snapshot::build::Builder;
use crate::spec::Spec;
use crate::spec::scheduler::SchedulerKind;
use crate::spec::service::ServiceSpec;
use crate::spec::target::{Identity, Mark, Rule};

const PROTOCOLS: [Protocol; Protocol::COUNT] = Protocol::ALL;

fn builder() -> Builder {
    Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4))
}

fn service(target: Target) -> ServiceSpec {
    ServiceSpec::new(
        format!("{:?}", target.identity()),
        target,
        SchedulerKind::Rr,
        Vec::new(),
    )
}

fn spec(targets: &[Target]) -> Spec {
    Spec {
        services: targets.iter().cloned().map(service).collect(),
        ..Spec::default()
    }
}

fn vip(protocol: Protocol, addresses: &str, port: u16) -> Target {
    Target::Vip(Vip {
        protocol,
        addresses: addresses.parse::<IpNet>().unwrap().trunc(),
        port,
    })
}

fn found(snapshot: &Snapshot, address: &str, port: u16) -> Option<Target> {
    snapshot
        .service_at(Protocol::Tcp, address.parse().unwrap(), port)
        .filter(|service| service.configured)
        .map(|service| service.target.clone())
}

#[test]
fn an_address_goes_before_a_prefix_and_a_port_before_every_port() {
    let tcp = |addresses, port| vip(Protocol::Tcp, addresses, port);
    let targets = [
        tcp("192.0.2.0/24", 0),
        tcp("192.0.2.0/24", 80),
        tcp("192.0.2.0/28", 0),
        tcp("192.0.2.1/32", 0),
        tcp("192.0.2.1/32", 443),
        tcp("2001:db8::/64", 80),
        vip(Protocol::Udp, "192.0.2.2/32", 80),
    ];
    let snapshot = builder().build(&spec(&targets), true);
    for (address, port, wanted) in [
        ("192.0.2.1", 443, Some(4)),
        ("192.0.2.1", 80, Some(3)),
        // The longer prefix goes first, although the shorter one has the port.
        ("192.0.2.2", 80, Some(2)),
        ("192.0.2.200", 80, Some(1)),
        ("192.0.2.200", 81, Some(0)),
        ("192.0.3.1", 80, None),
        ("2001:db8::9", 80, Some(5)),
        ("2001:db8::9", 81, None),
        ("2001:db8:1::9", 80, None),
    ] {
        let wanted = wanted.map(|place: usize| targets[place].clone());
        assert_eq!(found(&snapshot, address, port), wanted, "{address} {port}");
    }
    for (address, ours) in [("192.0.2.255", true), ("192.0.3.0", false)] {
        assert_eq!(snapshot.is_vip(address.parse().unwrap()), ours, "{address}");
    }
}

#[test]
fn a_removed_service_hides_no_wider_one() {
    let (exact, wide) = (
        vip(Protocol::Tcp, "192.0.2.1/32", 80),
        vip(Protocol::Tcp, "192.0.2.0/24", 0),
    );
    let mut builder = builder();
    builder.build(&spec(&[exact.clone(), wide.clone()]), true);
    let later = builder.build(&spec(std::slice::from_ref(&wide)), false);
    assert_eq!(found(&later, "192.0.2.1", 80), Some(wide));
    let alone = builder.build(&spec(std::slice::from_ref(&exact)), false);
    assert_eq!(found(&alone, "192.0.2.2", 80), None);
    assert!(!alone.is_vip([192, 0, 2, 2].into()));
    assert!(alone.is_vip([192, 0, 2, 1].into()));
    for _ in 0..2 {
        builder.build(&spec(&[]), true);
    }
    let empty = &builder.current().lookup;
    assert!(empty.lengths.v4.is_empty() && empty.address_lengths.v4.is_empty());
    assert_eq!((empty.any_port, empty.overlapping), (0, 0));
    assert!(alone.has_services() && !builder.current().has_services());
}

#[test]
fn rules_of_one_mark_may_change_and_the_service_stays() {
    let rules = |port: u16| Target::Match {
        mark: Mark {
            number: 5,
            is_v6: false,
        },
        rules: [Rule {
            ports: vec![port..=port],
            ..Rule::default()
        }]
        .into(),
    };
    let mut builder = builder();
    let key = |port| FlowKey {
        client: V4(1),
        virtual_address: V4(2),
        client_port: 3,
        virtual_port: port,
        protocol: Protocol::Udp,
    };
    let first = builder.build(&spec(&[rules(80)]), true);
    let id = first.service_for(&key(80)).unwrap().id;
    let second = builder.build(&spec(&[rules(81)]), true);
    assert_eq!(second.service_for(&key(81)).unwrap().id, id);
    assert!(second.service_for(&key(80)).is_none());
    assert!(second.is_virtual([0, 0, 0, 9].into()) && !second.is_vip([0, 0, 0, 9].into()));
    let last = builder.build(&spec(&[]), true);
    assert!(last.service_for(&key(81)).is_none());
    assert!(!last.is_virtual([0, 0, 0, 9].into()));
}

/// Few bits and ports, so that much coincides.
fn net() -> impl Strategy<Value = IpNet> {
    (0..16_u32, prop_oneof![Just(0), 27..=32_u8]).prop_map(|(low, length)| {
        let address = Ipv4Addr::from_bits(0x0a00_0000 | low);
        Ipv4Net::new(address, length).unwrap().trunc().into()
    })
}

fn ports() -> impl Strategy<Value = Vec<RangeInclusive<u16>>> {
    vec((0..5_u16, 0..3_u16), 0..3)
        .prop_map(|list| list.iter().map(|(low, more)| *low..=low + more).collect())
}

fn rule() -> impl Strategy<Value = Rule> {
    let protocol = option::of(prop::sample::select(PROTOCOLS.to_vec()));
    let prefixes = (option::of(net()), option::of(net()));
    (protocol, prefixes, ports(), ports()).prop_map(|(protocol, (from, to), ports, from_ports)| {
        Rule {
            protocol,
            from,
            to,
            ports,
            from_ports,
        }
    })
}

fn target() -> impl Strategy<Value = Target> {
    let protocol = prop::sample::select(PROTOCOLS.to_vec());
    let vip = (protocol, net(), 0..4_u16).prop_map(|(protocol, addresses, port)| {
        Target::Vip(Vip {
            protocol,
            addresses,
            port,
        })
    });
    let by_rules = (1..4_u32, vec(rule(), 0..3)).prop_map(|(number, rules)| Target::Match {
        mark: Mark {
            number,
            is_v6: false,
        },
        rules: rules.into(),
    });
    prop_oneof![3 => vip, 1 => by_rules]
}

/// A list in which no identity is twice.
fn targets() -> impl Strategy<Value = Vec<Target>> {
    vec(target(), 0..12).prop_map(|list| {
        let mut kept: Vec<Target> = Vec::new();
        for target in list {
            if kept.iter().all(|one| one.identity() != target.identity()) {
                kept.push(target);
            }
        }
        kept
    })
}

fn matches_rule(rule: &Rule, key: &FlowKey<V4>) -> bool {
    let within = |net: Option<IpNet>, address: V4| {
        net.is_none_or(|net| net.contains(&IpAddr::from(address)))
    };
    let among = |ports: &[RangeInclusive<u16>], port| {
        ports.is_empty() || ports.iter().any(|range| range.contains(&port))
    };
    rule.protocol
        .is_none_or(|protocol| protocol == key.protocol)
        && within(rule.from, key.client)
        && within(rule.to, key.virtual_address)
        && among(&rule.ports, key.virtual_port)
        && among(&rule.from_ports, key.client_port)
}

/// By the order that is documented, in so many words.
fn scan(targets: &[Target], key: &FlowKey<V4>) -> Option<Identity> {
    let by_rule = targets.iter().find(|target| match target {
        Target::Vip(_) => false,
        Target::Match { rules, .. } => rules.iter().any(|rule| matches_rule(rule, key)),
    });
    let by_address = || {
        let takes = |target: &&Target| match target {
            Target::Match { .. } => false,
            Target::Vip(vip) => {
                vip.protocol == key.protocol
                    && vip.addresses.contains(&IpAddr::from(key.virtual_address))
                    && [0, key.virtual_port].contains(&vip.port)
            }
        };
        targets
            .iter()
            .filter(takes)
            .max_by_key(|target| match target {
                Target::Vip(vip) => (vip.addresses.prefix_len(), vip.port != 0),
                Target::Match { .. } => (0, false),
            })
    };
    by_rule.or_else(by_address).map(Target::identity)
}

proptest! {
    #[test]
    fn the_lookup_finds_what_a_scan_of_the_list_finds(
        before in targets(),
        after in targets(),
        quiescent: bool,
        packets in vec((0..16_u32, 0..6_u16, 0..16_u32, 0..6_u16, 0..2_usize), 1..60),
    ) {
        let mut builder = builder();
        builder.build(&spec(&before), quiescent);
        let snapshot = builder.build(&spec(&after), quiescent);
        for (client, client_port, to, port, protocol) in packets {
            let key = FlowKey {
                client: V4(0x0a00_0000 | client),
                virtual_address: V4(0x0a00_0000 | to),
                client_port,
                virtual_port: port,
                protocol: PROTOCOLS[protocol],
            };
            let service = snapshot.service_for(&key);
            let service = service.filter(|service| service.configured);
            let identity = service.map(|service| service.target.identity());
            prop_assert_eq!(identity, scan(&after, &key));
            let address = IpAddr::from(key.virtual_address);
            let on_it = after.iter().any(|target| match target {
                Target::Vip(vip) => vip.addresses.contains(&address),
                Target::Match { .. } => false,
            });
            prop_assert_eq!(snapshot.is_vip(address), on_it);
        }
    }
}
