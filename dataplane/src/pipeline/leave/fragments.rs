//! Fragments: which worker reassembles them, and what happens to the datagram.
//! Reassembly itself is in `reassembly.rs`.

use crate::flow::Addresses;
use crate::id::PortId;
use crate::io::heap::HeapBuf;
use crate::io::{HEADROOM_BYTES, PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Origin, punt};
use crate::pipeline::answer::icmp_error::Error;
use crate::pipeline::engine::Engine;
use crate::pipeline::handover::inbox::Lane;
use crate::pipeline::handover::message::{Cut, Whole};
use crate::reassembly::{Datagram, DatagramKey, Outcome, Piece};
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::HEADER_BYTES as ETHERNET;
use crate::wire::{ipv4, ipv6};

impl<P: Pool> Engine<P> {
    /// A fragment is reassembled on the worker that is computed from its two addresses. Only the first fragment has
    /// ports, so NICs also choose the queue of all fragments by the addresses.
    pub(crate) fn classify_fragment<F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        origin: Origin,
        now: Time,
    ) -> Action {
        let destination = packet.addresses.destination();
        // Fragments that are only routed must not use up the room for those to be reassembled.
        if !snapshot.is_ours(destination)
            && !snapshot.is_virtual(destination)
            && !snapshot.is_nat_real(packet.addresses.source())
        {
            return self.classify_rest(snapshot, frame, packet, origin, now);
        }
        if snapshot.locals.contains_key(&destination)
            && !snapshot.is_virtual(destination)
            && let Some(action) = punt(snapshot, origin.port)
        {
            return action;
        }
        let owner = match packet.addresses {
            Addresses::V4 {
                source,
                destination,
            } => self.owners.collector(source, destination),
            Addresses::V6 {
                source,
                destination,
            } => self.owners.collector(source, destination),
        };
        if owner != self.start.worker && origin.hops == 0 {
            let lane = Lane::Owner;
            return Action::HandOver { to: owner, lane };
        }
        Action::Reassemble(*packet)
    }

    /// Adds the fragment in `frame`. If it completes the datagram, the datagram passes all stages.
    #[cold]
    pub(crate) fn reassemble(
        &mut self,
        snapshot: &Snapshot,
        frame: &[u8],
        packet: &Packet,
        port: PortId,
        now: Time,
    ) {
        let Some((key, piece, link)) = piece_of(frame, packet) else {
            self.stats
                .count(Verdict::Dropped(DropReason::FragmentInvalid), 1);
            return;
        };
        let outcome = self.reassembly.add(key, piece, now);
        let evicted = self.reassembly.take_evicted();
        if evicted > 0 {
            self.stop_waiting(evicted);
            self.stats.count(
                Verdict::Dropped(DropReason::FragmentTableFull),
                u64::from(evicted),
            );
        }
        match outcome {
            Outcome::Waits => self.stats.waiting.increase(),
            Outcome::Dropped { reason, frames } => {
                self.stop_waiting(frames - 1);
                self.stats
                    .count(Verdict::Dropped(reason), u64::from(frames));
            }
            Outcome::Complete(datagram) => {
                self.stop_waiting(datagram.frames - 1);
                let frames = u64::from(datagram.frames);
                match whole(frame, &datagram, key, link) {
                    Some(whole) => self.datagram(snapshot, whole, port, 0, now),
                    None => {
                        self.stats
                            .count(Verdict::Dropped(DropReason::FragmentInvalid), frames);
                    }
                }
            }
        }
    }

    pub(crate) fn expire_fragments(&mut self, snapshot: &Snapshot, now: Time) {
        let mut told = Vec::new();
        let frames = self.reassembly.expire(now, |key, header, payload| {
            if let DatagramKey::V4(from, to, _, protocol) = key
                && protocol != ipv4::ICMP
                && snapshot.is_ours(to.into())
            {
                told.push((from, to, [header, payload].concat()));
            }
        });
        for (from, to, first) in told {
            if self.limits.made.exceeded.allow(now) {
                let addresses = (to.into(), from.into());
                self.send_error(
                    snapshot,
                    &first,
                    addresses,
                    Error::ReassemblyTimeExceeded,
                    now,
                );
            }
        }
        if frames > 0 {
            self.stop_waiting(frames);
            self.stats.count(
                Verdict::Dropped(DropReason::FragmentTimeout),
                u64::from(frames),
            );
        }
    }

    fn stop_waiting(&self, frames: u32) {
        self.stats
            .waiting
            .set(self.stats.waiting.value().saturating_sub(frames));
    }
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
