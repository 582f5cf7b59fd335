//! How much of what is for this machine itself one worker answers or gives to the kernel: pings and punted frames.
//! Which frames those are was decided before; traffic of sessions is never counted here.

use std::net::IpAddr;

use ahash::RandomState;

use crate::flow::{Address as _, Addresses};
use crate::id::PortId;
use crate::parse::{Packet, Parse, parse};
use crate::pipeline::answer::limit::{ErrorLimit, FlowLimit};
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::wire::ipv4;
use crate::wire::ipv6::is_multicast;

/// Pings answered per second, as many as errors are made of one kind.
const PINGS: u64 = 1000;
/// Half of the pings per second that one source is answered.
const PINGS_OF_SOURCE: u16 = 16;
/// ARP, neighbour discovery and what is no IP at all, per second.
const NEIGHBOURS: u64 = 2000;
/// Packets of routing protocols per second, of each nearness: several full tables by BGP at once, and BFD beside
/// them.
const ROUTING: u64 = 10_000;
/// Half of those that one source may send, unless no router has passed them on.
const ROUTING_OF_SOURCE: u16 = 2500;
/// Other packets for the kernel per second: 120 Mbit/s of full-size ones.
const OTHERS: u64 = 10_000;
/// Half of those that one source may send.
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

    /// Who has had its share takes nothing from that of all.
    fn allow(&mut self, source: IpAddr, now: Time) -> bool {
        self.each.allow(source, now) && self.all.allow(now)
    }
}

/// One worker's limits. Each kind has a bucket of its own, so that a flood of one does not take routing
/// protocols or neighbours from the kernel.
///
/// Anybody can send to a port of BGP. So what no router has passed on (TTL 255, as RFC 5082 and RFC 5881 section 5
/// ask for; groups) is apart from what a neighbour's address has sent, and that from all others.
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

    /// Whether the ping is answered, which came by `port`.
    pub(crate) fn may_answer(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        ping: &Packet,
        now: Time,
    ) -> bool {
        self.pings.allow(source_of(snapshot, port, ping), now)
    }

    /// Whether the kernel gets the frame, which came by `port`.
    #[cold]
    pub(crate) fn may_punt(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        frame: &[u8],
        now: Time,
    ) -> bool {
        match parse(frame) {
            Parse::Ip(packet) if is_of_routing(&packet) => {
                let source = source_of(snapshot, port, &packet);
                if packet.ttl == 255 || is_of_link(&packet) {
                    self.routing_of_link.allow(now)
                } else if snapshot.is_on_link(port, packet.addresses.source()) {
                    self.routing_of_neighbours.allow(source, now)
                } else {
                    self.routing_from_afar.allow(source, now)
                }
            }
            Parse::Ip(packet) if is_of_link(&packet) => self.neighbours.allow(now),
            Parse::Ip(packet) => {
                let source = source_of(snapshot, port, &packet);
                self.others.allow(source, now)
            }
            Parse::Arp { .. } | Parse::Other { .. } | Parse::Drop(_) => self.neighbours.allow(now),
        }
    }
}

/// Whom the limit of one source is for: beyond the link everybody in a /64, since one host there may use all of its
/// addresses (RFC 4291 section 2.5.4).
fn source_of(snapshot: &Snapshot, port: PortId, packet: &Packet) -> IpAddr {
    let source = packet.addresses.source();
    match packet.addresses {
        Addresses::V6 {
            source: address, ..
        } if !snapshot.is_on_link(port, source) => address.network(64).into(),
        Addresses::V4 { .. } | Addresses::V6 { .. } => source,
    }
}

/// Whether the packet is a routing protocol's.
fn is_of_routing(packet: &Packet) -> bool {
    let ports = [packet.source_port, packet.destination_port];
    match packet.protocol {
        ipv4::TCP => ports.contains(&BGP),
        ipv4::UDP => BFD.contains(&packet.destination_port),
        other => ROUTING_PROTOCOLS.contains(&other),
    }
}

/// Whether the packet is for a group of hosts on the link, as router and neighbour discovery and MLD are, or
/// is about neighbours.
fn is_of_link(packet: &Packet) -> bool {
    match packet.addresses {
        Addresses::V4 { destination, .. } => destination.0 >> 8 == 0x00e0_0000,
        Addresses::V6 { destination, .. } => {
            is_multicast(destination) || packet.is_icmp() && packet.ttl == 255
        }
    }
}
