//! Why the daemon does not start, or does not go on.
//! Its words are the log's last lines; it finds no fault itself.

use std::io;

use super::{claims, cpus, socket};

/// Why the daemon does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum DaemonError {
    /// A configured CPU cannot be had.
    #[error(transparent)]
    Cpu(#[from] cpus::CpuError),
    /// The control socket or the HTTP address cannot be had.
    #[error(transparent)]
    Socket(#[from] socket::SocketError),
    /// The folder of what outlives the daemon cannot be used.
    #[error(transparent)]
    State(#[from] crate::runtime::StateError),
    /// Another daemon uses a configured device.
    #[error(transparent)]
    Claim(#[from] claims::ClaimError),
    /// The tables do not fit into the memory that there is.
    #[error(transparent)]
    Memory(#[from] crate::memory::Shortage),
    /// DPDK does not start.
    #[error(transparent)]
    Eal(#[from] plimsoll_dpdk::EalError),
    /// There is no memory for packets.
    #[error(transparent)]
    Pool(#[from] plimsoll_dpdk::PoolError),
    /// A port cannot be opened.
    #[error(transparent)]
    Port(#[from] plimsoll_dpdk::PortError),
    /// More ports or workers than can be numbered.
    #[error("{0}")]
    TooMany(&'static str),
    /// The system gives no random numbers.
    #[error("/dev/urandom cannot be read: {0}")]
    Random(#[source] io::Error),
    /// The control thread cannot wait for anything.
    #[error("the control thread cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// A worker does not start.
    #[error("worker {worker} on CPU {cpu} cannot start: {reason}")]
    WorkerStart {
        /// Which.
        worker: usize,
        /// Where.
        cpu: usize,
        /// Why.
        reason: String,
    },
    /// A worker is gone.
    #[error("worker {0} has ended by itself, which is a bug: packets would be lost without it")]
    WorkerEnded(usize),
    /// A mistake in the list of metrics.
    #[error("the metrics contradict each other: {0}")]
    Metrics(#[from] prometheus::Error),
}
