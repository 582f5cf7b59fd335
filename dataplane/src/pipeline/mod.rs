//! The packet path: the only file that names all stages, in order, straight-line over a burst.
//! Each stage's own decisions are in the files beside this one and in the rooms they use.

mod action;
mod answer;
mod balance;
mod classify;
mod engine;
mod fast;
mod fragments;
mod handover;
mod inbox;
mod leave;
mod limit;
mod sessions;

use crate::flow::{Address, V4, V6};
use crate::id::{DeviceId, PortId};
use crate::incident::Incident;
use crate::io::{BURST, PacketBuf, Pool};
use crate::neighbour::Request;
use crate::parse::{Packet, Parse, parse};
use crate::prefetch::prefetch;
use crate::session::SessionTable;
use crate::snapshot::Snapshot;
use crate::spec::network::PortRole;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use action::{Action, Answer, Context, Cut, Fate, Origin, Refusal, Waiting};
use sessions::Sessions;

pub use engine::Config;
pub(crate) use engine::Engine;
pub use handover::message::{Batch, Inboxes, MOST_OWNED, MOST_SEARCHES, Message, Whole, inboxes};
pub use inbox::{Frames, Inbox};

pub use leave::outgoing::BACKLOG;

use fast::established::{Inspected, Kind, lookahead};

impl<P: Pool> Engine<P> {
    /// Takes frames that were received from `device`, at most [`BURST`], through all stages. Returns how many bytes they
    /// had. Only here is it decided which port's they are.
    pub(crate) fn receive(
        &mut self,
        snapshot: &Snapshot,
        device: DeviceId,
        frames: &mut Vec<P::Buf>,
        now: Time,
    ) -> u64 {
        let Some(device) = snapshot.device(device) else {
            return self.drop_all(frames);
        };
        self.burst(snapshot, device.untagged, 0, frames, now)
    }

    /// Drops frames that no port is there for.
    #[cold]
    fn drop_all(&self, frames: &mut Vec<P::Buf>) -> u64 {
        let verdict = Verdict::Dropped(DropReason::NotLocal);
        self.stats.count(verdict, frames.len() as u64);
        let bytes = frames.iter().map(|frame| frame.bytes().len() as u64);
        let bytes = bytes.sum();
        frames.clear();
        bytes
    }

    /// Takes all of `frames`, at most [`BURST`], which came by `port`, through all stages. `hops` counts the workers that
    /// passed them on. Returns how many bytes they had.
    pub(crate) fn burst(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        hops: u8,
        frames: &mut Vec<P::Buf>,
        now: Time,
    ) -> u64 {
        let bytes = self.stages(snapshot, port, hops, frames, now);
        self.forwarder.exit.hand_over_all();
        bytes
    }

    #[inline]
    fn stages(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        hops: u8,
        frames: &mut Vec<P::Buf>,
        now: Time,
    ) -> u64 {
        let mut bytes = 0;
        for frame in frames.iter() {
            let frame = frame.bytes();
            prefetch(frame, 0);
            bytes += frame.len() as u64;
        }
        let (Some(spec), Some(mac)) = (snapshot.port(port), snapshot.mac_of(port)) else {
            return self.drop_all(frames);
        };
        if let PortRole::Kernel { network } = spec.role {
            for frame in frames.drain(..) {
                let verdict = Verdict::Forwarded;
                let fate = Some(Fate { verdict, frames: 1 });
                self.forwarder.exit.emit(snapshot, frame, network, fate);
            }
            return bytes;
        }
        let origin = Origin {
            port,
            hops,
            cut: None,
        };
        let Some(context) = &Context::new(snapshot, self.worker, now, origin) else {
            return self.drop_all(frames);
        };
        self.forwarder.renew_paths(context);
        let nat = snapshot.has_nat();
        let mut inspected = Inspected::default();
        for frame in frames.iter().take(BURST) {
            self.inspect(
                snapshot,
                nat,
                (mac, spec.mtu),
                frame.bytes(),
                &mut inspected,
            );
        }
        let mut arriving = frames.drain(..);
        let Inspected { runs, v4, v6 } = &mut inspected;
        let (mut v4, mut v6) = (&mut v4[..], &mut v6[..]);
        self.prefetch_sessions(v4, 0, lookahead::<V4>());
        self.prefetch_sessions(v6, 0, lookahead::<V6>());
        for &(kind, count) in &*runs {
            match kind {
                Kind::V4 => {
                    self.pass_run(context, &mut arriving, count, v4);
                    v4 = v4.get_mut(count..).unwrap_or_default();
                }
                Kind::V6 => {
                    self.pass_run(context, &mut arriving, count, v6);
                    v6 = v6.get_mut(count..).unwrap_or_default();
                }
                Kind::Other => {
                    for frame in arriving.by_ref().take(count) {
                        let parse = parse(frame.bytes());
                        self.one(context, frame, &parse);
                    }
                    self.forwarder.renew_paths(context);
                }
            }
        }
        bytes
    }

    /// The general path: decision, rewriting and delivery of one frame, whatever it is.
    #[inline(never)]
    fn one(&mut self, context: &Context<'_>, mut frame: P::Buf, parse: &Parse) {
        match self.classify(context, &mut frame, parse) {
            Ok(action) => self.act(context, frame, parse.packet(), action),
            Err(refusal) => self.refuse(context, frame.bytes(), parse.packet(), refusal, 1),
        }
    }

    /// Drops a packet, for which `count` frames were received, and tells its sender if there is an answer.
    #[inline(never)]
    fn refuse(
        &mut self,
        context: &Context<'_>,
        frame: &[u8],
        packet: Option<&Packet>,
        Refusal { reason, answer }: Refusal,
        count: u64,
    ) {
        self.forwarder.received = None;
        if answer != Answer::Nothing
            && let Some(packet) = packet
        {
            let (exit, sessions) = (&mut self.forwarder.exit, &mut self.balancer.sessions);
            self.answers
                .give(exit, sessions, context, (frame, packet), answer);
        }
        self.stats.count(Verdict::Dropped(reason), count);
    }

    /// Delivers a frame as was decided. `packet` is what it was parsed to, if it is IP.
    #[inline]
    fn act(
        &mut self,
        context: &Context<'_>,
        frame: P::Buf,
        packet: Option<&Packet>,
        action: Action,
    ) {
        let Context { snapshot, now, .. } = *context;
        let received = self.forwarder.received.take();
        let exit = &mut self.forwarder.exit;
        let fate = |verdict| Fate { verdict, frames: 1 };
        match action {
            Action::Emit {
                verdict: Verdict::Punted,
                ..
            } if !self.host.policer.may_punt(context, packet) => {
                let verdict = Verdict::Dropped(DropReason::PuntLimited);
                self.stats.count(verdict, 1);
            }
            Action::Emit { port, verdict } => {
                exit.emit(snapshot, frame, port, Some(fate(verdict)));
            }
            Action::Route {
                port,
                next_hop,
                cut: None,
                verdict,
            } => {
                let waiting = Waiting {
                    frame,
                    fate: Some(fate(verdict)),
                    received,
                };
                exit.send(context, waiting, port, next_hop);
            }
            Action::Route {
                port,
                next_hop,
                cut: Some(cut),
                verdict,
            } => {
                let to = (port, next_hop);
                exit.send_cut(context, frame.bytes(), to, cut, fate(verdict));
            }
            Action::HandOver { to, lane } => {
                exit.hand_over_frame((to, lane), frame, context.origin);
            }
            Action::Reassemble => {
                let whole = self.fragments.add(frame.bytes(), packet, now);
                if let Some(whole) = whole {
                    self.datagram(snapshot, whole, context.origin.port, 0, now);
                }
            }
            Action::Consume => self.stats.count(Verdict::Consumed, 1),
        }
    }

    /// All stages for a datagram that was put together from fragments, here or on the worker that
    /// handed it over.
    pub(crate) fn datagram(
        &mut self,
        snapshot: &Snapshot,
        mut whole: Whole,
        port: PortId,
        hops: u8,
        now: Time,
    ) {
        let origin = Origin {
            port,
            hops,
            cut: Some(whole.cut),
        };
        let count = whole.frames();
        let Some(context) = &Context::new(snapshot, self.worker, now, origin) else {
            return self
                .stats
                .count(Verdict::Dropped(DropReason::NotLocal), count);
        };
        let parse = parse(whole.frame.bytes());
        let action = match self.classify(context, &mut whole.frame, &parse) {
            Ok(action) => action,
            Err(refusal) => {
                let (frame, packet) = (whole.frame.bytes(), parse.packet());
                return self.refuse(context, frame, packet, refusal, count);
            }
        };
        // Its frames are gone, and whoever waits for one of many pieces is told nothing.
        self.forwarder.received = None;
        let exit = &mut self.forwarder.exit;
        match action {
            Action::Route {
                port,
                next_hop,
                cut,
                verdict,
                ..
            } => {
                let fate = Fate {
                    verdict,
                    frames: whole.frames,
                };
                let cut = cut.unwrap_or(Cut {
                    size: usize::MAX,
                    ..whole.cut
                });
                exit.send_cut(context, whole.frame.bytes(), (port, next_hop), cut, fate);
            }
            Action::HandOver { to, lane } => {
                let hops = hops.saturating_add(1);
                exit.hand_over((to, lane), Message::Datagram { whole, port, hops });
            }
            Action::Consume => self.stats.count(Verdict::Consumed, count),
            // The kernel's port takes frames as they came, and these are gone.
            Action::Emit { .. } | Action::Reassemble => {
                self.stats
                    .count(Verdict::Dropped(DropReason::LocalUnhandled), count);
            }
        }
    }

    /// Housekeeping between bursts, bounded in work: expiry, neighbours, reassembly.
    pub(crate) fn tick(&mut self, snapshot: &Snapshot, now: Time) {
        let Some(context) = &Context::new(snapshot, self.worker, now, Origin::HERE) else {
            return;
        };
        let (balancer, forwarder) = (&mut self.balancer, &mut self.forwarder);
        balancer.expire::<V4, P>(forwarder, context);
        balancer.expire::<V6, P>(forwarder, context);
        let sessions = &mut balancer.sessions;
        self.flush.step(context, sessions);
        sessions.half_open_pressure = is_pressed(&sessions.v4) || is_pressed(&sessions.v6);
        let live = sessions.v4.len() + sessions.v6.len();
        self.stats
            .sessions
            .set(u32::try_from(live).unwrap_or(u32::MAX));
        for request in self.forwarder.exit.due(now) {
            self.see_to_neighbour(context, request);
        }
        let exit = &mut self.forwarder.exit;
        self.fragments.expire(&mut self.answers, exit, context);
    }

    /// Asks for a neighbour, or gives it up and tells the sender of a packet that waited for it.
    fn see_to_neighbour(&mut self, context: &Context<'_>, request: Request<Waiting<P::Buf>>) {
        let (exit, sessions) = (&mut self.forwarder.exit, &mut self.balancer.sessions);
        match request {
            Request::Solicit {
                port,
                address,
                known,
            } => exit.ask(context.snapshot, port, address, known),
            Request::GiveUp {
                port,
                address,
                packets,
            } => {
                let incident = Incident::NeighbourUnreachable { port, address };
                self.stats.tell(incident);
                let received = packets.iter().find_map(|one| one.received.as_ref());
                if let Some(received) = received {
                    let answers = &mut self.answers;
                    answers.neighbour_unreachable(exit, sessions, context, received);
                }
                exit.give_up(packets);
            }
        }
    }

    /// Whether `tick` has sessions left to end at `now`.
    pub(crate) fn is_behind(&self, now: Time) -> bool {
        let Sessions { v4, v6, .. } = &self.balancer.sessions;
        v4.is_behind(now) || v6.is_behind(now) || self.flush.is_under_way()
    }

    /// When `tick` next has something to do, if that is by `until`.
    pub(crate) fn next_due(&self, until: Time) -> Option<Time> {
        let Sessions { v4, v6, .. } = &self.balancer.sessions;
        let others = [
            Some(self.forwarder.exit.next_due()),
            self.fragments.next_due(),
        ];
        [v4.next_due(until), v6.next_due(until)]
            .into_iter()
            .chain(others)
            .flatten()
            .filter(|due| *due <= until)
            .min()
    }
}

/// Whether more than a quarter of the table's places are taken by half-open sessions: no crowd of
/// clients is that slow with its handshakes, but a flood is.
fn is_pressed<A: Address>(table: &SessionTable<A>) -> bool {
    table.half_open() > table.capacity() / 4
}
