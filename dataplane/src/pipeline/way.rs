//! What each packet of an established session needs to know of its real server, in one cache line:
//! where frames to it leave, for which MAC, and how long sessions live. Drawn from the snapshot and the
//! neighbours when it is first needed; nothing here decides what a packet is.

#![expect(clippy::indexing_slicing, reason = "places are masked to the length")]

use std::net::IpAddr;

use crate::id::{PortId, RealId};
use crate::rewrite::tunnel::Ipip;
use crate::spec::policy::Defence;
use crate::spec::timeouts::Timeouts;
use crate::time::Time;
use crate::wire::Mac;

/// Real servers whose ways are kept; of two with the same place only one is. 512 KiB.
const PLACES: usize = 1 << PLACES_BITS;
const PLACES_BITS: u32 = 13;
const MASK: u32 = (1 << PLACES_BITS) - 1;

/// How long a way is trusted. Its neighbour is then looked up again, and so counts as used; that
/// happens often enough for `neighbour.rs` to keep it.
const TRUSTED_MS: u64 = 1000;

/// The way to a real server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// How long sessions of its service live.
    pub(super) timeouts: Timeouts,
    /// Destination and source of its frames.
    pub(super) macs: [u8; 12],
    /// Where they leave.
    pub(super) port: PortId,
    /// Largest packet that fits, in bytes.
    pub(super) mtu: u16,
    /// Largest packet that fits into its tunnel.
    pub(super) inner_mtu: u16,
    /// When its service's TCP sessions are watched more closely.
    pub(super) secure: Defence,
    /// The tunnel to it, if it is the most usual kind.
    pub(super) ipip: Option<Ipip>,
}

/// Where ways are kept.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Place {
    real: RealId,
    /// Of the time when the way was drawn; see [`Ways::renew`].
    stamp: u32,
    way: Way,
}

const _: () = assert!(size_of::<Place>() == 64);

/// What, if it changes, may make every way another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sources {
    /// The snapshot's generation.
    pub(super) generation: u64,
    /// See [`crate::neighbour::Neighbours::changes`].
    pub(super) neighbours: u64,
    /// See [`super::path_mtu::PathMtus::changes`].
    pub(super) path_mtus: u64,
}

/// The ways that one worker has drawn.
#[derive(Debug)]
pub(super) struct Ways {
    places: Box<[Place; PLACES]>,
    stamp: u32,
    sources: Sources,
    /// When all ways are drawn anew.
    until: Time,
    last_hop: Option<Hop>,
}

/// A neighbour that packets to clients went to.
#[derive(Debug, Clone, Copy)]
struct Hop {
    port: PortId,
    address: IpAddr,
    mac: Mac,
}

impl Ways {
    pub(super) fn new() -> Self {
        Self {
            places: Box::new([Place::VACANT; PLACES]),
            stamp: 1,
            sources: Sources::default(),
            until: Time::from_ms(0),
            last_hop: None,
        }
    }

    /// Forgets all ways if anything that they were drawn from has changed, or when their time is over.
    #[inline]
    pub(super) fn renew(&mut self, sources: Sources, now: Time) {
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

    /// The way to `real`, if it is known.
    #[inline(always)]
    pub(super) fn get(&self, real: RealId) -> Option<&Way> {
        let place = &self.places[(real.0 & MASK) as usize];
        (place.real == real && place.stamp == self.stamp).then_some(&place.way)
    }

    /// The MAC of the neighbour that was remembered last, if it is this one.
    #[inline(always)]
    pub(super) fn last_hop(&self, port: PortId, address: IpAddr) -> Option<Mac> {
        let hop = self.last_hop?;
        (hop.address == address && hop.port == port).then_some(hop.mac)
    }

    /// Remembers a neighbour.
    #[inline]
    pub(super) fn set_last_hop(&mut self, port: PortId, address: IpAddr, mac: Mac) {
        self.last_hop = Some(Hop { port, address, mac });
    }

    /// Remembers the way to `real`.
    pub(super) fn set(&mut self, real: RealId, way: Way) -> &Way {
        let place = &mut self.places[(real.0 & MASK) as usize];
        *place = Place {
            real,
            stamp: self.stamp,
            way,
        };
        &place.way
    }
}

impl Place {
    const VACANT: Self = Self {
        real: RealId(0),
        stamp: 0,
        way: Way {
            timeouts: Timeouts::DEFAULT,
            macs: [0; 12],
            port: PortId(0),
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

    fn way(port: u16) -> Way {
        Way {
            macs: [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1],
            port: PortId(port),
            ..Place::VACANT.way
        }
    }

    #[test]
    fn a_way_is_known_until_its_time_is_over_or_anything_changes() {
        let mut ways = Ways::new();
        let (one, other) = (RealId(5), RealId(5 + MASK + 1));
        let same = Sources::default();
        let now = Time::from_ms(7);
        let port = |ways: &Ways, real| ways.get(real).map(|way| way.port.0);
        ways.renew(same, now);
        assert_eq!(port(&ways, one), None);
        ways.set(one, way(3));
        assert_eq!(port(&ways, one), Some(3));
        assert_eq!(port(&ways, other), None, "shares its place");
        ways.set(other, way(4));
        assert_eq!(port(&ways, one), None);
        ways.renew(same, now.plus_ms(TRUSTED_MS - 1));
        assert_eq!(port(&ways, other), Some(4));
        ways.renew(same, now.plus_ms(TRUSTED_MS));
        assert_eq!(port(&ways, other), None);
        ways.set(other, way(4));
        let changed = Sources {
            neighbours: 1,
            ..same
        };
        ways.renew(changed, now.plus_ms(TRUSTED_MS));
        assert_eq!(port(&ways, other), None);
    }

    #[test]
    fn a_neighbour_is_remembered_as_long_as_a_way() {
        let mut ways = Ways::new();
        let (same, now) = (Sources::default(), Time::from_ms(7));
        let (router, mac) = ("10.0.0.1".parse().unwrap(), Mac([2, 0, 0, 0, 0, 9]));
        ways.renew(same, now);
        ways.set_last_hop(PortId(1), router, mac);
        assert_eq!(ways.last_hop(PortId(1), router), Some(mac));
        assert_eq!(ways.last_hop(PortId(0), router), None);
        ways.renew(same, now.plus_ms(TRUSTED_MS));
        assert_eq!(ways.last_hop(PortId(1), router), None);
    }

    #[test]
    fn a_stamp_that_has_been_used_before_makes_nothing_valid() {
        let mut ways = Ways::new();
        ways.set(RealId(1), way(3));
        ways.stamp = u32::MAX;
        ways.renew(Sources::default(), Time::from_ms(7));
        assert_eq!(ways.stamp, 1);
        assert!(ways.get(RealId(1)).is_none());
    }
}
