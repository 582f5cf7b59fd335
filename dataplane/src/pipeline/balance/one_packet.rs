//! What real servers of one-packet services answer by NAT: no session says which VIP was asked, but
//! the socket that the answer comes from does.
//! How the datagrams get there is `begin.rs`'s.

use crate::flow::Protocol;
use crate::io::{PacketBuf, Pool};
use crate::parse::Packet;
use crate::pipeline::action::{Context, Decision};
use crate::pipeline::leave::forward::Forwarder;
use crate::pipeline::sessions::{Tabled, Translation};
use crate::rewrite::change::Change;
use crate::rewrite::nat::{self, Socket};
use crate::session::Direction;
use crate::snapshot::Snapshot;
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
    // Only methods whose replies name their client are found like this, so only the source changes.
    let change = Change::Source(Socket { address, port });
    Some(Translation { id, client, change })
}

/// A datagram of a one-packet service's real server. LVS sends it on with the real server's
/// address, which no client expects.
pub(crate) fn answer_one_packet<A: Tabled, P: Pool, F: PacketBuf>(
    forwarder: &mut Forwarder<P>,
    context: &Context<'_>,
    frame: &mut F,
    packet: &Packet,
    translation: &Translation<A>,
) -> Decision {
    if nat::is_checksum_unfinished(frame.bytes(), packet, Protocol::Udp) {
        return Err(DropReason::UnfinishedChecksum.into());
    }
    let bytes = packet.datagram_bytes().into();
    context.count_packet(translation.id, Direction::Output, bytes);
    forwarder.forward_reply::<A, F>(context, frame, packet, translation)
}
