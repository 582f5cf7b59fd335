//! ICMP: errors about packets of sessions, errors that we make, and echo.
//! Message formats are in `wire/`; the NAT of a quoted packet is in `rewrite/nat.rs`.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::flow::{Addresses, FlowKey, Protocol, ReplyKey, V4, V6};
use crate::id::RealId;
use crate::io::{PacketBuf, Pool};
use crate::parse::{Packet, Quoted, parse_quoted};
use crate::pipeline::action::{Action, Origin};
use crate::pipeline::answer::icmp_error::{Error, is_icmp_checksum_valid};
use crate::pipeline::answer::quoted_hops;
use crate::pipeline::answer::tunnel_errors::tunnel_of;
use crate::pipeline::balance::one_packet::{Translation, translation};
use crate::pipeline::engine::Engine;
use crate::pipeline::leave::forward::{fit, route, strip};
use crate::pipeline::sessions::{Tabled, change_of, flow_key};
use crate::rewrite::nat::{self, Side, Socket};
use crate::session::SessionIndex;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{icmpv4, icmpv6, ipv4, ipv6};

impl<P: Pool> Engine<P> {
    /// An ICMP message: an echo for us, an error about a session's packet, or not ours.
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
            return self.answer_echo(snapshot, frame, packet, origin, now);
        }
        if is_error {
            return self.relay_error::<A, F>(snapshot, frame, packet, origin, now);
        }
        self.leave_alone(snapshot, frame, packet, origin, now)
    }

    /// A message that is none of the balancer's.
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

    fn answer_echo<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        if !is_icmp_checksum_valid(frame.bytes(), packet) {
            return Action::Drop(DropReason::IcmpInvalid);
        }
        if !self.policer.may_answer(snapshot, origin.port, packet, now) {
            return Action::Drop(DropReason::EchoLimited);
        }
        let upper = packet.upper_mut(frame.bytes_mut());
        let made = match packet.addresses {
            Addresses::V4 { .. } => icmpv4::make_echo_reply(upper),
            Addresses::V6 { .. } => icmpv6::make_echo_reply(upper),
        };
        if !made {
            return Action::Drop(DropReason::IcmpInvalid);
        }
        let id = origin.cut.is_none().then(|| self.exit.take_id());
        let Some(ip) = frame.bytes_mut().get_mut(packet.l3.into()..) else {
            return Action::Drop(DropReason::Truncated);
        };
        match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                if let Some(mut header) = ipv4::Header::new_mut(ip) {
                    header.set_source(destination);
                    header.set_destination(source);
                    header.set_ttl(64);
                    if let Some(id) = id {
                        // An answer is a datagram of its own, as Linux sends it.
                        header.set_id(id);
                        header.set_flags(0);
                    }
                }
                let header_bytes = usize::from(packet.l4 - packet.l3);
                let checksum = ip.get(..header_bytes).map_or(0, ipv4::header_checksum);
                if let Some(mut header) = ipv4::Header::new_mut(ip) {
                    header.set_checksum(checksum);
                }
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                if let Some(mut header) = ipv6::Header::new_mut(ip) {
                    header.set_source(destination);
                    header.set_destination(source);
                    header.set_hop_limit(64);
                }
            }
        }
        let Some(egress) = snapshot.routes.egress(packet.addresses.source()) else {
            return Action::Drop(DropReason::NoRoute);
        };
        let Some(packet) = &strip(snapshot, frame, packet, egress.port) else {
            return Action::Drop(DropReason::Truncated);
        };
        match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => route(egress, cut, Verdict::Replied),
            Err(_) => Action::Drop(DropReason::MtuExceeded),
        }
    }

    /// An error about a packet of a session: it goes where that packet came from.
    fn relay_error<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        let upper = packet.upper(frame.bytes());
        let kind = upper.first().copied();
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
            // An error goes to the sender of what it is about; this one is made up.
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
            if is_left_alone(snapshot, table.get(index).real(), packet, kind.as_ref()) {
                return self.leave_alone(snapshot, frame, packet, origin, now);
            }
            if !self.limits.relayed.allow(key, now) {
                return Action::Drop(DropReason::IcmpLimited);
            }
            return self
                .relay_to_real::<A, F>(snapshot, frame, packet, &quoted, index, origin, now);
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
            if is_left_alone(snapshot, table.get(index).real(), packet, kind.as_ref()) {
                return self.leave_alone(snapshot, frame, packet, origin, now);
            }
            if !self.limits.relayed.allow(reply, now) {
                return Action::Drop(DropReason::IcmpLimited);
            }
            let session = table.get(index);
            let Some((address, port)) = session.real_address() else {
                return Action::Drop(DropReason::IcmpNoSession);
            };
            let translation = Translation {
                id: session.real(),
                real: Socket { address, port },
                virtual_: Socket {
                    address: session.key().virtual_address,
                    port: session.key().virtual_port,
                },
                client: session.key().client,
            };
            return self.relay_to_client(snapshot, frame, packet, &translation, origin);
        }
        // The session may be another worker's: the quote says whose.
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
        if let Some(answer) = translation(snapshot, protocol, real, from) {
            if is_left_alone(snapshot, answer.id, packet, kind.as_ref()) {
                return self.leave_alone(snapshot, frame, packet, origin, now);
            }
            if !self.limits.relayed.allow(reply, now) {
                return Action::Drop(DropReason::IcmpLimited);
            }
            return self.relay_to_client(snapshot, frame, packet, &answer, origin);
        }
        match self.begin_by_error(snapshot, frame.bytes(), packet, &key, origin, now) {
            Some(Ok(index)) => {
                return self
                    .relay_to_real::<A, F>(snapshot, frame, packet, &quoted, index, origin, now);
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

    /// The client's side complains about a reply. DR and tunnel pass the message on as it is.
    #[expect(clippy::too_many_arguments, reason = "the packet's facts")]
    fn relay_to_real<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        quoted: &Quoted,
        index: SessionIndex,
        origin: Origin,
        now: Time,
    ) -> Action {
        let session = *A::table(&mut self.sessions).get(index);
        let Some(real) = snapshot.real(session.real()) else {
            return Action::Drop(DropReason::RealGone);
        };
        if !is_icmp_checksum_valid(frame.bytes(), packet) {
            return Action::Drop(DropReason::IcmpInvalid);
        }
        if packet.ttl <= 1 {
            return Action::Drop(DropReason::TtlExceeded);
        }
        if let Some(counters) = self.counters(snapshot, real.id) {
            counters.in_packets.add(1);
            counters.in_bytes.add(u64::from(packet.datagram_bytes()));
        }
        let Some((address, port)) = session.real_address() else {
            let change = change_of(&session);
            return self.forward::<A, F>(snapshot, frame, packet, real, change, origin, now);
        };
        let Some(egress) = real.egress else {
            return Action::Drop(DropReason::NoRoute);
        };
        let Some(packet) = &self.prepare::<A, F>(snapshot, frame, packet, egress.port) else {
            return Action::Drop(DropReason::Truncated);
        };
        let vip = session.key().virtual_address;
        nat::readdress_error(
            frame.bytes_mut(),
            packet,
            Side::Destination,
            (vip, address),
            Socket {
                address: vip,
                port: quoted.source_port,
            },
            Socket { address, port },
        );
        match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => route(egress, cut, Verdict::Forwarded),
            Err(_) => Action::Drop(DropReason::MtuExceeded),
        }
    }

    /// The real server, or a router before it, complains about a request: to the client it is the
    /// VIP that complains.
    fn relay_to_client<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        translation: &Translation<A>,
        origin: Origin,
    ) -> Action {
        let Some((source, _)) = A::pair(packet.addresses) else {
            return Action::Drop(DropReason::IcmpNoSession);
        };
        if !is_icmp_checksum_valid(frame.bytes(), packet) {
            return Action::Drop(DropReason::IcmpInvalid);
        }
        if packet.ttl <= 1 {
            return Action::Drop(DropReason::TtlExceeded);
        }
        if let Some(counters) = self.counters(snapshot, translation.id) {
            counters.out_packets.add(1);
            counters.out_bytes.add(u64::from(packet.datagram_bytes()));
        }
        let Some(egress) = snapshot.routes.egress(translation.client.into()) else {
            return Action::Drop(DropReason::NoRoute);
        };
        let Some(packet) = &self.prepare::<A, F>(snapshot, frame, packet, egress.port) else {
            return Action::Drop(DropReason::Truncated);
        };
        nat::readdress_error(
            frame.bytes_mut(),
            packet,
            Side::Source,
            (source, translation.virtual_.address),
            translation.real,
            translation.virtual_,
        );
        match fit(packet, egress.mtu, origin.cut) {
            Ok(cut) => route(egress, cut, Verdict::Forwarded),
            Err(_) => Action::Drop(DropReason::MtuExceeded),
        }
    }

    /// No real server takes the packet: IPVS tells the client that the port is unreachable.
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

    /// Tells the sender that its packet's hops ran out. `from` is the VIP, or `None` for our own
    /// address on the sender's side.
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

    /// Tells the sender what would fit.
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
            // Of replies, and what is routed, LVS finds the size before it takes a hop off.
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

    /// Whether one more error of this kind may be made here.
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

    /// Sends an error about `datagram`, which need not be whole. Returns the length of what is sent, 0
    /// for nothing.
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

    /// An error about a packet of a one-way session counts as its real server's, as in IPVS, which
    /// takes it for a reply that the director forwards.
    fn count_error(&mut self, snapshot: &Snapshot, packet: &Packet, length: usize, now: Time) {
        let real = match packet.addresses {
            Addresses::V4 { .. } => self.real_of::<V4>(packet, now),
            Addresses::V6 { .. } => self.real_of::<V6>(packet, now),
        };
        if let Some(counters) = real.and_then(|real| self.counters(snapshot, real)) {
            counters.out_packets.add(1);
            counters.out_bytes.add(length as u64);
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
            // RFC 4443 section 3.4: IPv6 has no such code, since it calls every header the next one.
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

/// The errors that are passed on. A redirect is about the link that it came by.
const fn is_relayed_v4(kind: u8) -> bool {
    matches!(
        kind,
        icmpv4::DESTINATION_UNREACHABLE
            | icmpv4::SOURCE_QUENCH
            | icmpv4::TIME_EXCEEDED
            | icmpv4::PARAMETER_PROBLEM
    )
}

/// Whether errors of this kind about sessions with the real server are none of the balancer's.
fn is_left_alone(snapshot: &Snapshot, real: RealId, packet: &Packet, kind: Option<&u8>) -> bool {
    kind == Some(&icmpv4::PARAMETER_PROBLEM)
        && !packet.addresses.is_v6()
        && snapshot
            .real(real)
            .is_some_and(|real| !real.policy.relays_parameter_problems)
}
