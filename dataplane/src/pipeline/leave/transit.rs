//! Plain routing for NAT's real servers, whose gateway this machine is: packets that they send besides replies of
//! sessions, and packets to them.
//! Other packets are routed only if the configuration asks for it.

use crate::flow::{Addresses, V4, V6};
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Origin};
use crate::pipeline::balance::begin::is_link_local;
use crate::pipeline::engine::Engine;
use crate::pipeline::leave::forward::{fit, route};
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};

impl<P: Pool> Engine<P> {
    /// A packet that belongs to no session or service, and is no ICMP error about one. It is routed if it is from or to
    /// a NAT real server, as by an LVS director; otherwise it is punted or dropped.
    pub(crate) fn classify_rest<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        let (source, destination) = (packet.addresses.source(), packet.addresses.destination());
        match self.classify_local(snapshot, packet, origin.port) {
            Action::Drop(DropReason::NotLocal)
                if snapshot.forwarding
                    || snapshot.is_nat_real(source)
                    || snapshot.is_nat_real(destination) =>
            {
                self.route_on(snapshot, frame, packet, origin, now)
            }
            action => action,
        }
    }

    /// Forwards a packet as a router does (RFC 1812 section 5.2).
    fn route_on<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        let source = packet.addresses.source();
        if snapshot.is_martian_source(source) || is_link_local(source) {
            return Action::Drop(DropReason::MartianSource);
        }
        if snapshot.is_broadcast(packet.addresses.destination()) {
            // RFC 2644: a router does not forward directed broadcasts.
            return Action::Drop(DropReason::MartianDestination);
        }
        if packet.ttl <= 1 {
            self.time_exceeded(snapshot, frame.bytes(), packet, None, now);
            return Action::Drop(DropReason::TtlExceeded);
        }
        let Some(egress) = snapshot.routes.egress(packet.addresses.destination()) else {
            self.host_unreachable(snapshot, frame.bytes(), packet, now);
            return Action::Drop(DropReason::NoRoute);
        };
        let cut = match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => cut,
            Err(mtu) => {
                self.too_big(snapshot, frame.bytes(), packet, None, mtu, now);
                return Action::Drop(DropReason::MtuExceeded);
            }
        };
        let prepared = match packet.addresses {
            Addresses::V4 { .. } => self.prepare::<V4, F>(snapshot, frame, packet, egress.port),
            Addresses::V6 { .. } => self.prepare::<V6, F>(snapshot, frame, packet, egress.port),
        };
        match prepared {
            Some(_) => route(egress, cut, Verdict::Forwarded),
            None => Action::Drop(DropReason::Truncated),
        }
    }
}
