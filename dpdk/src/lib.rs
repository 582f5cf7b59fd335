//! Safe ownership of DPDK's nouns: [`Eal`], [`Mempool`], [`Mbuf`], [`Port`], [`RxQueue`], [`TxQueue`].
//! No code here looks into a packet or decides about it; that is the data plane's.
//!
//! # Main types, in order of use
//!
//! [`Eal`] starts DPDK, [`Mempool`] has the memory of packets, [`Port`] opens a device with one [`RxQueue`] and one
//! [`TxQueue`] per worker, and an [`Mbuf`] is one frame. The queues implement the traits of [`plimsoll_dataplane::io`].
//!
//! # Example
//!
//! `net_ring` gives back what it is sent. Ordinary memory needs neither root nor hugepages:
//!
//! ```standalone_crate
//! use plimsoll_dataplane::io::{PacketBuf as _, Pool as _, RxQueue as _, TxQueue as _};
//! use plimsoll_dpdk::{Eal, EalConfig, Memory, Mempool, Port, PortConfig, device};
//!
//! let eal = Eal::init(EalConfig {
//!     program: "example".to_owned(),
//!     memory: Memory::NoHuge,
//!     size_mib: Some(64),
//!     ..EalConfig::default()
//! })?;
//! let pool = Mempool::new(&eal, "example", 1023, device::data_room(1500))?;
//! let (port, mut queues) = Port::open(&eal, &PortConfig::new("loop", "net_ring0"), &pool)?;
//! let queue = &mut queues[0];
//!
//! let mut frame = pool.handle().allocate().expect("the pool is full of free buffers");
//! frame.set_len(60)?;
//! frame.bytes_mut().fill(0xab);
//! let mut burst = vec![frame];
//! assert_eq!(queue.tx.transmit(&mut burst), 1);
//! assert_eq!(queue.rx.receive(&mut burst, 32), 1);
//! assert_eq!(burst[0].bytes(), [0xab; 60]);
//!
//! // Buffers go back to their pool when they are dropped, and the device is removed with its last queue.
//! drop(burst);
//! drop((port, queues));
//! assert_eq!(pool.in_use(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
mod lease;
mod mbuf;
mod mempool;
mod messages;
mod port;
mod port_error;
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
pub use port::{Capabilities, Hashed, Port, PortConfig, PortStats};
pub use port_error::PortError;
pub use privileges::drop_capabilities_of_other_threads;
pub use queue::{RxQueue, TxQueue};
pub use waiting::Interrupts;
