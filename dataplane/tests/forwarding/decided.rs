//! Where one could do otherwise: what docs/DEVIATIONS.md says was decided, shown.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::session::{State, TcpState};
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::network::RouteSpec;
use plimsoll_dataplane::testing::{Rig, neighbour_frame};
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::wire::{Mac, ndp};

use crate::net::*;

#[test]
fn over_ipv4_nat_gives_a_datagram_without_a_checksum_one() {
    let mut rig = Rig::new(1, &nat());
    let ask = from_wan(CLIENT, VIP).udp(4000, 53).payload(b"ask");
    let expected = to_lan(REALS[0], CLIENT, REALS[0])
        .udp(4000, 8053)
        .payload(b"ask");
    let sent = rig.pass(WAN, &ask.no_udp_checksum().build());
    expect(&sent, &[(LAN, expected.build())]);
    let answer = from_lan(REALS[0], CLIENT)
        .udp(8053, 4000)
        .payload(b"answer");
    let expected = to_wan(VIP, CLIENT).udp(53, 4000).payload(b"answer");
    let sent = rig.pass(LAN, &answer.no_udp_checksum().build());
    expect(&sent, &[(WAN, expected.build())]);
    finish(rig);
}

#[test]
fn a_syn_with_fin_begins_a_half_open_session() {
    for spec in [direct(), nat(), tunnel()] {
        let mut rig = Rig::new(1, &spec);
        let syn_fin = from_wan(CLIENT, VIP)
            .tcp(4000, 80)
            .flags(SYN | FIN_ACK & !ACK);
        assert_eq!(rig.pass(WAN, &syn_fin.build()).len(), 1);
        let sessions = rig.sessions();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].state, State::Tcp(TcpState::SynRecv));
        finish(rig);
    }
}

#[test]
fn a_link_local_client_is_served_by_ipv4_alone() {
    for method in ForwardMethod::ALL {
        let mut rig = Rig::new(1, &two_armed(usual(method, REALS, REALS6)));
        let ask = from_wan("169.254.1.1", VIP).udp(4000, 53);
        assert_eq!(rig.pass(WAN, &ask.build()).len(), 1);
        for ask in [
            from_wan("fe80::7", VIP6).udp(4000, 53),
            from_wan("fe80::7", VIP6).tcp(4000, 80).flags(SYN),
        ] {
            assert_eq!(rig.pass(WAN, &ask.build()), []);
        }
        assert_eq!(rig.all_drops(), [(DropReason::MartianSource, 2)]);
        assert_eq!(rig.sessions().len(), 1);
        finish(rig);
    }
    // Nor is it routed off its link.
    let mut rig = Rig::new(1, &nat());
    let ask = from_wan("fe80::7", REALS6[0]).udp(1, 2);
    assert_eq!(rig.pass(WAN, &ask.build()), []);
    assert_eq!(rig.all_drops(), [(DropReason::MartianSource, 1)]);
    finish(rig);
}

#[test]
fn a_reply_is_one_whichever_port_it_comes_by() {
    for (client, vip, real) in [(CLIENT, VIP, REALS[0]), (CLIENT6, VIP6, REALS6[0])] {
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).udp(4000, 53).build());
        let answer = from_wan(real, client).udp(8053, 4000).build();
        let expected = to_wan(vip, client).udp(53, 4000).build();
        expect(&rig.pass(WAN, &answer), &[(WAN, expected)]);
        finish(rig);
    }
}

#[test]
fn a_real_server_may_be_a_client() {
    let mut rig = Rig::new(1, &nat());
    let ask = from_lan(REALS[0], VIP).udp(4000, 53).build();
    assert_eq!(rig.pass(LAN, &ask).len(), 1);
    assert_eq!(rig.sessions().len(), 1);
    assert_eq!(rig.sessions()[0].protocol, Protocol::Udp);
    finish(rig);
}

#[test]
fn a_link_local_gateway_is_asked_for_on_its_port_and_used() {
    const ROUTER: &str = "fe80::1";
    let mut spec = nat();
    spec.network.routes = vec![RouteSpec {
        to: "::/0".parse().unwrap(),
        via: ip(ROUTER),
        port: Some(PortId::new(WAN)),
    }];
    let mut rig = Rig::new(1, &spec);
    rig.pass(WAN, &from_wan(CLIENT6, VIP6).udp(4000, 53).build());
    let answer = from_lan(REALS6[0], CLIENT6).udp(8053, 4000).build();
    let asked = rig.pass(LAN, &answer);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0, WAN);
    // The solicited-node group of fe80::1, asked from the port's own address.
    assert_eq!(asked[0].1[..6], [0x33, 0x33, 0xff, 0, 0, 1]);
    assert_eq!(addresses(&asked[0].1).source(), ip(WAN_ADDRESS6));
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().into();
    let told = ndp::reply(GATEWAY_MAC, v6(ROUTER), v6(WAN_ADDRESS6), WAN_MAC);
    let sent = rig.pass(WAN, &neighbour_frame(&told));
    let expected = to_wan(VIP6, CLIENT6).udp(53, 4000).build();
    expect(&sent, &[(WAN, expected)]);
    // It is known on that port and not on the other.
    let mut other = spec.clone();
    other.network.routes[0].port = Some(PortId::new(LAN));
    rig.reload(&other);
    let asked = rig.pass(LAN, &answer);
    assert_eq!((asked.len(), asked[0].0), (1, LAN));
    assert_ne!(Mac(asked[0].1[..6].try_into().unwrap()), GATEWAY_MAC);
    finish(rig);
}

#[test]
fn a_link_local_gateway_with_a_fixed_mac_is_asked_for_on_no_port_but_others() {
    let gateway = ip("fe80::1");
    let route = |to: &str, port| RouteSpec {
        to: to.parse().unwrap(),
        via: gateway,
        port: Some(PortId::new(port)),
    };
    let other_mac = mac_of("10.1.0.77");
    let mut spec = nat();
    spec.network.routes = vec![route("::/0", WAN), route("2001:db8:77::/48", LAN)];
    spec.network.link_neighbours = vec![
        ((PortId::new(WAN), gateway), GATEWAY_MAC),
        ((PortId::new(LAN), gateway), other_mac),
    ];
    let mut rig = Rig::new(1, &spec);
    let answers = |rig: &mut Rig, client: &str| {
        rig.pass(WAN, &from_wan(client, VIP6).udp(4000, 53).build());
        let real = destination_of_session(rig, client);
        let answer = from_lan(&real, client).udp(8053, 4000).build();
        let mut sent = rig.pass(LAN, &answer);
        assert_eq!(sent.len(), 1);
        let (port, frame) = sent.remove(0);
        (port, Mac(frame[..6].try_into().unwrap()))
    };
    // The general path and the fast one.
    for _ in 0..2 {
        assert_eq!(answers(&mut rig, CLIENT6), (WAN, GATEWAY_MAC));
        assert_eq!(answers(&mut rig, "2001:db8:77::7"), (LAN, other_mac));
    }
    spec.network.link_neighbours.truncate(1);
    rig.reload(&spec);
    assert_eq!(answers(&mut rig, CLIENT6), (WAN, GATEWAY_MAC));
    let (port, mac) = answers(&mut rig, "2001:db8:77::7");
    assert_eq!(port, LAN);
    assert_eq!(mac.0[..2], [0x33, 0x33], "it is asked for");
    finish(rig);
}

/// The real server of the client's only session.
fn destination_of_session(rig: &mut Rig, client: &str) -> String {
    let sessions = rig.sessions();
    let session = sessions.iter().find(|one| one.client.0 == ip(client));
    let real = rig.snapshot().real(session.unwrap().real);
    real.unwrap().spec.address.to_string()
}
