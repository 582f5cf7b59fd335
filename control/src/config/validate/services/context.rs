//! What is known across services while they are checked.
//! What is a mistake is said by those who check.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use plimsoll_dataplane::spec::target::Identity;

use crate::config::file::{Config, Service as WrittenService};
use crate::config::validate::network::{Net, Reach};

/// What is known across services.
pub(super) struct Context<'c> {
    pub(super) config: &'c Config,
    pub(super) net: &'c Net,
    pub(super) vips: VirtualAddresses,
    /// Which service was the first of each identity.
    pub(super) identities: HashMap<Identity, usize>,
    /// What the rules so far cost.
    pub(super) comparisons: usize,
    /// How each real server's address is reached; many services share them.
    pub(super) reached: HashMap<IpAddr, Reach>,
    /// Ports whose MTU was found too small for a tunnel.
    pub(super) narrow: HashSet<usize>,
}

impl<'c> Context<'c> {
    pub(super) fn new(config: &'c Config, net: &'c Net) -> Self {
        Self {
            config,
            net,
            vips: VirtualAddresses::of(&config.services),
            identities: HashMap::new(),
            comparisons: 0,
            reached: HashMap::new(),
            narrow: HashSet::new(),
        }
    }
}

/// The virtual addresses of all services.
pub(super) struct VirtualAddresses {
    nets: HashSet<IpNet>,
    lengths: BTreeSet<u8>,
}

impl VirtualAddresses {
    pub(super) fn of(services: &[WrittenService]) -> Self {
        let vips = services.iter().filter_map(|service| service.vip);
        let nets: HashSet<IpNet> = vips.map(|vip| vip.addresses.trunc()).collect();
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
