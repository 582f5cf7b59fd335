//! Sends a session's packet: to its real server by DR, NAT or tunnel, and a reply to its client.
//! Which session that is, is not asked. By which path it goes is in `paths.rs`.

use ahash::RandomState;

use crate::flow::{Addresses, V4};
use crate::id::{PortId, RealId};
use crate::io::{PacketBuf, Pool};
use crate::parse::{PLAIN_L3, Packet, Plain};
use crate::pipeline::action::{
    Action, Answer, Context, Cut, Decision, Received, Refusal, Speaker, punt,
};
use crate::pipeline::leave::adjacency::Adjacency;
use crate::pipeline::leave::exit::Exit;
use crate::pipeline::leave::path_cache::PathCache;
use crate::pipeline::leave::path_mtu::PathMtus;
use crate::pipeline::sessions::{Tabled, Translation};
use crate::rewrite::change::{Change, Ends};
use crate::rewrite::nat;
use crate::rewrite::tunnel;
use crate::snapshot::Snapshot;
use crate::snapshot::model::RealServer;
use crate::snapshot::route::Egress;
use crate::spec::forward::{MssClamp, TunnelKind};
use crate::verdict::{DropReason, Verdict};
use crate::wire::family::Family;
use crate::wire::{icmpv6, ipv4, ipv6, tcp};

/// What one worker sends packets by: how each neighbour and real server is reached, and the exit.
#[derive(Debug)]
pub(crate) struct Forwarder<P: Pool> {
    pub(super) path_cache: PathCache,
    pub(super) path_mtus: PathMtus,
    /// What the packet at hand was, if it will have to wait for a neighbour.
    pub(crate) received: Option<Received>,
    pub(crate) exit: Exit<P>,
}

impl<P: Pool> Forwarder<P> {
    pub(crate) fn new(hasher: RandomState, exit: Exit<P>) -> Self {
        Self {
            path_cache: PathCache::new(),
            path_mtus: PathMtus::new(hasher),
            received: None,
            exit,
        }
    }

    /// Sends a client's packet to its real server. Order as in IPVS: TTL, MTU, rewriting. It is refused before it is
    /// changed, since an ICMP error quotes the packet as its sender sent it (RFC 1812 section 4.3.2.3).
    #[inline]
    pub(crate) fn forward<A: Tabled, F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        real: &RealServer,
        change: Change<A>,
    ) -> Decision {
        let Context {
            snapshot, origin, ..
        } = *context;
        if packet.ttl <= 1 && !snapshot.is_this_machine(real) {
            let answer = Answer::TimeExceeded(Speaker::Vip);
            return Err(Refusal::new(DropReason::TtlExceeded, answer));
        }
        let Some(egress) = real.egress else {
            return without_route(context, real);
        };
        let (path_mtu, fits) = if change.encapsulates() {
            let path_mtu = self.inner_mtu(real, context.now);
            (path_mtu, fit_tunnel(packet, real, path_mtu, origin.cut))
        } else {
            let path_mtu = usize::from(egress.mtu);
            (path_mtu, fit(packet, egress.mtu, origin.cut))
        };
        let cut = match fits {
            Ok(cut) => cut,
            Err(mtu) => return Err(too_big(mtu, Speaker::Vip)),
        };
        if change.translates() && !nat::is_translatable(frame.bytes(), packet) {
            return Err(DropReason::UdpHeader.into());
        }
        let adjacency = self.adjacency_to(context, real.id, &egress);
        if adjacency.is_none() && !self.exit.is_down(snapshot, egress.port) {
            let is_changed = change.translates() || change.encapsulates();
            self.keep_received(snapshot, frame.bytes(), packet, is_changed);
        }
        let packet = &mut { *packet };
        strip(snapshot, frame, packet, egress.port)?;
        if packet.tcp_flags & tcp::SYN != 0
            && let Some(clamp) = mss_clamp_of(snapshot, real)
        {
            let (translates, frame) = (change.translates(), frame.bytes_mut());
            clamp_mss(snapshot, frame, packet, clamp, translates, path_mtu);
        }
        apply(frame, packet, change);
        if change.encapsulates() {
            return self.forward_by_tunnel(frame, packet, real, egress, (path_mtu, cut), adjacency);
        }
        Ok(leave(frame, packet, egress, cut, adjacency))
    }

    /// Keeps a copy of a client's packet that will wait for a neighbour, for an ICMP error if the neighbour does not
    /// reply. LVS sends none for a packet that it has translated or encapsulated.
    #[cold]
    fn keep_received(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        is_changed: bool,
    ) {
        let is_told = !is_changed || !snapshot.answers_as_lvs;
        self.received = (is_told && !packet.is_icmp()).then(|| Received {
            packet: *packet,
            datagram: packet
                .datagram(frame)
                .chunks(icmpv6::MAX_ERROR_BYTES)
                .next()
                .unwrap_or_default()
                .into(),
        });
    }

    /// Sends a NAT real server's packet to its client, in the name of the VIP.
    #[inline]
    pub(crate) fn forward_reply<A: Tabled, F: PacketBuf>(
        &mut self,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        translation: &Translation<A>,
    ) -> Decision {
        let snapshot = context.snapshot;
        if packet.ttl <= 1 {
            let answer = Answer::TimeExceeded(Speaker::Router);
            return Err(Refusal::new(DropReason::TtlExceeded, answer));
        }
        if packet.balanced_protocol().is_none() {
            return Err(DropReason::NoSession.into());
        }
        let egress = snapshot.routes.egress(translation.client.into());
        let egress = egress.ok_or(DropReason::NoRoute)?;
        let cut = match fit(packet, egress.mtu, context.origin.cut) {
            Ok(cut) => cut,
            Err(mtu) => return Err(too_big(mtu, Speaker::Router)),
        };
        if !nat::is_translatable(frame.bytes(), packet) {
            return Err(DropReason::UdpHeader.into());
        }
        let packet = &mut { *packet };
        strip(snapshot, frame, packet, egress.port)?;
        if packet.tcp_flags & tcp::SYN != 0
            && let Some(real) = snapshot.real(translation.id)
            && let Some(clamp) = mss_clamp_of(snapshot, real)
        {
            let path_mtu = real.egress.map_or(egress.mtu, |egress| egress.mtu);
            let frame = frame.bytes_mut();
            clamp_mss(snapshot, frame, packet, clamp, true, path_mtu.into());
        }
        apply(frame, packet, translation.change);
        let adjacency = self.adjacency_towards(context, &egress);
        Ok(leave(frame, packet, egress, cut, adjacency))
    }

    /// Encapsulates a plain packet, which fits the tunnel's MTU, for the real server `id`, whose path is cached.
    #[inline(never)]
    pub(crate) fn enter_tunnel<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        frame: &mut P::Buf,
        plain: &Plain<A>,
        id: RealId,
    ) -> Result<(), DropReason> {
        let number = self.exit.take_id();
        // Borrowed, not copied: the copy would have to wait for the whole entry to arrive from memory.
        let path = self.path_cache.get(id).ok_or(DropReason::RealGone)?;
        if let (Some(ipip), Some(plain)) = (&path.ipip, plain.as_v4()) {
            return ipip.encapsulate(frame, &plain, number, &path.adjacency.macs);
        }
        let real = context.snapshot.real(id).ok_or(DropReason::RealGone)?;
        let flow = || tunnel::flow_hash(&plain.packet());
        let is_told = is_told_what_fits(size_of::<A>() > size_of::<V4>(), real);
        tunnel::encapsulate(frame, PLAIN_L3, &outer(real, flow, number, !is_told))?;
        path.adjacency.write_header(frame, PLAIN_L3);
        Ok(())
    }

    /// Puts a packet that fits, or may be cut, into the tunnel to its real server.
    fn forward_by_tunnel<F: PacketBuf>(
        &mut self,
        frame: &mut F,
        packet: &Packet,
        real: &RealServer,
        egress: Egress,
        (inner_mtu, came_cut): (usize, Option<Cut>),
        adjacency: Option<Adjacency>,
    ) -> Decision {
        let is_told = is_told_what_fits(packet.addresses.is_v6(), real);
        let id = self.exit.take_id();
        let will_be_cut = packet.datagram_bytes() as usize > inner_mtu;
        let flow = || tunnel::flow_hash(packet);
        let outer = outer(real, flow, id, will_be_cut || !is_told);
        tunnel::encapsulate(frame, packet.l3.into(), &outer)?;
        // What may be fragmented is fragmented outside: the tunnel is invisible to both ends.
        let cut = will_be_cut.then_some(Cut {
            size: inner_mtu + tunnel::overhead(real.spec.tunnel, real.spec.address),
            header_bytes: ipv6::HEADER_BYTES,
            id: u32::from(id),
        });
        let as_it_came = came_cut.map(|cut| Cut {
            size: usize::MAX,
            ..cut
        });
        let cut = cut.or(as_it_came);
        Ok(leave(frame, packet, egress, cut, adjacency))
    }
}

/// What the service of a real server says of the MSS.
#[inline]
fn mss_clamp_of(snapshot: &Snapshot, real: &RealServer) -> Option<MssClamp> {
    snapshot.service(real.service)?.mss_clamp
}

/// Clamps the MSS of a SYN or SYN|ACK to what the service allows. `path_mtu` is the path MTU to the real server, in
/// bytes. With NAT, both ends send through this machine, so the MTU towards the client limits it too.
#[cold]
fn clamp_mss(
    snapshot: &Snapshot,
    frame: &mut [u8],
    packet: &Packet,
    clamp: MssClamp,
    translates: bool,
    path_mtu: usize,
) {
    let most = match clamp {
        MssClamp::Bytes(bytes) => bytes,
        MssClamp::Auto => {
            let ends = [packet.addresses.source(), packet.addresses.destination()];
            let through_here = ends
                .into_iter()
                .filter(|_| translates)
                .filter(|end| !snapshot.is_ours(*end))
                .filter_map(|end| snapshot.routes.egress(end))
                .map(|egress| usize::from(egress.mtu));
            let headers = tcp::HEADER_BYTES
                + match packet.addresses {
                    Addresses::V4 { .. } => ipv4::HEADER_BYTES,
                    Addresses::V6 { .. } => ipv6::HEADER_BYTES,
                };
            let fits = through_here
                .fold(path_mtu, usize::min)
                .saturating_sub(headers);
            u16::try_from(fits).unwrap_or(u16::MAX)
        }
    };
    tcp::clamp_mss(packet.upper_mut(frame), most);
}

/// What becomes of a packet whose real server has no route: if that is this machine, the kernel gets it unchanged,
/// where the port has a kernel's port.
#[cold]
fn without_route(context: &Context<'_>, real: &RealServer) -> Decision {
    let Context {
        snapshot, origin, ..
    } = *context;
    if !snapshot.is_this_machine(real) {
        return Err(Refusal::new(DropReason::NoRoute, Answer::HostUnreachable));
    }
    let refusal = Refusal::new(DropReason::LocalUnhandled, Answer::AsReal);
    punt(snapshot, origin.port).ok_or(refusal)
}

pub(crate) const fn too_big(mtu: usize, speaker: Speaker) -> Refusal {
    Refusal::new(DropReason::MtuExceeded, Answer::TooBig(mtu, speaker))
}

/// Prepares the frame for rewriting: see [`strip`]; decrements the TTL as well. `packet` gets its new offsets.
#[inline]
pub(crate) fn prepare<A: Family, F: PacketBuf>(
    snapshot: &Snapshot,
    frame: &mut F,
    packet: &mut Packet,
    port: PortId,
) -> Result<(), DropReason> {
    strip(snapshot, frame, packet, port)?;
    let datagram = frame.bytes_mut().get_mut(packet.l3.into()..);
    A::decrement_ttl(datagram.ok_or(DropReason::Truncated)?);
    Ok(())
}

/// Leaves as much room before the datagram as `port` has header bytes, which removes a priority tag, and removes padding.
/// `packet` gets its new offsets.
#[inline(always)]
pub(crate) fn strip<F: PacketBuf>(
    snapshot: &Snapshot,
    frame: &mut F,
    packet: &mut Packet,
    port: PortId,
) -> Result<(), DropReason> {
    let header_bytes = snapshot.header_bytes(port).map(u16::try_from);
    let tag = header_bytes.and_then(|bytes| packet.l3.checked_sub(bytes.ok()?));
    let tag = tag.ok_or(DropReason::Truncated)?;
    let cut = frame.set_len(packet.end as usize);
    cut.map_err(|_| DropReason::Truncated)?;
    if tag > 0 {
        frame.trim_front(tag.into());
        packet.l3 -= tag;
        packet.l4 -= tag;
        packet.end -= u32::from(tag);
    }
    Ok(())
}

/// Whether a packet fits the path MTU: `Ok(None)` if it does, `Ok(Some(_))` if it is to be fragmented, `Err(mtu)` if it
/// must not be. A datagram that came in fragments is sent in fragments of the same size, or in smaller ones if its
/// sender allows routers to fragment.
pub(crate) fn fit(packet: &Packet, mtu: u16, came_cut: Option<Cut>) -> Result<Option<Cut>, usize> {
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

/// The same for a packet that a tunnel with room for `inner_mtu` bytes takes in one piece or several,
/// unless its sender is told not to send such.
fn fit_tunnel(
    packet: &Packet,
    real: &RealServer,
    inner_mtu: usize,
    came_cut: Option<Cut>,
) -> Result<Option<Cut>, usize> {
    let length = packet.datagram_bytes() as usize;
    let piece = came_cut.map_or(length, |cut| cut.size.min(length));
    // Of IPv6, what every link carries is never refused (RFC 2473 section 7.1 (b)).
    let told = match packet.addresses {
        Addresses::V4 { .. } => inner_mtu,
        Addresses::V6 { .. } => inner_mtu.max(ipv6::MIN_MTU_BYTES),
    };
    if piece > told && packet.dont_fragment && is_told_what_fits(packet.addresses.is_v6(), real) {
        return Err(told);
    }
    Ok(came_cut)
}

/// Whether the sender of a packet that does not fit into the tunnel to its real server is told so.
pub(crate) const fn is_told_what_fits(is_v6: bool, real: &RealServer) -> bool {
    real.policy.path_mtu || is_v6
}

/// The outer header for a packet of this flow to `real`.
#[inline]
pub(crate) fn outer(
    real: &RealServer,
    flow: impl FnOnce() -> u64,
    id: u16,
    may_be_cut: bool,
) -> tunnel::Outer<'_> {
    let egress = real.egress.as_ref();
    tunnel::Outer {
        source: egress.and_then(|egress| egress.source.as_ref()),
        real: &real.spec.address,
        kind: real.spec.tunnel,
        flow: match real.spec.tunnel {
            TunnelKind::Gue { .. } => flow(),
            TunnelKind::Ipip | TunnelKind::Gre { .. } => 0,
        },
        id,
        may_be_cut,
        ttl: real.spec.tunnel_ttl,
    }
}

/// Changes a packet without padding.
#[inline(always)]
fn apply<A: Family, F: PacketBuf>(frame: &mut F, packet: &Packet, change: Change<A>) {
    let Some(ip) = frame.bytes_mut().get_mut(packet.l3.into()..) else {
        return;
    };
    let l4 = usize::from(packet.l4 - packet.l3);
    if change.apply(ip, l4, || Ends::of(packet)) {
        nat::give_checksum(frame.bytes_mut(), packet);
    }
}

/// The action that sends a packet by `egress`.
#[inline]
pub(crate) fn route(egress: Egress, cut: Option<Cut>, verdict: Verdict) -> Action {
    Action::Route {
        port: egress.port,
        next_hop: egress.next_hop,
        cut,
        verdict,
    }
}

/// The same for a packet of a session, to this neighbour if it is known.
#[inline]
fn leave<F: PacketBuf>(
    frame: &mut F,
    packet: &Packet,
    egress: Egress,
    cut: Option<Cut>,
    adjacency: Option<Adjacency>,
) -> Action {
    let verdict = Verdict::Forwarded;
    match adjacency {
        Some(adjacency) if cut.is_none() => {
            adjacency.write_header(frame, packet.l3.into());
            let port = egress.port;
            Action::Emit { port, verdict }
        }
        _ => route(egress, cut, verdict),
    }
}
