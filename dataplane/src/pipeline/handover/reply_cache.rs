//! A per-worker cache from a NAT real server's socket to what chooses the owners of its sessions: an answer that came
//! to the wrong worker is handed over without asking the snapshot's tables.
//! It remembers what a snapshot said and decides nothing else.

#![expect(clippy::indexing_slicing, reason = "places are less than their number")]

use crate::flow::ReplyKey;
use crate::pipeline::sessions::Tabled;
use crate::snapshot::Snapshot;
use crate::snapshot::owner::Owner;
use crate::steering::Steering;

const PLACES_BITS: u32 = 8;
/// Sockets that are remembered; of two with the same place only one is. 10 KiB.
const PLACES: usize = 1 << PLACES_BITS;

/// What chooses the owners of all sessions that a socket answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The client's socket.
    Socket,
    /// The flow: this is what the virtual socket adds to the hash.
    Flow(u32),
    /// Not one rule for all.
    Unknown,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    address: [u64; 2],
    /// Port, protocol and family.
    rest: u64,
    /// Of the snapshot that said so.
    generation: u64,
    rule: Rule,
}

/// What one worker remembers.
#[derive(Debug)]
pub(crate) struct ReplyCache(Box<[Entry; PLACES]>);

impl ReplyCache {
    pub(crate) fn new() -> Self {
        Self(Box::new(
            [Entry {
                address: [0; 2],
                rest: 0,
                generation: 0,
                rule: Rule::Unknown,
            }; PLACES],
        ))
    }

    /// What chooses the owners of the sessions that the sender of `reply` answers for.
    #[inline]
    pub(crate) fn rule_of<A: Tabled>(
        &mut self,
        snapshot: &Snapshot,
        steering: Option<&Steering>,
        reply: &ReplyKey<A>,
    ) -> Rule {
        let address = reply.real.words();
        let rest = u64::from(reply.real_port) << 16
            | u64::from(reply.protocol.number()) << 8
            | size_of::<A>() as u64;
        let mixed = address[0] ^ address[1].rotate_left(32) ^ rest.rotate_left(40);
        let place =
            (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES_BITS)) as usize;
        let entry = &mut self.0[place];
        if entry.address != address || entry.rest != rest || entry.generation != snapshot.generation
        {
            *entry = Entry {
                address,
                rest,
                generation: snapshot.generation,
                rule: ask(snapshot, steering, reply),
            };
        }
        entry.rule
    }
}

#[cold]
fn ask<A: Tabled>(snapshot: &Snapshot, steering: Option<&Steering>, reply: &ReplyKey<A>) -> Rule {
    let address = reply.real.into();
    let Some(socket) = snapshot.nat_socket(reply.protocol, address, reply.real_port) else {
        return Rule::Unknown;
    };
    let mut flows = snapshot.virtual_sockets_of(socket, reply.real_port);
    match (socket.owner(), flows.next(), flows.next()) {
        (Some(Owner::Socket), None, _) => Rule::Socket,
        (Some(Owner::Flow), Some((address, port)), None) => {
            let part = A::of(address).zip(steering).map(|(address, steering)| {
                steering.part_of_destination(reply.protocol, (address, port))
            });
            part.map_or(Rule::Unknown, Rule::Flow)
        }
        _ => Rule::Unknown,
    }
}
