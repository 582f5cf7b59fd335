//! ICMP errors about packets of sessions, which are relayed to those packets' senders.
//! Message formats are in `wire/`; the NAT of a quoted packet is in `rewrite/`. Errors that are made here: `refuse.rs`.

use std::hash::Hash;

use ahash::RandomState;

use crate::flow::{FlowKey, Protocol, ReplyKey};
use crate::id::RealId;
use crate::io::{PacketBuf, Pool};
use crate::parse::{Packet, parse_quoted};
use crate::pipeline::action::{Context, Decision};
use crate::pipeline::answer::tunnel_errors::{tunnel_error, tunnel_of};
use crate::pipeline::balance::Balancer;
use crate::pipeline::balance::begin::Begun;
use crate::pipeline::balance::one_packet::translation;
use crate::pipeline::leave::forward::{Forwarder, fit, prepare, route};
use crate::pipeline::leave::transit;
use crate::pipeline::limit::FlowLimit;
use crate::pipeline::sessions::{Tabled, Translation, change_of};
use crate::rewrite::change::Change;
use crate::rewrite::nat::Socket;
use crate::session::{Direction, SessionIndex};
use crate::snapshot::Snapshot;
use crate::snapshot::route::Egress;
use crate::verdict::{DropReason, Verdict};
use crate::wire::icmpv4;

/// One worker's relaying of errors.
#[derive(Debug)]
pub(crate) struct Relay {
    /// On errors, by session.
    limit: FlowLimit,
}

impl Relay {
    pub(crate) fn new(hasher: RandomState) -> Self {
        Self {
            limit: FlowLimit::new(hasher),
        }
    }

    /// An error about a packet of a session: it is relayed to that packet's sender.
    pub(crate) fn relay<A: Tabled, P: Pool, F: PacketBuf>(
        &mut self,
        balancer: &mut Balancer,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
    ) -> Decision {
        let Context { snapshot, now, .. } = *context;
        let upper = packet.upper(frame.bytes());
        let quote = upper.get(icmpv4::HEADER_BYTES..);
        let quoted = quote.and_then(parse_quoted);
        let quoted = quoted.ok_or(DropReason::IcmpInvalid)?;
        if let Some(tunnel) = tunnel_of(snapshot, &quoted) {
            let (limit, frame) = (&mut self.limit, frame.bytes());
            return tunnel_error(limit, balancer, forwarder, context, frame, packet, tunnel);
        }
        let (Some((from, to)), Some(protocol)) = (
            A::pair(quoted.addresses),
            Protocol::from_number(quoted.protocol),
        ) else {
            return transit::pass_on(context, frame, packet);
        };
        if packet.addresses.destination() != from.into() {
            // An error is sent to the sender of the quoted packet; this one is forged.
            return Err(DropReason::IcmpInvalid.into());
        }
        let table = A::table_of(&balancer.sessions);
        let key = FlowKey {
            client: to,
            virtual_address: from,
            client_port: quoted.destination_port,
            virtual_port: quoted.source_port,
            protocol,
        };
        if let Some(index) = table.find(table.hash(&key), &key, now) {
            let real = table.get(index).real();
            if let Some(decision) = self.hold_back(context, frame, packet, (real, key)) {
                return decision;
            }
            return relay_to_real::<A, P, F>(balancer, forwarder, context, frame, packet, index);
        }
        let reply = ReplyKey {
            client: from,
            real: to,
            client_port: quoted.source_port,
            real_port: quoted.destination_port,
            protocol,
        };
        if let Some(index) = table.find_reply(table.reply_hash(&reply), &reply, now) {
            let translation = Translation::of(table.get(index));
            let translation = &translation.ok_or(DropReason::IcmpNoSession)?;
            return self.relay_to_client(context, frame, packet, translation, &reply);
        }
        // The session may be on another worker, which the quoted packet identifies.
        let owners = &mut balancer.owners;
        if let Some(decision) = owners.search_quoted(context, &key, Some(&reply)) {
            return decision;
        }
        let real = Socket {
            address: to,
            port: quoted.destination_port,
        };
        if let Some(translation) = &translation(snapshot, protocol, real, from) {
            return self.relay_to_client(context, frame, packet, translation, &reply);
        }
        if let Some(begun) = balancer.begin_by_error(context, frame.bytes(), packet, &key) {
            return match begun? {
                Begun::Here(index) => {
                    relay_to_real::<A, P, F>(balancer, forwarder, context, frame, packet, index)
                }
                Begun::Elsewhere(action) => Ok(action),
            };
        }
        transit::pass_on_icmp(context, frame, packet, DropReason::IcmpNoSession)
    }

    /// What becomes of an error about a session with the real server `real` that is not relayed: this kind is not
    /// relayed for this real server, or the limit for `flow` is reached. `None` if it is relayed.
    fn hold_back<F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        (real, flow): (RealId, impl Hash),
    ) -> Option<Decision> {
        if is_left_alone(context.snapshot, real, packet, frame.bytes()) {
            let reason = DropReason::IcmpIgnored;
            return Some(transit::pass_on_icmp(context, frame, packet, reason));
        }
        let is_allowed = self.limit.allow(flow, context.now);
        (!is_allowed).then_some(Err(DropReason::IcmpLimited.into()))
    }

    /// Relays an error about a request, which the real server or a router before it has sent, to the client, in the name
    /// of the virtual address.
    fn relay_to_client<A: Tabled, F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        translation: &Translation<A>,
        reply: &ReplyKey<A>,
    ) -> Decision {
        let Translation { id, client, change } = *translation;
        if let Some(decision) = self.hold_back(context, frame, packet, (id, reply)) {
            return decision;
        }
        count_relayed(context, frame.bytes(), packet, id, Direction::Output)?;
        let egress = context.snapshot.routes.egress(client.into());
        readdress_and_route(context, frame, packet, egress, change)
    }
}

/// Relays an error about a reply, which comes from the client's side, to the real server. With DR and tunnels it is
/// forwarded as the client's packets are.
fn relay_to_real<A: Tabled, P: Pool, F: PacketBuf>(
    balancer: &Balancer,
    forwarder: &mut Forwarder<P>,
    context: &Context<'_>,
    frame: &mut F,
    packet: &Packet,
    index: SessionIndex,
) -> Decision {
    let session = A::table_of(&balancer.sessions).get(index);
    let real = context.snapshot.real(session.real());
    let real = real.ok_or(DropReason::RealGone)?;
    count_relayed(context, frame.bytes(), packet, real.id, Direction::Input)?;
    let change = change_of(session);
    if !change.translates() {
        return forwarder.forward::<A, F>(context, frame, packet, real, change);
    }
    readdress_and_route(context, frame, packet, real.egress, change)
}

/// Checks an error that is to be relayed, and counts it as a packet of the real server.
fn count_relayed(
    context: &Context<'_>,
    frame: &[u8],
    packet: &Packet,
    real: RealId,
    direction: Direction,
) -> Result<(), DropReason> {
    if !packet.is_icmp_checksum_valid(frame) {
        return Err(DropReason::IcmpInvalid);
    }
    if packet.ttl <= 1 {
        return Err(DropReason::TtlExceeded);
    }
    context.count_packet(real, direction, packet.datagram_bytes().into());
    Ok(())
}

/// Translates an error's addresses, and those of the packet that it quotes, and sends it by `egress`.
fn readdress_and_route<A: Tabled, F: PacketBuf>(
    context: &Context<'_>,
    frame: &mut F,
    packet: &Packet,
    egress: Option<Egress>,
    change: Change<A>,
) -> Decision {
    let egress = egress.ok_or(DropReason::NoRoute)?;
    let packet = &mut { *packet };
    prepare::<A, F>(context.snapshot, frame, packet, egress.port)?;
    change.apply_to_error(frame.bytes_mut(), packet);
    let cut = fit(packet, egress.mtu, context.origin.cut).map_err(|_| DropReason::MtuExceeded)?;
    Ok(route(egress, cut, Verdict::Forwarded))
}

/// Whether errors of this kind about sessions with the real server are not relayed.
fn is_left_alone(snapshot: &Snapshot, real: RealId, packet: &Packet, frame: &[u8]) -> bool {
    packet.upper(frame).first() == Some(&icmpv4::PARAMETER_PROBLEM)
        && !packet.addresses.is_v6()
        && snapshot
            .real(real)
            .is_some_and(|real| !real.policy.relays_parameter_problems)
}
