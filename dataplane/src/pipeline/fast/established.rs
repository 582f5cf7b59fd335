//! The fast path: plain packets of established sessions, from clients and from NAT real servers, that only need to be
//! rewritten and forwarded. Each stage runs over the whole burst and prefetches the memory that the next stage
//! reads.
//!
//! It refuses nothing and replies to nothing. Any other packet is left unchanged to the general path, which begins in
//! `classify.rs` and would treat the packets that are taken here in the same way.

use std::net::IpAddr;
use std::vec::Drain;

use arrayvec::ArrayVec;

use crate::flow::{Address, FlowKey, Protocol, ReplyKey, V4, V6};
use crate::id::{DeviceId, PortId, RealId};
use crate::io::{BURST, PacketBuf, Pool};
use crate::parse::{PLAIN_L3, Plain, plain_v4, plain_v6};
use crate::pipeline::action::{Action, Origin};
use crate::pipeline::balance::advance::Counting;
use crate::pipeline::engine::Engine;
use crate::pipeline::fast::path_cache::{Path, Sources};
use crate::pipeline::handover::inbox::Lane;
use crate::pipeline::leave::adjacency::Adjacency;
use crate::pipeline::leave::forward::{is_told_what_fits, outer};
use crate::pipeline::sessions::{Tabled, Translation, change_of};
use crate::rewrite::change::Ends;
use crate::rewrite::tunnel::{self, Ipip};
use crate::session::{Direction, Hint, KeyHash, ReplyHash, Session, Step};
use crate::snapshot::Snapshot;
use crate::snapshot::chunked::Chunked;
use crate::snapshot::route::Egress;
use crate::spec::forward::TunnelKind;
use crate::stats::RealCounters;
use crate::time::Time;
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
    pub(crate) kinds: ArrayVec<Kind, BURST>,
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
pub(crate) enum Passed {
    /// It is to be sent by this device.
    To(DeviceId),
    /// It is to be dropped.
    Drop(DropReason),
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
        inspected.kinds.push(kind.unwrap_or(Kind::Other));
    }

    #[inline(always)]
    fn prefetch_home<A: Tabled>(
        &self,
        snapshot: &Snapshot,
        nat: bool,
        plain: Plain<A>,
    ) -> Known<A> {
        let table = A::table_of(&self.sessions);
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
        let table = A::table_of(&self.sessions);
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
    #[expect(clippy::too_many_arguments, reason = "the burst's facts, in registers")]
    pub(crate) fn pass_run<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        reals: &Chunked<RealCounters>,
        frames: &mut Drain<'_, P::Buf>,
        count: usize,
        all: &mut [Known<A>],
        origin: Origin,
        now: Time,
    ) {
        let mut forwarded = 0;
        for index in 0..count {
            self.prefetch_sessions(all, index + lookahead::<A>(), 1);
            let (Some(mut frame), Some(known)) = (frames.next(), all.get(index)) else {
                break;
            };
            match self.pass(snapshot, reals, &mut frame, known, now) {
                Some(Passed::To(to)) => {
                    let queue = self.exit.queue(to);
                    match queue.map(|queue| queue.push(frame)) {
                        Some(Ok(())) => forwarded += 1,
                        Some(Err(reason)) => self.stats.count(Verdict::Dropped(reason), 1),
                        None => self.stats.count(Verdict::Dropped(DropReason::NoRoute), 1),
                    }
                }
                Some(Passed::Drop(reason)) => self.stats.count(Verdict::Dropped(reason), 1),
                None => self.one_known(snapshot, frame, known, origin, now),
            }
        }
        self.stats.count(Verdict::Forwarded, forwarded);
    }

    /// The general path of a plain packet, which was parsed already.
    #[inline(never)]
    fn one_known<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        mut frame: P::Buf,
        known: &Known<A>,
        origin: Origin,
        now: Time,
    ) {
        let plain = &known.plain;
        if origin.hops == 0
            && let Sender::NatReal(_) = known.sender
            && let Some(to) = self.owners.owner_of_misplaced(snapshot, plain)
        {
            self.exit.hand_over_frame((to, Lane::Owner), frame, origin);
            return;
        }
        let (packet, key) = (plain.packet(), plain.key());
        let action = match packet.addresses.martian() {
            Some(reason) => Action::Drop(reason),
            None => {
                let hash = match known.sender {
                    Sender::Client(hash) => hash,
                    Sender::NatReal(_) => A::table_of(&self.sessions).hash(&key),
                };
                self.balance(snapshot, &mut frame, &packet, (&key, hash), origin, now)
            }
        };
        self.act(snapshot, frame, action, origin, now);
        self.renew_paths(snapshot, now);
    }

    /// Updates the session of one packet and rewrites the packet. `None` if it cannot take the fast path; it is
    /// unchanged then.
    #[inline(always)]
    fn pass<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        reals: &Chunked<RealCounters>,
        frame: &mut P::Buf,
        known: &Known<A>,
        now: Time,
    ) -> Option<Passed> {
        if !known.is_regular {
            return None;
        }
        let (plain, hint) = (&known.plain, known.hint);
        match known.sender {
            Sender::Client(_) => self.pass_client(snapshot, reals, frame, plain, hint, now),
            Sender::NatReal(_) => self.pass_reply(snapshot, reals, frame, plain, hint, now),
        }
    }

    /// A client's packet.
    #[inline(always)]
    fn pass_client<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        reals: &Chunked<RealCounters>,
        frame: &mut P::Buf,
        plain: &Plain<A>,
        hint: Hint,
        now: Time,
    ) -> Option<Passed> {
        let table = A::table(&mut self.sessions);
        let index = table.at(hint, &plain.key(), now)?;
        let session = table.get(index);
        let (id, change) = (session.real(), change_of(session));
        if self.path_cache.get(id).is_none() {
            self.fill_path(snapshot, id, now)?;
        }
        let path = self.path_cache.get(id)?;
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
            secure: path.secure.is_up(self.half_open_pressure),
            timeouts: &path.timeouts,
        };
        let counting = Counting { snapshot, reals };
        let bytes = Some(u32::from(plain.length));
        self.sessions
            .advance::<A>(counting, (index, id), step, bytes, now, || false);
        let (ethernet, ip) = frame.bytes_mut().split_at_mut_checked(PLAIN_L3)?;
        change.apply(ip, A::HEADER_BYTES, || Some(Ends::of_plain(plain)));
        if let Some(header) = ethernet.first_chunk_mut() {
            ethernet::write_addresses(header, &path.adjacency.macs);
        }
        let device = path.adjacency.device;
        if change.encapsulates() {
            return Some(match self.enter_tunnel(snapshot, frame, plain, id) {
                Ok(()) => Passed::To(device),
                Err(reason) => Passed::Drop(reason),
            });
        }
        Some(Passed::To(device))
    }

    /// Encapsulates the packet, which fits the tunnel's MTU, for the real server `id`.
    #[inline(never)]
    fn enter_tunnel<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut P::Buf,
        plain: &Plain<A>,
        id: RealId,
    ) -> Result<(), DropReason> {
        let number = self.exit.take_id();
        // Borrowed, not copied: the copy would have to wait for the whole entry to arrive from memory.
        let path = self.path_cache.get(id).ok_or(DropReason::RealGone)?;
        if let (Some(ipip), Some(plain)) = (&path.ipip, plain.as_v4()) {
            return ipip.encapsulate(frame, &plain, number, &path.adjacency.macs);
        }
        let real = snapshot.real(id).ok_or(DropReason::RealGone)?;
        let flow = || tunnel::flow_hash(&plain.packet());
        let is_told = is_told_what_fits(size_of::<A>() > size_of::<V4>(), real);
        tunnel::encapsulate(frame, PLAIN_L3, &outer(real, flow, number, !is_told))?;
        path.adjacency.write_header(frame, PLAIN_L3);
        Ok(())
    }

    /// A NAT real server's packet.
    #[inline(always)]
    fn pass_reply<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        reals: &Chunked<RealCounters>,
        frame: &mut P::Buf,
        plain: &Plain<A>,
        hint: Hint,
        now: Time,
    ) -> Option<Passed> {
        let table = A::table(&mut self.sessions);
        let index = table.reply_at(hint, &plain.reply_key(), now)?;
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
        let adjacency = self.adjacency_towards(snapshot, &egress, now)?;
        cut_padding(frame, plain)?;
        let step = Step {
            direction: Direction::Output,
            signal: plain.tcp_flags,
            secure: known.policy.is_secure(self.half_open_pressure),
            timeouts: &known.timeouts,
        };
        let has_data = || plain.has_data(frame.bytes());
        let counting = Counting { snapshot, reals };
        let bytes = Some(u32::from(plain.length));
        self.sessions
            .advance::<A>(counting, (index, id), step, bytes, now, has_data);
        let (ethernet, ip) = frame.bytes_mut().split_at_mut_checked(PLAIN_L3)?;
        if let Some(header) = ethernet.first_chunk_mut() {
            ethernet::write_addresses(header, &adjacency.macs);
        }
        change.apply(ip, A::HEADER_BYTES, || Some(Ends::of_plain(plain)));
        Some(Passed::To(adjacency.device))
    }

    /// The path to a real server, from the cache or computed now. `None` if its packets cannot take the fast path.
    #[inline(always)]
    pub(crate) fn path(&mut self, snapshot: &Snapshot, id: RealId, now: Time) -> Option<&Path> {
        if self.path_cache.get(id).is_none() {
            return self.fill_path(snapshot, id, now);
        }
        self.path_cache.get(id)
    }

    /// How frames reach a real server by `egress`; `None` if the next hop's MAC is not known.
    #[inline(always)]
    pub(crate) fn adjacency_to(
        &mut self,
        snapshot: &Snapshot,
        real: RealId,
        egress: &Egress,
        now: Time,
    ) -> Option<Adjacency> {
        if let Some(path) = self.path(snapshot, real, now) {
            return Some(path.adjacency);
        }
        self.exit
            .adjacency(snapshot, egress.port, egress.next_hop, now)
    }

    /// Computes the path to a real server and caches it. `None` if its packets cannot take the fast path.
    #[cold]
    fn fill_path(&mut self, snapshot: &Snapshot, id: RealId, now: Time) -> Option<&Path> {
        let real = snapshot
            .real(id)
            .filter(|real| real.configured && !real.policy.idle_reset)?;
        let egress = real
            .egress
            .filter(|egress| has_plain_header(snapshot, egress.port))?;
        let exit = &mut self.exit;
        let path = Path {
            timeouts: real.timeouts,
            adjacency: exit.adjacency(snapshot, egress.port, egress.next_hop, now)?,
            mtu: egress.mtu,
            inner_mtu: u16::try_from(self.inner_mtu(real, now)).unwrap_or(u16::MAX),
            secure: real.policy.secure_tcp,
            ipip: match (real.spec.tunnel, egress.source, real.spec.address) {
                (TunnelKind::Ipip, Some(IpAddr::V4(source)), IpAddr::V4(address)) => Some(Ipip {
                    source: source.into(),
                    real: address.into(),
                    may_be_cut: !real.policy.path_mtu,
                    ttl: real.spec.tunnel_ttl,
                }),
                _ => None,
            },
        };
        Some(self.path_cache.set(id, path))
    }

    /// How frames reach the next hop, if its MAC is known and the link is up. The last one is cached: most clients are
    /// behind the same router.
    #[inline(always)]
    pub(crate) fn adjacency_towards(
        &mut self,
        snapshot: &Snapshot,
        egress: &Egress,
        now: Time,
    ) -> Option<Adjacency> {
        let (port, next_hop) = (egress.port, egress.next_hop);
        if let Some(adjacency) = self.path_cache.last_hop(port, next_hop) {
            return Some(adjacency);
        }
        let adjacency = self.exit.adjacency(snapshot, port, next_hop, now)?;
        self.path_cache.set_last_hop(port, next_hop, adjacency);
        Some(adjacency)
    }

    /// Invalidates cached paths if something that they were computed from has changed.
    #[inline]
    pub(crate) fn renew_paths(&mut self, snapshot: &Snapshot, now: Time) {
        let sources = Sources {
            generation: snapshot.generation,
            neighbours: self.exit.changes(),
            path_mtus: self.path_mtus.changes(),
        };
        self.path_cache.renew(sources, now);
    }
}

/// Whether what leaves by a port has an Ethernet header as long as a plain packet's, which is then written over.
#[inline(always)]
fn has_plain_header(snapshot: &Snapshot, port: PortId) -> bool {
    snapshot.header_bytes(port) == Some(PLAIN_L3)
}

/// Removes Ethernet padding, if there is any.
#[inline(always)]
fn cut_padding<A: Family>(frame: &mut impl PacketBuf, plain: &Plain<A>) -> Option<()> {
    if frame.bytes().len() != plain.frame_bytes() {
        frame.set_len(plain.frame_bytes()).ok()?;
    }
    Some(())
}
