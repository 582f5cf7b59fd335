//! Checks of a service's real servers: where they are, how they are reached, and their thresholds.
//! What a service takes is checked beside this.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::super::super::file::{Real as WrittenReal, Service as WrittenService};
use super::super::super::tree::Step;
use super::super::super::valid::{Forward, Route, Target, Tunnel};
use super::super::network::Reach;
use super::super::tunnel::{self, Encapsulation};
use super::super::{Finding, Findings, family, not_a_host, steps};
use super::{Context, with};

/// The virtual addresses of all services.
pub(super) struct VirtualAddresses {
    nets: HashSet<IpNet>,
    lengths: BTreeSet<u8>,
}

impl VirtualAddresses {
    pub(super) fn of(services: &[WrittenService]) -> Self {
        let vips = services.iter().filter_map(|service| service.vip);
        let nets: HashSet<IpNet> = vips
            .filter_map(|vip| match vip.0.prefix {
                Some(prefix) => IpNet::new(vip.0.address, prefix).ok(),
                None => Some(vip.0.address.into()),
            })
            .map(|net| net.trunc())
            .collect();
        let lengths = nets.iter().map(IpNet::prefix_len).collect();
        Self { nets, lengths }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let mut nets = self.lengths.iter();
        nets.any(|length| {
            IpNet::new(address, *length).is_ok_and(|net| self.nets.contains(&net.trunc()))
        })
    }
}

impl Context<'_> {
    pub(super) fn real(
        &mut self,
        target: &Target,
        address: SocketAddr,
        (forward, tunnel): (Forward, Encapsulation),
        place: &[Step],
        findings: &mut Findings<'_, '_>,
    ) {
        let here = with(place, "address");
        let ip = address.ip();
        if let Some(why) = not_a_host(ip) {
            findings.add(Finding::error(
                here,
                format!("{ip} is {why}, which cannot be a real server's"),
            ));
            return;
        }
        if let Some(why) = self.net.broadcast(ip) {
            findings.add(Finding::error(
                here,
                format!("{ip} is {why}, which cannot be a real server's"),
            ));
            return;
        }
        if target.has(ip) {
            findings.add(
                Finding::error(here, "the real server has a virtual address of its service").help(
                    "write the server's own address; packets would come straight back to Plimsoll",
                ),
            );
            return;
        }
        if let Some(port) = self.net.own(ip) {
            self.own_real(ip, port, forward, here, findings);
            return;
        }
        if self.vips.contains(ip) {
            findings.add(
                Finding::warning(
                    here.clone(),
                    format!("{ip} is also the virtual address of a service"),
                )
                .help("Plimsoll answers for it and forwards nothing to itself"),
            );
        }
        if forward != Forward::Tunnel && ip.is_ipv6() != target.is_v6() {
            findings.add(
                Finding::error(
                    here,
                    format!(
                        "an {} real server of an {} service",
                        family(ip),
                        if target.is_v6() { "IPv6" } else { "IPv4" }
                    ),
                )
                .help(format!(
                    "`forward: {}` keeps the address family; only a tunnel crosses it",
                    forward.name()
                )),
            );
            return;
        }
        if forward != Forward::Nat && address.port() != target.port() {
            findings.add(unchanged_port(
                here.clone(),
                address.port(),
                target,
                forward,
            ));
        }
        match *self.reached.entry(ip).or_insert_with(|| self.net.reach(ip)) {
            Reach::No => findings.add(
                Finding::error(here, format!("the real server {ip} cannot be reached")).help(
                    format!(
                        "{}, and no route leads to it; add one to network.routes",
                        self.net.networks(ip)
                    ),
                ),
            ),
            Reach::Routed(route) if forward == Forward::Direct => {
                findings.add(behind_router(here, ip, route))
            }
            Reach::OnLink(port) | Reach::Routed(Route { port, .. })
                if forward == Forward::Tunnel =>
            {
                if let Some(source) = tunnel.source
                    && source.is_ipv4() != ip.is_ipv4()
                {
                    findings.add(Finding::error(
                        with(place, "address"),
                        format!("the tunnel's source {source} is not of the family of {ip}"),
                    ));
                }
                self.tunnel_mtu(port, (tunnel.tunnel, ip), place, findings);
            }
            Reach::OnLink(_) | Reach::Routed(_) | Reach::Unknown => {}
        }
    }

    /// A real server that is this machine: its kernel gets the packets as they are, if there is a way.
    fn own_real(
        &self,
        ip: IpAddr,
        port: usize,
        forward: Forward,
        here: Vec<Step>,
        findings: &mut Findings<'_, '_>,
    ) {
        let Some(port) = self.config.dataplane.ports.get(port) else {
            return;
        };
        let what = format!(
            "{ip} is Plimsoll's own address on port `{}`",
            port.name.escape_debug()
        );
        if forward == Forward::Nat {
            findings.add(Finding::error(here, what).help(
                "packets for this machine itself are not translated; use `forward: dr`, and give its Linux the virtual address",
            ));
        } else if !port.kernel {
            findings.add(Finding::warning(here, what).help(
                "nothing listens there, so clients are refused; with `kernel: true` on the port this machine's Linux gets the packets",
            ));
        }
    }

    /// Warns once for each port that a full-size packet does not fit through with the outer header.
    fn tunnel_mtu(
        &mut self,
        port: usize,
        (tunnel, real): (Tunnel, IpAddr),
        place: &[Step],
        findings: &mut Findings<'_, '_>,
    ) {
        let Some(written) = self.config.dataplane.ports.get(port) else {
            return;
        };
        let needed = 1500 + tunnel::overhead_bytes(tunnel, real);
        if written.mtu < needed && self.narrow.insert(port) {
            findings.add(
                Finding::warning(
                    steps!["dataplane", "ports", port, "mtu"],
                    format!("packets of 1500 bytes do not fit into a tunnel on port `{}`", written.name.escape_debug()),
                )
                .help(format!(
                    "set its mtu to {needed} or more where the network carries it; else clients are told to send less"
                ))
                .also(with(place, "address"), "this real server is reached by a tunnel"),
            );
        }
    }
}

fn behind_router(here: Vec<Step>, ip: IpAddr, route: Route) -> Finding {
    Finding::warning(here, format!("the real server {ip} is behind the gateway {}", route.via)).help(
        "`forward: dr` keeps the virtual address as destination, so the gateway does not know the real server; \
         use `tunnel` or `nat`",
    )
}

/// A port that packets do not reach. IPVS lets a service by mark have one all the same.
fn unchanged_port(here: Vec<Step>, port: u16, target: &Target, forward: Forward) -> Finding {
    let method = forward.name();
    match target {
        Target::Match { .. } => Finding::warning(here, format!("the port {port} is only shown"))
            .help(format!("`forward: {method}` delivers the packet unchanged, to any port")),
        Target::Vip(vip) if vip.port == 0 => {
            Finding::error(here, format!("the port {port} of a service of every port")).help(format!(
                "`forward: {method}` delivers the packet unchanged, to its own port; leave the port out, or use `nat`"
            ))
        }
        Target::Vip(vip) => {
            Finding::error(here, format!("the port {port} is not the service's port {}", vip.port)).help(format!(
                "`forward: {method}` delivers the packet unchanged, to the service's port; leave the port out, or use `nat`"
            ))
        }
    }
}

pub(super) fn thresholds(real: &WrittenReal, place: &[Step], findings: &mut Findings<'_, '_>) {
    // As in IPVS, 0 is none.
    let (upper, lower) = (real.upper.unwrap_or(0), real.lower.unwrap_or(0));
    if lower > 0 && upper == 0 {
        findings.add(Finding::error(
            with(place, "lower"),
            "`lower` without `upper` has no meaning",
        ));
    } else if lower > upper {
        findings.add(Finding::error(
            with(place, "lower"),
            format!("`lower` is {lower}; expected at most `upper`, which is {upper}"),
        ));
    }
}
