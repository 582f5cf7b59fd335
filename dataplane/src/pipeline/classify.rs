//! What a packet is for: a session or service, one of our own addresses, the kernel, or nobody.
//! Order matters, and follows IPVS where IPVS has an order.

use crate::flow::{Addresses, V4, V6};
use crate::id::PortId;
use crate::io::{PacketBuf, Pool};
use crate::parse::{Packet, Parse};
use crate::pipeline::action::{Action, Context, Origin, punt};
use crate::pipeline::engine::Engine;
use crate::pipeline::sessions::flow_key;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::wire::{ethernet, icmpv6, ipv4, ipv6};

impl<P: Pool> Engine<P> {
    /// Decides what happens to the frame, and rewrites it accordingly.
    #[inline]
    pub(crate) fn classify<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        parse: &Parse,
        origin: Origin,
        now: Time,
    ) -> Action {
        let (Some(port), Some(mac)) = (snapshot.port(origin.port), snapshot.mac_of(origin.port))
        else {
            return Action::Drop(DropReason::NotLocal);
        };
        let Some(header) = ethernet::Header::new(frame.bytes()) else {
            return Action::Drop(DropReason::Truncated);
        };
        let to = header.destination();
        if to != mac && !to.is_group() {
            return Action::Drop(DropReason::OtherMac);
        }
        match parse {
            Parse::Ip(packet) => {
                if packet.datagram_bytes() > u32::from(port.mtu) && origin.cut.is_none() {
                    return Action::Drop(DropReason::OversizeFrame);
                }
                if to.is_group() && !is_group(packet) {
                    // RFC 1122 section 3.3.6; IPVS too takes only what was sent to the host alone.
                    return Action::Drop(DropReason::OtherMac);
                }
                self.classify_ip(snapshot, frame, packet, origin, now)
            }
            Parse::Arp { offset } => {
                let (context, offset) = (Context { snapshot, now }, usize::from(*offset));
                self.host
                    .arp(&mut self.exit, context, frame, offset, origin.port)
            }
            // Bridges and switches talk to each other all the time (STP, LLDP).
            Parse::Other { .. } if to.is_group() => {
                punt(snapshot, origin.port).unwrap_or(Action::Consume)
            }
            Parse::Other { .. } => {
                punt(snapshot, origin.port).unwrap_or(Action::Drop(DropReason::EtherTypeUnknown))
            }
            Parse::Drop(DropReason::Truncated) if is_cut_off(frame.bytes(), port.mtu) => {
                Action::Drop(DropReason::OversizeFrame)
            }
            Parse::Drop(reason) => Action::Drop(*reason),
        }
    }

    #[inline]
    fn classify_ip<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        if is_neighbour_discovery(frame.bytes(), packet) {
            // RFC 6980: none of it comes in fragments, nor behind a fragment header. Nobody puts
            // other headers before it either.
            if origin.cut.is_some() || usize::from(packet.l4 - packet.l3) != ipv6::HEADER_BYTES {
                return Action::Drop(DropReason::NdpInvalid);
            }
            let context = Context { snapshot, now };
            return self
                .host
                .ndp(&mut self.exit, context, frame, packet, origin.port);
        }
        if let Some(reason) = packet.addresses.martian() {
            return Action::Drop(reason);
        }
        if packet.fragment.is_some() {
            return self.classify_fragment(snapshot, frame, packet, origin, now);
        }
        match (packet.addresses, packet.balanced_protocol()) {
            (
                Addresses::V4 {
                    source,
                    destination,
                },
                Some(protocol),
            ) => {
                let key = flow_key(packet, protocol, source, destination);
                let hash = self.sessions.v4.hash(&key);
                self.balance::<V4, F>(snapshot, frame, packet, (&key, hash), origin, now)
            }
            (
                Addresses::V6 {
                    source,
                    destination,
                },
                Some(protocol),
            ) => {
                let key = flow_key(packet, protocol, source, destination);
                let hash = self.sessions.v6.hash(&key);
                self.balance::<V6, F>(snapshot, frame, packet, (&key, hash), origin, now)
            }
            (Addresses::V4 { .. }, None) if packet.is_icmp() => {
                self.classify_icmp::<V4, F>(snapshot, frame, packet, origin, now)
            }
            (Addresses::V6 { .. }, None) if packet.is_icmp() => {
                self.classify_icmp::<V6, F>(snapshot, frame, packet, origin, now)
            }
            (_, None) => {
                let action = self.classify_rest(snapshot, frame, packet, origin, now);
                if matches!(
                    action,
                    Action::Drop(DropReason::LocalUnhandled | DropReason::NoService)
                ) {
                    self.refuse_as_host(snapshot, frame.bytes(), packet, now);
                }
                action
            }
        }
    }

    /// A packet that is no session's, no service's and no error: the kernel's, if it is for us.
    pub(crate) fn classify_local(
        &self,
        snapshot: &Snapshot,
        packet: &Packet,
        port: PortId,
    ) -> Action {
        let destination = packet.addresses.destination();
        if is_group(packet) {
            return punt(snapshot, port).unwrap_or(Action::Consume);
        }
        if snapshot.locals.contains_key(&destination) {
            punt(snapshot, port).unwrap_or(Action::Drop(DropReason::LocalUnhandled))
        } else if snapshot.is_vip(destination) {
            Action::Drop(DropReason::NoService)
        } else {
            Action::Drop(DropReason::NotLocal)
        }
    }
}

/// Whether the destination is a group that this port's kernel may have joined.
fn is_group(packet: &Packet) -> bool {
    match packet.addresses {
        Addresses::V4 { destination, .. } => {
            destination.0 >> 28 == 0xe || destination.0 == u32::MAX
        }
        Addresses::V6 { destination, .. } => crate::wire::ipv6::is_multicast(destination),
    }
}

/// RFC 4861's messages, which are about the link and not about a flow.
#[inline]
fn is_neighbour_discovery(frame: &[u8], packet: &Packet) -> bool {
    matches!(packet.addresses, Addresses::V6 { .. })
        && packet.is_icmp()
        && packet.fragment.is_none()
        && packet
            .upper(frame)
            .first()
            .is_some_and(|kind| matches!(*kind, icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT))
}

/// Whether a frame that ends too early is one that segmentation offload made longer than the
/// receive buffer.
#[cold]
fn is_cut_off(frame: &[u8], mtu: u16) -> bool {
    ethernet::Header::new(frame).is_some_and(|header| header.ether_type() == ethernet::IPV4)
        && ipv4::Header::at(frame, ethernet::HEADER_BYTES)
            .is_some_and(|header| header.total_length() > mtu)
}
