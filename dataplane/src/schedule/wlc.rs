//! Weighted least connection: the real server with the fewest sessions for its weight (IPVS `wlc`).
//! The comparison is `rank.rs`'s.

use super::candidate::Load;

/// What a real server's sessions cost: IPVS counts an active one 256 times and adds the total of
/// all (Linux 6.1.192 and later stable kernels).
pub(super) const fn cost(load: Load) -> u64 {
    load.active * 257 + load.inactive
}
