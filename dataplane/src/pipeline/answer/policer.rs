//! Rate limits of one worker on packets to this machine itself: echo requests that are answered, and frames that are
//! punted to the kernel.
//! Packets of sessions are not limited here.

use std::net::IpAddr;

use ahash::RandomState;

use crate::flow::{Address as _, Addresses};
use crate::id::PortId;
use crate::parse::Packet;
use crate::pipeline::action::Context;
use crate::pipeline::limit::{ErrorLimit, FlowLimit};
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::wire::ipv4;
use crate::wire::ipv6::is_multicast;

/// Echo requests answered per second: the same as for each kind of ICMP error.
const PINGS: u64 = 1000;
/// Half of the echo requests per second of one source that are answered.
const PINGS_OF_SOURCE: u16 = 16;
/// ARP, neighbour discovery and other protocols than IP, per second.
const NEIGHBOURS: u64 = 2000;
/// Packets of routing protocols per second, for each of the three kinds of sources: enough for several full BGP tables
/// at once, with BFD.
const ROUTING: u64 = 10_000;
/// Half of the packets per second that one source may send; not for packets that no router has forwarded.
const ROUTING_OF_SOURCE: u16 = 2500;
/// Other packets for the kernel per second: 120 Mbit/s of full-size ones.
const OTHERS: u64 = 10_000;
/// Half of the packets per second that one source may send.
const OTHERS_OF_SOURCE: u16 = 1000;

/// IANA protocol numbers: IGMP, OSPF, PIM, VRRP.
const ROUTING_PROTOCOLS: [u8; 4] = [2, 89, 103, 112];
/// IANA "bgp".
const BGP: u16 = 179;
/// BFD's single-hop control and echo packets, and multihop (RFC 5881 section 4, RFC 5883 section 5).
const BFD: [u16; 3] = [3784, 3785, 4784];

/// A limit on all sources together, and a smaller one on each.
#[derive(Debug)]
struct OfSources {
    all: ErrorLimit,
    each: FlowLimit,
}

impl OfSources {
    fn new(all: u64, half_of_each: u16, hasher: &RandomState) -> Self {
        Self {
            all: ErrorLimit::new(all),
            each: FlowLimit::of(half_of_each, hasher.clone()),
        }
    }

    /// A source over its own limit takes no tokens of the limit on all.
    fn allow(&mut self, source: IpAddr, now: Time) -> bool {
        self.each.allow(source, now) && self.all.allow(now)
    }
}

/// One worker's limits. Each kind of packet has its own bucket, so that a flood of one kind does not starve routing
/// protocols or neighbour resolution.
/// Anybody can send to BGP's port. So there are three buckets for routing protocols: packets that no router has
/// forwarded (TTL 255, as RFC 5082 and RFC 5881 section 5 require, or to a multicast address of the link), other
/// packets from an address on the link, and all others.
#[derive(Debug)]
pub(crate) struct Policer {
    pings: OfSources,
    neighbours: ErrorLimit,
    routing_of_link: ErrorLimit,
    routing_of_neighbours: OfSources,
    routing_from_afar: OfSources,
    others: OfSources,
}

impl Policer {
    pub(crate) fn new(hasher: &RandomState) -> Self {
        Self {
            pings: OfSources::new(PINGS, PINGS_OF_SOURCE, hasher),
            neighbours: ErrorLimit::new(NEIGHBOURS),
            routing_of_link: ErrorLimit::new(ROUTING),
            routing_of_neighbours: OfSources::new(ROUTING, ROUTING_OF_SOURCE, hasher),
            routing_from_afar: OfSources::new(ROUTING, ROUTING_OF_SOURCE, hasher),
            others: OfSources::new(OTHERS, OTHERS_OF_SOURCE, hasher),
        }
    }

    /// Whether an echo request received on `port` is answered.
    pub(crate) fn may_answer(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        ping: &Packet,
        now: Time,
    ) -> bool {
        self.pings.allow(source_of(snapshot, port, ping), now)
    }

    /// Whether a frame is punted to the kernel; `packet` is what it was parsed to, if it is IP.
    #[cold]
    pub(crate) fn may_punt(&mut self, context: &Context<'_>, packet: Option<&Packet>) -> bool {
        let Context { snapshot, now, .. } = *context;
        let port = context.origin.port;
        let Some(packet) = packet else {
            return self.neighbours.allow(now);
        };
        let source = || source_of(snapshot, port, packet);
        if is_of_routing(packet) {
            if packet.ttl == 255 || is_of_link(packet) {
                self.routing_of_link.allow(now)
            } else if snapshot.is_on_link(port, packet.addresses.source()) {
                self.routing_of_neighbours.allow(source(), now)
            } else {
                self.routing_from_afar.allow(source(), now)
            }
        } else if is_of_link(packet) {
            self.neighbours.allow(now)
        } else {
            self.others.allow(source(), now)
        }
    }
}

/// What counts as one source. An IPv6 source that is not on the link is its /64, since one host may use all addresses
/// in it (RFC 4291 section 2.5.4).
fn source_of(snapshot: &Snapshot, port: PortId, packet: &Packet) -> IpAddr {
    let source = packet.addresses.source();
    match packet.addresses {
        Addresses::V6 {
            source: address, ..
        } if !snapshot.is_on_link(port, source) => address.network(64).into(),
        Addresses::V4 { .. } | Addresses::V6 { .. } => source,
    }
}

/// Whether the packet belongs to a routing protocol.
fn is_of_routing(packet: &Packet) -> bool {
    let ports = [packet.source_port, packet.destination_port];
    match packet.protocol {
        ipv4::TCP => ports.contains(&BGP),
        ipv4::UDP => BFD.contains(&packet.destination_port),
        other => ROUTING_PROTOCOLS.contains(&other),
    }
}

/// Whether the packet is to a multicast address of the link, as those of router discovery and MLD are, or belongs to
/// neighbour discovery.
fn is_of_link(packet: &Packet) -> bool {
    match packet.addresses {
        Addresses::V4 { destination, .. } => destination.0 >> 8 == 0x00e0_0000,
        Addresses::V6 { destination, .. } => {
            is_multicast(destination) || packet.is_icmp() && packet.ttl == 255
        }
    }
}
