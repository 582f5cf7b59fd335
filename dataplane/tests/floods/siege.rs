//! Each attack against each method: sessions that were there go on, and new clients of all services are served.

use plimsoll_dataplane::spec::forward::ForwardMethod;

use crate::attack::Attack;
use crate::honest::Honest;
use crate::net::finish;
use crate::world::{CAPACITY, DIAMETER, DNS, MAIL, METHODS, WEB, World};

const STEP_MS: u64 = 100;
/// How long a siege lasts.
const STEPS: u32 = 300;
/// Attackers per step: a table's worth in two seconds, where the shortest timeout of what they leave is a minute.
const STRIKES: u32 = CAPACITY / 20;
/// How often a client of each service comes.
const ARRIVALS: u32 = 4;
/// Open connections to each service.
const OPEN: usize = 40;
/// How often each of these talks, in steps.
const TALKS: u32 = 100;

/// So many seconds prove every client.
const PROOF_S: u32 = 12;

/// Connections to all services that have talked for so many seconds.
fn settle(world: &mut World, seconds: u32) -> Vec<Honest> {
    let mut open = Vec::new();
    for service in [WEB, MAIL, DNS, DIAMETER] {
        for _ in 0..OPEN {
            open.push(Honest::open(world, service));
        }
    }
    for _ in 0..seconds {
        world.rig.wait_ms(1000);
        open.iter_mut().for_each(|client| client.talk(world));
    }
    open
}

/// Whoever is served without the attack is served with it.
pub(crate) fn besiege(attack: Attack, mut world: World) {
    let open = settle(&mut world, PROOF_S);
    let talks = Some(TALKS);
    siege(&[attack], world, open, talks);
}

/// The attacks on those who visit meanwhile and on those who have a connection and talk every so many steps.
fn siege(attacks: &[Attack], mut world: World, mut open: Vec<Honest>, talks: Option<u32>) {
    let mut visitors: Vec<Honest> = Vec::new();
    let mut served = 0;
    let strikes = STRIKES / u32::try_from(attacks.len()).unwrap();
    for step in 0..STEPS {
        for attack in attacks {
            let port = match attack {
                Attack::Datagrams => DNS.1,
                Attack::Syn | Attack::SynAck | Attack::Churn => WEB.1,
            };
            for _ in 0..strikes {
                attack.strike(&mut world, port);
            }
        }
        if step % ARRIVALS == 0 {
            for service in [WEB, MAIL, DNS, DIAMETER] {
                visitors.push(Honest::new(&mut world, service));
            }
        }
        visitors
            .iter_mut()
            .for_each(|client| client.step(&mut world));
        let before = visitors.len();
        visitors.retain(|client| !client.is_done());
        served += before - visitors.len();
        for (number, client) in (0..).zip(&mut open) {
            if talks.is_some_and(|talks| (step + number) % talks == 0) {
                client.talk(&mut world);
            }
        }
        world.rig.wait_ms(STEP_MS);
    }
    open.iter_mut().for_each(|client| client.talk(&mut world));
    assert!(served >= 4 * (STEPS / ARRIVALS - 4) as usize, "{served}");
    finish(world.rig);
}

fn besiege_all(method: ForwardMethod, is_v6: bool) {
    for attack in Attack::ALL {
        besiege(attack, World::new(method, is_v6));
    }
}

#[test]
fn direct_routing_serves_everybody_under_every_flood() {
    besiege_all(METHODS[0], false);
}

#[test]
fn nat_serves_everybody_under_every_flood() {
    besiege_all(METHODS[1], false);
}

#[test]
fn tunnels_serve_everybody_under_every_flood() {
    besiege_all(METHODS[2], false);
}

#[test]
fn two_floods_at_two_services_lock_out_nobody_either() {
    for method in METHODS {
        for tcp in [Attack::Syn, Attack::SynAck, Attack::Churn] {
            let mut world = World::new(method, false);
            let open = settle(&mut world, PROOF_S);
            siege(&[tcp, Attack::Datagrams], world, open, Some(TALKS));
        }
    }
}

#[test]
fn ipv6_is_served_as_well() {
    for method in METHODS {
        besiege(Attack::SynAck, World::new(method, true));
        besiege(Attack::Datagrams, World::new(method, true));
    }
}

/// With direct routing and tunnels it takes time to prove a client, and meanwhile it may wait for an answer.
#[test]
fn connections_that_are_not_yet_proven_outlive_every_flood() {
    for method in METHODS {
        for attack in Attack::ALL {
            let mut world = World::new(method, false);
            let open = settle(&mut world, 4);
            siege(&[attack], world, open, Some(40));
        }
    }
}

/// A flood of handshakes evicts the oldest of these too: where one side has finished there is less to lose.
#[test]
fn half_closed_connections_that_are_not_yet_proven_outlive_floods_of_open_ones() {
    for method in METHODS {
        for attack in [Attack::SynAck, Attack::Datagrams] {
            let mut world = World::new(method, false);
            let mut open: Vec<_> = (0..OPEN).map(|_| Honest::open(&mut world, WEB)).collect();
            for _ in 0..4 {
                world.rig.wait_ms(1000);
                open.iter_mut().for_each(|client| client.talk(&mut world));
            }
            open.iter_mut()
                .for_each(|client| client.finish_sending(&mut world));
            siege(&[attack], world, open, Some(20));
        }
    }
}

#[test]
fn proven_connections_that_do_nothing_outlive_every_flood() {
    for method in METHODS {
        for attack in Attack::ALL {
            let mut world = World::new(method, false);
            let open = settle(&mut world, PROOF_S);
            world.rig.wait_ms(61_000);
            siege(&[attack], world, open, None);
        }
    }
}

/// Connections whose clients are real and that do nothing fill all of the table that their services may have.
#[test]
fn a_table_full_of_idle_connections_serves_new_clients() {
    for method in METHODS {
        let mut world = World::new(method, false);
        let mut idle: Vec<Honest> = (0..CAPACITY / 32 * 15)
            .flat_map(|_| [WEB, MAIL])
            .map(|service| Honest::open(&mut world, service))
            .collect();
        for _ in 0..12 {
            world.rig.wait_ms(1000);
            idle.iter_mut().for_each(|client| client.talk(&mut world));
        }
        world.rig.wait_ms(61_000);
        let mut visitors: Vec<Honest> = Vec::new();
        for _ in 0..10 {
            for service in [WEB, MAIL, DNS, DIAMETER].repeat(8) {
                visitors.push(Honest::new(&mut world, service));
            }
            visitors
                .iter_mut()
                .for_each(|client| client.step(&mut world));
            world.rig.wait_ms(STEP_MS);
        }
        finish(world.rig);
    }
}
