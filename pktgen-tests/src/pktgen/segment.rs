//! What a frame is in its flow: a datagram, or a segment of a connection with its flags and numbers.
//!
//! Must not know where a frame is on its way.

use plimsoll_dataplane::wire::tcp;

/// What a frame is in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A UDP datagram.
    Datagram,
    /// The client opens a connection.
    Syn,
    /// The server agrees.
    SynAck,
    /// The client's part of the handshake ends.
    Ack,
    /// The client sends, or the server answers, one segment of data.
    Data,
    /// The client's or the server's end of the connection.
    Fin,
    /// The client has seen the server's end.
    Last,
}

impl Segment {
    pub(super) const COUNT: usize = 7;
    /// In the order of their numbers.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Datagram,
        Self::Syn,
        Self::SynAck,
        Self::Ack,
        Self::Data,
        Self::Fin,
        Self::Last,
    ];

    pub(super) const fn flags(self) -> u8 {
        match self {
            Self::Datagram => 0,
            Self::Syn => tcp::SYN,
            Self::SynAck => tcp::SYN | tcp::ACK,
            Self::Ack | Self::Last => tcp::ACK,
            Self::Data => tcp::PSH | tcp::ACK,
            Self::Fin => tcp::FIN | tcp::ACK,
        }
    }

    pub(super) const fn has_payload(self) -> bool {
        matches!(self, Self::Datagram | Self::Data)
    }

    /// What the sender and its peer have sent before, in bytes of sequence space, if segments of data have
    /// `payload` bytes, and each side sends `data` bytes in all before its end.
    pub(super) fn progress(self, from_client: bool, payload: u32, data: u32) -> (u32, u32) {
        match (self, from_client) {
            (Self::Datagram | Self::Syn, _) => (0, 0),
            (Self::SynAck, _) => (0, 1),
            (Self::Ack, _) | (Self::Data, true) => (1, 1),
            (Self::Data, false) => (1, 1 + payload),
            (Self::Fin, true) => (1 + data, 1 + data),
            (Self::Fin, false) => (1 + data, 2 + data),
            (Self::Last, _) => (2 + data, 2 + data),
        }
    }
}
