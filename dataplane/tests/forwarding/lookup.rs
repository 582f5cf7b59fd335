//! Which service takes a packet: virtual addresses and prefixes, every port, and rules.

use std::ops::RangeInclusive;

use plimsoll_dataplane::flow::{Protocol, V4};
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
use plimsoll_dataplane::spec::target::{Mark, Rule, Target, Vip};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Rng, arp_frame};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::{Mac, arp};

use crate::net::*;

/// Routed to this machine, but on none of its ports.
const ROUTED: &str = "203.0.113.9";
const ROUTED6: &str = "2001:db8:9::9";

fn reals(addresses: [&str; 3], port: u16, forward: ForwardMethod) -> Vec<RealSpec> {
    addresses
        .map(|address| real(address, port, forward))
        .to_vec()
}

fn on(addresses: &str, port: u16, reals: Vec<RealSpec>) -> ServiceSpec {
    let vip = Vip {
        protocol: Protocol::Tcp,
        addresses: addresses.parse().unwrap(),
        port,
    };
    ServiceSpec {
        target: Target::Vip(vip),
        ..service(Protocol::Tcp, VIP, port, reals)
    }
}

fn by_rules(number: u32, is_v6: bool, rules: Vec<Rule>, reals: Vec<RealSpec>) -> ServiceSpec {
    ServiceSpec {
        name: format!("mark {number}").into(),
        target: Target::Match {
            mark: Mark { number, is_v6 },
            rules: rules.into(),
        },
        ..service(Protocol::Tcp, VIP, 0, reals)
    }
}

fn to_ports(ports: &[RangeInclusive<u16>]) -> Rule {
    Rule {
        ports: ports.to_vec(),
        ..Rule::default()
    }
}

fn to_network(to: &str) -> Rule {
    Rule {
        to: Some(to.parse().unwrap()),
        ..Rule::default()
    }
}

fn syn(from: &str, to: &str, port: u16) -> Vec<u8> {
    from_wan(from, to).tcp(4000, port).flags(SYN).build()
}

/// The real server that gets a first packet; `None` if none does.
fn chosen(rig: &mut Rig, frame: &[u8]) -> Option<String> {
    let sent = rig.pass(WAN, frame);
    let (port, frame) = sent.first()?;
    let to = frame[..6].to_vec();
    let known = REALS.iter().chain(&REALS6);
    let mut known = known.filter(|real| mac_of(real).0[..] == to[..]);
    (*port == LAN)
        .then(|| known.next())
        .flatten()
        .map(ToString::to_string)
}

#[test]
fn the_narrowest_service_takes_the_packet() {
    let one = |address, port| vec![real(address, port, ForwardMethod::Direct)];
    let mut rig = Rig::new(
        1,
        &two_armed(vec![
            on("192.0.2.96/28", 0, one(REALS[0], 0)),
            on("192.0.2.100/32", 0, one(REALS[1], 0)),
            on("192.0.2.100/32", 80, one(REALS[2], 80)),
            on("2001:db8:1::/112", 80, one(REALS6[0], 80)),
        ]),
    );
    for (client, vip, port, wanted) in [
        (CLIENT, VIP, 80, Some(REALS[2])),
        (CLIENT, VIP, 81, Some(REALS[1])),
        (CLIENT, "192.0.2.101", 80, Some(REALS[0])),
        (CLIENT, "192.0.2.112", 80, None),
        (CLIENT6, "2001:db8:1::ffee", 80, Some(REALS6[0])),
    ] {
        let real = chosen(&mut rig, &syn(client, vip, port));
        assert_eq!(real.as_deref(), wanted, "{vip} {port}");
    }
    finish(rig);
}

#[test]
fn every_address_of_a_prefix_is_answered_for() {
    let spec = two_armed(vec![
        on("192.0.2.96/28", 80, Vec::new()),
        on("2001:db8:1:8::/64", 80, Vec::new()),
    ]);
    let mut rig = Rig::new(1, &spec);
    let v4 = |text: &str| V4::from(text.parse::<std::net::Ipv4Addr>().unwrap());
    for (target, ours) in [
        ("192.0.2.96", true),
        ("192.0.2.111", true),
        ("192.0.2.112", false),
    ] {
        let request = arp::Packet::request(GATEWAY_MAC, v4("192.0.2.254"), v4(target));
        let reply = arp_frame(GATEWAY_MAC, &arp::Packet::reply_to(&request, WAN_MAC));
        let expected = if ours { vec![(WAN, reply)] } else { Vec::new() };
        expect(
            &rig.pass(WAN, &arp_frame(Mac::BROADCAST, &request)),
            &expected,
        );
    }
    for (from, to) in [(CLIENT, "192.0.2.97"), (CLIENT6, "2001:db8:1:8::77")] {
        let answer = packet(to, from).mac(WAN_MAC, GATEWAY_MAC).id(1);
        expect(
            &rig.pass(WAN, &from_wan(from, to).echo_request(1, 2).build()),
            &[(WAN, answer.echo_reply(1, 2).build())],
        );
        // No service has this port: as a host's on which nobody listens.
        let sent = rig.pass(WAN, &syn(from, to, 81));
        assert_eq!((sent.len(), addresses(&sent[0].1).source()), (1, ip(to)));
    }
    assert_eq!(rig.all_drops(), [(DropReason::NoService, 2)]);
    finish(rig);
}

#[test]
fn an_own_address_without_a_kernel_refuses_as_a_host() {
    let mut rig = Rig::new(1, &direct());
    let reset = packet(WAN_ADDRESS, CLIENT)
        .mac(WAN_MAC, GATEWAY_MAC)
        .tcp(22, 4000)
        .numbers(0, 1)
        .flags(RST | ACK)
        .df()
        .window(0);
    let asked = from_wan(CLIENT, WAN_ADDRESS)
        .tcp(4000, 22)
        .numbers(0, 0)
        .flags(SYN);
    expect(&rig.pass(WAN, &asked.build()), &[(WAN, reset.build())]);
    assert_eq!(rig.all_drops(), [(DropReason::LocalUnhandled, 1)]);
    finish(rig);
}

/// Every port of a VIP, and a routed address by rule; NAT to the port that the client asked for.
fn wide_nat() -> Spec {
    let nat = |addresses| reals(addresses, 0, ForwardMethod::Nat);
    two_armed(vec![
        on("192.0.2.100/32", 0, nat(REALS)),
        on("2001:db8:1::100/128", 0, nat(REALS6)),
        by_rules(1, false, vec![to_network("203.0.113.0/24")], nat(REALS)),
        by_rules(1, true, vec![to_network("2001:db8:9::/48")], nat(REALS6)),
    ])
}

#[test]
fn nat_works_both_ways_on_every_port_from_any_queue() {
    for workers in [1, 2, 3] {
        let mut rig = Rig::new(workers, &wide_nat());
        let mut rng = Rng::new(7);
        for (client, vip) in [
            (CLIENT, VIP),
            (CLIENT6, VIP6),
            (CLIENT, ROUTED),
            (CLIENT6, ROUTED6),
        ] {
            for port in 5000..5020 {
                let mut any = || rng.below(workers);
                let request = |flags| from_wan(client, vip).tcp(4000, port).flags(flags).build();
                let sent = rig.pass_on(any(), WAN, &request(SYN));
                assert_eq!(sent.len(), 1);
                let real = destination(&sent[0].1).to_string();
                let forth = to_lan(&real, client, &real).tcp(4000, port);
                expect(&sent, &[(LAN, forth.clone().flags(SYN).build())]);
                for _ in 0..3 {
                    let reply = from_lan(&real, client).tcp(port, 4000).flags(SYN_ACK);
                    let back = to_wan(vip, client).tcp(port, 4000).flags(SYN_ACK);
                    expect(
                        &rig.pass_on(any(), LAN, &reply.build()),
                        &[(WAN, back.build())],
                    );
                    expect(
                        &rig.pass_on(any(), WAN, &request(ACK)),
                        &[(LAN, forth.build())],
                    );
                }
            }
        }
        assert_eq!(rig.all_drops(), []);
        assert_eq!(rig.sessions().len(), 80);
        finish(rig);
    }
}

#[test]
fn rules_go_before_virtual_addresses_and_the_first_that_matches_wins() {
    let one = |address| vec![real(address, 0, ForwardMethod::Direct)];
    let tcp = |ports: &[RangeInclusive<u16>]| Rule {
        protocol: Some(Protocol::Tcp),
        ..to_ports(ports)
    };
    let from = Rule {
        from: Some("198.51.100.0/25".parse().unwrap()),
        from_ports: vec![4000..=4001],
        ..to_ports(&[443..=443])
    };
    let mut rig = Rig::new(
        1,
        &two_armed(vec![
            service(
                Protocol::Tcp,
                VIP,
                80,
                vec![real(REALS[2], 80, ForwardMethod::Direct)],
            ),
            by_rules(2, false, vec![from], one(REALS[0])),
            by_rules(
                1,
                false,
                vec![tcp(&[443..=443, 8000..=8010])],
                one(REALS[1]),
            ),
        ]),
    );
    for (client, vip, port, wanted) in [
        (CLIENT, VIP, 80, Some(REALS[2])),
        (CLIENT, VIP, 443, Some(REALS[0])),
        (CLIENT, ROUTED, 443, Some(REALS[0])),
        ("198.51.100.200", ROUTED, 443, Some(REALS[1])),
        (CLIENT, ROUTED, 8010, Some(REALS[1])),
        (CLIENT, ROUTED, 8011, None),
        (CLIENT6, ROUTED6, 443, None),
    ] {
        let real = chosen(&mut rig, &syn(client, vip, port));
        assert_eq!(real.as_deref(), wanted, "{client} {vip} {port}");
    }
    let datagram = from_wan("198.51.100.200", ROUTED).udp(4000, 8000);
    assert_eq!(chosen(&mut rig, &datagram.build()), None);
    assert_eq!(rig.all_drops(), [(DropReason::NotLocal, 3)]);
    finish(rig);
}

#[test]
fn what_no_real_server_takes_is_refused_from_where_it_was_sent_to() {
    let rules = vec![to_network("203.0.113.0/24")];
    let spec = two_armed(vec![by_rules(1, false, rules, Vec::new())]);
    let mut rig = Rig::new(1, &spec);
    let sent = rig.pass(WAN, &syn(CLIENT, ROUTED, 80));
    assert_eq!(addresses(&sent[0].1).source(), ip(ROUTED));
    let stray = from_wan(CLIENT, ROUTED).tcp(4000, 80).flags(ACK).build();
    let sent = rig.pass(WAN, &stray);
    assert_eq!(addresses(&sent[0].1).source(), ip(ROUTED));
    let request = arp::Packet::request(
        GATEWAY_MAC,
        "192.0.2.254".parse::<std::net::Ipv4Addr>().unwrap().into(),
        ROUTED.parse::<std::net::Ipv4Addr>().unwrap().into(),
    );
    assert_eq!(rig.pass(WAN, &arp_frame(Mac::BROADCAST, &request)), []);
    let echo = from_wan(CLIENT, ROUTED).echo_request(1, 2).build();
    assert_eq!(rig.pass(WAN, &echo), []);
    let expected = [
        (DropReason::NotLocal, 1),
        (DropReason::NoSession, 1),
        (DropReason::NoReal, 1),
    ];
    assert_eq!(rig.all_drops(), expected);
    finish(rig);
}

#[test]
fn fragments_and_errors_of_routed_addresses_find_their_sessions() {
    for workers in [1, 3] {
        for forward in [ForwardMethod::Direct, ForwardMethod::Nat] {
            let rules = vec![to_network("203.0.113.0/24")];
            let reals = reals(REALS, 0, forward);
            let spec = two_armed(vec![by_rules(1, false, rules, reals)]);
            let mut rig = Rig::new(workers, &spec);
            for port in 4000..4010 {
                let ask = from_wan(CLIENT, ROUTED).id(port.into()).udp(port, 53);
                let pieces = ask.payload(&[5; 2000]).build_fragments(1480);
                for (index, piece) in pieces.iter().enumerate() {
                    rig.inject(index % workers, WAN, piece);
                }
                assert_eq!(rig.run().len(), pieces.len());
                let seen = packet(ROUTED, CLIENT).udp(53, port).build_datagram();
                let error = from_wan(CLIENT, ROUTED).icmp_error(3, 3, 0, &seen).build();
                for worker in 0..workers {
                    let sent = rig.pass_on(worker, WAN, &error);
                    assert_eq!((sent.len(), sent[0].0), (1, LAN));
                }
            }
            assert_eq!(rig.all_drops(), []);
            finish(rig);
        }
    }
}

#[test]
fn what_nat_real_servers_send_away_is_no_request() {
    let rules = vec![to_ports(&[])];
    let reals = reals(REALS, 0, ForwardMethod::Nat);
    let mut rig = Rig::new(2, &two_armed(vec![by_rules(1, false, rules, reals)]));
    for worker in [0, 1] {
        // The server's own connection: routed, as by any gateway.
        let own = from_lan(REALS[0], CLIENT).tcp(5000, 25).flags(SYN);
        let on = to_wan(REALS[0], CLIENT).tcp(5000, 25).flags(SYN);
        expect(
            &rig.pass_on(worker, LAN, &own.build()),
            &[(WAN, on.build())],
        );
    }
    assert_eq!(rig.sessions(), []);
    finish(rig);
}

/// The services of `before` get sessions, then `after` is in force: they go on from any queue.
#[track_caller]
fn survives(before: &Spec, after: &Spec, vip: &str, port: u16) {
    for workers in [1, 3] {
        let mut rig = Rig::new(workers, before);
        let request =
            |client_port, flags| from_wan(CLIENT, vip).tcp(client_port, port).flags(flags);
        let mut servers = Vec::new();
        for client_port in 4000..4012 {
            let sent = rig.pass(WAN, &request(client_port, SYN).build());
            servers.push(destination(&sent[0].1).to_string());
        }
        rig.reload(after);
        for (client_port, real) in (4000..).zip(&servers) {
            for worker in 0..workers {
                let forth = to_lan(real, CLIENT, real).tcp(client_port, port);
                let sent = rig.pass_on(worker, WAN, &request(client_port, ACK).build());
                expect(&sent, &[(LAN, forth.build())]);
            }
        }
        // What has no session anywhere is refused all the same, once.
        for worker in 0..workers {
            let stray = request(9999, ACK).build();
            assert!(rig.pass_on(worker, WAN, &stray).len() <= 1);
        }
        finish(rig);
    }
}

#[test]
fn sessions_outlive_the_rules_and_services_that_began_them() {
    let nat = || reals(REALS, 0, ForwardMethod::Nat);
    let direct = || reals(REALS, 0, ForwardMethod::Direct);
    let ruled = |rules| two_armed(vec![by_rules(1, false, rules, nat())]);
    let network = || vec![to_network("203.0.113.0/24")];
    survives(
        &ruled(network()),
        &ruled(vec![to_ports(&[81..=81])]),
        ROUTED,
        80,
    );
    survives(&ruled(network()), &two_armed(Vec::new()), ROUTED, 80);
    // Another service takes over new sessions: a rule, a single address, a prefix.
    let exact = || on("192.0.2.100/32", 80, nat());
    let prefix = |reals| on("192.0.2.0/24", 0, reals);
    let rule = by_rules(1, false, vec![to_ports(&[80..=80])], direct());
    let narrow = on(
        "192.0.2.100/32",
        80,
        reals(REALS, 80, ForwardMethod::Direct),
    );
    let both = two_armed(vec![rule, exact()]);
    survives(&two_armed(vec![exact()]), &both, VIP, 80);
    let both = two_armed(vec![narrow, prefix(nat())]);
    survives(&two_armed(vec![prefix(nat())]), &both, VIP, 80);
    let both = two_armed(vec![exact(), prefix(direct())]);
    let alone = two_armed(vec![prefix(direct())]);
    survives(&both, &alone, VIP, 80);
}

#[test]
fn a_session_of_ipv6_is_found_by_rules_of_ipv6_only() {
    let rule = || vec![to_ports(&[80..=80])];
    let mut rig = Rig::new(
        1,
        &two_armed(vec![
            by_rules(1, false, rule(), reals(REALS, 0, ForwardMethod::Direct)),
            by_rules(1, true, rule(), reals(REALS6, 0, ForwardMethod::Direct)),
        ]),
    );
    let to = |frame: &PacketBuilder| chosen(&mut rig, &frame.build());
    let (v4, v6) = (
        from_wan(CLIENT, ROUTED).tcp(1, 80).flags(SYN),
        from_wan(CLIENT6, ROUTED6).tcp(1, 80).flags(SYN),
    );
    let found = [v4, v6].each_ref().map(to);
    assert_eq!(
        found,
        [Some(REALS[0].to_owned()), Some(REALS6[0].to_owned())]
    );
    finish(rig);
}
