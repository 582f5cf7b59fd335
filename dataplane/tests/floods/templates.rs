//! The same sieges against services with persistence, where each invented client leaves a template beside its session.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::service::Persistence;
use plimsoll_dataplane::testing::Rig;

use crate::attack::Attack;
use crate::net::*;
use crate::siege::besiege;
use crate::world::{CAPACITY, METHODS, World, services};

#[test]
fn persistent_services_serve_everybody_under_every_flood() {
    for method in METHODS {
        for attack in Attack::ALL {
            let mut services = services(method);
            for one in &mut services {
                one.persistence = Some(Persistence {
                    timeout_ms: 360_000,
                    mask: 32,
                });
            }
            let world = World::with(method, false, CAPACITY, &two_armed(services));
            besiege(attack, world);
        }
    }
}

#[test]
fn a_client_stays_at_its_real_server_while_templates_of_invented_ones_come_and_go() {
    let mut web = service(
        Protocol::Tcp,
        VIP,
        80,
        REALS.map(|address| real(address, 80, METHODS[0])).to_vec(),
    );
    web.persistence = Some(Persistence {
        timeout_ms: 360_000,
        mask: 24,
    });
    let mut rig = Rig::with_sessions(1, 256, &two_armed(vec![web]));
    let request =
        |client: &str, port, flags| from_wan(client, VIP).tcp(port, 80).flags(flags).build();
    let mac = |sent: &[plimsoll_dataplane::testing::Sent]| sent[0].1[..6].to_vec();
    let chosen = mac(&rig.pass(WAN, &request(CLIENT, 1000, SYN)));
    for second in 0..60_u16 {
        rig.pass(WAN, &request(CLIENT, 1000, ACK));
        for number in 0..100 {
            let client = format!("23.{second}.{number}.1");
            rig.pass(WAN, &request(&client, 1000, SYN));
            rig.pass(WAN, &request(&client, 1000, ACK));
        }
        // Another neighbour in the client's network; the first connection is what keeps the template.
        let sent = rig.pass(WAN, &request("198.51.100.8", 2000 + second, SYN));
        assert_eq!(mac(&sent), chosen, "after {second} s");
        rig.wait_ms(1000);
    }
    assert!(rig.sessions().len() <= 256);
    finish(rig);
}
