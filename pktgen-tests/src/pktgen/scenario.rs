//! What is balanced and who takes part: one service, its real servers, the clients, all their addresses.
//!
//! Must not hold a flow or a frame: addresses follow from numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::ValueEnum;
use plimsoll_dataplane::wire::Mac;
use serde::Serialize;

/// How packets get to the real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Direct routing: only the MACs change.
    Dr,
    /// The destination becomes the real server's, and answers come back through the balancer.
    Nat,
    /// IP in IP.
    Tunnel,
}

/// The family of all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A scenario that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// None, or more than there are addresses for.
    #[error("{0} real servers: 1 to {max} are possible", max = Scenario::MAX_REALS)]
    Reals(u16),
    /// Without workers nobody balances.
    #[error("0 workers: at least 1 is needed")]
    Workers,
    /// The frames would not hold the headers, or not fit an MTU of 1500.
    #[error("frames of {asked} bytes: {least} to {most} bytes without FCS are possible here")]
    FrameBytes {
        /// As asked for, in bytes without FCS.
        asked: usize,
        /// The shortest.
        least: usize,
        /// The longest that needs no fragments after the balancer has added what it adds.
        most: usize,
    },
    /// The balancer would not take the configuration; the text has its reasons.
    #[error("the balancer's configuration is not valid: {0}")]
    Config(String),
}

/// One service on a one-armed balancer, whose single port leads to the clients' router and the real servers.
///
/// Clients have addresses of 198.18.0.0/15 (RFC 2544), the service 192.0.2.1 (RFC 5737); the link to the
/// real servers is 10.0.0.0/15. With IPv6 all are of 2001:db8::/32 (RFC 3849).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// How packets get to the real servers.
    pub method: Method,
    /// The family of all addresses.
    pub family: Family,
    /// The transport protocol.
    pub protocol: Protocol,
    /// How many real servers there are, 1 to [`Self::MAX_REALS`].
    pub reals: u16,
    /// The scheduler by its name in the configuration; the daemon checks it.
    pub scheduler: String,
    /// Workers of the balancer.
    pub workers: u16,
    /// Sessions that each worker can hold.
    pub sessions: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            method: Method::Dr,
            family: Family::V4,
            protocol: Protocol::Udp,
            reals: 100,
            scheduler: "rr".to_owned(),
            workers: 1,
            sessions: 1 << 20,
        }
    }
}

impl Scenario {
    /// Most real servers: their numbers are the last two bytes of their addresses.
    pub const MAX_REALS: u16 = 65_000;
    /// The service's port.
    pub const VIP_PORT: u16 = 80;
    /// The real servers' port with NAT.
    pub const NAT_PORT: u16 = 8080;
    /// The MAC of the router behind which all clients are.
    pub const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
    /// The balancer's MAC where nobody tells another.
    pub const BALANCER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    /// Checks the numbers.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn check(&self) -> Result<(), ScenarioError> {
        if !(1..=Self::MAX_REALS).contains(&self.reals) {
            return Err(ScenarioError::Reals(self.reals));
        }
        if self.workers == 0 {
            return Err(ScenarioError::Workers);
        }
        Ok(())
    }

    fn choose(&self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        match self.family {
            Family::V4 => v4.into(),
            Family::V6 => v6.into(),
        }
    }

    /// The service's address.
    #[must_use]
    pub fn vip(&self) -> IpAddr {
        self.choose(
            Ipv4Addr::new(192, 0, 2, 1),
            Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 1),
        )
    }

    /// The balancer's own address on the link.
    #[must_use]
    pub fn balancer(&self) -> IpAddr {
        self.choose(
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1),
        )
    }

    /// The length of the link's prefix.
    #[must_use]
    pub fn link_prefix(&self) -> u8 {
        match self.family {
            Family::V4 => 15,
            Family::V6 => 64,
        }
    }

    /// The address of the clients' router on the link.
    #[must_use]
    pub fn router(&self) -> IpAddr {
        self.choose(
            Ipv4Addr::new(10, 0, 0, 2),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2),
        )
    }

    /// The address of real server `real`, whose last two bytes are its number.
    #[must_use]
    pub fn real(&self, real: u16) -> IpAddr {
        let [high, low] = real.to_be_bytes();
        self.choose(
            Ipv4Addr::new(10, 1, high, low),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 1, 0, real),
        )
    }

    /// The MAC of real server `real`, whose last two bytes are its number.
    #[must_use]
    pub fn real_mac(real: u16) -> Mac {
        let [high, low] = real.to_be_bytes();
        Mac([2, 0, 0, 1, high, low])
    }

    /// The port on which the real servers serve.
    #[must_use]
    pub fn real_port(&self) -> u16 {
        match self.method {
            Method::Nat => Self::NAT_PORT,
            Method::Dr | Method::Tunnel => Self::VIP_PORT,
        }
    }

    /// The first of the clients' addresses; the last 17 bits are the client's.
    #[must_use]
    pub fn clients(&self) -> IpAddr {
        self.choose(
            Ipv4Addr::new(198, 18, 0, 0),
            Ipv6Addr::new(0x2001, 0xdb8, 0xc000, 0, 0, 0, 0, 0),
        )
    }

    /// The length of the prefix that all clients share.
    #[must_use]
    pub fn clients_prefix(&self) -> u8 {
        match self.family {
            Family::V4 => 15,
            Family::V6 => 48,
        }
    }

    /// Who has `address`: the clients' router or a real server.
    #[must_use]
    pub fn mac_of(&self, address: IpAddr) -> Option<Mac> {
        if address == self.router() {
            return Some(Self::ROUTER_MAC);
        }
        let [high, low] = match address {
            IpAddr::V4(address) => {
                let [_, _, high, low] = address.octets();
                [high, low]
            }
            IpAddr::V6(address) => {
                let [.., high, low] = address.octets();
                [high, low]
            }
        };
        let real = u16::from_be_bytes([high, low]);
        (real < self.reals && address == self.real(real)).then(|| Self::real_mac(real))
    }
}
