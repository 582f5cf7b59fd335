//! What one service may take from the others: its share of a full table, and its own limit.

use std::num::NonZeroU32;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::limits::ServiceLimits;
use plimsoll_dataplane::spec::service::Persistence;
use plimsoll_dataplane::testing::Rig;
use plimsoll_dataplane::verdict::DropReason;

use crate::attack::Attack;
use crate::honest::Honest;
use crate::net::*;
use crate::world::{
    CAPACITY, DIAMETER, DNS, Flow, MAIL, METHODS, PUSH_ACK, Part, WEB, World, services,
};

const NAT: ForwardMethod = ForwardMethod::Nat;

/// Open connections, proven under NAT, until one is refused.
fn fill(world: &mut World, service: (Protocol, u16)) -> u32 {
    for count in 0.. {
        let flow = world.client(service);
        let Some(real) = world.send(&flow, Part::Tcp(SYN)) else {
            return count;
        };
        assert!(world.answer(&flow, real, Part::Tcp(SYN_ACK)));
        assert_eq!(world.send(&flow, Part::Tcp(ACK)), Some(real));
        assert!(world.answer(&flow, real, Part::Tcp(PUSH_ACK)));
    }
    unreachable!()
}

#[test]
fn a_popular_service_leaves_a_sixteenth_of_the_table_to_others() {
    let mut world = World::new(NAT, false);
    assert_eq!(fill(&mut world, WEB), CAPACITY - CAPACITY / 16);
    assert_eq!(world.rig.all_drops(), [(DropReason::SessionTableFull, 1)]);
    for service in [MAIL, DNS, DIAMETER] {
        for _ in 0..16 {
            let mut client = Honest::new(&mut world, service);
            while !client.is_done() {
                client.step(&mut world);
            }
        }
    }
    // Those of the popular one are all there.
    assert_eq!(world.rig.all_drops(), [(DropReason::SessionTableFull, 1)]);
    let established = |world: &mut World| {
        let sessions = world.rig.sessions();
        let web = sessions.iter().filter(|one| one.virtual_.1 == WEB.1);
        web.filter(|one| one.state_name() == "ESTABLISHED").count()
    };
    assert_eq!(established(&mut world), 960);
    finish(world.rig);
}

#[test]
fn two_popular_services_leave_a_sixteenth_of_the_table_to_others() {
    let mut world = World::new(NAT, false);
    for count in 0..CAPACITY / 2 {
        let is_room = count < CAPACITY / 32 * 15;
        for service in [WEB, MAIL] {
            let flow = world.client(service);
            let Some(real) = world.send(&flow, Part::Tcp(SYN)) else {
                assert!(!is_room);
                continue;
            };
            assert!(world.answer(&flow, real, Part::Tcp(SYN_ACK)));
            assert_eq!(world.send(&flow, Part::Tcp(ACK)), Some(real));
            assert!(world.answer(&flow, real, Part::Tcp(PUSH_ACK)));
        }
    }
    let refused = world.rig.all_drops();
    assert_eq!(refused, [(DropReason::SessionTableFull, 64)]);
    for service in [DNS, DIAMETER] {
        for _ in 0..16 {
            let mut client = Honest::new(&mut world, service);
            while !client.is_done() {
                client.step(&mut world);
            }
        }
    }
    assert_eq!(world.rig.all_drops(), refused);
    finish(world.rig);
}

#[test]
fn a_service_alone_has_the_whole_table() {
    let alone = vec![service(
        Protocol::Tcp,
        VIP,
        80,
        vec![real(REALS[0], 8080, NAT)],
    )];
    for capacity in [1, 7, 100] {
        let mut world = World::with(NAT, false, capacity, &two_armed(alone.clone()));
        assert_eq!(fill(&mut world, WEB), capacity);
        finish(world.rig);
    }
}

#[test]
fn small_tables_serve_whoever_comes_last() {
    for method in METHODS {
        for capacity in [1, 2, 3, 20] {
            let mut world = World::with(method, false, capacity, &two_armed(services(method)));
            for _ in 0..100 {
                Attack::SynAck.strike(&mut world, WEB.1);
                Attack::Datagrams.strike(&mut world, DNS.1);
                for service in [WEB, MAIL, DNS, DIAMETER] {
                    let mut client = Honest::new(&mut world, service);
                    while !client.is_done() {
                        client.step(&mut world);
                    }
                }
            }
            finish(world.rig);
        }
    }
}

/// As many unproven sessions of a service; each client sends once more at the end.
#[test]
fn a_flood_takes_nothing_from_the_services_beside_it() {
    for method in METHODS {
        let mut world = World::new(method, false);
        let beside: Vec<Flow> = (0..100).map(|_| world.client(MAIL)).collect();
        for flow in &beside {
            assert!(world.send(flow, Part::Tcp(SYN)).is_some());
            assert!(world.send(flow, Part::Tcp(ACK)).is_some());
        }
        world.rig.wait_ms(5000);
        for _ in 0..10 * CAPACITY {
            Attack::SynAck.strike(&mut world, WEB.1);
        }
        for flow in &beside {
            assert!(world.send(flow, Part::Tcp(PUSH_ACK)).is_some(), "{flow:?}");
        }
        finish(world.rig);
    }
}

fn limited(method: ForwardMethod, sessions: u32) -> plimsoll_dataplane::spec::Spec {
    let mut services = services(method);
    for one in &mut services {
        if one.target.port() == WEB.1 {
            one.limits = ServiceLimits {
                sessions: NonZeroU32::new(sessions),
            };
        }
    }
    two_armed(services)
}

#[test]
fn a_service_at_its_limit_is_refused_for_a_reason_of_its_own() {
    let mut world = World::with(NAT, false, CAPACITY, &limited(NAT, 10));
    assert_eq!(fill(&mut world, WEB), 10);
    assert_eq!(world.rig.all_drops(), [(DropReason::ServiceSessions, 1)]);
    assert_eq!(
        fill(&mut world, MAIL),
        CAPACITY - CAPACITY / 16 - 10,
        "it has none"
    );
    finish(world.rig);
}

#[test]
fn a_limit_may_be_changed_and_lifted() {
    let mut world = World::with(NAT, false, CAPACITY, &limited(NAT, 10));
    assert_eq!(fill(&mut world, WEB), 10);
    world.rig.reload(&limited(NAT, 15));
    assert_eq!(fill(&mut world, WEB), 5);
    world.rig.reload(&limited(NAT, 3));
    assert_eq!(fill(&mut world, WEB), 0, "nobody loses anything");
    world.rig.reload(&two_armed(services(NAT)));
    assert!(fill(&mut world, WEB) > 100);
    finish(world.rig);
}

#[test]
fn finished_connections_do_not_count_against_a_limit() {
    for method in METHODS {
        let mut world = World::with(method, false, CAPACITY, &limited(method, 10));
        for _ in 0..100 {
            let mut client = Honest::new(&mut world, WEB);
            while !client.is_done() {
                client.step(&mut world);
            }
        }
        assert_eq!(world.rig.all_drops(), []);
        finish(world.rig);
    }
}

#[test]
fn a_limit_that_a_flood_reaches_is_given_to_the_next_client() {
    for method in METHODS {
        let mut world = World::with(method, false, 20, &limited(method, 10));
        for _ in 0..100 {
            Attack::SynAck.strike(&mut world, WEB.1);
        }
        let mut client = Honest::new(&mut world, WEB);
        while !client.is_done() {
            client.step(&mut world);
        }
        assert_eq!(world.rig.all_drops(), []);
        finish(world.rig);
    }
}

#[test]
fn a_limit_is_of_all_workers_together() {
    let mut rig = Rig::with_sessions(4, CAPACITY, &limited(METHODS[0], 10));
    let send = |rig: &mut Rig, number: u16, flags| {
        let request = from_wan(CLIENT, VIP).tcp(1000 + number, 80).flags(flags);
        rig.pass_on(usize::from(number % 4), WAN, &request.build())
    };
    // Proven by packets over time, so that they count and are not evicted for others of their service.
    for flags in [&[SYN][..], &[ACK; 10]].concat() {
        for number in 0..10 {
            assert!(matches!(send(&mut rig, number, flags)[..], [(LAN, _)]));
        }
        rig.wait_ms(1000);
    }
    for number in 10..20 {
        assert_eq!(send(&mut rig, number, SYN), []);
    }
    assert_eq!(rig.all_drops(), [(DropReason::ServiceSessions, 10)]);
    for number in 0..10 {
        assert!(matches!(send(&mut rig, number, ACK)[..], [(LAN, _)]));
    }
    finish(rig);
}

#[test]
fn a_limit_holds_although_other_sessions_have_finished() {
    for persistence in [None, Some(360_000)] {
        let mut spec = limited(NAT, 10);
        for one in &mut spec.services {
            one.persistence = persistence.map(|timeout_ms| Persistence {
                timeout_ms,
                mask: 32,
            });
        }
        let mut world = World::with(NAT, false, CAPACITY, &spec);
        for _ in 0..50 {
            Attack::Churn.strike(&mut world, WEB.1);
        }
        assert_eq!(fill(&mut world, WEB), 10);
        assert_eq!(fill(&mut world, WEB), 0);
        assert_eq!(world.rig.all_drops(), [(DropReason::ServiceSessions, 2)]);
        finish(world.rig);
    }
}

#[test]
fn handshakes_that_nobody_completes_do_not_turn_a_limit_against_its_service() {
    for method in METHODS {
        let mut world = World::with(method, false, CAPACITY, &limited(method, 10));
        for _ in 0..CAPACITY / 2 {
            Attack::Syn.strike(&mut world, WEB.1);
        }
        let mut clients: Vec<Honest> = (0..10).map(|_| Honest::open(&mut world, WEB)).collect();
        clients
            .iter_mut()
            .for_each(|client| client.talk(&mut world));
        assert_eq!(world.rig.all_drops(), []);
        finish(world.rig);
    }
}

#[test]
fn at_a_limit_an_idle_session_makes_room_and_an_active_one_does_not() {
    let mut world = World::with(NAT, false, 32, &limited(NAT, 10));
    assert_eq!(fill(&mut world, WEB), 10);
    world.rig.wait_ms(61_000);
    assert_eq!(fill(&mut world, WEB), 10);
    assert_eq!(world.rig.all_drops(), [(DropReason::ServiceSessions, 2)]);
    finish(world.rig);
}

#[test]
fn a_refused_session_leaves_no_template() {
    let mut spec = limited(NAT, 10);
    for one in &mut spec.services {
        one.persistence = Some(Persistence {
            timeout_ms: 360_000,
            mask: 32,
        });
    }
    let mut world = World::with(NAT, false, CAPACITY, &spec);
    assert_eq!(fill(&mut world, WEB), 10);
    for _ in 0..10 {
        assert_eq!(fill(&mut world, WEB), 0);
    }
    assert_eq!(world.rig.sessions().len(), 20);
    finish(world.rig);
}
