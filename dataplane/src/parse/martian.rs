//! Addresses that no packet from outside has, wherever it is.
//! Which addresses are ours, and so martian as a source here (LAND), is not known here.

use crate::flow::{Addresses, V4, V6};
use crate::verdict::DropReason;
use crate::wire::ipv6;

impl Addresses {
    /// Why these addresses cannot be those of a packet to be balanced, if they cannot.
    #[inline]
    #[must_use]
    pub const fn martian(&self) -> Option<DropReason> {
        let (source, destination) = match *self {
            Self::V4 {
                source,
                destination,
            } => (
                is_martian_source_v4(source),
                is_martian_destination_v4(destination),
            ),
            Self::V6 {
                source,
                destination,
            } => (
                is_martian_source_v6(source),
                is_martian_destination_v6(destination),
            ),
        };
        if source {
            Some(DropReason::MartianSource)
        } else if destination {
            Some(DropReason::MartianDestination)
        } else {
            None
        }
    }
}

const LOOPBACK_V6: V6 = V6([0, 1]);
const UNSPECIFIED_V6: V6 = V6([0, 0]);

/// Whether no packet comes from here: this network, loopback, multicast, broadcast (RFC 1812
/// section 5.3.7). 240.0.0.0/4 is let through, as Linux does.
#[inline]
#[must_use]
pub const fn is_martian_source_v4(address: V4) -> bool {
    is_martian_destination_v4(address) || address.0 >> 28 == 0xe || address.0 == u32::MAX
}

/// Whether no packet goes here from outside: this network, loopback.
#[inline]
#[must_use]
pub const fn is_martian_destination_v4(address: V4) -> bool {
    matches!(address.0 >> 24, 0 | 127)
}

/// Whether no packet comes from here: unspecified, loopback, multicast, an IPv4 address in disguise
/// (which Linux drops too, since it would pass for 127.0.0.1 behind us). Unspecified is right in
/// neighbour discovery (RFC 4861 section 4.3).
#[inline]
#[must_use]
pub const fn is_martian_source_v6(address: V6) -> bool {
    let V6([high, low]) = address;
    is_martian_destination_v6(address)
        || ipv6::is_multicast(address)
        || (high == 0 && low >> 32 == 0xffff)
}

/// Whether no packet goes here from outside: unspecified, loopback.
#[inline]
#[must_use]
pub const fn is_martian_destination_v6(address: V6) -> bool {
    let V6([high, low]) = address;
    high == UNSPECIFIED_V6.0[0] && low <= LOOPBACK_V6.0[1]
}
