//! SCTP as seen from the middle: IPVS's states, moved by the rules of RFC 9260, chunk by chunk.
//! Verification tags are never checked, as in IPVS, and nothing here knows a timeout.
//!
//! The states are the real server's. COOKIE_SENT and COOKIE_REPLIED precede ESTABLISHED when the client
//! opens the association; COOKIE_WAIT, COOKIE and COOKIE_ECHOED when the real server does.

#![expect(
    clippy::indexing_slicing,
    reason = "the tables have one row per event and one column per state"
)]

use SctpState::{
    Closed as CL, Cookie as CO, CookieEchoed as CE, CookieReplied as CR, CookieSent as CS,
    CookieWait as CW, Established as ES, Init as IN, Init1 as I1, None as NO, Rejected as RJ,
    ShutdownAckSent as SA, ShutdownReceived as SR, ShutdownSent as SS,
};

use super::phase::{Direction, Phase};
use crate::wire::sctp;

crate::listed! {
    /// The state of an SCTP association as the balancer infers it. Names are those that `ipvsadm -Lnc` prints.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum SctpState {
        /// No packet yet.
        None => "NONE",
        /// The client has asked once.
        Init1 => "INIT1",
        /// The client has asked again.
        Init => "INIT",
        /// The client has asked, the real server has sent a cookie.
        CookieSent => "C-SENT",
        /// The client has returned the cookie.
        CookieReplied => "C-REPLIED",
        /// The real server has asked.
        CookieWait => "C-WAIT",
        /// The real server has asked, the client has sent a cookie.
        Cookie => "COOKIE",
        /// The real server has returned the cookie.
        CookieEchoed => "C-ECHOED",
        /// Open.
        Established => "ESTABLISHED",
        /// The real server has finished sending.
        ShutdownSent => "S-SENT",
        /// The client has finished sending.
        ShutdownReceived => "S-RECEIVED",
        /// Both have finished, and one has said that it knows.
        ShutdownAckSent => "S-ACK-SENT",
        /// The real server has refused the client.
        Rejected => "REJECTED",
        /// Over.
        Closed => "CLOSED",
    }
}

/// One row per event, in the order of [`event`]. Columns: the current state.
type Table = [[SctpState; SctpState::COUNT]; 10];

/// From the client; the real server's chunks are seen too (NAT).
#[rustfmt::skip]
const INPUT: Table = [
    // NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    // DATA, SACK, HEARTBEAT and the like are sent in open associations only (section 4), and leave
    // every state as it is.
    [ ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // INIT: asks, or asks again. It changes nothing where the other side asked too (5.2.1), in an
    // open association before the cookie is back (5.2.2), or in one that closes (9.2).
    [ I1, IN, IN, IN, IN, CW, CO, CE, ES, SS, SR, SA, I1, I1 ],
    // INIT ACK: sends the real server a cookie if that has asked; else it is discarded (5.2.3).
    [ CO, I1, IN, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // COOKIE ECHO: returns the cookie, also of an association that begins anew while it closes,
    // but not after SHUTDOWN ACK (5.2.4, action A).
    [ CR, CR, CR, CR, CR, CR, CR, CR, ES, CR, CR, SA, CR, CR ],
    // COOKIE ACK: opens if the real server has returned a cookie, or could have; else it is
    // discarded (5.2.5).
    [ ES, I1, IN, CS, CR, ES, ES, ES, ES, SS, SR, SA, RJ, CL ],
    // SHUTDOWN: from one whose association is open; discarded by one whose is not yet (9.2).
    [ SR, I1, IN, CS, SR, CW, CO, CE, SR, SS, SR, SA, RJ, CL ],
    // SHUTDOWN ACK: answers SHUTDOWN (9.2).
    [ CL, I1, IN, CS, CR, CW, CO, CE, SA, SA, SA, SA, RJ, CL ],
    // ERROR: reports, and ends nothing (3.3.10).
    [ CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // ABORT: ends everything (9.1).
    [ CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL ],
    // SHUTDOWN COMPLETE: accepted while closing only (8.5.1 (C)).
    [ CL, I1, IN, CS, CR, CW, CO, CE, ES, CL, CL, CL, RJ, CL ],
];

/// From the real server.
#[rustfmt::skip]
const OUTPUT: Table = [
    // NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    // DATA and the like, as above.
    [ ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // INIT: the real server asks. As above, it changes nothing where the client asked too.
    [ CW, I1, IN, CS, CR, CW, CW, CW, ES, SS, SR, SA, CW, CW ],
    // INIT ACK: sends the client a cookie.
    [ CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // COOKIE ECHO: returns the cookie; where both asked, it is the client's that counts (5.2.4).
    [ CE, I1, IN, CS, CR, CE, CE, CE, ES, CE, CE, SA, RJ, CE ],
    // COOKIE ACK: opens if the client has returned a cookie.
    [ ES, I1, IN, CS, ES, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // SHUTDOWN: the real server's; it may have opened the association without our seeing it.
    [ SS, I1, IN, CS, SS, CW, CO, CE, SS, SS, SR, SA, RJ, CL ],
    // SHUTDOWN ACK: answers SHUTDOWN (9.2).
    [ CL, I1, IN, CS, CR, CW, CO, CE, SA, SA, SA, SA, RJ, CL ],
    // ERROR: reports, and ends nothing.
    [ CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // ABORT: refuses a client that asks (5.1), else it ends everything.
    [ CL, RJ, RJ, RJ, RJ, CL, CL, CL, CL, CL, CL, CL, RJ, CL ],
    // SHUTDOWN COMPLETE: accepted while closing only.
    [ CL, I1, IN, CS, CR, CW, CO, CE, ES, CL, CL, CL, RJ, CL ],
];

/// From the client, whose partner goes past the balancer: what the real server must have sent in
/// between is taken as sent.
#[rustfmt::skip]
const INPUT_ONLY: Table = [
    // NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
    // DATA and the like, as above.
    [ ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // INIT: as above.
    [ I1, IN, IN, IN, IN, CW, CO, CE, ES, SS, SR, SA, I1, I1 ],
    // INIT ACK: the real server has asked.
    [ CO, I1, IN, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // COOKIE ECHO: nobody returns a cookie that it did not get, and the answer opens.
    [ ES, ES, ES, ES, ES, ES, ES, ES, ES, ES, ES, SA, ES, ES ],
    // COOKIE ACK: the real server has returned a cookie, perhaps where both had asked (5.2.1).
    [ ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL ],
    // SHUTDOWN: as above.
    [ SR, I1, IN, CS, SR, CW, CO, CE, SR, SS, SR, SA, RJ, CL ],
    // SHUTDOWN ACK: the real server has sent SHUTDOWN and will send SHUTDOWN COMPLETE.
    [ CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL ],
    // ERROR: reports, and ends nothing.
    [ CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL ],
    // ABORT: ends everything.
    [ CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL ],
    // SHUTDOWN COMPLETE: the real server has sent SHUTDOWN ACK. In a handshake it was about an
    // older association (9.2).
    [ CL, I1, IN, CS, CR, CW, CO, CE, CL, CL, CL, CL, RJ, CL ],
];

const TABLES: [Table; Direction::COUNT] = [INPUT, OUTPUT, INPUT_ONLY];

/// The row of a chunk type.
const fn event(chunk: u8) -> usize {
    match chunk {
        sctp::INIT => 1,
        sctp::INIT_ACK => 2,
        sctp::COOKIE_ECHO => 3,
        sctp::COOKIE_ACK => 4,
        sctp::SHUTDOWN => 5,
        sctp::SHUTDOWN_ACK => 6,
        sctp::ERROR => 7,
        sctp::ABORT => 8,
        sctp::SHUTDOWN_COMPLETE => 9,
        _ => 0,
    }
}

impl SctpState {
    /// The state after a packet whose deciding chunk has this type.
    #[must_use]
    #[inline]
    pub const fn next(self, direction: Direction, chunk: u8) -> Self {
        TABLES[direction as usize][event(chunk)][self as usize]
    }

    /// Whether IPVS counts the session among its real server's active connections.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, ES)
    }

    /// Whether no cookie has come back: the client may not be where its packets say, and nobody
    /// loses data with the session.
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, NO | I1 | IN | CS | CW | CO | RJ)
    }

    /// How far the association has come. It is open when the real server has said so: a cookie that comes back may
    /// be an invented one.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            NO | I1 | IN | CS | CR | CW | CO | CE => Phase::Opening,
            ES => Phase::Open,
            SS | SR | SA => Phase::Closing,
            RJ | CL => Phase::Closed,
        }
    }
}

#[cfg(test)]
mod tests;
