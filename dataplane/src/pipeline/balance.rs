//! The balancer itself: which session a packet belongs to, and what the session becomes by it.
//! New sessions are `begin.rs`'s, sending is `forward.rs`'s.

use std::net::IpAddr;

use super::forward::{fit, route};
use super::{Action, Engine, Look, Origin, Tabled, flow_key, reply_key};
use crate::flow::{Address, FlowKey, Protocol};
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::rewrite::nat::{self, Side, Socket};
use crate::session::{Direction, Flags, Session, SessionIndex, State, TcpState};
use crate::snapshot::Snapshot;
use crate::snapshot::model::ForwardMethod;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::tcp;

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
        let service = snapshot.service_for(&key);
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
        if let Some(action) = self.seek_owner(snapshot, &key, origin) {
            return action;
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
        if matches!(action, Action::Drop(_)) && snapshot.is_ours(address) {
            self.refuse_as_host(snapshot, frame.bytes(), packet, now);
        }
        action
    }

    /// A packet without a session, that begins none: where services may share packets, its session
    /// may still be with the client's owner.
    #[inline]
    pub(super) fn seek_owner<A: Tabled>(
        &self,
        snapshot: &Snapshot,
        key: &FlowKey<A>,
        origin: Origin,
    ) -> Option<Action> {
        if !snapshot.may_have_strays() || origin.hops > 0 {
            return None;
        }
        let to = self.owner(key.client, key.client_port);
        let is_reply = snapshot.is_nat_real(key.client.into());
        (to != self.start.worker && !is_reply).then_some(Action::HandOver { to })
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
