//! One socket of a real server and one of a client, and more than one thing between them: sessions with two
//! VIPs, and connections to the real server itself.

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Sent};

use crate::net::*;

const SECOND_VIP: &str = "192.0.2.101";
const SECOND_VIP6: &str = "2001:db8:1::101";

/// A family: the client, two VIPs and a real server.
type Cast = (&'static str, [&'static str; 2], &'static str);

const FAMILIES: [Cast; 2] = [
    (CLIENT, [VIP, SECOND_VIP], REALS[0]),
    (CLIENT6, [VIP6, SECOND_VIP6], REALS6[0]),
];

/// Both VIPs, with the socket of one real server behind them.
fn shared(protocol: Protocol, (_, vips, real_): Cast) -> Spec {
    let service = |vip| {
        service(
            protocol,
            vip,
            80,
            vec![real(real_, 8080, ForwardMethod::Nat)],
        )
    };
    two_armed(vips.map(service).to_vec())
}

fn tcp(builder: PacketBuilder, ports: (u16, u16), flags: u8) -> Vec<u8> {
    builder.tcp(ports.0, ports.1).flags(flags).build()
}

/// Lets the frame arrive at the worker that a NIC might choose for it.
fn arrive(rig: &mut Rig, port: u16, frame: &[u8]) -> Vec<Sent> {
    let workers = rig.stats().count();
    let sum: usize = frame[26..].iter().map(|byte| usize::from(*byte)).sum();
    rig.pass_on(sum % workers, port, frame)
}

/// A connection of the client with a VIP, closed by both sides.
fn connect_and_close(rig: &mut Rig, (client, [vip, _], real): Cast) {
    for (from_client, flags) in [
        (true, SYN),
        (false, SYN_ACK),
        (true, ACK),
        (true, FIN_ACK),
        (false, FIN_ACK),
        (true, ACK),
    ] {
        let sent = if from_client {
            arrive(rig, WAN, &tcp(from_wan(client, vip), (4000, 80), flags))
        } else {
            arrive(rig, LAN, &tcp(from_lan(real, client), (8080, 4000), flags))
        };
        assert_eq!(sent.len(), 1);
    }
}

#[test]
fn who_asks_the_real_server_itself_is_answered_by_it() {
    for workers in [1, 3] {
        for cast in FAMILIES {
            let (client, _, real) = cast;
            let mut rig = Rig::new(workers, &shared(Protocol::Tcp, cast));
            connect_and_close(&mut rig, cast);
            assert_eq!(rig.sessions().len(), 1);
            rig.wait_ms(5_000);
            let ask = tcp(from_wan(client, real), (4000, 8080), SYN);
            let routed = tcp(to_lan(real, client, real), (4000, 8080), SYN);
            expect(&arrive(&mut rig, WAN, &ask), &[(LAN, routed)]);
            assert!(rig.sessions().is_empty(), "the closing session is over");
            let answer = tcp(from_lan(real, client), (8080, 4000), SYN_ACK);
            let routed = tcp(to_wan(real, client), (8080, 4000), SYN_ACK);
            expect(&arrive(&mut rig, LAN, &answer), &[(WAN, routed)]);
            let totals = rig.totals(ip(real));
            assert_eq!((totals.active, totals.inactive), (0, 0));
            finish(rig);
        }
    }
}

#[test]
fn services_that_come_to_share_a_socket_send_no_answer_round_their_owners() {
    const SERVICES: u16 = 20;
    let spec = |is_shared| {
        let services = (0..SERVICES).map(|number| {
            let port = if is_shared { 9000 } else { 8000 + number };
            let reals = vec![real(REALS[0], port, ForwardMethod::Nat)];
            service(Protocol::Tcp, VIP, 80 + number, reals)
        });
        plimsoll_dataplane::testing::on_steered_ports(&two_armed(services.collect()))
    };
    let mut rig = Rig::steered(8, &spec(false));
    let talk = |rig: &mut Rig, number, client, port, flags, most| {
        let ask = tcp(from_wan(CLIENT, VIP), (client, 80 + number), flags);
        let sent = rig.pass_by_nic(WAN, &ask);
        let expected = tcp(to_lan(REALS[0], CLIENT, REALS[0]), (client, port), flags);
        expect(&sent, &[(LAN, expected)]);
        let before = rig.handed_over();
        let answer = tcp(from_lan(REALS[0], CLIENT), (port, client), flags | ACK);
        let expected = tcp(to_wan(VIP, CLIENT), (80 + number, client), flags | ACK);
        expect(&rig.pass_by_nic(LAN, &answer), &[(WAN, expected)]);
        let handed = rig.handed_over() - before;
        assert!(handed <= most, "{handed} hand-overs of an answer");
    };
    for number in 0..SERVICES {
        talk(&mut rig, number, 4000 + number, 8000 + number, SYN, 1);
    }
    rig.reload(&spec(true));
    for number in 0..SERVICES {
        talk(&mut rig, number, 4000 + number, 8000 + number, ACK, 2);
        talk(&mut rig, number, 5000 + number, 9000, SYN, 2);
        talk(&mut rig, number, 5000 + number, 9000, ACK, 2);
    }
    assert_eq!(rig.all_drops(), []);
    finish(rig);
}

#[test]
fn an_open_session_outlives_a_syn_to_the_real_server_itself() {
    for cast in FAMILIES {
        let (client, [vip, _], real) = cast;
        let mut rig = Rig::new(1, &shared(Protocol::Tcp, cast));
        for flags in [SYN, ACK] {
            rig.pass(WAN, &tcp(from_wan(client, vip), (4000, 80), flags));
        }
        // Nor does anything but a SYN end a closing one.
        rig.pass(WAN, &tcp(from_wan(client, real), (4000, 8080), SYN));
        let answer = tcp(from_lan(real, client), (8080, 4000), ACK);
        let translated = tcp(to_wan(vip, client), (80, 4000), ACK);
        expect(&rig.pass(LAN, &answer), &[(WAN, translated)]);
        finish(rig);
        let mut rig = Rig::new(1, &shared(Protocol::Tcp, cast));
        connect_and_close(&mut rig, cast);
        for flags in [ACK, RST, FIN_ACK] {
            rig.pass(WAN, &tcp(from_wan(client, real), (4000, 8080), flags));
        }
        assert_eq!(rig.sessions().len(), 1);
        finish(rig);
    }
}

#[test]
fn when_the_newer_of_two_sessions_ends_the_older_gets_its_replies_again() {
    for (workers, steered) in [
        (1, false),
        (2, false),
        (3, false),
        (4, false),
        (2, true),
        (4, true),
    ] {
        for cast in FAMILIES {
            let spec = shared(Protocol::Udp, cast);
            let mut rig = if steered {
                Rig::steered(workers, &spec)
            } else {
                Rig::new(workers, &spec)
            };
            for port in 4000..4008 {
                one_socket_asks_two_vips(&mut rig, steered, cast, port);
            }
            finish(rig);
        }
    }
}

/// One client's socket, which asks two VIPs.
fn one_socket_asks_two_vips(rig: &mut Rig, steered: bool, cast: Cast, own: u16) {
    let (client, [older, newer], real) = cast;
    let pass = |rig: &mut Rig, port, frame: &[u8]| {
        if steered {
            rig.pass_by_nic(port, frame)
        } else {
            arrive(rig, port, frame)
        }
    };
    let ask = |rig: &mut Rig, vip| {
        let frame = from_wan(client, vip).udp(own, 80).build();
        assert_eq!(pass(rig, WAN, &frame).len(), 1);
    };
    let answers = |rig: &mut Rig| {
        let answer = from_lan(real, client).udp(8080, own).build();
        pass(rig, LAN, &answer)
    };
    let is_answered_as = |rig: &mut Rig, vip| {
        let expected = to_wan(vip, client).udp(80, own).build();
        expect(&answers(rig), &[(WAN, expected)]);
    };
    let is_newer_answered = |rig: &mut Rig, newer| {
        if steered {
            // The sessions may be on two workers, and the one that an answer comes to first has it.
            let sent = answers(rig);
            assert_eq!(sent.len(), 1);
            let vip = addresses(&sent[0].1).source();
            assert!([older, newer].map(ip).contains(&vip), "{vip}");
        } else {
            is_answered_as(rig, newer);
        }
    };
    ask(rig, older);
    is_answered_as(rig, older);
    ask(rig, newer);
    is_newer_answered(rig, newer);
    // The older one goes on asking, the newer one falls silent and ends.
    for _ in 0..4 {
        rig.wait_ms(80_000);
        ask(rig, older);
    }
    assert_eq!(rig.sessions().len(), 1);
    is_answered_as(rig, older);
    // And the other way round.
    ask(rig, newer);
    is_newer_answered(rig, newer);
    for _ in 0..4 {
        rig.wait_ms(80_000);
        ask(rig, newer);
    }
    assert_eq!(rig.sessions().len(), 1);
    is_answered_as(rig, newer);
    // Nothing is left for the next one.
    rig.wait_ms(320_000);
    assert!(rig.sessions().is_empty());
}
