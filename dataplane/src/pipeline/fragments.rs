//! Fragments: which worker reassembles them, and the datagrams that they become.
//! Reassembly itself is in `reassembly.rs`.

use std::sync::Arc;

use ahash::RandomState;

use crate::flow::Addresses;
use crate::io::heap::HeapBuf;
use crate::io::{HEADROOM_BYTES, PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Context, Cut, Decision, punt};
use crate::pipeline::answer::refuse::Answers;
use crate::pipeline::handover::message::Whole;
use crate::pipeline::handover::owners::Owners;
use crate::pipeline::inbox::Lane;
use crate::pipeline::leave::exit::Exit;
use crate::pipeline::leave::transit;
use crate::reassembly::{Datagram, DatagramKey, Outcome, Piece, Reassembly};
use crate::stats::WorkerStats;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::HEADER_BYTES as ETHERNET;
use crate::wire::{ipv4, ipv6};

/// One worker's datagrams that are being put together.
#[derive(Debug)]
pub(crate) struct Fragments {
    reassembly: Reassembly,
    stats: Arc<WorkerStats>,
}

impl Fragments {
    pub(crate) fn new(hasher: RandomState, stats: Arc<WorkerStats>) -> Self {
        Self {
            reassembly: Reassembly::new(hasher),
            stats,
        }
    }

    /// When [`Self::expire`] next has something to do.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.reassembly.next_due()
    }

    /// Adds the fragment in `frame`, which is `packet`. Returns the datagram if that completes it.
    #[cold]
    pub(crate) fn add(
        &mut self,
        frame: &[u8],
        packet: Option<&Packet>,
        now: Time,
    ) -> Option<Whole> {
        let piece = packet.and_then(|packet| piece_of(frame, packet));
        let Some((key, piece, link)) = piece else {
            self.count_dropped(DropReason::FragmentInvalid, 1);
            return None;
        };
        let outcome = self.reassembly.add(key, piece, now);
        let evicted = self.reassembly.take_evicted();
        if evicted > 0 {
            self.stop_waiting(evicted);
            self.count_dropped(DropReason::FragmentTableFull, evicted);
        }
        match outcome {
            Outcome::Waits => {
                self.stats.waiting.increase();
                None
            }
            Outcome::Dropped { reason, frames } => {
                self.stop_waiting(frames - 1);
                self.count_dropped(reason, frames);
                None
            }
            Outcome::Complete(datagram) => {
                self.stop_waiting(datagram.frames - 1);
                let whole = whole(frame, &datagram, key, link);
                if whole.is_none() {
                    self.count_dropped(DropReason::FragmentInvalid, datagram.frames);
                }
                whole
            }
        }
    }

    /// Gives up datagrams whose fragments came too late, and tells their senders.
    pub(crate) fn expire<P: Pool>(
        &mut self,
        answers: &mut Answers,
        exit: &mut Exit<P>,
        context: &Context<'_>,
    ) {
        let mut told = Vec::new();
        let frames = self.reassembly.expire(context.now, |key, header, payload| {
            if let DatagramKey::V4(from, to, _, protocol) = key
                && protocol != ipv4::ICMP
                && context.snapshot.is_ours(to.into())
            {
                told.push((from, to, [header, payload].concat()));
            }
        });
        for (from, to, first) in told {
            answers.reassembly_time_exceeded(exit, context, &first, (to.into(), from.into()));
        }
        if frames > 0 {
            self.stop_waiting(frames);
            self.count_dropped(DropReason::FragmentTimeout, frames);
        }
    }

    fn count_dropped(&self, reason: DropReason, frames: u32) {
        let verdict = Verdict::Dropped(reason);
        self.stats.count(verdict, u64::from(frames));
    }

    fn stop_waiting(&self, frames: u32) {
        self.stats
            .waiting
            .set(self.stats.waiting.value().saturating_sub(frames));
    }
}

/// A fragment is reassembled on the worker that is computed from its two addresses. Only the first fragment has
/// ports, so NICs also choose the queue of all fragments by the addresses.
pub(crate) fn classify_fragment<F: PacketBuf>(
    owners: &Owners,
    context: &Context<'_>,
    frame: &mut F,
    packet: &Packet,
) -> Decision {
    let Context {
        snapshot, origin, ..
    } = *context;
    let destination = packet.addresses.destination();
    // Fragments that are only routed must not use up the room for those to be reassembled.
    if !snapshot.is_ours(destination)
        && !snapshot.is_virtual(destination)
        && !snapshot.is_nat_real(packet.addresses.source())
    {
        return transit::pass_on(context, frame, packet);
    }
    if snapshot.locals.contains_key(&destination)
        && !snapshot.is_virtual(destination)
        && let Some(action) = punt(snapshot, origin.port)
    {
        return Ok(action);
    }
    let owner = match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => owners.collector(source, destination),
        Addresses::V6 {
            source,
            destination,
        } => owners.collector(source, destination),
    };
    if owner != context.worker && origin.hops == 0 {
        let lane = Lane::Owner;
        return Ok(Action::HandOver { to: owner, lane });
    }
    Ok(Action::Reassemble)
}

/// The next header field before an IPv6 fragment header: its offset, and the value that it has without the fragment
/// header.
type Link = Option<(usize, u8)>;

fn piece_of<'a>(frame: &'a [u8], packet: &Packet) -> Option<(DatagramKey, Piece<'a>, Link)> {
    let fragment = packet.fragment?;
    let datagram = packet.datagram(frame);
    let payload = packet.upper(frame);
    let (offset, more) = (usize::from(fragment.offset_bytes), fragment.more);
    match packet.addresses {
        Addresses::V4 {
            source,
            destination,
        } => {
            let header = datagram.get(..datagram.len() - payload.len())?;
            let key = DatagramKey::V4(source, destination, fragment.id, packet.protocol);
            Some((
                key,
                Piece {
                    header,
                    payload,
                    offset,
                    more,
                },
                None,
            ))
        }
        Addresses::V6 {
            source,
            destination,
        } => {
            let chain = ipv6::walk(datagram)?.fragment?;
            let header = datagram.get(..usize::from(chain.offset))?;
            let key = DatagramKey::V6(source, destination, fragment.id);
            let link = Some((usize::from(chain.link), chain.next_header));
            Some((
                key,
                Piece {
                    header,
                    payload,
                    offset,
                    more,
                },
                link,
            ))
        }
    }
}

/// The reassembled datagram with the Ethernet header of `frame`, as if it had never been fragmented.
fn whole(frame: &[u8], datagram: &Datagram, key: DatagramKey, link: Link) -> Option<Whole> {
    let ethernet = frame.get(..12)?;
    let length = datagram.header.len() + datagram.payload.len();
    let mut buf = HeapBuf::with_capacity(HEADROOM_BYTES + ETHERNET + length);
    buf.set_len(ETHERNET + length).ok()?;
    let bytes = buf.bytes_mut();
    let (front, rest) = bytes.split_at_mut_checked(ETHERNET)?;
    let (header, payload) = rest.split_at_mut_checked(datagram.header.len())?;
    header.copy_from_slice(&datagram.header);
    payload.copy_from_slice(&datagram.payload);
    let (macs, ether_type) = front.split_at_mut_checked(12)?;
    macs.copy_from_slice(ethernet);
    let id = match key {
        DatagramKey::V4(_, _, id, _) => {
            ether_type.copy_from_slice(&crate::wire::ethernet::IPV4.to_be_bytes());
            let mut fixed = ipv4::Header::new_mut(header)?;
            fixed.set_total_length(u16::try_from(length).ok()?);
            let flags = fixed.flags() & ipv4::DONT_FRAGMENT;
            fixed.set_flags(flags);
            let checksum = ipv4::header_checksum(header);
            ipv4::Header::new_mut(header)?.set_checksum(checksum);
            id
        }
        DatagramKey::V6(_, _, id) => {
            ether_type.copy_from_slice(&crate::wire::ethernet::IPV6.to_be_bytes());
            let (place, next_header) = link?;
            *header.get_mut(place)? = next_header;
            let payload_length = u16::try_from(length - ipv6::HEADER_BYTES).ok()?;
            ipv6::Header::new_mut(header)?.set_payload_length(payload_length);
            id
        }
    };
    let (size, header_bytes) = match key {
        DatagramKey::V4(..) => (datagram.largest_fragment, datagram.header.len()),
        DatagramKey::V6(..) => (
            datagram.largest_fragment + ipv6::FRAGMENT_HEADER_BYTES,
            datagram.header.len(),
        ),
    };
    Some(Whole {
        frame: buf,
        cut: Cut {
            size,
            header_bytes,
            id,
        },
        frames: datagram.frames,
    })
}
