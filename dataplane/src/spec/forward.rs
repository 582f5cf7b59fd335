//! How packets get to a real server: the forwarding method, its tunnel, and TCP's segment size.
//! How they are rewritten is in `rewrite/`.

use std::fmt;

use crate::listed::Listed;

crate::listed! {
    /// How a packet gets to its real server.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub enum ForwardMethod {
        /// Only the MAC changes; the real server answers the client itself.
        Direct => "dr" default,
        /// Address and port are rewritten, in both directions.
        Nat => "nat",
        /// The packet travels inside another IP packet, as [`TunnelKind`] says.
        Tunnel => "tunnel",
    }
}

impl ForwardMethod {
    /// `ipvsadm`'s option for it, and its word in listings; `None` if LVS has it not.
    #[must_use]
    pub const fn lvs(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Direct => Some(("-g", "Route")),
            Self::Nat => Some(("-m", "Masq")),
            Self::Tunnel => Some(("-i", "Tunnel")),
        }
    }

    /// Whether addresses and ports are rewritten, so that a session's answers come back through here and bear the
    /// virtual socket.
    #[inline(always)]
    #[must_use]
    pub const fn translates(self) -> bool {
        match self {
            Self::Nat => true,
            Self::Direct | Self::Tunnel => false,
        }
    }

    /// Whether packets travel inside others, so that real servers may be of the other address family.
    #[inline(always)]
    #[must_use]
    pub const fn encapsulates(self) -> bool {
        match self {
            Self::Tunnel => true,
            Self::Direct | Self::Nat => false,
        }
    }
}

/// What stands between the outer IP header of a tunnel and the packet inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TunnelKind {
    /// Nothing: IP in IP.
    #[default]
    Ipip,
    /// A GRE header.
    Gre {
        /// Whether it has a checksum.
        checksum: bool,
    },
    /// A UDP header and a GUE header.
    Gue {
        /// The UDP port of the real server's end.
        port: u16,
        /// Whether UDP's checksum is there.
        checksum: bool,
    },
}

/// The UDP port for which GUE is known (RFC draft-ietf-intarea-gue; IANA "gue").
pub const GUE_PORT: u16 = 6080;

impl Listed for TunnelKind {
    const LIST: &'static [Self] = &[
        Self::Ipip,
        Self::Gre { checksum: false },
        Self::Gue {
            port: GUE_PORT,
            checksum: false,
        },
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gre { .. } => "gre",
            Self::Gue { .. } => "gue",
        }
    }
}

/// The name with its settings: `gue to port 6080 with checksum`.
impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Self::Gue { port, .. } = self {
            write!(f, " to port {port}")?;
        }
        match self {
            Self::Gre { checksum: true } | Self::Gue { checksum: true, .. } => {
                f.write_str(" with checksum")
            }
            _ => Ok(()),
        }
    }
}

impl TunnelKind {
    /// What `ipvsadm --tun-type` calls it; `None` if LVS has it not.
    #[must_use]
    pub const fn lvs_name(self) -> Option<&'static str> {
        match self {
            Self::Ipip => Some("ipip"),
            Self::Gre { .. } => Some("gre"),
            Self::Gue { .. } => Some("gue"),
        }
    }

    /// The same without checksums: by this, errors about a tunnel's packets tell whose they are.
    #[must_use]
    pub const fn end(self) -> Self {
        match self {
            Self::Ipip => Self::Ipip,
            Self::Gre { .. } => Self::Gre { checksum: false },
            Self::Gue { port, .. } => Self::Gue {
                port,
                checksum: false,
            },
        }
    }
}

/// How large TCP's segments may be that the two ends of a service's sessions send each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MssClamp {
    /// As large as fits into one packet on the way that is known here.
    Auto,
    /// So many bytes.
    Bytes(u16),
}

/// As files have it.
impl fmt::Display for MssClamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}
