//! What the schedulers by load compare: a real server's cost in proportion to its weight.
//! The best one is searched for in the list here; `ranking.rs` keeps it where the list is long.

use super::candidate::{Candidate, Loads, takes_sessions};
use super::ramp::Shares;
use super::{lc, nq, sed, wlc};

/// A cost and a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) cost: u64,
    pub(super) weight: u64,
}

impl Rank {
    /// Of whoever takes no sessions: worse than anybody who does, since it costs something and
    /// weighs nothing.
    pub(super) const CLOSED: Self = Self { cost: 1, weight: 0 };

    /// Whether the cost is the lesser one, each in proportion to its weight. Without a division, as
    /// in IPVS: `cost / weight < other cost / other weight`.
    #[inline]
    pub(super) fn is_less(self, other: Self) -> bool {
        u128::from(self.cost) * u128::from(other.weight)
            < u128::from(other.cost) * u128::from(self.weight)
    }
}

/// The schedulers by load, each with a cost of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Lc,
    Wlc,
    Sed,
    Nq,
}

impl Measure {
    /// Where a real server stands.
    #[inline]
    pub(super) fn rank(self, candidate: &Candidate, loads: &impl Loads, shares: Shares) -> Rank {
        if !takes_sessions(candidate, loads) {
            return Rank::CLOSED;
        }
        let load = loads.load(candidate.real);
        let weight = match self {
            Self::Lc => shares.parts(candidate),
            Self::Wlc | Self::Sed | Self::Nq => shares.weight(candidate),
        };
        let cost = match self {
            Self::Lc => lc::cost(load),
            Self::Wlc => wlc::cost(load),
            Self::Sed => sed::cost(load),
            Self::Nq => nq::cost(load),
        };
        Rank { cost, weight }
    }

    /// The first one in the list with the least cost for its weight.
    pub(super) fn least<'c>(
        self,
        candidates: impl IntoIterator<Item = &'c Candidate>,
        loads: &impl Loads,
        shares: Shares,
    ) -> Option<&'c Candidate> {
        let mut least: Option<(&Candidate, Rank)> = None;
        for candidate in candidates {
            let rank = self.rank(candidate, loads, shares);
            if rank != Rank::CLOSED && least.is_none_or(|(_, other)| rank.is_less(other)) {
                least = Some((candidate, rank));
            }
        }
        least.map(|(candidate, _)| candidate)
    }
}
