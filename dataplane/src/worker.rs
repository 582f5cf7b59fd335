//! One worker: receive, pipeline, transmit, housekeeping, again. One per core, no locks, no waits.
//! It decides nothing about packets and reads no clock: `now` is given with every poll.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::flow::{Address, Protocol};
use crate::id::{DeviceId, PortId, RealId};
use crate::io::{BURST, PacketBuf as _, Pool, QueuePair, RxQueue, TxQueue};
use crate::listing;
use crate::neighbour::record::NeighbourRecord;
use crate::pipeline::{Config, Engine, Frames as _, Inbox, Inboxes, Message};
use crate::session::{Flags, Session, State};
use crate::snapshot::Snapshot;
use crate::snapshot::rcu::Reader;
use crate::stats::WorkerStats;
use crate::time::Time;

/// What the control thread asks of a worker.
#[derive(Debug)]
pub enum Command {
    /// Tell the links that these addresses are here.
    Announce(Vec<(PortId, IpAddr)>),
    /// Show all sessions, a few slots each poll.
    List(Arc<Listing>),
    /// Show all neighbours, a few each poll.
    ListNeighbours(Arc<NeighbourListing>),
    /// A device's link has come up or gone down. All are taken to be up at the start.
    Link {
        /// Which device.
        device: DeviceId,
        /// Whether there is a link.
        up: bool,
    },
}

/// Commands that one worker holds at most.
const COMMANDS: usize = 64;
/// Slots of the session table that one poll shows at most, if it found nothing else to do. A bucket without any session
/// counts as one.
const LIST_STEP: usize = 256;
/// The same beside packets, whose time each takes: a slot that holds a session takes about 30 ns and a full burst more
/// than 1.5 us. Half a million polls a second still show a table of a million sessions within a second or two.
const LIST_STEP_BESIDE_PACKETS: usize = 2;
/// Announcements that one poll makes at most.
const ANNOUNCE_STEP: usize = 16;

/// The way commands take to one worker.
pub type Commands = Arc<ArrayQueue<Command>>;

/// An empty command queue.
#[must_use]
pub fn commands() -> Commands {
    Arc::new(ArrayQueue::new(COMMANDS))
}

/// One session, as it is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its protocol; what a template says that is for every protocol means nothing.
    pub protocol: Protocol,
    /// The facts about it; a template is among them.
    pub flags: Flags,
    /// Its state. A template's means nothing, see [`Self::state_name`].
    pub state: State,
    /// The client's address and port.
    pub client: (IpAddr, u16),
    /// The virtual address and port.
    pub virtual_: (IpAddr, u16),
    /// The real server's slot.
    pub real: RealId,
    /// When it ends, if no further packet comes.
    pub deadline: Time,
}

impl SessionRecord {
    /// The name that `ipvsadm -Lnc` prints.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        if !self.flags.contains(Flags::TEMPLATE) {
            self.state.name()
        } else if self.flags.contains(Flags::ASSURED) {
            "ASSURED"
        } else {
            "NONE"
        }
    }
}

/// One worker's sessions on their way to the control thread.
pub type Listing = listing::Listing<SessionRecord>;

/// One worker's neighbours on their way to the control thread.
pub type NeighbourListing = listing::Listing<NeighbourRecord>;

impl SessionRecord {
    fn of<A: Address>(session: &Session<A>) -> Self {
        let key = session.key();
        Self {
            protocol: key.protocol,
            flags: session.flags(),
            state: session.state(),
            client: (key.client.into(), key.client_port),
            virtual_: (key.virtual_address.into(), key.virtual_port),
            real: session.real(),
            deadline: session.deadline(),
        }
    }
}

/// How far a listing has come.
#[derive(Debug)]
enum Place {
    V4(u32),
    V6(u32),
}

/// One worker.
#[derive(Debug)]
pub struct Worker<Rx: RxQueue, Tx, P: Pool<Buf = Rx::Buf>> {
    engine: Engine<P>,
    /// By [`DeviceId`].
    queues: Vec<QueuePair<Rx, Tx>>,
    reader: Reader<Snapshot>,
    commands: Commands,
    frames: Vec<Rx::Buf>,
    listings: Vec<(Arc<Listing>, Place)>,
    /// Each with the place in the neighbour table where it goes on.
    neighbour_listings: Vec<(Arc<NeighbourListing>, usize)>,
    announcements: Vec<(PortId, IpAddr)>,
    /// Whether the last poll sent something and left frames that found no room.
    sending: bool,
}

/// What a worker needs: queues, buffers, and its ends of the channels to the control thread and to other workers.
#[derive(Debug)]
pub struct Resources<Rx: RxQueue, Tx, P> {
    /// Its queues on every device, by [`DeviceId`].
    pub queues: Vec<QueuePair<Rx, Tx>>,
    /// Where buffers for its own frames come from.
    pub pool: P,
    /// Where snapshots come from.
    pub reader: Reader<Snapshot>,
    /// Where commands come from.
    pub commands: Commands,
    /// Every worker's inbox.
    pub inboxes: Inboxes<Rx::Buf>,
}

impl<Rx, Tx, P> Worker<Rx, Tx, P>
where
    Rx: RxQueue,
    Tx: TxQueue<Buf = Rx::Buf>,
    P: Pool<Buf = Rx::Buf>,
{
    /// A worker with empty tables.
    #[must_use]
    pub fn new(config: &Config, resources: Resources<Rx, Tx, P>) -> Self {
        let stats = Arc::new(WorkerStats::new(resources.queues.len()));
        Self {
            engine: Engine::new(config, resources.pool, stats, resources.inboxes),
            queues: resources.queues,
            reader: resources.reader,
            commands: resources.commands,
            frames: Vec::with_capacity(BURST),
            listings: Vec::new(),
            neighbour_listings: Vec::new(),
            announcements: Vec::new(),
            sending: false,
        }
    }

    /// Its counters, which any thread may read.
    #[must_use]
    pub fn stats(&self) -> &Arc<WorkerStats> {
        &self.engine.stats
    }

    /// One round: a burst from every device, messages, housekeeping, transmission. Returns how many
    /// frames and messages came in; never waits.
    pub fn poll(&mut self, now: Time) -> usize {
        self.reader.refresh();
        let work = self.take_messages(now) + self.receive(now);
        self.engine.tick(self.reader.current(), now);
        self.obey();
        let slots = if work > 0 {
            LIST_STEP_BESIDE_PACKETS
        } else {
            LIST_STEP
        };
        self.list(slots);
        self.list_neighbours(slots);
        self.transmit();
        let polls = if work > 0 {
            &self.engine.stats.busy_polls
        } else {
            &self.engine.stats.idle_polls
        };
        polls.add(1);
        work
    }

    /// Whether housekeeping for `now` is unfinished, so that another poll is due: after a jump in
    /// time, or with frames that found no room in a transmit queue.
    #[must_use]
    pub fn is_behind(&self, now: Time) -> bool {
        self.engine.is_behind(now) || self.engine.forwarder.exit.is_sending() || self.has_messages()
    }

    /// Whether another poll is due at once, although the last one found nothing: a command, housekeeping or
    /// sending goes on in steps. Who pauses between polls asks this first. Frames that a queue takes none of
    /// do not count: it would not take them sooner.
    #[must_use]
    pub fn has_more(&self, now: Time) -> bool {
        self.sending
            || !(self.commands.is_empty()
                && self.announcements.is_empty()
                && self.listings.is_empty()
                && self.neighbour_listings.is_empty())
            || self.has_messages()
            || self.engine.is_behind(now)
    }

    /// Its receive queues, in the order of the devices: for who waits for frames between polls.
    pub fn receive_queues(&mut self) -> impl Iterator<Item = &mut Rx> {
        self.queues.iter_mut().map(|pair| &mut pair.rx)
    }

    /// Puts other queues in the place of a device's, which are returned: it has been opened anew. Frames that wait to be
    /// sent are sent by the new one.
    pub fn replace_queues(
        &mut self,
        device: DeviceId,
        queues: QueuePair<Rx, Tx>,
    ) -> Option<QueuePair<Rx, Tx>> {
        let place = self.queues.get_mut(device.place())?;
        Some(std::mem::replace(place, queues))
    }

    /// When housekeeping next has something to do, if that is by `until`: polls before that change
    /// nothing unless something comes in. So a simulator may jump.
    #[must_use]
    pub fn next_due(&self, until: Time) -> Option<Time> {
        self.engine.next_due(until)
    }

    fn has_messages(&self) -> bool {
        let inbox = self.engine.forwarder.exit.inbox();
        inbox.is_some_and(|inbox| !inbox.is_empty())
    }

    fn receive(&mut self, now: Time) -> usize {
        let mut total = 0;
        for (device, queues) in DeviceId::each(&mut self.queues) {
            let count = queues.rx.receive(&mut self.frames, BURST);
            if count == 0 {
                continue;
            }
            total += count;
            let snapshot = self.reader.current();
            let frames = &mut self.frames;
            let bytes = self.engine.receive(snapshot, device, frames, now);
            if let Some(counters) = self.engine.stats.queues(device) {
                counters.rx_packets.add(count as u64);
                counters.rx_bytes.add(bytes);
            }
        }
        total
    }

    /// Frames that other workers handed over, in bursts of the same origin, and news.
    fn take_messages(&mut self, now: Time) -> usize {
        let mut from = (PortId::new(0), 0);
        let mut total = 0;
        // As many as this worker can be handed while it takes a burst from each device.
        let budget = BURST * (self.queues.len() + 1);
        while total < budget {
            let Some(message) = self.engine.forwarder.exit.inbox().and_then(Inbox::pop) else {
                break;
            };
            total += message.frames().max(1);
            self.take_message(message, &mut from, now);
        }
        // Searches come last and are few, so that whatever owns its sessions here goes first.
        let budget = total + BURST;
        while total < budget {
            let Some(message) = self
                .engine
                .forwarder
                .exit
                .inbox()
                .and_then(Inbox::pop_search)
            else {
                break;
            };
            total += message.frames().max(1);
            self.take_message(message, &mut from, now);
        }
        self.flush_messages(from, now);
        total
    }

    fn take_message(&mut self, message: Message<Rx::Buf>, from: &mut (PortId, u8), now: Time) {
        match message {
            Message::Frames(batch) => {
                let origin = (batch.port, batch.hops);
                if origin != *from || self.frames.len() + batch.frames.len() > BURST {
                    self.flush_messages(*from, now);
                    *from = origin;
                }
                self.frames.extend(batch.frames);
            }
            Message::Datagram { whole, port, hops } => {
                self.engine.stats.taken_over.add(whole.frames());
                self.engine
                    .datagram(self.reader.current(), whole, port, hops, now);
            }
            Message::Neighbour {
                port,
                address,
                claim,
            } => {
                let snapshot = self.reader.current();
                self.engine
                    .forwarder
                    .exit
                    .note_neighbour(snapshot, port, address, claim, now);
            }
            Message::Begun { flow, real, until } => self
                .engine
                .balancer
                .owners
                .note_begun_elsewhere(flow, real, until),
            Message::PathMtu { real, mtu } => self.engine.forwarder.note_path_mtu(real, mtu, now),
            Message::Asked { port, address } => {
                self.engine
                    .forwarder
                    .exit
                    .expect_neighbour(port, address, now);
            }
        }
    }

    fn flush_messages(&mut self, (port, hops): (PortId, u8), now: Time) {
        if !self.frames.is_empty() {
            self.engine.stats.taken_over.add(self.frames.len() as u64);
            Rx::Buf::remember(&self.frames);
            self.engine
                .burst(self.reader.current(), port, hops, &mut self.frames, now);
        }
    }

    fn transmit(&mut self) {
        self.sending = false;
        for (device, queues) in DeviceId::each(&mut self.queues) {
            let out = self.engine.forwarder.exit.queue(device);
            let Some(out) = out.filter(|out| !out.frames.is_empty()) else {
                continue;
            };
            let sent = queues.tx.transmit(&mut out.frames);
            self.sending |= sent > 0 && !out.frames.is_empty();
            // What is left is looked through for its bytes, which a device that takes nothing does not need.
            let counters = self.engine.stats.queues(device).filter(|_| sent > 0);
            if let Some(counters) = counters {
                counters.tx_packets.add(sent as u64);
                counters.tx_bytes.add(out.bytes_taken());
            }
        }
    }

    fn obey(&mut self) {
        if let Some(command) = self.commands.pop() {
            match command {
                Command::Announce(addresses) => self.announcements.extend(addresses),
                Command::List(listing) => self.listings.push((listing, Place::V4(0))),
                Command::ListNeighbours(listing) => self.neighbour_listings.push((listing, 0)),
                Command::Link { device, up } => {
                    let snapshot = self.reader.current();
                    self.engine.forwarder.exit.set_link(snapshot, device, up);
                }
            }
        }
        for _ in 0..ANNOUNCE_STEP {
            let Some((port, address)) = self.announcements.pop() else {
                break;
            };
            self.engine
                .forwarder
                .exit
                .announce(self.reader.current(), port, address);
        }
    }

    /// Shows some slots of the session table to the oldest listing.
    fn list(&mut self, slots: usize) {
        let Some((listing, place)) = self.listings.first_mut() else {
            return;
        };
        if !listing.has_room(LIST_STEP) {
            // Nobody takes the records any more: the asker is gone.
            if Arc::strong_count(listing) == 1 {
                self.listings.remove(0);
            }
            return;
        }
        listing.step();
        let sessions = &self.engine.balancer.sessions;
        let next = match place {
            Place::V4(cursor) => {
                let next = sessions.v4.scan(*cursor, slots, |_, session| {
                    listing.put(SessionRecord::of(session));
                });
                Some(next.map_or(Place::V6(0), Place::V4))
            }
            Place::V6(cursor) => {
                let next = sessions.v6.scan(*cursor, slots, |_, session| {
                    listing.put(SessionRecord::of(session));
                });
                next.map(Place::V6)
            }
        };
        match next {
            Some(next) => *place = next,
            None => {
                listing.end();
                self.listings.remove(0);
            }
        }
    }

    /// Shows some entries of the neighbour table to the oldest listing of these.
    fn list_neighbours(&mut self, slots: usize) {
        let Some((listing, place)) = self.neighbour_listings.first_mut() else {
            return;
        };
        let mut next = Some(*place);
        if listing.has_room(LIST_STEP) {
            listing.step();
            let neighbours = self.engine.forwarder.exit.neighbours();
            next = neighbours.scan(*place, slots, |record| listing.put(record));
        } else if Arc::strong_count(listing) == 1 {
            // Nobody takes the records any more: the asker is gone.
            next = None;
        }
        match next {
            Some(next) => *place = next,
            None => {
                listing.end();
                self.neighbour_listings.remove(0);
            }
        }
    }
}
