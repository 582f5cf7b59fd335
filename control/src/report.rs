//! What is told about a running data plane, in the form that `-o json` prints: services, sessions, drops.
//! Field names are a contract. Nothing is laid out for people here.

pub mod neighbours;
pub mod ports;
pub mod routes;
pub mod status;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use ipnet::IpNet;
use plimsoll_dataplane::flow::Protocol;
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::session::Flags;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::{RealServer, Totals, VirtualService};
use plimsoll_dataplane::spec;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::service::RealSpec;
use plimsoll_dataplane::spec::target::{self, VipSocket};
use plimsoll_dataplane::spec::timeouts::Millis;
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::verdict::DropReason;
use plimsoll_dataplane::worker::SessionRecord;
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::rate::{Rate, Rates};
use crate::runtime::{Administration, RuntimeChanges};
pub use orders::{OrderRequest, RealState, RealStates, left};
pub use plan::{Plan, Touched};

mod orders;
mod plan;

/// Values that JSON has by their names.
mod by_name {
    use plimsoll_dataplane::listed::Listed;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Listed, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.name())
    }

    pub(super) fn deserialize<'de, T: Listed, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let name = String::deserialize(deserializer)?;
        T::by_name(&name).ok_or_else(|| de::Error::custom(format!("unknown name `{name}`")))
    }
}

/// Values that JSON has as the configuration writes them.
mod as_written {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::config::leaf::Leaf;

    pub(super) fn serialize<T: Leaf, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.print())
    }

    pub(super) fn deserialize<'de, T: Leaf, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::parse(&text).map_err(|error| de::Error::custom(error.message))
    }
}

/// The protocol of a session, or of a template that may be for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionProtocol {
    /// Of a template for every protocol.
    Ip,
    /// Of a session, or a template of one protocol.
    #[serde(untagged, with = "by_name")]
    One(Protocol),
}

impl SessionProtocol {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::One(protocol) => protocol.name(),
        }
    }
}

/// What was counted for a service or a real server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Sessions scheduled.
    pub conns: u64,
    /// Packets of clients.
    pub in_packets: u64,
    /// Packets of real servers that passed through here.
    pub out_packets: u64,
    /// Bytes of clients' packets, from the IP header on.
    pub in_bytes: u64,
    /// Bytes of real servers' packets.
    pub out_bytes: u64,
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

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Real {
    /// Its address and port.
    pub address: SocketAddr,
    /// How packets of new sessions get to it.
    #[serde(with = "by_name")]
    pub forward: ForwardMethod,
    /// Its share of new sessions; 0 takes none.
    pub weight: u32,
    /// The file's weight, if an operator has set another one; left out if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_of_file: Option<u32>,
    /// What operators have it do; left out where nobody operates it, and once it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administration: Option<Administration>,
    /// Whether it is no longer configured, and shown only until its last session ends; left out if it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// With this many sessions it gets no new ones; left out if there is no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upper: u32,
    /// Below this many it gets new ones again; left out if it is not set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lower: u32,
    /// Its other keys, by their names in the file (`tunnel.source`), with the values that are in effect, its service's
    /// included: those that differ from the defaults; left out if there are none. A new key is shown here by itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<Cow<'static, str>, String>,
    /// Sessions in an active state.
    pub active: u64,
    /// All other sessions.
    pub inactive: u64,
    /// Persistence templates, which are no sessions; left out if there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub persistent: u64,
    /// What was counted for it.
    #[serde(flatten)]
    pub counters: Counters,
    /// The averages of late; left out where no time passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// How clients of a service stay at a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Milliseconds that a client is remembered after its last session began.
    pub timeout_ms: u32,
    /// The length of the prefix that makes a client.
    pub mask: u8,
}

/// Which packets are a service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// Those to virtual addresses.
    Vip {
        /// The virtual address, or a prefix of them, and the port; 0 is every port.
        #[serde(with = "as_written")]
        vip: VipSocket,
        /// The transport protocol.
        #[serde(with = "by_name")]
        protocol: Protocol,
    },
    /// Those that rules match.
    Mark {
        /// What names the service.
        mark: u32,
        /// Whether it is for IPv6; left out if not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ipv6: bool,
    },
}

impl Target {
    /// That of a service in force.
    pub(crate) fn of(target: &target::Target) -> Self {
        match target {
            target::Target::Vip(vip) => Self::Vip {
                vip: vip.socket(),
                protocol: vip.protocol,
            },
            target::Target::Match { mark, .. } => Self::Mark {
                mark: mark.number,
                ipv6: mark.is_v6,
            },
        }
    }

    /// Whether its packets are of IPv6.
    #[must_use]
    pub const fn is_v6(&self) -> bool {
        match self {
            Self::Vip { vip, .. } => matches!(vip.addresses, IpNet::V6(_)),
            Self::Mark { ipv6, .. } => *ipv6,
        }
    }

    /// The protocol as `ipvsadm` has it in its first column, in lower case; the one of marks is `fwm`.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Vip { protocol, .. } => protocol.name(),
            Self::Mark { .. } => "fwm",
        }
    }

    /// The address and port, or the mark, as `ipvsadm` has it in its second column.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Vip { vip, .. } => vip.to_string(),
            Self::Mark { mark, ipv6: false } => mark.to_string(),
            Self::Mark { mark, ipv6: true } => format!("{mark} IPv6"),
        }
    }
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Which packets are its.
    #[serde(flatten)]
    pub target: Target,
    /// Whether it is no longer configured, and shown only until its last session ends; left out if it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// Its scheduler's name.
    pub scheduler: String,
    /// Its settings by the names that `ipvsadm -b` takes; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduler_flags: Vec<Cow<'static, str>>,
    /// How clients stay at a real server; left out if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    /// What was counted for it; real servers that were removed since are in it too.
    #[serde(flatten)]
    pub counters: Counters,
    /// The averages of late; left out where no time passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// In scheduling order; after them those that were removed and have sessions left.
    pub reals: Vec<Real>,
}

/// `plimsoll list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Sessions that all workers together can hold.
    pub capacity: u64,
    /// In the order of their slots: older ones first.
    pub services: Vec<Service>,
}

/// One session, or one persistence template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its transport protocol.
    pub protocol: SessionProtocol,
    /// Its state, as `ipvsadm -Lnc` names it. Only a template is `ASSURED`.
    pub state: Cow<'static, str>,
    /// The client's address and port; a template's network and 0.
    pub client: SocketAddr,
    /// The virtual address and port.
    #[serde(rename = "virtual")]
    pub virtual_: SocketAddr,
    /// The real server's address and port.
    pub real: SocketAddr,
    /// Whole seconds until it ends, if no further packet comes.
    pub expires_s: u64,
}

/// `plimsoll list --sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// In no order.
    pub sessions: Vec<Session>,
    /// Whether there are more than were asked for or than one answer has.
    #[serde(default)]
    pub truncated: bool,
    /// Whether some are missing since a worker did not answer.
    #[serde(default)]
    pub incomplete: bool,
}

/// `plimsoll list --timeout`: how long idle sessions live, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// An established TCP session.
    pub tcp_s: u64,
    /// A TCP session after a FIN.
    pub tcp_fin_s: u64,
    /// A UDP session.
    pub udp_s: u64,
}

impl From<spec::timeouts::Timeouts> for Timeouts {
    fn from(timeouts: spec::timeouts::Timeouts) -> Self {
        // A part of a second is shown as one, so that none looks as if there was no time.
        let seconds = |time: Millis| u64::from(time.0).div_ceil(1000);
        Self {
            tcp_s: seconds(timeouts.tcp),
            tcp_fin_s: seconds(timeouts.tcp_fin),
            udp_s: seconds(timeouts.udp),
        }
    }
}

/// `plimsoll drops`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Packets by reason.
    pub drops: BTreeMap<String, u64>,
}

plimsoll_dataplane::listed! {
    /// What came of a reload. Names are those in JSON, and the values of the metric label `result`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ReloadResult {
        /// The file is in force.
        Applied => "applied",
        /// The file says what is in force already.
        Unchanged => "unchanged",
        /// The file is invalid; nothing was changed.
        Invalid => "invalid",
        /// The file changes what only a restart can; nothing was changed.
        RestartNeeded => "restart_needed",
    }
}

impl ReloadResult {
    /// Whether the file is in force.
    #[must_use]
    pub const fn is_success(self) -> bool {
        match self {
            Self::Applied | Self::Unchanged => true,
            Self::Invalid | Self::RestartNeeded => false,
        }
    }
}

/// `plimsoll reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// What came of it.
    pub result: ReloadResult,
    /// The file that was read.
    pub file: String,
    /// Number of the configuration in force; each change counts it up.
    pub generation: u64,
    /// What was changed.
    pub changes: Changes,
    /// What needs a restart, if that is why it was refused.
    #[serde(default)]
    pub restart: Vec<String>,
    /// What operators had changed and no longer counts, since the file says something else.
    #[serde(default)]
    pub dropped: Vec<String>,
    /// What `plimsoll check` would say about the file.
    pub diagnostics: serde_json::Value,
    /// The same for people; empty if there is nothing to say.
    pub report: String,
}

/// What only a running daemon knows of services and real servers.
#[derive(Debug, Clone, Copy)]
pub struct Live<'r> {
    /// The averages of late.
    pub rates: &'r Rates,
    /// What operators have changed.
    pub runtime: &'r RuntimeChanges,
}

fn is_zero<N: Copy + Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// The services and what was counted for them, in the order of their slots; with what a daemon knows if one runs. Those that were removed are among them while they have sessions.
#[must_use]
pub fn services(snapshot: &Snapshot, live: Option<Live<'_>>) -> Vec<Service> {
    let services = snapshot.services.iter();
    services
        .filter(|one| is_shown(snapshot, one))
        .map(|one| service(snapshot, live, one))
        .collect()
}

/// Whether a service is configured, or has sessions left.
pub(crate) fn is_shown(snapshot: &Snapshot, service: &VirtualService) -> bool {
    service.configured || removed_reals(snapshot, service).next().is_some()
}

/// The real servers that were removed from a service and have sessions or templates left.
pub(crate) fn removed_reals<'s>(
    snapshot: &'s Snapshot,
    service: &'s VirtualService,
) -> impl Iterator<Item = &'s RealServer> {
    let live = |id: &&RealId| snapshot.live_sessions(**id) > 0;
    let live = service.former.iter().filter(live);
    live.filter_map(|id| snapshot.real(*id))
}

/// One service as `plimsoll list -o json` shows it.
#[must_use]
pub(crate) fn service(
    snapshot: &Snapshot,
    live: Option<Live<'_>>,
    service: &VirtualService,
) -> Service {
    Service {
        reals: reals(snapshot, live, service, 0..places(service)),
        ..service_alone(snapshot, live, service)
    }
}

/// How many places a service has for [`reals`].
pub(crate) fn places(service: &VirtualService) -> usize {
    service.scheduling.candidates.len() + service.former.len()
}

/// The real servers of some places of a service: those that are configured, then those that were removed, of which only
/// those with sessions or templates left are shown.
pub(crate) fn reals(
    snapshot: &Snapshot,
    live: Option<Live<'_>>,
    service: &VirtualService,
    places: Range<usize>,
) -> Vec<Real> {
    let identity = service.target.identity();
    let shown = |real: &RealServer| {
        let load = snapshot.load(real.id);
        let totals = snapshot.real_totals(real.id);
        let change = live.filter(|_| real.configured);
        let change = change.map(|live| live.runtime.of(&identity, &real.spec));
        Real {
            address: SocketAddr::new(real.spec.address, real.spec.port),
            forward: real.spec.forward,
            weight: if real.configured { real.spec.weight } else { 0 },
            weight_of_file: change.and_then(|change| Some(change.weight?.of_file)),
            administration: change.map(|change| change.administration),
            removed: !real.configured,
            upper: real.spec.limits.upper,
            lower: real.spec.limits.lower,
            settings: settings(&real.spec),
            active: load.active,
            inactive: load.inactive,
            persistent: totals.persistent,
            counters: totals.into(),
            rate: live.map(|live| live.rates.of_real(service, real)),
        }
    };
    let candidates = service.scheduling.candidates.iter();
    let ids = candidates.map(|candidate| candidate.real);
    let ids = ids.chain(service.former.iter().copied());
    let reals = ids.take(places.end).skip(places.start);
    let reals = reals.filter_map(|id| snapshot.real(id));
    let is_shown = |real: &&RealServer| real.configured || snapshot.live_sessions(real.id) > 0;
    reals.filter(is_shown).map(shown).collect()
}

/// What has no field of its own in [`Real`].
fn settings(spec: &RealSpec) -> BTreeMap<Cow<'static, str>, String> {
    let by_fields = RealSpec {
        weight: spec.weight,
        limits: spec.limits,
        ..RealSpec::new(spec.address, spec.port, spec.forward)
    };
    let others = by_fields.differences(spec);
    others.map(|(key, _, value)| (key.into(), value)).collect()
}

/// One service, without its real servers.
pub(crate) fn service_alone(
    snapshot: &Snapshot,
    live: Option<Live<'_>>,
    service: &VirtualService,
) -> Service {
    let scheduler = service.scheduling.scheduler.kind();
    Service {
        name: service.name.to_string(),
        target: Target::of(&service.target),
        removed: !service.configured,
        scheduler: scheduler.name().to_owned(),
        scheduler_flags: scheduler.flags().into_iter().map(Cow::from).collect(),
        persistence: service.persistence.map(|persistence| Persistence {
            timeout_ms: persistence.timeout_ms,
            mask: persistence.mask,
        }),
        one_packet: service.one_packet,
        counters: snapshot.service_totals(service).into(),
        rate: live.map(|live| live.rates.of_service(service)),
        reals: Vec::new(),
    }
}

/// A session as it stands at `now`.
#[must_use]
pub fn session(snapshot: &Snapshot, record: &SessionRecord, now: Time) -> Session {
    // A slot outlives its sessions, so there is always one.
    let unspecified = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
    let real = snapshot.real(record.real);
    let protocol = if record.flags.contains(Flags::ANY_PROTOCOL) {
        SessionProtocol::Ip
    } else {
        SessionProtocol::One(record.protocol)
    };
    // IPVS marks a template that nobody may use any more on both sides.
    let port = |real: &RealServer| match record.virtual_.1 {
        invalid if record.flags.contains(Flags::INVALID) => invalid,
        0 => 0,
        _ if record.flags.contains(Flags::TEMPLATE) => real.spec.port,
        port if record.flags.is_one_way() => port,
        port => real.port_for(port),
    };
    Session {
        protocol,
        state: record.state_name().into(),
        client: record.client.into(),
        virtual_: record.virtual_.into(),
        real: real.map_or(unspecified, |real| {
            SocketAddr::new(real.spec.address, port(real))
        }),
        expires_s: record.deadline.ms_since(now) / 1000,
    }
}

/// What all workers dropped, by reason; `all` includes the reasons that nothing was dropped for.
#[must_use]
pub fn drops<'a>(
    workers: impl Iterator<Item = &'a WorkerStats> + Clone,
    all: bool,
) -> BTreeMap<String, u64> {
    DropReason::ALL
        .iter()
        .map(|reason| {
            let count = workers.clone().map(|worker| worker.drops(*reason)).sum();
            (reason.label().to_owned(), count)
        })
        .filter(|(_, count)| all || *count > 0)
        .collect()
}

#[cfg(test)]
mod tests;
