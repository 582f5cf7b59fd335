//! TCP as seen from the middle: IPVS's state tables, event by event.
//! Sequence numbers are never checked, as in IPVS, and nothing here knows a timeout.

#![expect(
    clippy::indexing_slicing,
    reason = "the tables have one row per event and one column per state"
)]

use TcpState::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

use super::phase::{Direction, Phase};

/// The bits of TCP's flags byte that make events (RFC 9293 section 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

crate::listed! {
    /// The state of a TCP connection as the balancer infers it. Names are those that `ipvsadm -Lnc` prints.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum TcpState {
        /// No packet yet.
        None => "NONE",
        /// Both sides have sent.
        Established => "ESTABLISHED",
        /// The real server began the handshake.
        SynSent => "SYN_SENT",
        /// The client began the handshake.
        SynRecv => "SYN_RECV",
        /// One side has finished sending.
        FinWait => "FIN_WAIT",
        /// Both sides have finished; late packets may come.
        TimeWait => "TIME_WAIT",
        /// Reset, or a packet that fits nowhere.
        Close => "CLOSE",
        /// The client has finished sending, the real server has not.
        CloseWait => "CLOSE_WAIT",
        /// The last acknowledgement is due.
        LastAck => "LAST_ACK",
        /// The real server waits for a handshake.
        Listen => "LISTEN",
        /// A handshake under defence against floods.
        SynAck => "SYNACK",
    }
}

/// Rows: SYN, FIN, ACK, RST. Columns: the current state, in the order of `TcpState`.
type Table = [[TcpState; TcpState::COUNT]; 4];

#[rustfmt::skip]
const INPUT: Table = [
    // NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [ SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR ],
    [ CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW ],
    [ ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES ],
    [ CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR ],
];

#[rustfmt::skip]
const OUTPUT: Table = [
    // NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [ SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR ],
    [ TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW ],
    [ ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES ],
    [ CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL ],
];

#[rustfmt::skip]
const INPUT_ONLY: Table = [
    // NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [ SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR ],
    [ CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW ],
    [ ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES ],
    [ CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL ],
];

/// Under defence (IPVS: `secure_tcp`) a client alone does not get past SYN_RECV and SYNACK where the
/// real server's packets are seen too.
#[rustfmt::skip]
const SECURE_INPUT: Table = [
    // NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [ SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA ],
    [ CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA ],
    [ ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA ],
    [ CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL ],
];

#[rustfmt::skip]
const SECURE_OUTPUT: Table = [
    // NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [ SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA ],
    [ TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW ],
    [ ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES ],
    [ CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL ],
];

#[rustfmt::skip]
const SECURE_INPUT_ONLY: Table = [
    // NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [ SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA ],
    [ CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW ],
    [ ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES ],
    [ CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL ],
];

const TABLES: [[Table; Direction::COUNT]; 2] = [
    [INPUT, OUTPUT, INPUT_ONLY],
    [SECURE_INPUT, SECURE_OUTPUT, SECURE_INPUT_ONLY],
];

/// The row of a segment that neither begins nor ends anything.
const ACK_ROW: usize = 2;

/// What `next` takes for granted: by such a segment an established connection stays what it is.
const _: () = {
    let mut table = 0;
    while table < 2 * Direction::COUNT {
        let rows = &TABLES[table / Direction::COUNT][table % Direction::COUNT];
        assert!(matches!(rows[ACK_ROW][ES as usize], ES));
        table += 1;
    }
};

impl TcpState {
    /// The state after a packet with this flags byte (the 14th of the TCP header).
    ///
    /// `secure` chooses IPVS's table for defence. RST beats SYN beats FIN beats ACK; a packet with none of them closes the session (IPVS,
    /// `tcp_state_idx` and `set_tcp_state`).
    #[must_use]
    #[inline(always)]
    pub const fn next(self, direction: Direction, flags: u8, secure: bool) -> Self {
        // Nearly every segment, and no table need be read for it.
        if matches!(self, ES) && flags & (FIN | SYN | RST | ACK) == ACK {
            return ES;
        }
        let event = if flags & RST != 0 {
            3
        } else if flags & SYN != 0 {
            0
        } else if flags & FIN != 0 {
            1
        } else if flags & ACK != 0 {
            ACK_ROW
        } else {
            return CL;
        };
        TABLES[secure as usize][direction as usize][event][self as usize]
    }

    /// Whether IPVS counts the session among its real server's active connections.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, ES | SS | SR | SA)
    }

    /// Whether the handshake has not been completed, so that nobody loses data with the session.
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, NO | SS | SR | SA)
    }

    /// How far the connection has come.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            NO | SS | SR | LI | SA => Phase::Opening,
            ES => Phase::Open,
            FW | CW | LA => Phase::Closing,
            TW | CL => Phase::Closed,
        }
    }
}

#[cfg(test)]
mod tests;
