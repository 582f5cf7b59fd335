//! What differs between the desired state in force and the next one: what the builder is told of a change.
//! It names services by their identity; which slots they have is the builder's.

use crate::spec::network::{DeviceSpec, Network};
use crate::spec::service::ServiceSpec;
use crate::spec::target::Identity;
use crate::time::Time;

/// A change of the desired state. What it does not mention stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// All devices, if what is known of one differs.
    pub devices: Option<Vec<DeviceSpec>>,
    /// All that belongs to no service and no port, if anything of it differs.
    pub network: Option<Network>,
    /// Services that are new or differ, in the configuration's order.
    pub services: Vec<ServiceSpec>,
    /// Services that are no longer there.
    pub removed: Vec<Identity>,
    /// All services whose order matters ([`ServiceSpec::is_ordered`]), in the configuration's order.
    /// `None` leaves the present ones in their order, with the new ones behind them.
    pub order: Option<Vec<Identity>>,
    /// The workers' time, from which a new real server's slow start counts.
    pub now: Time,
}
