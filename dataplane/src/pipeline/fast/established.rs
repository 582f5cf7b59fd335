//! The fast path: plain packets of established sessions, from clients and from NAT real servers, that only need to be
//! rewritten and forwarded. Each stage runs over the whole burst and prefetches the memory that the next stage
//! reads.
//!
//! It refuses nothing and replies to nothing. Any other packet is left unchanged to the general path, which begins in
//! `classify.rs` and would treat the packets that are taken here in the same way.

use std::vec::Drain;

use arrayvec::ArrayVec;

use crate::flow::{Address, FlowKey, Protocol, ReplyKey, V4, V6};
use crate::id::DeviceId;
use crate::io::{BURST, PacketBuf, Pool};
use crate::parse::{PLAIN_L3, Plain, plain_v4, plain_v6};
use crate::pipeline::action::Context;
use crate::pipeline::engine::Engine;
use crate::pipeline::inbox::Lane;
use crate::pipeline::leave::paths::has_plain_header;
use crate::pipeline::sessions::{Tabled, Translation, change_of};
use crate::rewrite::change::Ends;
use crate::session::{Direction, Hint, KeyHash, ReplyHash, Session, Step};
use crate::snapshot::Snapshot;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet;
use crate::wire::family::Family;
use crate::wire::{Mac, tcp};

/// Cache lines of sessions that are prefetched at a time. A CPU can wait for some two dozen lines at once and drops
/// prefetches beyond that, so a whole burst would be too many.
const LINES_AHEAD: usize = 20;

/// By how many packets the second stage is ahead of the third. An IPv4 session is one cache line, an IPv6 session two.
pub(crate) const fn lookahead<A>() -> usize {
    LINES_AHEAD / (size_of::<Session<A>>() / LINE)
}

/// Bytes of a cache line.
const LINE: usize = 64;
const _: () = assert!(lookahead::<V4>() == 20 && lookahead::<V6>() == 10);

/// What the first stage found a frame to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not a plain packet, or not to this port's MAC.
    Other,
    /// A plain IPv4 packet: the next one of [`Inspected::v4`].
    V4,
    /// A plain IPv6 packet: the next one of [`Inspected::v6`].
    V6,
}

/// What the first stage found in a burst, in the order of the frames.
#[derive(Debug, Default)]
pub(crate) struct Inspected {
    /// How many frames in a row are of one kind.
    pub(crate) runs: ArrayVec<(Kind, usize), BURST>,
    pub(crate) v4: ArrayVec<Known<V4>, BURST>,
    pub(crate) v6: ArrayVec<Known<V6>, BURST>,
}

/// A plain packet, and the slot in which its session probably is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<A> {
    plain: Plain<A>,
    sender: Sender,
    hint: Hint,
    /// Whether it may take the fast path: not a SYN, which begins a session or has its MSS clamped, and not a packet
    /// whose TTL is used up.
    is_regular: bool,
}

/// Who seems to have sent the packet, with the hash for the lookup of its session. After a wrong guess the packet only
/// misses the fast path.
#[derive(Debug, Clone, Copy)]
enum Sender {
    Client(KeyHash),
    NatReal(ReplyHash),
}

/// The result for a frame that took the fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    /// By which device it is to be sent.
    device: DeviceId,
    /// Why it is to be dropped instead.
    dropped: Option<DropReason>,
}

impl<A: Address> Plain<A> {
    #[inline(always)]
    fn key(&self) -> FlowKey<A> {
        FlowKey {
            client: self.source,
            virtual_address: self.destination,
            client_port: self.source_port,
            virtual_port: self.destination_port,
            protocol: self.protocol,
        }
    }

    #[inline(always)]
    pub(crate) fn reply_key(&self) -> ReplyKey<A> {
        ReplyKey {
            client: self.destination,
            real: self.source,
            client_port: self.destination_port,
            real_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

impl<P: Pool> Engine<P> {
    /// First stage: parses a frame received on a port with this MAC and MTU, computes the hash and prefetches the
    /// fingerprints of the session table. `nat` says whether any service uses NAT, so that the frame may be a reply.
    #[inline(always)]
    pub(crate) fn inspect(
        &self,
        snapshot: &Snapshot,
        nat: bool,
        (mac, mtu): (Mac, u16),
        frame: &[u8],
        inspected: &mut Inspected,
    ) {
        let kind = ethernet::Header::new(frame)
            .filter(|header| header.destination() == mac)
            .and_then(|header| {
                let datagram = frame.get(PLAIN_L3..)?;
                match header.ether_type() {
                    ethernet::IPV4 => {
                        let plain = plain_v4(datagram).filter(|plain| plain.length <= mtu)?;
                        inspected.v4.push(self.prefetch_home(snapshot, nat, plain));
                        Some(Kind::V4)
                    }
                    ethernet::IPV6 => {
                        let plain = plain_v6(datagram).filter(|plain| plain.length <= mtu)?;
                        inspected.v6.push(self.prefetch_home(snapshot, nat, plain));
                        Some(Kind::V6)
                    }
                    _ => None,
                }
            });
        let kind = kind.unwrap_or(Kind::Other);
        match inspected.runs.last_mut() {
            Some((last, count)) if *last == kind => *count += 1,
            _ => inspected.runs.push((kind, 1)),
        }
    }

    #[inline(always)]
    fn prefetch_home<A: Tabled>(
        &self,
        snapshot: &Snapshot,
        nat: bool,
        plain: Plain<A>,
    ) -> Known<A> {
        let table = A::table_of(&self.balancer.sessions);
        let sender = if nat && snapshot.may_be_nat_real(plain.source) {
            Sender::NatReal(table.hash_and_prefetch_reply(&plain.reply_key()))
        } else {
            let is_new = plain.tcp_flags & tcp::SYN != 0;
            Sender::Client(table.hash_and_prefetch(&plain.key(), is_new))
        };
        Known {
            plain,
            sender,
            hint: Hint::NONE,
            is_regular: plain.tcp_flags & tcp::SYN == 0 && plain.ttl > 1,
        }
    }

    /// Second stage, for `count` packets from `first` on: prefetches the session, or the slot that a new one would
    /// take.
    #[inline(always)]
    pub(crate) fn prefetch_sessions<A: Tabled>(
        &self,
        all: &mut [Known<A>],
        first: usize,
        count: usize,
    ) {
        let table = A::table_of(&self.balancer.sessions);
        for known in all.iter_mut().skip(first).take(count) {
            known.hint = match known.sender {
                Sender::Client(hash) => table.prefetch_entry(hash),
                Sender::NatReal(hash) => table.prefetch_reply_entry(hash, &known.plain.reply_key()),
            };
        }
    }

    /// Third stage, for the next `count` frames, all of one address family: forwards them. `all` begins with their
    /// results of the first two stages. Frames that cannot take the fast path take the general path. Not inlined, so
    /// that the compiler allocates registers for each family by itself.
    #[inline(never)]
    pub(crate) fn pass_run<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        frames: &mut Drain<'_, P::Buf>,
        count: usize,
        all: &mut [Known<A>],
    ) {
        let mut forwarded = 0;
        for index in 0..count {
            self.prefetch_sessions(all, index + lookahead::<A>(), 1);
            let (Some(mut frame), Some(known)) = (frames.next(), all.get(index)) else {
                break;
            };
            match self.pass(context, &mut frame, known) {
                Some(Passed {
                    device,
                    dropped: None,
                }) => {
                    let queue = self.forwarder.exit.queue(device);
                    match queue.map(|queue| queue.push(frame)) {
                        Some(Ok(())) => forwarded += 1,
                        Some(Err(reason)) => self.stats.count(Verdict::Dropped(reason), 1),
                        None => self.stats.count(Verdict::Dropped(DropReason::NoRoute), 1),
                    }
                }
                Some(Passed {
                    dropped: Some(reason),
                    ..
                }) => self.stats.count(Verdict::Dropped(reason), 1),
                None => self.one_known(context, frame, known),
            }
        }
        self.stats.count(Verdict::Forwarded, forwarded);
    }

    /// The general path of a plain packet, which was parsed already.
    #[inline(never)]
    fn one_known<A: Tabled>(&mut self, context: &Context<'_>, mut frame: P::Buf, known: &Known<A>) {
        let plain = &known.plain;
        let (balancer, forwarder) = (&mut self.balancer, &mut self.forwarder);
        if context.origin.hops == 0
            && let Sender::NatReal(_) = known.sender
            && let Some(to) = balancer.owners.owner_of_misplaced(context.snapshot, plain)
        {
            let to = (to, Lane::Owner);
            forwarder.exit.hand_over_frame(to, frame, context.origin);
            return;
        }
        let (packet, key) = (plain.packet(), plain.key());
        let decision = match packet.addresses.martian() {
            Some(reason) => Err(reason.into()),
            None => {
                let hash = match known.sender {
                    Sender::Client(hash) => hash,
                    Sender::NatReal(_) => A::table_of(&balancer.sessions).hash(&key),
                };
                balancer.balance(forwarder, context, &mut frame, &packet, (&key, hash))
            }
        };
        match decision {
            Ok(action) => self.act(context, frame, Some(&packet), action),
            Err(refusal) => self.refuse(context, frame.bytes(), Some(&packet), refusal, 1),
        }
        self.forwarder.renew_paths(context);
    }

    /// Updates the session of one packet and rewrites the packet. `None` if it cannot take the fast path; it is
    /// unchanged then.
    #[inline(always)]
    fn pass<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        frame: &mut P::Buf,
        known: &Known<A>,
    ) -> Option<Passed> {
        if !known.is_regular {
            return None;
        }
        let (plain, hint) = (&known.plain, known.hint);
        match known.sender {
            Sender::Client(_) => self.pass_client(context, frame, plain, hint),
            Sender::NatReal(_) => self.pass_reply(context, frame, plain, hint),
        }
    }

    /// A client's packet.
    #[inline(always)]
    fn pass_client<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        frame: &mut P::Buf,
        plain: &Plain<A>,
        hint: Hint,
    ) -> Option<Passed> {
        let sessions = &mut self.balancer.sessions;
        let table = A::table(sessions);
        let index = table.at(hint, &plain.key(), context.now)?;
        let session = table.get(index);
        let (id, change) = (session.real(), change_of(session));
        let path = self.forwarder.path(context, id)?;
        let fits = if change.encapsulates() {
            path.inner_mtu
        } else {
            path.mtu
        };
        // The general path handles NAT of a datagram without a checksum (it gets one), and of one whose length differs
        // from its packet's (it is refused).
        let is_odd = change.translates()
            && (plain.checksum(frame.bytes()) == 0
                || plain.protocol == Protocol::Udp && plain.has_rest(frame.bytes()));
        if plain.length > fits || is_odd {
            return None;
        }
        cut_padding(frame, plain)?;
        let direction = if change.translates() {
            Direction::Input
        } else {
            Direction::InputOnly
        };
        let step = Step {
            direction,
            signal: plain.tcp_flags,
            secure: path.secure.is_up(sessions.half_open_pressure),
            timeouts: &path.timeouts,
        };
        let bytes = Some(u32::from(plain.length));
        sessions.advance::<A>(context, (index, id), step, bytes, || false);
        let (ethernet, ip) = frame.bytes_mut().split_at_mut_checked(PLAIN_L3)?;
        change.apply(ip, A::HEADER_BYTES, || Some(Ends::of_plain(plain)));
        if let Some(header) = ethernet.first_chunk_mut() {
            ethernet::write_addresses(header, &path.adjacency.macs);
        }
        let device = path.adjacency.device;
        let mut dropped = None;
        if change.encapsulates() {
            let entered = self.forwarder.enter_tunnel(context, frame, plain, id);
            dropped = entered.err();
        }
        Some(Passed { device, dropped })
    }

    /// A NAT real server's packet.
    #[inline(always)]
    fn pass_reply<A: Tabled>(
        &mut self,
        context: &Context<'_>,
        frame: &mut P::Buf,
        plain: &Plain<A>,
        hint: Hint,
    ) -> Option<Passed> {
        let sessions = &mut self.balancer.sessions;
        let snapshot = context.snapshot;
        let table = A::table(sessions);
        let index = table.reply_at(hint, &plain.reply_key(), context.now)?;
        let Translation { id, client, change } = Translation::of(table.get(index))?;
        let known = snapshot.real(id).filter(|real| real.configured)?;
        let egress = snapshot.routes.egress(client.into())?;
        let checksum = plain.checksum(frame.bytes());
        // The general path drops a datagram whose checksum was left to the sender's hardware, and examines one with
        // bytes behind its own length.
        let may_be_unfinished = plain.protocol == Protocol::Udp
            && (checksum == plain.unfinished_checksum() || plain.has_rest(frame.bytes()));
        let fits = plain.length <= egress.mtu && has_plain_header(snapshot, egress.port);
        if !fits || checksum == 0 || may_be_unfinished {
            return None;
        }
        let adjacency = self.forwarder.adjacency_towards(context, &egress)?;
        cut_padding(frame, plain)?;
        let step = Step {
            direction: Direction::Output,
            signal: plain.tcp_flags,
            secure: known.policy.is_secure(sessions.half_open_pressure),
            timeouts: &known.timeouts,
        };
        let has_data = || plain.has_data(frame.bytes());
        let bytes = Some(u32::from(plain.length));
        sessions.advance::<A>(context, (index, id), step, bytes, has_data);
        let (ethernet, ip) = frame.bytes_mut().split_at_mut_checked(PLAIN_L3)?;
        if let Some(header) = ethernet.first_chunk_mut() {
            ethernet::write_addresses(header, &adjacency.macs);
        }
        change.apply(ip, A::HEADER_BYTES, || Some(Ends::of_plain(plain)));
        Some(Passed {
            device: adjacency.device,
            dropped: None,
        })
    }
}

/// Removes Ethernet padding, if there is any.
#[inline(always)]
fn cut_padding<A: Family>(frame: &mut impl PacketBuf, plain: &Plain<A>) -> Option<()> {
    if frame.bytes().len() != plain.frame_bytes() {
        frame.set_len(plain.frame_bytes()).ok()?;
    }
    Some(())
}
