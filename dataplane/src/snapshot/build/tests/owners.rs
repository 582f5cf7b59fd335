//! Who owns a service's sessions, and whose a one-packet service's answers are.

use super::*;

#[test]
fn who_owns_a_services_sessions_sticks_and_replies_follow() {
    let mut builder = builder();
    let persistent = |mask, forward| ServiceSpec {
        persistence: Some(Persistence {
            timeout_ms: 50_000,
            mask,
        }),
        ..service(80, &[real(1, 1, forward)])
    };
    let plain = |forward| service(80, &[real(1, 1, forward)]);
    let mut after = |service: ServiceSpec| {
        let snapshot = builder.build(&spec(&[service]), true);
        let service = service_of(&snapshot, 80).unwrap();
        let socket = snapshot.nat_socket(Protocol::Tcp, ip(1), 80);
        let asked = socket.map(|socket| socket.owner());
        (service.owner, service.may_have_misplaced, asked)
    };
    let network = Owner::Network;
    assert_eq!(after(plain(DIRECT)), (Owner::Receiver, false, None));
    assert_eq!(
        after(persistent(32, DIRECT)),
        (network(32), false, None),
        "sessions stay with their receivers"
    );
    assert_eq!(
        after(persistent(32, NAT)),
        (network(32), false, Some(Some(network(32))))
    );
    assert_eq!(
        after(plain(NAT)),
        (network(32), false, Some(Some(network(32))))
    );
    assert_eq!(
        after(persistent(24, NAT)),
        (network(24), true, Some(None)),
        "what met by address may be anywhere"
    );
    assert_eq!(after(persistent(28, NAT)), (network(24), true, Some(None)));
}

#[test]
fn the_first_one_packet_service_with_a_socket_answers_from_it() {
    let mut builder = builder();
    let one_packet = |port, reals: &[RealSpec]| ServiceSpec {
        target: Target::vip(Protocol::Udp, [192, 0, 2, 100].into(), port),
        one_packet: true,
        ..service(port, reals)
    };
    let answers = |snapshot: &Snapshot, last| {
        let found = snapshot.one_packet_real(Protocol::Udp, ip(last), 80);
        found.map(|(_, _, port)| port)
    };
    let mut other = one_packet(54, &[real(1, 1, NAT), real(3, 1, NAT)]);
    let services = [
        one_packet(53, &[real(1, 1, NAT), real(2, 1, DIRECT)]),
        other.clone(),
    ];
    let first = builder.build(&spec(&services), true);
    assert_eq!(answers(&first, 1), Some(53));
    assert_eq!(answers(&first, 2), None, "it answers clients itself");
    assert_eq!(answers(&first, 3), Some(54));
    let tcp = first.one_packet_real(Protocol::Tcp, ip(1), 80);
    assert!(tcp.is_none());
    let service = first.configured_services().next().unwrap();
    assert_eq!(service.owner, Owner::Receiver);
    other.one_packet = false;
    let second = builder.build(&spec(&[services[1].clone()]), true);
    assert_eq!(answers(&second, 1), Some(54));
    let third = builder.build(&spec(&[other]), true);
    assert_eq!(answers(&third, 1), None);
    let asked = third.nat_socket(Protocol::Udp, ip(1), 80).unwrap().owner();
    assert_eq!(asked, Some(Owner::Socket));
}

#[test]
fn an_answer_tells_its_vip_only_if_there_is_one_for_its_socket() {
    let mut builder = builder();
    let any_port = |real: RealSpec| RealSpec { port: 0, ..real };
    let one_packet = |net: &str, port, real| ServiceSpec {
        name: net.into(),
        target: Target::Vip(crate::spec::target::Vip {
            protocol: Protocol::Udp,
            addresses: net.parse().unwrap(),
            port,
        }),
        one_packet: true,
        ..service(port, &[real])
    };
    let services = [
        one_packet("192.0.2.100/32", 0, any_port(real(1, 1, NAT))),
        one_packet("192.0.2.101/32", 0, real(2, 1, NAT)),
        one_packet("198.51.100.0/24", 53, real(3, 1, NAT)),
    ];
    let snapshot = builder.build(&spec(&services), true);
    let answers = |last, port| {
        let found = snapshot.one_packet_real(Protocol::Udp, ip(last), port);
        found.map(|(_, address, port)| (address.to_string(), port))
    };
    assert_eq!(answers(1, 7), Some(("192.0.2.100".to_owned(), 7)));
    assert_eq!((answers(2, 80), answers(3, 80)), (None, None));
}

#[test]
fn flows_own_their_sessions_until_their_service_shares_a_socket() {
    let mut builder = builder();
    let mut build = |steered, services: &[ServiceSpec]| {
        let mut spec = spec(services);
        spec.devices[0].steered = steered;
        let snapshot = builder.build(&spec, true);
        let services = snapshot.configured_services();
        services
            .map(|service| (service.owner, service.may_have_misplaced))
            .collect::<Vec<_>>()
    };
    let one = service(80, &[real(1, 1, NAT)]);
    let other = |last| service(81, &[real(last, 1, NAT)]);
    let flows = (Owner::Flow, false);
    assert_eq!(build(true, &[one.clone(), other(2)]), [flows, flows]);
    // Whether or not ports still put packets there, their owners are computed.
    assert_eq!(build(false, &[one.clone(), other(2)]), [flows, flows]);
    let parted = (Owner::Socket, true);
    assert_eq!(build(true, &[one.clone(), other(1)]), [flows, parted]);
    assert_eq!(build(true, &[one, other(2)]), [flows, parted]);
}
