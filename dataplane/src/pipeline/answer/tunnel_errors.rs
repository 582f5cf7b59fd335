//! ICMP errors about the outer packets of tunnels: the path MTU is learnt, and the client gets an error about its own
//! packet.
//! Errors about other packets are handled in `icmp.rs`.

use std::net::IpAddr;

use crate::flow::{Addresses, FlowKey, Protocol, V4, V6};
use crate::id::RealId;
use crate::io::Pool;
use crate::parse::{Packet, Quoted, parse_quoted};
use crate::pipeline::action::{Action, Origin};
use crate::pipeline::answer::icmp_error::{Error, is_icmp_checksum_valid};
use crate::pipeline::answer::path_mtu::plateau_below;
use crate::pipeline::answer::quoted_hops;
use crate::pipeline::engine::Engine;
use crate::pipeline::handover::inbox::Lane;
use crate::pipeline::handover::message::Message;
use crate::pipeline::sessions::Tabled;
use crate::rewrite::tunnel;
use crate::session::Direction;
use crate::snapshot::Snapshot;
use crate::snapshot::model::RealServer;
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

impl<P: Pool> Engine<P> {
    /// Handles an error about a tunnel's outer packet. As in IPVS, the client gets a new error about its own packet,
    /// and one about the size states the path MTU that was known before this error.
    pub(crate) fn tunnel_error(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        kind: TunnelKind,
        origin: Origin,
        now: Time,
    ) -> Action {
        let upper = packet.upper(frame);
        let Some((outer, quote)) = upper
            .get(icmpv4::HEADER_BYTES..)
            .and_then(|quote| Some((parse_quoted(quote)?, quote)))
        else {
            return Action::Drop(DropReason::IcmpInvalid);
        };
        let addressed = packet.addresses.destination() == outer.addresses.source();
        if !addressed || !is_icmp_checksum_valid(frame, packet) {
            return Action::Drop(DropReason::IcmpInvalid);
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
            Addresses::V4 { .. } => self.tunnelled::<V4>(&inner, now),
            Addresses::V6 { .. } => self.tunnelled::<V6>(&inner, now),
        });
        let real = session
            .and_then(|real| snapshot.real(real))
            .filter(|real| real.spec.address == real_address);
        let (Some((datagram, inner)), Some(real)) = (inner, real) else {
            // The session may be on another worker, or the error quotes too little to find it.
            let elsewhere = inner.and_then(|(_, inner)| match inner.addresses {
                Addresses::V4 { .. } => self.search_tunnelled::<V4>(snapshot, &inner, origin, now),
                Addresses::V6 { .. } => self.search_tunnelled::<V6>(snapshot, &inner, origin, now),
            });
            if let Some(action) = elsewhere {
                return action;
            }
            return match complaint {
                Complaint::TooBig(told)
                    if self.learn_mtu(snapshot, real_address, told.max(MIN_UNPROVEN), now) =>
                {
                    Action::Consume
                }
                _ => Action::Drop(DropReason::IcmpNoSession),
            };
        };
        if !self.limits.relayed.allow(flow, now) {
            return Action::Drop(DropReason::IcmpLimited);
        }
        let error = match complaint {
            Complaint::TooBig(told) => {
                let mtu = self.inner_mtu(real, now);
                self.learn_mtu(snapshot, real_address, told, now);
                // RFC 8200 section 5: no sender is told less than this; the outer packets are fragmented instead.
                let least = if inner.addresses.is_v6() {
                    ipv6::MIN_MTU_BYTES
                } else {
                    0
                };
                let mtu = mtu.max(least);
                (mtu > 0 && is_never_cut(datagram)).then_some(Error::TooBig { mtu })
            }
            Complaint::Lost { kind, code }
                if packet.addresses.is_v6() == inner.addresses.is_v6() =>
            {
                Some(Error::Relayed { kind, code })
            }
            // RFC 2473 section 8.3: for the other address family, the tunnel is a link that has failed.
            Complaint::Lost { .. } => Some(Error::HostUnreachable),
            Complaint::Other => None,
        };
        if let Some(error) = error {
            let (client, vip) = (inner.addresses.source(), inner.addresses.destination());
            let datagram = quoted_hops::as_received(snapshot, datagram);
            let length = self.send_error(snapshot, &datagram, (vip, client), error, now);
            if length > 0
                && let Some(counting) = self.counting(snapshot)
            {
                counting.packet(real.id, Direction::Output, length as u64);
            }
        }
        Action::Consume
    }

    /// Where the error is handed over to, if another worker may have the session of the client's packet.
    fn search_tunnelled<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        inner: &Quoted,
        origin: Origin,
        now: Time,
    ) -> Option<Action> {
        let key = key_of::<A>(inner)?;
        self.owners.search_quoted(snapshot, &key, None, origin, now)
    }

    /// The real server of the client's packet, if its session uses a tunnel.
    fn tunnelled<A: Tabled>(&mut self, inner: &Quoted, now: Time) -> Option<RealId> {
        let key = key_of::<A>(inner)?;
        let table = A::table(&mut self.sessions);
        let session = table.get(table.find(table.hash(&key), &key, now)?);
        session
            .flags()
            .method()
            .encapsulates()
            .then(|| session.real())
    }

    /// Stores a path MTU and broadcasts it to the other workers. Returns whether it is smaller than before.
    fn learn_mtu(&mut self, snapshot: &Snapshot, real: IpAddr, told: u32, now: Time) -> bool {
        let Some(egress) = snapshot.routes.egress(real) else {
            return false;
        };
        let learnt = self.path_mtus.learn(real, told, egress.mtu, now);
        if let Some(mtu) = learnt {
            self.exit
                .broadcast(Lane::Owner, || Message::PathMtu { real, mtu });
        }
        learnt.is_some()
    }

    /// Handles the message that another worker has learnt the path MTU to a real server.
    pub(crate) fn note_path_mtu(&mut self, real: IpAddr, mtu: u16, now: Time) {
        self.path_mtus.note(real, mtu, now);
    }

    /// The largest packet that fits into the tunnel to `real`; 0 if there is no route.
    pub(crate) fn inner_mtu(&mut self, real: &RealServer, now: Time) -> usize {
        let link = real.egress.map_or(0, |egress| egress.mtu);
        let outer = self.path_mtus.limit(real.spec.address, link, now);
        usize::from(outer).saturating_sub(tunnel::overhead(real.spec.tunnel, real.spec.address))
    }
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
