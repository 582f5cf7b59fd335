//! The last step of a packet: the next hop's MAC, the Ethernet header and the transmit queue; or the hand-over to
//! another worker. It does not decide what is sent, or whether.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use crate::id::{DeviceId, PortId};
use crate::incident::Incident;
use crate::io::{PacketBuf, Pool};
use crate::neighbour::{Claim, Neighbours, Request};
use crate::pipeline::action::{Context, Cut, Fate, Origin, Waiting};
use crate::pipeline::handover::message::{Inboxes, Leaving, Message};
use crate::pipeline::inbox::{Frames as _, Inbox, Lane};
use crate::pipeline::leave::adjacency::Adjacency;
use crate::pipeline::leave::outgoing::Outgoing;
use crate::rewrite::fragment::{PieceHeader, split_v4, split_v6};
use crate::schedule::Start;
use crate::snapshot::Snapshot;
use crate::spec::network::PortSpec;
use crate::stats::WorkerStats;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{Mac, arp, ndp};

/// The output of one worker: transmit queues, the neighbour table with the packets that wait for it, buffers for frames
/// that the worker originates, and frames for other workers.
#[derive(Debug)]
pub(crate) struct Exit<P: Pool> {
    start: Start,
    stats: Arc<WorkerStats>,
    neighbours: Neighbours<Waiting<P::Buf>>,
    pool: P,
    /// Frames to be sent, by [`DeviceId`].
    out: Vec<Outgoing<P::Buf>>,
    /// Every worker's inbox, this one's included.
    inboxes: Inboxes<P::Buf>,
    /// Frames for other workers, collected until the end of the burst.
    leaving: Leaving<P::Buf>,
    /// The IP identification of the last datagram that was originated here.
    last_id: u16,
}

impl<P: Pool> Exit<P> {
    pub(crate) fn new(
        start: Start,
        hasher: RandomState,
        pool: P,
        stats: Arc<WorkerStats>,
        inboxes: Inboxes<P::Buf>,
    ) -> Self {
        let devices = stats.devices();
        Self {
            start,
            stats,
            neighbours: Neighbours::new(hasher),
            pool,
            out: (0..devices).map(|_| Outgoing::new()).collect(),
            inboxes,
            leaving: Leaving::new(start.workers),
            last_id: u16::try_from(start.worker).unwrap_or(0),
        }
    }

    /// This worker's inbox.
    pub(crate) fn inbox(&self) -> Option<&Inbox<Message<P::Buf>>> {
        self.inboxes.get(self.start.worker)
    }

    /// Frames to be sent by a device.
    #[inline(always)]
    pub(crate) fn queue(&mut self, device: DeviceId) -> Option<&mut Outgoing<P::Buf>> {
        self.out.get_mut(device.place())
    }

    /// Whether frames wait for room in a transmit queue.
    pub(crate) fn is_sending(&self) -> bool {
        self.out.iter().any(|out| !out.frames.is_empty())
    }

    /// When the next neighbour is due: see [`Self::due`].
    pub(crate) fn next_due(&self) -> Time {
        self.neighbours.next_due()
    }

    /// The number of changes of the neighbour table so far.
    pub(crate) fn changes(&self) -> u64 {
        self.neighbours.changes()
    }

    /// The neighbour table, to be shown.
    pub(crate) const fn neighbours(&self) -> &Neighbours<Waiting<P::Buf>> {
        &self.neighbours
    }

    /// A buffer for a frame that is originated here.
    pub(crate) fn allocate(&mut self) -> Option<P::Buf> {
        self.pool.allocate()
    }

    /// A new IP identification for a datagram originated here. Each worker has its own numbers: fragments of two
    /// workers' datagrams have the same source address, and must not be reassembled into one.
    pub(crate) fn take_id(&mut self) -> u16 {
        let step = u16::try_from(self.start.workers).unwrap_or(1);
        self.last_id = self.last_id.wrapping_add(step);
        self.last_id
    }

    /// How frames reach a neighbour, if its MAC is known and the link is up.
    #[inline]
    pub(crate) fn adjacency(
        &mut self,
        context: &Context<'_>,
        port: PortId,
        next_hop: IpAddr,
    ) -> Option<Adjacency> {
        let reached = self.reach(context, port, next_hop).ok();
        reached.map(|(_, adjacency)| adjacency)
    }

    /// The same with the port. The error is why frames to the neighbour are dropped; none if its MAC is not known yet.
    #[inline]
    fn reach<'s>(
        &mut self,
        context: &Context<'s>,
        port: PortId,
        next_hop: IpAddr,
    ) -> Result<(&'s PortSpec, Adjacency), Option<DropReason>> {
        let Context { snapshot, now, .. } = *context;
        let known = snapshot.port(port).ok_or(DropReason::NoRoute)?;
        if self.is_link_down(known.device) {
            return Err(Some(DropReason::LinkDown));
        }
        let fixed = snapshot.fixed_mac(port, next_hop);
        let mac = fixed.or_else(|| self.neighbours.lookup(port, next_hop, now));
        let adjacency = Adjacency::new(snapshot, known, mac.ok_or(None)?);
        Ok((known, adjacency.ok_or(DropReason::NoRoute)?))
    }

    /// Puts the frame into the queue of the port's device as it is. Frames originated here have no `fate`, so no verdict
    /// is counted for them.
    #[inline]
    pub(crate) fn emit(
        &mut self,
        snapshot: &Snapshot,
        frame: P::Buf,
        port: PortId,
        fate: Option<Fate>,
    ) {
        self.enqueue(frame, snapshot.device_of(port), fate);
    }

    /// Writes the frame's Ethernet header and puts it into the queue of the neighbour's device.
    fn emit_to(
        &mut self,
        mut frame: P::Buf,
        to: Option<(&PortSpec, Adjacency)>,
        fate: Option<Fate>,
    ) {
        if let Some((port, adjacency)) = to {
            adjacency.write_header(&mut frame, port.header_bytes());
        }
        self.enqueue(frame, to.map(|(_, adjacency)| adjacency.device), fate);
    }

    #[inline]
    fn enqueue(&mut self, frame: P::Buf, device: Option<DeviceId>, fate: Option<Fate>) {
        let Some(queue) = device.and_then(|device| self.queue(device)) else {
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

    /// Sets whether a device's link is up. While it is down, frames for it are dropped at once, whatever the driver would
    /// do with them. Frames that wait for its transmit queue or its neighbours are dropped when it goes down.
    pub(crate) fn set_link(&mut self, snapshot: &Snapshot, device: DeviceId, up: bool) {
        let queue = self.queue(device);
        let Some(queue) = queue.filter(|queue| queue.is_down() == up) else {
            return;
        };
        let lost = queue.set_link(up);
        self.stats.lost.add(lost as u64);
        if up {
            return;
        }
        for port in snapshot.ports_on(device) {
            for Waiting { fate, .. } in self.neighbours.forget(port) {
                self.no_longer_waits(fate);
                self.drop_frame(fate, DropReason::LinkDown);
            }
        }
    }

    /// Whether the link of a port's device is down. Its neighbours are not resolved then.
    #[inline]
    pub(crate) fn is_down(&self, snapshot: &Snapshot, port: PortId) -> bool {
        let device = snapshot.device_of(port);
        device.is_some_and(|device| self.is_link_down(device))
    }

    #[inline]
    fn is_link_down(&self, device: DeviceId) -> bool {
        self.out.get(device.place()).is_some_and(Outgoing::is_down)
    }

    fn drop_frame(&self, fate: Option<Fate>, reason: DropReason) {
        match fate {
            Some(fate) => self
                .stats
                .count(Verdict::Dropped(reason), u64::from(fate.frames)),
            None => self.stats.lost.add(1),
        }
    }

    /// Sends the frame's datagram to `next_hop`, or queues it until the next hop's MAC is known. Writes the Ethernet
    /// header.
    #[inline]
    pub(crate) fn send(
        &mut self,
        context: &Context<'_>,
        waiting: Waiting<P::Buf>,
        port: PortId,
        next_hop: IpAddr,
    ) {
        match self.reach(context, port, next_hop) {
            Ok(to) => return self.emit_to(waiting.frame, Some(to), waiting.fate),
            Err(Some(reason)) => return self.drop_frame(waiting.fate, reason),
            Err(None) => {}
        }
        let fate = waiting.fate;
        let waits = fate.map_or(0, |fate| fate.frames);
        match self.neighbours.wait(port, next_hop, waiting, context.now) {
            Ok(()) => self.stats.waiting.set(self.stats.waiting.value() + waits),
            Err((_, reason)) => self.drop_frame(fate, reason),
        }
    }

    /// Fragments the datagram in `frame` and sends the fragments.
    #[cold]
    pub(crate) fn send_cut(
        &mut self,
        context: &Context<'_>,
        frame: &[u8],
        (port, next_hop): (PortId, IpAddr),
        cut: Cut,
        fate: Fate,
    ) {
        let Some(header_bytes) = context.snapshot.header_bytes(port) else {
            return self.drop_frame(Some(fate), DropReason::NoRoute);
        };
        let datagram = frame.get(header_bytes..).unwrap_or_default();
        let mut pieces = Vec::new();
        let pool = &mut self.pool;
        let mut complete = true;
        let mut emit =
            |header: &PieceHeader, payload: &[u8]| match piece(pool, header_bytes, header, payload)
            {
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
        // If one fragment is missing, the others are useless to the receiver, so none is sent.
        if done.is_none() {
            return self.drop_frame(Some(fate), DropReason::MtuExceeded);
        }
        if !complete {
            return self.drop_frame(Some(fate), DropReason::NoBuffer);
        }
        // The last fragment carries the verdict of the whole datagram.
        let Some(last) = pieces.pop() else { return };
        for piece in pieces {
            self.stats.originated.add(1);
            self.send(context, Waiting::made_here(piece), port, next_hop);
        }
        let last = Waiting {
            fate: Some(fate),
            ..Waiting::made_here(last)
        };
        self.send(context, last, port, next_hop);
    }

    /// Adds a frame to the batch for another worker. The batch is handed over when it is full, or at the end of the
    /// burst.
    pub(crate) fn hand_over_frame(
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

    /// Hands the collected batches over to the other workers.
    #[inline]
    pub(crate) fn hand_over_all(&mut self) {
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

    /// Pushes a message with frames into another worker's inbox, and counts their verdict.
    pub(crate) fn hand_over(&mut self, (to, lane): (usize, Lane), message: Message<P::Buf>) {
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

    /// Originates a datagram of at most `room` bytes. `write` fills it in and returns its length; the Ethernet header
    /// is added. Returns the length, or 0 if nothing is sent because there is no buffer or no route.
    pub(crate) fn originate(
        &mut self,
        context: &Context<'_>,
        to: IpAddr,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> usize {
        let snapshot = context.snapshot;
        let Some(egress) = snapshot.routes.egress(to) else {
            return 0;
        };
        let Some(header_bytes) = snapshot.header_bytes(egress.port) else {
            return 0;
        };
        let Some(mut frame) = self.pool.allocate() else {
            return 0;
        };
        if frame.set_len(header_bytes + room).is_err() {
            return 0;
        }
        let length = frame.bytes_mut().get_mut(header_bytes..).and_then(write);
        let Some(length) = length else { return 0 };
        if frame.set_len(header_bytes + length).is_err() {
            return 0;
        }
        self.stats.originated.add(1);
        let made = Waiting::made_here(frame);
        self.send(context, made, egress.port, egress.next_hop);
        length
    }

    /// Originates a frame that `write` fills in, with its Ethernet header.
    pub(crate) fn originate_frame(
        &mut self,
        snapshot: &Snapshot,
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
            self.emit(snapshot, frame, port, None);
        }
    }

    /// Updates a neighbour's MAC from an ARP or NDP message, sends the frames that waited for it, and informs the other
    /// workers if they need it.
    pub(crate) fn learn(
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

    /// The same without informing the other workers. Returns what they have to be sent.
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
            let to = snapshot
                .port(port)
                .and_then(|port| Some((port, Adjacency::new(snapshot, port, mac)?)));
            for Waiting { frame, fate, .. } in released {
                self.no_longer_waits(fate);
                self.emit_to(frame, to, fate);
            }
        }
        learned.tell
    }

    /// Handles the message that another worker has learnt a neighbour. It is ignored if the port's link is down.
    pub(crate) fn note_neighbour(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        address: IpAddr,
        claim: Claim,
        now: Time,
    ) {
        if !self.is_down(snapshot, port) {
            self.learn_locally(snapshot, port, address, claim, true, now);
        }
    }

    /// Handles the message that another worker has sent a request for a neighbour. The NIC may deliver the reply to
    /// this worker.
    pub(crate) fn expect_neighbour(&mut self, port: PortId, address: IpAddr, now: Time) {
        self.neighbours.expect(port, address, now);
    }

    /// Pushes a message into the inbox of every other worker.
    pub(crate) fn broadcast(&self, lane: Lane, message: impl Fn() -> Message<P::Buf>) {
        let me = self.start.worker;
        for (_, inbox) in self.inboxes.iter().enumerate().filter(|(to, _)| *to != me) {
            // Losing a message to a full inbox is harmless: that worker then finds out by itself.
            let _ = inbox.push(lane, message());
        }
    }

    fn no_longer_waits(&self, fate: Option<Fate>) {
        if let Some(fate) = fate {
            let waiting = self.stats.waiting.value();
            self.stats.waiting.set(waiting.saturating_sub(fate.frames));
        }
    }

    /// The neighbours that are to be requested now, or whose resolution has failed.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Request<Waiting<P::Buf>>> {
        let mut requests = Vec::new();
        self.neighbours.tick(now, |request| requests.push(request));
        requests
    }

    /// Sends an ARP request or a neighbour solicitation. `known` is the present MAC if that is to be confirmed.
    pub(crate) fn ask(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        address: IpAddr,
        known: Option<Mac>,
    ) {
        // Before the request is sent, so that the reply cannot arrive before this message.
        self.broadcast(Lane::Owner, || Message::Asked { port, address });
        self.solicit(snapshot, port, address, known);
    }

    /// Drops packets whose next hop could not be resolved.
    pub(crate) fn give_up(&self, packets: Vec<Waiting<P::Buf>>) {
        for Waiting { fate, .. } in packets {
            self.no_longer_waits(fate);
            self.drop_frame(fate, DropReason::NeighbourUnreachable);
        }
    }

    fn solicit(&mut self, snapshot: &Snapshot, port: PortId, address: IpAddr, known: Option<Mac>) {
        let (Some(own), Some(mac)) = (snapshot.port(port), snapshot.mac_of(port)) else {
            return;
        };
        // A link-local gateway has no route; its port is given.
        let source = match snapshot.routes.egress(address) {
            Some(egress) => egress.source,
            None => own.source_for(address),
        };
        match (address, source) {
            (IpAddr::V4(target), Some(IpAddr::V4(source))) => {
                let request = arp::Packet::request(mac, source.into(), target.into());
                let to = known.unwrap_or(Mac::BROADCAST);
                self.originate_frame(snapshot, port, arp::FRAME_BYTES, |out| {
                    arp::write(out, to, &request)
                });
            }
            (IpAddr::V6(target), Some(IpAddr::V6(source))) => {
                let (source, target) = (source.into(), target.into());
                let message = match known {
                    None => ndp::solicitation(mac, source, target),
                    Some(known) => ndp::probe(mac, source, target, known),
                };
                self.originate_frame(snapshot, port, ndp::MAX_FRAME_BYTES, |out| {
                    ndp::write(out, &message)
                });
            }
            _ => {}
        }
    }
}

impl<B> Waiting<B> {
    /// A frame that was originated here: no received frame gets a verdict by it.
    pub(crate) const fn made_here(frame: B) -> Self {
        Self {
            frame,
            fate: None,
            received: None,
        }
    }
}

/// A frame for a fragment, which begins behind an Ethernet header of `header_bytes`.
fn piece<P: Pool>(
    pool: &mut P,
    header_bytes: usize,
    header: &PieceHeader,
    payload: &[u8],
) -> Option<P::Buf> {
    let mut frame = pool.allocate()?;
    let header = header.bytes();
    frame
        .set_len(header_bytes + header.len() + payload.len())
        .ok()?;
    let datagram = frame.bytes_mut().get_mut(header_bytes..)?;
    let (front, back) = datagram.split_at_mut_checked(header.len())?;
    front.copy_from_slice(header);
    back.copy_from_slice(payload);
    Some(frame)
}
