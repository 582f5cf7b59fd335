//! What the schedulers by hash have in common: the numbers that they compute from addresses.
//! Every number here is IPVS's, so that a cluster of both kinds agrees. No table is kept here.

use std::net::IpAddr;

/// A table's places hold this where no real server is.
const NOBODY: u16 = u16::MAX;

/// A place in the list of candidates as a table stores it. Whoever is beyond the 65535th gets no
/// place in any table.
pub(super) fn stored(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(NOBODY)
}

/// The candidate that a table's place means.
pub(super) fn candidate(
    candidates: &[super::candidate::Candidate],
    stored: u16,
) -> Option<&super::candidate::Candidate> {
    if stored == NOBODY {
        return None;
    }
    candidates.get(usize::from(stored))
}

/// An address in 32 bits: IPv4 as it is, IPv6's words exclusive-ored.
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let word = |shift: u32| {
                u32::try_from((bits >> shift) & u128::from(u32::MAX)).unwrap_or_default()
            };
            word(96) ^ word(64) ^ word(32) ^ word(0)
        }
    }
}

/// Places in the tables of `sh` and `dh`.
pub(super) const PLACES: u8 = u8::MAX;

/// The multiplicative hash of `sh` and `dh`: the upper 8 bits of a product with the golden ratio.
pub(super) fn short(value: u32) -> u8 {
    let [first, ..] = value.wrapping_mul(0x61c8_8647).to_be_bytes();
    first
}
