//! Which worker the packets of a flow meet on, and how a reply finds that worker too.
//! Who counts the workers and hands packets over is the pipeline.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;

use super::chunked::Sharded;
use super::filter::AddressFilter;
use crate::flow::{Address, Protocol};
use crate::id::ServiceId;

/// Protocol, address and port of a real server's socket.
pub type SocketKey = (Protocol, IpAddr, u16);

/// What chooses the worker that keeps a flow's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The NIC: whoever receives the packets, since all of them come from one side.
    Receiver,
    /// The client's address and port: packets come from both sides (NAT).
    Socket,
    /// The queue that a port puts the client's packets on, where ports are known to do as they are told
    /// ([`crate::steering::Steering`]): of NAT, when the socket of an answer tells which virtual socket was
    /// asked.
    Flow,
    /// The leading bits of the client's address, so many: one template serves all clients that have
    /// them in common (persistence).
    Network(u8),
}

impl Owner {
    /// What chooses from now on, if a service asks for `wanted` while sessions may exist that
    /// `self` chose for, and whether such sessions may now be on other workers.
    ///
    /// A choice by fewer bits keeps together whatever a choice by more bits would, so the coarser
    /// one stays where it can, and nobody has to search. A choice by the flow does not stay where services come to
    /// share a socket: an answer would have to visit the owners by all their flows.
    pub(super) const fn then(self, wanted: Self) -> (Self, bool) {
        match (self, wanted) {
            // These sessions stay where the NIC goes on to send their packets.
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

/// What is known of a socket that NAT packets come back from.
#[derive(Debug, Clone)]
struct Users {
    /// Real servers of different services that have it.
    count: u32,
    /// What chose the owners of their sessions; `None` if not all of them by the same rule.
    owner: Option<Owner>,
    /// The services whose sessions are owned by their flows.
    flows: Arc<[ServiceId]>,
}

/// The same of a socket as itself and as one of all ports of its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NatSocket<'a> {
    exact: Option<&'a Users>,
    any_port: Option<&'a Users>,
}

impl<'a> NatSocket<'a> {
    /// What chose the owners of its sessions; `None` if not all of them by the same rule.
    pub(crate) fn owner(&self) -> Option<Owner> {
        match (self.exact, self.any_port) {
            (Some(one), Some(other)) => other.owner.and_then(|owner| common(one.owner, owner)),
            (one, other) => one.or(other)?.owner,
        }
    }

    /// Whether only this service's sessions have it, owned by their flows.
    pub(super) fn is_only_flows_of(&self, service: ServiceId) -> bool {
        self.owner() == Some(Owner::Flow) && self.flows().all(|one| one == service)
    }

    /// The services whose sessions are owned by their flows.
    pub(crate) fn flows(self) -> impl Iterator<Item = ServiceId> + 'a {
        let both = [self.exact, self.any_port].into_iter().flatten();
        both.flat_map(|users| users.flows.iter().copied())
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct NatSockets {
    sockets: Sharded<SocketKey, Users>,
    /// The addresses that have one.
    seen: AddressFilter,
}

impl NatSockets {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            sockets: Sharded::new(hasher),
            seen: AddressFilter::new(),
        }
    }

    /// What is known of a socket, as itself and as one of all ports of its address.
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

    /// Whether an address may have such a socket. Never wrong if it says no.
    #[inline]
    pub(super) fn may_have(&self, address: impl Address) -> bool {
        self.seen.may_have(address)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// One real server more has the socket; `owner` chooses for its service.
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

    /// One real server less, of this service.
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

    /// `new` chooses where `old` did, for one of the socket's services.
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

/// What chooses for both. No session is found through a socket whose owner is the receiver.
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
    fn sessions_stray_only_where_a_finer_choice_may_have_parted_what_must_now_meet() {
        for (old, wanted, now, strays) in [
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
            assert_eq!(old.then(wanted), (now, strays), "{old:?} {wanted:?}");
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
