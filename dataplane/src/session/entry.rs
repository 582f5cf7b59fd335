//! One session: what a worker remembers about a flow, in one cache line for IPv4 and two for IPv6.
//! Who finds, files and frees it is in `table.rs`.

use std::ops::BitOr;

use super::state::State;
use crate::flow::{Address, FlowKey, Protocol, ReplyKey};
use crate::id::RealId;
use crate::time::Time;

/// No entry, as a link.
pub(super) const NONE: u32 = u32::MAX;

/// `reply_slot` of an entry that replies find in its client's home.
pub(super) const HOME: u32 = u32::MAX - 1;

/// `filed` of an entry that holds no session.
pub(super) const VACANT: u16 = u16::MAX;

/// Where a session is. Stable from its insertion to its removal, meaningless afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionIndex(pub u32);

/// Yes-or-no facts about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// None of them.
    pub const EMPTY: Self = Self(0);
    /// Forwarded by NAT: replies are found by their `ReplyKey`. The table sets it.
    pub const NAT: Self = Self(1);
    /// Replies go past the balancer (IPVS's NOOUTPUT).
    pub const ONE_WAY: Self = Self(1 << 1);
    /// Counted among its real server's active connections; else among the inactive ones.
    pub const ACTIVE: Self = Self(1 << 2);
    /// A persistence template: names a real server, is no connection.
    pub const TEMPLATE: Self = Self(1 << 3);
    /// Forwarded through a tunnel; without this and `NAT`, directly.
    pub const TUNNEL: Self = Self(1 << 4);
    /// Knows the numbers of its last segments: what a reset of it takes.
    pub const NUMBERED: Self = Self(1 << 5);
    /// Of a template: a session that it controls was established, or answered by the real server. Of
    /// a session: its template has been told so.
    pub const ASSURED: Self = Self(1 << 6);
    /// A template that no new session may use any more. It waits for its end.
    pub const INVALID: Self = Self(1 << 7);
    /// A template for every protocol. The protocol in its key means nothing.
    pub const ANY_PROTOCOL: Self = Self(1 << 8);
    /// Forwarded by NAT, but a newer session of the same client socket with the same socket of a real server
    /// gets the replies. The table sets it.
    pub const SHADOWED: Self = Self(1 << 9);
    /// Its client is really there, as far as can be seen (`proof.rs`). Of a template: a session that it controls
    /// was once proven.
    pub const PROVEN: Self = Self(1 << 10);
    /// In how many further steps of time the side that is watched has sent, of those that prove the client.
    pub(super) const STEP_MASK: Self = Self(3 << Self::STEP_SHIFT);
    pub(super) const STEP_SHIFT: u16 = 11;
    /// A step of time ended by a packet of the other side.
    pub(super) const STEP_ENDED: Self = Self(1 << 13);
    /// The client has sent no acknowledgement yet. Only of TCP sessions forwarded by NAT.
    pub(super) const UNACKNOWLEDGED: Self = Self(1 << 14);
    /// All that is known of whether its client is there.
    pub(super) const PROOF: Self = Self::PROVEN
        .with(Self::STEP_MASK)
        .with(Self::STEP_ENDED)
        .with(Self::UNACKNOWLEDGED);

    /// These of a session that begins in `state`, with what its client has still to do.
    pub(super) const fn begun(self, state: State) -> Self {
        match state {
            State::Tcp(_) if self.contains(Self::NAT) => self.with(Self::UNACKNOWLEDGED),
            _ => self,
        }
    }

    /// These of a session whose client is proven, of which nothing more has to be seen.
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

    /// These and `other`.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
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

/// The table's own: what fields of a session mean depends on them.
const DECIDED: Flags = Flags::NAT.with(Flags::TEMPLATE).with(Flags::SHADOWED);

/// Of these, a session that replies belong to has the first alone.
pub(super) const ANSWERED: (Flags, Flags) = (Flags::NAT, Flags::NAT.with(Flags::SHADOWED));

/// What a session begins with.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<A> {
    /// What its packets from the client are found by.
    pub key: FlowKey<A>,
    /// The real server chosen for it.
    pub real: RealId,
    /// For NAT the real server's address and port, which replies are found by; else `None`.
    pub real_address: Option<(A, u16)>,
    /// Facts known at the start.
    pub flags: Flags,
    /// The state after its first packet.
    pub state: State,
    /// When it ends if nothing follows.
    pub deadline: Time,
    /// The persistence template that controls it.
    pub template: Option<SessionIndex>,
    /// The one with the same key that it replaces, as [`SessionTable::find_any`](super::SessionTable::find_any)
    /// found it; it may have left since.
    pub old: Option<SessionIndex>,
}

/// Where a TCP connection stands, as its client's segments tell: what the receiver of a reset holds
/// against the reset's sequence number (RFC 5961 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The number of the client's next byte, which the real server expects.
    pub client_next: u32,
    /// The number of the real server's next byte, which the client expects.
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
    /// Neighbours in the wheel's list; `previous` means nothing at the list's head.
    pub(super) next: u32,
    pub(super) previous: u32,
    /// How replies find this session: the slot of their index that names it, or `HOME`, or `NONE` if they
    /// cannot.
    pub(super) reply_slot: u32,
    /// The slot of the template that controls it, or `NONE`. Of a template: how many sessions it
    /// controls. A template stays in its slot while it controls any, so a slot is enough.
    pub(super) link: u32,
    /// Of a template: `client_next` is for how many milliseconds it outlives the beginning of the last
    /// session it controls.
    pub(super) numbers: Numbers,
    pub(super) real_port: u16,
    /// The wheel's slot in one of whose lists the session is, or `VACANT`.
    pub(super) filed: u16,
    pub(super) flags: Flags,
    pub(super) state: State,
}

const _: () = assert!(size_of::<Session<crate::flow::V4>>() == 64);
const _: () = assert!(size_of::<Session<crate::flow::V6>>() == 128);

impl<A: Address> Session<A> {
    /// What the table is filled with before the first session.
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
            filed: VACANT,
            flags: Flags::EMPTY,
            state: State::Udp,
        }
    }

    /// What its packets from the client are found by.
    #[must_use]
    #[inline]
    pub const fn key(&self) -> &FlowKey<A> {
        &self.key
    }

    /// The real server it goes to.
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

    /// What its replies are found by. `None` unless forwarded by NAT.
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

    /// Whether `key` would be its replies' key if it were forwarded by NAT.
    #[inline(always)]
    pub(super) fn is_answered_by(&self, key: &ReplyKey<A>) -> bool {
        self.real_address == key.real
            && self.key.client == key.client
            && self.real_port == key.real_port
            && self.key.client_port == key.client_port
            && self.key.protocol == key.protocol
    }

    /// Whether replies with this key are its: it is forwarded by NAT, and no newer session has them.
    #[inline(always)]
    pub(super) fn gets_replies(&self, key: &ReplyKey<A>) -> bool {
        let (wanted, of) = ANSWERED;
        self.flags.0 & of.0 == wanted.0 && self.is_answered_by(key)
    }

    /// Whether they would be, if the newer session that has them were not there.
    #[inline]
    pub(super) fn is_shadowed_for(&self, key: &ReplyKey<A>) -> bool {
        self.flags.contains(Flags::SHADOWED) && self.is_answered_by(key)
    }

    /// Whether it is the session, and no template, with this key.
    #[inline(always)]
    pub(super) fn is_found_by(&self, key: &FlowKey<A>) -> bool {
        self.key == *key && !self.flags.contains(Flags::TEMPLATE)
    }

    /// Whether a new one is found by the same key.
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

    /// The state its last packet left it in. A template's means nothing.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When it ends if nothing follows.
    #[must_use]
    #[inline]
    pub const fn deadline(&self) -> Time {
        self.deadline
    }

    /// The facts about it.
    #[must_use]
    #[inline]
    pub const fn flags(&self) -> Flags {
        self.flags
    }

    /// Where its TCP connection stands. `None` unless noted.
    #[must_use]
    #[inline]
    pub fn numbers(&self) -> Option<Numbers> {
        self.flags.contains(Flags::NUMBERED).then_some(self.numbers)
    }

    /// Notes what a client's segment says. Numbers only grow, since keep-alive probes and late
    /// segments bear older ones; with `afresh` they begin again.
    #[inline]
    pub fn note_numbers(&mut self, seen: Numbers, afresh: bool) {
        let known = self.numbers().filter(|_| !afresh);
        self.numbers = known.map_or(seen, |known| Numbers {
            client_next: later(known.client_next, seen.client_next),
            server_next: later(known.server_next, seen.server_next),
        });
        self.set_flags(Flags::NUMBERED);
    }

    /// Sets `flags`, all but those that are the table's: NAT, TEMPLATE and SHADOWED.
    #[inline]
    pub(super) const fn set_flags(&mut self, flags: Flags) {
        self.flags = self.flags.with(flags.without(DECIDED));
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
