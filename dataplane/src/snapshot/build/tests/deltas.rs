//! Changes applied one by one against the desired state built at once: both must give the same snapshot.

use std::collections::BTreeMap;

use super::*;
use crate::spec::target::{Mark, Rule};
use crate::testing::Rng;

/// The desired state, and a change of it.
struct Scenario {
    services: Vec<ServiceSpec>,
    rng: Rng,
}

impl Scenario {
    fn random_service(&mut self) -> ServiceSpec {
        let count = self.rng.below(4);
        let reals: Vec<RealSpec> = (0..count)
            .map(|nth| {
                // Different services share real servers, one service does not have one twice.
                let last = u8::try_from(nth * 3 + self.rng.below(3)).unwrap() + 10;
                let method = [NAT, DIRECT, ForwardMethod::Tunnel][self.rng.below(3)];
                real(last, u32::try_from(self.rng.below(3)).unwrap(), method)
            })
            .collect();
        let port = u16::try_from(self.rng.below(12)).unwrap() + 1;
        let mut one = service(port, &reals);
        one.scheduler = [SchedulerKind::Rr, SchedulerKind::Wlc][self.rng.below(2)];
        match self.rng.below(6) {
            0 | 1 => {
                one.one_packet = true;
                let udp = Target::vip(Protocol::Udp, [192, 0, 2, 100].into(), port);
                one.target = udp;
            }
            2 => {
                let rules = [Rule {
                    to: Some("192.0.2.0/24".parse().unwrap()),
                    ports: vec![1..=u16::try_from(self.rng.below(12)).unwrap() + 1],
                    ..Rule::default()
                }];
                one.target = Target::Match {
                    mark: Mark {
                        number: port.into(),
                        is_v6: false,
                    },
                    rules: rules.into(),
                };
            }
            _ => {}
        }
        one
    }

    /// Changes the state and says how.
    fn change(&mut self) -> Delta {
        let mut delta = Delta::default();
        for _ in 0..=self.rng.below(2) {
            match self.rng.below(4) {
                0 if !self.services.is_empty() => {
                    let place = self.rng.below(self.services.len());
                    let gone = self.services.remove(place).target.identity();
                    delta.services.retain(|one| one.target.identity() != gone);
                    delta.removed.push(gone);
                }
                1 if self.services.len() > 1 => {
                    let len = self.services.len();
                    self.services.swap(0, len - 1);
                    delta.order = Some(Vec::new());
                }
                _ => {
                    let one = self.random_service();
                    let identity = one.target.identity();
                    let is_it = |other: &&mut ServiceSpec| other.target.identity() == identity;
                    delta.removed.retain(|other| *other != identity);
                    delta
                        .services
                        .retain(|other| other.target.identity() != identity);
                    delta.services.push(one.clone());
                    match self.services.iter_mut().find(is_it) {
                        Some(place) => *place = one,
                        None => self.services.push(one),
                    }
                    // A kind of service that it was not before stands where it stands.
                    delta.order = Some(Vec::new());
                }
            }
        }
        if delta.order.is_some() {
            let ordered = self.services.iter().filter(|one| one.is_ordered());
            delta.order = Some(ordered.map(|one| one.target.identity()).collect());
        }
        delta
    }
}

/// What packets could tell of a snapshot: nothing of it is a slot.
fn seen(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let name = |service: Option<&VirtualService>| {
        service
            .filter(|one| one.configured)
            .map(|one| one.name.to_string())
    };
    for service in snapshot.configured_services() {
        let reals: Vec<_> = service
            .scheduling
            .candidates
            .iter()
            .filter_map(|one| snapshot.real(one.real))
            .map(|real| {
                (
                    real.spec.address,
                    real.spec.port,
                    real.spec.weight,
                    real.spec.forward,
                    real.egress,
                )
            })
            .collect();
        let identity = format!("{:?}", service.target);
        let body = (
            &service.name,
            service.scheduling.scheduler.kind(),
            service.one_packet,
            reals,
        );
        assert_eq!(seen.insert(identity, format!("{body:?}")), None);
    }
    let vip: IpAddr = [192, 0, 2, 100].into();
    for port in 0..20 {
        for protocol in Protocol::ALL {
            let key = format!("{protocol:?} {port}");
            let at = name(snapshot.service_at(protocol, vip, port));
            let client = ([198, 51, 100, 7].into(), 4000);
            let by_rule = name(snapshot.service_by_rule(protocol, client, (vip, port)));
            seen.insert(key, format!("{at:?} {by_rule:?}"));
        }
    }
    for last in 10..30 {
        let answer = snapshot.one_packet_real(Protocol::Udp, ip(last), 80);
        let service = answer.and_then(|(id, ..)| snapshot.service(snapshot.real(id)?.service));
        let socket = answer.map(|(_, address, port)| (address, port));
        let answer = (name(service), socket);
        seen.insert(format!("answers {last}"), format!("{answer:?}"));
    }
    seen.insert("is vip".into(), snapshot.is_vip(vip).to_string());
    seen
}

#[test]
fn changes_one_by_one_come_to_the_same_as_the_whole_at_once() {
    for seed in 0..40 {
        let mut scenario = Scenario {
            services: Vec::new(),
            rng: Rng::new(seed),
        };
        let (mut by_changes, mut by_wholes) = (builder(), builder());
        for builder in [&mut by_changes, &mut by_wholes] {
            builder.build(&spec(&[]), true);
        }
        let mut delta = Delta {
            network: Some(spec(&[]).network),
            ..Delta::default()
        };
        for step in 0..40 {
            let quiescent = scenario.rng.below(3) > 0;
            let changed = by_changes.apply(&delta, quiescent);
            let whole = by_wholes.build(&spec(&scenario.services), quiescent);
            let fresh = builder().build(&spec(&scenario.services), true);
            assert_eq!(seen(&changed), seen(&whole), "seed {seed}, step {step}");
            assert_eq!(seen(&changed), seen(&fresh), "seed {seed}, step {step}");
            assert_eq!(changed.generation, whole.generation);
            assert_eq!(changed.has_nat(), whole.has_nat());
            delta = scenario.change();
        }
        by_changes.apply(&delta, true);
        // In the end nothing is left over, however it came and went.
        delta = Delta {
            removed: scenario
                .services
                .iter()
                .map(|one| one.target.identity())
                .collect(),
            ..Delta::default()
        };
        by_changes.apply(&delta, true);
        let last = by_changes.apply(&Delta::default(), true);
        assert!(!last.has_services() && !last.has_nat() && last.one_packet_sockets.is_empty());
        assert_eq!(by_changes.free_reals.len(), last.reals.len());
        assert_eq!(by_changes.free_services.len(), last.services.len());
    }
}

#[test]
fn a_session_keeps_its_slot_whatever_else_changes() {
    for seed in 0..20 {
        let mut scenario = Scenario {
            services: Vec::new(),
            rng: Rng::new(seed),
        };
        let mut builder = builder();
        let kept = service(999, &[real(200, 1, NAT)]);
        let first = builder.apply(
            &Delta {
                network: Some(spec(&[]).network),
                services: vec![kept.clone()],
                ..Delta::default()
            },
            true,
        );
        let slot = slots(&first, 999)[0];
        let session = counters(&first, 1, slot);
        session.enter(true);
        for step in 0..40 {
            let mut delta = scenario.change();
            match step % 4 {
                0 => delta.removed.push(kept.target.identity()),
                2 => delta.services.push(kept.clone()),
                _ => {}
            }
            let snapshot = builder.apply(&delta, true);
            let real = snapshot.real(RealId(slot)).unwrap();
            assert_eq!(
                (real.spec.address, real.configured),
                (ip(200), step % 4 > 1)
            );
            assert_eq!(snapshot.live_sessions(RealId(slot)), 1);
            assert!(snapshot.is_nat_socket(Protocol::Tcp, ip(200), 80));
        }
    }
}

#[test]
fn a_change_of_one_service_copies_no_list_of_what_it_does_not_touch() {
    let mut builder = builder();
    let services: Vec<_> = (1..=1000)
        .map(|port| service(port, &[real(1, 1, NAT)]))
        .collect();
    let old = builder.build(&spec(&services), true);
    let changed = service(500, &[real(1, 7, NAT)]);
    let delta = Delta {
        services: vec![changed],
        ..Delta::default()
    };
    let new = builder.apply(&delta, true);
    assert_eq!(
        service_of(&new, 500).unwrap().scheduling.candidates[0].weight,
        7
    );
    assert_eq!(shared(&old.services, &new.services), (3, 4));
    assert_eq!(shared(&old.overloads, &new.overloads), (4, 4));
    assert_eq!(new.configured_services().count(), 1000);
}

#[test]
fn many_that_were_removed_are_given_back_by_and_by() {
    let mut builder = builder();
    let services: Vec<_> = (1..=5000)
        .map(|port| service(port, &[real(1, 1, DIRECT)]))
        .collect();
    builder.build(&spec(&services), true);
    builder.build(&spec(&[]), true);
    let mut rounds = 0;
    while builder.free_services.len() < 5000 {
        builder.apply(&Delta::default(), true);
        rounds += 1;
        assert!(rounds < 20);
    }
    assert!(rounds > 2);
    // Whoever needs many slots gets them all at once.
    builder.build(&spec(&services), true);
    builder.build(&spec(&[]), true);
    let again = builder.build(&spec(&services[..2000]), true);
    assert_eq!(again.services.len(), 5000);
}

#[test]
fn a_change_of_routes_reaches_every_real_server() {
    let mut builder = builder();
    let mut far = service(80, &[real(1, 1, DIRECT)]);
    far.reals[0].address = [203, 0, 113, 9].into();
    let mut state = spec(&[far, service(81, &[real(2, 1, DIRECT)])]);
    builder.build(&state, true);
    state.network.routes.push(RouteSpec {
        to: "203.0.113.0/24".parse().unwrap(),
        via: ip(254),
        port: None,
    });
    let delta = Delta {
        network: Some(state.network.clone()),
        ..Delta::default()
    };
    let moved = builder.apply(&delta, true);
    let id = service_of(&moved, 80).unwrap().scheduling.candidates[0].real;
    assert_eq!(moved.real(id).unwrap().egress.unwrap().next_hop, ip(254));
    let reals = builder.build(&state, true);
    assert_eq!(seen(&moved), seen(&reals));
}
