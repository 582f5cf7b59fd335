//! Safe ownership of DPDK's nouns: [`Eal`], [`Mempool`], [`Mbuf`], [`Port`], [`RxQueue`], [`TxQueue`].
//! No code here looks into a packet or decides about it; that is the data plane's.
//!
//! # Who owns what
//!
//! - [`Eal`] is started once per process and never stopped: whoever holds it, or anything made
//!   with it, knows that DPDK's memory stays mapped until the process ends.
//! - [`Mempool`]s are never freed either, so an [`Mbuf`] needs no reference count to its pool:
//!   wherever it is dropped, the memory it goes back to is there.
//! - [`Port`] and the queues it was opened with share the device: it is stopped and removed when
//!   the last of them is dropped. Each queue exists once, is not `Clone` and polls through
//!   `&mut self`, hence by one thread at a time; with [`PortConfig::share`] several workers' queues may be one
//!   of the device's, for which they take turns.
//!
//! # Devices
//!
//! What each of DPDK's software devices needs and gets wrong is written down in [`device`].
//!
//! # Panics and errors
//!
//! Nothing here panics. What cannot be done is an [`EalError`], [`PoolError`] or [`PortError`] that
//! carries DPDK's own words and says what an operator can do about it.

pub mod device;
mod eal;
mod fatal;
mod fields;
mod huge;
mod interrupt;
mod kernel;
mod last_burst;
mod mbuf;
mod mempool;
mod messages;
mod port;
mod privileges;
mod queue;
mod waiting;

pub use eal::{
    Eal, EalConfig, EalError, Memory, MemoryKind, RegisteredThread, cycles, register_thread,
};
pub use fatal::on_fatal_signal;
pub use huge::{Coverage, HugePages};
pub use last_burst::{BurstSource, last_burst, last_frame};
pub use mbuf::Mbuf;
pub use mempool::{Mempool, PoolError, PoolHandle};
pub use port::{Capabilities, Hashed, Port, PortConfig, PortError, PortStats};
pub use privileges::drop_capabilities_of_other_threads;
pub use queue::{RxQueue, TxQueue};
pub use waiting::Interrupts;
