//! What each packet of an established session needs to know of its real server, in one cache line:
//! where frames to it leave, for which MAC, and how long sessions live. Made of the snapshot and the
//! neighbours when it is first needed; nothing here decides what a packet is.

#![expect(clippy::indexing_slicing, reason = "places are masked to the length")]

use std::net::IpAddr;

use crate::id::{DeviceId, PortId, RealId};
use crate::pipeline::leave::adjacency::Adjacency;
use crate::rewrite::tunnel::Ipip;
use crate::spec::policy::Defence;
use crate::spec::timeouts::Timeouts;
use crate::time::Time;

/// Real servers whose paths are kept; of two with the same place only one is. 512 KiB.
const PLACES: usize = 1 << PLACES_BITS;
const PLACES_BITS: u32 = 13;
const MASK: u32 = (1 << PLACES_BITS) - 1;

/// How long a path is trusted. Its neighbour is then looked up again, and so counts as used; that
/// happens often enough for `neighbour.rs` to keep it.
const TRUSTED_MS: u64 = 1000;

/// Where frames to a real server leave, and what else each packet asks about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    /// How long sessions of its service live.
    pub(crate) timeouts: Timeouts,
    /// How frames reach it, or its gateway.
    pub(crate) adjacency: Adjacency,
    /// Largest packet that fits, in bytes.
    pub(crate) mtu: u16,
    /// Largest packet that fits into its tunnel.
    pub(crate) inner_mtu: u16,
    /// When its service's TCP sessions are watched more closely.
    pub(crate) secure: Defence,
    /// The tunnel to it, if it is the most usual kind.
    pub(crate) ipip: Option<Ipip>,
}

/// Where paths are kept.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Place {
    real: RealId,
    /// Of the time when the path was filled in; see [`PathCache::renew`].
    stamp: u32,
    path: Path,
}

const _: () = assert!(size_of::<Place>() == 64);

/// What paths are made from: if any of it changes, all paths are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sources {
    /// The snapshot's generation.
    pub(crate) generation: u64,
    /// See [`crate::neighbour::Neighbours::changes`].
    pub(crate) neighbours: u64,
    /// See [`crate::pipeline::leave::path_mtu::PathMtus::changes`].
    pub(crate) path_mtus: u64,
}

/// The paths of one worker.
#[derive(Debug)]
pub(crate) struct PathCache {
    places: Box<[Place; PLACES]>,
    stamp: u32,
    sources: Sources,
    /// When all paths are forgotten.
    until: Time,
    last_hop: Option<Hop>,
}

/// A neighbour that packets to clients went to.
#[derive(Debug, Clone, Copy)]
struct Hop {
    port: PortId,
    address: IpAddr,
    adjacency: Adjacency,
}

impl PathCache {
    pub(crate) fn new() -> Self {
        Self {
            places: Box::new([Place::VACANT; PLACES]),
            stamp: 1,
            sources: Sources::default(),
            until: Time::from_ms(0),
            last_hop: None,
        }
    }

    /// Forgets all paths if anything that they are made from has changed, or when their time is over.
    #[inline]
    pub(crate) fn renew(&mut self, sources: Sources, now: Time) {
        if sources != self.sources || self.until <= now {
            self.sources = sources;
            self.until = now.plus_ms(TRUSTED_MS);
            self.last_hop = None;
            self.stamp = self.stamp.wrapping_add(1);
            if self.stamp == 0 {
                self.places.fill(Place::VACANT);
                self.stamp = 1;
            }
        }
    }

    /// The path to `real`, if it is cached.
    #[inline(always)]
    pub(crate) fn get(&self, real: RealId) -> Option<&Path> {
        let place = &self.places[(real.0 & MASK) as usize];
        (place.real == real && place.stamp == self.stamp).then_some(&place.path)
    }

    /// How frames reach the neighbour that was remembered last, if it is this one.
    #[inline(always)]
    pub(crate) fn last_hop(&self, port: PortId, address: IpAddr) -> Option<Adjacency> {
        let hop = self.last_hop.as_ref()?;
        (hop.address == address && hop.port == port).then_some(hop.adjacency)
    }

    /// Remembers how frames reach a neighbour.
    #[inline]
    pub(crate) fn set_last_hop(&mut self, port: PortId, address: IpAddr, adjacency: Adjacency) {
        self.last_hop = Some(Hop {
            port,
            address,
            adjacency,
        });
    }

    /// Caches the path to `real`.
    pub(crate) fn set(&mut self, real: RealId, path: Path) -> &Path {
        let place = &mut self.places[(real.0 & MASK) as usize];
        *place = Place {
            real,
            stamp: self.stamp,
            path,
        };
        &place.path
    }
}

impl Place {
    const VACANT: Self = Self {
        real: RealId(0),
        stamp: 0,
        path: Path {
            timeouts: Timeouts::DEFAULT,
            adjacency: Adjacency {
                macs: [0; 12],
                device: DeviceId::new(0),
            },
            mtu: 0,
            inner_mtu: 0,
            secure: Defence::Off,
            ipip: None,
        },
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(device: u16) -> Path {
        Path {
            adjacency: adjacency(device),
            ..Place::VACANT.path
        }
    }

    fn adjacency(device: u16) -> Adjacency {
        Adjacency {
            macs: [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1],
            device: DeviceId::new(device),
        }
    }

    #[test]
    fn a_path_is_known_until_its_time_is_over_or_anything_changes() {
        let mut paths = PathCache::new();
        let (one, other) = (RealId(5), RealId(5 + MASK + 1));
        let same = Sources::default();
        let now = Time::from_ms(7);
        let device = |paths: &PathCache, real| {
            let path = paths.get(real);
            path.map(|path| path.adjacency.device.place())
        };
        paths.renew(same, now);
        assert_eq!(device(&paths, one), None);
        paths.set(one, path(3));
        assert_eq!(device(&paths, one), Some(3));
        assert_eq!(device(&paths, other), None, "shares its place");
        paths.set(other, path(4));
        assert_eq!(device(&paths, one), None);
        paths.renew(same, now.plus_ms(TRUSTED_MS - 1));
        assert_eq!(device(&paths, other), Some(4));
        paths.renew(same, now.plus_ms(TRUSTED_MS));
        assert_eq!(device(&paths, other), None);
        paths.set(other, path(4));
        let changed = Sources {
            neighbours: 1,
            ..same
        };
        paths.renew(changed, now.plus_ms(TRUSTED_MS));
        assert_eq!(device(&paths, other), None);
    }

    #[test]
    fn a_neighbour_is_cached_as_long_as_a_path() {
        let mut paths = PathCache::new();
        let (same, now) = (Sources::default(), Time::from_ms(7));
        let (router, known) = ("10.0.0.1".parse().unwrap(), adjacency(1));
        paths.renew(same, now);
        paths.set_last_hop(PortId::new(1), router, known);
        assert_eq!(paths.last_hop(PortId::new(1), router), Some(known));
        assert_eq!(paths.last_hop(PortId::new(0), router), None);
        paths.renew(same, now.plus_ms(TRUSTED_MS));
        assert_eq!(paths.last_hop(PortId::new(1), router), None);
    }

    #[test]
    fn a_stamp_that_has_been_used_before_makes_nothing_valid() {
        let mut paths = PathCache::new();
        paths.set(RealId(1), path(3));
        paths.stamp = u32::MAX;
        paths.renew(Sources::default(), Time::from_ms(7));
        assert_eq!(paths.stamp, 1);
        assert!(paths.get(RealId(1)).is_none());
    }
}
