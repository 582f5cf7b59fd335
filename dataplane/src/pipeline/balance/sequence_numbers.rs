//! TCP's sequence numbers, as far as a reset that is made here needs them.
//! No segment is judged by them.

use crate::flow::Address;
use crate::parse::Packet;
use crate::rewrite::reset::next_sequence;
use crate::session::{Numbers, SessionIndex, SessionTable, State, TcpState};
use crate::wire::tcp;

/// Notes what a reset of the session at `index` will take, from a segment of its client that found it in state
/// `before`. Only the client's are looked at: with direct routing there are no others.
///
/// The client's last acknowledgement is what it expects, since before its time is over a session has
/// been silent for longer than any acknowledgement is held back.
#[inline]
pub(crate) fn note_numbers<A: Address>(
    table: &mut SessionTable<A>,
    index: SessionIndex,
    before: State,
    packet: &Packet,
    frame: &[u8],
) {
    let upper = packet.upper(frame);
    let (State::Tcp(before), Some(header)) = (before, tcp::Header::new(upper)) else {
        return;
    };
    // Only an acknowledgement tells where the real server stands.
    if header.flags() & tcp::ACK == 0 {
        return;
    }
    let data = upper.len().saturating_sub(header.header_bytes().into());
    let seen = Numbers {
        client_next: next_sequence(&header, data),
        server_next: header.acknowledgement(),
    };
    table.note_numbers(index, seen, before != TcpState::Established);
}
