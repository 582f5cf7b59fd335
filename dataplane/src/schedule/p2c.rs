//! Power of two choices: two real servers are drawn by weight, and the one with fewer sessions for
//! its weight takes the session (as Linux's `twos`, which Debian does not build).
//! Nobody else's load is looked at, so it costs the same in a list of any length.

use std::sync::Arc;

use super::candidate::{Candidate, Loads, Server, takes_sessions};
use super::hash::{candidate, stored};
use super::ramp::Shares;
use super::random::Random;
use super::rank::Measure;
use crate::id::RealId;

/// Draws for each of the two before the list is searched.
const DRAWS: usize = 8;

/// An alias table (Walker 1977, Vose 1991): a draw by weight in constant time.
#[derive(Debug, Clone)]
pub struct AliasTable {
    columns: Arc<[Column]>,
    /// The sum of all weights.
    height: u64,
}

/// A column is filled with its own real server up to a level, and with another one above.
#[derive(Debug, Clone, Copy)]
struct Column {
    level: u64,
    own: u16,
    other: u16,
}

impl AliasTable {
    /// Fills the columns. Whole numbers only: every weight counts for the number of columns, and
    /// every column holds the sum of all weights.
    pub(super) fn new(servers: &[Server]) -> Self {
        let open: Vec<(u16, u64)> = (0..usize::from(u16::MAX))
            .zip(servers)
            .filter(|(_, server)| server.candidate.weight > 0)
            .map(|(place, server)| (stored(place), u64::from(server.candidate.weight)))
            .collect();
        let height: u64 = open.iter().map(|(_, weight)| weight).sum();
        let count = open.len() as u64;
        let (mut low, mut high): (Vec<_>, Vec<_>) = open
            .into_iter()
            .map(|(place, weight)| (place, weight * count))
            .partition(|(_, part)| *part < height);
        let mut columns = Vec::new();
        let full = |(own, _)| Column {
            level: height,
            own,
            other: own,
        };
        while let Some((own, level)) = low.pop() {
            let Some((other, part)) = high.pop() else {
                columns.push(full((own, level)));
                continue;
            };
            columns.push(Column { level, own, other });
            let rest = (other, part - (height - level));
            if rest.1 < height {
                low.push(rest);
            } else {
                high.push(rest);
            }
        }
        columns.extend(high.into_iter().map(full));
        Self {
            columns: columns.into(),
            height,
        }
    }

    fn draw(&self, random: &mut Random) -> Option<u16> {
        let column = random.below(self.columns.len() as u64);
        let column = self.columns.get(usize::try_from(column).ok()?)?;
        let own = random.below(self.height) < column.level;
        Some(if own { column.own } else { column.other })
    }
}

/// The better of two that were drawn, the first if they are equal. If none of several draws meets
/// one that takes sessions: nobody here, and the list must be searched.
pub(super) fn choose(
    table: &AliasTable,
    candidates: &[Candidate],
    random: &mut Random,
    loads: &impl Loads,
    shares: Shares,
) -> Option<RealId> {
    let mut open = || {
        (0..DRAWS)
            .filter_map(|_| candidate(candidates, table.draw(random)?))
            .find(|one| takes_sessions(one, loads))
    };
    let drawn = [open(), open()];
    let better = Measure::Wlc.least(drawn.into_iter().flatten(), loads, shares);
    better.map(|one| one.real)
}

#[cfg(test)]
impl AliasTable {
    /// What each column holds of whom.
    pub(super) fn shares(&self) -> Vec<(u16, u64)> {
        self.columns
            .iter()
            .flat_map(|one| [(one.own, one.level), (one.other, self.height - one.level)])
            .collect()
    }
}
