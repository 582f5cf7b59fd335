//! Which schedulers there are, and what they are told besides their real servers.
//! How one chooses is in a file of its own.

use std::fmt;

use super::hash::HashFlags;
use super::mh::Maglev;

/// Declares [`SchedulerKind`] once: variant, settings and name.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $(($($settings:ty),+))? => $name:literal,)+) => {
        /// The schedulers by the names that `ipvsadm -s` takes, and two that LVS has not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SchedulerKind {
            $($(#[$doc])* $kind $(($($settings),+))?,)+
        }

        impl SchedulerKind {
            /// The names of all of them.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Its name, in files and listings.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$kind { .. } => $name,)+ }
            }
        }
    };
}

kinds! {
    /// Round robin.
    Rr => "rr",
    /// Weighted round robin.
    Wrr => "wrr",
    /// Smooth weighted round robin; not in LVS.
    Swrr => "swrr",
    /// Least connection.
    Lc => "lc",
    /// Weighted least connection.
    Wlc => "wlc",
    /// Power of two choices; not in LVS by this name.
    P2c => "p2c",
    /// Shortest expected delay.
    Sed => "sed",
    /// Never queue.
    Nq => "nq",
    /// Source hashing.
    Sh(HashFlags) => "sh",
    /// Destination hashing.
    Dh => "dh",
    /// Maglev hashing.
    Mh(HashFlags, Maglev) => "mh",
    /// Locality-based least connection.
    Lblc => "lblc",
    /// Locality-based least connection with replication.
    Lblcr => "lblcr",
    /// Weighted failover.
    Fo => "fo",
    /// Weighted overflow.
    Ovf => "ovf",
}

impl SchedulerKind {
    /// The settings by the names that `ipvsadm -b` takes, in its order.
    #[must_use]
    pub fn flags(self) -> Vec<&'static str> {
        let (flags, names) = match self {
            Self::Sh(flags) => (flags, ["sh-fallback", "sh-port"]),
            Self::Mh(flags, _) => (flags, ["mh-fallback", "mh-port"]),
            _ => return Vec::new(),
        };
        let set = [flags.fallback, flags.port].into_iter().zip(names);
        set.filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
