//! From a checked configuration to what the data plane's builder is told.
//! Nothing is validated again here, and no slot is given out.

use plimsoll_dataplane::id::PortId;
use plimsoll_dataplane::snapshot::delta::Delta;
use plimsoll_dataplane::spec::Spec;
use plimsoll_dataplane::spec::network::{PortRole, PortSpec};
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::wire::Mac;

use crate::changes::Difference;
use crate::config::valid::{ReloadConfig, StartConfig};

/// The ports of the data plane: first the configured ones, then a kernel port for each that has an
/// exception path, in the same order. `macs` are the configured ports' MACs.
#[must_use]
pub fn ports(start: &StartConfig, macs: &[Mac]) -> Vec<PortSpec> {
    let mut kernel_ports = (0_u16..).skip(start.ports.len());
    let networks: Vec<PortSpec> = start
        .ports
        .iter()
        .zip(macs)
        .map(|(port, mac)| PortSpec {
            name: port.name.as_str().into(),
            mac: *mac,
            mtu: port.mtu_bytes,
            addresses: port.addresses.clone(),
            role: PortRole::Network {
                kernel: port
                    .kernel
                    .then(|| kernel_ports.next())
                    .flatten()
                    .map(PortId),
            },
            steered: false,
        })
        .collect();
    let kernels = (0_u16..)
        .zip(&networks)
        .filter(|(_, port)| matches!(port.role, PortRole::Network { kernel: Some(_) }));
    let kernels: Vec<PortSpec> = kernels
        .map(|(network, port)| PortSpec {
            addresses: Vec::new(),
            role: PortRole::Kernel {
                network: PortId(network),
            },
            steered: false,
            ..port.clone()
        })
        .collect();
    networks.into_iter().chain(kernels).collect()
}

/// The whole desired state.
#[must_use]
pub fn spec(ports: &[PortSpec], reload: &ReloadConfig) -> Spec {
    Spec {
        ports: ports.to_vec(),
        network: reload.network.clone(),
        services: reload.services.clone(),
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
        ports: None,
        network: difference.network.then(|| reload.network.clone()),
        services: if difference.reaches_all_services() {
            reload.services.clone()
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
