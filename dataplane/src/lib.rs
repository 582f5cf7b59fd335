//! The packet path of Plimsoll. Pure: bytes, tables and a time in, a verdict out.
//! No DPDK, no clock, no I/O and no unsafe code belong here.
//!
//! # Main types, in order of use
//!
//! 1. [`spec::Spec`]: what an operator wants, as plain types: devices, ports, routes, services, real servers.
//! 2. [`snapshot::build::Builder`] compiles a `Spec` into an immutable [`snapshot::Snapshot`], again after each change.
//! 3. [`snapshot::rcu::Publisher`] gives workers the newest snapshot; each worker has a reader of it.
//! 4. [`worker::Worker`] polls its queues on all devices and forwards packets. There is one for each CPU.
//! 5. [`io`] has the traits of a driver ([`io::RxQueue`], [`io::TxQueue`], [`io::Pool`]) and ports in memory.
//! 6. [`verdict::Verdict`] and [`verdict::DropReason`] say what became of a frame; [`stats::WorkerStats`] counts them.
//!
//! # Example
//!
//! A worker on a port in memory forwards the first segment of a connection to a real server, with direct routing:
//!
//! ```
//! use std::net::Ipv4Addr;
//!
//! use ahash::RandomState;
//! use plimsoll_dataplane::flow::Protocol;
//! use plimsoll_dataplane::id::{DeviceId, PortId};
//! use plimsoll_dataplane::io::heap::MemoryPool;
//! use plimsoll_dataplane::io::memory::memory_port;
//! use plimsoll_dataplane::pipeline::{Config, inboxes};
//! use plimsoll_dataplane::schedule::Start;
//! use plimsoll_dataplane::snapshot::build::Builder;
//! use plimsoll_dataplane::snapshot::rcu::Publisher;
//! use plimsoll_dataplane::spec::Spec;
//! use plimsoll_dataplane::spec::forward::ForwardMethod;
//! use plimsoll_dataplane::spec::network::{DeviceSpec, Network, PortRole, PortSpec};
//! use plimsoll_dataplane::spec::scheduler::SchedulerKind;
//! use plimsoll_dataplane::spec::service::{RealSpec, ServiceSpec};
//! use plimsoll_dataplane::spec::target::Target;
//! use plimsoll_dataplane::testing::PacketBuilder;
//! use plimsoll_dataplane::time::Time;
//! use plimsoll_dataplane::wire::{Mac, tcp};
//! use plimsoll_dataplane::worker::{Resources, Worker, commands};
//!
//! let (gateway_mac, our_mac, real_mac) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3]));
//! let client = Ipv4Addr::new(198, 51, 100, 7);
//! let vip = Ipv4Addr::new(192, 0, 2, 100);
//! let real = Ipv4Addr::new(192, 0, 2, 11);
//!
//! // One port on a device of its own, one service, one real server whose MAC is known.
//! let spec = Spec {
//!     devices: vec![DeviceSpec::new(our_mac, PortId::new(0))],
//!     ports: vec![PortSpec {
//!         name: "net".into(),
//!         device: DeviceId::new(0),
//!         mtu: 1500,
//!         addresses: vec!["192.0.2.1/24".parse()?],
//!         role: PortRole::Network { kernel: None },
//!     }],
//!     network: Network { neighbours: vec![(real.into(), real_mac)], ..Network::default() },
//!     services: vec![ServiceSpec::new(
//!         "web",
//!         Target::vip(Protocol::Tcp, vip.into(), 80),
//!         SchedulerKind::Rr,
//!         vec![RealSpec::new(real.into(), 80, ForwardMethod::Direct)],
//!     )],
//!     ..Spec::default()
//! };
//!
//! let mut builder = Builder::new(1, &RandomState::with_seeds(1, 2, 3, 4));
//! let mut publisher = Publisher::new(builder.build(&spec, true));
//!
//! let (queues, wire) = memory_port();
//! let config = Config::new(Start { worker: 0, workers: 1 }, 1024, [1, 2, 3, 4]);
//! let mut worker = Worker::new(&config, Resources {
//!     queues: vec![queues],
//!     pool: MemoryPool::new(64),
//!     reader: publisher.subscribe(),
//!     commands: commands(),
//!     inboxes: inboxes(1),
//! });
//!
//! let syn = PacketBuilder::v4(client, vip).mac(gateway_mac, our_mac).tcp(40000, 80).flags(tcp::SYN);
//! wire.send(&syn.build());
//! worker.poll(Time::from_ms(1));
//!
//! // Direct routing changes the MACs and the TTL. The port announces its addresses too, so other frames may leave with it.
//! let expected = syn.mac(our_mac, real_mac).ttl(63).build();
//! assert!(wire.drain().contains(&expected));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`testing::Rig`] does the same for several workers and checks the counters after every step.

#![deny(unsafe_code)]

pub mod flow;
pub mod id;
pub mod incident;
pub mod io;
pub mod listed;
pub mod listing;
pub mod memory;
pub mod neighbour;
pub mod parse;
pub mod pipeline;
pub mod prefetch;
pub mod reassembly;
pub mod rewrite;
pub mod schedule;
pub mod session;
pub mod snapshot;
pub mod spec;
pub mod stats;
pub mod steering;
mod sync;
pub mod testing;
pub mod time;
pub mod verdict;
pub mod wire;
pub mod worker;
