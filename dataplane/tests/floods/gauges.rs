//! Gauges against a scan of the table: after any traffic, resets, reloads and removals they say what is there.
//! Who is served meanwhile is not asked.

use std::num::NonZeroU32;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::session::Flags;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::limits::ServiceLimits;
use plimsoll_dataplane::spec::policy::OnDown;
use plimsoll_dataplane::spec::service::Persistence;
use plimsoll_dataplane::testing::Rig;
use proptest::prelude::*;

use crate::net::*;
use crate::world::PUSH_ACK;

const FLAGS: [u8; 6] = [SYN, ACK, PUSH_ACK, SYN_ACK, FIN_ACK, RST];
/// Of services that have a real server behind NAT, one by direct routing, and one that is this machine.
const PORTS: [u16; 5] = [80, 81, 82, 83, 84];
const REAL_PORT: u16 = 8000;
/// What a reload may leave out, and what it may change.
const VARIANTS: u8 = 32;

fn spec(variant: u8) -> Spec {
    let mut services = Vec::new();
    for (number, port) in PORTS.into_iter().enumerate() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let reals = match number {
                0 | 1 => vec![
                    real(REALS[0], REAL_PORT + port, ForwardMethod::Nat),
                    real(REALS[1], REAL_PORT + port, ForwardMethod::Nat),
                ],
                2 | 3 => vec![real(REALS[2], port, ForwardMethod::Direct)],
                _ => vec![real(WAN_ADDRESS, port, ForwardMethod::Direct)],
            };
            let mut one = service(protocol, VIP, port, reals);
            if number % 2 == 1 {
                one.persistence = Some(Persistence {
                    timeout_ms: 20_000,
                    mask: 32,
                });
            }
            if variant & 1 != 0 {
                one.limits = ServiceLimits {
                    sessions: NonZeroU32::new(2),
                };
            }
            one.policy.on_down = if variant & 2 == 0 {
                OnDown::Reset
            } else {
                OnDown::Keep
            };
            if variant & 4 != 0 {
                one.reals.truncate(1);
            }
            services.push(one);
        }
    }
    if variant & 8 != 0 {
        services.truncate(3);
    }
    if variant & 16 != 0 {
        services.reverse();
    }
    two_armed(services)
}

#[derive(Debug, Clone)]
enum Op {
    /// A client's packet to a service, by number; TCP with these flags.
    Client(u8, u8, u8, bool),
    /// What a NAT real server answers.
    Real(u8, u8, u8, bool),
    Wait(u16),
    Reload(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let packet = || (0..12_u8, 0..5_u8, 0..6_u8, prop::bool::weighted(0.8));
    prop_oneof![
        12 => packet().prop_map(|(client, service, flags, is_tcp)| Op::Client(client, service, flags, is_tcp)),
        6 => packet().prop_map(|(client, service, flags, is_tcp)| Op::Real(client, service, flags, is_tcp)),
        3 => (1..4000_u16).prop_map(Op::Wait),
        1 => (60_000..u16::MAX).prop_map(Op::Wait),
        1 => (0..VARIANTS).prop_map(Op::Reload),
    ]
}

fn run(rig: &mut Rig, op: Op) {
    let address = |client: u8| format!("203.0.113.{}", client + 1);
    match op {
        Op::Client(client, service, flags, is_tcp) => {
            let port = PORTS[usize::from(service)];
            let packet = from_wan(&address(client), VIP);
            let packet = if is_tcp {
                let flags = FLAGS[usize::from(flags)];
                packet.tcp(4000, port).flags(flags)
            } else {
                packet.udp(4000, port)
            };
            rig.pass_on(usize::from(client) % 2, WAN, &packet.build());
        }
        Op::Real(client, service, flags, is_tcp) => {
            let port = REAL_PORT + PORTS[usize::from(service)];
            for real in &REALS[..2] {
                let packet = from_lan(real, &address(client));
                let packet = if is_tcp {
                    let flags = FLAGS[usize::from(flags)];
                    packet.tcp(port, 4000).flags(flags).payload(b"x")
                } else {
                    packet.udp(port, 4000)
                };
                rig.pass_on(usize::from(client) % 2, LAN, &packet.build());
            }
        }
        Op::Wait(ms) => {
            rig.wait_ms(ms.into());
        }
        Op::Reload(variant) => rig.reload(&spec(variant)),
    }
}

/// Of each real server: entries, active, inactive and templates; of each service: entries, and what counts against
/// its limit. First by the gauges, then by the table.
fn compare(rig: &mut Rig) {
    let sessions = rig.sessions();
    let snapshot = rig.snapshot();
    let sum = |of: &dyn Fn(usize) -> Option<u32>| -> u32 {
        (0..snapshot.workers.len()).filter_map(of).sum()
    };
    let is_template = |flags: Flags| flags.contains(Flags::TEMPLATE);
    for real in snapshot.reals.iter() {
        let own = || sessions.iter().filter(|one| one.real == real.id);
        let of = |read: &dyn Fn(&plimsoll_dataplane::stats::RealCounters) -> u32| {
            sum(&|worker| snapshot.workers[worker].reals.get(real.id.0).map(read))
        };
        let gauges = [
            of(&|one| one.entries.value()),
            of(&|one| one.active.value()),
            of(&|one| one.inactive.value()),
            of(&|one| one.persistent.value()),
        ];
        let connections = || own().filter(|one| !is_template(one.flags));
        let active = connections().filter(|one| one.state.is_active()).count();
        let there = [
            own().count(),
            active,
            connections().count() - active,
            own().filter(|one| is_template(one.flags)).count(),
        ];
        assert_eq!(gauges.map(|gauge| gauge as usize), there, "{real:?}");
    }
    for service in snapshot.services.iter() {
        let own = || {
            let is_own = |real| {
                snapshot
                    .real(real)
                    .is_some_and(|it| it.service == service.id)
            };
            sessions.iter().filter(move |one| is_own(one.real))
        };
        let entries = sum(&|worker| {
            let counters = snapshot.workers[worker].services.get(service.id.0)?;
            Some(counters.entries.value())
        });
        assert_eq!(entries as usize, own().count(), "{}", service.name);
        let limited = own().filter(|one| {
            let proven = one.flags.contains(Flags::PROVEN) && !is_template(one.flags);
            proven && one.state.is_unfinished()
        });
        let gauge = snapshot.limited_sessions(service.id);
        assert_eq!(gauge, limited.count() as u64, "{}", service.name);
    }
}

proptest! {
    #[test]
    fn gauges_say_what_is_in_the_table(ops in prop::collection::vec(op(), 1..200)) {
        let mut rig = Rig::with_sessions(2, 24, &spec(0));
        for op in ops {
            run(&mut rig, op);
        }
        compare(&mut rig);
        rig.wait_ms(1_000_000);
        compare(&mut rig);
        prop_assert!(rig.sessions().is_empty());
    }
}

#[test]
fn a_proven_session_that_is_reset_here_is_counted_out() {
    let mut rig = Rig::with_sessions(1, 24, &spec(0));
    let packet = |flags| from_wan(CLIENT, VIP).tcp(4000, 84).flags(flags).build();
    // What has a wrong checksum is not answered by a reset, and moves the session on as it would elsewhere.
    let unsound = |flags| {
        let mut frame = packet(flags);
        frame[14 + 20 + 16] ^= 1;
        frame
    };
    rig.pass(WAN, &unsound(SYN));
    for _ in 0..10 {
        rig.pass(WAN, &unsound(ACK));
        rig.wait_ms(1000);
    }
    assert!(rig.sessions()[0].flags.contains(Flags::PROVEN));
    compare(&mut rig);
    rig.pass(WAN, &packet(ACK));
    assert_eq!(rig.sessions()[0].state_name(), "CLOSE");
    compare(&mut rig);
    finish(rig);
}
