//! Weighted round robin: passes over the list with a falling threshold of weight.
//! The same sequence as IPVS `wrr`, which comes in bursts for heavy real servers.

use super::{Candidate, Cursor};
use crate::snapshot::id::RealId;

/// What the weights amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Greatest common divisor of the positive weights; 1 if there are none. The step between
    /// passes.
    step: u32,
    /// The first pass's threshold: the greatest weight less `step - 1`; 0 if no weight is positive.
    top: u32,
}

impl Plan {
    /// The plan for `candidates`.
    #[must_use]
    pub fn new(candidates: &[Candidate]) -> Self {
        let step = candidates
            .iter()
            .fold(0, |divisor, one| gcd(divisor, one.weight))
            .max(1);
        let greatest = candidates
            .iter()
            .map(|candidate| candidate.weight)
            .max()
            .unwrap_or(0);
        Self {
            step,
            top: greatest.saturating_sub(step - 1),
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The next one in this pass; at the list's end the next pass begins with a lower threshold.
pub(super) fn choose(cursor: &Cursor, plan: Plan, candidates: &[Candidate]) -> Option<RealId> {
    if plan.top == 0 {
        return None;
    }
    // The greatest weight reaches every threshold, so a whole pass always finds one.
    for _ in 0..2 {
        let next = cursor.next();
        let threshold = cursor.pass_weight();
        let found = (next..)
            .zip(candidates.get(next..).unwrap_or_default())
            .find(|(_, candidate)| candidate.weight >= threshold);
        if let Some((place, chosen)) = found {
            cursor.used(place, chosen.real);
            return Some(chosen.real);
        }
        cursor.rewind();
        let lower = threshold.saturating_sub(plan.step);
        cursor.set_pass_weight(if lower == 0 { plan.top } else { lower });
    }
    None
}

/// On any change of the list the pointer goes back to its head; the threshold is cut to the new
/// top, or moved onto the new step's grid.
///
/// A fresh service, filled one real server at a time as `ipvsadm -a` does, begins with threshold 1:
/// the first real server alone has step = weight, so top = 1, and no later one raises it.
pub(super) fn adapt(cursor: &Cursor, plan: Plan, fresh: bool) {
    cursor.rewind();
    let threshold = cursor.pass_weight();
    cursor.set_pass_weight(if fresh {
        plan.top.min(1)
    } else if threshold == 0 || threshold > plan.top {
        plan.top
    } else if plan.step > 1 {
        threshold / plan.step * plan.step + 1
    } else {
        threshold
    });
}
