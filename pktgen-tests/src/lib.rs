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
mod error;
pub mod output;
pub mod pktgen;
pub mod replay;
pub mod topology;
pub mod traffic;

pub use error::{Error, Result};
