//! What proves that a session's client is really at its address, packet by packet, until it is proven.
//! Decides no state and no deadline. Once a session is proven nothing here is called for it any more.
//!
//! Whoever invents its source address never sees what the real server answers. So of a TCP or SCTP session whose
//! answers pass here (NAT) the real server tells: it sends data, or a FIN, only if the client has returned a number
//! that only the real server's packet had told it. A SYN|ACK to an invented client proves nothing, and a blind ACK
//! gets a reset or, with a wrong checksum, nothing at all. A bare acknowledgement proves little: one answers a
//! segment outside the window in any state (RFC 9293 section 3.10.7.4, RFC 5961 section 4). A client that only
//! uploads gets nothing else, so these prove it in time: in [`STEPS`] and one more steps of [`STEP_MS`].
//!
//! A datagram's answer proves nothing, and with direct routing and tunnels no answer is seen. There it takes
//! packets of the client in as many steps, so more than 6 s of them. Both can be forged, but not by a few packets:
//! who would hold a session so must go on sending in it, or it is idle.

#![expect(
    clippy::indexing_slicing,
    reason = "slots come from live sessions, as in `table.rs`"
)]

use super::entry::{Flags, Session, SessionIndex};
use super::phase::{Direction, Phase};
use super::state::State;
use super::table::SessionTable;
use crate::flow::Address;
use crate::time::Time;
use crate::wire::{sctp, tcp};

/// How many times a packet must be in another step of time than the one before it.
pub const STEPS: u32 = 4;

/// The length of a step of time in ms. A power of two, and all sessions have the same steps.
pub const STEP_MS: u64 = 2_048;

/// A packet that a session is about to be moved on by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Who sent it, and whether answers are seen.
    pub(super) direction: Direction,
    /// [`Packet::signal`](crate::parse::Packet::signal).
    pub(super) signal: u8,
    /// Whether a segment carries data.
    pub(super) has_data: bool,
    /// The state that it leaves the session in.
    pub(super) after: State,
    /// Milliseconds that the session would have outlived the packet before this one.
    pub(super) timeout_ms: u64,
}

impl Flags {
    /// How many of the [`STEPS`] are done.
    pub(super) const fn steps(self) -> u32 {
        self.bits() >> Self::STEP_SHIFT & (STEPS - 1)
    }

    pub(super) const fn with_steps(self, steps: u32) -> Self {
        let cleared = self.without(Self::STEP_MASK);
        cleared.with(Self::from_bits((steps & (STEPS - 1)) << Self::STEP_SHIFT))
    }
}

impl<A> Session<A> {
    /// Whether the next packet of this side may prove something although it leaves the session in its state and
    /// begins no step: by what the real server says, or because the other side ended the step.
    #[inline(always)]
    #[must_use]
    pub(super) fn is_watched(&self, direction: Direction) -> bool {
        match direction {
            Direction::Output => !self.flags.contains(Flags::PROVEN) && !self.is_in(State::Udp),
            Direction::Input | Direction::InputOnly => self
                .flags
                .contains_any(Flags::STEP_ENDED.with(Flags::UNACKNOWLEDGED)),
        }
    }
}

impl<A: Address> SessionTable<A> {
    /// Takes note of a packet of the session at `index`, which is not proven yet, before `touch` is told of it.
    #[cold]
    #[inline(never)]
    pub(super) fn observe(&mut self, index: SessionIndex, seen: Seen, now: Time) {
        let entry = &mut self.entries[index.0 as usize];
        let flags = entry.flags;
        // A reload that makes timeouts shorter has the packet before seem to come from the future.
        let is_new_step = entry.deadline.as_ms().saturating_sub(seen.timeout_ms) / STEP_MS
            < now.as_ms() / STEP_MS;
        if matches!(seen.after.phase(), Phase::Opening | Phase::Closed) {
            return;
        }
        entry.flags = match (seen.direction, seen.after) {
            (Direction::Input | Direction::Output, State::Tcp(_)) => {
                by_answers(flags, seen, is_new_step)
            }
            (Direction::Input, State::Sctp(_)) => flags,
            (Direction::Output, State::Sctp(_)) if is_of_open_association(seen.signal) => {
                flags.proven()
            }
            (Direction::Output, State::Sctp(_)) => flags,
            (direction, _) => by_steps(flags, direction != Direction::Output, is_new_step),
        };
        if entry.flags.contains(Flags::PROVEN) && entry.is_controlled() {
            let template = entry.link as usize;
            self.entries[template].flags = self.entries[template].flags.with(Flags::PROVEN);
        }
    }
}

/// TCP under NAT: what the real server sends after the client's acknowledgement. Data or a FIN proves the client at
/// once, bare acknowledgements in time.
const fn by_answers(flags: Flags, seen: Seen, is_new_step: bool) -> Flags {
    if seen.signal & (tcp::SYN | tcp::RST | tcp::ACK) != tcp::ACK {
        return flags;
    }
    match seen.direction {
        Direction::Output if flags.contains(Flags::UNACKNOWLEDGED) => flags,
        Direction::Output if seen.has_data || seen.signal & tcp::FIN != 0 => flags.proven(),
        Direction::Output => by_steps(flags, true, is_new_step),
        Direction::Input | Direction::InputOnly => {
            by_steps(flags.without(Flags::UNACKNOWLEDGED), false, is_new_step)
        }
    }
}

/// Whether a real server sends a chunk of this type to none but the client of an open association, which has
/// returned its cookie (RFC 9260 section 5.1): to others it sends INIT ACK, ERROR or ABORT.
const fn is_of_open_association(chunk: u8) -> bool {
    !matches!(
        chunk,
        sctp::INIT | sctp::INIT_ACK | sctp::ERROR | sctp::ABORT | sctp::SHUTDOWN_COMPLETE
    )
}

/// By packets over time of the side that is watched. What the other side sends meanwhile moves the time of the last
/// packet on, so it is noted whether a step ended by that.
const fn by_steps(flags: Flags, is_watched: bool, is_new_step: bool) -> Flags {
    if !is_watched {
        return if is_new_step {
            flags.with(Flags::STEP_ENDED)
        } else {
            flags
        };
    }
    if !is_new_step && !flags.contains(Flags::STEP_ENDED) {
        return flags;
    }
    let flags = flags.without(Flags::STEP_ENDED);
    let steps = flags.steps() + 1;
    if steps == STEPS {
        flags.proven()
    } else {
        flags.with_steps(steps)
    }
}

#[cfg(test)]
mod tests;
