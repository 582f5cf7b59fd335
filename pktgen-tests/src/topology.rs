//! A laboratory of network namespaces: a client, the load balancer, three nginx servers, a router where needed.
//!
//! Nothing here outlives its owner: namespaces, processes and files go in `Drop`, at a signal, and, when the
//! owner was killed with -9, at the next start of any topology.

mod build;
mod directory;
mod guard;
mod namespace;
mod nginx;
mod pair;
mod plan;
mod process;

pub use build::{Options, Server, Topology};
pub use directory::WorkDirectory;
pub use guard::{Swept, signals_are_welcome, sweep};
pub use namespace::Namespace;
pub use pair::Pair;
pub use plan::{
    ECHO_PORT, Family, HTTP_PORT, Method, NAT_ECHO_PORT, NAT_HTTP_PORT, Network, Plan, PortPlan,
    SERVERS,
};
pub use process::Process;
