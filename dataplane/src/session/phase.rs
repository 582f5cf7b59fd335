//! What the state machines of all protocols have in common: how far a session is, who sent the packet at hand.
//! No protocol's states are here.

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The handshake is not complete, or there was one datagram only.
    Opening,
    /// Data may flow in both directions.
    Open,
    /// One side has finished, or both and one does not know it yet.
    Closing,
    /// Both sides have finished, one has broken off, or the real server has refused.
    Closed,
}

crate::listed! {
    /// What of a connection this balancer sees, and which side sent the packet at hand.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum Direction {
        /// From the client; replies are seen too (NAT).
        Input => "input",
        /// From the real server.
        Output => "output",
        /// From the client; replies go past the balancer (direct routing, tunnels).
        InputOnly => "input only",
    }
}
