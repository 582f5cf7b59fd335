//! Weighted round robin: passes over the list with a falling threshold of weight.
//! The same sequence as IPVS `wrr`, which comes in bursts for heavy real servers.

use super::candidate::{Candidate, Loads, Server, takes_sessions};
use super::cursor::Cursor;
use crate::id::RealId;

/// The passes over the list: the threshold of the first one, and the step from each to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passes {
    /// Greatest common divisor of the positive weights; 1 if there are none. The step between
    /// passes.
    step: u32,
    /// The first pass's threshold: the greatest weight less `step - 1`; 0 if no weight is positive.
    top: u32,
}

impl Passes {
    /// From the weights of `servers`.
    #[must_use]
    pub fn new(servers: &[Server]) -> Self {
        let weights = || servers.iter().map(|server| server.candidate.weight);
        let step = weights().fold(0, gcd).max(1);
        let greatest = weights().max().unwrap_or(0);
        Self {
            step,
            top: greatest.saturating_sub(step - 1),
        }
    }

    /// The threshold of the pass after the one with `threshold` in which a real server with
    /// weight `most` is chosen. The passes between them find none, and there may be billions.
    fn next_pass(self, threshold: u32, most: u32) -> u32 {
        let lower = match threshold.saturating_sub(self.step) {
            0 => self.top,
            lower => lower,
        };
        let passes = lower.saturating_sub(most).div_ceil(self.step);
        lower.saturating_sub(passes * self.step).max(1)
    }
}

/// Greatest common divisor; 0 has every divisor.
pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The next one in this pass; at the list's end the next pass begins with a lower threshold.
pub(super) fn choose(
    cursor: &Cursor,
    passes: Passes,
    candidates: &[Candidate],
    loads: &impl Loads,
) -> Option<RealId> {
    if passes.top == 0 {
        return None;
    }
    let search = |from: usize, threshold: u32| {
        let (place, chosen) = (from..)
            .zip(candidates.get(from..).unwrap_or_default())
            .find(|(_, one)| one.weight >= threshold && takes_sessions(one, loads))?;
        cursor.used(place, chosen.real);
        Some(chosen.real)
    };
    let (next, threshold) = (cursor.next(), cursor.pass_weight());
    if let Some(chosen) = search(next, threshold) {
        return Some(chosen);
    }
    let most = candidates
        .iter()
        .filter(|candidate| takes_sessions(candidate, loads))
        .map(|candidate| candidate.weight)
        .max();
    let Some(most) = most else {
        // IPVS gives up once everybody was asked with the lowest threshold, and stands there.
        if next == 0 || threshold > passes.step {
            cursor.set_pass_weight(passes.top);
        }
        return None;
    };
    let threshold = passes.next_pass(threshold, most);
    cursor.rewind();
    cursor.set_pass_weight(threshold);
    search(0, threshold)
}

/// On any change of the list the pointer goes back to its head; the threshold is cut to the new
/// top, or moved onto the new step's grid.
///
/// A fresh service, filled one real server at a time as `ipvsadm -a` does, begins with threshold 1:
/// the first real server alone has step = weight, so top = 1, and no later one raises it.
pub(super) fn adapt(cursor: &Cursor, passes: Passes, fresh: bool) {
    cursor.rewind();
    let threshold = cursor.pass_weight();
    cursor.set_pass_weight(if fresh {
        passes.top.min(1)
    } else if threshold == 0 || threshold > passes.top {
        passes.top
    } else if passes.step > 1 {
        threshold / passes.step * passes.step + 1
    } else {
        threshold
    });
}
