//! Shortest expected delay: the real server that would have the fewest active sessions for its
//! weight if it took this one (IPVS `sed`). Inactive sessions do not count.

use super::candidate::Load;

/// What this session would make of a real server's active ones.
pub(super) const fn cost(load: Load) -> u64 {
    load.active + 1
}
