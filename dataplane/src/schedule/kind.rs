//! Which schedulers there are, and what they are told besides their real servers.
//! How one chooses is in a file of its own.

use std::fmt;

use super::hash::HashFlags;
use super::mh::Maglev;

/// The schedulers by the names that `ipvsadm -s` takes, and two that LVS has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Smooth weighted round robin; not in LVS.
    Swrr,
    /// Least connection.
    Lc,
    /// Weighted least connection.
    Wlc,
    /// Power of two choices; not in LVS by this name.
    P2c,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Source hashing.
    Sh(HashFlags),
    /// Destination hashing.
    Dh,
    /// Maglev hashing.
    Mh(HashFlags, Maglev),
    /// Locality-based least connection.
    Lblc,
    /// Locality-based least connection with replication.
    Lblcr,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
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
        f.write_str(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Swrr => "swrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::P2c => "p2c",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Sh(_) => "sh",
            Self::Dh => "dh",
            Self::Mh(..) => "mh",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
        })
    }
}
