//! The Internet checksum: RFC 1071 for whole headers, RFC 1624 for changes. All sums live here,
//! SCTP's in `checksum/crc32c.rs`. No field offset of any protocol belongs here.

use crate::wire::address::{V4, V6};

mod crc32c;
#[cfg(test)]
mod tests;

pub use crc32c::{crc32c, update_crc32c};

/// A one's complement sum that is still being added up.
///
/// 64 bits hold the sum of 2^32 words without losing a carry, so it is folded once, at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of `bytes`, an odd last byte counting as the high half of a word.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::ZERO.bytes(bytes)
    }

    /// The pseudo header of RFC 9293 section 3.1 and RFC 768.
    #[inline]
    #[must_use]
    pub fn pseudo_v4(source: V4, destination: V4, protocol: u8, length: usize) -> Self {
        Self::ZERO
            .u32(source.0)
            .u32(destination.0)
            .u32(u32::from(protocol))
            .u64(length as u64)
    }

    /// The pseudo header of RFC 8200 section 8.1.
    #[inline]
    #[must_use]
    pub fn pseudo_v6(source: V6, destination: V6, protocol: u8, length: usize) -> Self {
        Self::ZERO
            .v6(source)
            .v6(destination)
            .u32(u32::from(protocol))
            .u64(length as u64)
    }

    /// With `bytes` added. Only the last piece of a packet may have an odd length.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // Words of 32 bits: 2^16 and 2^32 are both 1 modulo 0xffff, so folding later gives the same.
        let (words, rest) = bytes.as_chunks::<4>();
        let sum = words.iter().fold(self.0, |sum, word| {
            sum + u64::from(u32::from_be_bytes(*word))
        });
        let last = match *rest {
            [a] => u32::from_be_bytes([a, 0, 0, 0]),
            [a, b] => u32::from_be_bytes([a, b, 0, 0]),
            [a, b, c] => u32::from_be_bytes([a, b, c, 0]),
            _ => 0,
        };
        Self(sum + u64::from(last))
    }

    /// With a 16-bit word added.
    #[inline]
    #[must_use]
    pub const fn u16(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// With two 16-bit words added.
    #[inline]
    #[must_use]
    pub const fn u32(self, words: u32) -> Self {
        Self(self.0 + words as u64)
    }

    /// With four 16-bit words added.
    #[inline]
    #[must_use]
    pub const fn u64(self, words: u64) -> Self {
        Self(self.0 + (words >> 32) + (words & 0xffff_ffff))
    }

    /// With an IPv6 address added.
    #[inline]
    #[must_use]
    pub const fn v6(self, address: V6) -> Self {
        let V6([high, low]) = address;
        self.u64(high).u64(low)
    }

    /// The sum in 16 bits. 0xffff for data with a correct checksum in it.
    #[inline]
    #[must_use]
    pub const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// The checksum to write: the complement of the sum.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    /// The checksum to write into a UDP header, where 0 means "none" and so is sent as 0xffff
    /// (RFC 768).
    #[inline]
    #[must_use]
    pub const fn finish_udp(self) -> u16 {
        not_zero(self.finish())
    }

    /// Whether the data summed up, its checksum field included, is intact.
    #[inline]
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// Whether an IPv4 header without options sums up to all ones.
///
/// The words' bytes may be in any order, as long as it is the same for all of them (RFC 1071 section
/// 2 (B)): they are added as the machine loads them.
#[inline]
#[must_use]
pub fn is_intact(header: &[u8; 20]) -> bool {
    let ([first, second], last) = header.as_chunks::<8>() else {
        return false;
    };
    let last = last
        .first_chunk()
        .map_or(0, |last| u32::from_ne_bytes(*last));
    let sum = add(u64::from_ne_bytes(*first), u64::from_ne_bytes(*second));
    fold(add(sum, u64::from(last))) == 0xffff
}

/// The one's complement sum of both.
#[inline]
const fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// What a change of fields adds to a checksum over them. NAT knows it once per session and applies
/// it with one addition per packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// And a 16-bit field (such as a port) changed from `old` to `new`.
    #[inline]
    #[must_use]
    pub const fn u16(self, old: u16, new: u16) -> Self {
        // RFC 1624 equation 3, without HC: ~m + m'.
        Self(fold(self.0 as u64 + !old as u64 + new as u64))
    }

    /// And a 32-bit field changed.
    #[inline]
    #[must_use]
    pub const fn u32(self, old: u32, new: u32) -> Self {
        Self(fold(self.0 as u64 + !old as u64 + new as u64))
    }

    /// And an IPv4 address changed.
    #[inline]
    #[must_use]
    pub const fn v4(self, old: V4, new: V4) -> Self {
        self.u32(old.0, new.0)
    }

    /// And an IPv6 address changed.
    #[inline]
    #[must_use]
    pub const fn v6(self, old: V6, new: V6) -> Self {
        let complement = V6([!old.0[0], !old.0[1]]);
        Self(Sum(self.0 as u64).v6(complement).v6(new).fold())
    }

    /// And the changes of `other`.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(fold(self.0 as u64 + other.0 as u64))
    }

    /// The change back.
    #[inline]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self(!self.0)
    }

    /// The checksum after the change (RFC 1624 equation 3: HC' = ~(~HC + ~m + m')).
    #[inline]
    #[must_use]
    pub const fn apply(self, check: u16) -> u16 {
        !fold(!check as u64 + self.0 as u64)
    }

    /// The checksum of a UDP header after the change: "none" stays none, and none is never made.
    #[inline]
    #[must_use]
    pub const fn apply_udp(self, check: u16) -> u16 {
        if check == 0 {
            0
        } else {
            not_zero(self.apply(check))
        }
    }
}

/// `check` after a 16-bit field under it changed from `old` to `new`.
#[inline]
#[must_use]
pub const fn update_u16(check: u16, old: u16, new: u16) -> u16 {
    Delta::NONE.u16(old, new).apply(check)
}

/// `check` after a 32-bit field under it changed from `old` to `new`.
#[inline]
#[must_use]
pub const fn update_u32(check: u16, old: u32, new: u32) -> u16 {
    Delta::NONE.u32(old, new).apply(check)
}

/// `check` after an IPv6 address under it changed from `old` to `new`.
#[inline]
#[must_use]
pub const fn update_v6(check: u16, old: V6, new: V6) -> u16 {
    Delta::NONE.v6(old, new).apply(check)
}

#[inline]
const fn not_zero(check: u16) -> u16 {
    if check == 0 { 0xffff } else { check }
}

/// Folds the carries back in, without a branch. A number and the same with its halves exchanged have, in the upper
/// half of their sum, the sum of both halves with its carry.
#[inline]
const fn fold(sum: u64) -> u16 {
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}
