//! Packets that belong to no session or service: the kernel's, if they are for this machine, and NAT's real servers',
//! whose gateway it is, which are routed.
//! Other packets are routed only if the configuration asks for it.

use std::net::IpAddr;

use crate::flow::{Addresses, V4, V6};
use crate::id::PortId;
use crate::io::PacketBuf;
use crate::parse::Packet;
use crate::pipeline::action::{Action, Answer, Context, Decision, Refusal, Speaker, punt};
use crate::pipeline::leave::forward::{fit, prepare, route, too_big};
use crate::snapshot::Snapshot;
use crate::spec::network::is_link_local;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv6;

/// A packet that belongs to no session or service, and is no ICMP error about one. It is routed if it is from or to
/// a NAT real server, as by an LVS director; otherwise it is punted or dropped.
pub(crate) fn pass_on<F: PacketBuf>(
    context: &Context<'_>,
    frame: &mut F,
    packet: &Packet,
) -> Decision {
    let snapshot = context.snapshot;
    let (source, destination) = (packet.addresses.source(), packet.addresses.destination());
    match take_in(snapshot, packet, context.origin.port) {
        Err(DropReason::NotLocal)
            if snapshot.forwarding
                || snapshot.is_nat_real(source)
                || snapshot.is_nat_real(destination) =>
        {
            route_on(context, frame, packet)
        }
        taken => Ok(taken?),
    }
}

/// The same for an ICMP message, with `reason` if it is for this machine and dropped.
pub(crate) fn pass_on_icmp<F: PacketBuf>(
    context: &Context<'_>,
    frame: &mut F,
    packet: &Packet,
    reason: DropReason,
) -> Decision {
    pass_on(context, frame, packet).map_err(|refusal| match refusal.reason {
        DropReason::LocalUnhandled | DropReason::NoService => reason.into(),
        _ => refusal,
    })
}

/// A packet for this machine goes to the kernel, if the port has a kernel's port. The error is why it does not; `NotLocal`
/// if it is not for this machine.
fn take_in(snapshot: &Snapshot, packet: &Packet, port: PortId) -> Result<Action, DropReason> {
    let destination = packet.addresses.destination();
    if is_group(packet) {
        return Ok(punt(snapshot, port).unwrap_or(Action::Consume));
    }
    if snapshot.locals.contains_key(&destination) {
        punt(snapshot, port).ok_or(DropReason::LocalUnhandled)
    } else if snapshot.is_vip(destination) {
        Err(DropReason::NoService)
    } else {
        Err(DropReason::NotLocal)
    }
}

/// Whether the destination is a group that this port's kernel may have joined.
pub(crate) fn is_group(packet: &Packet) -> bool {
    match packet.addresses {
        Addresses::V4 { destination, .. } => {
            destination.0 >> 28 == 0xe || destination.0 == u32::MAX
        }
        Addresses::V6 { destination, .. } => ipv6::is_multicast(destination),
    }
}

/// Forwards a packet as a router does (RFC 1812 section 5.2).
fn route_on<F: PacketBuf>(context: &Context<'_>, frame: &mut F, packet: &Packet) -> Decision {
    let snapshot = context.snapshot;
    if is_never_forwarded(snapshot, packet.addresses.source()) {
        return Err(DropReason::MartianSource.into());
    }
    if snapshot.is_broadcast(packet.addresses.destination()) {
        // RFC 2644: a router does not forward directed broadcasts.
        return Err(DropReason::MartianDestination.into());
    }
    if packet.ttl <= 1 {
        let answer = Answer::TimeExceeded(Speaker::Router);
        return Err(Refusal::new(DropReason::TtlExceeded, answer));
    }
    let egress = snapshot.routes.egress(packet.addresses.destination());
    let egress = egress.ok_or(Refusal::new(DropReason::NoRoute, Answer::HostUnreachable))?;
    let cut =
        fit(packet, egress.mtu, context.origin.cut).map_err(|mtu| too_big(mtu, Speaker::Router))?;
    let packet = &mut { *packet };
    match packet.addresses {
        Addresses::V4 { .. } => prepare::<V4, F>(snapshot, frame, packet, egress.port),
        Addresses::V6 { .. } => prepare::<V6, F>(snapshot, frame, packet, egress.port),
    }?;
    Ok(route(egress, cut, Verdict::Forwarded))
}

/// Whether packets from this address are not forwarded: nobody outside has it, or it is valid on its own link only
/// (RFC 4291 section 2.5.6). 169.254.0.0/16 is forwarded, as by LVS: links and health checkers in clouds have such
/// addresses.
#[inline]
pub(crate) fn is_never_forwarded(snapshot: &Snapshot, source: IpAddr) -> bool {
    is_link_local(source) || snapshot.is_martian_source(source)
}
