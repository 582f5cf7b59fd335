//! What a service's policy changes: which sessions end when, and what may begin one.

use std::num::NonZeroU32;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::policy::{Defence, OnDown, Policy, Reuse};
use plimsoll_dataplane::testing::{PacketBuilder, Rig, Sent, on_steered_ports};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;
use crate::persistence::persistent;

/// One service of each protocol with the real servers of these numbers, the first of them first.
fn with(policy: Policy, reals: &[(usize, u32)]) -> Spec {
    let service = |protocol, port| {
        let reals = reals
            .iter()
            .map(|(index, weight)| weighted(REALS[*index], port, ForwardMethod::Direct, *weight));
        let mut service = service(protocol, VIP, port, reals.collect());
        service.policy = policy;
        service
    };
    two_armed(vec![service(Protocol::Tcp, 80), service(Protocol::Udp, 53)])
}

fn segment(rig: &mut Rig, port: u16, flags: u8) -> Vec<Sent> {
    let segment = from_wan(CLIENT, VIP).tcp(port, 80).flags(flags);
    rig.pass(WAN, &segment.build())
}

fn datagram(rig: &mut Rig) -> Vec<Sent> {
    rig.pass(WAN, &from_wan(CLIENT, VIP).udp(4000, 53).build())
}

/// Whom the only frame was sent to, by MAC; `None` if it went back to the client's gateway.
fn receiver(sent: &[Sent]) -> Option<usize> {
    assert_eq!(sent.len(), 1);
    let to = &sent[0].1[..6];
    REALS.iter().position(|real| mac_of(real).0 == to)
}

fn down(on_down: OnDown) -> Policy {
    Policy {
        on_down,
        ..Policy::default()
    }
}

/// A rig with a TCP session and a UDP flow to a real server that was then removed.
fn bereft(policy: Policy) -> Rig {
    let mut rig = Rig::new(1, &with(policy, &[(0, 1), (1, 1)]));
    for flags in [SYN, ACK] {
        assert_eq!(receiver(&segment(&mut rig, 4000, flags)), Some(0));
    }
    assert_eq!(receiver(&datagram(&mut rig)), Some(0));
    rig.reload(&with(policy, &[(1, 1)]));
    rig
}

#[test]
fn the_sessions_of_a_removed_real_server_are_kept_reset_moved_or_stuck() {
    let mut kept = bereft(down(OnDown::Keep));
    assert_eq!(receiver(&segment(&mut kept, 4000, ACK)), Some(0));
    assert_eq!(receiver(&datagram(&mut kept)), Some(1));
    finish(kept);

    let mut reset = bereft(down(OnDown::Reset));
    reset.wait_ms(1);
    assert_eq!(reset.sessions(), [], "they end even if nobody speaks");
    let answer = segment(&mut reset, 4000, ACK);
    expect(
        &answer,
        &[(
            WAN,
            to_wan(VIP, CLIENT)
                .ttl(64)
                .id(0)
                .df()
                .tcp(80, 4000)
                .flags(RST)
                .numbers(0, 0)
                .window(0)
                .build(),
        )],
    );
    assert_eq!(reset.all_drops(), [(DropReason::NoSession, 1)]);
    assert_eq!(receiver(&datagram(&mut reset)), Some(1));
    finish(reset);

    let mut moved = bereft(down(OnDown::Reschedule));
    assert_eq!(receiver(&segment(&mut moved, 4000, ACK)), Some(1));
    assert_eq!(receiver(&datagram(&mut moved)), Some(1));
    finish(moved);

    let mut stuck = bereft(down(OnDown::Drop));
    assert_eq!(segment(&mut stuck, 4000, ACK), []);
    assert_eq!(segment(&mut stuck, 4000, SYN), []);
    assert_eq!(datagram(&mut stuck), []);
    assert_eq!(stuck.all_drops(), [(DropReason::RealGone, 3)]);
    stuck.reload(&with(down(OnDown::Drop), &[(0, 1), (1, 1)]));
    assert_eq!(receiver(&segment(&mut stuck, 4000, ACK)), Some(0));
    assert_eq!(receiver(&datagram(&mut stuck)), Some(0));
    stuck.reload(&two_armed(vec![]));
    let answer = segment(&mut stuck, 4000, ACK);
    assert_eq!(
        receiver(&answer),
        None,
        "the host answers when nothing is balanced"
    );
    finish(stuck);
}

#[test]
fn an_edited_policy_reaches_the_sessions_of_real_servers_that_were_removed_before() {
    let mut rig = bereft(down(OnDown::Drop));
    assert_eq!(segment(&mut rig, 4000, ACK), []);
    rig.reload(&with(down(OnDown::Keep), &[(1, 1)]));
    assert_eq!(receiver(&segment(&mut rig, 4000, ACK)), Some(0));
}

#[test]
fn a_syn_begins_closed_sessions_anew_as_far_as_the_policy_goes() {
    for (reuse, closed, closing) in [
        (Reuse::Never, Some(0), Some(0)),
        (Reuse::Closed, Some(1), Some(0)),
        (Reuse::Closing, Some(1), Some(1)),
    ] {
        let policy = Policy {
            reuse,
            ..Policy::default()
        };
        for (end, expected) in [(RST, closed), (FIN_ACK, closing)] {
            let mut rig = Rig::new(1, &with(policy, &[(0, 1), (1, 1)]));
            for flags in [SYN, ACK, end] {
                assert_eq!(receiver(&segment(&mut rig, 4000, flags)), Some(0));
            }
            let answer = segment(&mut rig, 4000, SYN);
            assert_eq!(receiver(&answer), expected, "{reuse:?} after {end:#x}");
            finish(rig);
        }
    }
}

#[test]
fn a_syn_leaves_a_drained_real_server_only_if_it_may() {
    for (leaves_drained, expected) in [(false, 0), (true, 1)] {
        let policy = Policy {
            leaves_drained,
            ..Policy::default()
        };
        let mut rig = Rig::new(1, &with(policy, &[(0, 1), (1, 1)]));
        for flags in [SYN, ACK] {
            segment(&mut rig, 4000, flags);
        }
        rig.reload(&with(policy, &[(0, 0), (1, 1)]));
        assert_eq!(receiver(&segment(&mut rig, 4000, ACK)), Some(0));
        assert_eq!(receiver(&segment(&mut rig, 4000, SYN)), Some(expected));
    }
}

#[test]
fn with_sloppy_tcp_anything_but_a_reset_begins_a_session() {
    let policy = Policy {
        sloppy_tcp: true,
        ..Policy::default()
    };
    let mut rig = Rig::new(1, &with(policy, &[(0, 1), (1, 1)]));
    assert_eq!(receiver(&segment(&mut rig, 4000, ACK)), Some(0));
    assert_eq!(receiver(&segment(&mut rig, 4001, 0)), Some(1));
    assert_eq!(segment(&mut rig, 4002, RST), []);
    assert_eq!(segment(&mut rig, 4002, RST | SYN), []);
    assert_eq!(rig.all_drops(), [(DropReason::NoSession, 2)]);
    finish(rig);
}

#[test]
fn with_sloppy_sctp_anything_but_an_abort_begins_a_session() {
    let sloppy = Policy {
        sloppy_sctp: true,
        ..Policy::default()
    };
    for (policy, begun) in [(Policy::default(), 0), (sloppy, 2)] {
        let reals = vec![real(REALS[0], 3868, ForwardMethod::Direct)];
        let mut service = service(Protocol::Sctp, VIP, 3868, reals);
        service.policy = policy;
        let mut rig = Rig::new(1, &two_armed(vec![service]));
        // DATA, COOKIE ECHO, ABORT.
        for (port, chunk) in [(4000, 0), (4001, 10), (4002, 6)] {
            rig.pass(WAN, &from_wan(CLIENT, VIP).sctp(port, 3868, chunk).build());
        }
        assert_eq!(rig.sessions().len(), begun);
        assert_eq!(rig.drops(DropReason::NoSession), 3 - begun as u64);
        finish(rig);
    }
}

fn secure(secure_tcp: Defence) -> Policy {
    Policy {
        secure_tcp,
        ..Policy::default()
    }
}

#[test]
fn under_defence_a_client_alone_establishes_nothing_with_nat() {
    let run = |secure_tcp| {
        let mut spec = nat();
        for service in &mut spec.services {
            service.policy = secure(secure_tcp);
        }
        let mut rig = Rig::new(1, &spec);
        let mut names = Vec::new();
        for (from_client, flags) in [
            (true, SYN),
            (true, ACK),
            (false, SYN_ACK),
            (true, ACK),
            (false, ACK),
        ] {
            if from_client {
                segment(&mut rig, 4000, flags);
            } else {
                let answer = from_lan(REALS[0], CLIENT).tcp(8080, 4000).flags(flags);
                rig.pass(LAN, &answer.build());
            }
            names.push(rig.sessions()[0].state.name());
        }
        finish(rig);
        names
    };
    let plain = [
        "SYN_RECV",
        "ESTABLISHED",
        "ESTABLISHED",
        "ESTABLISHED",
        "ESTABLISHED",
    ];
    assert_eq!(run(Defence::Off), plain);
    assert_eq!(
        run(Defence::Auto),
        plain,
        "as long as the table is not under pressure"
    );
    let secure = ["SYN_RECV", "SYN_RECV", "SYNACK", "SYNACK", "ESTABLISHED"];
    assert_eq!(run(Defence::Always), secure);
}

#[test]
fn the_defence_goes_up_when_half_open_sessions_take_a_quarter_of_the_table_and_down_again() {
    let mut rig = Rig::with_sessions(1, 64, &with(secure(Defence::Auto), &[(0, 1)]));
    for port in 0..17 {
        segment(&mut rig, 4000 + port, SYN);
    }
    let names = |rig: &mut Rig| {
        let sessions = rig.sessions();
        sessions
            .iter()
            .map(|session| session.state.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&mut rig), ["SYN_RECV"; 17]);
    segment(&mut rig, 5000, SYN);
    assert_eq!(
        names(&mut rig)
            .iter()
            .filter(|name| **name == "SYNACK")
            .count(),
        1
    );
    rig.wait_ms(60_250);
    segment(&mut rig, 5001, SYN);
    let mut left = names(&mut rig);
    left.sort_unstable();
    assert_eq!(left, ["SYNACK", "SYN_RECV"]);
    finish(rig);
}

#[test]
fn new_sessions_are_shed_and_old_ones_are_not() {
    let policy = Policy {
        shed: Defence::Always,
        shed_rate: NonZeroU32::new(3).unwrap(),
        ..Policy::default()
    };
    let mut rig = Rig::new(1, &with(policy, &[(0, 1)]));
    let passed: Vec<u16> = (0..9)
        .filter(|port| !segment(&mut rig, 4000 + port, SYN).is_empty())
        .collect();
    assert_eq!(passed, [1, 2, 4, 5, 7, 8]);
    for _ in 0..9 {
        assert_eq!(receiver(&segment(&mut rig, 4001, ACK)), Some(0));
    }
    assert_eq!(rig.all_drops(), [(DropReason::Shed, 3)]);
    finish(rig);
}

#[test]
fn a_nat_real_server_is_told_that_its_packet_belongs_to_no_session_if_that_is_wanted() {
    for refuses in [false, true] {
        let mut spec = nat();
        spec.network.refuses_replies = refuses;
        let mut rig = Rig::new(1, &spec);
        let from_real = |port: u16, flags| {
            let reply = from_lan(REALS[0], CLIENT).tcp(port, 4000).flags(flags);
            reply.build()
        };
        let stray = rig.pass(LAN, &from_real(8080, SYN_ACK));
        assert_eq!(stray.len(), 1);
        let (port, frame) = &stray[0];
        let to_the_real_server = *port == LAN && frame[..6] == mac_of(REALS[0]).0;
        assert_eq!(to_the_real_server, refuses);
        if refuses {
            assert_eq!(
                addresses(frame),
                addresses(&from_lan(LAN_ADDRESS, REALS[0]).build())
            );
            assert_eq!(frame[34..36], [3, 3], "port unreachable");
            assert_eq!(rig.all_drops(), [(DropReason::NoSession, 1)]);
        }
        for other in [from_real(8080, RST), from_real(9999, SYN_ACK)] {
            let routed = rig.pass(LAN, &other);
            assert_eq!((routed.len(), routed[0].0), (1, WAN));
        }
        finish(rig);
    }
}

#[test]
fn a_flush_ends_no_other_sessions() {
    let policy = down(OnDown::Reset);
    let mut rig = Rig::new(2, &with(policy, &[(0, 1), (1, 1), (2, 1)]));
    for port in 4000..4300 {
        segment(&mut rig, port, SYN);
    }
    let active = |rig: &Rig| [1, 2].map(|real| rig.totals(ip(REALS[real])).active);
    let before = active(&rig);
    rig.reload(&with(policy, &[(1, 1), (2, 1)]));
    rig.wait_ms(1);
    assert_eq!(active(&rig), before);
    assert_eq!(rig.sessions().len() as u64, before.iter().sum::<u64>());
    assert!(rig.sessions().len() < 300);
    finish(rig);
}

#[test]
fn an_error_about_an_unknown_session_begins_it_if_that_is_wanted() {
    for (schedule_icmp, forward) in [
        (false, ForwardMethod::Direct),
        (true, ForwardMethod::Direct),
        (true, ForwardMethod::Nat),
    ] {
        let policy = Policy {
            schedule_icmp,
            ..Policy::default()
        };
        let mut spec = match forward {
            ForwardMethod::Nat => nat(),
            _ => direct(),
        };
        for service in &mut spec.services {
            service.policy = policy;
        }
        let mut rig = Rig::new(1, &spec);
        let reply = packet(VIP, CLIENT)
            .tcp(80, 4000)
            .flags(ACK)
            .build_datagram();
        let error = from_wan("203.0.113.1", VIP).icmp_error(3, 4, 1400, &reply);
        let sent = rig.pass(WAN, &error.build());
        if !schedule_icmp {
            assert_eq!(sent, []);
            assert_eq!(rig.all_drops(), [(DropReason::IcmpNoSession, 1)]);
            continue;
        }
        assert_eq!(receiver(&sent), Some(0));
        let totals = rig.totals(ip(REALS[0]));
        assert_eq!(
            (totals.sessions, totals.in_packets, totals.inactive),
            (1, 1, 1)
        );
        // The client's own packets go on in it.
        assert_eq!(receiver(&segment(&mut rig, 4000, ACK)), Some(0));
        assert_eq!(rig.sessions().len(), 1);
        let other = packet(VIP, CLIENT)
            .tcp(80, 4001)
            .flags(ACK)
            .build_datagram();
        let other = from_wan("203.0.113.1", VIP).icmp_error(3, 4, 1400, &other);
        assert_eq!(receiver(&rig.pass(WAN, &other.build())), Some(1));
        rig.wait_ms(3100);
        assert_eq!(rig.sessions().len(), 1, "nothing followed the second");
        finish(rig);
    }
}

/// The usual NAT services, whose unknown sessions errors begin.
fn scheduling_icmp() -> Spec {
    let mut spec = nat();
    for service in &mut spec.services {
        service.policy.schedule_icmp = true;
    }
    spec
}

fn error_about(port: u16) -> PacketBuilder {
    let reply = packet(VIP, CLIENT)
        .tcp(80, port)
        .flags(ACK)
        .build_datagram();
    from_wan("203.0.113.1", VIP).icmp_error(3, 4, 1400, &reply)
}

#[test]
fn a_session_that_an_error_begins_is_where_its_client_will_look_for_it() {
    let mut rig = Rig::new(3, &scheduling_icmp());
    for (worker, port) in (0..3).cycle().zip(4000..4030) {
        let first = receiver(&rig.pass_on(worker, WAN, &error_about(port).build()));
        let segment = from_wan(CLIENT, VIP).tcp(port, 80).flags(ACK).build();
        let next = (worker + 1) % 3;
        assert_eq!(receiver(&rig.pass_on(next, WAN, &segment)), first);
    }
    assert_eq!(rig.sessions().len(), 30);
    finish(rig);
}

#[test]
fn an_error_that_was_on_all_workers_begins_a_session_where_its_client_will_look_for_it() {
    for workers in [2, 3] {
        let persisting = |mask| {
            let mut spec = scheduling_icmp();
            spec.services = spec
                .services
                .into_iter()
                .map(|service| persistent(mask, service))
                .collect();
            spec
        };
        let mut rig = Rig::steered(workers, &persisting(32));
        // What is owned by another rule now may be where the one before had it.
        rig.reload(&on_steered_ports(&persisting(16)));
        for (worker, client) in (0..workers).cycle().zip(1..=60_u8) {
            let client = format!("198.{client}.100.7");
            let reply = packet(VIP, &client)
                .tcp(80, 4000)
                .flags(ACK)
                .build_datagram();
            let error = from_wan("203.0.113.1", VIP).icmp_error(3, 4, 1400, &reply);
            let sent = rig.pass_on(worker, WAN, &error.build()).len();
            assert_eq!((sent, rig.all_drops()), (1, vec![]), "{client} {worker}");
        }
        finish(rig);
    }
}

#[test]
fn forged_errors_begin_no_session_and_a_flood_of_them_is_limited() {
    let mut rig = Rig::new(1, &scheduling_icmp());
    assert_eq!(rig.pass(WAN, &error_about(4000).bad_checksum().build()), []);
    assert_eq!(rig.pass(WAN, &error_about(4000).ttl(1).build()), []);
    assert_eq!(
        rig.all_drops(),
        [(DropReason::TtlExceeded, 1), (DropReason::IcmpInvalid, 1)]
    );
    for port in 10_000..13_000 {
        rig.pass(WAN, &error_about(port).build());
    }
    assert!(rig.sessions().len() <= 1000);
    assert!(rig.drops(DropReason::IcmpLimited) >= 2000);
    finish(rig);
}

#[test]
fn sessions_end_too_when_their_removed_real_server_comes_under_another_policy() {
    let mut rig = bereft(down(OnDown::Keep));
    rig.wait_ms(1);
    assert_eq!(rig.sessions().len(), 2);
    rig.reload(&with(down(OnDown::Reset), &[(1, 1)]));
    rig.wait_ms(1);
    assert_eq!(rig.sessions(), []);
    finish(rig);
}
