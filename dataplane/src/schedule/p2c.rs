//! Power of two choices: two real servers are drawn at random by weight, and the one with fewer sessions for its weight
//! gets the session (as in Linux's `twos`, which Debian does not build).
//! The loads of the others are not read, so the cost does not depend on the length of the list.

use std::sync::Arc;

use super::candidate::{Candidate, Loads, Server, takes_sessions};
use super::hash::{candidate, stored};
use super::ramp::Shares;
use super::random::Random;
use super::rank::Measure;
use crate::id::RealId;

/// How often each of the two is drawn before the list is searched instead.
const DRAWS: usize = 8;

/// An alias table (Walker 1977, Vose 1991): draws by weight in constant time.
#[derive(Debug, Clone)]
pub struct AliasTable {
    columns: Arc<[Column]>,
    /// The sum of all weights.
    height: u64,
}

/// A column belongs to its own real server up to `level`, and to another one above.
#[derive(Debug, Clone, Copy)]
struct Column {
    level: u64,
    own: u16,
    other: u16,
}

impl AliasTable {
    /// Fills the columns. To use whole numbers only, each weight is multiplied by the number of columns; then each
    /// column holds the sum of all weights.
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

/// The less loaded of two drawn real servers, the first if they are equal. `None` if no draw finds one that is
/// available; then the list must be searched.
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
    /// How much of each column belongs to which real server.
    pub(super) fn shares(&self) -> Vec<(u16, u64)> {
        self.columns
            .iter()
            .flat_map(|one| [(one.own, one.level), (one.other, self.height - one.level)])
            .collect()
    }
}
