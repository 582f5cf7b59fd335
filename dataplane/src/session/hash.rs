//! Where a session may be, from its keys: keyed hashes of the client alone and of the whole five-tuple.
//! What is made of them is `tags.rs`'s.

use std::hash::{BuildHasher as _, Hasher as _};

use ahash::{AHasher, RandomState};

use super::tags::{Home, Place};
use crate::flow::{Address, FlowKey, Protocol, ReplyKey};

/// Where a table may have a `FlowKey`: its hash.
#[derive(Debug, Clone, Copy)]
pub struct KeyHash(pub(super) Place);

/// Where a table may have the session of a `ReplyKey`: a hash of what the key has in common with its session's.
#[derive(Debug, Clone, Copy)]
pub struct ReplyHash(pub(super) Home);

/// One table's hash function.
#[derive(Debug)]
pub(super) struct Hasher(RandomState);

impl Hasher {
    pub(super) fn new([k0, k1, k2, k3]: [u64; 4]) -> Self {
        Self(RandomState::with_seeds(k0, k1, k2, k3))
    }

    #[inline(always)]
    pub(super) fn request<A: Address>(&self, key: &FlowKey<A>) -> KeyHash {
        let client = (key.client, key.client_port, key.protocol);
        let virtual_socket = (key.virtual_address, key.virtual_port);
        let (client, whole) = self.both(client, virtual_socket);
        KeyHash(Place::new(client, whole))
    }

    #[inline(always)]
    pub(super) fn reply<A: Address>(&self, key: &ReplyKey<A>) -> ReplyHash {
        let client = (key.client, key.client_port, key.protocol);
        ReplyHash(Home::new(self.client(client).finish()))
    }

    /// The home of the session with this key.
    #[inline(always)]
    pub(super) fn home<A: Address>(&self, key: &FlowKey<A>) -> Home {
        let client = (key.client, key.client_port, key.protocol);
        Home::new(self.client(client).finish())
    }

    /// Where the index of replies may have a key. There its home must not follow from the client, whose other
    /// sessions are in the index too.
    pub(super) fn reply_place<A: Address>(&self, key: &ReplyKey<A>) -> Place {
        let client = (key.client, key.client_port, key.protocol);
        let (client, whole) = self.both(client, (key.real, key.real_port));
        Place::new(whole, client ^ whole.rotate_left(32))
    }

    /// The hash of the client alone, and that of the whole key.
    #[inline(always)]
    fn both<A: Address>(&self, client: (A, u16, Protocol), to: (A, u16)) -> (u64, u64) {
        let mut hasher = self.client(client);
        let first_part = hasher.finish();
        write_socket(&mut hasher, to.0, u64::from(to.1));
        (first_part, hasher.finish())
    }

    #[inline(always)]
    fn client<A: Address>(&self, (address, port, protocol): (A, u16, Protocol)) -> AHasher {
        let mut hasher = self.0.build_hasher();
        let port = u64::from(port) << 16 | u64::from(protocol.number());
        write_socket(&mut hasher, address, port);
        hasher
    }
}

/// Takes an address and less than 32 bits into the hash.
#[inline(always)]
fn write_socket<A: Address>(hasher: &mut AHasher, address: A, port: u64) {
    let [first, second] = address.words();
    if size_of::<A>() == size_of::<u32>() {
        hasher.write_u64(first << 32 | port);
    } else {
        hasher.write_u64(first);
        hasher.write_u64(second);
        hasher.write_u64(port);
    }
}
