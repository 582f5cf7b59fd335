//! Checks of `dataplane` and `control`.
//! Whether the CPUs and devices exist is the daemon's to find out; a check must say the same on any machine.

use std::collections::HashMap;
use std::path::PathBuf;

use ipnet::IpNet;

use super::finding::{Finding, Findings, Gaps, not_a_host, steps};
use crate::config::file::{Config, NO_STATE, Port as WrittenPort};
use crate::config::leaf::{HttpAddr, Leaf as _};
use crate::config::valid::{Port, StartConfig};

/// What Linux allows for an interface name.
const MAX_PORT_NAME: usize = 15;
/// What a Unix socket's path can hold, without its final zero.
const MAX_SOCKET_PATH: usize = 107;
const MIN_MEMORY_BYTES: u64 = 16 << 20;
const MIN_IPV6_MTU: u16 = 1280;

pub(super) fn check(config: &Config, gaps: Gaps, findings: &mut Findings<'_, '_>) -> StartConfig {
    let dataplane = &config.dataplane;
    if let Some(cpus) = &dataplane.cpus {
        check_cpus(cpus, findings);
    }
    let memory_bytes = dataplane.memory.size.0;
    if memory_bytes < MIN_MEMORY_BYTES {
        findings.add(Finding::error(
            steps!["dataplane", "memory", "size"],
            format!(
                "{} is too little memory; expected at least 16MiB",
                dataplane.memory.size.print()
            ),
        ));
    }
    if dataplane.ports.is_empty() && !gaps.ports {
        findings.add(Finding::error(
            steps!["dataplane", "ports"],
            "expected at least one port",
        ));
    }
    check_ports(&dataplane.ports, findings);
    check_socket(&config.control.socket, findings);
    check_http(config.control.http, findings);
    let state = state(&config.control.state, findings);
    StartConfig {
        cpus: dataplane.cpus.clone(),
        sessions_per_worker: dataplane.sessions.0,
        hugepages: dataplane.memory.hugepages,
        memory_bytes,
        idle: dataplane.idle,
        eal_args: dataplane.eal_args.clone(),
        ports: dataplane.ports.iter().map(port).collect(),
        socket: PathBuf::from(&config.control.socket),
        http: config.control.http.address(),
        state,
        drain: config.control.drain,
    }
}

fn port(port: &WrittenPort) -> Port {
    Port {
        name: port.name.clone(),
        device: device(&port.device).unwrap_or_default(),
        addresses: port.addresses.clone(),
        mtu_bytes: port.mtu.0,
        kernel: port.kernel,
    }
}

/// Packets that change workers count their hops in a byte.
const MAX_WORKERS: usize = 255;

fn check_cpus(cpus: &[u16], findings: &mut Findings<'_, '_>) {
    if cpus.is_empty() {
        findings.add(
            Finding::error(steps!["dataplane", "cpus"], "expected at least one CPU")
                .help("remove the key for every CPU but the first"),
        );
    }
    if cpus.len() > MAX_WORKERS {
        findings.add(Finding::error(
            steps!["dataplane", "cpus"],
            format!("{} CPUs; expected at most {MAX_WORKERS}", cpus.len()),
        ));
    }
    let mut seen = HashMap::new();
    for (at, cpu) in cpus.iter().enumerate() {
        if let Some(first) = seen.insert(*cpu, at) {
            findings.add(
                Finding::error(
                    steps!["dataplane", "cpus", at],
                    format!("CPU {cpu} is here twice"),
                )
                .help("a CPU runs one worker")
                .also(steps!["dataplane", "cpus", first], "it is here first"),
            );
            seen.insert(*cpu, first);
        }
    }
}

fn check_socket(socket: &str, findings: &mut Findings<'_, '_>) {
    let steps = steps!["control", "socket"];
    if !socket.starts_with('/') {
        findings.add(Finding::error(steps, "expected an absolute path").help("it begins with `/`"));
    } else if socket.len() > MAX_SOCKET_PATH {
        let message = format!(
            "the path has {} bytes; a socket's can have {MAX_SOCKET_PATH}",
            socket.len()
        );
        findings.add(Finding::error(steps, message));
    }
}

/// Where what outlives the daemon is kept, if anything is.
fn state(written: &str, findings: &mut Findings<'_, '_>) -> Option<PathBuf> {
    if written != NO_STATE && !written.starts_with('/') {
        let what = format!("expected an absolute path or `{NO_STATE}`");
        findings
            .add(Finding::error(steps!["control", "state"], what).help("a path begins with `/`"));
    }
    (written != NO_STATE).then(|| PathBuf::from(written))
}

/// What HTTP serves asks nobody who he is.
fn check_http(http: HttpAddr, findings: &mut Findings<'_, '_>) {
    if let Some(address) = http.address()
        && !address.ip().to_canonical().is_loopback()
    {
        let from = if address.ip().is_unspecified() {
            "from every network that this machine is on"
        } else {
            "from other machines"
        };
        let message = format!("/metrics and /api can be read {from}, without a password");
        findings.add(
            Finding::warning(steps!["control", "http"], message).help(format!(
                "write 127.0.0.1:{0}, or have a firewall let only the machine that scrapes reach port {0}",
                address.port()
            )),
        );
    }
}

fn check_ports(ports: &[WrittenPort], findings: &mut Findings<'_, '_>) {
    let (mut names, mut devices, mut addresses) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut networks: Vec<(IpNet, usize, usize)> = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let here = |key| steps!["dataplane", "ports", at, key];
        if let Err(why) = port_name(&port.name) {
            findings.add(Finding::error(here("name"), why).help(
                "a port's name is also its TAP's: 1 to 15 letters, digits and `-`, `_`, `.`",
            ));
        }
        if let Some(first) = names.insert(port.name.as_str(), at) {
            findings.add(
                Finding::error(
                    here("name"),
                    format!("two ports are named `{}`", port.name.escape_debug()),
                )
                .also(
                    steps!["dataplane", "ports", first, "name"],
                    "the first is here",
                ),
            );
        }
        match device(&port.device) {
            Err((message, help)) => {
                findings.add(Finding::error(here("device"), message).help(help))
            }
            Ok(device) => {
                let own = device.split(',').next().unwrap_or_default().to_owned();
                if let Some(first) = devices.insert(own.clone(), at) {
                    findings.add(
                        Finding::error(here("device"), format!("two ports have the device {own}"))
                            .also(
                                steps!["dataplane", "ports", first, "device"],
                                "the first is here",
                            ),
                    );
                }
            }
        }
        for (nth, net) in port.addresses.iter().copied().enumerate() {
            let here = steps!["dataplane", "ports", at, "addresses", nth];
            if let Some(why) = not_an_own_address(net) {
                findings.add(Finding::error(
                    here,
                    format!("{net} is {why}, which a port cannot have"),
                ));
                continue;
            }
            if let Some((port, item)) = addresses.insert(net.addr(), (at, nth)) {
                findings.add(
                    Finding::error(here, format!("the address {} is here twice", net.addr())).also(
                        steps!["dataplane", "ports", port, "addresses", item],
                        "it is here first",
                    ),
                );
                continue;
            }
            let overlap = networks.iter().find(|(other, port, _)| {
                *port != at && (other.contains(&net.trunc()) || net.contains(&other.trunc()))
            });
            if let Some((other, port, item)) = overlap {
                findings.add(
                    Finding::warning(here, format!("{net} overlaps {other} of another port"))
                        .help("packets go to the port with the longest prefix, and of two alike to the first")
                        .also(steps!["dataplane", "ports", *port, "addresses", *item], "the other is here"),
                );
            }
            networks.push((net, at, nth));
        }
        if port.mtu.0 < MIN_IPV6_MTU && port.addresses.iter().any(|net| net.addr().is_ipv6()) {
            findings.add(Finding::error(
                here("mtu"),
                format!(
                    "an MTU of {} is too small for IPv6; expected at least {MIN_IPV6_MTU}",
                    port.mtu.0
                ),
            ));
        }
    }
}

fn not_an_own_address(net: IpNet) -> Option<&'static str> {
    if let Some(why) = not_a_host(net.addr()) {
        return Some(why);
    }
    match net {
        // RFC 3021: a /31 has neither.
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.network() => {
            Some("its network's own address")
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && v4.addr() == v4.broadcast() => {
            Some("its network's broadcast address")
        }
        _ if net.prefix_len() == 0 => Some("an address with prefix length 0"),
        _ => None,
    }
}

fn port_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "`{}` cannot be in a port's name",
            bad.escape_debug()
        ));
    }
    if name.len() > MAX_PORT_NAME {
        return Err(format!(
            "the name has {} characters; a port's can have {MAX_PORT_NAME}",
            name.len()
        ));
    }
    if matches!(name, "." | ".." | "all" | "default" | "lo") {
        return Err(format!("`{name}` is not free for a port"));
    }
    Ok(())
}

/// The device as DPDK takes it, or what is wrong with it and what to write.
fn device(text: &str) -> Result<String, (String, String)> {
    const PCI: &str = "a PCI address such as 0000:3b:00.0";
    const VDEV: &str = "a DPDK virtual device such as net_af_packet0,iface=eth1";
    let shown = text.escape_debug();
    let (device, arguments) = text.split_at(text.find(',').unwrap_or(text.len()));
    if text.is_empty() || text.chars().any(char::is_whitespace) {
        return Err((
            format!("`{shown}` is not a device"),
            format!("expected {PCI}, or {VDEV}"),
        ));
    }
    if let Some(address) = pci(device) {
        return Ok(format!("{address}{arguments}"));
    }
    if device.contains(':') {
        // Other buses, by name.
        if device.starts_with("auxiliary:") || device.starts_with("vmbus:") {
            return Ok(text.to_owned());
        }
        return Err((
            format!("`{shown}` is not a PCI address"),
            "expected DOMAIN:BUS:DEVICE.FUNCTION, 0000:3b:00.0".into(),
        ));
    }
    let named = device.starts_with(|c: char| c.is_ascii_alphabetic())
        && device
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if named && device.contains('_') {
        return Ok(text.to_owned());
    }
    Err((
        format!("`{shown}` is neither a PCI address nor a DPDK virtual device"),
        if named {
            format!("for a network interface of Linux write net_af_packet0,iface={device}")
        } else {
            format!("expected {PCI}, or {VDEV}")
        },
    ))
}

/// A PCI address in lower case with its domain.
fn pci(text: &str) -> Option<String> {
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.rsplit(':');
    let (slot, bus, domain) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0000"));
    let good = hex(slot, 2)
        && hex(bus, 2)
        && (hex(domain, 4) || hex(domain, 8))
        && matches!(function.as_bytes(), [b'0'..=b'7'])
        && parts.next().is_none();
    good.then(|| format!("{domain}:{bus}:{slot}.{function}").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_pci_address_or_a_virtual_device() {
        assert_eq!(device("3B:00.1").as_deref(), Ok("0000:3b:00.1"));
        assert_eq!(
            device("0000:3b:00.0,dv_flow_en=1").as_deref(),
            Ok("0000:3b:00.0,dv_flow_en=1")
        );
        for good in [
            "net_af_packet0,iface=veth0",
            "net_null0",
            "virtio_user0,path=/dev/vhost-net",
            "auxiliary:mlx5_core.sf.8",
        ] {
            assert_eq!(device(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "eth0",
            "0000:3b:00",
            "0000:3b:00.8",
            "3b:0:0",
            "net_null0 x",
            "::",
            "_x",
            "00000:3b:00.0",
        ] {
            assert!(device(bad).is_err(), "{bad}");
        }
        assert!(
            device("eth0")
                .unwrap_err()
                .1
                .contains("net_af_packet0,iface=eth0")
        );
    }
}
