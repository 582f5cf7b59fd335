//! The format's enumerations: what a key may be set to, by the names that users know.
//! What a name brings about is not known here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An enumeration of the format whose names in the file are also its names elsewhere.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident {
            $($(#[$variant_meta:meta])* $variant:ident => $name:literal,)+
        }
    ) => {
        plimsoll_dataplane::listed! {
            $(#[$meta])*
            pub enum $enum {
                $($(#[$variant_meta])* #[serde(rename = $name)] $variant => $name,)+
            }
        }
    };
}

named! {
    /// The format's transport protocols.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
    #[expect(missing_docs, reason = "the names say it")]
    pub enum Protocol {
        #[default]
        Tcp => "tcp",
        Udp => "udp",
        Sctp => "sctp",
    }
}

named! {
    /// The format's schedulers: LVS's by their names there, and `swrr` and `p2c`.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
    #[expect(missing_docs, reason = "the users' names")]
    pub enum Scheduler {
        #[default]
        Rr => "rr",
        Wrr => "wrr",
        Swrr => "swrr",
        Lc => "lc",
        Wlc => "wlc",
        P2c => "p2c",
        Sed => "sed",
        Nq => "nq",
        Sh => "sh",
        Dh => "dh",
        Mh => "mh",
        Lblc => "lblc",
        Lblcr => "lblcr",
        Fo => "fo",
        Ovf => "ovf",
    }
}

named! {
    /// The format's settings of schedulers, by their IPVS names.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
    #[expect(missing_docs, reason = "IPVS's names")]
    pub enum SchedulerFlag {
        ShFallback => "sh-fallback",
        ShPort => "sh-port",
        MhFallback => "mh-fallback",
        MhPort => "mh-port",
    }
}

named! {
    /// The format's forwarding methods.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
    #[expect(missing_docs, reason = "the names say it")]
    pub enum Forward {
        #[default]
        Dr => "dr",
        Nat => "nat",
        Tunnel => "tunnel",
        FullNat => "fullnat",
    }
}

named! {
    /// The format's encapsulations.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
    #[expect(missing_docs, reason = "the names say it")]
    pub enum TunnelType {
        #[default]
        Ipip => "ipip",
        Gre => "gre",
        Gue => "gue",
    }
}

named! {
    /// The format's checksums of tunnels, by the names of `ipvsadm --tun-csum` and its like.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
    pub enum TunnelChecksum {
        /// None.
        #[default]
        None => "none",
        /// GRE's checksum, or UDP's for GUE.
        Csum => "csum",
        /// Remote checksum offload, for GUE.
        Remcsum => "remcsum",
    }
}

/// The format's health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum HealthType {
    Tcp,
    Udp,
    Http,
    Https,
    Ping,
}
