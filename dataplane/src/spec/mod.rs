//! The one vocabulary: all that an operator can say, as plain types, already validated.
//! No slot numbers and no derived values belong here.

pub mod forward;
pub mod limits;
pub mod network;
pub mod policy;
pub mod scheduler;
pub mod service;
pub mod target;
pub mod timeouts;

use crate::time::Time;
use network::{DeviceSpec, Network, PortSpec};
use service::ServiceSpec;

/// The whole desired state. Lists keep the configuration's order.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// The devices; a `DeviceId` is a place in this list.
    pub devices: Vec<DeviceSpec>,
    /// The ports; a `PortId` is a place in this list.
    pub ports: Vec<PortSpec>,
    /// What else belongs to no service.
    pub network: Network,
    /// What is balanced. Rules of services by match are consulted in this order.
    pub services: Vec<ServiceSpec>,
    /// The workers' time, from which a new real server's slow start counts.
    pub now: Time,
}
