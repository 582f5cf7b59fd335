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

    /// Its word in keepalived.conf; `None` if keepalived has it not.
    #[must_use]
    pub const fn keepalived(self) -> Option<&'static str> {
        match self {
            Self::Direct => Some("DR"),
            Self::Nat => Some("NAT"),
            Self::Tunnel => Some("TUN"),
        }
    }

    /// Whether the real server's socket replaces the virtual one, so that its port may differ.
    #[inline(always)]
    #[must_use]
    pub const fn rewrites_destination(self) -> bool {
        match self {
            Self::Nat => true,
            Self::Direct | Self::Tunnel => false,
        }
    }

    /// Whether packets travel inside others.
    #[inline(always)]
    #[must_use]
    pub const fn encapsulates(self) -> bool {
        match self {
            Self::Tunnel => true,
            Self::Direct | Self::Nat => false,
        }
    }

    /// Whether packets leave with the real server's address as destination, by which routers find it.
    #[must_use]
    pub const fn is_routable(self) -> bool {
        self.rewrites_destination() || self.encapsulates()
    }

    /// Whether real servers may be of the other address family.
    #[must_use]
    pub const fn crosses_families(self) -> bool {
        match self {
            Self::Tunnel => true,
            Self::Direct | Self::Nat => false,
        }
    }

    /// Whether replies come back through here, and leave with the virtual socket as their source.
    #[inline(always)]
    #[must_use]
    pub const fn replies_return(self) -> bool {
        match self {
            Self::Nat => true,
            Self::Direct | Self::Tunnel => false,
        }
    }

    /// Whether replies come back through here with their client's socket as destination, so that the session's owner
    /// can be computed from a reply as from a request, and a reply needs no session to find its client.
    #[must_use]
    pub const fn replies_name_client(self) -> bool {
        match self {
            Self::Nat => true,
            Self::Direct | Self::Tunnel => false,
        }
    }

    /// The names of the methods of which this is true, for people: "`dr` or `tunnel`".
    #[must_use]
    pub fn any_of(is_one: impl Fn(Self) -> bool) -> String {
        let methods = Self::ALL.into_iter().filter(|method| is_one(*method));
        let names: Vec<String> = methods
            .map(|method| format!("`{}`", method.name()))
            .collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_listed_for_people() {
        assert_eq!(ForwardMethod::any_of(|_| true), "`dr`, `nat` or `tunnel`");
        let two = ForwardMethod::any_of(|method| !method.replies_return());
        assert_eq!(two, "`dr` or `tunnel`");
        assert_eq!(
            ForwardMethod::any_of(ForwardMethod::encapsulates),
            "`tunnel`"
        );
        assert_eq!(ForwardMethod::any_of(|_| false), "");
    }

    #[test]
    fn what_other_programs_call_a_method_is_one_method() {
        for a in ForwardMethod::ALL {
            for b in ForwardMethod::ALL.into_iter().filter(|b| *b != a) {
                assert!(a.lvs().is_none() || a.lvs() != b.lvs());
                assert!(a.keepalived().is_none() || a.keepalived() != b.keepalived());
            }
        }
    }
}
