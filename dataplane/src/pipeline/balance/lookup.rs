//! The balancer itself: finds the session of a packet and updates its state.
//! New sessions are begun by `begin.rs`; packets are sent by `leave/forward.rs`.

use std::net::IpAddr;

use crate::flow::{Address, FlowKey, Protocol, ReplyKey};
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Answer, Context, Decision, Refusal};
use crate::pipeline::balance::Balancer;
use crate::pipeline::balance::admit::uncount;
use crate::pipeline::balance::one_packet::{answer_one_packet, translation};
use crate::pipeline::balance::sequence_numbers::note_numbers;
use crate::pipeline::leave::forward::Forwarder;
use crate::pipeline::leave::transit;
use crate::pipeline::sessions::{Tabled, Translation, change_of, opens, reply_key};
use crate::rewrite::nat::{self, Socket};
use crate::session::{Direction, KeyHash, SctpState, Session, SessionIndex, State, Step, TcpState};
use crate::snapshot::model::RealServer;
use crate::spec::policy::{OnDown, Reuse};
use crate::spec::service::Remaining;
use crate::verdict::DropReason;
use crate::wire::{sctp, tcp};

impl Balancer {
    /// A TCP, UDP or SCTP packet: of a session, a reply, the first of a session, or none of these. `key` is its key if
    /// it is a client's packet.
    #[inline(never)]
    pub(crate) fn balance<A: Tabled, P: Pool, F: PacketBuf>(
        &mut self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        (key, hash): (&FlowKey<A>, KeyHash),
    ) -> Decision {
        let Context { snapshot, now, .. } = *context;
        let (source, destination, protocol) = (key.client, key.virtual_address, key.protocol);
        let table = A::table(&mut self.sessions);
        let old = table.find_any(hash, key);
        let found = old.filter(|index| table.get(*index).deadline() > now);
        // Set if the packet has ended its session and begins another, even if it does not open a connection.
        let mut moves = false;
        if let Some(index) = found {
            match self.continue_session::<A, P, F>(forwarder, context, frame, packet, index) {
                Continued::Done(decision) => return decision,
                Continued::Ended { moves: it_does } => moves = it_does,
            }
        } else if snapshot.has_nat() && snapshot.may_be_nat_real(source) {
            let key = reply_key(packet, protocol, source, destination);
            let found = table.find_reply(table.reply_hash(&key), &key, now);
            if let Some(index) = found {
                return self.reply::<A, P, F>(forwarder, context, frame, packet, index);
            }
        }
        let address: IpAddr = destination.into();
        let service = self.service_cache.service_for(snapshot, key);
        if let Some(service) = service {
            // For a removed service as well: its sessions still exist on their owners.
            let any = moves || service.policy.is_sloppy(protocol);
            let opens = opens(protocol, packet, any);
            let owners = &mut self.owners;
            if let Some(decision) = owners.go_to_owner(context, service, key, packet, opens) {
                return decision;
            }
            if service.configured {
                let place = (key, hash, old);
                return self.begin(forwarder, context, (frame, packet), service, place, opens);
            }
        }
        if service.is_none()
            && let Some(action) = self.owners.search_misplaced(context, key)
        {
            return Ok(action);
        }
        let local = snapshot.locals.contains_key(&address);
        if !local
            && let Some(socket) = snapshot.nat_socket(protocol, source.into(), packet.source_port)
        {
            // It may be a reply whose session is on another worker.
            let reply = reply_key(packet, protocol, source, destination);
            if let Some(action) = self.owners.go_to_replys_owner(context, socket, &reply) {
                return Ok(action);
            }
            let real = Socket {
                address: source,
                port: packet.source_port,
            };
            if let Some(answer) = translation(snapshot, protocol, real, destination) {
                return answer_one_packet(forwarder, context, frame, packet, &answer);
            }
            let resets = packet.tcp_flags & tcp::RST != 0 || packet.sctp_chunk == sctp::ABORT;
            if snapshot.refuses_replies && !resets && packet.ttl > 1 {
                let answer = Answer::ReplyUnreachable;
                return Err(Refusal::new(DropReason::NoSession, answer));
            }
        }
        if !local && let Some(action) = self.end_closing_session(context, key, packet) {
            return Ok(action);
        }
        transit::pass_on(context, frame, packet).map_err(|refusal| Refusal {
            answer: if snapshot.is_ours(address) {
                Answer::AsHost
            } else {
                refusal.answer
            },
            ..refusal
        })
    }

    /// A client's packet of a session. It may end the session.
    #[inline]
    fn continue_session<A: Tabled, P: Pool, F: PacketBuf>(
        &mut self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        index: SessionIndex,
    ) -> Continued {
        let session = *A::table(&mut self.sessions).get(index);
        let Some(real) = context.snapshot.real(session.real()) else {
            return Continued::Done(Err(DropReason::RealGone.into()));
        };
        match end_of(&session, real, packet) {
            End::No => {}
            End::Yes { moves } => {
                if let Some(session) = A::table(&mut self.sessions).remove(index) {
                    uncount(context, &session);
                }
                return Continued::Ended { moves };
            }
            End::Stuck => {
                // Without services, IPVS does not handle packets, and the host replies.
                let answer = if context.snapshot.has_services() {
                    Answer::Nothing
                } else {
                    Answer::AsHost
                };
                return Continued::Done(Err(Refusal::new(DropReason::RealGone, answer)));
            }
        }
        let one_way = session.flags().is_one_way();
        let direction = if one_way {
            Direction::InputOnly
        } else {
            Direction::Input
        };
        let step = Step {
            direction,
            signal: packet.signal(),
            secure: real.policy.is_secure(self.sessions.half_open_pressure),
            timeouts: &real.timeouts,
        };
        let bytes = real.configured.then_some(packet.datagram_bytes());
        self.sessions
            .advance::<A>(context, (index, real.id), step, bytes, || false);
        if real.policy.idle_reset {
            let table = A::table(&mut self.sessions);
            note_numbers(table, index, session.state(), packet, frame.bytes());
        }
        let change = change_of(&session);
        Continued::Done(forwarder.forward::<A, F>(context, frame, packet, real, change))
    }

    /// A client opens a connection to a real server's own address, from a port from which it had a session by a VIP
    /// with the same real server. If that session is closing, it is removed, as by a SYN to the VIP; otherwise the real
    /// server's replies would be translated to the VIP's address. Returns where the packet is handed over to for
    /// this, if the session may be on another worker.
    #[inline]
    fn end_closing_session<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        key: &FlowKey<A>,
        packet: &Packet,
    ) -> Option<Action> {
        let Context { snapshot, now, .. } = *context;
        if key.protocol == Protocol::Udp || !opens(key.protocol, packet, false) {
            return None;
        }
        let (address, port) = (key.virtual_address, key.virtual_port);
        let socket = snapshot.nat_socket(key.protocol, address.into(), port)?;
        // If services that share the socket have different rules for owners, all workers would have to be searched. A
        // SYN that anybody can send must not cost that much.
        socket.owner()?;
        let answers = ReplyKey {
            client: key.client,
            real: address,
            client_port: key.client_port,
            real_port: port,
            protocol: key.protocol,
        };
        let table = A::table(&mut self.sessions);
        let Some(index) = table.find_reply(table.reply_hash(&answers), &answers, now) else {
            let first = (context.origin.hops == 0).then_some(socket)?;
            return self.owners.go_to_replys_owner(context, first, &answers);
        };
        let session = *table.get(index);
        let is_over = snapshot
            .real(session.real())
            .is_some_and(|real| is_reused(&session, real));
        if is_over && table.remove(index).is_some() {
            uncount(context, &session);
        }
        None
    }

    /// A reply: a NAT real server's packet of a session.
    fn reply<A: Tabled, P: Pool, F: PacketBuf>(
        &mut self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        frame: &mut F,
        packet: &Packet,
        index: SessionIndex,
    ) -> Decision {
        let session = *A::table(&mut self.sessions).get(index);
        let translation = &Translation::of(&session).ok_or(DropReason::NoSession)?;
        let protocol = session.key().protocol;
        let opens = match protocol {
            Protocol::Tcp => packet.tcp_flags & tcp::SYN != 0,
            Protocol::Udp => true,
            Protocol::Sctp => matches!(packet.sctp_chunk, sctp::INIT | sctp::INIT_ACK),
        };
        if opens && nat::is_checksum_unfinished(frame.bytes(), packet, protocol) {
            return Err(DropReason::UnfinishedChecksum.into());
        }
        let known = context.snapshot.real(session.real());
        let known = known.ok_or(DropReason::RealGone)?;
        let step = Step {
            direction: Direction::Output,
            signal: packet.signal(),
            secure: known.policy.is_secure(self.sessions.half_open_pressure),
            timeouts: &known.timeouts,
        };
        let has_data = || tcp::has_data(packet.upper(frame.bytes()));
        let bytes = known.configured.then_some(packet.datagram_bytes());
        self.sessions
            .advance::<A>(context, (index, known.id), step, bytes, has_data);
        forwarder.forward_reply::<A, F>(context, frame, packet, translation)
    }
}

/// The result of a client's packet for its session.
enum Continued {
    Done(Decision),
    /// The session was removed; the packet has none now.
    Ended {
        /// The packet begins a new session, even if it does not open a connection.
        moves: bool,
    },
}

/// Whether a packet ends its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    Yes {
        moves: bool,
    },
    /// It does not end, but its real server is gone and the packet is dropped.
    Stuck,
}

/// Whether a packet ends its session, by the policy of the session's service. As in IPVS, port reuse by a SYN or INIT
/// is checked before whether the real server is still there.
#[inline]
fn end_of<A: Address>(session: &Session<A>, real: &RealServer, packet: &Packet) -> End {
    let protocol = session.key().protocol;
    // UDP has no connections, so no datagram reuses a port.
    let opens = protocol != Protocol::Udp && opens(protocol, packet, false);
    if opens && is_reused(session, real) {
        return End::Yes { moves: false };
    }
    let on_down = match real.remaining() {
        Remaining::KeptButUdp if protocol == Protocol::Udp => OnDown::Reschedule,
        Remaining::Kept | Remaining::KeptButUdp => return End::No,
        Remaining::Gone(on_down) => on_down,
    };
    match on_down {
        OnDown::Drop => End::Stuck,
        OnDown::Keep if protocol != Protocol::Udp && !opens => End::No,
        OnDown::Reschedule => End::Yes { moves: true },
        OnDown::Keep | OnDown::Reset => End::Yes { moves: false },
    }
}

/// Whether a SYN or INIT replaces this session by a new one (IPVS: port reuse).
fn is_reused<A: Address>(session: &Session<A>, real: &RealServer) -> bool {
    if real.policy.leaves_drained && real.spec.weight == 0 {
        return true;
    }
    if session.is_controlled() && !real.policy.reuses_persistent {
        return false;
    }
    match session.state() {
        State::Tcp(TcpState::TimeWait | TcpState::Close) => real.policy.reuse >= Reuse::Closed,
        State::Tcp(TcpState::FinWait) if session.flags().is_one_way() => {
            real.policy.reuse >= Reuse::Closing
        }
        State::Sctp(SctpState::Closed) => real.policy.reuse >= Reuse::Closed,
        _ => false,
    }
}
