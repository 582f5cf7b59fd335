//! From a packet's protocol, addresses and ports to its service. IPVS's order: rules, then virtual addresses.
//! Knows slots only; whether a slot's service is configured is asked of the caller.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::chunked::Sharded;
use super::filter::AddressFilter;
use super::rules::Rules;
use crate::flow::{Address as _, Protocol, V4, V6};
use crate::id::ServiceId;
use crate::spec::target::{FTP, Target, Vip};

/// A prefix as a key: hashed in one step or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PrefixKey(IpNet);

impl Hash for PrefixKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let length = u64::from(self.0.prefix_len());
        match self.0 {
            IpNet::V4(net) => state.write_u64(u64::from(net.addr().to_bits()) << 32 | length),
            IpNet::V6(net) => {
                state.write_u128(net.addr().to_bits());
                state.write_u64(length);
            }
        }
    }
}

/// IANA "ftp-data".
const FTP_DATA: u16 = 20;
/// Linux `ip_unprivileged_port_start`.
const UNPRIVILEGED: u16 = 1024;

/// How services are found. A change of one among a million copies a shard of the maps.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    /// Services by virtual address, removed ones with sessions included.
    services: Sharded<VirtualSocket, ServiceId>,
    lengths: Lengths,
    /// How many of them take every port.
    any_port: u32,
    /// How many of them are FTP's.
    ftp: u32,
    /// Services in slots, by rules too, that others could share a packet with.
    overlapping: u32,
    /// Services that are configured.
    configured: u32,
    /// Virtual addresses of configured services, with the number of services on each.
    addresses: Sharded<PrefixKey, u32>,
    address_lengths: Lengths,
    /// The addresses of services in slots, and the ports' own.
    ours: AddressFilter,
    /// The rules of configured services.
    pub(super) rules: Arc<Rules>,
}

impl Lookup {
    pub(super) fn new(hasher: &RandomState) -> Self {
        Self {
            services: Sharded::new(hasher.clone()),
            lengths: Lengths::default(),
            any_port: 0,
            ftp: 0,
            overlapping: 0,
            configured: 0,
            addresses: Sharded::new(hasher.clone()),
            address_lengths: Lengths::default(),
            ours: AddressFilter::new(),
            rules: Arc::default(),
        }
    }

    /// The slot `id` begins to mean a service with this target.
    pub(super) fn add(&mut self, target: &Target, id: ServiceId) {
        self.overlapping += u32::from(target.may_overlap());
        if let Target::Vip(vip) = target {
            self.services.insert(VirtualSocket::of(vip), id);
            self.ours.add_network(&vip.addresses);
            self.lengths.add(&vip.addresses);
            self.any_port += u32::from(vip.port == 0);
            self.ftp += u32::from(vip.is_ftp());
        }
    }

    /// The slot of the service with this target is given back.
    pub(super) fn remove(&mut self, target: &Target) {
        self.overlapping -= u32::from(target.may_overlap());
        if let Target::Vip(vip) = target {
            self.services.remove(&VirtualSocket::of(vip));
            self.ours.remove_network(&vip.addresses);
            self.lengths.remove(&vip.addresses);
            self.any_port -= u32::from(vip.port == 0);
            self.ftp -= u32::from(vip.is_ftp());
        }
    }

    /// The slot of the service on exactly these addresses and this port.
    pub(super) fn slot_of(&self, vip: &Vip) -> Option<ServiceId> {
        self.services.get(&VirtualSocket::of(vip)).copied()
    }

    /// Whether a configured service has exactly these addresses.
    pub(super) fn has_addresses(&self, addresses: &IpNet) -> bool {
        self.addresses.get(&PrefixKey(*addresses)).is_some()
    }

    /// The addresses that configured services have, each once.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &IpNet> {
        self.addresses.iter().map(|(addresses, _)| &addresses.0)
    }

    /// A service with this target is configured.
    pub(super) fn occupy(&mut self, target: &Target) {
        self.configured += 1;
        if let Target::Vip(vip) = target {
            self.addresses.retain_key(PrefixKey(vip.addresses));
            self.address_lengths.add(&vip.addresses);
        }
    }

    /// A service with this target is no longer configured.
    pub(super) fn leave(&mut self, target: &Target) {
        self.configured -= 1;
        if let Target::Vip(vip) = target {
            self.addresses.release_key(&PrefixKey(vip.addresses));
            self.address_lengths.remove(&vip.addresses);
        }
    }

    /// The first thing that `take` makes of the services on this virtual socket: the longest prefix first,
    /// an address being the longest, and of each the port before port 0. As in IPVS, what may be a data
    /// connection is FTP's before it is that of port 0; whether that service takes it is `take`'s to say.
    #[inline]
    pub(super) fn find_at<T>(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        mut take: impl FnMut(ServiceId) -> Option<T>,
    ) -> Option<T> {
        let any_port = (self.any_port > 0 && port != 0).then_some(0);
        let is_data = protocol == Protocol::Tcp && (port == FTP_DATA || port >= UNPRIVILEGED);
        let ftp = (self.ftp > 0 && is_data).then_some(FTP);
        for (length, _) in self.lengths.of_family(address) {
            let mut on = |port| {
                let key = VirtualSocket::new(protocol, address, *length, port);
                self.services.get(&key).and_then(|id| take(*id))
            };
            let taken = on(port)
                .or_else(|| ftp.and_then(&mut on))
                .or_else(|| any_port.and_then(&mut on));
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// Whether a configured service is on this address.
    #[inline]
    pub(super) fn is_vip(&self, address: IpAddr) -> bool {
        self.ours.may_have_ip(address)
            && self
                .address_lengths
                .of_family(address)
                .iter()
                .filter_map(|(length, _)| prefix(address, *length))
                .any(|prefix| self.addresses.get(&PrefixKey(prefix)).is_some())
    }

    /// Whether an address may be that of a service in a slot, or a port's. Never wrong if it says no.
    #[inline]
    pub(super) fn may_have(&self, address: impl crate::flow::Address) -> bool {
        self.ours.may_have(address)
    }

    /// Whether an address may be a virtual one or a port's. Never wrong if it says no.
    #[inline]
    pub(super) fn may_be_ours(&self, address: IpAddr) -> bool {
        self.ours.may_have_ip(address)
    }

    /// This is a port's own address.
    pub(super) fn add_local(&mut self, address: IpAddr) {
        self.ours.add(address);
    }

    /// This is no longer a port's own address.
    pub(super) fn remove_local(&mut self, address: IpAddr) {
        self.ours.remove(address);
    }

    /// Whether more than one service is configured.
    pub(super) const fn has_several_services(&self) -> bool {
        self.configured > 1
    }

    /// Whether any service is configured.
    #[inline]
    pub(super) const fn has_services(&self) -> bool {
        self.configured > 0
    }

    /// Whether one packet could be of more than one service.
    #[inline]
    pub(super) const fn has_overlaps(&self) -> bool {
        self.overlapping > 0
    }
}

/// A virtual socket, of an address or a prefix, as whole words: every new session asks for one, and an `IpNet` is
/// compared byte by byte and hashed field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct VirtualSocket {
    network: [u64; 2],
    /// Port, protocol, length and family.
    rest: u64,
}

impl VirtualSocket {
    /// On the prefix of this length that `address` is in.
    #[inline]
    fn new(protocol: Protocol, address: IpAddr, length: u8, port: u16) -> Self {
        let (network, is_v6) = match address {
            IpAddr::V4(address) => (V4::from(address).network(length).words(), 0),
            IpAddr::V6(address) => (V6::from(address).network(length).words(), 1 << 32),
        };
        let rest = u64::from(port) << 16 | u64::from(protocol.number()) << 8 | u64::from(length);
        Self {
            network,
            rest: is_v6 | rest,
        }
    }

    fn of(vip: &Vip) -> Self {
        let (address, length) = (vip.addresses.addr(), vip.addresses.prefix_len());
        Self::new(vip.protocol, address, length, vip.port)
    }
}

impl Hash for VirtualSocket {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, second] = self.network;
        if self.rest >> 32 == 0 {
            state.write_u64(first << 32 | self.rest);
        } else {
            state.write_u64(first);
            state.write_u64(second);
            state.write_u64(self.rest);
        }
    }
}

/// The lengths of prefixes that there are, each with its number of users, longest first.
#[derive(Debug, Clone, Default)]
struct Lengths {
    v4: Vec<(u8, u32)>,
    v6: Vec<(u8, u32)>,
}

impl Lengths {
    const fn of(&mut self, net: &IpNet) -> &mut Vec<(u8, u32)> {
        match net {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        }
    }

    fn add(&mut self, net: &IpNet) {
        let (lengths, wanted) = (self.of(net), net.prefix_len());
        let place = lengths.partition_point(|(length, _)| *length > wanted);
        match lengths.get_mut(place) {
            Some((length, users)) if *length == wanted => *users += 1,
            _ => lengths.insert(place, (wanted, 1)),
        }
    }

    fn remove(&mut self, net: &IpNet) {
        let wanted = net.prefix_len();
        self.of(net).retain_mut(|(length, users)| {
            *users -= u32::from(*length == wanted);
            *users > 0
        });
    }

    /// Those for an address's family.
    #[inline]
    fn of_family(&self, address: IpAddr) -> &[(u8, u32)] {
        match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }
}

/// The prefix of this length that `address` is in; `None` if no address of its family is that long.
#[inline]
fn prefix(address: IpAddr, length: u8) -> Option<IpNet> {
    Some(match address {
        IpAddr::V4(address) if length == 32 => Ipv4Net::from(address).into(),
        IpAddr::V4(address) => Ipv4Net::new(address, length).ok()?.trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new(address, length).ok()?.trunc().into(),
    })
}

#[cfg(test)]
mod tests;
