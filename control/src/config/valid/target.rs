//! Which packets are a service's, after it was checked.
//! Which service takes a packet that more than one could have is the data plane's business.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::Protocol;
use crate::config::leaf::{self, Leaf as _};

/// Which packets are a service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `vip`: those to virtual addresses.
    Vip(Vip),
    /// `match`: those that rules match.
    Match {
        /// What names the service.
        mark: Mark,
        /// A packet that one of them matches is the service's. Perhaps none.
        rules: Vec<Rule>,
    },
}

/// Protocol, addresses and port of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Vip {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual address, or a prefix of them, its host bits zero.
    pub addresses: IpNet,
    /// The virtual port; 0 is every port.
    pub port: u16,
}

/// The number of a service with `match`, of which each address family has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Not 0.
    pub number: u32,
    /// Whether it is for IPv6.
    pub is_v6: bool,
}

/// A packet that meets all of it is the service's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Any if `None`.
    pub protocol: Option<Protocol>,
    /// The clients' network, its host bits zero.
    pub from: Option<IpNet>,
    /// The destination's network, its host bits zero.
    pub to: Option<IpNet>,
    /// The destination's ports; any if there are none.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The client's ports; any if there are none.
    pub from_ports: Vec<RangeInclusive<u16>>,
}

/// What makes a service the same one across reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Its protocol, addresses and port.
    Vip(Vip),
    /// Its mark: rules may change.
    Mark(Mark),
}

impl Target {
    /// What makes the service the same one across reloads.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        match self {
            Self::Vip(vip) => Identity::Vip(*vip),
            Self::Match { mark, .. } => Identity::Mark(*mark),
        }
    }

    /// Whether its packets are of IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        match self {
            Self::Vip(vip) => matches!(vip.addresses, IpNet::V6(_)),
            Self::Match { mark, .. } => mark.is_v6,
        }
    }

    /// The virtual port; 0 where packets have any port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Vip(vip) => vip.port,
            Self::Match { .. } => 0,
        }
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
}

impl Vip {
    /// As the file has it.
    #[must_use]
    pub fn written(&self) -> leaf::Vip {
        let is_one = self.addresses.prefix_len() == self.addresses.max_prefix_len();
        leaf::Vip {
            address: self.addresses.addr(),
            prefix: (!is_one).then_some(self.addresses.prefix_len()),
            port: self.port,
        }
    }
}

/// `tcp 192.0.2.1:80` or `mark 5`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vip(vip) => write!(f, "{} {}", vip.protocol.name(), vip.written().print()),
            Self::Mark(Mark { number, is_v6 }) => {
                write!(f, "mark {number}{}", if *is_v6 { " of IPv6" } else { "" })
            }
        }
    }
}
