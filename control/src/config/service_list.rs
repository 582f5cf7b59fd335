//! The services of a checked configuration in the order of the file, and where each is.
//! It checks nothing: no two services with one identity are put into it.

use std::ops::Deref;

use ahash::RandomState;
use hashbrown::HashTable;
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::spec::target::Identity;

/// Services in the order of the file, found by their identities too: there may be a million, and a change of one real
/// server must not look at all of them.
#[derive(Debug, Clone)]
pub struct ServiceList {
    services: Vec<ServiceSpec>,
    /// Places in `services`.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl ServiceList {
    /// Of services with different identities.
    #[must_use]
    pub fn new(services: Vec<ServiceSpec>) -> Self {
        let hasher = RandomState::new();
        let hash = |service: &ServiceSpec| hasher.hash_one(service.target.identity());
        let mut places = HashTable::with_capacity(services.len());
        for (place, service) in (0..).zip(&services) {
            places.insert_unique(hash(service), place, |other: &u32| {
                services.get(*other as usize).map_or(0, hash)
            });
        }
        Self {
            services,
            places,
            hasher,
        }
    }

    /// The service with this identity.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<&ServiceSpec> {
        let at = |place: &u32| self.services.get(*place as usize);
        let is_it = |service: &ServiceSpec| service.target.identity() == *identity;
        let hash = self.hasher.hash_one(identity);
        let place = self.places.find(hash, |place| at(place).is_some_and(is_it));
        place.and_then(at)
    }
}

impl Deref for ServiceList {
    type Target = [ServiceSpec];

    fn deref(&self) -> &[ServiceSpec] {
        &self.services
    }
}

impl PartialEq for ServiceList {
    fn eq(&self, other: &Self) -> bool {
        self.services == other.services
    }
}

impl Eq for ServiceList {}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::flow::Protocol;
    use plimsoll_dataplane::spec::scheduler::SchedulerKind;
    use plimsoll_dataplane::spec::target::Target;

    use super::*;

    #[test]
    fn each_service_is_found_by_its_identity() {
        let service = |port| {
            let target = Target::vip(Protocol::Tcp, [192, 0, 2, 1].into(), port);
            ServiceSpec::new(port.to_string(), target, SchedulerKind::Rr, Vec::new())
        };
        let list = ServiceList::new((1..1000).map(service).collect());
        for port in 1..1000 {
            let found = list.find(&service(port).target.identity()).unwrap();
            assert_eq!(*found.name, port.to_string());
        }
        assert_eq!(list.find(&service(1000).target.identity()), None);
    }
}
