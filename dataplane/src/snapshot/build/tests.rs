//! What a reload keeps, copies, gives back and never loses.

use std::net::IpAddr;

use super::*;
use crate::flow::{Protocol, V4};
use crate::id::DeviceId;
use crate::schedule::{Candidate, Loads, Removal, Scheduler};
use crate::snapshot::chunked::Chunked;
use crate::snapshot::model::{Totals, VirtualService};
use crate::snapshot::owner::Owner;
use crate::spec::forward::{ForwardMethod, TunnelKind};
use crate::spec::limits::Limits;
use crate::spec::network::{DeviceSpec, PortRole, PortSpec};
use crate::spec::scheduler::{HashFlags, Maglev, SchedulerKind};
use crate::spec::service::{Persistence, RealSpec};
use crate::spec::target::Target;
use crate::stats::RealCounters;
use crate::wire::Mac;

const NAT: ForwardMethod = ForwardMethod::Nat;
const DIRECT: ForwardMethod = ForwardMethod::Direct;

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn real(last: u8, weight: u32, forward: ForwardMethod) -> RealSpec {
    RealSpec {
        weight,
        ..RealSpec::new(ip(last), 80, forward)
    }
}

fn service(port: u16, reals: &[RealSpec]) -> ServiceSpec {
    ServiceSpec::new(
        format!("service {port}"),
        Target::vip(Protocol::Tcp, [192, 0, 2, 100].into(), port),
        SchedulerKind::Wrr,
        reals.to_vec(),
    )
}

fn spec(services: &[ServiceSpec]) -> Spec {
    Spec {
        devices: vec![DeviceSpec::new(Mac([2, 0, 0, 0, 0, 1]), PortId::new(0))],
        ports: vec![PortSpec {
            name: "lan".into(),
            device: DeviceId::new(0),
            mtu: 1500,
            addresses: vec!["10.0.0.1/24".parse().unwrap()],
            role: PortRole::Network { kernel: None },
        }],
        services: services.to_vec(),
        ..Spec::default()
    }
}

fn builder() -> Builder {
    Builder::new(2, &RandomState::with_seeds(1, 2, 3, 4))
}

fn service_of(snapshot: &Snapshot, port: u16) -> Option<&VirtualService> {
    let service = snapshot.service_at(Protocol::Tcp, [192, 0, 2, 100].into(), port);
    service.filter(|service| service.configured)
}

/// The slots of the service's real servers in scheduling order.
fn slots(snapshot: &Snapshot, port: u16) -> Vec<u32> {
    let service = service_of(snapshot, port).unwrap();
    service
        .scheduling
        .candidates
        .iter()
        .map(|one| one.real.0)
        .collect()
}

fn counters(snapshot: &Snapshot, worker: usize, slot: u32) -> &RealCounters {
    snapshot.workers[worker].reals.get(slot).unwrap()
}

#[test]
fn every_build_has_the_next_generation() {
    let mut builder = builder();
    assert_eq!(builder.current().generation, 0);
    for generation in 1..4 {
        assert_eq!(builder.build(&spec(&[]), true).generation, generation);
    }
    assert_eq!(builder.current().generation, 3);
}

#[test]
fn slots_follow_the_real_server_and_not_its_place_in_the_list() {
    let mut builder = builder();
    let (a, b, c) = (real(1, 1, DIRECT), real(2, 1, DIRECT), real(3, 1, DIRECT));
    let first = builder.build(&spec(&[service(80, &[a, b])]), true);
    let second = builder.build(&spec(&[service(80, &[c, b, a])]), true);
    let (old, new) = (slots(&first, 80), slots(&second, 80));
    assert_eq!((new[2], new[1]), (old[0], old[1]));
    assert!(!old.contains(&new[0]));
}

#[test]
fn one_address_in_two_services_is_two_real_servers() {
    let mut builder = builder();
    let reals = [real(1, 1, DIRECT)];
    let snapshot = builder.build(&spec(&[service(80, &reals), service(81, &reals)]), true);
    assert_ne!(slots(&snapshot, 80), slots(&snapshot, 81));
    let second = slots(&snapshot, 81)[0];
    let owner = snapshot.real(RealId(second)).unwrap().service;
    assert_eq!(owner, service_of(&snapshot, 81).unwrap().id);
}

#[test]
fn a_removed_real_server_keeps_its_slot_while_it_has_sessions() {
    let mut builder = builder();
    let both = spec(&[service(80, &[real(1, 1, DIRECT), real(2, 1, DIRECT)])]);
    let one = spec(&[service(80, &[real(2, 1, DIRECT)])]);
    let first = builder.build(&both, true);
    let slot = slots(&first, 80)[0];
    counters(&first, 1, slot).enter(false);
    counters(&first, 1, slot).sessions.add(3);
    for _ in 0..3 {
        let snapshot = builder.build(&one, true);
        assert!(!snapshot.real(RealId(slot)).unwrap().configured);
        assert!(!slots(&snapshot, 80).contains(&slot));
        let other = spec(&[service(80, &[real(2, 1, DIRECT), real(7, 1, DIRECT)])]);
        assert!(!slots(&builder.build(&other, true), 80).contains(&slot));
    }
    let again = builder.build(&both, true);
    assert_eq!(slots(&again, 80)[0], slot);
    assert!(again.real(RealId(slot)).unwrap().configured);
    assert_eq!(again.real_totals(RealId(slot)).sessions, 3);
}

#[test]
fn a_quiet_slot_is_used_again_with_counters_from_zero_once_all_workers_have_left_it() {
    let mut builder = builder();
    let first = builder.build(&spec(&[service(80, &[real(1, 1, DIRECT)])]), true);
    let slot = slots(&first, 80)[0];
    counters(&first, 0, slot).in_packets.add(7);
    counters(&first, 1, slot).in_packets.add(5);
    let with = |names: &[u8]| {
        let reals: Vec<_> = names.iter().map(|last| real(*last, 1, DIRECT)).collect();
        spec(&[service(80, &reals)])
    };
    // Removed now; a worker may still begin a session there.
    assert!(!slots(&builder.build(&with(&[2]), true), 80).contains(&slot));
    assert!(!slots(&builder.build(&with(&[2, 3]), false), 80).contains(&slot));
    let reused = builder.build(&with(&[2, 3, 4]), true);
    assert_eq!(slots(&reused, 80)[2], slot);
    let id = RealId(slot);
    assert_eq!(reused.real(id).unwrap().spec.address, ip(4));
    assert_eq!(reused.real_totals(id), Totals::default());
    counters(&reused, 0, slot).in_packets.add(1);
    assert_eq!(reused.real_totals(id).in_packets, 1);
}

#[test]
fn a_services_totals_never_decrease() {
    let mut builder = builder();
    let mut last = Totals::default();
    for round in 0..40_u8 {
        let list = [real(round % 7, 1, DIRECT), real(7 + round % 3, 1, DIRECT)];
        let snapshot = builder.build(&spec(&[service(80, &list)]), round % 4 != 0);
        for slot in slots(&snapshot, 80) {
            counters(&snapshot, usize::from(round) % 2, slot)
                .in_packets
                .add(1);
            counters(&snapshot, 0, slot).sessions.add(1);
        }
        let totals = snapshot.service_totals(service_of(&snapshot, 80).unwrap());
        assert_eq!(totals.in_packets, last.in_packets + 2, "round {round}");
        assert_eq!(totals.sessions, last.sessions + 2);
        last = totals;
    }
    assert!(builder.current().reals.len() < 12, "slots are used again");
}

#[test]
fn a_removed_service_keeps_its_slot_while_its_real_servers_have_sessions() {
    let mut builder = builder();
    let first = builder.build(&spec(&[service(80, &[real(1, 1, DIRECT)])]), true);
    let (id, slot) = (service_of(&first, 80).unwrap().id, slots(&first, 80)[0]);
    counters(&first, 0, slot).enter(true);
    counters(&first, 0, slot).sessions.add(1);
    for _ in 0..2 {
        let without = builder.build(&spec(&[service(81, &[])]), true);
        assert!(service_of(&without, 80).is_none());
        assert_ne!(service_of(&without, 81).unwrap().id, id);
    }
    let again = builder.build(&spec(&[service(80, &[real(1, 1, DIRECT)])]), true);
    let service = service_of(&again, 80).unwrap();
    assert_eq!((service.id, slots(&again, 80)), (id, vec![slot]));
    assert_eq!(again.service_totals(service).sessions, 1);
    assert!(again.is_vip([192, 0, 2, 100].into()));
}

#[test]
fn a_quiet_services_slot_is_used_again_for_another_one() {
    let mut builder = builder();
    let with = |port| spec(&[service(port, &[real(1, 1, NAT)])]);
    let first = builder.build(&with(80), true);
    let (id, first_revision) = (
        service_of(&first, 80).unwrap().id,
        service_of(&first, 80).unwrap().scheduling.first_revision,
    );
    let slot = slots(&first, 80)[0];
    counters(&first, 0, slot).sessions.add(9);
    builder.build(&spec(&[]), true);
    let third = builder.build(&with(81), true);
    let service = service_of(&third, 81).unwrap();
    assert_eq!((service.id, slots(&third, 81)), (id, vec![slot]));
    assert!(
        service.scheduling.first_revision > first_revision
            && service.scheduling.revision >= service.scheduling.first_revision
    );
    assert_eq!(third.service_totals(service), Totals::default());
    assert!(service_of(&third, 80).is_none());
    assert_eq!(third.configured_services().count(), 1);
}

#[test]
fn vips_are_known_while_a_service_is_on_them() {
    let mut builder = builder();
    let vip = [192, 0, 2, 100].into();
    let two = builder.build(&spec(&[service(80, &[]), service(81, &[])]), true);
    let one = builder.build(&spec(&[service(81, &[])]), true);
    let none = builder.build(&spec(&[]), true);
    assert!(two.is_vip(vip) && one.is_vip(vip) && !none.is_vip(vip));
    assert!(none.is_ours(ip(1)) && !none.is_ours(ip(2)));
}

#[test]
fn only_what_scheduling_sees_changes_the_revision() {
    let mut builder = builder();
    let list = [real(1, 2, DIRECT), real(2, 1, DIRECT)];
    let mut other = service(81, &list);
    let revision =
        |snapshot: &Snapshot, port| service_of(snapshot, port).unwrap().scheduling.revision;
    let first = builder.build(&spec(&[service(80, &list), other.clone()]), true);
    let old = revision(&first, 81);
    // A change of another service, of the network, of the name and of the method.
    let resting = [real(1, 0, DIRECT), real(2, 1, DIRECT)];
    let second = builder.build(&spec(&[service(80, &resting), other.clone()]), true);
    assert_ne!(revision(&second, 80), revision(&first, 80));
    other.name = "renamed".into();
    other.reals[0].forward = NAT;
    let mut third = spec(&[other.clone()]);
    third.ports[0].mtu = 9000;
    let third = builder.build(&third, true);
    assert_eq!(revision(&third, 81), old);
    assert_eq!(&*service_of(&third, 81).unwrap().name, "renamed");
    assert!(service_of(&third, 81).unwrap().owner == Owner::Socket);
    other.scheduler = SchedulerKind::Rr;
    let fourth = builder.build(&spec(&[other.clone()]), true);
    assert_ne!(revision(&fourth, 81), old);
    other.reals.swap(0, 1);
    let fifth = builder.build(&spec(&[other]), true);
    assert_ne!(revision(&fifth, 81), revision(&fourth, 81));
}

/// How many chunks two arrays share, and how many the newer one has.
fn shared<T>(old: &Chunked<T>, new: &Chunked<T>) -> (usize, usize) {
    let begins = |array: &Chunked<T>| -> Vec<*const T> {
        array.iter().step_by(256).map(std::ptr::from_ref).collect()
    };
    let (old, new) = (begins(old), begins(new));
    let same = old.iter().zip(&new).filter(|(a, b)| a == b).count();
    (same, new.len())
}

#[test]
fn a_change_of_one_service_of_ten_thousand_copies_what_changes() {
    let mut builder = builder();
    let mut services: Vec<_> = (1..=10_000)
        .map(|port| service(port, &[real(1, 1, NAT), real(2, 1, NAT)]))
        .collect();
    let old = builder.build(&spec(&services), true);
    services[5000].reals[1].weight = 9;
    let new = builder.build(&spec(&services), true);
    assert_eq!(shared(&old.services, &new.services), (39, 40));
    assert_eq!(shared(&old.reals, &new.reals), (78, 79));
    for (old, new) in old.workers.iter().zip(&new.workers) {
        assert_eq!(shared(&old.reals, &new.reals), (79, 79));
        assert_eq!(shared(&old.cursors, &new.cursors), (40, 40));
    }
    assert_eq!(
        service_of(&old, 5001).unwrap().scheduling.candidates[1].weight,
        1
    );
    assert_eq!(
        service_of(&new, 5001).unwrap().scheduling.candidates[1].weight,
        9
    );
}

#[test]
fn nat_sockets_are_known_while_sessions_may_live() {
    let mut builder = builder();
    let is_known = |snapshot: &Snapshot| snapshot.is_nat_socket(Protocol::Tcp, ip(1), 80);
    let first = builder.build(&spec(&[service(80, &[real(1, 1, NAT)])]), true);
    let slot = slots(&first, 80)[0];
    assert!(is_known(&first) && first.has_nat());
    counters(&first, 0, slot).enter(true);
    // Edited to another method: replies of older sessions still come.
    let edited = builder.build(&spec(&[service(80, &[real(1, 1, DIRECT)])]), true);
    assert!(is_known(&edited) && service_of(&edited, 80).unwrap().owner == Owner::Socket);
    let removed = builder.build(&spec(&[service(80, &[])]), true);
    assert!(is_known(&removed));
    assert!(is_known(&builder.build(&spec(&[]), true)));
    counters(&first, 0, slot).leave(true);
    let quiet = builder.build(&spec(&[]), true);
    assert!(!is_known(&quiet) && !quiet.has_nat());
}

#[test]
fn a_nat_socket_in_two_services_is_known_until_the_last_one_goes() {
    let mut builder = builder();
    let reals = [real(1, 1, NAT)];
    builder.build(&spec(&[service(80, &reals), service(81, &reals)]), true);
    builder.build(&spec(&[service(81, &reals)]), true);
    let one = builder.build(&spec(&[service(81, &reals)]), true);
    assert!(one.is_nat_socket(Protocol::Tcp, ip(1), 80));
    builder.build(&spec(&[]), true);
    assert!(!builder.build(&spec(&[]), true).has_nat());
}

#[test]
fn new_routes_reach_the_same_real_servers() {
    let mut builder = builder();
    let mut far = service(80, &[real(1, 1, DIRECT)]);
    far.reals[0].address = [203, 0, 113, 9].into();
    let mut spec = spec(&[far]);
    let first = builder.build(&spec, true);
    let id = service_of(&first, 80).unwrap().scheduling.candidates[0].real;
    assert_eq!(first.real(id).unwrap().egress, None);
    spec.network.routes.push(RouteSpec {
        to: "203.0.113.0/24".parse().unwrap(),
        via: ip(254),
        port: None,
    });
    let second = builder.build(&spec, true);
    let egress = second.real(id).unwrap().egress.unwrap();
    assert_eq!(
        (egress.next_hop, egress.source, egress.mtu),
        (ip(254), Some(ip(1)), 1500)
    );
    spec.ports[0].mtu = 1400;
    let third = builder.build(&spec, true);
    assert_eq!(third.real(id).unwrap().egress.unwrap().mtu, 1400);
    assert_eq!(
        service_of(&first, 80).unwrap().scheduling.revision,
        service_of(&third, 80).unwrap().scheduling.revision
    );
}

#[test]
fn a_removed_real_server_with_sessions_follows_changed_routes() {
    let mut builder = builder();
    let mut far = service(80, &[real(1, 1, DIRECT)]);
    far.reals[0].address = [203, 0, 113, 9].into();
    let mut spec = spec(&[far]);
    let route = |via| RouteSpec {
        to: "203.0.113.0/24".parse().unwrap(),
        via: ip(via),
        port: None,
    };
    spec.network.routes = vec![route(254)];
    let first = builder.build(&spec, true);
    let slot = slots(&first, 80)[0];
    counters(&first, 0, slot).enter(true);
    spec.services.clear();
    builder.build(&spec, true);
    spec.network.routes = vec![route(253)];
    let third = builder.build(&spec, true);
    let removed = third.real(RealId(slot)).unwrap();
    assert!(!removed.configured);
    assert_eq!(removed.egress.unwrap().next_hop, ip(253));
}

fn told(removed: &[Removal]) -> Vec<(RealId, Option<RealId>)> {
    removed.iter().map(|one| (one.real, one.stand_in)).collect()
}

#[test]
fn a_round_robin_pointer_knows_where_to_go_when_its_real_server_is_removed() {
    let mut builder = builder();
    let all = [real(1, 1, DIRECT), real(2, 1, DIRECT), real(3, 1, DIRECT)];
    let first = builder.build(&spec(&[service(80, &all)]), true);
    let old: Vec<_> = slots(&first, 80).into_iter().map(RealId).collect();
    let second = builder.build(&spec(&[service(80, &all[1..2])]), true);
    let removed = &service_of(&second, 80).unwrap().scheduling.removed;
    assert_eq!(told(removed), [(old[0], None), (old[2], Some(old[1]))]);
}

#[test]
fn a_worker_that_saw_no_session_for_several_changes_still_finds_its_place() {
    let mut builder = builder();
    let all: Vec<_> = (1..=5).map(|last| real(last, 1, DIRECT)).collect();
    let first = builder.build(&spec(&[service(80, &all)]), false);
    let old: Vec<_> = slots(&first, 80).into_iter().map(RealId).collect();
    let without = |gone: &[usize]| {
        let kept = (0..5).filter(|index| !gone.contains(index));
        let kept: Vec<_> = kept.map(|index| all[index]).collect();
        spec(&[service(80, &kept)])
    };
    builder.build(&without(&[3]), false);
    let third = builder.build(&without(&[3, 2]), false);
    let removed = &service_of(&third, 80).unwrap().scheduling.removed;
    assert_eq!(
        told(removed),
        [(old[2], Some(old[1])), (old[3], Some(old[1]))]
    );
    // Whoever is back was away all the same, for those who have not seen it.
    let fourth = builder.build(&without(&[2]), false);
    let back = &service_of(&fourth, 80).unwrap().scheduling.removed;
    assert_eq!(back, removed);
    assert!(
        back.iter()
            .all(|one| one.revision < service_of(&fourth, 80).unwrap().scheduling.revision)
    );
}

#[test]
fn neighbours_and_addresses_of_ports_are_compiled() {
    let mut builder = builder();
    let mut spec = spec(&[]);
    spec.network
        .neighbours
        .push((ip(9), Mac([2, 0, 0, 0, 0, 9])));
    let snapshot = builder.build(&spec, true);
    assert_eq!(
        snapshot.neighbours.get(&ip(9)),
        Some(&Mac([2, 0, 0, 0, 0, 9]))
    );
    assert_eq!(snapshot.locals.get(&ip(1)), Some(&PortId::new(0)));
    spec.network.neighbours.clear();
    assert!(builder.build(&spec, true).neighbours.is_empty());
}

/// Where the table is that the service's Maglev scheduler keeps.
fn table(snapshot: &Snapshot, port: u16) -> Option<*const u16> {
    match &service_of(snapshot, port)?.scheduling.scheduler {
        Scheduler::Mh(table) => Some(table.places().as_ptr()),
        _ => None,
    }
}

#[test]
fn a_table_is_filled_anew_only_for_a_service_that_changed() {
    let mut builder = builder();
    let hashed = |port, weight| ServiceSpec {
        scheduler: SchedulerKind::Mh(HashFlags::default(), Maglev::default()),
        ..service(port, &[real(1, weight, DIRECT), real(2, 1, DIRECT)])
    };
    let old = builder.build(&spec(&[hashed(80, 1), hashed(81, 1)]), true);
    let new = builder.build(&spec(&[hashed(80, 1), hashed(81, 2)]), true);
    assert!(table(&old, 80).is_some());
    assert_eq!(table(&old, 80), table(&new, 80));
    assert_ne!(table(&old, 81), table(&new, 81));
}

#[test]
fn a_drained_real_server_remembers_its_weight_until_it_is_forgotten() {
    let mut builder = builder();
    let mut last_weight = |reals: &[RealSpec]| {
        let snapshot = builder.build(&spec(&[service(80, reals)]), true);
        let slot = slots(&snapshot, 80).first().copied();
        slot.and_then(|slot| snapshot.real(RealId(slot)).map(|real| real.last_weight))
    };
    assert_eq!(last_weight(&[real(1, 0, DIRECT)]), Some(0));
    assert_eq!(last_weight(&[real(1, 7, DIRECT)]), Some(7));
    assert_eq!(last_weight(&[real(1, 0, DIRECT)]), Some(7));
    assert_eq!(last_weight(&[]), None);
    assert_eq!(last_weight(&[]), None);
    assert_eq!(last_weight(&[real(1, 0, DIRECT)]), Some(0));
}

#[test]
fn a_real_server_counts_from_when_it_comes_unless_its_service_comes_with_it() {
    let mut builder = builder();
    let mut since = |now_ms, reals: &[RealSpec]| -> Vec<Option<u64>> {
        let services = match reals {
            [] => Vec::new(),
            reals => vec![ServiceSpec {
                slow_start_ms: 10,
                ..service(80, reals)
            }],
        };
        let spec = Spec {
            now: Time::from_ms(now_ms),
            ..spec(&services)
        };
        let snapshot = builder.build(&spec, true);
        let service = service_of(&snapshot, 80);
        let candidates = service.map(|service| Arc::clone(&service.scheduling.candidates));
        let came = |one: &Candidate| one.since.map(Time::as_ms);
        candidates
            .iter()
            .flat_map(|all| all.iter())
            .map(came)
            .collect()
    };
    let [one, two, drained] = [real(1, 1, DIRECT), real(2, 1, DIRECT), real(1, 0, DIRECT)];
    assert_eq!(since(1, std::slice::from_ref(&one)), [None]);
    assert_eq!(since(2, &[one, two]), [None, Some(2)]);
    let heavier = real(2, 9, DIRECT);
    assert_eq!(since(3, &[one, heavier]), [None, Some(2)], "no news");
    assert_eq!(since(4, &[drained, two]), [None, Some(2)]);
    assert_eq!(since(5, &[one, two]), [Some(5), Some(2)]);
    assert_eq!(since(6, std::slice::from_ref(&two)), [Some(2)]);
    assert_eq!(since(7, &[one, two]), [Some(7), Some(2)]);
    assert_eq!(since(8, &[]), []);
    assert_eq!(since(9, &[one, two]), [None, None], "the service is new");
}

#[test]
fn another_kind_of_tunnel_counts_at_once_and_keeps_the_slot() {
    let mut builder = builder();
    let mut build = |kind| {
        let one = RealSpec {
            tunnel: kind,
            ..real(1, 1, ForwardMethod::Tunnel)
        };
        let snapshot = builder.build(&spec(&[service(80, &[one])]), true);
        let id = service_of(&snapshot, 80).unwrap().scheduling.candidates[0].real;
        (id, snapshot.real(id).unwrap().spec.tunnel)
    };
    let (slot, _) = build(TunnelKind::Ipip);
    for kind in [
        TunnelKind::Gre { checksum: true },
        TunnelKind::Gue {
            port: 6080,
            checksum: false,
        },
    ] {
        assert_eq!(build(kind), (slot, kind));
    }
}

#[test]
fn a_slot_that_is_used_again_is_not_overloaded_and_another_limit_counts_at_once() {
    let mut builder = builder();
    let limited = |last, upper, lower| RealSpec {
        limits: Limits { upper, lower },
        ..real(last, 1, DIRECT)
    };
    let mut build = |one: RealSpec| {
        let snapshot = builder.build(&spec(&[service(80, &[one])]), true);
        let candidate = service_of(&snapshot, 80).unwrap().scheduling.candidates[0];
        (snapshot, candidate)
    };
    let (first, candidate) = build(limited(1, 2, 1));
    let slot = candidate.real;
    for expected in [false, true] {
        counters(&first, 0, slot.0).enter(true);
        first.refresh_load(0, slot);
        assert_eq!(first.is_overloaded(&candidate), expected);
    }
    counters(&first, 0, slot.0).leave(true);
    first.refresh_load(0, slot);
    assert!(first.is_overloaded(&candidate), "1 is not below 1");
    let (more, candidate) = build(limited(1, 9, 2));
    assert!(!more.is_overloaded(&candidate), "1 is below 2");
    let (less, candidate) = build(limited(1, 1, 1));
    assert!(less.is_overloaded(&candidate), "1 reaches 1");
    counters(&first, 0, slot.0).leave(true);
    build(limited(2, 5, 1));
    // The slot is free now.
    let (other, candidate) = build(limited(3, 5, 1));
    assert_eq!(candidate.real, slot);
    counters(&other, 1, slot.0).enter(false);
    assert!(!other.is_overloaded(&candidate));
}

mod deltas;
mod filters;
mod owners;
