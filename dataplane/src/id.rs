//! Stable slot numbers. A slot keeps its meaning for as long as a session refers to it.

/// The slot of a `VirtualService` in the snapshot and in every per-worker array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// The slot of a `RealServer` (one real server of one service) in the snapshot and in every
/// per-worker array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealId(pub u32);

/// A port's place in the configuration's list, and in every list of queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);
