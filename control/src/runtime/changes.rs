//! All that operators have changed, and what a service is with it.
//! It is kept by identities, so it knows no slot and no place in the file.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::spec::policy::{OnDown, OnDrain};
use plimsoll_dataplane::spec::service::{Availability, RealSpec, Remaining, ServiceSpec};
use plimsoll_dataplane::spec::target::Identity;

use super::order::{Administration, Deadline, Ending, Key, RealChange};
use crate::config::valid::ServiceList;

/// What operators have changed, by service and real server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeChanges {
    services: HashMap<Identity, BTreeMap<(IpAddr, u16), RealChange>>,
}

/// A change that no longer counts, since the file says something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The service.
    pub service: Identity,
    /// The real server.
    pub real: SocketAddr,
    /// What was changed.
    pub what: String,
    /// Why it no longer counts.
    pub why: &'static str,
}

impl Dropped {
    /// The same for people; `name` is the service's, if that is known.
    #[must_use]
    pub fn words(&self, name: Option<&str>) -> String {
        let Self {
            service,
            real,
            what,
            why,
        } = self;
        match name {
            Some(name) => format!("{name}/{real} is no longer {what}: {why}"),
            None => format!("{real} of {service} is no longer {what}: {why}"),
        }
    }
}

impl RuntimeChanges {
    /// What was changed of one real server.
    #[must_use]
    pub fn of(&self, service: &Identity, real: &RealSpec) -> RealChange {
        // Asked of each of a million real servers, and mostly of none that was changed.
        if self.services.is_empty() {
            return RealChange::default();
        }
        let reals = self.services.get(service);
        let change = reals.and_then(|reals| reals.get(&(real.address, real.port)));
        change.copied().unwrap_or_default()
    }

    /// Changes one real server.
    pub fn set(&mut self, service: Identity, real: (IpAddr, u16), change: RealChange) {
        if !change.is_none() {
            let reals = self.services.entry(service).or_default();
            reals.insert(real, change);
        } else if let Some(reals) = self.services.get_mut(&service) {
            reals.remove(&real);
            if reals.is_empty() {
                self.services.remove(&service);
            }
        }
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, RealChange)> {
        self.services.iter().flat_map(|(service, reals)| {
            let reals = reals.iter();
            reals.map(|(real, change)| ((*service, *real), *change))
        })
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Drops what the file no longer has, and weights of which it says something else than when they were set.
    pub fn rebase(&mut self, file: &ServiceList) -> Vec<Dropped> {
        let mut all = Vec::new();
        for ((service, real), mut change) in std::mem::take(self).iter() {
            let of_file = file.find(&service).and_then(|service| {
                let mut reals = service.reals.iter();
                reals.find(|one| (one.address, one.port) == real)
            });
            let mut drop = |what, why| {
                all.push(Dropped {
                    service,
                    real: real.into(),
                    what,
                    why,
                });
            };
            let Some(of_file) = of_file else {
                drop(change.words(), "the file no longer has it");
                continue;
            };
            if let Some(weight) = change.weight
                && weight.of_file != of_file.weight
            {
                change.weight = None;
                let what = format!("at weight {}", weight.weight);
                drop(what, "the file says another weight now");
            }
            self.set(service, real, change);
        }
        all.sort_by_key(|one| (one.real, one.service.to_string()));
        all
    }

    /// Lays what was changed over a service as the file has it. `now_ms` is in milliseconds since 1970.
    pub fn lay_over(&self, service: &mut ServiceSpec, now_ms: u64) {
        let Some(changes) = self.services.get(&service.target.identity()) else {
            return;
        };
        let moves_udp = service.on_drain == OnDrain::Reschedule
            && service.target.protocols().contains(&Protocol::Udp);
        for real in &mut service.reals {
            let Some(change) = changes.get(&(real.address, real.port)) else {
                continue;
            };
            if let Some(weight) = change.weight {
                real.weight = weight.weight;
            }
            real.availability = match change.administration {
                Administration::Enabled => Availability::Available,
                Administration::Drained => Availability::Unavailable(match change.deadline {
                    Some(Deadline { at_ms, then }) if at_ms <= now_ms => {
                        Remaining::Gone(match then {
                            Ending::Reset => OnDown::Reset,
                            Ending::Reschedule => OnDown::Reschedule,
                        })
                    }
                    _ if moves_udp => Remaining::KeptButUdp,
                    _ => Remaining::Kept,
                }),
                Administration::Disabled => {
                    Availability::Unavailable(Remaining::Gone(service.policy.on_down))
                }
            };
        }
        // A flow has nowhere to go where nobody takes it.
        let takes = |real: &RealSpec| real.weight > 0 && real.availability.is_available();
        if moves_udp && !service.reals.iter().any(takes) {
            for real in &mut service.reals {
                if real.availability == Availability::Unavailable(Remaining::KeptButUdp) {
                    real.availability = Availability::Unavailable(Remaining::Kept);
                }
            }
        }
    }

    /// The services of which a drain's deadline passes after `from_ms`, up to and with `to_ms`.
    #[must_use]
    pub fn ending(&self, from_ms: u64, to_ms: u64) -> Vec<Identity> {
        let ends = |change: &RealChange| {
            let at = change.deadline.map(|deadline| deadline.at_ms);
            at.is_some_and(|at| from_ms < at && at <= to_ms)
        };
        let services = self.services.iter();
        let services = services.filter(|(_, reals)| reals.values().any(ends));
        services.map(|(service, _)| *service).collect()
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::spec::forward::ForwardMethod;
    use plimsoll_dataplane::spec::scheduler::SchedulerKind;
    use plimsoll_dataplane::spec::target::Target;

    use super::super::order::WeightChange;
    use super::*;

    fn service(protocol: Protocol, weights: &[u32]) -> ServiceSpec {
        let reals = (1..).zip(weights).map(|(last, weight)| RealSpec {
            weight: *weight,
            ..RealSpec::new([10, 0, 0, last].into(), 80, ForwardMethod::Direct)
        });
        let target = Target::vip(protocol, [192, 0, 2, 1].into(), 80);
        ServiceSpec::new("web", target, SchedulerKind::Rr, reals.collect())
    }

    fn drained(deadline: Option<Deadline>) -> RealChange {
        RealChange {
            administration: Administration::Drained,
            deadline,
            ..RealChange::default()
        }
    }

    fn with(service: &ServiceSpec, changes: &[(u8, RealChange)]) -> RuntimeChanges {
        let mut all = RuntimeChanges::default();
        for (last, change) in changes {
            let real = ([10, 0, 0, *last].into(), 80);
            all.set(service.target.identity(), real, *change);
        }
        all
    }

    fn availability(
        service: &ServiceSpec,
        changes: &[(u8, RealChange)],
        now_ms: u64,
    ) -> Vec<Availability> {
        let mut laid = service.clone();
        with(service, changes).lay_over(&mut laid, now_ms);
        laid.reals.iter().map(|real| real.availability).collect()
    }

    const KEPT: Availability = Availability::Unavailable(Remaining::Kept);
    const KEPT_BUT_UDP: Availability = Availability::Unavailable(Remaining::KeptButUdp);
    const UP: Availability = Availability::Available;

    fn gone(on_down: OnDown) -> Availability {
        Availability::Unavailable(Remaining::Gone(on_down))
    }

    #[test]
    fn a_drained_one_keeps_its_sessions_until_its_deadline() {
        let web = service(Protocol::Tcp, &[1, 1]);
        assert_eq!(availability(&web, &[(1, drained(None))], 0), [KEPT, UP]);
        let then = |then| drained(Some(Deadline { at_ms: 100, then }));
        for (now_ms, change, expected) in [
            (99, then(Ending::Reset), KEPT),
            (100, then(Ending::Reset), gone(OnDown::Reset)),
            (100, then(Ending::Reschedule), gone(OnDown::Reschedule)),
        ] {
            assert_eq!(availability(&web, &[(1, change)], now_ms), [expected, UP]);
        }
        let changes = with(&web, &[(1, then(Ending::Reset))]);
        assert_eq!(changes.ending(99, 100), [web.target.identity()]);
        assert_eq!(changes.ending(100, 200), []);
        assert_eq!(changes.ending(0, 99), []);
    }

    #[test]
    fn a_disabled_one_is_gone() {
        let mut web = service(Protocol::Tcp, &[1, 1]);
        web.policy.on_down = OnDown::Reschedule;
        let disabled = RealChange {
            administration: Administration::Disabled,
            ..RealChange::default()
        };
        assert_eq!(
            availability(&web, &[(2, disabled)], 0),
            [UP, gone(OnDown::Reschedule)]
        );
    }

    #[test]
    fn udp_flows_move_where_that_is_wanted_and_somebody_takes_them() {
        let mut dns = service(Protocol::Udp, &[1, 1, 0]);
        let drained = drained(None);
        assert_eq!(availability(&dns, &[(1, drained)], 0), [KEPT, UP, UP]);
        dns.on_drain = OnDrain::Reschedule;
        assert_eq!(
            availability(&dns, &[(1, drained)], 0),
            [KEPT_BUT_UDP, UP, UP]
        );
        assert_eq!(
            availability(&dns, &[(1, drained), (2, drained)], 0),
            [KEPT, KEPT, UP]
        );
        let mut web = service(Protocol::Tcp, &[1, 1]);
        web.on_drain = OnDrain::Reschedule;
        assert_eq!(availability(&web, &[(1, drained)], 0), [KEPT, UP]);
    }

    #[test]
    fn a_weight_counts_until_the_file_says_another_one() {
        let weight = |weight, of_file| RealChange {
            weight: Some(WeightChange { weight, of_file }),
            ..RealChange::default()
        };
        let mut web = service(Protocol::Tcp, &[1, 5]);
        let mut changes = with(&web, &[(1, weight(0, 1)), (2, weight(9, 5))]);
        assert_eq!(changes.rebase(&ServiceList::new(vec![web.clone()])), []);
        let mut laid = web.clone();
        changes.lay_over(&mut laid, 0);
        assert_eq!((laid.reals[0].weight, laid.reals[1].weight), (0, 9));
        web.reals[1].weight = 6;
        let dropped = changes.rebase(&ServiceList::new(vec![web.clone()]));
        assert_eq!(dropped.len(), 1);
        assert_eq!(
            dropped[0].words(None),
            "10.0.0.2:80 of tcp 192.0.2.1:80 is no longer at weight 9: the file says another weight now"
        );
        changes.lay_over(&mut web, 0);
        assert_eq!((web.reals[0].weight, web.reals[1].weight), (0, 6));
    }

    #[test]
    fn what_the_file_no_longer_has_is_dropped() {
        let web = service(Protocol::Tcp, &[1, 1]);
        let mut changes = with(&web, &[(1, drained(None)), (2, drained(None))]);
        let less = service(Protocol::Tcp, &[1]);
        let dropped = changes.rebase(&ServiceList::new(vec![less]));
        assert_eq!(
            dropped[0].words(None),
            "10.0.0.2:80 of tcp 192.0.2.1:80 is no longer drained: the file no longer has it"
        );
        assert_eq!(changes.iter().count(), 1);
        let dropped = changes.rebase(&ServiceList::new(vec![service(Protocol::Udp, &[1])]));
        assert_eq!((dropped.len(), changes.is_empty()), (1, true));
    }
}
