//! Which schedulers there are, and what they are told besides their real servers.
//! How one chooses is in `schedule/`.

use std::fmt;

use crate::listed::Listed;

/// Settings of a scheduler by hash (`ipvsadm -b`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HashFlags {
    /// Another real server takes over if the hash leads to one that takes no sessions.
    pub fallback: bool,
    /// The client's port is hashed too.
    pub port: bool,
}

/// Places of the table: the prime that Linux is built with by default (`IP_VS_MH_TAB_INDEX` 12).
pub const PLACES: u32 = 4093;

/// The fewest places that Linux can be built with.
pub const FEWEST_PLACES: u32 = 251;

/// The most places that a table may have, a prime as all are.
pub const MOST_PLACES: u32 = 655_373;

impl HashFlags {
    /// None set.
    const DEFAULT: Self = Self {
        fallback: false,
        port: false,
    };
}

/// What a table is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Maglev {
    /// Its places: a prime, at most [`MOST_PLACES`].
    pub places: u32,
    /// `None` hashes as Linux does, and fills the table in the order of the list. With a key nobody
    /// can aim at one real server, and the order does not matter.
    pub key: Option<[u64; 2]>,
}

impl Maglev {
    /// Linux's.
    const DEFAULT: Self = Self {
        places: PLACES,
        key: None,
    };
}

impl Default for Maglev {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a scheduler by hash ignores slow start.
const BY_HASH: Option<&str> = Some("places its clients by a hash");

/// Why failover and overflow do.
const ONE_GETS_ALL: Option<&str> = Some("gives all sessions to one real server");

/// Declares [`SchedulerKind`] once: variant, settings, name, what LVS calls it if it has it, and why it ignores slow
/// start if it does.
macro_rules! kinds {
    ($(
        $(#[doc = $about:literal])*
        $kind:ident $(($($settings:ty),+))? => $name:literal, lvs $lvs:expr, ignores_slow_start $why:expr;
    )+) => {
        /// The schedulers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum SchedulerKind {
            $($(#[doc = $about])* $kind $(($($settings),+))?,)+
        }

        impl SchedulerKind {
            /// Its name, in files and listings.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$kind { .. } => $name,)+ }
            }

            /// What `ipvsadm -s` calls it; `None` if LVS has it not.
            #[must_use]
            pub const fn lvs_name(self) -> Option<&'static str> {
                match self { $(Self::$kind { .. } => $lvs,)+ }
            }

            /// Why a new real server's share cannot grow slowly, if so: what the scheduler does instead of giving
            /// shares.
            #[must_use]
            pub const fn ignores_slow_start(self) -> Option<&'static str> {
                match self { $(Self::$kind { .. } => $why,)+ }
            }
        }

        impl Listed for SchedulerKind {
            const LIST: &'static [Self] = &[$(Self::$kind $(($(<$settings>::DEFAULT),+))?,)+];

            fn name(self) -> &'static str {
                Self::name(&self)
            }

            fn about(self) -> &'static str {
                match self { $(Self::$kind { .. } => concat!($($about),*).trim_ascii(),)+ }
            }
        }
    };
}

kinds! {
    /// Round robin.
    Rr => "rr", lvs Some("rr"), ignores_slow_start None;
    /// Weighted round robin.
    Wrr => "wrr", lvs Some("wrr"), ignores_slow_start None;
    /// Smooth weighted round robin; not in LVS.
    Swrr => "swrr", lvs None, ignores_slow_start None;
    /// Least connection.
    Lc => "lc", lvs Some("lc"), ignores_slow_start None;
    /// Weighted least connection.
    Wlc => "wlc", lvs Some("wlc"), ignores_slow_start None;
    /// Power of two choices; not in LVS by this name.
    P2c => "p2c", lvs Some("twos"), ignores_slow_start None;
    /// Shortest expected delay.
    Sed => "sed", lvs Some("sed"), ignores_slow_start None;
    /// Never queue.
    Nq => "nq", lvs Some("nq"), ignores_slow_start None;
    /// Source hashing.
    Sh(HashFlags) => "sh", lvs Some("sh"), ignores_slow_start BY_HASH;
    /// Destination hashing.
    Dh => "dh", lvs Some("dh"), ignores_slow_start BY_HASH;
    /// Maglev hashing.
    Mh(HashFlags, Maglev) => "mh", lvs Some("mh"), ignores_slow_start BY_HASH;
    /// Locality-based least connection.
    Lblc => "lblc", lvs Some("lblc"), ignores_slow_start None;
    /// Locality-based least connection with replication.
    Lblcr => "lblcr", lvs Some("lblcr"), ignores_slow_start None;
    /// Weighted failover.
    Fo => "fo", lvs Some("fo"), ignores_slow_start ONE_GETS_ALL;
    /// Weighted overflow.
    Ovf => "ovf", lvs Some("ovf"), ignores_slow_start ONE_GETS_ALL;
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

/// The name, and the flags as `ipvsadm` shows them; then what Maglev's table has besides.
impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let flags = self.flags();
        if !flags.is_empty() {
            write!(f, " ({})", flags.join(","))?;
        }
        match self {
            Self::Mh(_, maglev) if *maglev != Maglev::DEFAULT => {
                let keyed = if maglev.key.is_some() { ", keyed" } else { "" };
                write!(f, " of {} places{keyed}", maglev.places)
            }
            _ => Ok(()),
        }
    }
}
