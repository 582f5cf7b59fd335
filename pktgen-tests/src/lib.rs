//! Network namespaces, real servers and real traffic around a running Plimsoll.
//!
//! This crate must not know the inside of the daemon: it starts `plimsolld`, speaks to it by `plimsoll` and by
//! packets, and judges what comes out of the other end. `replay` does the same to the simulator, and `pktgen` at the
//! speed of a driver. `bench` alone looks inside: it measures parts of it in this process.
//!
//! # Main parts, in order of use
//!
//! 1. [`topology::Topology`] is a network of namespaces with clients and real servers; it needs root.
//! 2. [`daemon::Config`] writes the daemon's configuration, and [`daemon::Daemon`] is a running `plimsolld`.
//! 3. [`traffic`] sends requests by curl, wrk and UDP and counts the answers; [`endpoint`] has the servers.
//! 4. [`replay`] compares the simulator with recordings of LVS; it needs neither root nor DPDK.
//! 5. [`pktgen`] generates traffic: a [`pktgen::Scenario`], a [`pktgen::FrameWriter`] and a [`pktgen::Checker`].
//! 6. [`mod@bench`] measures, for `make bench`.
//!
//! # Example
//!
//! The generator writes a client's datagram; the checker tells a frame that nobody has forwarded:
//!
//! ```
//! use plimsoll_pktgen_tests::pktgen::{Checker, Clients, FrameWriter, Returns, Scenario, Segment, Shape};
//!
//! let scenario = Scenario { reals: 2, ..Scenario::default() };
//! let (shape, clients) = (Shape { frame_bytes: 60, data: false }, Clients::new(1));
//! let balancer = Scenario::BALANCER_MAC;
//! let writer = FrameWriter::new(&scenario, shape, clients, balancer)?;
//! let checker = Checker::new(&scenario, shape, clients, balancer, 10, Returns::MacSwapped)?;
//!
//! let (flow, stamp, number) = (3, 0, 0);
//! let mut frame = vec![0; writer.frame_bytes(Segment::Datagram)];
//! assert_eq!(writer.write(Segment::Datagram, flow, stamp, number, &mut frame), Some(frame.len()));
//! assert!(checker.judge(&frame).is_err(), "nobody has forwarded it yet");
//!
//! // testpmd's mode `macswap` exchanges the MACs and changes nothing else.
//! frame[..12].rotate_left(6);
//! assert_eq!(checker.judge(&frame)?.flow, flow);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bench;
pub mod daemon;
pub mod endpoint;
pub mod output;
pub mod pktgen;
pub mod replay;
pub mod topology;
pub mod traffic;

use std::process::ExitStatus;

/// What can go wrong while a topology is built or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces, raw sockets and DPDK's ports need root.
    #[error("this needs root: it makes network namespaces (try again with sudo)")]
    NotRoot,
    /// A program could not be started at all.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program's name or path.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it complained about.
        stderr: String,
    },
    /// Something did not become ready in time.
    #[error("{what} was not ready within {seconds} s{log}")]
    Late {
        /// What was waited for.
        what: String,
        /// The deadline.
        seconds: u64,
        /// The last lines of its log, if there is one, each on a line of its own.
        log: String,
    },
    /// A program answered with something that cannot be understood.
    #[error("{what}: unexpected answer: {answer}")]
    Answer {
        /// Who answered what.
        what: String,
        /// The answer, or the part that surprises.
        answer: String,
    },
    /// A file or directory of the topology could not be used.
    #[error("{path}: {source}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A signal arrived, everything is being taken down.
    #[error("interrupted")]
    Interrupted,
}

/// The result of everything that touches a topology.
pub type Result<T> = std::result::Result<T, Error>;
