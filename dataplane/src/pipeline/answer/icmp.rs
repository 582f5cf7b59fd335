//! ICMP errors: those about packets of sessions are relayed, others are made here.
//! Message formats are in `wire/`; the NAT of a quoted packet is in `rewrite/nat.rs`.

use std::borrow::Cow;
use std::hash::Hash;
use std::net::IpAddr;

use crate::flow::{Addresses, FlowKey, Protocol, ReplyKey, V4, V6};
use crate::id::RealId;
use crate::io::{PacketBuf, Pool};
use crate::parse::{Packet, parse_quoted};
use crate::pipeline::action::{Action, Context, Origin};
use crate::pipeline::answer::icmp_error::{Error, is_icmp_checksum_valid};
use crate::pipeline::answer::quoted_hops;
use crate::pipeline::answer::tunnel_errors::tunnel_of;
use crate::pipeline::balance::one_packet::translation;
use crate::pipeline::engine::Engine;
use crate::pipeline::leave::forward::{fit, route};
use crate::pipeline::sessions::{Tabled, Translation, change_of, flow_key};
use crate::rewrite::change::Change;
use crate::rewrite::nat::Socket;
use crate::session::{Direction, SessionIndex};
use crate::snapshot::Snapshot;
use crate::snapshot::route::Egress;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{icmpv4, icmpv6};

impl<P: Pool> Engine<P> {
    /// An ICMP message: an echo request to this machine, an error, or another one, which is treated as other packets are.
    pub(crate) fn classify_icmp<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        let upper = packet.upper(frame.bytes());
        let Some(kind) = upper.first().copied() else {
            return Action::Drop(DropReason::IcmpInvalid);
        };
        let (is_error, is_echo) = match packet.addresses {
            Addresses::V4 { .. } => (is_relayed_v4(kind), kind == icmpv4::ECHO_REQUEST),
            Addresses::V6 { .. } => (icmpv6::is_error(kind), kind == icmpv6::ECHO_REQUEST),
        };
        if snapshot.is_martian_source(packet.addresses.source()) {
            return Action::Drop(DropReason::MartianSource);
        }
        let ours = snapshot.is_ours(packet.addresses.destination());
        if is_echo && ours {
            let context = Context { snapshot, now };
            return self
                .host
                .echo(&mut self.exit, context, frame, packet, origin);
        }
        if is_error {
            return self.relay_error::<A, F>(snapshot, frame, packet, origin, now);
        }
        self.leave_alone(snapshot, frame, packet, origin, now)
    }

    /// A message that the balancer does not handle.
    fn leave_alone<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        match self.classify_rest(snapshot, frame, packet, origin, now) {
            Action::Drop(DropReason::LocalUnhandled | DropReason::NoService) => {
                Action::Drop(DropReason::IcmpIgnored)
            }
            action => action,
        }
    }

    /// An error about a packet of a session: it is relayed to that packet's sender.
    fn relay_error<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        let upper = packet.upper(frame.bytes());
        let quote = upper.get(icmpv4::HEADER_BYTES..);
        let Some(quoted) = quote.and_then(parse_quoted) else {
            return Action::Drop(DropReason::IcmpInvalid);
        };
        if let Some(tunnel) = tunnel_of(snapshot, &quoted) {
            return self.tunnel_error(snapshot, frame.bytes(), packet, tunnel, origin, now);
        }
        let (Some((from, to)), Some(protocol)) = (
            A::pair(quoted.addresses),
            Protocol::from_number(quoted.protocol),
        ) else {
            return self.classify_rest(snapshot, frame, packet, origin, now);
        };
        if packet.addresses.destination() != from.into() {
            // An error is sent to the sender of the quoted packet; this one is forged.
            return Action::Drop(DropReason::IcmpInvalid);
        }
        let table = A::table(&mut self.sessions);
        let key = FlowKey {
            client: to,
            virtual_address: from,
            client_port: quoted.destination_port,
            virtual_port: quoted.source_port,
            protocol,
        };
        let hash = table.hash(&key);
        if let Some(index) = table.find(hash, &key, now) {
            let real = table.get(index).real();
            if let Some(action) = self.hold_back(snapshot, frame, packet, (real, key), origin, now)
            {
                return action;
            }
            return self.relay_to_real::<A, F>(snapshot, frame, packet, index, origin, now);
        }
        let reply = ReplyKey {
            client: from,
            real: to,
            client_port: quoted.source_port,
            real_port: quoted.destination_port,
            protocol,
        };
        let hash = table.reply_hash(&reply);
        if let Some(index) = table.find_reply(hash, &reply, now) {
            let Some(translation) = Translation::of(table.get(index)) else {
                return Action::Drop(DropReason::IcmpNoSession);
            };
            let by = (&translation, &reply);
            return self.relay_to_client(snapshot, frame, packet, by, origin, now);
        }
        // The session may be on another worker, which the quoted packet identifies.
        if let Some(action) = self
            .owners
            .search_quoted(snapshot, &key, Some(&reply), origin, now)
        {
            return action;
        }
        let real = Socket {
            address: to,
            port: quoted.destination_port,
        };
        if let Some(translation) = translation(snapshot, protocol, real, from) {
            let by = (&translation, &reply);
            return self.relay_to_client(snapshot, frame, packet, by, origin, now);
        }
        match self.begin_by_error(snapshot, frame.bytes(), packet, &key, origin, now) {
            Some(Ok(index)) => {
                return self.relay_to_real::<A, F>(snapshot, frame, packet, index, origin, now);
            }
            Some(Err(action)) => return action,
            None => {}
        }
        match self.classify_rest(snapshot, frame, packet, origin, now) {
            Action::Drop(DropReason::LocalUnhandled | DropReason::NoService) => {
                Action::Drop(DropReason::IcmpNoSession)
            }
            action => action,
        }
    }

    /// What becomes of an error about a session with the real server `real` that is not relayed: this kind is not
    /// relayed for this real server, or the limit for `flow` is reached. `None` if it is relayed.
    fn hold_back<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        (real, flow): (RealId, impl Hash),
        origin: Origin,
        now: Time,
    ) -> Option<Action> {
        if is_left_alone(snapshot, real, packet, frame.bytes()) {
            return Some(self.leave_alone(snapshot, frame, packet, origin, now));
        }
        let is_allowed = self.limits.relayed.allow(flow, now);
        (!is_allowed).then_some(Action::Drop(DropReason::IcmpLimited))
    }

    /// Relays an error about a reply, which comes from the client's side, to the real server. With DR and tunnels it is
    /// forwarded as the client's packets are.
    fn relay_to_real<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        index: SessionIndex,
        origin: Origin,
        now: Time,
    ) -> Action {
        let session = *A::table(&mut self.sessions).get(index);
        let Some(real) = snapshot.real(session.real()) else {
            return Action::Drop(DropReason::RealGone);
        };
        if let Err(reason) =
            self.count_relayed(snapshot, frame.bytes(), packet, real.id, Direction::Input)
        {
            return Action::Drop(reason);
        }
        let change = change_of(&session);
        if !change.translates() {
            return self.forward::<A, F>(snapshot, frame, packet, real, change, origin, now);
        }
        self.readdress_and_route(snapshot, frame, packet, origin, real.egress, change)
    }

    /// Relays an error about a request, which the real server or a router before it has sent, to the client, in the name
    /// of the virtual address.
    fn relay_to_client<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        (translation, reply): (&Translation<A>, &ReplyKey<A>),
        origin: Origin,
        now: Time,
    ) -> Action {
        let Translation { id, client, change } = *translation;
        if let Some(action) = self.hold_back(snapshot, frame, packet, (id, reply), origin, now) {
            return action;
        }
        if let Err(reason) =
            self.count_relayed(snapshot, frame.bytes(), packet, id, Direction::Output)
        {
            return Action::Drop(reason);
        }
        let egress = snapshot.routes.egress(client.into());
        self.readdress_and_route(snapshot, frame, packet, origin, egress, change)
    }

    /// Checks an error that is to be relayed, and counts it as a packet of the real server.
    fn count_relayed(
        &self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        real: RealId,
        direction: Direction,
    ) -> Result<(), DropReason> {
        if !is_icmp_checksum_valid(frame, packet) {
            return Err(DropReason::IcmpInvalid);
        }
        if packet.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        if let Some(counting) = self.counting(snapshot) {
            counting.packet(real, direction, packet.datagram_bytes().into());
        }
        Ok(())
    }

    /// Translates an error's addresses, and those of the packet that it quotes, and sends it by `egress`.
    fn readdress_and_route<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        egress: Option<Egress>,
        change: Change<A>,
    ) -> Action {
        let Some(egress) = egress else {
            return Action::Drop(DropReason::NoRoute);
        };
        let Some(packet) = &self.prepare::<A, F>(snapshot, frame, packet, egress.port) else {
            return Action::Drop(DropReason::Truncated);
        };
        change.apply_to_error(frame.bytes_mut(), packet);
        match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => route(egress, cut, Verdict::Forwarded),
            Err(_) => Action::Drop(DropReason::MtuExceeded),
        }
    }

    /// Sends "port unreachable" for a packet that no real server takes, as IPVS does.
    #[cold]
    pub(crate) fn refuse(&mut self, snapshot: &Snapshot, frame: &[u8], packet: &Packet, now: Time) {
        let vip = packet.addresses.destination();
        self.report(
            snapshot,
            packet.datagram(frame),
            packet,
            Some(vip),
            Error::PortUnreachable,
            now,
        );
    }

    /// Sends "time exceeded" for a packet whose TTL is used up. `from` is the VIP, or `None` for our address on the sender's
    /// side.
    #[cold]
    pub(crate) fn time_exceeded(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        from: Option<IpAddr>,
        now: Time,
    ) {
        self.report(
            snapshot,
            packet.datagram(frame),
            packet,
            from,
            Error::TimeExceeded,
            now,
        );
    }

    /// Sends "fragmentation needed" or "packet too big".
    #[cold]
    pub(crate) fn too_big(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        from: Option<IpAddr>,
        mtu: usize,
        now: Time,
    ) {
        let mut datagram = Cow::Borrowed(packet.datagram(frame));
        if from.is_some() {
            // LVS decrements the TTL of a client's packet before it checks the size; of replies and routed packets after.
            datagram = quoted_hops::as_quoted(snapshot, packet.datagram(frame));
        }
        let error = Error::TooBig { mtu };
        self.report(snapshot, &datagram, packet, from, error, now);
    }

    pub(crate) fn report(
        &mut self,
        snapshot: &Snapshot,
        datagram: &[u8],
        packet: &Packet,
        from: Option<IpAddr>,
        error: Error,
        now: Time,
    ) {
        // Never an error about an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
        if packet.is_icmp() || !self.may_send(error, now) {
            return;
        }
        let to = packet.addresses.source();
        let from = from.or_else(|| snapshot.routes.egress(to).and_then(|egress| egress.source));
        let Some(from) = from else { return };
        let length = self.send_error(snapshot, datagram, (from, to), error, now);
        if length > 0 {
            self.count_error(snapshot, packet, length, now);
        }
    }

    /// Whether one more error of this kind is within its limit.
    fn may_send(&mut self, error: Error, now: Time) -> bool {
        match error {
            Error::PortUnreachable | Error::ProtocolUnreachable { .. } | Error::HostUnreachable => {
                self.limits.made.unreachable.allow(now)
            }
            Error::TimeExceeded | Error::ReassemblyTimeExceeded => {
                self.limits.made.exceeded.allow(now)
            }
            Error::TooBig { .. } | Error::Relayed { .. } => true,
        }
    }

    /// Sends an error about `datagram`, which may be truncated. Returns the error's length, or 0 if none is sent.
    pub(crate) fn send_error(
        &mut self,
        snapshot: &Snapshot,
        datagram: &[u8],
        (from, to): (IpAddr, IpAddr),
        error: Error,
        now: Time,
    ) -> usize {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let id = self.exit.take_id();
                let (from, to): (V4, V4) = (from.into(), to.into());
                let room = icmpv4::MAX_ERROR_BYTES;
                let write =
                    |out: &mut [u8]| icmpv4::write_error(out, error.v4(), from, to, id, datagram);
                self.exit.originate(snapshot, to.into(), room, write, now)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (from, to): (V6, V6) = (from.into(), to.into());
                let room = icmpv6::MAX_ERROR_BYTES;
                let write =
                    |out: &mut [u8]| icmpv6::write_error(out, error.v6(), from, to, datagram);
                self.exit.originate(snapshot, to.into(), room, write, now)
            }
            _ => 0,
        }
    }

    /// Counts an error about a packet of a one-way session as a reply of its real server, as IPVS does.
    fn count_error(&mut self, snapshot: &Snapshot, packet: &Packet, length: usize, now: Time) {
        let real = match packet.addresses {
            Addresses::V4 { .. } => self.real_of::<V4>(packet, now),
            Addresses::V6 { .. } => self.real_of::<V6>(packet, now),
        };
        if let (Some(real), Some(counting)) = (real, self.counting(snapshot)) {
            counting.packet(real, Direction::Output, length as u64);
        }
    }

    /// The real server of the one-way session that a client's packet belongs to.
    fn real_of<A: Tabled>(&mut self, packet: &Packet, now: Time) -> Option<RealId> {
        let (source, destination) = A::pair(packet.addresses)?;
        let table = A::table(&mut self.sessions);
        let key = flow_key(packet, packet.balanced_protocol()?, source, destination);
        let index = table.find(table.hash(&key), &key, now)?;
        let session = table.get(index);
        let one_way = session.flags().is_one_way();
        one_way.then(|| session.real())
    }
}

impl Error {
    fn v4(self) -> icmpv4::ErrorMessage {
        match self {
            Self::PortUnreachable => icmpv4::ErrorMessage::DestinationUnreachable {
                code: icmpv4::PORT_UNREACHABLE,
            },
            Self::ProtocolUnreachable { .. } => icmpv4::ErrorMessage::DestinationUnreachable {
                code: icmpv4::PROTOCOL_UNREACHABLE,
            },
            Self::HostUnreachable => icmpv4::ErrorMessage::DestinationUnreachable {
                code: icmpv4::HOST_UNREACHABLE,
            },
            Self::TimeExceeded => icmpv4::ErrorMessage::TimeExceeded,
            Self::ReassemblyTimeExceeded => icmpv4::ErrorMessage::ReassemblyTimeExceeded,
            Self::Relayed { kind, code } => icmpv4::ErrorMessage::Relayed { kind, code },
            Self::TooBig { mtu } => icmpv4::ErrorMessage::FragmentationNeeded {
                mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            },
        }
    }

    fn v6(self) -> icmpv6::ErrorMessage {
        match self {
            Self::PortUnreachable => icmpv6::ErrorMessage::DestinationUnreachable {
                code: icmpv6::PORT_UNREACHABLE,
            },
            // RFC 4443 section 3.4: an unknown protocol is an unknown next header in IPv6.
            Self::ProtocolUnreachable { link } => icmpv6::ErrorMessage::ParameterProblem {
                code: icmpv6::UNKNOWN_NEXT_HEADER,
                pointer: u32::from(link),
            },
            Self::HostUnreachable => icmpv6::ErrorMessage::DestinationUnreachable {
                code: icmpv6::ADDRESS_UNREACHABLE,
            },
            Self::TimeExceeded => icmpv6::ErrorMessage::TimeExceeded,
            Self::ReassemblyTimeExceeded => icmpv6::ErrorMessage::ReassemblyTimeExceeded,
            Self::Relayed { kind, code } => icmpv6::ErrorMessage::Relayed { kind, code },
            Self::TooBig { mtu } => icmpv6::ErrorMessage::PacketTooBig {
                mtu: u32::try_from(mtu).unwrap_or(u32::MAX),
            },
        }
    }
}

/// The errors that are relayed. A redirect concerns only the link on which it was received.
const fn is_relayed_v4(kind: u8) -> bool {
    matches!(
        kind,
        icmpv4::DESTINATION_UNREACHABLE
            | icmpv4::SOURCE_QUENCH
            | icmpv4::TIME_EXCEEDED
            | icmpv4::PARAMETER_PROBLEM
    )
}

/// Whether errors of this kind about sessions with the real server are not relayed.
fn is_left_alone(snapshot: &Snapshot, real: RealId, packet: &Packet, frame: &[u8]) -> bool {
    packet.upper(frame).first() == Some(&icmpv4::PARAMETER_PROBLEM)
        && !packet.addresses.is_v6()
        && snapshot
            .real(real)
            .is_some_and(|real| !real.policy.relays_parameter_problems)
}
