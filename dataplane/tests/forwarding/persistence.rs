//! Persistence: a client stays at its real server while its template lives, whatever the workers.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::session::Flags;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::policy::{OnDown, Policy};
use plimsoll_dataplane::spec::service::{Persistence, ServiceSpec};
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::testing::{Rig, Sent};
use plimsoll_dataplane::verdict::{DropReason, EvictionCause};
use plimsoll_dataplane::worker::SessionRecord;

use crate::net::*;

pub(crate) const DIRECT: ForwardMethod = ForwardMethod::Direct;
pub(crate) const NAT: ForwardMethod = ForwardMethod::Nat;

pub(crate) fn persistent(mask: u8, service: ServiceSpec) -> ServiceSpec {
    ServiceSpec {
        persistence: Some(Persistence {
            timeout_ms: 50_000,
            mask,
        }),
        ..service
    }
}

/// TCP 80 to the three real servers.
pub(crate) fn web(forward: ForwardMethod) -> ServiceSpec {
    let port = if forward == NAT { 8080 } else { 80 };
    let reals = REALS.map(|address| real(address, port, forward));
    service(Protocol::Tcp, VIP, 80, reals.to_vec())
}

pub(crate) fn spec(mask: u8, forward: ForwardMethod) -> Spec {
    two_armed(vec![persistent(mask, web(forward))])
}

pub(crate) fn request(client: &str, port: u16, flags: u8) -> Vec<u8> {
    from_wan(client, VIP).tcp(port, 80).flags(flags).build()
}

/// The real server that one frame went to.
#[track_caller]
pub(crate) fn taker(sent: &[Sent]) -> &'static str {
    assert_eq!(sent.len(), 1, "{sent:02x?}");
    let mac = &sent[0].1[..6];
    let real = REALS.into_iter().find(|real| mac_of(real).0[..] == *mac);
    real.unwrap()
}

pub(crate) fn templates(rig: &mut Rig) -> Vec<SessionRecord> {
    let mut templates = rig.sessions();
    templates.retain(|session| session.flags.contains(Flags::TEMPLATE));
    templates
}

/// Active, inactive and persistent of a real server.
pub(crate) fn present(rig: &Rig, real: &str) -> (u64, u64, u64) {
    let totals = rig.totals(ip(real));
    (totals.active, totals.inactive, totals.persistent)
}

#[test]
fn a_client_stays_at_its_real_server() {
    let mut rig = Rig::new(1, &spec(32, DIRECT));
    for (client, expected) in [
        (CLIENT, REALS[0]),
        ("198.51.100.8", REALS[1]),
        ("198.51.100.9", REALS[2]),
    ] {
        for port in 1000..1003 {
            for flags in [SYN, ACK] {
                let sent = rig.pass(WAN, &request(client, port, flags));
                assert_eq!(taker(&sent), expected);
            }
        }
        assert_eq!(present(&rig, expected), (3, 0, 1));
        assert_eq!(rig.totals(ip(expected)).sessions, 3, "templates are none");
    }
    let templates = templates(&mut rig);
    assert_eq!(templates.len(), 3);
    for template in templates {
        assert_eq!((template.client.1, template.virtual_), (0, (ip(VIP), 80)));
        assert_eq!(template.state_name(), "ASSURED");
        assert_eq!(template.deadline, rig.now().plus_ms(50_000));
    }
    finish(rig);
}

#[test]
fn clients_of_one_network_are_one_client() {
    for (family, clients) in [
        (4, ["198.51.100.7", "198.51.100.200", "198.51.101.1"]),
        (
            6,
            ["2001:db8:c::7", "2001:db8:c:0:ffff::1", "2001:db8:c:1::1"],
        ),
    ] {
        let (vip, reals, mask) = if family == 4 {
            (VIP, REALS, 24)
        } else {
            (VIP6, REALS6, 64)
        };
        let reals = reals.map(|address| real(address, 80, DIRECT));
        let web = service(Protocol::Tcp, vip, 80, reals.to_vec());
        let mut rig = Rig::new(1, &two_armed(vec![persistent(mask, web)]));
        let takers = clients.map(|client| {
            let syn = from_wan(client, vip).tcp(1000, 80).flags(SYN).build();
            rig.pass(WAN, &syn)[0].1[..6].to_vec()
        });
        assert_eq!(takers[0], takers[1]);
        assert_ne!(takers[0], takers[2]);
        let mut networks: Vec<_> = templates(&mut rig).iter().map(|one| one.client).collect();
        networks.sort();
        let expected = if family == 4 {
            ["198.51.100.0", "198.51.101.0"]
        } else {
            ["2001:db8:c::", "2001:db8:c:1::"]
        };
        assert_eq!(networks, expected.map(|network| (ip(network), 0)));
    }
}

#[test]
fn a_client_stays_at_a_real_server_that_takes_no_others() {
    let mut service = web(DIRECT);
    let mut rig = Rig::new(1, &two_armed(vec![persistent(32, service.clone())]));
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, SYN))), REALS[0]);
    service.reals[0].weight = 0;
    rig.reload(&two_armed(vec![persistent(32, service.clone())]));
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1001, SYN))), REALS[0]);
    service.reals[0].weight = 1;
    service.reals[0].limits.upper = 2;
    rig.reload(&two_armed(vec![persistent(32, service)]));
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1002, SYN))), REALS[0]);
    for client in ["198.51.100.8", "198.51.100.9", "198.51.100.10"] {
        let sent = rig.pass(WAN, &request(client, 1000, SYN));
        assert_ne!(taker(&sent), REALS[0]);
    }
}

#[test]
fn thresholds_do_not_count_templates() {
    let mut service = web(DIRECT);
    service.reals.truncate(1);
    service.reals[0].limits.upper = 2;
    let mut rig = Rig::new(1, &two_armed(vec![persistent(32, service)]));
    let pass = |rig: &mut Rig, client: &str| {
        let sent = rig.pass(WAN, &request(client, 1000, SYN));
        sent[0].0 == LAN
    };
    assert!(pass(&mut rig, CLIENT));
    assert!(pass(&mut rig, "198.51.100.8"));
    assert!(!pass(&mut rig, "198.51.100.9"));
    assert_eq!(templates(&mut rig).len(), 2, "no choice, no template");
    assert_eq!(rig.all_drops(), [(DropReason::NoReal, 1)]);
}

#[test]
fn the_client_of_a_removed_real_server_gets_another() {
    let mut service = web(DIRECT);
    let mut rig = Rig::new(1, &two_armed(vec![persistent(32, service.clone())]));
    for flags in [SYN, ACK] {
        assert_eq!(
            taker(&rig.pass(WAN, &request(CLIENT, 1000, flags))),
            REALS[0]
        );
    }
    let removed = service.reals.remove(0);
    rig.reload(&two_armed(vec![persistent(32, service.clone())]));
    // The old session goes on; a new one of the client goes elsewhere, and those after it too.
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, ACK))), REALS[0]);
    let second = taker(&rig.pass(WAN, &request(CLIENT, 1001, SYN)));
    assert_ne!(second, REALS[0]);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1002, SYN))), second);
    let mut listed: Vec<_> = templates(&mut rig)
        .iter()
        .map(|template| (template.virtual_.1, template.state_name()))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, [(80, "NONE"), (65535, "ASSURED")]);
    // It comes back to the client's old session, but the client has another real server now.
    service.reals.insert(0, removed);
    rig.reload(&two_armed(vec![persistent(32, service)]));
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1003, SYN))), second);
    assert_eq!(present(&rig, REALS[0]), (1, 0, 1));
    rig.wait_ms(1_200_000);
    assert_eq!(rig.sessions(), []);
    assert_eq!(present(&rig, REALS[0]), (0, 0, 0));
    finish(rig);
}

#[test]
fn a_client_leaves_a_drained_real_server_if_templates_do() {
    let policy = Policy {
        templates_leave_drained: true,
        ..Policy::default()
    };
    let mut service = ServiceSpec {
        policy,
        ..persistent(32, web(DIRECT))
    };
    let mut rig = Rig::new(1, &two_armed(vec![service.clone()]));
    for flags in [SYN, ACK] {
        assert_eq!(
            taker(&rig.pass(WAN, &request(CLIENT, 1000, flags))),
            REALS[0]
        );
    }
    service.reals[0].weight = 0;
    rig.reload(&two_armed(vec![service]));
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, ACK))), REALS[0]);
    let second = taker(&rig.pass(WAN, &request(CLIENT, 1001, SYN)));
    assert_ne!(second, REALS[0]);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1002, SYN))), second);
    let mut ports: Vec<u16> = templates(&mut rig)
        .iter()
        .map(|one| one.virtual_.1)
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [80, 65535]);
    assert_eq!(present(&rig, REALS[0]), (1, 0, 1));
}

#[test]
fn a_port_that_is_used_again_keeps_its_session_only_where_lvs_does() {
    for (policy, sessions) in [(Policy::default(), 2), (Policy::lvs(), 1)] {
        let service = ServiceSpec {
            policy,
            ..persistent(32, web(NAT))
        };
        let mut rig = Rig::new(1, &two_armed(vec![service]));
        for flags in [SYN, ACK, RST, SYN] {
            assert_eq!(
                taker(&rig.pass(WAN, &request(CLIENT, 1000, flags))),
                REALS[0]
            );
        }
        assert_eq!(rig.totals(ip(REALS[0])).sessions, sessions);
        assert_eq!(rig.sessions().len(), 2);
    }
}

#[test]
fn what_is_flushed_takes_no_template_from_under_a_session() {
    let policy = Policy {
        on_down: OnDown::Reset,
        ..Policy::default()
    };
    let mut service = ServiceSpec {
        policy,
        ..persistent(24, web(DIRECT))
    };
    let mut rig = Rig::new(1, &two_armed(vec![service.clone()]));
    for port in 1000..1040 {
        rig.pass(WAN, &request(CLIENT, port, SYN));
    }
    service.reals.remove(0);
    rig.reload(&two_armed(vec![service]));
    rig.wait_ms(1_000);
    assert!(rig.sessions().len() <= 1);
    rig.wait_ms(50_000);
    assert_eq!(rig.sessions(), []);
    finish(rig);
}

#[test]
fn a_real_server_that_comes_back_in_time_has_its_clients() {
    let mut service = web(DIRECT);
    let before = two_armed(vec![persistent(32, service.clone())]);
    let mut rig = Rig::new(1, &before);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, SYN))), REALS[0]);
    service.reals.remove(0);
    rig.reload(&two_armed(vec![persistent(32, service)]));
    rig.reload(&before);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1001, SYN))), REALS[0]);
    // So does a whole service.
    rig.reload(&two_armed(vec![]));
    rig.reload(&before);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1002, SYN))), REALS[0]);
}

#[test]
fn a_client_is_forgotten_after_the_timeout() {
    let mut rig = Rig::new(1, &spec(32, DIRECT));
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, SYN))), REALS[0]);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, RST))), REALS[0]);
    rig.wait_ms(49_000);
    // Each new session makes it begin again; other packets do not.
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1001, SYN))), REALS[0]);
    rig.wait_ms(1_000);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1001, ACK))), REALS[0]);
    rig.wait_ms(901_000);
    // The session outlived the timeout of 99 s, and the template the session: to 99 s + 15 minutes.
    assert_eq!(rig.sessions().len(), 1);
    rig.wait_ms(47_000);
    assert_eq!(rig.sessions().len(), 1);
    rig.wait_ms(2_000);
    assert_eq!(rig.sessions(), []);
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1002, SYN))), REALS[1]);
    finish(rig);
}

#[test]
fn udp_assures_its_template_once_the_real_server_answers() {
    let reals = REALS.map(|address| real(address, 5353, NAT));
    let dns = service(Protocol::Udp, VIP, 53, reals.to_vec());
    let mut rig = Rig::new(1, &two_armed(vec![persistent(32, dns)]));
    for _ in 0..2 {
        let ask = from_wan(CLIENT, VIP).udp(1000, 53).build();
        assert_eq!(taker(&rig.pass(WAN, &ask)), REALS[0]);
        assert_eq!(templates(&mut rig)[0].state_name(), "NONE");
    }
    let answer = from_lan(REALS[0], CLIENT).udp(5353, 1000).build();
    assert_eq!(rig.pass(LAN, &answer).len(), 1);
    assert_eq!(templates(&mut rig)[0].state_name(), "ASSURED");
}

#[test]
fn a_new_timeout_is_for_new_templates() {
    let mut rig = Rig::new(1, &spec(32, DIRECT));
    rig.pass(WAN, &request(CLIENT, 1000, SYN));
    let mut service = persistent(32, web(DIRECT));
    if let Some(persistence) = &mut service.persistence {
        persistence.timeout_ms = 90_000;
    }
    rig.reload(&two_armed(vec![service]));
    rig.pass(WAN, &request(CLIENT, 1001, SYN));
    rig.pass(WAN, &request("198.51.100.8", 1000, SYN));
    let mut left: Vec<u64> = templates(&mut rig)
        .iter()
        .map(|template| template.deadline.ms_since(rig.now()))
        .collect();
    left.sort_unstable();
    assert_eq!(left, [50_000, 90_000]);
}

#[test]
fn one_template_is_for_all_that_a_services_rules_match() {
    use plimsoll_dataplane::spec::target::{Mark, Rule, Target};
    let any_port = REALS.map(|address| real(address, 0, DIRECT));
    let rules = vec![Rule {
        ports: vec![80..=80, 443..=443, 53..=53],
        ..Rule::default()
    }];
    let target = Target::Match {
        mark: Mark {
            number: 5,
            is_v6: false,
        },
        rules: rules.into(),
    };
    let marked = ServiceSpec {
        target,
        ..service(Protocol::Tcp, VIP, 0, any_port.to_vec())
    };
    for workers in [1, 3] {
        let mut rig = Rig::new(workers, &two_armed(vec![persistent(32, marked.clone())]));
        let mut real = None;
        for (number, vip) in ["203.0.113.1", "203.0.113.2"].into_iter().enumerate() {
            for port in [80, 443] {
                let syn = from_wan(CLIENT, vip).tcp(1000, port).flags(SYN).build();
                let sent = rig.pass_on(number % workers, WAN, &syn);
                let real = *real.get_or_insert(taker(&sent));
                assert_eq!(taker(&sent), real);
            }
            let ask = from_wan(CLIENT, vip).udp(1000, 53).build();
            assert_eq!(Some(taker(&rig.pass(WAN, &ask))), real);
        }
        let templates = templates(&mut rig);
        assert_eq!(templates.len(), 1);
        assert_eq!(templates[0].virtual_, (ip("0.0.0.5"), 0));
        assert!(templates[0].flags.contains(Flags::ANY_PROTOCOL));
        assert_eq!(rig.sessions().len(), 7);
    }
}

#[test]
fn one_template_is_for_all_ports_of_an_address() {
    for forward in [DIRECT, NAT] {
        let any_port = REALS.map(|address| real(address, 0, forward));
        let all = service(Protocol::Tcp, VIP, 0, any_port.to_vec());
        let mut rig = Rig::new(2, &two_armed(vec![persistent(32, all)]));
        let mut takers = Vec::new();
        for port in 80..90_u16 {
            let syn = from_wan(CLIENT, VIP).tcp(1000, port).flags(SYN).build();
            let real = taker(&rig.pass_on(usize::from(port % 2), WAN, &syn));
            takers.push(real);
            if forward == NAT {
                let answer = from_lan(real, CLIENT).tcp(port, 1000).flags(SYN_ACK);
                let back = to_wan(VIP, CLIENT).tcp(port, 1000).flags(SYN_ACK).build();
                expect(&rig.pass_on(1, LAN, &answer.build()), &[(WAN, back)]);
            }
        }
        takers.dedup();
        assert_eq!(takers.len(), 1);
        let templates = templates(&mut rig);
        assert_eq!(templates.len(), 1);
        assert_eq!(templates[0].virtual_, (ip(VIP), 0));
    }
}

#[test]
fn a_flood_does_not_push_proven_clients_out() {
    let mut rig = Rig::with_sessions(1, 64, &spec(32, DIRECT));
    for flags in [&[SYN][..], &[ACK; 10]].concat() {
        assert_eq!(
            taker(&rig.pass(WAN, &request(CLIENT, 1000, flags))),
            REALS[0]
        );
        rig.wait_ms(1000);
    }
    for number in 0..2000_u16 {
        let client = format!("203.0.{}.{}", number / 250, 1 + number % 250);
        let sent = rig.pass(WAN, &request(&client, 1000, SYN));
        assert!(sent.len() <= 1);
    }
    assert!(rig.sessions().len() <= 64);
    let evicted = |stats: &WorkerStats| {
        EvictionCause::ALL
            .map(|cause| stats.evicted(cause))
            .iter()
            .sum::<u64>()
    };
    let evicted: u64 = rig.stats().map(evicted).sum();
    assert!(evicted > 1000, "{evicted}");
    assert_eq!(taker(&rig.pass(WAN, &request(CLIENT, 1000, ACK))), REALS[0]);
    // A new session of the client finds the template, even if no place for itself.
    rig.pass(WAN, &request(CLIENT, 1001, SYN));
    let client = templates(&mut rig)
        .into_iter()
        .find(|one| one.client.0 == ip(CLIENT));
    assert_eq!(client.map(|one| one.state_name()), Some("ASSURED"));
    let numbers = REALS.map(|real| present(&rig, real));
    let sum = |of: fn(&(u64, u64, u64)) -> u64| numbers.iter().map(of).sum::<u64>();
    let listed = rig.sessions().len() as u64;
    assert_eq!(
        sum(|one| one.0) + sum(|one| one.1) + sum(|one| one.2),
        listed
    );
}

#[test]
fn a_persistent_ftp_service_has_its_clients_data_connections() {
    let ftp = |forward| {
        let reals = REALS.map(|address| real(address, 21, forward));
        service(Protocol::Tcp, VIP, 21, reals.to_vec())
    };
    let syn = |port| from_wan(CLIENT, VIP).tcp(4000, port).flags(SYN).build();
    let mut rig = Rig::new(
        1,
        &two_armed(vec![persistent(32, ftp(DIRECT)), web(DIRECT)]),
    );
    let control = taker(&rig.pass(WAN, &syn(21)));
    for port in [20, 1024, 40_000] {
        assert_eq!(taker(&rig.pass(WAN, &syn(port))), control);
    }
    assert_eq!(templates(&mut rig).len(), 1, "for all ports");
    assert_eq!(
        taker(&rig.pass(WAN, &syn(80))),
        REALS[0],
        "another service's"
    );
    rig.pass(WAN, &syn(1023));
    assert_eq!(rig.all_drops(), [(DropReason::NoService, 1)]);
    let mut rig_without = Rig::new(
        1,
        &two_armed(vec![persistent(
            32,
            service(Protocol::Tcp, VIP, 21, vec![]),
        )]),
    );
    let answer = rig_without.pass(WAN, &syn(40_000));
    assert_eq!(
        answer[0].1[23], 6,
        "a reset, where port 21 has an ICMP error"
    );
    assert_eq!(rig_without.pass(WAN, &syn(21))[0].1[23], 1);
    for other in [ftp(DIRECT), persistent(32, ftp(NAT))] {
        let mut rig = Rig::new(1, &two_armed(vec![other]));
        rig.pass(WAN, &syn(21));
        rig.pass(WAN, &syn(40_000));
        assert_eq!(rig.all_drops(), [(DropReason::NoService, 1)]);
        finish(rig);
    }
    finish(rig);
}
