//! What tests, fuzzers and benchmarks drive the packet path with: frames, whole workers, faults.
//! No other code uses it.

mod builder;
mod faults;
mod rig;
mod rng;
mod slots;

pub use builder::{PacketBuilder, arp_frame, neighbour_frame};
pub use faults::{FaultInjector, Faults};
pub use rig::{Rig, Sent, on_steered_ports};
pub use rng::Rng;
pub use slots::{SlotBuf, SlotPool, SlotRx, SlotTx, SlotWire, slot_port};
