//! Who has which address, for each forwarding method: pure data.
//!
//! Must not run anything. The addresses are those of the classic LVS lesson, with a third server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of the virtual service over TCP.
pub const HTTP_PORT: u16 = 8088;
/// The port nginx listens on behind NAT: another one, so that the mapping of ports is seen to work.
pub const NAT_HTTP_PORT: u16 = 80;
/// The port of the virtual service over UDP.
pub const ECHO_PORT: u16 = 9999;
/// The port of the UDP echo behind NAT.
pub const NAT_ECHO_PORT: u16 = 9000;
/// The servers' numbers: the last part of their addresses, and their names are `server-<number>`.
pub const SERVERS: [u8; 3] = [11, 13, 14];

const LB: u8 = 10;
const VIRTUAL: u8 = 12;
const ROUTER: u8 = 1;

/// How the load balancer passes packets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Direct routing: the frame goes to the server's MAC address, the packet stays as it is.
    Direct,
    /// The server's address replaces the virtual one, and back again on the way back.
    Nat,
    /// The packet travels inside another one to a server in another network.
    Tunnel,
}

impl Method {
    /// All of them, in the order of the lesson.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Nat, Self::Tunnel];

    /// The word for `forward:` in the configuration.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Direct => "dr",
            Self::Nat => "nat",
            Self::Tunnel => "tunnel",
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Direct => "Direct routing",
            Self::Nat => "NAT",
            Self::Tunnel => "IP-in-IP tunnel",
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// One network with an IPv4 and an IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// 192.168.33.0/24 and 2001:db8:33::/64: the load balancer's own.
    Lan,
    /// 198.51.100.0/24 and 2001:db8:64::/64: where the client of a NAT service lives.
    Wan,
    /// 10.33.0.0/24 and 2001:db8:a33::/64: behind a router, where the servers of a tunnel live.
    Far,
}

impl Network {
    /// The name of its bridge, of the interfaces in it and of the load balancer's port.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
            Self::Far => "far",
        }
    }

    /// The address with this last part.
    #[must_use]
    pub fn address(self, family: Family, last: u8) -> IpAddr {
        match family {
            Family::V4 => {
                let [a, b, c] = match self {
                    Self::Lan => [192, 168, 33],
                    Self::Wan => [198, 51, 100],
                    Self::Far => [10, 33, 0],
                };
                Ipv4Addr::new(a, b, c, last).into()
            }
            Family::V6 => {
                let third = match self {
                    Self::Lan => 0x33,
                    Self::Wan => 0x64,
                    Self::Far => 0xa33,
                };
                // The last part reads the same in both families: server 11 is ::11, which is 0x11.
                let digits = u16::from(last / 10) * 16 + u16::from(last % 10);
                Ipv6Addr::new(0x2001, 0xdb8, third, 0, 0, 0, 0, digits).into()
            }
        }
    }

    /// The prefix, as `ip route` and the configuration write it.
    #[must_use]
    pub fn prefix(self, family: Family) -> String {
        format!("{}/{}", self.address(family, 0), Self::bits(family))
    }

    /// The address with this last part and the length of the prefix.
    #[must_use]
    pub fn interface(self, family: Family, last: u8) -> String {
        format!("{}/{}", self.address(family, last), Self::bits(family))
    }

    /// The MAC address of the host with this last part: it ends as the addresses do, and names the network.
    #[must_use]
    pub fn mac(self, last: u8) -> String {
        let network: u8 = match self {
            Self::Lan => 0x33,
            Self::Wan => 0x64,
            Self::Far => 0xa3,
        };
        format!("02:00:00:{network:02x}:00:{last:02x}")
    }

    const fn bits(family: Family) -> u8 {
        match family {
            Family::V4 => 24,
            Family::V6 => 64,
        }
    }
}

/// One port of the load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The network it is in, whose name it has.
    pub network: Network,
}

impl PortPlan {
    /// The interface in the load balancer's namespace that DPDK takes over.
    #[must_use]
    pub fn interface(self) -> String {
        format!("veth-{}", self.network.name())
    }

    /// The addresses that belong to the port, IPv4 first.
    #[must_use]
    pub fn addresses(self) -> [String; 2] {
        Family::ALL.map(|family| self.network.interface(family, LB))
    }
}

/// The addresses of one method's topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The method it is for.
    pub method: Method,
}

impl Plan {
    /// The plan for a method.
    #[must_use]
    pub const fn new(method: Method) -> Self {
        Self { method }
    }

    /// The network of the client.
    #[must_use]
    pub const fn client_network(self) -> Network {
        match self.method {
            Method::Direct | Method::Tunnel => Network::Lan,
            Method::Nat => Network::Wan,
        }
    }

    /// The last part of the client's address.
    #[must_use]
    pub const fn client_last(self) -> u8 {
        match self.method {
            Method::Direct | Method::Tunnel => 2,
            Method::Nat => 7,
        }
    }

    /// The client's address.
    #[must_use]
    pub fn client(self, family: Family) -> IpAddr {
        self.client_network().address(family, self.client_last())
    }

    /// The network of the servers.
    #[must_use]
    pub const fn server_network(self) -> Network {
        match self.method {
            Method::Direct | Method::Nat => Network::Lan,
            Method::Tunnel => Network::Far,
        }
    }

    /// A server's own address.
    #[must_use]
    pub fn server(self, family: Family, number: u8) -> IpAddr {
        self.server_network().address(family, number)
    }

    /// Where the servers send what is not local.
    #[must_use]
    pub fn server_gateway(self, family: Family) -> Option<IpAddr> {
        match self.method {
            Method::Direct => None,
            Method::Nat => Some(Network::Lan.address(family, LB)),
            Method::Tunnel => Some(Network::Far.address(family, ROUTER)),
        }
    }

    /// Whether a router joins the servers' network to the load balancer's.
    #[must_use]
    pub const fn has_router(self) -> bool {
        matches!(self.method, Method::Tunnel)
    }

    /// The router's address in a network.
    #[must_use]
    pub fn router(self, network: Network, family: Family) -> IpAddr {
        network.address(family, ROUTER)
    }

    /// The last part of the router's address.
    #[must_use]
    pub const fn router_last(self) -> u8 {
        ROUTER
    }

    /// The last part of the load balancer's addresses.
    #[must_use]
    pub const fn lb_last(self) -> u8 {
        LB
    }

    /// The load balancer's address in a network.
    #[must_use]
    pub fn lb(self, network: Network, family: Family) -> IpAddr {
        network.address(family, LB)
    }

    /// The virtual address.
    #[must_use]
    pub fn virtual_address(self, family: Family) -> IpAddr {
        Network::Lan.address(family, VIRTUAL)
    }

    /// The virtual service over TCP.
    #[must_use]
    pub fn virtual_http(self, family: Family) -> SocketAddr {
        SocketAddr::new(self.virtual_address(family), HTTP_PORT)
    }

    /// The virtual service over UDP.
    #[must_use]
    pub fn virtual_echo(self, family: Family) -> SocketAddr {
        SocketAddr::new(self.virtual_address(family), ECHO_PORT)
    }

    /// The port nginx listens on.
    #[must_use]
    pub const fn http_port(self) -> u16 {
        match self.method {
            Method::Direct | Method::Tunnel => HTTP_PORT,
            Method::Nat => NAT_HTTP_PORT,
        }
    }

    /// The port the UDP echo listens on.
    #[must_use]
    pub const fn echo_port(self) -> u16 {
        match self.method {
            Method::Direct | Method::Tunnel => ECHO_PORT,
            Method::Nat => NAT_ECHO_PORT,
        }
    }

    /// Whether the servers hold the virtual address on `lo`.
    #[must_use]
    pub const fn servers_hold_virtual_address(self) -> bool {
        matches!(self.method, Method::Direct | Method::Tunnel)
    }

    /// The load balancer's ports.
    #[must_use]
    pub fn ports(self) -> Vec<PortPlan> {
        let lan = PortPlan {
            network: Network::Lan,
        };
        match self.method {
            Method::Direct | Method::Tunnel => vec![lan],
            Method::Nat => vec![
                lan,
                PortPlan {
                    network: Network::Wan,
                },
            ],
        }
    }

    /// The load balancer's routes: prefix and gateway.
    #[must_use]
    pub fn routes(self) -> Vec<(String, IpAddr)> {
        if !self.has_router() {
            return Vec::new();
        }
        Family::ALL
            .map(|family| {
                (
                    Network::Far.prefix(family),
                    self.router(Network::Lan, family),
                )
            })
            .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesson_s_addresses_are_used() {
        let plan = Plan::new(Method::Direct);
        assert_eq!(
            plan.virtual_http(Family::V4).to_string(),
            "192.168.33.12:8088"
        );
        assert_eq!(
            plan.virtual_http(Family::V6).to_string(),
            "[2001:db8:33::12]:8088"
        );
        assert_eq!(plan.server(Family::V4, 13).to_string(), "192.168.33.13");
        assert_eq!(plan.server(Family::V6, 13).to_string(), "2001:db8:33::13");
    }

    #[test]
    fn nat_keeps_the_client_and_the_servers_in_different_networks() {
        let plan = Plan::new(Method::Nat);
        assert_ne!(plan.client_network(), plan.server_network());
        assert_eq!(
            plan.server_gateway(Family::V4),
            Some(plan.lb(Network::Lan, Family::V4))
        );
    }

    #[test]
    fn the_prefix_of_a_network_has_no_host_part() {
        assert_eq!(Network::Far.prefix(Family::V4), "10.33.0.0/24");
        assert_eq!(Network::Far.prefix(Family::V6), "2001:db8:a33::/64");
    }
}
