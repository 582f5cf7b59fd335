//! The first packet of a session: schedules it and inserts the session into the table. A datagram of a one-packet
//! service is scheduled here too, without a session. Persistence is in `persist.rs`.
//! Packets are sent by `leave/forward.rs`.

use crate::flow::{FlowKey, Protocol};
use crate::id::RealId;
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Answer, Context, Decision, Refusal};
use crate::pipeline::balance::Balancer;
use crate::pipeline::balance::admit::{Admission, Counters, uncount};
use crate::pipeline::balance::advance::count_packet;
use crate::pipeline::balance::persist::Template;
use crate::pipeline::balance::sequence_numbers::note_numbers;
use crate::pipeline::handover::message::Message;
use crate::pipeline::inbox::Lane;
use crate::pipeline::leave::exit::Exit;
use crate::pipeline::leave::forward::Forwarder;
use crate::pipeline::leave::transit::is_never_forwarded;
use crate::pipeline::sessions::Tabled;
use crate::rewrite::change::Change;
use crate::rewrite::nat::{self, Socket};
use crate::schedule;
use crate::session::{Direction, Flags, KeyHash, NewSession, SessionIndex, State, TableFull};
use crate::snapshot::model::{RealServer, VirtualService};
use crate::snapshot::owner::Owner;
use crate::spec::forward::ForwardMethod;
use crate::spec::target::{FTP, Target};
use crate::time::Time;
use crate::verdict::DropReason;

/// IANA "ftp-data".
const FTP_DATA: u16 = 20;
/// The timeout of a session of which no packet was seen yet (IPVS: 3 s for a new entry).
const UNSEEN_MS: u64 = 3000;

/// A key that no session has: its hash, and an expired session with the same key.
pub(crate) type Vacant<'k, A> = (&'k FlowKey<A>, KeyHash, Option<SessionIndex>);

/// Where the session of an ICMP error is.
pub(crate) enum Begun {
    Here(SessionIndex),
    /// It begins on another worker, to which the error is handed over.
    Elsewhere(Action),
}

impl Balancer {
    /// Begins a session with this packet if it `opens` one.
    pub(crate) fn begin<A: Tabled, P: Pool, F: PacketBuf>(
        &mut self,
        forwarder: &mut Forwarder<P>,
        context: &Context<'_>,
        (frame, packet): (&mut F, &Packet),
        service: &VirtualService,
        vacant: Vacant<'_, A>,
        opens: bool,
    ) -> Decision {
        let Context {
            snapshot,
            now,
            origin,
            ..
        } = *context;
        let key = vacant.0;
        // A service with match rules may receive other protocols too, which always have sessions.
        let one_packet = service.one_packet && key.protocol == Protocol::Udp;
        let may_have_begun = service.owner == Owner::Receiver && !one_packet;
        if origin.cut.is_some()
            && may_have_begun
            && let Some(action) = self.owners.go_to_receiver(context, key)
        {
            return Ok(action);
        }
        // As in IPVS, no session begins from the port from which FTP servers open data connections.
        if !opens || key.client_port == FTP_DATA {
            return Err(Refusal::new(DropReason::NoSession, Answer::AsHost));
        }
        if is_never_forwarded(snapshot, key.client.into()) {
            return Err(DropReason::MartianSource.into());
        }
        if nat::is_checksum_unfinished(frame.bytes(), packet, key.protocol) {
            return Err(DropReason::UnfinishedChecksum.into());
        }
        let may_be_elsewhere =
            may_have_begun && self.owners.may_be_elsewhere(snapshot, key.protocol);
        let elsewhere = may_be_elsewhere
            .then(|| self.owners.begun_elsewhere(snapshot, service, key, now))
            .flatten();
        let placed = match elsewhere {
            Some(real) => Ok((real, None)),
            None => self.place(context, service, key),
        };
        let (real, template) = placed.map_err(|reason| refusal(reason, service, key))?;
        let counters = Counters::of(context, real).ok_or(DropReason::NoReal)?;
        if !one_packet {
            let secure = real.policy.is_secure(self.sessions.half_open_pressure);
            let direction = direction_of(real.spec.forward);
            let state = State::first(key.protocol, direction, packet.signal(), secure);
            let deadline = real.timeouts.deadline(state, now);
            let first = (state, deadline);
            let index = self.enter(context, vacant, (real, counters), template, first)?;
            let table = A::table(&mut self.sessions);
            if real.policy.idle_reset {
                note_numbers(table, index, state, packet, frame.bytes());
            }
            if template.is_some() && state.assures(direction) {
                table.assure(index);
            }
            if may_be_elsewhere && origin.cut.is_some() {
                self.broadcast_begun(&forwarder.exit, key, real.id, deadline, now);
            }
        }
        counters.real.sessions.add(1);
        let bytes = packet.datagram_bytes().into();
        count_packet(counters.real, Direction::Input, bytes);
        let change = Change::of_request(real.spec.forward, || socket_of(real, key));
        forwarder.forward::<A, F>(context, frame, packet, real, change)
    }

    /// An ICMP error about an unknown session begins that session (IPVS: `schedule_icmp`). With a scheduler that
    /// depends on the client alone, the error then reaches the real server that another director chose. `None` if the
    /// error begins no session.
    pub(crate) fn begin_by_error<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        frame: &[u8],
        packet: &Packet,
        key: &FlowKey<A>,
    ) -> Option<Result<Begun, DropReason>> {
        let Context { snapshot, now, .. } = *context;
        let service = snapshot.service_for(key).filter(|service| {
            let one_packet = service.one_packet && key.protocol == Protocol::Udp;
            service.configured && service.policy.schedule_icmp && !one_packet
        })?;
        if key.client_port == FTP_DATA || snapshot.is_martian_source(key.client.into()) {
            return None;
        }
        if let Some(owner) = self.owners.owner_of(service, key) {
            // It may have visited the owner before, but then other workers had still to be searched.
            return Some(if usize::from(context.origin.hops) <= self.start.workers {
                let lane = Lane::Search;
                Ok(Begun::Elsewhere(Action::HandOver { to: owner, lane }))
            } else {
                Err(DropReason::HandoverLoop)
            });
        }
        if packet.ttl <= 1 {
            return Some(Err(DropReason::TtlExceeded));
        }
        if !packet.is_icmp_checksum_valid(frame) {
            return Some(Err(DropReason::IcmpInvalid));
        }
        if !self.begun_by_errors.allow(now) {
            return Some(Err(DropReason::IcmpLimited));
        }
        let placed = self.place(context, service, key);
        let begun = placed.and_then(|(real, template)| {
            let counters = Counters::of(context, real).ok_or(DropReason::NoReal)?;
            let table = A::table_of(&self.sessions);
            let hash = table.hash(key);
            let vacant = (key, hash, table.find_any(hash, key));
            let first = (State::unseen(key.protocol), now.plus_ms(UNSEEN_MS));
            let index = self.enter(context, vacant, (real, counters), template, first)?;
            counters.real.sessions.add(1);
            Ok(Begun::Here(index))
        });
        Some(begun)
    }

    /// The real server for a new session, and the persistence template that determines it, if any.
    fn place<'s, A: Tabled>(
        &mut self,
        context: &Context<'s>,
        service: &VirtualService,
        key: &FlowKey<A>,
    ) -> Result<(&'s RealServer, Option<Template>), DropReason> {
        let table = A::table(&mut self.sessions);
        let (free, capacity) = (table.capacity() - table.len(), table.capacity());
        if self.choosing.sheds(&service.policy, free, capacity) {
            return Err(DropReason::Shed);
        }
        let (chosen, template) = match service.persistence {
            None => (self.choose(context, service, key), None),
            Some(persistence) => match self.real_by_template(context, service, persistence, key) {
                Ok(Some((real, template))) => (Some(real), Some(template)),
                Ok(None) => (None, None),
                Err(TableFull) => {
                    self.stats.refused_service.set(service.id.0);
                    return Err(DropReason::SessionTableFull);
                }
            },
        };
        let real = chosen.and_then(|real| context.snapshot.real(real));
        Ok((real.ok_or(DropReason::NoReal)?, template))
    }

    /// The real server that the scheduler chooses.
    pub(crate) fn choose<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        service: &VirtualService,
        key: &FlowKey<A>,
    ) -> Option<RealId> {
        let Context { snapshot, now, .. } = *context;
        let moving = self.choosing.moving(context.own.cursors.get(service.id.0)?);
        let flow = schedule::Flow {
            client: key.client.into(),
            client_port: key.client_port,
            virtual_address: key.virtual_address.into(),
        };
        schedule::choose(&service.scheduling, moving, self.start, flow, snapshot, now)
    }

    /// Inserts a session with this state and deadline into the table, and counts it.
    fn enter<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        (key, hash, old): Vacant<'_, A>,
        (real, counters): (&RealServer, Counters<'_>),
        template: Option<Template>,
        (state, deadline): (State, Time),
    ) -> Result<SessionIndex, DropReason> {
        let Context { snapshot, now, .. } = *context;
        let socket = socket_of(real, key);
        let new = NewSession {
            real_address: socket.map(|socket| (socket.address, socket.port)),
            flags: Flags::of(real.spec.forward),
            template: template.map(|template| template.index),
            old,
            ..NewSession::direct(*key, real.id, state, deadline)
        };
        let table = A::table(&mut self.sessions);
        let admission = Admission {
            context,
            stats: &self.stats,
            service: real.service,
            counters: counters.service,
            capacity: table.capacity(),
            at_limit: snapshot.is_at_limit(real.service),
        };
        let at_limit = admission.at_limit;
        let entered = table.insert(hash, &new, now, admission);
        if entered.is_err()
            && let Some(template) = template.filter(|template| template.is_new)
            && let Some(template) = table.remove(template.index)
        {
            // The new template controls no session.
            uncount(context, &template);
        }
        let index = entered.map_err(|TableFull| {
            if at_limit {
                self.stats.limited_service.set(real.service.0);
                DropReason::ServiceSessions
            } else {
                self.stats.refused_service.set(real.service.0);
                DropReason::SessionTableFull
            }
        })?;
        counters.enter(context, real, table.get(index));
        Ok(index)
    }

    /// Sends the other workers a message that a flow has begun here with a reassembled datagram.
    #[cold]
    fn broadcast_begun<A: Tabled, P: Pool>(
        &mut self,
        exit: &Exit<P>,
        key: &FlowKey<A>,
        real: RealId,
        until: Time,
        now: Time,
    ) {
        if let Some(flow) = self.owners.hash_to_broadcast(key, now) {
            let message = || Message::Begun { flow, real, until };
            exit.broadcast(Lane::Search, message);
        }
    }
}

/// The real server's socket to which NAT translates a session's packets; `None` without NAT.
fn socket_of<A: Tabled>(real: &RealServer, key: &FlowKey<A>) -> Option<Socket<A>> {
    let address = A::of(real.spec.address).filter(|_| real.spec.forward.rewrites_destination());
    address.map(|address| Socket {
        address,
        port: real.port_for(key.virtual_port),
    })
}

const fn direction_of(method: ForwardMethod) -> Direction {
    if method.replies_return() {
        Direction::Input
    } else {
        Direction::InputOnly
    }
}

/// What becomes of a packet that begins no session because of `reason`.
fn refusal<A>(reason: DropReason, service: &VirtualService, key: &FlowKey<A>) -> Refusal {
    let is_ftp = matches!(&service.target, Target::Vip(vip) if vip.is_ftp());
    let answer = match reason {
        // IPVS passes what may be an FTP data connection to the host.
        DropReason::NoReal if is_ftp && key.virtual_port != FTP => Answer::AsHost,
        DropReason::NoReal => Answer::PortUnreachable,
        _ => Answer::Nothing,
    };
    Refusal::new(reason, answer)
}
