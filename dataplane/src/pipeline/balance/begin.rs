//! The first packet of a session: schedules it and inserts the session into the table. A datagram of a one-packet
//! service is scheduled here too, without a session. Persistence is in `persist.rs`.
//! Sends nothing itself; `forward.rs` does.

use std::net::IpAddr;

use crate::flow::{FlowKey, Protocol};
use crate::id::RealId;
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Origin};
use crate::pipeline::answer::icmp_error::is_icmp_checksum_valid;
use crate::pipeline::balance::admit::{Admission, Counters, uncount};
use crate::pipeline::balance::advance::count_packet;
use crate::pipeline::balance::persist::Template;
use crate::pipeline::balance::sequence_numbers::note_numbers;
use crate::pipeline::engine::Engine;
use crate::pipeline::handover::inbox::Lane;
use crate::pipeline::handover::message::Message;
use crate::pipeline::sessions::{Tabled, opens};
use crate::rewrite::change::Change;
use crate::rewrite::nat::{self, Socket};
use crate::schedule;
use crate::session::{Direction, Flags, KeyHash, NewSession, SessionIndex, State, TableFull};
use crate::snapshot::Snapshot;
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

impl<P: Pool> Engine<P> {
    /// Begins a session with this packet. `hash` is the hash of `key`, and `old` an expired session with the same key.
    /// With `moves`, any packet may begin it, not just one that opens a connection.
    #[expect(
        clippy::too_many_arguments,
        reason = "the packet's facts, in registers"
    )]
    pub(crate) fn begin_session<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        service: &VirtualService,
        key: &FlowKey<A>,
        (hash, old): (KeyHash, Option<SessionIndex>),
        moves: bool,
        origin: Origin,
        now: Time,
    ) -> Action {
        let any = moves || service.policy.is_sloppy(key.protocol);
        let opens = opens(key.protocol, packet, any);
        // A service with match rules may receive other protocols too, which always have sessions.
        let one_packet = service.one_packet && key.protocol == Protocol::Udp;
        let may_have_begun = service.owner == Owner::Receiver && !one_packet;
        if origin.cut.is_some()
            && may_have_begun
            && let Some(action) = self.owners.go_to_receiver(snapshot, key, origin, now)
        {
            return action;
        }
        // As in IPVS, no session begins from the port from which FTP servers open data connections.
        if !opens || key.client_port == FTP_DATA {
            self.refuse_as_host(snapshot, frame.bytes(), packet, now);
            return Action::Drop(DropReason::NoSession);
        }
        if snapshot.is_martian_source(key.client.into()) || is_link_local(key.client.into()) {
            return Action::Drop(DropReason::MartianSource);
        }
        if nat::is_checksum_unfinished(frame.bytes(), packet, key.protocol) {
            return Action::Drop(DropReason::UnfinishedChecksum);
        }
        let may_be_elsewhere =
            may_have_begun && self.owners.may_be_elsewhere(snapshot, key.protocol);
        let elsewhere = may_be_elsewhere
            .then(|| self.owners.begun_elsewhere(snapshot, service, key, now))
            .flatten();
        let placed = match elsewhere {
            Some(real) => Ok((real, None)),
            None => self.place(snapshot, service, key, now),
        };
        let (real, template) = match placed {
            Ok(placed) => placed,
            Err(reason) => {
                let is_ftp_data = matches!(&service.target, Target::Vip(vip) if vip.is_ftp())
                    && key.virtual_port != FTP;
                if reason == DropReason::NoReal && is_ftp_data {
                    // IPVS passes what may be an FTP data connection to the host.
                    self.refuse_as_host(snapshot, frame.bytes(), packet, now);
                } else if reason == DropReason::NoReal {
                    self.refuse(snapshot, frame.bytes(), packet, now);
                }
                return Action::Drop(reason);
            }
        };
        let socket = socket_of(real, key);
        let Some(counters) = Counters::of(snapshot, self.start.worker, real) else {
            return Action::Drop(DropReason::NoReal);
        };
        if !one_packet {
            let secure = real.policy.is_secure(self.half_open_pressure);
            let direction = direction_of(real.spec.forward);
            let state = State::first(key.protocol, direction, packet.signal(), secure);
            let deadline = real.timeouts.deadline(state, now);
            let index = match self.enter_session(
                snapshot,
                (key, hash, old),
                (real, counters),
                socket,
                template,
                state,
                deadline,
                now,
            ) {
                Ok(index) => index,
                Err(reason) => return Action::Drop(reason),
            };
            let table = A::table(&mut self.sessions);
            if real.policy.idle_reset {
                note_numbers(table, index, state, packet, frame.bytes());
            }
            if template.is_some() && state.assures(direction) {
                table.assure(index);
            }
            if may_be_elsewhere && origin.cut.is_some() {
                self.broadcast_begun(key, real.id, deadline, now);
            }
        }
        counters.real.sessions.add(1);
        let bytes = packet.datagram_bytes().into();
        count_packet(counters.real, Direction::Input, bytes);
        let change = Change::of_request(real.spec.forward, || socket);
        self.forward::<A, F>(snapshot, frame, packet, real, change, origin, now)
    }

    /// An ICMP error about an unknown session begins that session (IPVS: `schedule_icmp`). With a scheduler that
    /// depends on the client alone, the error then reaches the real server that another director chose. `None` if the
    /// error begins no session.
    pub(crate) fn begin_by_error<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        key: &FlowKey<A>,
        origin: Origin,
        now: Time,
    ) -> Option<Result<SessionIndex, Action>> {
        let service = snapshot.service_for(key).filter(|service| {
            let one_packet = service.one_packet && key.protocol == Protocol::Udp;
            service.configured && service.policy.schedule_icmp && !one_packet
        })?;
        if key.client_port == FTP_DATA || snapshot.is_martian_source(key.client.into()) {
            return None;
        }
        if let Some(owner) = self.owners.owner_of(service, key) {
            // It may have visited the owner before, but then other workers had still to be searched.
            return Some(Err(if usize::from(origin.hops) <= self.start.workers {
                let lane = Lane::Search;
                Action::HandOver { to: owner, lane }
            } else {
                Action::Drop(DropReason::HandoverLoop)
            }));
        }
        if packet.ttl <= 1 {
            return Some(Err(Action::Drop(DropReason::TtlExceeded)));
        }
        if !is_icmp_checksum_valid(frame, packet) {
            return Some(Err(Action::Drop(DropReason::IcmpInvalid)));
        }
        if !self.limits.made.begun.allow(now) {
            return Some(Err(Action::Drop(DropReason::IcmpLimited)));
        }
        let begun = self
            .place(snapshot, service, key, now)
            .and_then(|(real, template)| {
                let counters = Counters::of(snapshot, self.start.worker, real);
                let counters = counters.ok_or(DropReason::NoReal)?;
                let table = A::table_of(&self.sessions);
                let hash = table.hash(key);
                let old = table.find_any(hash, key);
                let index = self.enter_session(
                    snapshot,
                    (key, hash, old),
                    (real, counters),
                    socket_of(real, key),
                    template,
                    State::unseen(key.protocol),
                    now.plus_ms(UNSEEN_MS),
                    now,
                )?;
                counters.real.sessions.add(1);
                Ok(index)
            });
        Some(begun.map_err(Action::Drop))
    }

    /// The real server for a new session, and the persistence template that determines it, if any.
    fn place<'s, A: Tabled>(
        &mut self,
        snapshot: &'s Snapshot,
        service: &VirtualService,
        key: &FlowKey<A>,
        now: Time,
    ) -> Result<(&'s RealServer, Option<Template>), DropReason> {
        let table = A::table(&mut self.sessions);
        let (free, capacity) = (table.capacity() - table.len(), table.capacity());
        if self.choosing.sheds(&service.policy, free, capacity) {
            return Err(DropReason::Shed);
        }
        let (chosen, template) = match service.persistence {
            None => (self.choose(snapshot, service, key, now), None),
            Some(persistence) => {
                match self.real_by_template(snapshot, service, persistence, key, now) {
                    Ok(Some((real, template))) => (Some(real), Some(template)),
                    Ok(None) => (None, None),
                    Err(TableFull) => {
                        self.stats.refused_service.set(service.id.0);
                        return Err(DropReason::SessionTableFull);
                    }
                }
            }
        };
        let real = chosen.and_then(|real| snapshot.real(real));
        Ok((real.ok_or(DropReason::NoReal)?, template))
    }

    /// The real server that the scheduler chooses.
    pub(crate) fn choose<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        service: &VirtualService,
        key: &FlowKey<A>,
        now: Time,
    ) -> Option<RealId> {
        let own = snapshot.workers.get(self.start.worker)?;
        let moving = self.choosing.moving(own.cursors.get(service.id.0)?);
        let flow = schedule::Flow {
            client: key.client.into(),
            client_port: key.client_port,
            virtual_address: key.virtual_address.into(),
        };
        schedule::choose(&service.scheduling, moving, self.start, flow, snapshot, now)
    }

    /// Inserts a session with this state and deadline into the table, and counts it.
    #[expect(
        clippy::too_many_arguments,
        reason = "the session's facts, in registers"
    )]
    fn enter_session<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        (key, hash, old): (&FlowKey<A>, KeyHash, Option<SessionIndex>),
        (real, counters): (&RealServer, Counters<'_>),
        socket: Option<Socket<A>>,
        template: Option<Template>,
        state: State,
        deadline: Time,
        now: Time,
    ) -> Result<SessionIndex, DropReason> {
        let new = NewSession {
            real_address: socket.map(|socket| (socket.address, socket.port)),
            flags: Flags::of(real.spec.forward),
            template: template.map(|template| template.index),
            old,
            ..NewSession::direct(*key, real.id, state, deadline)
        };
        let worker = self.start.worker;
        let table = A::table(&mut self.sessions);
        let admission = Admission {
            snapshot,
            stats: &self.stats,
            worker,
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
            uncount(snapshot, worker, &template);
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
        counters.enter(snapshot, worker, real, table.get(index));
        Ok(index)
    }
}

impl<P: Pool> Engine<P> {
    /// Sends the other workers a message that a flow has begun here with a reassembled datagram.
    #[cold]
    fn broadcast_begun<A: Tabled>(
        &mut self,
        key: &FlowKey<A>,
        real: RealId,
        until: Time,
        now: Time,
    ) {
        if let Some(flow) = self.owners.hash_to_broadcast(key, now) {
            let message = || Message::Begun { flow, real, until };
            self.exit.broadcast(Lane::Search, message);
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

/// Whether an address is valid on its own link only, so that packets from it must not be forwarded (RFC 4291 section
/// 2.5.6). 169.254.0.0/16 is forwarded, as by LVS: links and health checkers in clouds have such addresses.
pub(crate) const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
