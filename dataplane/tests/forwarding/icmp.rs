//! ICMP: errors find the session that they are about, echo is answered, the rest is not ours.

use plimsoll_dataplane::testing::{PacketBuilder, Rig};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;

/// Unreachable ports in both families.
const ERRORS: [(&str, &str, [&str; 3], u8, u8); 2] =
    [(CLIENT, VIP, REALS, 3, 3), (CLIENT6, VIP6, REALS6, 1, 4)];
/// A router between the client and us.
fn router(client: &str) -> &'static str {
    if client.contains(':') {
        "2001:db8:d::1"
    } else {
        "203.0.113.5"
    }
}

/// The first `l4` bytes behind the IP header of a datagram, and that header.
fn quote(builder: &PacketBuilder, l4: usize) -> Vec<u8> {
    let datagram = builder.build_datagram();
    let header = if datagram[0] >> 4 == 6 { 40 } else { 20 };
    datagram[..header + l4].to_vec()
}

#[test]
fn under_nat_a_clients_error_names_the_real_server() {
    for (client, vip, reals, kind, code) in ERRORS {
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).udp(4000, 53).build());
        for l4 in [8, 12] {
            let seen = packet(vip, client).ttl(60).udp(53, 4000).payload(b"answer");
            let sent = packet(reals[0], client)
                .ttl(60)
                .udp(8053, 4000)
                .payload(b"answer");
            let mut inside = quote(&sent, l4);
            // The quoted transport checksum is left as it is.
            let at = inside.len() - l4 + 6;
            inside[at..at + 2].copy_from_slice(&quote(&seen, l4)[at..at + 2]);
            for from in [client, router(client)] {
                let error = from_wan(from, vip).icmp_error(kind, code, 0, &quote(&seen, l4));
                let expected = to_lan(reals[0], from, reals[0]).icmp_error(kind, code, 0, &inside);
                expect(&rig.pass(WAN, &error.build()), &[(LAN, expected.build())]);
            }
        }
        finish(rig);
    }
}

#[test]
fn under_nat_an_error_from_behind_comes_from_the_vip() {
    for (client, vip, reals, kind, code) in ERRORS {
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).flags(SYN).build());
        let seen = packet(client, reals[0]).ttl(60).tcp(4000, 8080).flags(SYN);
        let sent = packet(client, vip).ttl(60).tcp(4000, 80).flags(SYN);
        for from in [reals[0], reals[2]] {
            let error = from_lan(from, client).icmp_error(kind, code, 0, &quote(&seen, 8));
            let expected = to_wan(vip, client).icmp_error(kind, code, 0, &quote(&sent, 8));
            expect(&rig.pass(LAN, &error.build()), &[(WAN, expected.build())]);
        }
        let totals = rig.totals(ip(reals[0]));
        assert_eq!((totals.in_packets, totals.out_packets), (1, 2));
        finish(rig);
    }
}

#[test]
fn one_way_methods_pass_a_clients_error_on_as_it_is() {
    for (client, vip, reals, kind, code) in ERRORS {
        let seen = packet(vip, client).udp(53, 4000).payload(b"answer");
        let error = |builder: PacketBuilder| builder.icmp_error(kind, code, 9, &quote(&seen, 8));
        let mut rig = Rig::new(1, &direct());
        rig.pass(WAN, &from_wan(client, vip).udp(4000, 53).build());
        let from = router(client);
        let expected = error(to_lan(reals[0], from, vip)).build();
        let sent = rig.pass(WAN, &error(from_wan(from, vip)).build());
        expect(&sent, &[(LAN, expected)]);
        finish(rig);
        let mut rig = Rig::new(1, &tunnel());
        rig.pass(WAN, &from_wan(client, vip).df().udp(4000, 53).build());
        let (source, number) = if client.contains(':') {
            (LAN_ADDRESS6, 41)
        } else {
            (LAN_ADDRESS, 4)
        };
        let expected = to_lan(reals[0], source, reals[0])
            .df()
            .protocol(number)
            .payload(&error(packet(from, vip).df().ttl(63)).build_datagram());
        let sent = rig.pass(WAN, &error(from_wan(from, vip).df()).build());
        expect(&sent, &[(LAN, expected.build())]);
        finish(rig);
    }
}

#[test]
fn an_error_about_no_session_goes_nowhere() {
    for (client, vip, _, kind, code) in ERRORS {
        for spec in [direct(), nat()] {
            let mut rig = Rig::new(1, &spec);
            let seen = quote(&packet(vip, client).udp(53, 4000), 8);
            let error = from_wan(client, vip).icmp_error(kind, code, 0, &seen);
            assert_eq!(rig.pass(WAN, &error.build()), []);
            assert_eq!(rig.all_drops(), [(DropReason::IcmpNoSession, 1)]);
        }
    }
}

#[test]
fn a_damaged_error_is_not_believed_under_nat() {
    for (client, vip, reals, kind, code) in ERRORS {
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).udp(4000, 53).build());
        let seen = quote(&packet(vip, client).udp(53, 4000), 8);
        let error = from_wan(client, vip)
            .icmp_error(kind, code, 0, &seen)
            .bad_checksum();
        rig.pass(WAN, &error.build());
        let seen = quote(&packet(client, reals[0]).udp(4000, 8053), 8);
        let error = from_lan(reals[0], client)
            .icmp_error(kind, code, 0, &seen)
            .bad_checksum();
        rig.pass(LAN, &error.build());
        assert_eq!(rig.all_drops(), [(DropReason::IcmpInvalid, 2)]);
    }
}

#[test]
fn an_error_is_for_the_sender_of_what_it_quotes() {
    for (client, vip, reals, kind, code) in ERRORS {
        let other = if client.contains(':') {
            "2001:db8:1::55"
        } else {
            "192.0.2.55"
        };
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).udp(4000, 53).build());
        let seen = quote(&packet(vip, client).udp(53, 4000), 8);
        let error = from_wan(client, other).icmp_error(kind, code, 0, &seen);
        assert_eq!(rig.pass(WAN, &error.build()), []);
        let seen = quote(&packet(client, reals[0]).udp(4000, 8053), 8);
        let error = from_lan(reals[0], other).icmp_error(kind, code, 0, &seen);
        assert_eq!(rig.pass(LAN, &error.build()), []);
        assert_eq!(rig.all_drops(), [(DropReason::IcmpInvalid, 2)]);
    }
}

#[test]
fn redirects_are_never_relayed_and_parameter_problems_only_where_lvs_is_not_followed() {
    for (kind, follows_lvs, relayed) in [(5, false, false), (12, false, true), (12, true, false)] {
        for mut spec in [direct(), nat()] {
            for service in &mut spec.services {
                service.policy.relays_parameter_problems = !follows_lvs;
            }
            let mut rig = Rig::new(1, &spec);
            rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
            let seen = quote(&packet(VIP, CLIENT).udp(53, 4000), 8);
            let error = from_wan(CLIENT, VIP).icmp_error(kind, 1, 0x0a01_0101, &seen);
            let sent = rig.pass(WAN, &error.build());
            assert_eq!(sent.len(), usize::from(relayed), "type {kind}");
            let ignored = vec![(DropReason::IcmpIgnored, 1)];
            let drops = if relayed { vec![] } else { ignored };
            assert_eq!(rig.all_drops(), drops);
        }
    }
}

#[test]
fn a_parameter_problem_from_behind_nat_names_the_vip_inside() {
    for (client, vip, reals, kind) in [(CLIENT, VIP, REALS, 12), (CLIENT6, VIP6, REALS6, 4)] {
        let mut rig = Rig::new(1, &nat());
        rig.pass(WAN, &from_wan(client, vip).tcp(4000, 80).flags(SYN).build());
        let seen = packet(client, reals[0]).ttl(60).tcp(4000, 8080).flags(SYN);
        let sent = packet(client, vip).ttl(60).tcp(4000, 80).flags(SYN);
        let pointer = 0x1400_0000;
        let error = from_lan(reals[0], client).icmp_error(kind, 0, pointer, &quote(&seen, 8));
        let expected = to_wan(vip, client).icmp_error(kind, 0, pointer, &quote(&sent, 8));
        expect(&rig.pass(LAN, &error.build()), &[(WAN, expected.build())]);
        finish(rig);
    }
}

#[test]
fn an_error_out_of_hops_is_not_answered() {
    let mut rig = Rig::new(1, &direct());
    rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build());
    let seen = quote(&packet(VIP, CLIENT).udp(53, 4000), 8);
    let error = from_wan(CLIENT, VIP).ttl(1).icmp_error(3, 3, 0, &seen);
    assert_eq!(rig.pass(WAN, &error.build()), []);
    assert_eq!(rig.all_drops(), [(DropReason::TtlExceeded, 1)]);
}

#[test]
fn an_error_moves_neither_timer_nor_state() {
    let mut rig = Rig::new(1, &direct());
    rig.pass(WAN, &from_wan(CLIENT, VIP).tcp(4000, 80).flags(SYN).build());
    let before = rig.sessions();
    rig.wait_ms(10_000);
    let seen = quote(&packet(VIP, CLIENT).tcp(80, 4000), 8);
    rig.pass(
        WAN,
        &from_wan(CLIENT, VIP).icmp_error(3, 3, 0, &seen).build(),
    );
    assert_eq!(rig.sessions(), before);
}

#[test]
fn echo_to_a_vip_or_a_port_is_answered_here() {
    let pairs = [
        (CLIENT, VIP),
        (CLIENT, WAN_ADDRESS),
        (CLIENT, LAN_ADDRESS),
        (CLIENT6, VIP6),
        (CLIENT6, WAN_ADDRESS6),
    ];
    for (client, address) in pairs {
        let mut rig = Rig::new(1, &nat());
        let request = from_wan(client, address)
            .ttl(1)
            .df()
            .id(77)
            .echo_request(7, 8)
            .payload(b"are you there");
        let expected = packet(address, client)
            .mac(WAN_MAC, GATEWAY_MAC)
            .id(1)
            .echo_reply(7, 8)
            .payload(b"are you there");
        let sent = rig.pass(WAN, &request.padded().build());
        expect(&sent, &[(WAN, expected.build())]);
        let stats = rig.stats().next().unwrap();
        assert_eq!(stats.replied.value(), 1);
        finish(rig);
    }
}

#[test]
fn a_damaged_echo_one_for_somebody_else_and_one_from_ourselves_are_not_answered() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut rig = Rig::new(1, &nat());
        rig.pass(
            WAN,
            &from_wan(client, vip)
                .echo_request(7, 8)
                .bad_checksum()
                .build(),
        );
        assert_eq!(rig.all_drops(), [(DropReason::IcmpInvalid, 1)]);
        let other = if client.contains(':') {
            "2001:db8:1::77"
        } else {
            "192.0.2.77"
        };
        rig.pass(WAN, &from_wan(client, other).echo_request(7, 8).build());
        assert_eq!(rig.drops(DropReason::NotLocal), 1);
        assert_eq!(
            rig.pass(WAN, &from_wan(vip, vip).echo_request(7, 8).build()),
            []
        );
        assert_eq!(rig.drops(DropReason::MartianSource), 1);
        finish(rig);
    }
}

#[test]
fn other_messages_for_us_are_ignored() {
    let mut rig = Rig::new(1, &nat());
    for kind in [0, 13, 17] {
        assert_eq!(
            rig.pass(WAN, &from_wan(CLIENT, VIP).icmp(kind, 0, 0).build()),
            []
        );
    }
    assert_eq!(rig.all_drops(), [(DropReason::IcmpIgnored, 3)]);
}
