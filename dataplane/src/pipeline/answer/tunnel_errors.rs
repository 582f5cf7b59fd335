//! ICMP errors about the outer packets of tunnels: the path MTU is learnt, and the client gets an error about its own
//! packet.
//! Errors about other packets are handled in `relay.rs`.

use crate::flow::{Addresses, FlowKey, Protocol, V4, V6};
use crate::id::RealId;
use crate::io::Pool;
use crate::parse::{Packet, Quoted, parse_quoted};
use crate::pipeline::action::{Action, Context, Decision};
use crate::pipeline::answer::icmp_error::{Error, send_error};
use crate::pipeline::answer::quoted_hops;
use crate::pipeline::balance::Balancer;
use crate::pipeline::handover::owners::Owners;
use crate::pipeline::leave::forward::Forwarder;
use crate::pipeline::leave::path_mtu::plateau_below;
use crate::pipeline::limit::FlowLimit;
use crate::pipeline::sessions::{Sessions, Tabled};
use crate::session::Direction;
use crate::snapshot::Snapshot;
use crate::spec::forward::TunnelKind;
use crate::time::Time;
use crate::verdict::DropReason;
use crate::wire::{gre, gue, icmpv4, icmpv6, ipv4, ipv6};

/// What an error says about an outer packet.
#[derive(Debug, Clone, Copy)]
enum Complaint {
    /// The packet is too big; the MTU is this.
    TooBig(u32),
    /// The packet was not delivered. The client gets the same type and code if it has the same address family.
    Lost { kind: u8, code: u8 },
    /// The client gets no error.
    Other,
}

/// The kind of tunnel of the quoted packet, if both of its addresses are ends of one of our tunnels.
pub(crate) fn tunnel_of(snapshot: &Snapshot, quoted: &Quoted) -> Option<TunnelKind> {
    let kind = match quoted.protocol {
        ipv4::IPIP | ipv6::IPV6_IN_IP => TunnelKind::Ipip,
        gre::PROTOCOL => TunnelKind::Gre { checksum: false },
        ipv4::UDP => TunnelKind::Gue {
            port: quoted.destination_port,
            checksum: false,
        },
        _ => return None,
    };
    let (ours, real) = (quoted.addresses.source(), quoted.addresses.destination());
    (snapshot.locals.contains_key(&ours) && snapshot.is_tunnel_end(real, kind)).then_some(kind)
}

/// The smallest path MTU that is accepted from an error that quotes too little to be matched with a session. Such an
/// error can be forged without knowledge of a session, so it must not do more harm than this.
const MIN_UNPROVEN: u32 = 1280;

/// Handles an error about a tunnel's outer packet. As in IPVS, the client gets a new error about its own packet,
/// and one about the size states the path MTU that was known before this error. `limit` is asked for those about
/// sessions.
pub(super) fn tunnel_error<P: Pool>(
    limit: &mut FlowLimit,
    balancer: &mut Balancer,
    forwarder: &mut Forwarder<P>,
    context: &Context<'_>,
    frame: &[u8],
    packet: &Packet,
    kind: TunnelKind,
) -> Decision {
    let Context { snapshot, now, .. } = *context;
    let upper = packet.upper(frame);
    let (outer, quote) = upper
        .get(icmpv4::HEADER_BYTES..)
        .and_then(|quote| Some((parse_quoted(quote)?, quote)))
        .ok_or(DropReason::IcmpInvalid)?;
    let addressed = packet.addresses.destination() == outer.addresses.source();
    if !addressed || !packet.is_icmp_checksum_valid(frame) {
        return Err(DropReason::IcmpInvalid.into());
    }
    let real_address = outer.addresses.destination();
    let complaint = complaint(upper, quote, packet.addresses);
    let inner = quote
        .get(usize::from(outer.l4)..)
        .and_then(|behind| unwrap(kind, behind));
    let flow = inner.map_or_else(
        || (real_address, outer.addresses.source(), 0, 0),
        |(_, inner)| {
            let (client, vip) = (inner.addresses.source(), inner.addresses.destination());
            (client, vip, inner.source_port, inner.destination_port)
        },
    );
    let session = inner.and_then(|(_, inner)| match inner.addresses {
        Addresses::V4 { .. } => tunnelled::<V4>(&balancer.sessions, &inner, now),
        Addresses::V6 { .. } => tunnelled::<V6>(&balancer.sessions, &inner, now),
    });
    let real = session
        .and_then(|real| snapshot.real(real))
        .filter(|real| real.spec.address == real_address);
    let (Some((datagram, inner)), Some(real)) = (inner, real) else {
        // The session may be on another worker, or the error quotes too little to find it.
        let owners = &mut balancer.owners;
        let elsewhere = inner.and_then(|(_, inner)| match inner.addresses {
            Addresses::V4 { .. } => search::<V4>(owners, context, &inner),
            Addresses::V6 { .. } => search::<V6>(owners, context, &inner),
        });
        if let Some(decision) = elsewhere {
            return decision;
        }
        return match complaint {
            Complaint::TooBig(told)
                if forwarder.learn_mtu(context, real_address, told.max(MIN_UNPROVEN)) =>
            {
                Ok(Action::Consume)
            }
            _ => Err(DropReason::IcmpNoSession.into()),
        };
    };
    if !limit.allow(flow, now) {
        return Err(DropReason::IcmpLimited.into());
    }
    let error = match complaint {
        Complaint::TooBig(told) => {
            let mtu = forwarder.inner_mtu(real, now);
            forwarder.learn_mtu(context, real_address, told);
            // RFC 8200 section 5: no sender is told less than this; the outer packets are fragmented instead.
            let least = if inner.addresses.is_v6() {
                ipv6::MIN_MTU_BYTES
            } else {
                0
            };
            let mtu = mtu.max(least);
            (mtu > 0 && is_never_cut(datagram)).then_some(Error::TooBig { mtu })
        }
        Complaint::Lost { kind, code } if packet.addresses.is_v6() == inner.addresses.is_v6() => {
            Some(Error::Relayed { kind, code })
        }
        // RFC 2473 section 8.3: for the other address family, the tunnel is a link that has failed.
        Complaint::Lost { .. } => Some(Error::HostUnreachable),
        Complaint::Other => None,
    };
    if let Some(error) = error {
        let (client, vip) = (inner.addresses.source(), inner.addresses.destination());
        let datagram = quoted_hops::as_received(snapshot, datagram);
        let exit = &mut forwarder.exit;
        let length = send_error(exit, context, &datagram, (vip, client), error);
        if length > 0 {
            context.count_packet(real.id, Direction::Output, length as u64);
        }
    }
    Ok(Action::Consume)
}

/// Where the error is handed over to, if another worker may have the session of the client's packet.
fn search<A: Tabled>(
    owners: &mut Owners,
    context: &Context<'_>,
    inner: &Quoted,
) -> Option<Decision> {
    owners.search_quoted(context, &key_of::<A>(inner)?, None)
}

/// The real server of the client's packet, if its session uses a tunnel.
fn tunnelled<A: Tabled>(sessions: &Sessions, inner: &Quoted, now: Time) -> Option<RealId> {
    let key = key_of::<A>(inner)?;
    let table = A::table_of(sessions);
    let session = table.get(table.find(table.hash(&key), &key, now)?);
    session
        .flags()
        .method()
        .encapsulates()
        .then(|| session.real())
}

/// The flow of a client's packet.
fn key_of<A: Tabled>(inner: &Quoted) -> Option<FlowKey<A>> {
    let (client, virtual_address) = A::pair(inner.addresses)?;
    Some(FlowKey {
        client,
        virtual_address,
        client_port: inner.source_port,
        virtual_port: inner.destination_port,
        protocol: Protocol::from_number(inner.protocol)?,
    })
}

/// What the error says, by its address family.
fn complaint(upper: &[u8], quote: &[u8], addresses: Addresses) -> Complaint {
    let Some(header) = icmpv4::Header::new(upper) else {
        return Complaint::Other;
    };
    let (kind, code) = (header.kind(), header.code());
    match (addresses, kind, code) {
        (Addresses::V4 { .. }, icmpv4::DESTINATION_UNREACHABLE, icmpv4::FRAGMENTATION_NEEDED) => {
            Complaint::TooBig(match header.next_hop_mtu() {
                0 => {
                    ipv4::Header::new(quote).map_or(0, |it| plateau_below(it.total_length()).into())
                }
                mtu => mtu.into(),
            })
        }
        (Addresses::V6 { .. }, icmpv6::PACKET_TOO_BIG, _) => Complaint::TooBig(header.rest()),
        (Addresses::V4 { .. }, icmpv4::DESTINATION_UNREACHABLE | icmpv4::TIME_EXCEEDED, _)
        | (Addresses::V6 { .. }, icmpv6::DESTINATION_UNREACHABLE | icmpv6::TIME_EXCEEDED, _) => {
            Complaint::Lost { kind, code }
        }
        _ => Complaint::Other,
    }
}

/// The client's packet in the quoted payload of the outer header; `None` if not even its ports are quoted.
fn unwrap(kind: TunnelKind, behind: &[u8]) -> Option<(&[u8], Quoted)> {
    let header_bytes = match kind {
        TunnelKind::Ipip => 0,
        TunnelKind::Gre { .. } => gre::header_bytes(behind)?,
        TunnelKind::Gue { .. } if gue::is_plain(behind) => gue::HEADER_BYTES,
        TunnelKind::Gue { .. } => return None,
    };
    let datagram = behind.get(header_bytes..)?;
    Some((datagram, parse_quoted(datagram)?))
}

/// Whether routers must not fragment the packet, so that its sender needs to know the MTU.
fn is_never_cut(datagram: &[u8]) -> bool {
    ipv4::Header::new(datagram).is_none_or(|header| header.version() != 4 || header.dont_fragment())
}
