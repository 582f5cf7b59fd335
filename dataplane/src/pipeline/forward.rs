//! A session's packet on its way out: to its real server by DR, NAT or tunnel, and a reply to its client.
//! Which session, and what it becomes, is `balance.rs`'s.

use std::net::IpAddr;

use super::one_packet::Translation;
use super::{Action, Cut, Engine, Origin, Tabled};
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::rewrite::nat::{self, Side, Socket};
use crate::rewrite::tunnel;
use crate::snapshot::Snapshot;
use crate::snapshot::model::{Egress, ForwardMethod, RealServer, TunnelKind};
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::HEADER_BYTES as ETHERNET;
use crate::wire::ipv6;

impl<P: Pool> Engine<P> {
    /// Sends a client's packet to its real server. Order as in IPVS: TTL, MTU, rewriting.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "the packet's facts, in registers"
    )]
    pub(super) fn forward<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        real: &RealServer,
        method: ForwardMethod,
        socket: Option<Socket<A>>,
        origin: Origin,
        now: Time,
    ) -> Action {
        let Some((_, destination)) = A::pair(packet.addresses) else {
            return Action::Drop(DropReason::NoRoute);
        };
        let vip: IpAddr = destination.into();
        if packet.ttl <= 1 {
            self.time_exceeded(snapshot, frame.bytes(), packet, Some(vip), now);
            return Action::Drop(DropReason::TtlExceeded);
        }
        let Some(egress) = real.egress else {
            self.host_unreachable(snapshot, frame.bytes(), packet, now);
            return Action::Drop(DropReason::NoRoute);
        };
        let Some(packet) = &self.prepare::<A, F>(frame, packet) else {
            return Action::Drop(DropReason::Truncated);
        };
        if method == ForwardMethod::Tunnel {
            return self.forward_by_tunnel(snapshot, frame, packet, real, egress, origin, now);
        }
        let cut = match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => cut,
            Err(mtu) => {
                self.too_big(snapshot, frame.bytes(), packet, Some(vip), mtu, now);
                return Action::Drop(DropReason::MtuExceeded);
            }
        };
        if let (Some(socket), Some(protocol)) = (socket, packet.balanced_protocol()) {
            let old = Socket {
                address: destination,
                port: packet.destination_port,
            };
            let bytes = frame.bytes_mut();
            nat::readdress(bytes, packet, protocol, Side::Destination, old, socket);
        }
        route(egress, cut, Verdict::Forwarded)
    }

    /// Sends a NAT real server's packet to its client, in the name of the VIP.
    #[inline]
    pub(super) fn forward_reply<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        translation: &Translation<A>,
        origin: Origin,
        now: Time,
    ) -> Action {
        if packet.ttl <= 1 {
            self.time_exceeded(snapshot, frame.bytes(), packet, None, now);
            return Action::Drop(DropReason::TtlExceeded);
        }
        let Some(protocol) = packet.balanced_protocol() else {
            return Action::Drop(DropReason::NoSession);
        };
        let Some(egress) = snapshot.routes.egress(translation.client.into()) else {
            return Action::Drop(DropReason::NoRoute);
        };
        let Some(packet) = &self.prepare::<A, F>(frame, packet) else {
            return Action::Drop(DropReason::Truncated);
        };
        let cut = match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => cut,
            Err(mtu) => {
                self.too_big(snapshot, frame.bytes(), packet, None, mtu, now);
                return Action::Drop(DropReason::MtuExceeded);
            }
        };
        nat::readdress(
            frame.bytes_mut(),
            packet,
            protocol,
            Side::Source,
            translation.real,
            translation.virtual_,
        );
        route(egress, cut, Verdict::Forwarded)
    }
    #[expect(
        clippy::too_many_arguments,
        reason = "the packet's facts, in registers"
    )]
    fn forward_by_tunnel<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        real: &RealServer,
        egress: Egress,
        origin: Origin,
        now: Time,
    ) -> Action {
        let overhead = tunnel::overhead(real.tunnel, real.address);
        let inner_mtu = usize::from(egress.mtu).saturating_sub(overhead);
        let length = packet.datagram_bytes() as usize;
        let piece = origin.cut.map_or(length, |cut| cut.size.min(length));
        if piece > inner_mtu && packet.dont_fragment {
            let vip = packet.addresses.destination();
            self.too_big(snapshot, frame.bytes(), packet, Some(vip), inner_mtu, now);
            return Action::Drop(DropReason::MtuExceeded);
        }
        let id = self.take_id();
        let will_be_cut = length > inner_mtu;
        let outer = tunnel::Outer {
            source: egress.source,
            real: real.address,
            kind: real.tunnel,
            flow: match real.tunnel {
                TunnelKind::Gue { .. } => tunnel::flow_hash(packet),
                TunnelKind::Ipip | TunnelKind::Gre => 0,
            },
            id,
            will_be_cut,
        };
        if let Err(reason) = tunnel::encapsulate(frame, &outer) {
            return Action::Drop(reason);
        }
        // What may be fragmented is fragmented outside: the tunnel is invisible to both ends.
        let cut = will_be_cut.then_some(Cut {
            size: usize::from(egress.mtu),
            header_bytes: ipv6::HEADER_BYTES,
            id: u32::from(id),
        });
        match cut {
            Some(cut) => route(egress, Some(cut), Verdict::Forwarded),
            None => route(
                egress,
                origin.cut.map(|cut| Cut {
                    size: usize::MAX,
                    ..cut
                }),
                Verdict::Forwarded,
            ),
        }
    }

    /// Brings the frame into the form that rewriting expects: a plain Ethernet header, no padding,
    /// one hop less. Returns the packet's new offsets.
    #[inline]
    pub(super) fn prepare<A: Tabled, F: PacketBuf>(
        &mut self,
        frame: &mut F,
        packet: &Packet,
    ) -> Option<Packet> {
        let packet = strip(frame, packet)?;
        A::decrement_ttl(frame.bytes_mut().get_mut(ETHERNET..)?);
        Some(packet)
    }

    /// An identification for a datagram made here. Workers take turns: the pieces of two of them
    /// must not be taken for one datagram by a receiver that knows only our address.
    pub(super) fn take_id(&mut self) -> u16 {
        let step = u16::try_from(self.start.workers).unwrap_or(1);
        self.next_id = self.next_id.wrapping_add(step);
        self.next_id
    }
}

/// Removes a priority tag and padding; returns the packet's new offsets.
#[inline]
pub(super) fn strip<F: PacketBuf>(frame: &mut F, packet: &Packet) -> Option<Packet> {
    let mut packet = *packet;
    let tag = usize::from(packet.l3).checked_sub(ETHERNET)?;
    frame.set_len(packet.end as usize).ok()?;
    if tag > 0 {
        frame.trim_front(tag);
        let tag = u16::try_from(tag).ok()?;
        packet.l3 -= tag;
        packet.l4 -= tag;
        packet.end -= u32::from(tag);
    }
    Some(packet)
}

/// Whether a packet fits the way: `Ok(None)` if it does, `Ok(Some(_))` if it is to be cut,
/// `Err(mtu)` if it must not be. What came in fragments leaves in fragments of the same size, or
/// smaller ones where its sender allows routers to cut.
pub(super) fn fit(packet: &Packet, mtu: u16, came_cut: Option<Cut>) -> Result<Option<Cut>, usize> {
    let mtu = usize::from(mtu);
    if let Some(cut) = came_cut {
        if packet.dont_fragment && cut.size > mtu {
            return Err(mtu);
        }
        return Ok(Some(Cut {
            size: cut.size.min(mtu),
            ..cut
        }));
    }
    if packet.datagram_bytes() as usize <= mtu {
        Ok(None)
    } else if packet.dont_fragment {
        Err(mtu)
    } else {
        Ok(Some(Cut {
            size: mtu,
            header_bytes: 0,
            id: 0,
        }))
    }
}

/// The packet goes this way.
#[inline]
pub(super) fn route(egress: Egress, cut: Option<Cut>, verdict: Verdict) -> Action {
    Action::Route {
        port: egress.port,
        next_hop: egress.next_hop,
        cut,
        verdict,
    }
}
