//! Which services virtual sockets were found to be service_cache: new sessions come in crowds, for a few services.
//! It remembers what a snapshot said and decides nothing.

#![expect(clippy::indexing_slicing, reason = "places are less than their number")]

use crate::flow::{Address, FlowKey};
use crate::id::ServiceId;
use crate::snapshot::Snapshot;
use crate::snapshot::model::VirtualService;

const PLACES_BITS: u32 = 6;
/// Virtual sockets that are remembered; of two with the same place only one is. 2.5 KiB.
const PLACES: usize = 1 << PLACES_BITS;

/// What was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    address: [u64; 2],
    /// Port, protocol and family.
    rest: u64,
    /// Of the snapshot that said so.
    generation: u64,
    service: ServiceId,
}

/// The last findings of one worker.
#[derive(Debug)]
pub(crate) struct ServiceCache {
    places: Box<[Found; PLACES]>,
}

impl ServiceCache {
    pub(crate) fn new() -> Self {
        let nothing = Found {
            address: [0; 2],
            rest: 0,
            generation: 0,
            service: ServiceId(0),
        };
        Self {
            places: Box::new([nothing; PLACES]),
        }
    }

    /// [`Snapshot::service_for`], which is asked only if it is not remembered.
    #[inline]
    pub(crate) fn service_for<'s, A: Address>(
        &mut self,
        snapshot: &'s Snapshot,
        key: &FlowKey<A>,
    ) -> Option<&'s VirtualService> {
        // What rules say depends on the client too.
        if snapshot.has_rules() {
            return snapshot.service_for(key);
        }
        let address = key.virtual_address.words();
        let rest = u64::from(key.virtual_port) << 16
            | u64::from(key.protocol.number()) << 8
            | size_of::<A>() as u64;
        let mixed = address[0] ^ address[1].rotate_left(32) ^ rest;
        let place =
            (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES_BITS)) as usize;
        let found = &self.places[place];
        if found.address == address && found.rest == rest && found.generation == snapshot.generation
        {
            return snapshot.service(found.service);
        }
        let service = snapshot.service_for(key)?;
        self.places[place] = Found {
            address,
            rest,
            generation: snapshot.generation,
            service: service.id,
        };
        Some(service)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ahash::RandomState;

    use super::*;
    use crate::flow::{Protocol, V4, V6};
    use crate::snapshot::build::Builder;
    use crate::spec::Spec;
    use crate::spec::scheduler::SchedulerKind;
    use crate::spec::service::ServiceSpec;
    use crate::spec::target::{Mark, Rule, Target};

    fn service(number: u8, target: Target) -> ServiceSpec {
        ServiceSpec::new(
            format!("service {number}"),
            target,
            SchedulerKind::Rr,
            Vec::new(),
        )
    }

    fn key(client: u32, number: u8) -> FlowKey<V4> {
        FlowKey {
            client: V4(client),
            virtual_address: V4(0xc000_0200 + u32::from(number)),
            client_port: 1024,
            virtual_port: 80,
            protocol: Protocol::Tcp,
        }
    }

    fn at(number: u8) -> ServiceSpec {
        let address = Ipv4Addr::from_bits(key(0, number).virtual_address.0);
        service(number, Target::vip(Protocol::Tcp, address.into(), 80))
    }

    #[test]
    fn what_is_remembered_is_what_the_snapshot_says_now() {
        let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
        let mut service_cache = ServiceCache::new();
        let mut build = |services: Vec<ServiceSpec>| {
            let spec = Spec {
                services,
                ..Spec::default()
            };
            builder.build(&spec, true)
        };
        let rule = Target::Match {
            mark: Mark {
                number: 7,
                is_v6: false,
            },
            rules: [Rule {
                from: Some("0.0.0.9/32".parse().unwrap()),
                ..Rule::default()
            }]
            .into(),
        };
        let snapshots = [
            build((0..200).map(at).collect()),
            build((0..200).rev().skip(50).map(at).collect()),
            build((100..200).map(at).chain([service(201, rule)]).collect()),
            build(Vec::new()),
        ];
        for snapshot in &snapshots {
            // Twice: of the second look at a virtual socket something is remembered.
            for number in (0..=200).flat_map(|number| [number, number]) {
                for client in [9, 10] {
                    let found = service_cache.service_for(snapshot, &key(client, number));
                    let expected = snapshot.service_for(&key(client, number));
                    let id = |service: &VirtualService| service.id;
                    assert_eq!(found.map(id), expected.map(id), "{client} {number}");
                }
            }
        }
    }

    #[test]
    fn families_protocols_and_ports_are_told_apart() {
        let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
        let spec = Spec {
            services: vec![at(1)],
            ..Spec::default()
        };
        let snapshot = builder.build(&spec, true);
        let mut service_cache = ServiceCache::new();
        let known = key(1, 1);
        assert!(service_cache.service_for(&snapshot, &known).is_some());
        for other in [
            FlowKey {
                virtual_port: 81,
                ..known
            },
            FlowKey {
                protocol: Protocol::Udp,
                ..known
            },
        ] {
            assert!(service_cache.service_for(&snapshot, &other).is_none());
        }
        let v6 = FlowKey {
            client: V6([0, 1]),
            virtual_address: V6([known.virtual_address.0.into(), 0]),
            client_port: known.client_port,
            virtual_port: known.virtual_port,
            protocol: known.protocol,
        };
        assert!(service_cache.service_for(&snapshot, &v6).is_none());
    }
}
