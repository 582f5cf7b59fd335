//! The last step: a neighbour's MAC, an Ethernet header, a transmit queue, or another worker.
//! What is sent, and whether, was decided before.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::id::PortId;
use crate::incident::Incident;
use crate::io::{PacketBuf, Pool};
use crate::neighbour::{Claim, Neighbours, Request};
use crate::pipeline::action::{Fate, Origin, Waiting};
use crate::pipeline::handover::inbox::{Frames as _, Inbox, Lane};
use crate::pipeline::handover::message::{Cut, Inboxes, Leaving, Message};
use crate::pipeline::leave::outgoing::Outgoing;
use crate::rewrite::fragment::{PieceHeader, split_v4, split_v6};
use crate::schedule::Start;
use crate::snapshot::Snapshot;
use crate::snapshot::route::Egress;
use crate::stats::WorkerStats;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::{self, HEADER_BYTES as ETHERNET};
use crate::wire::{Mac, arp, ndp};

/// All that leaves one worker: transmit queues, neighbours and the packets that wait for them, buffers for what is made
/// here, and frames for other workers.
#[derive(Debug)]
pub(crate) struct Exit<P: Pool> {
    start: Start,
    stats: Arc<WorkerStats>,
    neighbours: Neighbours<Waiting<P::Buf>>,
    pool: P,
    /// Frames to be sent, by port.
    out: Vec<Outgoing<P::Buf>>,
    /// Every worker's inbox, this one's included.
    inboxes: Inboxes<P::Buf>,
    /// Frames for other workers, until the burst is through.
    leaving: Leaving<P::Buf>,
    /// The identification of the last datagram made here.
    last_id: u16,
}

impl<P: Pool> Exit<P> {
    pub(in crate::pipeline) fn new(
        start: Start,
        hasher: RandomState,
        pool: P,
        stats: Arc<WorkerStats>,
        inboxes: Inboxes<P::Buf>,
    ) -> Self {
        let ports = stats.ports.len();
        Self {
            start,
            stats,
            neighbours: Neighbours::new(hasher),
            pool,
            out: (0..ports).map(|_| Outgoing::new()).collect(),
            inboxes,
            leaving: Leaving::new(start.workers),
            last_id: u16::try_from(start.worker).unwrap_or(0),
        }
    }

    /// This worker's inbox.
    pub(crate) fn inbox(&self) -> Option<&Inbox<Message<P::Buf>>> {
        self.inboxes.get(self.start.worker)
    }

    /// Frames to be sent by a port.
    #[inline(always)]
    pub(crate) fn queue(&mut self, port: usize) -> Option<&mut Outgoing<P::Buf>> {
        self.out.get_mut(port)
    }

    /// Whether frames wait for room in a transmit queue.
    pub(crate) fn is_sending(&self) -> bool {
        self.out.iter().any(|out| !out.frames.is_empty())
    }

    /// When a neighbour has next to be asked.
    pub(in crate::pipeline) fn next_due(&self) -> Time {
        self.neighbours.next_due()
    }

    /// How often what is known of neighbours has changed.
    pub(in crate::pipeline) fn changes(&self) -> u64 {
        self.neighbours.changes()
    }

    /// A buffer for a frame that is made here.
    pub(in crate::pipeline) fn allocate(&mut self) -> Option<P::Buf> {
        self.pool.allocate()
    }

    /// An identification for a datagram made here. Workers take turns: the pieces of two of them
    /// must not be taken for one datagram by a receiver that knows only our address.
    pub(in crate::pipeline) fn take_id(&mut self) -> u16 {
        let step = u16::try_from(self.start.workers).unwrap_or(1);
        self.last_id = self.last_id.wrapping_add(step);
        self.last_id
    }

    /// The next hop's MAC, if it may be used.
    #[inline]
    pub(in crate::pipeline) fn mac_of(
        &mut self,
        snapshot: &Snapshot,
        egress: &Egress,
        now: Time,
    ) -> Option<Mac> {
        if self.is_down(egress.port) {
            return None;
        }
        let fixed = snapshot.fixed_mac(egress.port, egress.next_hop);
        fixed.or_else(|| self.neighbours.lookup(egress.port, egress.next_hop, now))
    }

    /// Puts the frame into the port's queue as it is. Frames made here have no verdict.
    #[inline]
    pub(in crate::pipeline) fn emit(&mut self, frame: P::Buf, port: PortId, fate: Option<Fate>) {
        let Some(queue) = self.out.get_mut(usize::from(port.0)) else {
            self.drop_frame(fate, DropReason::NoRoute);
            return;
        };
        if let Err(reason) = queue.push(frame) {
            self.drop_frame(fate, reason);
            return;
        }
        if let Some(Fate { verdict, frames }) = fate {
            self.stats.count(verdict, u64::from(frames));
        }
    }

    /// A port's link goes down or comes up: what waits for it to send is of no use any more, and what comes is
    /// dropped at once. Whatever the driver did with it, nobody would get it.
    pub(crate) fn set_link(&mut self, port: PortId, up: bool) {
        let queue = self.out.get_mut(usize::from(port.0));
        let Some(queue) = queue.filter(|queue| queue.is_down() == up) else {
            return;
        };
        let lost = queue.set_link(up);
        self.stats.lost.add(lost as u64);
        if up {
            return;
        }
        for Waiting { fate, .. } in self.neighbours.forget(port) {
            self.no_longer_waits(fate);
            self.drop_frame(fate, DropReason::LinkDown);
        }
    }

    /// Whether a port's link is down, so that its neighbours are neither asked for nor waited for.
    #[inline]
    pub(in crate::pipeline) fn is_down(&self, port: PortId) -> bool {
        let queue = self.out.get(usize::from(port.0));
        queue.is_some_and(Outgoing::is_down)
    }

    fn drop_frame(&self, fate: Option<Fate>, reason: DropReason) {
        match fate {
            Some(fate) => self
                .stats
                .count(Verdict::Dropped(reason), u64::from(fate.frames)),
            None => self.stats.lost.add(1),
        }
    }

    /// Sends the datagram behind the frame's Ethernet header to `next_hop`, or lets it wait until
    /// the MAC is known.
    #[inline]
    pub(in crate::pipeline) fn send(
        &mut self,
        snapshot: &Snapshot,
        waiting: Waiting<P::Buf>,
        port: PortId,
        next_hop: IpAddr,
        now: Time,
    ) {
        if self.is_down(port) {
            self.drop_frame(waiting.fate, DropReason::LinkDown);
            return;
        }
        let fixed = snapshot.fixed_mac(port, next_hop);
        if let Some(mac) = fixed.or_else(|| self.neighbours.lookup(port, next_hop, now)) {
            let Waiting {
                mut frame, fate, ..
            } = waiting;
            write_ethernet_from(snapshot, &mut frame, port, mac);
            self.emit(frame, port, fate);
            return;
        }
        let fate = waiting.fate;
        let waits = fate.map_or(0, |fate| fate.frames);
        match self.neighbours.wait(port, next_hop, waiting, now) {
            Ok(()) => self.stats.waiting.set(self.stats.waiting.value() + waits),
            Err((_, reason)) => self.drop_frame(fate, reason),
        }
    }

    /// Cuts the datagram behind the Ethernet header of `frame` into pieces and sends them.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "the frame, its way and its fate")]
    pub(in crate::pipeline) fn send_cut(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        port: PortId,
        next_hop: IpAddr,
        cut: Cut,
        fate: Fate,
        now: Time,
    ) {
        let datagram = frame.get(ETHERNET..).unwrap_or_default();
        let mut pieces = Vec::new();
        let pool = &mut self.pool;
        let mut complete = true;
        let mut emit = |header: &PieceHeader, payload: &[u8]| match piece(pool, header, payload) {
            Some(piece) => pieces.push(piece),
            None => complete = false,
        };
        let is_v6 = datagram.first().is_some_and(|first| first >> 4 == 6);
        let done = if datagram.len() <= cut.size && (!is_v6 || cut.size == usize::MAX) {
            emit(&PieceHeader::default(), datagram);
            Some(())
        } else if is_v6 {
            split_v6(datagram, cut.header_bytes, cut.id, cut.size, &mut emit)
        } else {
            split_v4(datagram, cut.size, &mut emit)
        };
        // A datagram without one of its pieces is useless to its receiver, so none is sent.
        if done.is_none() {
            return self.drop_frame(Some(fate), DropReason::MtuExceeded);
        }
        if !complete {
            return self.drop_frame(Some(fate), DropReason::NoBuffer);
        }
        // The last piece stands for the whole.
        let Some(last) = pieces.pop() else { return };
        for piece in pieces {
            self.stats.originated.add(1);
            self.send(snapshot, Waiting::made_here(piece), port, next_hop, now);
        }
        let last = Waiting {
            fate: Some(fate),
            ..Waiting::made_here(last)
        };
        self.send(snapshot, last, port, next_hop, now);
    }

    /// Gives a frame that this worker does not own to another one, once the burst is through or a batch is
    /// full.
    pub(in crate::pipeline) fn hand_over_frame(
        &mut self,
        (to, lane): (usize, Lane),
        frame: P::Buf,
        origin: Origin,
    ) {
        let hops = origin.hops.saturating_add(1);
        match self.leaving.add((to, lane), frame, origin.port, hops) {
            Ok(None) => {}
            Ok(Some(batch)) => self.hand_over((to, lane), Message::Frames(batch)),
            Err(_) => self
                .stats
                .count(Verdict::Dropped(DropReason::HandoverFull), 1),
        }
    }

    /// Gives the other workers what there is for them.
    #[inline]
    pub(in crate::pipeline) fn hand_over_all(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        for to in 0..self.start.workers {
            for lane in [Lane::Owner, Lane::Search] {
                if let Some(batch) = self.leaving.take(to, lane) {
                    self.hand_over((to, lane), Message::Frames(batch));
                }
            }
        }
    }

    /// Gives another worker what this one does not own.
    pub(in crate::pipeline) fn hand_over(
        &mut self,
        (to, lane): (usize, Lane),
        message: Message<P::Buf>,
    ) {
        let frames = message.frames() as u64;
        let inbox = self.inboxes.get(to);
        let pushed = inbox.is_some_and(|inbox| inbox.push(lane, message).is_ok());
        let verdict = match lane {
            _ if pushed => Verdict::HandedOver,
            Lane::Owner => Verdict::Dropped(DropReason::HandoverFull),
            Lane::Search => Verdict::Dropped(DropReason::SearchLimited),
        };
        self.stats.count(verdict, frames);
    }

    /// Sends the datagram that `write` puts behind the Ethernet header of a new frame of at most
    /// `room` bytes; `write` returns its length. Returns that length, or 0 if nothing is sent for want of
    /// a buffer or a way.
    pub(in crate::pipeline) fn originate(
        &mut self,
        snapshot: &Snapshot,
        to: IpAddr,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
        now: Time,
    ) -> usize {
        let Some(egress) = snapshot.routes.egress(to) else {
            return 0;
        };
        let Some(mut frame) = self.pool.allocate() else {
            return 0;
        };
        if frame.set_len(ETHERNET + room).is_err() {
            return 0;
        }
        let length = frame.bytes_mut().get_mut(ETHERNET..).and_then(write);
        let Some(length) = length else { return 0 };
        if frame.set_len(ETHERNET + length).is_err() {
            return 0;
        }
        self.stats.originated.add(1);
        let made = Waiting::made_here(frame);
        self.send(snapshot, made, egress.port, egress.next_hop, now);
        length
    }

    /// Sends the whole frame that `write` makes.
    pub(in crate::pipeline) fn originate_frame(
        &mut self,
        port: PortId,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let Some(mut frame) = self.pool.allocate() else {
            return;
        };
        if frame.set_len(room).is_err() {
            return;
        }
        let Some(length) = write(frame.bytes_mut()) else {
            return;
        };
        if frame.set_len(length).is_ok() {
            self.stats.originated.add(1);
            self.emit(frame, port, None);
        }
    }

    /// Takes note of what is said about a neighbour's MAC, sends what waited for it, and tells the
    /// other workers if they have to know.
    pub(in crate::pipeline) fn learn(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        address: IpAddr,
        claim: Claim,
        create: bool,
        now: Time,
    ) {
        if let Some(claim) = self.learn_locally(snapshot, port, address, claim, create, now) {
            self.broadcast(Lane::Owner, || Message::Neighbour {
                port,
                address,
                claim,
            });
        }
    }

    /// The same without telling anybody; returns what there is to tell.
    fn learn_locally(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        address: IpAddr,
        claim: Claim,
        create: bool,
        now: Time,
    ) -> Option<Claim> {
        let learned = self.neighbours.learn(port, address, claim, create, now);
        if let Some((mac, released)) = learned.released {
            let incident = Incident::NeighbourReachable { port, address };
            self.stats.tell(incident);
            for waiting in released {
                let Waiting {
                    mut frame, fate, ..
                } = waiting;
                self.no_longer_waits(fate);
                write_ethernet_from(snapshot, &mut frame, port, mac);
                self.emit(frame, port, fate);
            }
        }
        learned.tell
    }

    /// Another worker has learnt a neighbour. If its link has gone since, so has the neighbour.
    pub(crate) fn note_neighbour(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        address: IpAddr,
        claim: Claim,
        now: Time,
    ) {
        if !self.is_down(port) {
            self.learn_locally(snapshot, port, address, claim, true, now);
        }
    }

    /// Another worker asks for a neighbour; a NIC may bring the answer here.
    pub(crate) fn expect_neighbour(&mut self, port: PortId, address: IpAddr, now: Time) {
        self.neighbours.expect(port, address, now);
    }

    pub(in crate::pipeline) fn broadcast(&self, lane: Lane, message: impl Fn() -> Message<P::Buf>) {
        let me = self.start.worker;
        for (_, inbox) in self.inboxes.iter().enumerate().filter(|(to, _)| *to != me) {
            // A full inbox only makes that worker find out for itself.
            let _ = inbox.push(lane, message());
        }
    }

    fn no_longer_waits(&self, fate: Option<Fate>) {
        if let Some(fate) = fate {
            let waiting = self.stats.waiting.value();
            self.stats.waiting.set(waiting.saturating_sub(fate.frames));
        }
    }

    /// The neighbours that are to be asked for, or given up, now.
    pub(in crate::pipeline) fn due(&mut self, now: Time) -> Vec<Request<Waiting<P::Buf>>> {
        let mut requests = Vec::new();
        self.neighbours.tick(now, |request| requests.push(request));
        requests
    }

    /// Asks for a neighbour's MAC.
    pub(in crate::pipeline) fn ask(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        address: IpAddr,
        known: Option<Mac>,
    ) {
        // Before the question leaves: no answer overtakes it.
        self.broadcast(Lane::Owner, || Message::Asked { port, address });
        self.solicit(snapshot, port, address, known);
    }

    /// Drops packets whose neighbour does not answer.
    pub(in crate::pipeline) fn give_up(&self, packets: Vec<Waiting<P::Buf>>) {
        for Waiting { fate, .. } in packets {
            self.no_longer_waits(fate);
            self.drop_frame(fate, DropReason::NeighbourUnreachable);
        }
    }

    fn solicit(&mut self, snapshot: &Snapshot, port: PortId, address: IpAddr, known: Option<Mac>) {
        let Some(own) = snapshot.ports.get(usize::from(port.0)) else {
            return;
        };
        // No route leads to a link-local gateway: its port is known.
        let source = match snapshot.routes.egress(address) {
            Some(egress) => egress.source,
            None => own.source_for(address),
        };
        match (address, source) {
            (IpAddr::V4(target), Some(IpAddr::V4(source))) => {
                let request = arp::Packet::request(own.mac, source.into(), target.into());
                let to = known.unwrap_or(Mac::BROADCAST);
                self.originate_frame(port, arp::FRAME_BYTES, |out| arp::write(out, to, &request));
            }
            (IpAddr::V6(target), Some(IpAddr::V6(source))) => {
                let (source, target) = (source.into(), target.into());
                let message = match known {
                    None => ndp::solicitation(own.mac, source, target),
                    Some(mac) => ndp::probe(own.mac, source, target, mac),
                };
                self.originate_frame(port, ndp::MAX_FRAME_BYTES, |out| ndp::write(out, &message));
            }
            _ => {}
        }
    }
}

impl<B> Waiting<B> {
    /// A frame that stands for none that was received.
    pub(in crate::pipeline) const fn made_here(frame: B) -> Self {
        Self {
            frame,
            fate: None,
            received: None,
        }
    }
}

fn piece<P: Pool>(pool: &mut P, header: &PieceHeader, payload: &[u8]) -> Option<P::Buf> {
    let mut frame = pool.allocate()?;
    let header = header.bytes();
    frame
        .set_len(ETHERNET + header.len() + payload.len())
        .ok()?;
    let datagram = frame.bytes_mut().get_mut(ETHERNET..)?;
    let (front, back) = datagram.split_at_mut_checked(header.len())?;
    front.copy_from_slice(header);
    back.copy_from_slice(payload);
    Some(frame)
}

/// Writes the Ethernet header for the datagram behind it.
#[inline]
fn write_ethernet_from<F: PacketBuf>(snapshot: &Snapshot, frame: &mut F, port: PortId, to: Mac) {
    if let Some(own) = snapshot.ports.get(usize::from(port.0)) {
        write_ethernet(frame, &ethernet::addresses(to, own.mac));
    }
}

/// The same with the receiver's and the sender's MAC as they stand in a header.
#[inline]
pub(in crate::pipeline) fn write_ethernet<F: PacketBuf>(frame: &mut F, macs: &[u8; 12]) {
    let bytes = frame.bytes_mut();
    let ether_type = match bytes.get(ETHERNET) {
        Some(first) if first >> 4 == 6 => ethernet::IPV6,
        _ => ethernet::IPV4,
    };
    if let Some(header) = bytes.first_chunk_mut() {
        ethernet::write_with_addresses(header, macs, ether_type);
    }
}
