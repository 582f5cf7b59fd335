//! What services, real servers and sessions look like to programs: the JSON of `list`, of the API
//! and of the simulator. The field names are a contract.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use plimsoll_dataplane::schedule::Candidate;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::{ForwardMethod, Totals, VirtualService};
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::worker::SessionRecord;
use serde::{Deserialize, Serialize};

/// One virtual service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `address:port`, IPv6 in brackets.
    pub vip: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Its scheduler's name.
    pub scheduler: String,
    /// What its real servers counted, former ones included.
    #[serde(flatten)]
    pub counters: Counters,
    /// In scheduling order.
    pub reals: Vec<Real>,
}

/// One real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Real {
    /// `address:port`, IPv6 in brackets.
    pub address: SocketAddr,
    /// `dr`, `nat` or `tunnel`.
    pub forward: String,
    /// Its share.
    pub weight: u32,
    /// Sessions in an active state.
    pub active: u64,
    /// All other sessions.
    pub inactive: u64,
    /// What it counted since it was configured.
    #[serde(flatten)]
    pub counters: Counters,
}

/// Counters as `ipvsadm -Ln --stats` has them. Bytes are IP lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Sessions scheduled.
    pub conns: u64,
    /// Packets of clients.
    pub in_packets: u64,
    /// Packets of real servers.
    pub out_packets: u64,
    /// Bytes of clients.
    pub in_bytes: u64,
    /// Bytes of real servers.
    pub out_bytes: u64,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// As `ipvsadm -Lnc` names it.
    pub state: String,
    /// Who asked.
    pub client: SocketAddr,
    /// What was asked.
    #[serde(rename = "virtual")]
    pub virtual_: SocketAddr,
    /// Who answers.
    pub real: SocketAddr,
    /// Whole seconds until it ends, if no further packet comes.
    pub expires_s: u64,
}

impl From<Totals> for Counters {
    fn from(totals: Totals) -> Self {
        Self {
            conns: totals.sessions,
            in_packets: totals.in_packets,
            out_packets: totals.out_packets,
            in_bytes: totals.in_bytes,
            out_bytes: totals.out_bytes,
        }
    }
}

/// A forwarding method's name in the configuration.
#[must_use]
pub const fn forward_name(method: ForwardMethod) -> &'static str {
    match method {
        ForwardMethod::Direct => "dr",
        ForwardMethod::Nat => "nat",
        ForwardMethod::Tunnel => "tunnel",
    }
}

/// The configured services, in the order of their slots.
#[must_use]
pub fn services(snapshot: &Snapshot) -> Vec<Service> {
    snapshot
        .configured_services()
        .map(|one| service(snapshot, one))
        .collect()
}

fn service(snapshot: &Snapshot, service: &VirtualService) -> Service {
    Service {
        name: service.name.to_string(),
        vip: SocketAddr::new(service.address, service.port),
        protocol: service.protocol.to_string(),
        scheduler: service.scheduler.kind().to_string(),
        counters: snapshot.service_totals(service).into(),
        reals: service
            .candidates
            .iter()
            .filter_map(|one| real(snapshot, one))
            .collect(),
    }
}

fn real(snapshot: &Snapshot, candidate: &Candidate) -> Option<Real> {
    let real = snapshot.real(candidate.real)?;
    let totals = snapshot.real_totals(candidate.real);
    Some(Real {
        address: SocketAddr::new(real.address, real.port),
        forward: forward_name(real.forward).to_owned(),
        weight: real.weight,
        active: totals.active,
        inactive: totals.inactive,
        counters: totals.into(),
    })
}

/// A session as it stands at `now`.
#[must_use]
pub fn session(snapshot: &Snapshot, record: &SessionRecord, now: Time) -> Session {
    let unspecified = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
    let real = snapshot.real(record.real);
    Session {
        protocol: record.state.protocol().to_string(),
        state: record.state.name().to_owned(),
        client: record.client.into(),
        virtual_: record.virtual_.into(),
        real: real.map_or(unspecified, |real| SocketAddr::new(real.address, real.port)),
        expires_s: record.deadline.ms_since(now) / 1000,
    }
}

/// Drops by reason over all workers; reasons that never occurred only if `zeros`.
#[must_use]
pub fn drops(workers: &[Arc<WorkerStats>], zeros: bool) -> BTreeMap<String, u64> {
    DropReason::ALL
        .iter()
        .map(|reason| {
            let count = workers.iter().map(|worker| worker.drops(*reason)).sum();
            (reason.label().to_owned(), count)
        })
        .filter(|(_, count)| zeros || *count > 0)
        .collect()
}
