//! One session: what a worker remembers about a flow, in one cache line for IPv4 and two for IPv6. What few sessions
//! have is in a side line (`side.rs`). It is found, inserted and removed by `table.rs`.
//!
//! An entry consists of numbers only: no pointer, no enumeration and no other type that forbids a bit pattern. So memory
//! with any contents can be read as entries, and whoever takes it over checks what is in it.

use std::mem::offset_of;
use std::ops::BitOr;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::state::{State, StateCode};
use crate::flow::{Address, FlowKey, Protocol, ReplyKey, V4, V6};
use crate::id::RealId;
use crate::spec::forward::ForwardMethod;
use crate::time::Time;

/// A link to no entry.
pub(super) const NONE: u32 = u32::MAX;

/// `timer_slot` of an entry that holds no session.
pub(super) const VACANT: u16 = u16::MAX;

/// The slot of a session. Stable from its insertion to its removal, meaningless afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionIndex(pub u32);

/// Facts about a session: its forwarding method in two bits, and others in one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Flags(u32);

impl Flags {
    /// None of them, and forwarded directly.
    pub const EMPTY: Self = Self(0);
    /// The bits that say the method, by its discriminant.
    const METHOD: Self = Self(3);
    /// A persistence template: it names a real server for a client and is not a connection.
    pub const TEMPLATE: Self = Self(1 << 2);
    /// It has a side line.
    pub(super) const SIDE: Self = Self(1 << 3);
    /// Of a template: a session that it controls was established, or the real server has replied to it. Of a
    /// session: its template has got this flag.
    pub const ASSURED: Self = Self(1 << 4);
    /// A template that no new session may use any more. It stays until it expires.
    pub const INVALID: Self = Self(1 << 5);
    /// A template for every protocol. The protocol in its key means nothing.
    pub const ANY_PROTOCOL: Self = Self(1 << 6);
    /// Forwarded by NAT, but a newer session between the same client socket and the same socket of a real server
    /// receives the replies. The table sets it.
    pub const SHADOWED: Self = Self(1 << 7);
    /// Replies find it by the index of replies. The table sets it.
    pub(super) const INDEXED: Self = Self(1 << 8);
    /// Its packets show that the client's address is not spoofed (`proof.rs`). Of a template: a session that it
    /// controls, or controlled, was proven.
    pub const PROVEN: Self = Self(1 << 9);
    /// A counter of steps towards a proof: in how many further intervals the observed side has sent a packet.
    pub(super) const STEP_MASK: Self = Self(3 << Self::STEP_SHIFT);
    pub(super) const STEP_SHIFT: u32 = 10;
    /// The side that is not observed has sent a packet in a later interval than that of the last step.
    pub(super) const STEP_ENDED: Self = Self(1 << 12);
    /// The client has sent no acknowledgement yet. Only of TCP sessions forwarded by NAT.
    pub(super) const UNACKNOWLEDGED: Self = Self(1 << 13);
    /// All flags that belong to the proof.
    pub(super) const PROOF: Self = Self::PROVEN
        .with(Self::STEP_MASK)
        .with(Self::STEP_ENDED)
        .with(Self::UNACKNOWLEDGED);

    /// Those by which a session by `method` begins.
    #[must_use]
    #[inline]
    pub const fn of(method: ForwardMethod) -> Self {
        Self(method as u32)
    }

    /// The method that a session with these flags began with: an edit of its real server does not change it.
    #[must_use]
    #[inline(always)]
    pub const fn method(self) -> ForwardMethod {
        match self.0 & Self::METHOD.0 {
            1 => ForwardMethod::Nat,
            2 => ForwardMethod::Tunnel,
            _ => ForwardMethod::Direct,
        }
    }

    /// Whether replies do not pass through the balancer (IPVS's NOOUTPUT).
    #[must_use]
    #[inline(always)]
    pub const fn is_one_way(self) -> bool {
        !self.method().replies_return()
    }

    /// These flags for a session that begins in `state`: a TCP session by NAT waits for the client's first
    /// acknowledgement.
    pub(super) const fn begun(self, state: State) -> Self {
        match state {
            State::Tcp(_) if !self.is_one_way() => self.with(Self::UNACKNOWLEDGED),
            _ => self,
        }
    }

    /// These flags for a session whose client is proven. The other flags of the proof are cleared.
    pub(super) const fn proven(self) -> Self {
        self.without(Self::PROOF).with(Self::PROVEN)
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are set.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    #[must_use]
    #[inline]
    pub(super) const fn contains_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union with `other`.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Every method has a number.
#[expect(
    clippy::indexing_slicing,
    reason = "the place is less than the number of methods"
)]
const _: () = {
    let mut place = 0;
    while place < ForwardMethod::COUNT {
        let method = ForwardMethod::ALL[place];
        assert!(
            Flags::of(method).method() as u8 == method as u8,
            "a method is missing in `Flags::method`, or there is no room for it"
        );
        place += 1;
    }
};

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// The fields of a session that is to be inserted.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<A> {
    /// The key of the client's packets.
    pub key: FlowKey<A>,
    /// The real server that was chosen.
    pub real: RealId,
    /// The real server's address and port, which are part of the replies' key, if the method translates; else `None`.
    pub real_address: Option<(A, u16)>,
    /// Its flags at the start, with the method.
    pub flags: Flags,
    /// The state after its first packet.
    pub state: State,
    /// When it expires if no further packet comes.
    pub deadline: Time,
    /// The persistence template that controls it.
    pub template: Option<SessionIndex>,
    /// The session with the same key, which it replaces, as [`SessionTable::find_any`](super::SessionTable::find_any)
    /// returned it. It may have been removed since.
    pub old: Option<SessionIndex>,
}

impl<A> NewSession<A> {
    /// A session that is forwarded directly, that no template controls, and that replaces none.
    #[must_use]
    pub const fn direct(key: FlowKey<A>, real: RealId, state: State, deadline: Time) -> Self
    where
        A: Copy,
    {
        Self {
            key,
            real,
            real_address: None,
            flags: Flags::EMPTY,
            state,
            deadline,
            template: None,
            old: None,
        }
    }
}

/// A session.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Session<A> {
    /// The fields of its [`FlowKey`], in their order there.
    client: A,
    virtual_address: A,
    client_port: u16,
    virtual_port: u16,
    protocol: u8,
    spare: u8,
    state: StateCode,
    pub(super) deadline: Time,
    pub(super) real_address: A,
    pub(super) real: RealId,
    pub(super) flags: Flags,
    /// Links in the timer wheel's list. `previous` is meaningless at the head of the list.
    pub(super) next: u32,
    pub(super) previous: u32,
    /// The slot of the template that controls it, or `NONE`. A template is not removed while it controls sessions, so
    /// its slot identifies it. Of a template: how many sessions it controls.
    pub(super) link: u32,
    /// The number of its side line, if it has one. Of a template: its timeout in milliseconds, counted from the
    /// beginning of the last session that used it.
    pub(super) side: u32,
    pub(super) real_port: u16,
    /// The slot of the timer wheel in which the session is, or `VACANT`.
    pub(super) timer_slot: u16,
}

/// One cache line, with room for another socket: the local one of a session whose source is translated too.
const _: () = assert!(size_of::<Session<V4>>() == 64 && room::<V4>() >= size_of::<(V4, u16)>());
/// Two.
const _: () = assert!(size_of::<Session<V6>>() == 128 && room::<V6>() >= size_of::<(V6, u16)>());

/// Bytes behind the last field.
const fn room<A>() -> usize {
    size_of::<Session<A>>() - offset_of!(Session<A>, timer_slot) - size_of::<u16>()
}

impl<A: Address> Session<A> {
    /// An entry without a session, with which the table is filled at first.
    pub(super) fn vacant() -> Self {
        Self {
            client: A::default(),
            virtual_address: A::default(),
            client_port: 0,
            virtual_port: 0,
            protocol: 0,
            spare: 0,
            state: StateCode::of(State::Udp),
            deadline: Time::default(),
            real_address: A::default(),
            real: RealId(0),
            flags: Flags::EMPTY,
            next: NONE,
            previous: NONE,
            link: NONE,
            side: NONE,
            real_port: 0,
            timer_slot: VACANT,
        }
    }

    /// The entry of a new session, in no list and in no index of replies.
    #[inline(always)]
    pub(super) fn new(new: &NewSession<A>) -> Self {
        let FlowKey {
            client,
            virtual_address,
            client_port,
            virtual_port,
            protocol,
        } = new.key;
        debug_assert_eq!(
            new.real_address.is_some(),
            new.flags.method().rewrites_destination(),
            "the method of {:?}",
            new.flags
        );
        let (real_address, real_port) = new.real_address.unwrap_or_default();
        Self {
            client,
            virtual_address,
            client_port,
            virtual_port,
            protocol: protocol.number(),
            spare: 0,
            state: StateCode::of(new.state),
            deadline: new.deadline,
            real_address,
            real: new.real,
            flags: new.flags.begun(new.state),
            next: NONE,
            previous: NONE,
            link: match new.template {
                _ if new.flags.contains(Flags::TEMPLATE) => 0,
                Some(template) => template.0,
                None => NONE,
            },
            side: NONE,
            real_port,
            timer_slot: VACANT,
        }
    }

    /// The key of the client's packets.
    #[must_use]
    #[inline]
    pub fn key(&self) -> FlowKey<A> {
        FlowKey {
            client: self.client,
            virtual_address: self.virtual_address,
            client_port: self.client_port,
            virtual_port: self.virtual_port,
            protocol: Protocol::from_number(self.protocol).unwrap_or_default(),
        }
    }

    /// Whether this is the key of the client's packets.
    #[inline(always)]
    pub(super) fn has_key(&self, key: &FlowKey<A>) -> bool {
        self.client == key.client
            && self.virtual_address == key.virtual_address
            && self.client_port == key.client_port
            && self.virtual_port == key.virtual_port
            && self.protocol == key.protocol.number()
    }

    /// The real server that gets its packets.
    #[must_use]
    #[inline]
    pub const fn real(&self) -> RealId {
        self.real
    }

    /// The real server's address and port. `None` unless its packets bear them.
    #[must_use]
    #[inline]
    pub fn real_address(&self) -> Option<(A, u16)> {
        self.flags
            .method()
            .rewrites_destination()
            .then_some((self.real_address, self.real_port))
    }

    /// The socket to which its replies are addressed, by which they are found: the client's.
    #[inline(always)]
    const fn reply_receiver(&self) -> (A, u16) {
        (self.client, self.client_port)
    }

    /// The key of its replies. `None` if they do not come back through here.
    #[must_use]
    #[inline]
    pub fn reply_key(&self) -> Option<ReplyKey<A>> {
        let (client, client_port) = self.reply_receiver();
        (!self.flags.is_one_way()).then(|| ReplyKey {
            client,
            real: self.real_address,
            client_port,
            real_port: self.real_port,
            protocol: self.key().protocol,
        })
    }

    /// Whether its replies have this key. Does not check that they come back through here.
    #[inline(always)]
    pub(super) fn has_reply_key(&self, key: &ReplyKey<A>) -> bool {
        let (client, client_port) = self.reply_receiver();
        self.real_address == key.real
            && client == key.client
            && self.real_port == key.real_port
            && client_port == key.client_port
            && self.protocol == key.protocol.number()
    }

    /// Whether it receives replies with this key: they come back through here, and no newer session has the same key.
    #[inline(always)]
    pub(super) fn gets_replies(&self, key: &ReplyKey<A>) -> bool {
        !self.flags.is_one_way() && !self.flags.contains(Flags::SHADOWED) && self.has_reply_key(key)
    }

    /// Whether it would receive replies with this key if a newer session did not.
    #[inline]
    pub(super) fn is_shadowed_for(&self, key: &ReplyKey<A>) -> bool {
        self.flags.contains(Flags::SHADOWED) && self.has_reply_key(key)
    }

    /// Whether it is a session, not a template, with this key.
    #[inline(always)]
    pub(super) fn is_found_by(&self, key: &FlowKey<A>) -> bool {
        self.has_key(key) && !self.flags.contains(Flags::TEMPLATE)
    }

    /// Whether `new` would replace it: both have the same key, and both or neither are templates.
    #[inline(always)]
    pub(super) fn is_same_as(&self, new: &NewSession<A>) -> bool {
        if new.flags.contains(Flags::TEMPLATE) {
            self.is_template_of(&new.key)
        } else {
            self.is_found_by(&new.key)
        }
    }

    /// Whether a persistence template controls it.
    #[must_use]
    #[inline]
    pub const fn is_controlled(&self) -> bool {
        self.link != NONE && !self.flags.contains(Flags::TEMPLATE)
    }

    /// Another virtual port, under which a template is listed that nobody finds any more.
    pub(super) const fn set_virtual_port(&mut self, port: u16) {
        self.virtual_port = port;
    }

    /// When it expires if no further packet comes.
    #[must_use]
    #[inline]
    pub const fn deadline(&self) -> Time {
        self.deadline
    }

    /// Its flags.
    #[must_use]
    #[inline]
    pub const fn flags(&self) -> Flags {
        self.flags
    }
}

impl<A> Session<A> {
    /// Its state after its last packet. Meaningless for a template.
    #[must_use]
    #[inline(always)]
    pub const fn state(&self) -> State {
        self.state.state()
    }

    /// Whether this is its state.
    #[inline(always)]
    pub(super) fn is_in(&self, state: State) -> bool {
        self.state == StateCode::of(state)
    }

    #[inline(always)]
    pub(super) const fn set_state(&mut self, state: State) {
        self.state = StateCode::of(state);
    }
}

#[cfg(test)]
impl<A> Session<A> {
    pub(super) const fn add_flags(&mut self, flags: Flags) {
        self.flags = self.flags.with(flags);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::{Direction, SctpState, TcpState};

    #[test]
    fn a_session_keeps_the_method_that_it_began_with() {
        for method in ForwardMethod::ALL {
            for others in [Flags::EMPTY, Flags(!Flags::METHOD.0)] {
                let flags = Flags::of(method).with(others);
                assert_eq!(flags.method(), method);
                assert_eq!(flags.is_one_way(), !method.replies_return());
            }
        }
    }

    #[test]
    fn replies_of_every_method_are_found_by_the_key_that_they_have() {
        let key = FlowKey {
            client: V4(1),
            virtual_address: V4(2),
            client_port: 3,
            virtual_port: 4,
            protocol: Protocol::Sctp,
        };
        for method in ForwardMethod::ALL {
            let session = Session::new(&NewSession {
                real_address: method.rewrites_destination().then_some((V4(5), 6)),
                flags: Flags::of(method),
                ..NewSession::direct(key, RealId(7), State::Udp, Time::default())
            });
            let reply = session.reply_key();
            assert_eq!(reply.is_some(), method.replies_return());
            assert!(reply.is_none_or(|reply| session.gets_replies(&reply)));
        }
    }

    #[test]
    fn a_state_is_stored_as_it_is() {
        let all = TcpState::ALL.map(State::Tcp).into_iter();
        let all = all.chain(SctpState::ALL.map(State::Sctp));
        let all = all.chain([State::UdpNew, State::Udp]);
        for state in all {
            let mut session = Session::<V4>::vacant();
            session.set_state(state);
            assert_eq!(session.state(), state);
            assert!(session.is_in(state));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry(bytes in prop::array::uniform32(any::<[u8; 2]>()), now: u64) {
            let session = Session::<V4>::read_from_bytes(bytes.as_flattened()).expect("64 bytes");
            let (key, state) = (session.key(), session.state());
            prop_assert!(session.has_key(&key) || session.protocol != key.protocol.number());
            let _ = (session.real_address(), session.reply_key(), session.flags().method());
            let _ = (session.counted(), session.worth(900_000, Time::from_ms(now)));
            let _ = state.next(Direction::Input, 0x10, false);
        }
    }
}
