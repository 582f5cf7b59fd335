//! Checks of a service's real servers: where they are, how they are reached, and their thresholds.
//! What a service takes is checked beside this.

use std::net::IpAddr;

use plimsoll_dataplane::spec::forward::{ForwardMethod, TunnelKind};
use plimsoll_dataplane::spec::service::RealSpec;
use plimsoll_dataplane::spec::target::Target;

use super::context::Context;
use crate::config::tree::Step;
use crate::config::validate::finding::{Finding, Findings, family, not_a_host, steps, with};
use crate::config::validate::network::Reach;
use crate::config::validate::tunnel;

impl Context<'_> {
    pub(super) fn real(
        &mut self,
        target: &Target,
        real: &RealSpec,
        place: &[Step],
        findings: &mut Findings<'_, '_>,
    ) {
        let here = with(place, "address");
        let (ip, forward) = (real.address, real.forward);
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
        if !forward.crosses_families() && ip.is_ipv6() != target.is_v6() {
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
                    "`forward: {}` keeps the address family; only {} crosses it",
                    forward.name(),
                    ForwardMethod::any_of(ForwardMethod::crosses_families)
                )),
            );
            return;
        }
        if !forward.rewrites_destination() && real.port != target.port() {
            findings.add(unchanged_port(here.clone(), real.port, target, forward));
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
            Reach::Routed(via, _) if !forward.is_routable() => {
                findings.add(behind_router(here, ip, via, forward))
            }
            Reach::OnLink(port) | Reach::Routed(_, port) if forward.encapsulates() => {
                if let Some(source) = real.tunnel_source
                    && source.is_ipv4() != ip.is_ipv4()
                {
                    findings.add(Finding::error(
                        with(place, "address"),
                        format!("the tunnel's source {source} is not of the family of {ip}"),
                    ));
                }
                self.tunnel_mtu(port, (real.tunnel, ip), place, findings);
            }
            Reach::OnLink(_) | Reach::Routed(..) | Reach::Unknown => {}
        }
    }

    /// A real server that is this machine: its kernel gets the packets as they are, if there is a way.
    fn own_real(
        &self,
        ip: IpAddr,
        port: usize,
        forward: ForwardMethod,
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
        if forward.rewrites_destination() {
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
        (tunnel, real): (TunnelKind, IpAddr),
        place: &[Step],
        findings: &mut Findings<'_, '_>,
    ) {
        let Some(written) = self.config.dataplane.ports.get(port) else {
            return;
        };
        let needed = 1500 + tunnel::overhead_bytes(tunnel, real);
        if written.mtu.0 < needed && self.narrow.insert(port) {
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

fn behind_router(here: Vec<Step>, ip: IpAddr, via: IpAddr, forward: ForwardMethod) -> Finding {
    Finding::warning(here, format!("the real server {ip} is behind the gateway {via}")).help(format!(
        "`forward: {}` keeps the virtual address as destination, so the gateway does not know the real server; use {}",
        forward.name(),
        ForwardMethod::any_of(ForwardMethod::is_routable)
    ))
}

/// A port that packets do not reach. IPVS lets a service by mark have one all the same.
fn unchanged_port(here: Vec<Step>, port: u16, target: &Target, forward: ForwardMethod) -> Finding {
    let method = forward.name();
    let others = ForwardMethod::any_of(ForwardMethod::rewrites_destination);
    match target {
        Target::Match { .. } => Finding::warning(here, format!("the port {port} is only shown"))
            .help(format!("`forward: {method}` delivers the packet unchanged, to any port")),
        Target::Vip(vip) if vip.port == 0 => {
            Finding::error(here, format!("the port {port} of a service of every port")).help(format!(
                "`forward: {method}` delivers the packet unchanged, to its own port; leave the port out, or use {others}"
            ))
        }
        Target::Vip(vip) => {
            Finding::error(here, format!("the port {port} is not the service's port {}", vip.port)).help(format!(
                "`forward: {method}` delivers the packet unchanged, to the service's port; leave the port out, or use {others}"
            ))
        }
    }
}
