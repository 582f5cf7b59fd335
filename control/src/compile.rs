//! From a checked configuration to what the data plane's builder is told.
//! Nothing is validated again here, and no slot is given out.

use plimsoll_dataplane::id::{DeviceId, PortId};
use plimsoll_dataplane::snapshot::delta::Delta;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::network::{DeviceSpec, PortRole, PortSpec};
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;

use crate::changes::Difference;
use crate::config::valid::{ReloadConfig, StartConfig};

/// The devices and ports of the data plane: first the configured ones, then a port to the kernel for each that has an
/// exception path, in the same order. Each port is on a device of its own. `macs` are those of the configured ports'
/// devices.
#[must_use]
pub fn ports(start: &StartConfig, macs: &[Mac]) -> (Vec<DeviceSpec>, Vec<PortSpec>) {
    let numbers = || (0..).map(|number| (DeviceId::new(number), PortId::new(number)));
    let mut kernel_numbers = numbers().skip(start.ports.len());
    let (mut devices, mut ports) = (Vec::new(), Vec::new());
    let (mut kernel_devices, mut kernel_ports) = (Vec::new(), Vec::new());
    for ((port, mac), (device, id)) in start.ports.iter().zip(macs).zip(numbers()) {
        let kernel = port.kernel.then(|| kernel_numbers.next()).flatten();
        let spec = PortSpec {
            name: port.name.as_str().into(),
            device,
            mtu: port.mtu_bytes,
            addresses: port.addresses.clone(),
            role: PortRole::Network {
                kernel: kernel.map(|(_, kernel)| kernel),
            },
        };
        if let Some((device, kernel)) = kernel {
            kernel_devices.push(DeviceSpec::new(*mac, kernel));
            kernel_ports.push(PortSpec {
                device,
                addresses: Vec::new(),
                role: PortRole::Kernel { network: id },
                ..spec.clone()
            });
        }
        devices.push(DeviceSpec::new(*mac, id));
        ports.push(spec);
    }
    devices.append(&mut kernel_devices);
    ports.append(&mut kernel_ports);
    (devices, ports)
}

/// The whole desired state.
#[must_use]
pub fn spec(devices: &[DeviceSpec], ports: &[PortSpec], reload: &ReloadConfig) -> Spec {
    Spec {
        devices: devices.to_vec(),
        ports: ports.to_vec(),
        network: reload.network.clone(),
        services: reload.services.to_vec(),
        ..Spec::default()
    }
}

/// What a change means: only what differs, unless it reaches all services. `now` is the workers' time.
#[must_use]
pub fn delta(difference: &Difference<'_>, now: Time) -> Delta {
    let reload = difference.new_config();
    let identity = |service: &ServiceSpec| service.target.identity();
    let changed = difference.changed.iter().map(|(_, new)| *new);
    let ordered = || reload.services.iter().filter(|one| one.is_ordered());
    Delta {
        devices: None,
        network: difference.network.then(|| reload.network.clone()),
        services: if difference.reaches_all_services() {
            reload.services.to_vec()
        } else {
            let added = difference.added.iter().copied();
            changed.chain(added).cloned().collect()
        },
        removed: difference.removed.iter().map(|one| identity(one)).collect(),
        order: difference
            .reordered
            .then(|| ordered().map(identity).collect()),
        now,
    }
}
