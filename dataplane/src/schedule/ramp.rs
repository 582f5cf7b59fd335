//! Slow start: the share of a real server that has just come grows until it is its weight.
//! When it came is the builder's to say, and what time it is the worker's; no clock is read here.

use super::candidate::{Candidate, Load, Loads};
use super::random::{Random, mix};
use crate::id::RealId;
use crate::time::Time;

/// A share is counted in this many parts of the weight, so that a weight of 1 can grow too. The
/// first share is one part.
const WHOLE: u64 = 256;

/// How shares grow in one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ramp {
    /// 0 is at once.
    duration_ms: u32,
    /// When the last of its present real servers has its whole share.
    until: Time,
}

impl Ramp {
    /// Each of `candidates` has its whole share `duration_ms` after it came.
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

    /// The shares at `now`, which move in steps: one each time that a share can have grown a part.
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

/// The shares at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    ramp: Ramp,
    moment: Time,
}

impl Shares {
    /// The moment.
    pub(super) fn moment(self) -> Time {
        self.moment
    }

    /// The shares at another moment.
    pub(super) fn of(self, moment: Time) -> Self {
        Self { moment, ..self }
    }

    /// Whether any share is still to grow.
    pub(super) fn grow(self) -> bool {
        self.moment < self.ramp.until
    }

    /// How many of 256 parts of its weight a real server has.
    pub(super) fn parts(self, candidate: &Candidate) -> u64 {
        let duration = u64::from(self.ramp.duration_ms);
        match candidate.since.map(|came| self.moment.ms_since(came)) {
            Some(age) if age < duration => (age * WHOLE / duration).max(1),
            _ => WHOLE,
        }
    }

    /// Its weight, in those parts.
    pub(super) fn weight(self, candidate: &Candidate) -> u64 {
        u64::from(candidate.weight) * self.parts(candidate)
    }
}

/// Real servers as a scheduler sees them that gives turns: one whose share grows is passed over as
/// many times as its share lacks parts, by chance, but always or never within one choice.
pub(super) struct Gate<'l, L> {
    loads: &'l L,
    /// The shares, and a random number; `None` lets everybody pass.
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

/// What `choose` says when it sees those real servers only whose turn may be taken at present, or
/// all of them if it finds nobody.
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
