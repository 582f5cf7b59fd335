//! Least connection: the real server with the fewest sessions, active ones counting more.
//! Weights above 0 are ignored (IPVS `lc`); the comparison is `rank.rs`'s.

use super::candidate::Load;
use super::wlc;

/// As with `wlc`.
pub(super) const fn cost(load: Load) -> u64 {
    wlc::cost(load)
}
