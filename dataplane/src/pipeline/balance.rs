//! The balancer itself: sessions, new sessions, and NAT's replies.
//! Rewriting is done by `rewrite/`, choosing by `schedule/`, remembering by `session/`.

use std::net::IpAddr;

use super::{Action, Cut, Engine, Look, Origin, Tabled, flow_key, reply_key};
use crate::flow::{Address, FlowKey, Protocol};
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::rewrite::nat::{self, Side, Socket};
use crate::rewrite::tunnel;
use crate::schedule::{self, Moving};
use crate::session::{Direction, Flags, NewSession, Session, SessionIndex, State, TcpState};
use crate::snapshot::Snapshot;
use crate::snapshot::model::{Egress, ForwardMethod, RealServer, TunnelKind, VirtualService};
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::HEADER_BYTES as ETHERNET;
use crate::wire::{ipv6, tcp};

impl<P: Pool> Engine<P> {
    /// A TCP or UDP packet: of a session, a reply of one, the first of one, or not ours.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "the packet's facts, in registers"
    )]
    pub(super) fn balance<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        protocol: Protocol,
        (source, destination): (A, A),
        look: &Look,
        origin: Origin,
        now: Time,
    ) -> Action {
        let table = A::table(&mut self.sessions);
        let key = flow_key(packet, protocol, source, destination);
        let found = match (look.hashes, look.hints) {
            (Some(hashes), Some(hints)) => table.find_hinted(hints.key, hashes.key, &key, now),
            _ => table.find(table.hash(&key), &key, now),
        };
        if let Some(index) = found {
            if let Some(action) =
                self.continue_session::<A, F>(snapshot, frame, packet, index, origin, now)
            {
                return action;
            }
        } else if snapshot.has_nat() {
            let key = reply_key(packet, protocol, source, destination);
            let hashes = look.hashes.and_then(|hashes| hashes.reply);
            let hints = look.hints.and_then(|hints| hints.reply);
            let found = match (hashes, hints) {
                (Some(hash), Some(hint)) => table.find_reply_hinted(hint, hash, &key, now),
                _ => table.find_reply(table.reply_hash(&key), &key, now),
            };
            if let Some(index) = found {
                return self.reply::<A, F>(snapshot, frame, packet, index, origin, now);
            }
        }
        let address: IpAddr = destination.into();
        let service = snapshot.service_at(protocol, address, packet.destination_port);
        if let Some(service) = service {
            // Of a removed one too: its sessions live on, on their owners.
            let owner = self.owner(source, packet.source_port);
            if service.owned && owner != self.start.worker {
                return match origin.hops {
                    0 => Action::HandOver { to: owner },
                    _ => Action::Drop(DropReason::HandoverLoop),
                };
            }
            if service.configured {
                return self.begin_session(snapshot, frame, packet, service, &key, origin, now);
            }
        }
        let local = snapshot.locals.contains_key(&address);
        if !local && snapshot.is_nat_socket(protocol, source.into(), packet.source_port) {
            // Perhaps a reply, whose session is on another worker.
            let owner = self.owner(destination, packet.destination_port);
            if owner != self.start.worker && origin.hops == 0 {
                return Action::HandOver { to: owner };
            }
        }
        let action = self.classify_rest(snapshot, frame, packet, origin, now);
        if matches!(action, Action::Drop(_)) && snapshot.is_vip(address) {
            self.refuse_as_host(snapshot, frame.bytes(), packet, now);
        }
        action
    }

    /// A packet of the client in a session. `None` if the packet begins a new one in its place.
    #[inline]
    fn continue_session<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        index: SessionIndex,
        origin: Origin,
        now: Time,
    ) -> Option<Action> {
        let session = *A::table(&mut self.sessions).get(index);
        let Some(real) = snapshot.real(session.real()) else {
            return Some(Action::Drop(DropReason::RealGone));
        };
        let counters = self.counters(snapshot, session.real());
        if is_over(&session, real.configured, packet.tcp_flags) {
            A::table(&mut self.sessions).remove(index);
            Self::uncount(snapshot, self.start.worker, &session);
            return None;
        }
        let one_way = session.flags().contains(Flags::ONE_WAY);
        let direction = if one_way {
            Direction::InputOnly
        } else {
            Direction::Input
        };
        let state = session.state().next(direction, packet.tcp_flags);
        let table = A::table(&mut self.sessions);
        table.touch(index, state, snapshot.timeouts.deadline(state, now));
        table.get_mut(index).count_in();
        if let Some(counters) = counters {
            if real.configured {
                counters.in_packets.add(1);
                counters.in_bytes.add(u64::from(packet.datagram_bytes()));
            }
            counters.shift(session.state().is_active(), state.is_active());
        }
        let method = method_of(session.flags());
        let socket = session
            .real_address()
            .map(|(address, port)| Socket { address, port });
        Some(self.forward::<A, F>(snapshot, frame, packet, real, method, socket, origin, now))
    }

    /// The first packet of a session.
    #[expect(
        clippy::too_many_arguments,
        reason = "the packet's facts, in registers"
    )]
    fn begin_session<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        service: &VirtualService,
        key: &FlowKey<A>,
        origin: Origin,
        now: Time,
    ) -> Action {
        let opens = packet.tcp_flags & tcp::SYN != 0 && packet.tcp_flags & tcp::RST == 0;
        if origin.cut.is_some() && !service.owned && self.has_next(origin) {
            // The flow's other packets may have begun its session on the worker that the NIC chose.
            return self.pass_on();
        }
        if key.protocol == Protocol::Tcp && !opens {
            self.refuse_as_host(snapshot, frame.bytes(), packet, now);
            return Action::Drop(DropReason::NoSession);
        }
        if snapshot.is_ours(key.client.into()) {
            return Action::Drop(DropReason::MartianSource);
        }
        if nat::is_checksum_unfinished(frame.bytes(), packet, key.protocol) {
            return Action::Drop(DropReason::UnfinishedChecksum);
        }
        let own = snapshot.workers.get(self.start.worker);
        let cursor = own.and_then(|own| own.cursors.get(service.id.0));
        let chosen = cursor.and_then(|cursor| {
            let moving = Moving {
                cursor,
                destinations: &mut self.destinations,
            };
            let flow = schedule::Flow {
                client: key.client.into(),
                client_port: key.client_port,
                virtual_address: key.virtual_address.into(),
            };
            schedule::choose(service, moving, self.start, flow, snapshot, now)
        });
        let Some(real) = chosen.and_then(|real| snapshot.real(real)) else {
            self.refuse(snapshot, frame.bytes(), packet, now);
            return Action::Drop(DropReason::NoReal);
        };
        let socket = match real.forward {
            ForwardMethod::Nat => A::of(real.address).map(|address| Socket {
                address,
                port: real.port,
            }),
            ForwardMethod::Direct | ForwardMethod::Tunnel => None,
        };
        let flags = flags_of(real.forward);
        let direction = if flags.contains(Flags::ONE_WAY) {
            Direction::InputOnly
        } else {
            Direction::Input
        };
        let state = State::first(key.protocol, direction, packet.tcp_flags);
        let new = NewSession {
            key: *key,
            real: real.id,
            real_address: socket.map(|socket| (socket.address, socket.port)),
            flags,
            state,
            deadline: snapshot.timeouts.deadline(state, now),
        };
        let worker = self.start.worker;
        let stats = &self.stats;
        let table = A::table(&mut self.sessions);
        let hash = table.hash(key);
        let entered = table.insert(hash, &new, now, |session, why| {
            if why == crate::session::Gone::Evicted {
                stats.evicted.add(1);
            }
            Self::uncount(snapshot, worker, session);
        });
        let Ok(index) = entered else {
            return Action::Drop(DropReason::SessionTableFull);
        };
        table.get_mut(index).count_in();
        if let Some(counters) = own.and_then(|own| own.reals.get(real.id.0)) {
            counters.sessions.add(1);
            counters.enter(state.is_active());
            snapshot.settle(real.id);
            counters.in_packets.add(1);
            counters.in_bytes.add(u64::from(packet.datagram_bytes()));
        }
        self.forward::<A, F>(
            snapshot,
            frame,
            packet,
            real,
            real.forward,
            socket,
            origin,
            now,
        )
    }

    /// A packet of a NAT real server in a session.
    fn reply<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        index: SessionIndex,
        origin: Origin,
        now: Time,
    ) -> Action {
        let session = *A::table(&mut self.sessions).get(index);
        let (client, key) = (session.key().client, *session.key());
        let Some((real, real_port)) = session.real_address() else {
            return Action::Drop(DropReason::NoSession);
        };
        let opens = key.protocol == Protocol::Udp || packet.tcp_flags & tcp::SYN != 0;
        if opens && nat::is_checksum_unfinished(frame.bytes(), packet, key.protocol) {
            return Action::Drop(DropReason::UnfinishedChecksum);
        }
        let state = session.state().next(Direction::Output, packet.tcp_flags);
        let deadline = snapshot.timeouts.deadline(state, now);
        A::table(&mut self.sessions).touch(index, state, deadline);
        let configured = snapshot
            .real(session.real())
            .is_some_and(|real| real.configured);
        if let Some(counters) = self.counters(snapshot, session.real()) {
            if configured {
                counters.out_packets.add(1);
                counters.out_bytes.add(u64::from(packet.datagram_bytes()));
            }
            counters.shift(session.state().is_active(), state.is_active());
        }
        if packet.ttl <= 1 {
            self.time_exceeded(snapshot, frame.bytes(), packet, None, now);
            return Action::Drop(DropReason::TtlExceeded);
        }
        let Some(egress) = snapshot.routes.egress(client.into()) else {
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
            key.protocol,
            Side::Source,
            Socket {
                address: real,
                port: real_port,
            },
            Socket {
                address: key.virtual_address,
                port: key.virtual_port,
            },
        );
        route(egress, cut, Verdict::Forwarded)
    }

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

/// Whether the packet begins a new session in the place of this one.
///
/// A datagram does if the real server was removed. A SYN does too, and if the session has ended:
/// IPVS's `conn_reuse_mode` 1, and mode 2 for one-way methods, whose sessions never get further than
/// `FIN_WAIT`. Other packets of a TCP session go on to a removed real server, so that removing one
/// interrupts nobody; IPVS drops them.
fn is_over<A: Address>(session: &Session<A>, configured: bool, tcp_flags: u8) -> bool {
    let opens = tcp_flags & (tcp::SYN | tcp::RST) == tcp::SYN;
    match session.state() {
        State::Udp | State::UdpNew => !configured,
        State::Tcp(_) if !opens => false,
        State::Tcp(TcpState::TimeWait | TcpState::Close) => true,
        State::Tcp(TcpState::FinWait) if session.flags().contains(Flags::ONE_WAY) => true,
        State::Tcp(_) => !configured,
    }
}

#[inline]
fn flags_of(method: ForwardMethod) -> Flags {
    match method {
        ForwardMethod::Direct => Flags::ONE_WAY,
        ForwardMethod::Nat => Flags::NAT,
        ForwardMethod::Tunnel => Flags::ONE_WAY.with(Flags::TUNNEL),
    }
}

/// The method that the session began with: an edit of the real server does not change it.
#[inline]
pub(super) fn method_of(flags: Flags) -> ForwardMethod {
    if flags.contains(Flags::NAT) {
        ForwardMethod::Nat
    } else if flags.contains(Flags::TUNNEL) {
        ForwardMethod::Tunnel
    } else {
        ForwardMethod::Direct
    }
}
