//! The session tables of both families, and what a packet or a session is found by in them.
//! What becomes of a session is not decided here.

use crate::flow::{FlowKey, Protocol, ReplyKey, V4, V6};
use crate::id::RealId;
use crate::parse::Packet;
use crate::rewrite::change::Change;
use crate::rewrite::nat::Socket;
use crate::session::{Session, SessionTable};
use crate::wire::family::Family;
use crate::wire::{sctp, tcp};

/// The session tables of both families.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Whether half-open sessions hold too much of a table.
    pub(crate) half_open_pressure: bool,
    pub(crate) v4: SessionTable<V4>,
    pub(crate) v6: SessionTable<V6>,
}

/// A family that has a session table.
pub(crate) trait Tabled: Family {
    fn table(sessions: &mut Sessions) -> &mut SessionTable<Self>;
    fn table_of(sessions: &Sessions) -> &SessionTable<Self>;
}

impl Tabled for V4 {
    #[inline]
    fn table(sessions: &mut Sessions) -> &mut SessionTable<Self> {
        &mut sessions.v4
    }

    #[inline]
    fn table_of(sessions: &Sessions) -> &SessionTable<Self> {
        &sessions.v4
    }
}

impl Tabled for V6 {
    #[inline]
    fn table(sessions: &mut Sessions) -> &mut SessionTable<Self> {
        &mut sessions.v6
    }

    #[inline]
    fn table_of(sessions: &Sessions) -> &SessionTable<Self> {
        &sessions.v6
    }
}

/// What a session changes in its client's packets.
#[inline(always)]
pub(crate) fn change_of<A: Family>(session: &Session<A>) -> Change<A> {
    Change::of_request(session.flags().method(), || {
        let (address, port) = session.real_address()?;
        Some(Socket { address, port })
    })
}

/// What becomes of a real server's packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Translation<A> {
    /// The real server.
    pub(crate) id: RealId,
    /// Whom the packet goes to.
    pub(crate) client: A,
    /// What changes in it.
    pub(crate) change: Change<A>,
}

impl<A: Family> Translation<A> {
    /// That of a session's replies; `None` if they do not come through here.
    #[inline(always)]
    pub(crate) fn of(session: &Session<A>) -> Option<Self> {
        let key = session.key();
        let virtual_ = Socket {
            address: key.virtual_address,
            port: key.virtual_port,
        };
        Some(Self {
            id: session.real(),
            client: key.client,
            change: Change::of_reply(session.flags().method(), virtual_)?,
        })
    }
}

/// The packet as one of a client to a virtual address.
#[inline]
pub(crate) fn flow_key<A>(
    packet: &Packet,
    protocol: Protocol,
    source: A,
    destination: A,
) -> FlowKey<A> {
    FlowKey {
        client: source,
        virtual_address: destination,
        client_port: packet.source_port,
        virtual_port: packet.destination_port,
        protocol,
    }
}

/// The packet as one of a NAT real server to a client.
#[inline]
pub(crate) fn reply_key<A>(
    packet: &Packet,
    protocol: Protocol,
    source: A,
    destination: A,
) -> ReplyKey<A> {
    ReplyKey {
        client: destination,
        real: source,
        client_port: packet.destination_port,
        real_port: packet.source_port,
        protocol,
    }
}

/// Whether a packet begins a session; with `any`, whatever it is but a reset or ABORT.
#[inline]
pub(crate) fn opens(protocol: Protocol, packet: &Packet, any: bool) -> bool {
    match protocol {
        Protocol::Tcp => {
            let taken = if any { 0 } else { tcp::SYN };
            packet.tcp_flags & (taken | tcp::RST) == taken
        }
        Protocol::Udp => true,
        Protocol::Sctp if any => packet.sctp_chunk != sctp::ABORT,
        Protocol::Sctp => packet.sctp_chunk == sctp::INIT,
    }
}
