//! Stable slot numbers. A slot keeps its meaning for as long as a session refers to it.
//! And the numbers of ports and devices, which are places in the configuration's lists.

use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The slot of a `VirtualService` in the snapshot and in every per-worker array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// The slot of a `RealServer` (one real server of one service) in the snapshot and in every
/// per-worker array.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct RealId(pub u32);

/// A place in a list, of a type of its own for each list, so that no place is taken for another list's.
macro_rules! places {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u16);

        impl $name {
            /// The one at this place, counted from 0.
            #[must_use]
            pub const fn new(place: u16) -> Self {
                Self(place)
            }

            /// Its place in every list that has one item for each.
            #[inline(always)]
            #[must_use]
            pub const fn place(self) -> usize {
                self.0 as usize
            }

            /// The items of such a list, each with whose it is.
            pub fn each<I: IntoIterator>(list: I) -> impl Iterator<Item = (Self, I::Item)> {
                (0..).map(Self).zip(list)
            }
        }
    )*};
}

places! {
    /// A port: what has a name, addresses, neighbours, routes and an exception path. Its place in `Spec::ports`.
    PortId
    /// An Ethernet device: what has a MAC, a link, and on every worker a pair of queues. Its place in `Spec::devices`.
    DeviceId
}
