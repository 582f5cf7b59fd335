//! What tests and the simulator drive the packet path with: frames, queues in memory, faults.
//! Nothing here runs in a daemon that owns a NIC.

mod builder;
mod faults;
mod memory;
mod rig;
mod rng;
mod slots;

pub use builder::{PacketBuilder, arp_frame, neighbour_frame};
pub use faults::{FaultInjector, Faults};
pub use memory::{
    CAPACITY_BYTES, HeapBuf, MemoryPool, MemoryRx, MemoryTx, MemoryWire, memory_port,
};
pub use rig::{Rig, Sent, on_steered_ports};
pub use rng::Rng;
pub use slots::{SlotBuf, SlotPool, SlotRx, SlotTx, SlotWire, slot_port};
