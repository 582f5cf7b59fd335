//! Slow start: the share of a new real server grows until it equals its weight.
//! The builder says when a real server was added, and the worker what time it is; no clock is read here.

use super::candidate::{Candidate, Load, Loads};
use super::random::{Random, mix};
use crate::id::RealId;
use crate::time::Time;

/// A share is counted in so many parts of the weight, so that the share of a weight of 1 can grow too. It begins with
/// one part.
const WHOLE: u64 = 256;

/// How shares grow in one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ramp {
    /// 0 is without slow start.
    duration_ms: u32,
    /// When the last of its present real servers has its full share.
    until: Time,
}

impl Ramp {
    /// Each of `candidates` has its full share `duration_ms` after it was added.
    #[must_use]
    pub fn new(duration_ms: u32, candidates: &[Candidate]) -> Self {
        let came = candidates.iter().filter_map(|one| one.since).max();
        Self {
            duration_ms,
            until: came
                .filter(|_| duration_ms > 0)
                .map_or(Time::default(), |came| came.plus_ms(duration_ms.into())),
        }
    }

    /// Whether the shares grow for as long as those of `other`.
    #[must_use]
    pub fn has_same_duration(self, other: Self) -> bool {
        self.duration_ms == other.duration_ms
    }

    /// The shares at `now`. They grow in steps of one part.
    pub(super) fn at(self, now: Time) -> Shares {
        let moment = if self.until == Time::default() {
            now
        } else {
            let step = (u64::from(self.duration_ms) / WHOLE).max(1);
            Time::from_ms(now.as_ms() / step * step)
        };
        Shares { ramp: self, moment }
    }
}

/// The shares at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    ramp: Ramp,
    moment: Time,
}

impl Shares {
    /// The time.
    pub(super) fn moment(self) -> Time {
        self.moment
    }

    /// The shares at another time.
    pub(super) fn of(self, moment: Time) -> Self {
        Self { moment, ..self }
    }

    /// Whether any share still grows.
    pub(super) fn grow(self) -> bool {
        self.moment < self.ramp.until
    }

    /// A real server's share of its weight, in parts of 256.
    pub(super) fn parts(self, candidate: &Candidate) -> u64 {
        let duration = u64::from(self.ramp.duration_ms);
        match candidate.since.map(|came| self.moment.ms_since(came)) {
            Some(age) if age < duration => (age * WHOLE / duration).max(1),
            _ => WHOLE,
        }
    }

    /// Its weight times that share.
    pub(super) fn weight(self, candidate: &Candidate) -> u64 {
        u64::from(candidate.weight) * self.parts(candidate)
    }
}

/// The loads that a turn-based scheduler is given during slow start. A real server with a partial share appears
/// unavailable with the probability of the missing part. The result for one real server is the same throughout one
/// choice.
pub(super) struct Gate<'l, L> {
    loads: &'l L,
    /// The shares, and a random number; `None` hides no real server.
    shares: Option<(Shares, u64)>,
}

impl<L: Loads> Gate<'_, L> {
    fn admits(&self, candidate: &Candidate) -> bool {
        self.shares.is_none_or(|(shares, random)| {
            mix(random ^ u64::from(candidate.real.0)) % WHOLE < shares.parts(candidate)
        })
    }
}

impl<L: Loads> Loads for Gate<'_, L> {
    fn load(&self, real: RealId) -> Load {
        self.loads.load(real)
    }

    #[inline]
    fn is_overloaded(&self, candidate: &Candidate) -> bool {
        self.loads.is_overloaded(candidate) || !self.admits(candidate)
    }
}

/// The result of `choose` among the real servers that are not hidden, or among all of them if it finds none.
pub(super) fn in_turn<L: Loads>(
    loads: &L,
    shares: Shares,
    random: &mut Random,
    mut choose: impl FnMut(&Gate<'_, L>, &mut Random) -> Option<RealId>,
) -> Option<RealId> {
    if shares.grow() {
        let shares = Some((shares, random.next_u64()));
        let chosen = choose(&Gate { loads, shares }, random);
        if chosen.is_some() {
            return chosen;
        }
    }
    let shares = None;
    choose(&Gate { loads, shares }, random)
}
