//! The units of the figures.
//!
//! Must not know how a figure is printed or judged.

use serde::Serialize;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds for one packet.
    NsPerPacket,
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Packets per second.
    PacketsPerSecond,
    /// New sessions per second.
    SessionsPerSecond,
    /// Bytes.
    Bytes,
    /// 10^9 bytes per second.
    GigabytesPerSecond,
    /// One figure over another.
    Ratio,
}
