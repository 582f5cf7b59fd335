//! Which packets are a virtual service's: those to its addresses and port, or those that its rules match.
//! How they are looked up is in `snapshot/lookup.rs`.

use std::net::IpAddr;
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

/// IANA "ftp".
pub const FTP: u16 = 21;

impl Vip {
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
        match self {
            Self::Vip(vip) => vip.port,
            Self::Match { .. } => 0,
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
