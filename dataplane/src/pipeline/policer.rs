//! How much of what is for this machine itself one worker answers or gives to the kernel: pings and punted frames.
//! Which frames those are was decided before; traffic of sessions is never counted here.

use ahash::RandomState;

use super::Engine;
use super::limit::{ErrorLimit, FlowLimit};
use crate::io::Pool;
use crate::parse::{Addresses, Packet, Parse, parse};
use crate::time::Time;
use crate::wire::ipv4;
use crate::wire::ipv6::is_multicast;

/// Pings answered per second, as many as errors are made of one kind.
const PINGS: u64 = 1000;
/// Half of the pings per second that one source is answered.
const PINGS_OF_SOURCE: u16 = 16;
/// ARP, neighbour discovery and what is no IP at all, per second.
const NEIGHBOURS: u64 = 2000;
/// Packets of routing protocols per second: several full tables by BGP at once, and BFD beside them.
const ROUTING: u64 = 10_000;
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

/// One worker's limits. Each kind has a bucket of its own, so that a flood of one does not take routing
/// protocols or neighbours from the kernel.
#[derive(Debug)]
pub(super) struct Policer {
    pings: ErrorLimit,
    pings_by_source: FlowLimit,
    neighbours: ErrorLimit,
    routing: ErrorLimit,
    others: ErrorLimit,
    others_by_source: FlowLimit,
}

impl Policer {
    pub(super) fn new(hasher: &RandomState) -> Self {
        Self {
            pings: ErrorLimit::new(PINGS),
            pings_by_source: FlowLimit::of(PINGS_OF_SOURCE, hasher.clone()),
            neighbours: ErrorLimit::new(NEIGHBOURS),
            routing: ErrorLimit::new(ROUTING),
            others: ErrorLimit::new(OTHERS),
            others_by_source: FlowLimit::of(OTHERS_OF_SOURCE, hasher.clone()),
        }
    }

    /// Whether the ping is answered. Who has had its share takes nothing from that of all.
    pub(super) fn may_answer(&mut self, ping: &Packet, now: Time) -> bool {
        self.pings_by_source.allow(ping.addresses.source(), now) && self.pings.allow(now)
    }
}

impl<P: Pool> Engine<P> {
    /// Whether the kernel gets the frame.
    #[cold]
    pub(super) fn may_punt(&mut self, frame: &[u8], now: Time) -> bool {
        let policer = &mut self.policer;
        match parse(frame) {
            Parse::Ip(packet) if is_of_routing(&packet) => policer.routing.allow(now),
            Parse::Ip(packet) if is_of_link(&packet) => policer.neighbours.allow(now),
            Parse::Ip(packet) => {
                let source = packet.addresses.source();
                policer.others_by_source.allow(source, now) && policer.others.allow(now)
            }
            Parse::Arp { .. } | Parse::Other { .. } | Parse::Drop(_) => {
                policer.neighbours.allow(now)
            }
        }
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
