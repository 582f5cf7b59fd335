//! Real servers that take no new sessions although they are configured: taken out by an operator, or found down.

use std::collections::BTreeMap;

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::listed::Listed as _;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::policy::OnDown;
use plimsoll_dataplane::spec::scheduler::SchedulerKind;
use plimsoll_dataplane::spec::service::{Availability, Remaining, ServiceSpec};
use plimsoll_dataplane::testing::{Rig, Sent};
use plimsoll_dataplane::verdict::DropReason;

use crate::net::*;
use crate::persistence::{persistent, request, taker, web};

const OUT: Availability = Availability::Unavailable(Remaining::Kept);

/// The service with real server `index` as it is then.
fn with(mut service: ServiceSpec, index: usize, availability: Availability) -> ServiceSpec {
    service.reals[index].availability = availability;
    service
}

fn spec_of(service: ServiceSpec) -> Spec {
    two_armed(vec![service])
}

/// TCP 80 and UDP 53 to the first two real servers, the first of which is so.
fn pair(forward: ForwardMethod, availability: Availability) -> Spec {
    let service = |protocol, port| {
        let reals = [REALS[0], REALS[1]].map(|address| real(address, port, forward));
        with(
            service(protocol, VIP, port, reals.to_vec()),
            0,
            availability,
        )
    };
    two_armed(vec![service(Protocol::Tcp, 80), service(Protocol::Udp, 53)])
}

fn segment(rig: &mut Rig, port: u16, flags: u8) -> Vec<Sent> {
    rig.pass(WAN, &request(CLIENT, port, flags))
}

fn datagram(rig: &mut Rig, port: u16) -> Vec<Sent> {
    rig.pass(WAN, &from_wan(CLIENT, VIP).udp(port, 53).build())
}

/// Whom each of `count` new connections went to, from as many addresses; `None` are those that were refused.
fn choices(rig: &mut Rig, first: u16, count: u16) -> BTreeMap<Option<usize>, usize> {
    let mut choices = BTreeMap::new();
    for number in first..first + count {
        let [high, low] = number.to_be_bytes();
        let client = format!("198.51.{high}.{low}");
        let sent = rig.pass(WAN, &request(&client, 4000, SYN));
        let to = sent.first().filter(|(port, _)| *port == LAN);
        let place = to.map(|(_, frame)| usize::from(frame[5]) - 11);
        *choices.entry(place).or_default() += 1;
        end(rig, &client);
    }
    choices
}

/// The client breaks its connection off, so that it neither counts as active nor keeps the next one.
fn end(rig: &mut Rig, client: &str) {
    for flags in [ACK, RST] {
        rig.pass(WAN, &request(client, 4000, flags));
    }
}

/// `count` real servers, 10.1.0.11 and on.
fn many(kind: SchedulerKind, count: u8) -> ServiceSpec {
    let reals = (0..count).map(|number| {
        weighted(
            &format!("10.1.0.{}", 11 + number),
            80,
            ForwardMethod::Direct,
            1 + u32::from(number % 3),
        )
    });
    ServiceSpec {
        scheduler: kind,
        ..service(Protocol::Tcp, VIP, 80, reals.collect())
    }
}

fn known(mut spec: Spec, count: u8) -> Spec {
    for number in 0..count {
        let address = format!("10.1.0.{}", 11 + number);
        spec.network
            .neighbours
            .push((ip(&address), mac_of(&address)));
    }
    spec
}

/// Few are searched, many have a ranking that is kept from session to session.
const COUNTS: [u8; 2] = [3, 12];

#[test]
fn each_scheduler_passes_over_who_is_not_available_and_comes_back_to_him() {
    for kind in SchedulerKind::LIST {
        for count in COUNTS {
            let service = || many(*kind, count);
            let at = |availability: &dyn Fn(usize) -> Availability| {
                let mut service = service();
                for (place, real) in service.reals.iter_mut().enumerate() {
                    real.availability = availability(place);
                }
                known(spec_of(service), count)
            };
            let mut rig = Rig::with_sessions(1, 1 << 14, &at(&|_| Availability::Available));
            let before = choices(&mut rig, 0, 200);
            assert_eq!(before.get(&None), None, "{kind:?}");
            // Whoever had the most, so that schedulers that give all to one are asked too.
            let busiest = before.iter().max_by_key(|(_, count)| **count);
            let busiest = busiest.and_then(|(place, _)| *place).unwrap();

            let out = |place| {
                if place == busiest {
                    OUT
                } else {
                    Availability::Available
                }
            };
            rig.reload(&at(&out));
            let without = choices(&mut rig, 1000, 300);
            assert_eq!(without.get(&Some(busiest)), None, "{kind:?} of {count}");
            assert_eq!(without.get(&None), None, "{kind:?} of {count}: refused");

            rig.reload(&at(&|_| OUT));
            let nobody = choices(&mut rig, 2000, 10);
            assert_eq!(nobody, BTreeMap::from([(None, 10)]), "{kind:?} of {count}");
            assert_eq!(rig.drops(DropReason::NoReal), 10);

            rig.reload(&at(&|_| Availability::Available));
            let again = choices(&mut rig, 3000, 600);
            // By these two a destination stays where it is.
            let stays = ["lblc", "lblcr"].contains(&kind.name());
            assert!(
                stays || again.contains_key(&Some(busiest)),
                "{kind:?} of {count}: {again:?}"
            );
        }
    }
}

#[test]
fn hashed_clients_of_others_stay_where_they_are_and_return_afterwards() {
    let kinds = SchedulerKind::LIST
        .iter()
        .filter(|kind| ["sh", "mh"].contains(&kind.name()));
    for kind in kinds {
        let spec = |availability| {
            let service = with(many(*kind, 12), 4, availability);
            known(spec_of(service), 12)
        };
        let places = |rig: &mut Rig| -> Vec<usize> {
            let clients = (0..200).map(|number| format!("198.51.100.{number}"));
            let mut place = |client: String| {
                let sent = rig.pass(WAN, &request(&client, 4000, SYN));
                end(rig, &client);
                usize::from(sent[0].1[5]) - 11
            };
            clients.map(&mut place).collect()
        };
        let mut rig = Rig::new(1, &spec(Availability::Available));
        let before = places(&mut rig);
        rig.reload(&spec(OUT));
        let meanwhile = places(&mut rig);
        for (before, meanwhile) in before.iter().zip(&meanwhile) {
            assert!(
                *meanwhile != 4 && (*before == 4 || before == meanwhile),
                "{kind:?}: {before} -> {meanwhile}"
            );
        }
        assert!(before.contains(&4));
        rig.reload(&spec(Availability::Available));
        assert_eq!(places(&mut rig), before, "{kind:?}");
    }
}

#[test]
fn a_real_server_that_comes_and_goes_leaves_the_others_their_turns() {
    let spec = |availability| spec_of(with(web(ForwardMethod::Direct), 2, availability));
    let mut rig = Rig::new(1, &spec(Availability::Available));
    assert_eq!(taker(&segment(&mut rig, 4000, SYN)), REALS[0]);
    rig.reload(&spec(OUT));
    assert_eq!(taker(&segment(&mut rig, 4001, SYN)), REALS[1]);
    assert_eq!(taker(&segment(&mut rig, 4002, SYN)), REALS[0]);
    rig.reload(&spec(Availability::Available));
    assert_eq!(taker(&segment(&mut rig, 4003, SYN)), REALS[1]);
    assert_eq!(taker(&segment(&mut rig, 4004, SYN)), REALS[2]);
}

#[test]
fn its_sessions_go_on_where_they_are_kept() {
    for forward in [ForwardMethod::Direct, ForwardMethod::Tunnel] {
        let mut rig = Rig::new(1, &pair(forward, Availability::Available));
        for flags in [SYN, ACK] {
            assert_eq!(taker(&segment(&mut rig, 4000, flags)), REALS[0]);
        }
        assert_eq!(taker(&datagram(&mut rig, 4000)), REALS[0]);
        rig.reload(&pair(forward, OUT));
        for flags in [ACK, SYN, FIN_ACK] {
            assert_eq!(taker(&segment(&mut rig, 4000, flags)), REALS[0]);
        }
        assert_eq!(taker(&datagram(&mut rig, 4000)), REALS[0]);
        assert_eq!(taker(&datagram(&mut rig, 4001)), REALS[1]);
        // A SYN on a closing session begins a new one.
        assert_eq!(taker(&segment(&mut rig, 4000, SYN)), REALS[1]);
        finish(rig);
    }
}

#[test]
fn a_nat_session_goes_on_in_both_directions() {
    let mut rig = Rig::new(1, &pair(ForwardMethod::Nat, Availability::Available));
    let answer = |rig: &mut Rig, flags| {
        let answer = from_lan(REALS[0], CLIENT).tcp(80, 4000).flags(flags);
        let sent = rig.pass(LAN, &answer.build());
        assert_eq!((sent.len(), sent[0].0), (1, WAN));
        addresses(&sent[0].1).source()
    };
    segment(&mut rig, 4000, SYN);
    assert_eq!(answer(&mut rig, SYN_ACK), ip(VIP));
    segment(&mut rig, 4000, ACK);
    rig.reload(&pair(ForwardMethod::Nat, OUT));
    assert_eq!(taker(&segment(&mut rig, 4000, ACK)), REALS[0]);
    assert_eq!(answer(&mut rig, ACK), ip(VIP));
    let totals = rig.totals(ip(REALS[0]));
    assert_eq!((totals.in_packets, totals.out_packets), (3, 2));
    finish(rig);
}

#[test]
fn a_udp_flow_alone_moves_where_that_is_wanted() {
    let moved = Availability::Unavailable(Remaining::KeptButUdp);
    let mut rig = Rig::new(1, &pair(ForwardMethod::Direct, Availability::Available));
    for flags in [SYN, ACK] {
        segment(&mut rig, 4000, flags);
    }
    assert_eq!(taker(&datagram(&mut rig, 4000)), REALS[0]);
    rig.reload(&pair(ForwardMethod::Direct, moved));
    assert_eq!(taker(&segment(&mut rig, 4000, ACK)), REALS[0]);
    for _ in 0..3 {
        assert_eq!(taker(&datagram(&mut rig, 4000)), REALS[1]);
    }
    finish(rig);
}

#[test]
fn the_sessions_of_one_that_is_gone_fare_as_if_it_was_removed() {
    let bereft = |on_down| {
        let mut rig = Rig::new(1, &pair(ForwardMethod::Direct, Availability::Available));
        for flags in [SYN, ACK] {
            segment(&mut rig, 4000, flags);
        }
        datagram(&mut rig, 4000);
        let gone = Availability::Unavailable(Remaining::Gone(on_down));
        rig.reload(&pair(ForwardMethod::Direct, gone));
        rig
    };
    let mut kept = bereft(OnDown::Keep);
    assert_eq!(taker(&segment(&mut kept, 4000, ACK)), REALS[0]);
    assert_eq!(taker(&datagram(&mut kept, 4000)), REALS[1]);
    assert_eq!(taker(&segment(&mut kept, 4000, SYN)), REALS[1]);
    finish(kept);

    let mut reset = bereft(OnDown::Reset);
    reset.wait_ms(1);
    assert_eq!(reset.sessions(), [], "they end even if nobody speaks");
    assert_eq!(segment(&mut reset, 4000, ACK)[0].0, WAN, "a reset");
    finish(reset);

    let mut moved = bereft(OnDown::Reschedule);
    assert_eq!(taker(&segment(&mut moved, 4000, ACK)), REALS[1]);
    finish(moved);

    let mut stuck = bereft(OnDown::Drop);
    assert_eq!(segment(&mut stuck, 4000, ACK), []);
    assert_eq!(stuck.all_drops(), [(DropReason::RealGone, 1)]);
    stuck.reload(&pair(ForwardMethod::Direct, Availability::Available));
    assert_eq!(taker(&segment(&mut stuck, 4000, ACK)), REALS[0]);
    finish(stuck);
}

#[test]
fn what_was_kept_can_be_ended_later() {
    let mut rig = Rig::new(1, &pair(ForwardMethod::Direct, Availability::Available));
    for flags in [SYN, ACK] {
        segment(&mut rig, 4000, flags);
    }
    rig.reload(&pair(ForwardMethod::Direct, OUT));
    rig.wait_ms(1);
    assert_eq!(rig.sessions().len(), 1);
    let gone = Availability::Unavailable(Remaining::Gone(OnDown::Reset));
    rig.reload(&pair(ForwardMethod::Direct, gone));
    rig.wait_ms(1);
    assert_eq!(rig.sessions(), []);
}

#[test]
fn a_persistent_client_leaves_one_that_is_not_available() {
    let spec = |availability| {
        let service = with(web(ForwardMethod::Direct), 0, availability);
        spec_of(persistent(32, service))
    };
    let mut rig = Rig::new(1, &spec(Availability::Available));
    assert_eq!(taker(&segment(&mut rig, 4000, SYN)), REALS[0]);
    assert_eq!(taker(&segment(&mut rig, 4001, SYN)), REALS[0]);
    rig.reload(&spec(OUT));
    let elsewhere = taker(&segment(&mut rig, 4002, SYN));
    assert_ne!(elsewhere, REALS[0]);
    assert_eq!(taker(&segment(&mut rig, 4003, SYN)), elsewhere);
    rig.reload(&spec(Availability::Available));
    assert_eq!(taker(&segment(&mut rig, 4004, SYN)), elsewhere);
    finish(rig);
}

#[test]
fn one_that_comes_back_starts_slowly() {
    let spec = |availability| {
        let service = ServiceSpec {
            slow_start_ms: 60_000,
            ..with(web(ForwardMethod::Direct), 1, availability)
        };
        spec_of(service)
    };
    let mut rig = Rig::with_sessions(1, 1 << 12, &spec(Availability::Available));
    assert_eq!(choices(&mut rig, 0, 300), evenly(100));
    rig.reload(&spec(OUT));
    rig.wait_ms(10);
    rig.reload(&spec(Availability::Available));
    let first = choices(&mut rig, 1000, 300);
    assert!(first.get(&Some(1)).is_none_or(|few| *few < 20), "{first:?}");
    rig.wait_ms(60_000);
    assert_eq!(choices(&mut rig, 2000, 300), evenly(100));
}

fn evenly(each: usize) -> BTreeMap<Option<usize>, usize> {
    (0..3).map(|place| (Some(place), each)).collect()
}
