//! The control thread of Plimsoll and everything outside the packet path.
//! No packet is handled here: that is the data plane's, which this crate builds snapshots for.
//!
//! # Main parts, in order of use
//!
//! 1. [`config`] reads and checks YAML: [`config::load`] or [`config::parse`] give a [`config::Loaded`], or the
//!    [`config::Diagnostics`] with all that is wrong.
//! 2. [`compile`] turns a [`config::ValidConfig`] into the data plane's [`Spec`](plimsoll_dataplane::spec::Spec), and
//!    [`changes`] finds what differs from the configuration in force.
//! 3. [`running`] is what is in force at present; [`report`] and [`metrics`] are how it is shown, and [`api`] answers requests.
//! 4. [`simulate`] runs the daemon's workers over captures, without DPDK.
//! 5. [`import`] reads the rules of LVS and writes them.
//! 6. [`cli`] is the command `plimsoll`. With the feature `dpdk` there is also `daemon`, which is `plimsolld`.
//!
//! # Example
//!
//! A configuration with a mistake, and what is said about it:
//!
//! ```
//! use plimsoll_control::config;
//!
//! let text = "\
//! version: 1
//! dataplane:
//!   ports:
//!     - name: eth0
//!       device: net_null0
//!       addresses: [192.0.2.10/24]
//! services:
//!   - name: web
//!     vip: 192.0.2.80:443
//!     scheduler: wwr
//!     reals:
//!       - { address: 192.0.2.21 }
//! ";
//! let diagnostics = config::parse("plimsoll.yaml", text).unwrap_err();
//! for item in diagnostics.items() {
//!     println!("{:?}, line {:?}, {}: {}", item.severity, item.line, item.path, item.message);
//! }
//! assert_eq!(diagnostics.items()[0].path, "services[0].scheduler");
//! assert_eq!(diagnostics.items()[0].line, Some(10));
//!
//! // The report of `plimsoll check` quotes the line; `false` is without colours.
//! assert!(diagnostics.report(false).contains("scheduler: wwr"));
//!
//! let loaded = config::parse("plimsoll.yaml", text.replace("wwr", "wrr")).unwrap();
//! assert_eq!(loaded.valid.reload().services.len(), 1);
//! ```

pub mod api;
mod capabilities;
pub mod changes;
pub mod cli;
pub mod compile;
pub mod config;
#[cfg(feature = "dpdk")]
pub mod daemon;
pub mod doctor;
pub mod import;
pub mod incidents;
mod links;
pub mod memory;
pub mod metrics;
pub mod output_file;
#[cfg(test)]
mod pages;
pub mod pressure;
pub mod rate;
pub mod real_setup;
mod recent;
pub mod report;
pub mod running;
pub mod runtime;
pub mod simulate;
