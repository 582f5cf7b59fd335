//! Errors made here quote the packet as its sender sent it: every error, both directions, all methods.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::{ForwardMethod, MssClamp};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Sent};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;
use crate::tunnels::complaint;

const FAMILIES: [(&str, &str, [&str; 3]); 2] = [(CLIENT, VIP, REALS), (CLIENT6, VIP6, REALS6)];

/// The datagram that the only frame sent quotes, which is an ICMP error to `to`.
#[track_caller]
fn quoted(sent: &[Sent], to: &str) -> Vec<u8> {
    let [(_, frame)] = sent else {
        panic!("{sent:02x?}")
    };
    assert_eq!(destination(frame), ip(to));
    frame[if to.contains(':') { 62 } else { 42 }..].to_vec()
}

/// What fits into an error.
fn beginning(datagram: &[u8], to: &str) -> Vec<u8> {
    let most = if to.contains(':') { 1232 } else { 548 };
    datagram[..datagram.len().min(most)].to_vec()
}

fn of(method: ForwardMethod) -> Spec {
    let mut spec = two_armed(usual(method, REALS, REALS6));
    for service in &mut spec.services {
        service.mss_clamp = Some(MssClamp::Bytes(500));
    }
    spec
}

/// A SYN with everything that is changed on its way: hops, segment size, addresses and ports.
fn syn(builder: PacketBuilder, ports: (u16, u16), payload: usize) -> PacketBuilder {
    builder
        .df()
        .tcp(ports.0, ports.1)
        .flags(SYN)
        .tcp_options(&[2, 4, 5, 180])
        .payload(&vec![3; payload])
}

#[test]
fn a_request_that_does_not_fit_is_quoted_as_it_came() {
    for method in ForwardMethod::ALL {
        for (client, vip, _) in FAMILIES {
            let mut spec = of(method);
            spec.ports[1].mtu = 1300;
            for as_lvs in [false, true] {
                spec.network.answers_as_lvs = as_lvs;
                let mut rig = Rig::new(1, &spec);
                let request = syn(from_wan(client, vip), (4000, 80), 1400);
                let sent = rig.pass(WAN, &request.build());
                assert_eq!(rig.all_drops(), [(DropReason::MtuExceeded, 1)]);
                let expected = if as_lvs { request.ttl(63) } else { request };
                let expected = beginning(&expected.build_datagram(), client);
                assert_eq!(quoted(&sent, client), expected, "{method:?}");
                finish(rig);
            }
        }
    }
}

#[test]
fn a_reply_that_does_not_fit_is_quoted_as_it_came() {
    for (client, vip, reals) in FAMILIES {
        for as_lvs in [false, true] {
            let mut spec = of(ForwardMethod::Nat);
            spec.ports[0].mtu = 1300;
            spec.network.answers_as_lvs = as_lvs;
            let mut rig = Rig::new(1, &spec);
            rig.pass(WAN, &syn(from_wan(client, vip), (4000, 80), 0).build());
            let reply = syn(from_lan(reals[0], client), (8080, 4000), 1400).flags(SYN_ACK);
            let sent = rig.pass(LAN, &reply.build());
            let expected = beginning(&reply.build_datagram(), reals[0]);
            assert_eq!(quoted(&sent, reals[0]), expected);
            finish(rig);
        }
    }
}

#[test]
fn what_is_routed_and_does_not_fit_is_quoted_as_it_came() {
    for (client, _, reals) in FAMILIES {
        for (from_real, narrow) in [(true, 0), (false, 1)] {
            let mut spec = of(ForwardMethod::Nat);
            spec.ports[narrow].mtu = 1300;
            let mut rig = Rig::new(1, &spec);
            let (port, from, to) = if from_real {
                (LAN, reals[0], client)
            } else {
                (WAN, client, reals[0])
            };
            let builder = if from_real {
                from_lan(from, to)
            } else {
                from_wan(from, to)
            };
            let packet = builder.df().udp(22, 23).payload(&[9; 1400]);
            let sent = rig.pass(port, &packet.build());
            assert_eq!(rig.all_drops(), [(DropReason::MtuExceeded, 1)]);
            let expected = beginning(&packet.build_datagram(), from);
            assert_eq!(quoted(&sent, from), expected);
            finish(rig);
        }
    }
}

#[test]
fn a_reply_of_no_session_is_quoted_as_it_came() {
    for (client, _, reals) in FAMILIES {
        for as_lvs in [false, true] {
            let mut spec = of(ForwardMethod::Nat);
            (spec.network.refuses_replies, spec.network.answers_as_lvs) = (true, as_lvs);
            let mut rig = Rig::new(1, &spec);
            let reply = from_lan(reals[0], client).tcp(8080, 4000).flags(SYN_ACK);
            let sent = rig.pass(LAN, &reply.build());
            let expected = if as_lvs { reply.ttl(63) } else { reply };
            assert_eq!(quoted(&sent, reals[0]), expected.build_datagram());
            finish(rig);
        }
    }
}

#[test]
fn a_request_whose_next_hop_is_silent_is_quoted_with_its_segment_size() {
    for method in ForwardMethod::ALL {
        for (client, vip, real_) in [
            (CLIENT, VIP, "10.1.0.99"),
            (CLIENT6, VIP6, "2001:db8:2::99"),
        ] {
            let mut spec = two_armed(vec![service(
                Protocol::Tcp,
                vip,
                80,
                vec![real(real_, 8080, method)],
            )]);
            spec.services[0].mss_clamp = Some(MssClamp::Bytes(500));
            let mut rig = Rig::new(1, &spec);
            let request = syn(from_wan(client, vip), (4000, 80), 20);
            rig.pass(WAN, &request.build());
            let sent = rig.wait_ms(3_500);
            let errors: Vec<Sent> = sent.into_iter().filter(|(port, _)| *port == WAN).collect();
            assert_eq!(quoted(&errors, client), request.build_datagram());
            finish(rig);
        }
    }
}

#[test]
fn an_error_about_a_syn_in_a_tunnel_quotes_the_segment_size_that_was_sent_on_and_else_what_came() {
    for (family, (client, vip, _)) in FAMILIES.into_iter().enumerate() {
        // A router says that it does not reach the real server.
        let (kind, code) = [(3, 1), (1, 3)][family];
        let mut rig = Rig::new(1, &of(ForwardMethod::Tunnel));
        let request = syn(from_wan(client, vip), (4000, 80), 20);
        let sent = rig.pass(WAN, &request.build());
        let error = complaint(&sent[0].1[14..], (kind, code, 0), 500);
        let sent = rig.pass(LAN, &error.build());
        let clamped = request.tcp_options(&[2, 4, 1, 244]);
        assert_eq!(quoted(&sent, client), clamped.build_datagram());
        finish(rig);
    }
}
