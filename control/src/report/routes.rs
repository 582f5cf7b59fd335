//! `plimsoll routes`: what `ip route` would show of Plimsoll.
//! Field names are a contract.

use std::cmp::Reverse;
use std::net::IpAddr;

use ipnet::IpNet;
use plimsoll_dataplane::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use super::as_written;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destinations.
    #[serde(with = "as_written")]
    pub to: IpNet,
    /// The gateway; left out if the destinations are neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The port that packets leave by.
    pub port: String,
    /// Whether it is a port's own network, and no route of the configuration.
    pub connected: bool,
    /// Plimsoll's own address on that port, from which it speaks itself; left out if it has none of this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
}

/// `plimsoll routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// IPv4 first; of each family the longest prefix, which is the one that counts.
    pub routes: Vec<Route>,
}

/// The routes in force.
#[must_use]
pub fn routes(snapshot: &Snapshot) -> Routes {
    let routes = snapshot.routes.iter().map(|route| Route {
        to: route.to,
        via: route.gateway,
        port: snapshot
            .port(route.port)
            .map_or_else(String::new, |port| port.name.to_string()),
        connected: route.gateway.is_none(),
        source: route.source,
        mtu: route.mtu,
    });
    let mut routes: Vec<Route> = routes.collect();
    routes.sort_by_key(|one| {
        let is_v6 = one.to.addr().is_ipv6();
        (is_v6, Reverse(one.to.prefix_len()), one.to)
    });
    Routes { routes }
}
