//! What real servers of one-packet services answer by NAT: no session says which VIP was asked, but
//! the socket that the answer comes from does.
//! How the datagrams get there is `begin.rs`'s.

use crate::flow::Protocol;
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Action, Origin};
use crate::pipeline::engine::Engine;
use crate::pipeline::sessions::{Tabled, Translation};
use crate::rewrite::change::Change;
use crate::rewrite::nat::{self, Socket};
use crate::session::Direction;
use crate::snapshot::Snapshot;
use crate::time::Time;
use crate::verdict::DropReason;

/// What a one-packet service does to what `real` sends to `client`.
pub(crate) fn translation<A: Tabled>(
    snapshot: &Snapshot,
    protocol: Protocol,
    real: Socket<A>,
    client: A,
) -> Option<Translation<A>> {
    let (id, address, port) = snapshot.one_packet_real(protocol, real.address.into(), real.port)?;
    let address = A::of(address)?;
    let method = snapshot.real(id)?.spec.forward;
    Some(Translation {
        id,
        client,
        change: Change::of_reply(method, Socket { address, port })?,
    })
}

impl<P: Pool> Engine<P> {
    /// A datagram of a one-packet service's real server. LVS sends it on with the real server's
    /// address, which no client expects.
    pub(crate) fn answer_one_packet<A: Tabled, F: PacketBuf>(
        &mut self,
        snapshot: &Snapshot,
        frame: &mut F,
        packet: &Packet,
        translation: Translation<A>,
        origin: Origin,
        now: Time,
    ) -> Action {
        if nat::is_checksum_unfinished(frame.bytes(), packet, Protocol::Udp) {
            return Action::Drop(DropReason::UnfinishedChecksum);
        }
        if let Some(counting) = self.counting(snapshot) {
            let bytes = packet.datagram_bytes().into();
            counting.packet(translation.id, Direction::Output, bytes);
        }
        self.forward_reply::<A, F>(snapshot, frame, packet, &translation, origin, now)
    }
}
