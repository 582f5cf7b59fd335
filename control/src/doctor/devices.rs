//! The ports' devices: PCI NICs with their drivers, IOMMU and NUMA node, and interfaces that the kernel lends.
//! It reads `/sys` alone, and opens no device.

use super::finding::{Finding, Level, Root};
use super::machine::node;
use crate::config::valid::{Port, StartConfig};

const PCI: &str = "sys/bus/pci/devices";
const NET: &str = "sys/class/net";
const UNSAFE: &str = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/// Drivers by which DPDK uses a NIC; NVIDIA's keep the kernel's.
const BY_DPDK: [&str; 5] = [
    "vfio-pci",
    "uio_pci_generic",
    "igb_uio",
    "mlx5_core",
    "mlx4_core",
];

/// What is found about the device of a port.
pub(super) fn device(root: &Root, port: &Port, start: &StartConfig) -> Vec<Finding> {
    let about = format!("device {}", port.name);
    let name = port.device.split(',').next().unwrap_or_default().trim();
    if name.contains(':') {
        let name = if name.split(':').count() == 2 {
            format!("0000:{name}")
        } else {
            name.to_owned()
        };
        return pci(root, &about, &name.to_ascii_lowercase(), start);
    }
    let lends = ["net_af_packet", "eth_af_packet", "net_af_xdp", "eth_af_xdp"];
    match interface(&port.device) {
        Some(interface) if lends.iter().any(|driver| name.starts_with(driver)) => {
            lent(root, &about, interface, port.mtu_bytes)
        }
        _ => vec![Finding::new(
            Level::Ok,
            about,
            format!("{name} needs no preparation"),
        )],
    }
}

fn pci(root: &Root, about: &str, address: &str, start: &StartConfig) -> Vec<Finding> {
    let find = |level, what: String| Finding::new(level, about, what);
    let folder = format!("{PCI}/{address}");
    if !root.exists(&folder) {
        let what = format!("there is no PCI device {address}");
        return vec![find(Level::Error, what).mend("dpdk-devbind.py --status-dev net")];
    }
    let mut findings = Vec::new();
    let driver = root.link(&format!("{folder}/driver"));
    match driver.as_deref() {
        Some(driver) if BY_DPDK.contains(&driver) => {
            findings.push(find(Level::Ok, format!("{address} is bound to {driver}")));
        }
        other => {
            let other = other.map_or_else(
                || "to no driver".to_owned(),
                |driver| format!("to {driver}, with which the kernel has it"),
            );
            let what = format!("{address} is bound {other}");
            let command = format!("modprobe vfio-pci && dpdk-devbind.py -b vfio-pci {address}");
            findings.push(find(Level::Error, what).mend(command));
        }
    }
    let needs_iommu = !driver.is_some_and(|driver| driver.starts_with("mlx"));
    if needs_iommu && root.link(&format!("{folder}/iommu_group")).is_none() {
        let allowed = root.read(UNSAFE).is_some_and(|word| word == "Y");
        findings.push(if allowed {
            let what = format!("{address} has no IOMMU, which vfio has been told to do without");
            find(Level::Warning, what)
        } else {
            find(Level::Error, format!("{address} has no IOMMU, which vfio-pci needs"))
                .mend("# add to the kernel's command line, and start again: intel_iommu=on iommu=pt (AMD: amd_iommu=on)")
                .mend("# or, in a virtual machine that has none:")
                .mend(format!("modprobe vfio enable_unsafe_noiommu_mode=1 && echo Y > /{UNSAFE}"))
        });
    }
    let of_device = root.number(&format!("{folder}/numa_node"));
    if let Some(of_device) = of_device.filter(|node| *node >= 0) {
        let cpus = start.cpus.iter().flatten();
        let far = cpus.filter(|cpu| node(root, **cpu).is_some_and(|node| node != of_device));
        let far: Vec<String> = far.map(ToString::to_string).collect();
        if !far.is_empty() {
            let what = format!(
                "{address} is on NUMA node {of_device}, and CPU {} is not: its packets cross between both",
                far.join(",")
            );
            let by_hand = format!(
                "# change dataplane.cpus to CPUs of /sys/devices/system/node/node{of_device}/cpulist"
            );
            findings.push(find(Level::Warning, what).mend(by_hand));
        }
    }
    findings
}

/// The value of `iface` among a virtual device's arguments.
fn interface(device: &str) -> Option<&str> {
    let mut pairs = device
        .split(',')
        .skip(1)
        .filter_map(|pair| pair.split_once('='));
    let iface = pairs.find(|(key, _)| key.trim() == "iface")?;
    // It becomes part of a path.
    Some(iface.1.trim()).filter(|name| !name.contains('/'))
}

fn lent(root: &Root, about: &str, interface: &str, mtu: u16) -> Vec<Finding> {
    let find = |level, what: String| Finding::new(level, about, what);
    let folder = format!("{NET}/{interface}");
    if !root.exists(&folder) {
        let what = format!("there is no interface {interface}");
        return vec![find(Level::Error, what).mend("ip -br link")];
    }
    let mut findings = Vec::new();
    let state = root.read(&format!("{folder}/operstate"));
    if state.as_deref() == Some("down") {
        let what = format!("{interface} is down, or has no link");
        findings.push(find(Level::Error, what).mend(format!("ip link set {interface} up")));
    }
    let own = root.number(&format!("{folder}/mtu"));
    if let Some(own) = own.filter(|own| *own < i64::from(mtu)) {
        let what = format!(
            "{interface} has an MTU of {own}, and the port one of {mtu}: larger packets are lost"
        );
        let command = format!("ip link set {interface} mtu {mtu}");
        findings.push(find(Level::Error, what).mend(command));
    }
    if findings.is_empty() {
        findings.push(find(Level::Ok, format!("{interface} is there and up")));
    }
    findings
}
