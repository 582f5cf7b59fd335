//! One session: what a worker remembers about a flow, in one cache line for IPv4 and two for IPv6.
//! It is found, inserted and removed by `table.rs`.

use std::ops::BitOr;

use super::state::State;
use crate::flow::{Address, FlowKey, Protocol, ReplyKey};
use crate::id::RealId;
use crate::spec::forward::ForwardMethod;
use crate::time::Time;

/// A link to no entry.
pub(super) const NONE: u32 = u32::MAX;

/// `reply_slot` of an entry in its home bucket, where replies find it without the index of replies.
pub(super) const HOME: u32 = u32::MAX - 1;

/// `timer_slot` of an entry that holds no session.
pub(super) const VACANT: u16 = u16::MAX;

/// The slot of a session. Stable from its insertion to its removal, meaningless afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionIndex(pub u32);

/// Boolean facts about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// None of them.
    pub const EMPTY: Self = Self(0);
    /// Forwarded by NAT: replies are found by their `ReplyKey`. The table sets it.
    pub const NAT: Self = Self(1);
    /// Replies do not pass through the balancer (IPVS's NOOUTPUT).
    pub const ONE_WAY: Self = Self(1 << 1);
    /// Counted among its real server's active connections; else among the inactive ones.
    pub const ACTIVE: Self = Self(1 << 2);
    /// A persistence template: it names a real server for a client and is not a connection.
    pub const TEMPLATE: Self = Self(1 << 3);
    /// Forwarded through a tunnel; without this and `NAT`, directly.
    pub const TUNNEL: Self = Self(1 << 4);
    /// `numbers` holds the sequence numbers of its last segments, which a reset needs.
    pub const NUMBERED: Self = Self(1 << 5);
    /// Of a template: a session that it controls was established, or the real server has replied to it. Of a
    /// session: its template has got this flag.
    pub const ASSURED: Self = Self(1 << 6);
    /// A template that no new session may use any more. It stays until it expires.
    pub const INVALID: Self = Self(1 << 7);
    /// A template for every protocol. The protocol in its key means nothing.
    pub const ANY_PROTOCOL: Self = Self(1 << 8);
    /// Forwarded by NAT, but a newer session between the same client socket and the same socket of a real server
    /// receives the replies. The table sets it.
    pub const SHADOWED: Self = Self(1 << 9);
    /// Its packets show that the client's address is not spoofed (`proof.rs`). Of a template: a session that it
    /// controls, or controlled, was proven.
    pub const PROVEN: Self = Self(1 << 10);
    /// A counter of steps towards a proof: in how many further intervals the observed side has sent a packet.
    pub(super) const STEP_MASK: Self = Self(3 << Self::STEP_SHIFT);
    pub(super) const STEP_SHIFT: u16 = 11;
    /// The side that is not observed has sent a packet in a later interval than that of the last step.
    pub(super) const STEP_ENDED: Self = Self(1 << 13);
    /// The client has sent no acknowledgement yet. Only of TCP sessions forwarded by NAT.
    pub(super) const UNACKNOWLEDGED: Self = Self(1 << 14);
    /// All flags that belong to the proof.
    pub(super) const PROOF: Self = Self::PROVEN
        .with(Self::STEP_MASK)
        .with(Self::STEP_ENDED)
        .with(Self::UNACKNOWLEDGED);

    /// Those by which a session by `method` begins.
    #[must_use]
    #[inline]
    pub const fn of(method: ForwardMethod) -> Self {
        match method {
            ForwardMethod::Direct => Self::ONE_WAY,
            ForwardMethod::Nat => Self::NAT,
            ForwardMethod::Tunnel => Self::ONE_WAY.with(Self::TUNNEL),
        }
    }

    /// The method that a session with these flags began with: an edit of its real server does not change it.
    #[must_use]
    #[inline(always)]
    pub const fn method(self) -> ForwardMethod {
        if self.contains(Self::NAT) {
            ForwardMethod::Nat
        } else if self.contains(Self::TUNNEL) {
            ForwardMethod::Tunnel
        } else {
            ForwardMethod::Direct
        }
    }

    /// These flags for a session that begins in `state`: a TCP session by NAT waits for the client's first
    /// acknowledgement.
    pub(super) const fn begun(self, state: State) -> Self {
        match state {
            State::Tcp(_) if self.contains(Self::NAT) => self.with(Self::UNACKNOWLEDGED),
            _ => self,
        }
    }

    /// These flags for a session whose client is proven. The other flags of the proof are cleared.
    pub(super) const fn proven(self) -> Self {
        self.without(Self::PROOF).with(Self::PROVEN)
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u16 {
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

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// Flags that only the table may set: the meaning of other fields depends on them.
const TABLE_FLAGS: Flags = Flags::NAT.with(Flags::TEMPLATE).with(Flags::SHADOWED);

/// Value and mask: a session receives replies if, of the flags in the mask, it has those of the value and no other.
pub(super) const REPLY_MATCH: (Flags, Flags) = (Flags::NAT, Flags::NAT.with(Flags::SHADOWED));

/// The fields of a session that is to be inserted.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<A> {
    /// The key of the client's packets.
    pub key: FlowKey<A>,
    /// The real server that was chosen.
    pub real: RealId,
    /// For NAT, the real server's address and port, which are part of the replies' key; else `None`.
    pub real_address: Option<(A, u16)>,
    /// Its flags at the start.
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

/// The next sequence numbers of a TCP connection, taken from its client's segments. The receiver of a reset compares
/// the reset's sequence number with them (RFC 5961 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The sequence number of the client's next byte.
    pub client_next: u32,
    /// The sequence number of the real server's next byte.
    pub server_next: u32,
}

/// A session.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Session<A> {
    pub(super) key: FlowKey<A>,
    pub(super) deadline: Time,
    pub(super) real_address: A,
    pub(super) real: RealId,
    /// Links in the timer wheel's list. `previous` is meaningless at the head of the list.
    pub(super) next: u32,
    pub(super) previous: u32,
    /// How replies find this session: its slot in the index of replies; `HOME` if it is in its home bucket; `NONE` if
    /// they cannot find it.
    pub(super) reply_slot: u32,
    /// The slot of the template that controls it, or `NONE`. A template is not removed while it controls sessions, so
    /// its slot identifies it. Of a template: how many sessions it controls.
    pub(super) link: u32,
    /// Of a template, `client_next` is its timeout in milliseconds, counted from the beginning of the last session that
    /// used it.
    pub(super) numbers: Numbers,
    pub(super) real_port: u16,
    /// The slot of the timer wheel in which the session is, or `VACANT`.
    pub(super) timer_slot: u16,
    pub(super) flags: Flags,
    pub(super) state: State,
}

const _: () = assert!(size_of::<Session<crate::flow::V4>>() == 64);
const _: () = assert!(size_of::<Session<crate::flow::V6>>() == 128);

impl<A: Address> Session<A> {
    /// An entry without a session, with which the table is filled at first.
    pub(super) fn vacant() -> Self {
        Self {
            key: FlowKey {
                client: A::default(),
                virtual_address: A::default(),
                client_port: 0,
                virtual_port: 0,
                protocol: Protocol::Udp,
            },
            deadline: Time::default(),
            real_address: A::default(),
            real: RealId(0),
            next: NONE,
            previous: NONE,
            reply_slot: NONE,
            link: NONE,
            numbers: Numbers::default(),
            real_port: 0,
            timer_slot: VACANT,
            flags: Flags::EMPTY,
            state: State::Udp,
        }
    }

    /// The key of the client's packets.
    #[must_use]
    #[inline]
    pub const fn key(&self) -> &FlowKey<A> {
        &self.key
    }

    /// The real server that gets its packets.
    #[must_use]
    #[inline]
    pub const fn real(&self) -> RealId {
        self.real
    }

    /// The real server's address and port. `None` unless forwarded by NAT.
    #[must_use]
    #[inline]
    pub fn real_address(&self) -> Option<(A, u16)> {
        self.flags
            .contains(Flags::NAT)
            .then_some((self.real_address, self.real_port))
    }

    /// The key of its replies. `None` unless forwarded by NAT.
    #[must_use]
    #[inline]
    pub fn reply_key(&self) -> Option<ReplyKey<A>> {
        self.real_address().map(|(real, real_port)| ReplyKey {
            client: self.key.client,
            real,
            client_port: self.key.client_port,
            real_port,
            protocol: self.key.protocol,
        })
    }

    /// Whether `key` has the client and the real server of this session. Does not check that it is forwarded by NAT.
    #[inline(always)]
    pub(super) fn has_reply_key(&self, key: &ReplyKey<A>) -> bool {
        self.real_address == key.real
            && self.key.client == key.client
            && self.real_port == key.real_port
            && self.key.client_port == key.client_port
            && self.key.protocol == key.protocol
    }

    /// Whether it receives replies with this key: it is forwarded by NAT, and no newer session has the same key.
    #[inline(always)]
    pub(super) fn gets_replies(&self, key: &ReplyKey<A>) -> bool {
        let (wanted, of) = REPLY_MATCH;
        self.flags.0 & of.0 == wanted.0 && self.has_reply_key(key)
    }

    /// Whether it would receive replies with this key if a newer session did not.
    #[inline]
    pub(super) fn is_shadowed_for(&self, key: &ReplyKey<A>) -> bool {
        self.flags.contains(Flags::SHADOWED) && self.has_reply_key(key)
    }

    /// Whether it is a session, not a template, with this key.
    #[inline(always)]
    pub(super) fn is_found_by(&self, key: &FlowKey<A>) -> bool {
        self.key == *key && !self.flags.contains(Flags::TEMPLATE)
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

    /// Its state after its last packet. Meaningless for a template.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
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

    /// Its next sequence numbers. `None` if they were not noted.
    #[must_use]
    #[inline]
    pub fn numbers(&self) -> Option<Numbers> {
        self.flags.contains(Flags::NUMBERED).then_some(self.numbers)
    }

    /// Notes the numbers of a client's segment. They only grow, since keep-alive probes and delayed segments contain
    /// older numbers. `afresh` overwrites them, for a new connection.
    #[inline]
    pub fn note_numbers(&mut self, seen: Numbers, afresh: bool) {
        let known = self.numbers().filter(|_| !afresh);
        self.numbers = known.map_or(seen, |known| Numbers {
            client_next: later(known.client_next, seen.client_next),
            server_next: later(known.server_next, seen.server_next),
        });
        self.set_flags(Flags::NUMBERED);
    }

    /// Sets `flags`, except those that only the table may set: NAT, TEMPLATE and SHADOWED.
    #[inline]
    pub(super) const fn set_flags(&mut self, flags: Flags) {
        self.flags = self.flags.with(flags.without(TABLE_FLAGS));
    }
}

/// The later of two sequence numbers, which wrap around (RFC 9293 section 3.4).
#[inline]
const fn later(a: u32, b: u32) -> u32 {
    if b.wrapping_sub(a) >> 31 == 0 { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::V4;

    #[test]
    fn a_session_keeps_the_method_that_it_began_with() {
        for method in ForwardMethod::ALL {
            assert_eq!(Flags::of(method).method(), method);
        }
    }

    #[test]
    fn numbers_grow_wrap_around_and_begin_again() {
        let mut session = Session::<V4>::vacant();
        assert_eq!(session.numbers(), None);
        let numbers = |client_next, server_next| Numbers {
            client_next,
            server_next,
        };
        for (seen, afresh, expected) in [
            ((u32::MAX, 5), false, (u32::MAX, 5)),
            ((u32::MAX - 1, 9), false, (u32::MAX, 9)),
            ((3, 8), false, (3, 9)),
            ((3_000_000_000, 1), true, (3_000_000_000, 1)),
        ] {
            session.note_numbers(numbers(seen.0, seen.1), afresh);
            assert_eq!(session.numbers(), Some(numbers(expected.0, expected.1)));
        }
    }
}
