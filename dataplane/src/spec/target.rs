//! Which packets are a virtual service's: those to its addresses and port, or those that its rules match.
//! How they are looked up is in `snapshot/lookup.rs`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::slice;
use std::sync::Arc;

use ipnet::IpNet;

use crate::flow::Protocol;

/// Which packets are a service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Packets to virtual addresses.
    Vip(Vip),
    /// Packets that rules match, whatever their destination (IPVS: those that a firewall marked).
    Match {
        /// Which number names the service.
        mark: Mark,
        /// A packet that one of them matches is the service's.
        rules: Arc<[Rule]>,
    },
}

/// Protocol, addresses and port of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vip {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual address, or a prefix of them; host bits are 0.
    pub addresses: IpNet,
    /// The virtual port, host order; 0 is every port.
    pub port: u16,
}

/// Virtual addresses and a port, as files, listings and rules write them: `192.0.2.1:80`, `[2001:db8::/64]:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipSocket {
    /// The virtual address, or a prefix of them.
    pub addresses: IpNet,
    /// The virtual port, host order; 0 is every port.
    pub port: u16,
}

impl fmt::Display for VipSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (is_one_address(&self.addresses), self.addresses) {
            (true, net) => write!(f, "{}", SocketAddr::new(net.addr(), self.port)),
            (false, IpNet::V4(net)) => write!(f, "{net}:{}", self.port),
            (false, IpNet::V6(net)) => write!(f, "[{net}]:{}", self.port),
        }
    }
}

/// IANA "ftp".
pub const FTP: u16 = 21;

impl Vip {
    /// Its addresses and port.
    #[must_use]
    pub const fn socket(&self) -> VipSocket {
        VipSocket {
            addresses: self.addresses,
            port: self.port,
        }
    }

    /// Whether clients make FTP's control connections to it.
    #[must_use]
    pub const fn is_ftp(&self) -> bool {
        matches!(self.protocol, Protocol::Tcp) && self.port == FTP
    }
}

/// What a service by rules is named by: IPVS's firewall mark, of which each family has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The number.
    pub number: u32,
    /// Whether it is for IPv6.
    pub is_v6: bool,
}

/// One rule: it matches a packet that meets all that it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The transport protocol; any that is balanced if `None`.
    pub protocol: Option<Protocol>,
    /// Where the client is.
    pub from: Option<IpNet>,
    /// The destination.
    pub to: Option<IpNet>,
    /// Ports of the destination, host order; any if there are none.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Ports of the client; any if there are none.
    pub from_ports: Vec<RangeInclusive<u16>>,
}

/// What makes a service the same one across reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Its addresses, port and protocol.
    Vip(Vip),
    /// Its mark: rules may change.
    Mark(Mark),
}

impl Identity {
    /// Whether the service's packets are of IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        match self {
            Self::Vip(vip) => matches!(vip.addresses, IpNet::V6(_)),
            Self::Mark(mark) => mark.is_v6,
        }
    }

    /// The virtual port; 0 where packets have any port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Vip(vip) => vip.port,
            Self::Mark(_) => 0,
        }
    }
}

/// `tcp 192.0.2.1:80` or `mark 5`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vip(vip) => write!(f, "{} {}", vip.protocol, vip.socket()),
            Self::Mark(Mark { number, is_v6 }) => {
                write!(f, "mark {number}{}", if *is_v6 { " of IPv6" } else { "" })
            }
        }
    }
}

impl Target {
    /// One virtual address, or with port 0 all ports of it.
    #[must_use]
    pub fn vip(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        Self::Vip(Vip {
            protocol,
            addresses: address.into(),
            port,
        })
    }

    /// What makes it the same one across reloads.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        match self {
            Self::Vip(vip) => Identity::Vip(*vip),
            Self::Match { mark, .. } => Identity::Mark(*mark),
        }
    }

    /// The virtual port; 0 where packets have any port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.identity().port()
    }

    /// Whether its packets are of IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        self.identity().is_v6()
    }

    /// Whether some of its packets may be TCP's.
    #[must_use]
    pub fn takes_tcp(&self) -> bool {
        match self {
            Self::Vip(vip) => vip.protocol == Protocol::Tcp,
            Self::Match { rules, .. } => rules.iter().any(|rule| {
                rule.protocol
                    .is_none_or(|protocol| protocol == Protocol::Tcp)
            }),
        }
    }

    /// Whether this is one of its virtual addresses.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match self {
            Self::Vip(vip) => vip.addresses.contains(&address),
            Self::Match { .. } => false,
        }
    }

    /// The mark of a service by rules.
    #[must_use]
    pub const fn mark(&self) -> Option<Mark> {
        match self {
            Self::Vip(_) => None,
            Self::Match { mark, .. } => Some(*mark),
        }
    }

    /// Protocols that its packets may have, now or after its rules have changed.
    #[must_use]
    pub fn protocols(&self) -> &[Protocol] {
        match self {
            Self::Vip(vip) => slice::from_ref(&vip.protocol),
            Self::Match { .. } => &Protocol::ALL,
        }
    }

    /// Whether a packet of it could be another service's too, which the order of looking up decides.
    #[must_use]
    pub fn may_overlap(&self) -> bool {
        match self {
            Self::Vip(vip) => vip.port == 0 || vip.is_ftp() || !is_one_address(&vip.addresses),
            Self::Match { .. } => true,
        }
    }
}

/// Whether the prefix is a single address.
#[must_use]
pub fn is_one_address(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}
