//! Which worker owns a flow, that is, keeps its session, and how the owner of a reply's flow is found.
//! It yields a rule, not a worker's number: that is computed by the pipeline, which also hands packets over.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use super::chunked::Sharded;
use super::filter::AddressFilter;
use crate::flow::{Address, Protocol};
use crate::id::ServiceId;

/// Protocol, address and port of a real server's socket.
pub type SocketKey = (Protocol, IpAddr, u16);

/// The rule that determines which worker owns a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The worker that receives the packets from the NIC. All packets of the flow come from the client, so they
    /// arrive on one worker.
    Receiver,
    /// A hash of the client's address and port. For NAT, whose packets come from both sides.
    Socket,
    /// The worker whose queue the NIC chooses for the client's packets, computed in software
    /// ([`crate::steering::Steering`]). For NAT, if the real server's socket identifies the virtual socket, so that
    /// the client's packet can be reconstructed from a reply.
    Flow,
    /// A hash of so many leading bits of the client's address. For persistence, where one template serves all clients
    /// of a network.
    Network(u8),
}

impl Owner {
    /// The rule that a service has from now on, if its configuration asks for `wanted` while sessions may exist whose
    /// owners were determined by `self`; and whether such sessions may be misplaced, that is, on other workers than
    /// the new rule says.
    ///
    /// Flows with the same owner by a finer rule (more bits) have the same owner by a coarser one as well. So the
    /// coarser rule is kept where possible, and no session has to be searched for. `Flow` is not kept once services
    /// share a real server's socket: a reply would have to visit one owner for each of them.
    pub(super) const fn after_change_to(self, wanted: Self) -> (Self, bool) {
        match (self, wanted) {
            // The NIC still delivers the packets of these sessions to the workers that have them.
            (Self::Receiver, _) => (wanted, false),
            (_, Self::Receiver)
            | (Self::Socket | Self::Network(_), Self::Socket | Self::Flow)
            | (Self::Flow, Self::Flow) => (self, false),
            (Self::Network(old), Self::Network(new)) if old <= new => (self, false),
            (Self::Flow, Self::Socket)
            | (Self::Socket | Self::Flow | Self::Network(_), Self::Network(_)) => (wanted, true),
        }
    }
}

/// The users of one real server's socket, from which replies of NAT sessions come.
#[derive(Debug, Clone)]
struct Users {
    /// How many real servers, of different services, have this socket.
    count: u32,
    /// The rule for the owners of their sessions; `None` if they have different rules.
    owner: Option<Owner>,
    /// The services with the rule [`Owner::Flow`].
    flows: Arc<[ServiceId]>,
}

/// The users of one socket: those with exactly its port, and those with all ports of its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NatSocket<'a> {
    exact: Option<&'a Users>,
    any_port: Option<&'a Users>,
}

impl<'a> NatSocket<'a> {
    /// The rule for the owners of its sessions; `None` if there are different rules.
    pub(crate) fn owner(&self) -> Option<Owner> {
        match (self.exact, self.any_port) {
            (Some(one), Some(other)) => other.owner.and_then(|owner| common(one.owner, owner)),
            (one, other) => one.or(other)?.owner,
        }
    }

    /// Whether this service is its only user, with the rule [`Owner::Flow`].
    pub(super) fn is_only_flows_of(&self, service: ServiceId) -> bool {
        self.owner() == Some(Owner::Flow) && self.flows().all(|one| one == service)
    }

    /// The services with the rule [`Owner::Flow`].
    pub(crate) fn flows(self) -> impl Iterator<Item = ServiceId> + 'a {
        let both = [self.exact, self.any_port].into_iter().flatten();
        both.flat_map(|users| users.flows.iter().copied())
    }
}

/// The users of all sockets from which replies come.
#[derive(Debug, Clone)]
pub(super) struct NatSockets {
    sockets: Sharded<SocketKey, Users>,
    /// The addresses of these sockets.
    seen: AddressFilter,
}

impl NatSockets {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            sockets: Sharded::new(hasher),
            seen: AddressFilter::new(),
        }
    }

    /// The users of a socket: those with exactly this port, and those with all ports of the address.
    #[inline]
    pub(super) fn find(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) -> Option<NatSocket<'_>> {
        let exact = self.sockets.get(&(protocol, address, port));
        let any_port = self.sockets.get(&(protocol, address, 0));
        let found = exact.is_some() || any_port.is_some();
        found.then_some(NatSocket { exact, any_port })
    }

    /// Whether an address may have such a socket. `false` is always right, `true` may be wrong.
    #[inline]
    pub(super) fn may_have(&self, address: impl Address) -> bool {
        self.seen.may_have(address)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Adds a real server of `service`, whose rule is `owner`, to the socket's users.
    pub(super) fn retain(&mut self, key: SocketKey, owner: Owner, service: ServiceId) {
        let mut users = match self.sockets.get(&key) {
            Some(users) => Users {
                count: users.count + 1,
                owner: common(users.owner, owner),
                flows: Arc::clone(&users.flows),
            },
            None => Users {
                count: 1,
                owner: Some(owner),
                flows: Arc::default(),
            },
        };
        if owner == Owner::Flow {
            users.add_flows_of(service);
        }
        if self.sockets.insert(key, users).is_none() {
            self.seen.add(key.1);
        }
    }

    /// Removes a real server of `service` from the socket's users.
    pub(super) fn release(&mut self, key: &SocketKey, service: ServiceId) {
        match self.sockets.get(key) {
            Some(users) if users.count > 1 => {
                let mut users = users.clone();
                users.count -= 1;
                if users.flows.contains(&service) {
                    let others = users.flows.iter().copied();
                    users.flows = others.filter(|one| *one != service).collect();
                }
                self.sockets.insert(*key, users);
            }
            Some(_) => {
                self.sockets.remove(key);
                self.seen.remove(key.1);
            }
            None => {}
        }
    }

    /// The rule of `service`, one of the socket's users, changes from `old` to `new`.
    pub(super) fn change(&mut self, key: SocketKey, old: Owner, new: Owner, service: ServiceId) {
        let Some(users) = self.sockets.get(&key) else {
            return;
        };
        let mut users = users.clone();
        users.owner = match old {
            Owner::Receiver => common(users.owner, new),
            Owner::Socket | Owner::Flow | Owner::Network(_) => None,
        };
        if new == Owner::Flow {
            users.add_flows_of(service);
        }
        self.sockets.insert(key, users);
    }
}

impl Users {
    fn add_flows_of(&mut self, service: ServiceId) {
        if !self.flows.contains(&service) {
            let more = self.flows.iter().copied().chain([service]);
            self.flows = more.collect();
        }
    }
}

/// The rule for both; `None` if they differ. `Receiver` agrees with every rule: sessions that their receivers own
/// have no replies.
fn common(one: Option<Owner>, other: Owner) -> Option<Owner> {
    match one? {
        Owner::Receiver => Some(other),
        one if one == other || other == Owner::Receiver => Some(one),
        Owner::Socket | Owner::Flow | Owner::Network(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::V4;

    use super::Owner::{Flow, Network, Receiver, Socket};
    use super::*;

    #[test]
    fn sessions_are_misplaced_only_if_the_new_rule_groups_flows_that_the_old_one_spread() {
        for (old, wanted, now, misplaced) in [
            (Receiver, Receiver, Receiver, false),
            (Receiver, Socket, Socket, false),
            (Receiver, Network(24), Network(24), false),
            (Socket, Receiver, Socket, false),
            (Socket, Network(32), Network(32), true),
            (Receiver, Flow, Flow, false),
            (Flow, Socket, Socket, true),
            (Flow, Flow, Flow, false),
            (Flow, Receiver, Flow, false),
            (Socket, Flow, Socket, false),
            (Flow, Network(24), Network(24), true),
            (Network(24), Flow, Network(24), false),
            (Network(24), Socket, Network(24), false),
            (Network(24), Receiver, Network(24), false),
            (Network(24), Network(32), Network(24), false),
            (Network(24), Network(24), Network(24), false),
            (Network(32), Network(24), Network(24), true),
        ] {
            assert_eq!(
                old.after_change_to(wanted),
                (now, misplaced),
                "{old:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn a_reply_is_sent_to_an_owner_only_if_all_services_agree_on_it() {
        let address = "10.0.0.1".parse().unwrap();
        let key = (Protocol::Udp, address, 53);
        let mut sockets = NatSockets::new(RandomState::with_seeds(1, 2, 3, 4));
        let owner = |sockets: &NatSockets| {
            let found = sockets.find(Protocol::Udp, address, 53);
            found.map(|socket| socket.owner())
        };
        assert_eq!(owner(&sockets), None);
        let here = V4(0x0a00_0001);
        assert!(!sockets.may_have(here));
        sockets.retain(key, Receiver, ServiceId(1));
        assert!(sockets.may_have(here));
        assert_eq!(owner(&sockets), Some(Some(Receiver)));
        sockets.retain(key, Socket, ServiceId(1));
        sockets.retain(key, Socket, ServiceId(1));
        assert_eq!(owner(&sockets), Some(Some(Socket)));
        sockets.change(key, Receiver, Socket, ServiceId(1));
        assert_eq!(owner(&sockets), Some(Some(Socket)));
        sockets.retain(key, Network(24), ServiceId(1));
        assert_eq!(owner(&sockets), Some(None));
        for _ in 0..3 {
            sockets.release(&key, ServiceId(1));
            assert_eq!(owner(&sockets), Some(None));
        }
        sockets.release(&key, ServiceId(1));
        assert!(sockets.is_empty());
        sockets.retain(key, Socket, ServiceId(1));
        let any_port = (Protocol::Udp, address, 0);
        sockets.retain(any_port, Socket, ServiceId(1));
        assert_eq!(owner(&sockets), Some(Some(Socket)));
        sockets.change(any_port, Socket, Network(24), ServiceId(1));
        assert_eq!(owner(&sockets), Some(None));
        sockets.release(&key, ServiceId(1));
        assert_eq!(owner(&sockets), Some(None));
        let tcp = sockets.find(Protocol::Tcp, address, 53);
        assert!(tcp.is_none());
    }

    #[test]
    fn a_socket_names_the_services_whose_sessions_are_owned_by_their_flows() {
        let key = (Protocol::Udp, "10.0.0.1".parse().unwrap(), 53);
        let mut sockets = NatSockets::new(RandomState::with_seeds(1, 2, 3, 4));
        let known = |sockets: &NatSockets| {
            let found = sockets.find(key.0, key.1, key.2).unwrap();
            (found.owner(), found.flows().collect::<Vec<_>>())
        };
        let (first, second) = (ServiceId(1), ServiceId(2));
        sockets.retain(key, Flow, first);
        assert_eq!(known(&sockets), (Some(Flow), vec![first]));
        sockets.retain(key, Flow, second);
        assert_eq!(known(&sockets), (Some(Flow), vec![first, second]));
        sockets.release(&key, first);
        assert_eq!(known(&sockets), (Some(Flow), vec![second]));
        sockets.retain(key, Socket, first);
        assert_eq!(known(&sockets), (None, vec![second]));
    }
}
