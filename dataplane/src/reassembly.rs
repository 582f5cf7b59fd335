//! Puts the fragments of an IP datagram together, since only the whole tells its ports.
//! Bounded in datagrams, bytes, fragments and time; it does not parse and does not send.

use crate::flow::{V4, V6};
use crate::time::Time;
use crate::verdict::DropReason;

/// Datagrams under way at once.
const DATAGRAMS: usize = 64;
/// Fragments of one datagram: 65,535 bytes in fragments of the least IPv4 MTU that Linux allows.
const FRAGMENTS: usize = 128;
/// How long the others are waited for (Linux: `ipfrag_time`; RFC 8200 section 4.5 says 60 s).
const TIMEOUT_MS: u64 = 30_000;
/// The largest payload of an IP datagram.
const MAX_PAYLOAD: usize = 65_535;

/// What the fragments of one datagram have in common (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    payload: Vec<u8>,
    /// Byte ranges received, in order, neither overlapping nor touching.
    ranges: Vec<(usize, usize)>,
    /// Known once the last fragment came.
    total: Option<usize>,
    largest_fragment: usize,
    frames: u32,
}

/// One worker's datagrams under way.
#[derive(Debug, Default)]
pub struct Reassembly {
    partials: Vec<Partial>,
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

impl Reassembly {
    /// Adds a fragment.
    pub fn add(&mut self, key: DatagramKey, piece: Piece<'_>, now: Time) -> Outcome {
        let place = self.partials.iter().position(|partial| partial.key == key);
        let place = match place {
            Some(place) => place,
            None if self.partials.len() < DATAGRAMS => {
                self.partials
                    .push(Partial::new(key, now.plus_ms(TIMEOUT_MS)));
                self.partials.len() - 1
            }
            None => {
                return Outcome::Dropped {
                    reason: DropReason::FragmentTableFull,
                    frames: 1,
                };
            }
        };
        let Some(partial) = self.partials.get_mut(place) else {
            return Outcome::Waits;
        };
        if partial.repeats(&piece) {
            return Outcome::Dropped {
                reason: DropReason::FragmentInvalid,
                frames: 1,
            };
        }
        partial.frames += 1;
        if partial.put(piece).is_none() {
            // Overlaps are attacks (RFC 5722); the whole datagram goes.
            let frames = self.partials.swap_remove(place).frames;
            return Outcome::Dropped {
                reason: DropReason::FragmentInvalid,
                frames,
            };
        }
        if !partial.is_complete() {
            return Outcome::Waits;
        }
        let partial = self.partials.swap_remove(place);
        Outcome::Complete(Datagram {
            header: partial.header.unwrap_or_default(),
            payload: partial.payload,
            largest_fragment: partial.largest_fragment,
            frames: partial.frames,
        })
    }

    /// When `expire` next has something to forget.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.partials.iter().map(|partial| partial.deadline).min()
    }

    /// Forgets datagrams that took too long; returns how many frames had waited for them.
    pub fn expire(&mut self, now: Time) -> u32 {
        let mut frames = 0;
        self.partials.retain(|partial| {
            let keep = partial.deadline > now;
            if !keep {
                frames += partial.frames;
            }
            keep
        });
        frames
    }
}

impl Partial {
    fn new(key: DatagramKey, deadline: Time) -> Self {
        Self {
            key,
            deadline,
            header: None,
            payload: Vec::new(),
            ranges: Vec::new(),
            total: None,
            largest_fragment: 0,
            frames: 0,
        }
    }

    /// Whether the piece was received before, byte for byte: networks repeat frames, and that is
    /// no attack (RFC 8200 section 4.5).
    fn repeats(&self, piece: &Piece<'_>) -> bool {
        let (start, end) = (piece.offset, piece.offset + piece.payload.len());
        !piece.payload.is_empty()
            && (piece.more || self.total == Some(end))
            && self
                .ranges
                .iter()
                .any(|&(from, to)| from <= start && end <= to)
            && self.payload.get(start..end) == Some(piece.payload)
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
        let place = self.ranges.partition_point(|(from, _)| *from < start);
        let before = place
            .checked_sub(1)
            .and_then(|before| self.ranges.get(before))
            .copied();
        let after = self.ranges.get(place).copied();
        if before.is_some_and(|(_, to)| to > start) || after.is_some_and(|(from, _)| from < end) {
            return None;
        }
        if !piece.more {
            if after.is_some() {
                return None;
            }
            self.total = Some(end);
        }
        if self.ranges.len() >= FRAGMENTS {
            return None;
        }
        self.ranges.insert(place, (start, end));
        self.merge(place);
        if self.payload.len() < end {
            self.payload.resize(end, 0);
        }
        self.payload
            .get_mut(start..end)?
            .copy_from_slice(piece.payload);
        if start == 0 {
            self.header = Some(piece.header.to_vec());
        }
        self.largest_fragment = self
            .largest_fragment
            .max(piece.header.len() + piece.payload.len());
        Some(())
    }

    /// Joins the range at `place` with its neighbours where they touch.
    fn merge(&mut self, place: usize) {
        for left in [place, place.wrapping_sub(1)] {
            let right = left.wrapping_add(1);
            if let (Some(&(from, middle)), Some(&(next, to))) =
                (self.ranges.get(left), self.ranges.get(right))
                && middle == next
            {
                self.ranges.remove(right);
                if let Some(range) = self.ranges.get_mut(left) {
                    *range = (from, to);
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.header.is_some() && self.total.is_some_and(|total| self.ranges == [(0, total)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: DatagramKey = DatagramKey::V4(V4(1), V4(2), 3, 17);

    fn piece(payload: &[u8], offset: usize, more: bool) -> Piece<'_> {
        Piece {
            header: b"header",
            payload,
            offset,
            more,
        }
    }

    #[test]
    fn fragments_in_any_order_make_the_datagram() {
        let pieces = [
            (&b"aaaaaaaa"[..], 0, true),
            (b"bbbbbbbbcccccccc", 8, true),
            (b"dd", 24, false),
        ];
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut table = Reassembly::default();
            let mut outcome = Outcome::Waits;
            for index in order {
                assert_eq!(outcome, Outcome::Waits);
                let (payload, offset, more) = pieces[index];
                outcome = table.add(KEY, piece(payload, offset, more), Time::default());
            }
            let Outcome::Complete(datagram) = outcome else {
                panic!("{order:?}: {outcome:?}")
            };
            assert_eq!(datagram.payload, b"aaaaaaaabbbbbbbbccccccccdd");
            assert_eq!((datagram.frames, datagram.largest_fragment), (3, 22));
        }
    }

    #[test]
    fn overlaps_and_lies_about_the_end_drop_the_whole_datagram() {
        let bad = [
            piece(b"xxxxxxxy", 0, true),
            piece(b"xxxxxxxx", 0, false),
            piece(b"yyyyyyyyyyyyyyyy", 0, true),
            piece(b"z", 8, true),
            piece(b"", 16, false),
            piece(b"wwwwwwww", 65_528, true),
        ];
        for case in bad {
            let mut table = Reassembly::default();
            assert_eq!(
                table.add(KEY, piece(b"xxxxxxxx", 0, true), Time::default()),
                Outcome::Waits
            );
            let outcome = table.add(KEY, case, Time::default());
            let dropped = Outcome::Dropped {
                reason: DropReason::FragmentInvalid,
                frames: 2,
            };
            assert_eq!(outcome, dropped, "{case:?}");
            assert!(table.partials.is_empty());
        }
    }

    #[test]
    fn a_piece_that_the_network_repeats_is_dropped_alone() {
        let mut table = Reassembly::default();
        let dropped = Outcome::Dropped {
            reason: DropReason::FragmentInvalid,
            frames: 1,
        };
        let now = Time::default();
        for case in [piece(b"z", 16, false), piece(b"aaaaaaaa", 0, true)] {
            assert_eq!(table.add(KEY, case, now), Outcome::Waits);
            assert_eq!(table.add(KEY, case, now), dropped);
        }
        let Outcome::Complete(datagram) = table.add(KEY, piece(b"bbbbbbbb", 8, true), now) else {
            panic!("not complete")
        };
        assert_eq!(datagram.payload, b"aaaaaaaabbbbbbbbz");
        assert_eq!(datagram.frames, 3);
    }

    #[test]
    fn a_lone_fragment_is_forgotten_in_time() {
        let mut table = Reassembly::default();
        table.add(KEY, piece(b"xxxxxxxx", 8, true), Time::default());
        assert_eq!(table.expire(Time::from_ms(29_999)), 0);
        assert_eq!(table.expire(Time::from_ms(30_000)), 1);
        assert!(table.partials.is_empty());
    }

    #[test]
    fn the_number_of_datagrams_is_bounded() {
        let mut table = Reassembly::default();
        for id in 0..u32::try_from(DATAGRAMS).unwrap() {
            let key = DatagramKey::V4(V4(1), V4(2), id, 17);
            assert_eq!(
                table.add(key, piece(b"xxxxxxxx", 0, true), Time::default()),
                Outcome::Waits
            );
        }
        let full = Outcome::Dropped {
            reason: DropReason::FragmentTableFull,
            frames: 1,
        };
        let other = DatagramKey::V4(V4(9), V4(2), 3, 17);
        assert_eq!(
            table.add(other, piece(b"xxxxxxxx", 0, true), Time::default()),
            full
        );
    }
}
