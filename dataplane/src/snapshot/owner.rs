//! Which worker the packets of a flow meet on, and how a reply finds that worker too.
//! Who counts the workers and hands packets over is the pipeline.

use std::net::IpAddr;

use ahash::RandomState;

use super::SocketKey;
use super::chunked::Sharded;
use super::filter::AddressFilter;
use crate::flow::{Address, Protocol};

/// What chooses the worker that keeps a flow's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The NIC: whoever receives the packets, since all of them come from one side.
    Receiver,
    /// The client's address and port: packets come from both sides (NAT).
    Socket,
    /// The leading bits of the client's address, so many: one template serves all clients that have
    /// them in common (persistence).
    Network(u8),
}

impl Owner {
    /// What chooses from now on, if a service asks for `wanted` while sessions may exist that
    /// `self` chose for, and whether such sessions may now be on other workers.
    ///
    /// A choice by fewer bits keeps together whatever a choice by more bits would, so the coarser
    /// one stays where it can, and nobody has to search.
    pub(super) const fn then(self, wanted: Self) -> (Self, bool) {
        match (self, wanted) {
            // These sessions stay where the NIC goes on to send their packets.
            (Self::Receiver, _) => (wanted, false),
            (_, Self::Receiver) | (Self::Socket | Self::Network(_), Self::Socket) => (self, false),
            (Self::Network(old), Self::Network(new)) if old <= new => (self, false),
            (Self::Socket | Self::Network(_), Self::Network(_)) => (wanted, true),
        }
    }
}

/// A socket that NAT packets come back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NatSocket {
    /// Real servers of different services that have it.
    users: u32,
    /// What chose the owners of their sessions; `None` if not all of them by the same rule.
    pub(crate) owner: Option<Owner>,
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct NatSockets {
    sockets: Sharded<SocketKey, NatSocket>,
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
    pub(super) fn find(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<NatSocket> {
        let socket = self.sockets.get(&(protocol, address, port));
        let any_port = self.sockets.get(&(protocol, address, 0));
        match (socket.copied(), any_port.copied()) {
            (Some(one), Some(other)) => Some(NatSocket {
                users: one.users + other.users,
                owner: other.owner.and_then(|owner| common(one.owner, owner)),
            }),
            (one, other) => one.or(other),
        }
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
    pub(super) fn retain(&mut self, key: SocketKey, owner: Owner) {
        let socket = match self.sockets.get(&key) {
            Some(socket) => NatSocket {
                users: socket.users + 1,
                owner: common(socket.owner, owner),
            },
            None => NatSocket {
                users: 1,
                owner: Some(owner),
            },
        };
        if self.sockets.insert(key, socket).is_none() {
            self.seen.add(key.1);
        }
    }

    /// One real server less.
    pub(super) fn release(&mut self, key: &SocketKey) {
        match self.sockets.get(key).copied() {
            Some(socket) if socket.users > 1 => {
                let users = socket.users - 1;
                self.sockets.insert(*key, NatSocket { users, ..socket });
            }
            Some(_) => {
                self.sockets.remove(key);
                self.seen.remove(key.1);
            }
            None => {}
        }
    }

    /// `new` chooses where `old` did, for one of the socket's services.
    pub(super) fn change(&mut self, key: SocketKey, old: Owner, new: Owner) {
        let Some(socket) = self.sockets.get(&key).copied() else {
            return;
        };
        let owner = match old {
            Owner::Receiver => common(socket.owner, new),
            Owner::Socket | Owner::Network(_) => None,
        };
        self.sockets.insert(key, NatSocket { owner, ..socket });
    }
}

/// What chooses for both. No session is found through a socket whose owner is the receiver.
fn common(one: Option<Owner>, other: Owner) -> Option<Owner> {
    match one? {
        Owner::Receiver => Some(other),
        one if one == other || other == Owner::Receiver => Some(one),
        Owner::Socket | Owner::Network(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::V4;

    use super::Owner::{Network, Receiver, Socket};
    use super::*;

    #[test]
    fn sessions_stray_only_where_a_finer_choice_may_have_parted_what_must_now_meet() {
        for (old, wanted, now, strays) in [
            (Receiver, Receiver, Receiver, false),
            (Receiver, Socket, Socket, false),
            (Receiver, Network(24), Network(24), false),
            (Socket, Receiver, Socket, false),
            (Socket, Network(32), Network(32), true),
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
            found.map(|socket| socket.owner)
        };
        assert_eq!(owner(&sockets), None);
        let here = V4(0x0a00_0001);
        assert!(!sockets.may_have(here));
        sockets.retain(key, Receiver);
        assert!(sockets.may_have(here));
        assert_eq!(owner(&sockets), Some(Some(Receiver)));
        sockets.retain(key, Socket);
        sockets.retain(key, Socket);
        assert_eq!(owner(&sockets), Some(Some(Socket)));
        sockets.change(key, Receiver, Socket);
        assert_eq!(owner(&sockets), Some(Some(Socket)));
        sockets.retain(key, Network(24));
        assert_eq!(owner(&sockets), Some(None));
        for _ in 0..3 {
            sockets.release(&key);
            assert_eq!(owner(&sockets), Some(None));
        }
        sockets.release(&key);
        assert!(sockets.is_empty());
        sockets.retain(key, Socket);
        let any_port = (Protocol::Udp, address, 0);
        sockets.retain(any_port, Socket);
        assert_eq!(owner(&sockets), Some(Some(Socket)));
        sockets.change(any_port, Socket, Network(24));
        assert_eq!(owner(&sockets), Some(None));
        sockets.release(&key);
        assert_eq!(owner(&sockets), Some(None));
        let tcp = sockets.find(Protocol::Tcp, address, 53);
        assert_eq!(tcp, None);
    }
}
