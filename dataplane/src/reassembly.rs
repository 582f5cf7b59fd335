//! Puts the fragments of an IP datagram together, since only the whole tells its ports.
//! Bounded in datagrams, bytes, fragments and time; it does not parse and does not send.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::flow::{Address as _, V4, V6};
use crate::time::Time;
use crate::verdict::DropReason;

mod chain;
#[cfg(test)]
mod tests;

use chain::{Chain, Link, Linked};

/// Datagrams under way at once.
const DATAGRAMS: usize = 1024;
/// Bytes of all of them (Linux: `ipfrag_high_thresh`).
const BYTES: usize = 4 << 20;
/// The part of both that one source may have. Of IPv6 that is a /64, of which one host may use all addresses
/// (RFC 4291 section 2.5.4).
const SHARE: usize = 4;
/// What a fragment takes besides its bytes, about.
const OVERHEAD_BYTES: usize = 64;
/// Fragments of one datagram: 65,535 bytes in fragments of the least IPv4 MTU that Linux allows.
const FRAGMENTS: usize = 128;
/// How long the others are waited for (Linux: `ipfrag_time`; RFC 8200 section 4.5 says 60 s).
const TIMEOUT_MS: u64 = 30_000;
/// The largest payload of an IP datagram.
const MAX_PAYLOAD: usize = 65_535;

/// What the fragments of one datagram have in common (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKey {
    /// Source, destination, identification, protocol.
    V4(V4, V4, u32, u8),
    /// Source, destination, identification.
    V6(V6, V6, u32),
}

/// One fragment, as parsed.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The IP header with everything in front of the fragment's payload, from the IP header on;
    /// kept from the first fragment.
    pub header: &'a [u8],
    /// The fragment's payload.
    pub payload: &'a [u8],
    /// Where the payload belongs, in bytes.
    pub offset: usize,
    /// Whether more fragments follow.
    pub more: bool,
}

/// A datagram put together.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The first fragment's headers.
    pub header: Vec<u8>,
    /// The whole payload.
    pub payload: Vec<u8>,
    /// The largest fragment's IP length: the size at which it is fragmented again (IPVS does so).
    pub largest_fragment: usize,
    /// How many frames it came in.
    pub frames: u32,
}

#[derive(Debug)]
struct Partial {
    key: DatagramKey,
    deadline: Time,
    header: Option<Vec<u8>>,
    /// What came, in the order of the datagram, without overlaps.
    pieces: Vec<(usize, Vec<u8>)>,
    /// How much of the payload came.
    received: usize,
    /// Known once the last fragment came.
    total: Option<usize>,
    largest_fragment: usize,
    frames: u32,
    /// What it costs of the budgets.
    bytes: usize,
    /// Its neighbours by age among all, and among its source's.
    by_age: Link,
    by_source: Link,
}

/// What one source has under way.
#[derive(Debug, Default)]
struct Source {
    datagrams: Chain,
    count: usize,
    bytes: usize,
}

/// One worker's datagrams under way.
#[derive(Debug)]
pub struct Reassembly {
    partials: Vec<Option<Partial>>,
    index: HashMap<DatagramKey, usize, RandomState>,
    sources: HashMap<IpAddr, Source, RandomState>,
    free: Vec<usize>,
    by_age: Chain,
    bytes: usize,
    /// Frames of datagrams that gave way since somebody asked.
    evicted: u32,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for the others.
    Waits,
    /// It was the last one missing.
    Complete(Datagram),
    /// It, and `frames - 1` others that waited, are to be dropped.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many frames, this one included.
        frames: u32,
    },
}

impl DatagramKey {
    fn source(&self) -> IpAddr {
        match *self {
            Self::V4(source, ..) => source.into(),
            Self::V6(source, ..) => source.network(64).into(),
        }
    }
}

impl Reassembly {
    /// Nothing under way; tables keyed by `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState) -> Self {
        Self {
            partials: Vec::new(),
            index: HashMap::with_hasher(hasher.clone()),
            sources: HashMap::with_hasher(hasher),
            free: Vec::new(),
            by_age: Chain::default(),
            bytes: 0,
            evicted: 0,
        }
    }

    /// Adds a fragment. Others may give way to it: see [`Self::take_evicted`].
    pub fn add(&mut self, key: DatagramKey, piece: Piece<'_>, now: Time) -> Outcome {
        let invalid = |frames| Outcome::Dropped {
            reason: DropReason::FragmentInvalid,
            frames,
        };
        let known = self.index.get(&key).copied();
        let cost = piece.header.len() + piece.payload.len() + OVERHEAD_BYTES;
        if let Some(partial) = known.and_then(|place| self.partial(place))
            && partial.repeats(&piece)
        {
            return invalid(1);
        }
        self.make_room(key.source(), cost, known.is_none());
        // Its own datagram may have been the one that gave way; then nothing is left to wait for.
        let place = match known {
            Some(place) if self.index.get(&key) == Some(&place) => place,
            Some(_) => {
                return Outcome::Dropped {
                    reason: DropReason::FragmentTableFull,
                    frames: 1,
                };
            }
            None => self.enter(key, now.plus_ms(TIMEOUT_MS)),
        };
        let Some(partial) = self.partials.get_mut(place).and_then(Option::as_mut) else {
            return invalid(1);
        };
        partial.frames += 1;
        partial.bytes += cost;
        let fits = partial.put(piece).is_some();
        let is_complete = partial.is_complete();
        self.bytes += cost;
        if let Some(source) = self.sources.get_mut(&key.source()) {
            source.bytes += cost;
        }
        if fits && !is_complete {
            return Outcome::Waits;
        }
        match self.remove(place) {
            Some(partial) if fits => Outcome::Complete(partial.finish()),
            // Overlaps are attacks (RFC 5722); the whole datagram goes.
            partial => invalid(partial.map_or(1, |partial| partial.frames)),
        }
    }

    /// How many waiting frames gave way to others since this was last asked.
    pub fn take_evicted(&mut self) -> u32 {
        std::mem::take(&mut self.evicted)
    }

    /// When `expire` next has something to forget.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        // All wait equally long.
        let oldest = self.by_age.first()?;
        self.partial(oldest).map(|partial| partial.deadline)
    }

    /// Forgets datagrams that took too long; returns how many frames had waited for them. `tell` gets
    /// header and payload of each first fragment among them: only the sender of such a one is told
    /// (RFC 1122 section 3.3.2).
    pub fn expire(&mut self, now: Time, mut tell: impl FnMut(DatagramKey, &[u8], &[u8])) -> u32 {
        let mut frames = 0;
        while let Some(place) = self.by_age.first() {
            // All wait equally long, so the oldest is the first to be due.
            if self
                .partial(place)
                .is_some_and(|partial| partial.deadline > now)
            {
                break;
            }
            let Some(partial) = self.remove(place) else {
                break;
            };
            frames += partial.frames;
            if let (Some(header), Some((0, payload))) = (&partial.header, partial.pieces.first()) {
                tell(partial.key, header, payload);
            }
        }
        frames
    }

    fn partial(&self, place: usize) -> Option<&Partial> {
        self.partials.get(place)?.as_ref()
    }

    /// Lets the oldest go until `cost` more bytes fit, and one more datagram if `is_new`: a source's
    /// own where it has more than its share, so that nobody takes all of the table.
    fn make_room(&mut self, source: IpAddr, cost: usize, is_new: bool) {
        let more = usize::from(is_new);
        loop {
            let own = self.sources.get(&source).filter(|own| {
                own.count + more > DATAGRAMS / SHARE || own.bytes + cost > BYTES / SHARE
            });
            let is_full = self.index.len() + more > DATAGRAMS || self.bytes + cost > BYTES;
            let oldest = match own {
                Some(own) => own.datagrams.first(),
                None if is_full => self.by_age.first(),
                None => None,
            };
            let Some(gone) = oldest.and_then(|place| self.remove(place)) else {
                return;
            };
            self.evicted += gone.frames;
        }
    }

    fn enter(&mut self, key: DatagramKey, deadline: Time) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.partials.push(None);
            self.partials.len() - 1
        });
        if let Some(slot) = self.partials.get_mut(place) {
            *slot = Some(Partial::new(key, deadline));
        }
        self.index.insert(key, place);
        self.by_age.push(&mut self.partials, place, by_age);
        let source = self.sources.entry(key.source()).or_default();
        source.count += 1;
        source.datagrams.push(&mut self.partials, place, by_source);
        place
    }

    fn remove(&mut self, place: usize) -> Option<Partial> {
        self.by_age.unlink(&mut self.partials, place, by_age);
        let key = self.partial(place)?.key;
        if let Some(source) = self.sources.get_mut(&key.source()) {
            source
                .datagrams
                .unlink(&mut self.partials, place, by_source);
        }
        let partial = self.partials.get_mut(place)?.take()?;
        self.free.push(place);
        self.index.remove(&key);
        self.bytes -= partial.bytes;
        if let Some(source) = self.sources.get_mut(&key.source()) {
            source.count -= 1;
            source.bytes -= partial.bytes;
            if source.count == 0 {
                self.sources.remove(&key.source());
            }
        }
        Some(partial)
    }
}

fn by_age(partial: &mut Partial) -> &mut Link {
    &mut partial.by_age
}

fn by_source(partial: &mut Partial) -> &mut Link {
    &mut partial.by_source
}

impl Linked for Vec<Option<Partial>> {
    type Item = Partial;

    fn item(&mut self, place: usize) -> Option<&mut Partial> {
        self.get_mut(place)?.as_mut()
    }
}

impl Partial {
    fn new(key: DatagramKey, deadline: Time) -> Self {
        Self {
            key,
            deadline,
            header: None,
            pieces: Vec::new(),
            received: 0,
            total: None,
            largest_fragment: 0,
            frames: 0,
            bytes: 0,
            by_age: Link::default(),
            by_source: Link::default(),
        }
    }

    /// Whether the piece was received before, byte for byte: networks repeat frames, and that is
    /// no attack (RFC 8200 section 4.5).
    fn repeats(&self, piece: &Piece<'_>) -> bool {
        let end = piece.offset + piece.payload.len();
        !piece.payload.is_empty()
            && (piece.more || self.total == Some(end))
            && self
                .pieces
                .iter()
                .any(|(offset, bytes)| *offset == piece.offset && bytes == piece.payload)
    }

    /// Enters the piece; `None` if it does not fit.
    fn put(&mut self, piece: Piece<'_>) -> Option<()> {
        let (start, end) = (piece.offset, piece.offset + piece.payload.len());
        let misaligned = piece.more && !piece.payload.len().is_multiple_of(8);
        if end > MAX_PAYLOAD || misaligned || piece.payload.is_empty() {
            return None;
        }
        if self
            .total
            .is_some_and(|total| end > total || (!piece.more && end != total))
        {
            return None;
        }
        let place = self.pieces.partition_point(|(from, _)| *from < start);
        let before = place
            .checked_sub(1)
            .and_then(|before| self.pieces.get(before));
        let after = self.pieces.get(place);
        if before.is_some_and(|(from, bytes)| from + bytes.len() > start)
            || after.is_some_and(|(from, _)| *from < end)
        {
            return None;
        }
        if !piece.more {
            if after.is_some() {
                return None;
            }
            self.total = Some(end);
        }
        if self.pieces.len() >= FRAGMENTS {
            return None;
        }
        self.pieces.insert(place, (start, piece.payload.to_vec()));
        self.received += piece.payload.len();
        if start == 0 {
            self.header = Some(piece.header.to_vec());
        }
        self.largest_fragment = self
            .largest_fragment
            .max(piece.header.len() + piece.payload.len());
        Some(())
    }

    /// Without overlaps, as many bytes as there are in all leave no gap.
    fn is_complete(&self) -> bool {
        self.header.is_some() && self.total == Some(self.received)
    }

    fn finish(self) -> Datagram {
        let mut payload = Vec::with_capacity(self.received);
        for (_, bytes) in &self.pieces {
            payload.extend(bytes);
        }
        Datagram {
            header: self.header.unwrap_or_default(),
            payload,
            largest_fragment: self.largest_fragment,
            frames: self.frames,
        }
    }
}
