//! How long idle sessions live.
//! Which of these a session's state asks for is said in `session/timeout.rs`.

use std::fmt;
use std::time::Duration;

/// A time in whole milliseconds, at most 49 days.
// 32 bits keep all times of a service within a few bytes of each real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u32);

/// Longer times are the longest, a part of a millisecond is none.
impl From<Duration> for Millis {
    fn from(time: Duration) -> Self {
        Self(u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
    }
}

impl From<Millis> for Duration {
    fn from(time: Millis) -> Self {
        Self::from_millis(time.0.into())
    }
}

/// In seconds where that is exact: `900s`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Duration::from(*self), f)
    }
}

/// Declares the times by their names in files and listings.
macro_rules! timeouts {
    ($($(#[$doc:meta])* $time:ident: $ms:literal,)+) => {
        /// The time of every kind of session. The default is IPVS's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Timeouts<T = Millis> {
            $($(#[$doc])* pub $time: T,)+
        }

        /// What one service says itself; what it does not say is as for all.
        pub type OwnTimeouts = Timeouts<Option<Millis>>;

        impl Timeouts {
            /// IPVS's, as after boot.
            pub const DEFAULT: Self = Self { $($time: Millis($ms),)+ };
        }

        impl<T> Timeouts<Option<T>> {
            /// One that says nothing.
            pub const NONE: Self = Self { $($time: None,)+ };

            /// Each of these, or that of `other` where these say nothing.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($time: self.$time.or(other.$time),)+ }
            }
        }

        impl OwnTimeouts {
            /// Those in force, where those for all are `common`.
            #[must_use]
            pub fn over(self, common: Timeouts) -> Timeouts {
                Timeouts { $($time: self.$time.unwrap_or(common.$time),)+ }
            }
        }

        impl<T> Timeouts<T> {
            /// What `change` makes of each, whose name it is told.
            #[must_use]
            pub fn map<U>(self, mut change: impl FnMut(&'static str, T) -> U) -> Timeouts<U> {
                Timeouts { $($time: change(stringify!($time), self.$time),)+ }
            }

            /// All of them with their names, in the order of their declaration.
            pub fn named(self) -> impl Iterator<Item = (&'static str, T)> {
                [$((stringify!($time), self.$time),)+].into_iter()
            }
        }
    };
}

timeouts! {
    /// An established TCP session (`ipvsadm --set`, the first).
    tcp: 900_000,
    /// A TCP session after a FIN (the second).
    tcp_fin: 120_000,
    /// A TCP session that both sides have finished, which no command of IPVS reaches.
    tcp_time_wait: 120_000,
    /// A UDP session (the third).
    udp: 300_000,
    /// An open SCTP association, which no command of IPVS reaches.
    sctp: 900_000,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl<T> Default for Timeouts<Option<T>> {
    fn default() -> Self {
        Self::NONE
    }
}
