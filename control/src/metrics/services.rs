//! The metrics of services and real servers: there may be millions, so they are looked at a few at a time.
//! Names and labels are a contract; nothing is counted here.

use std::net::SocketAddr;

use plimsoll_dataplane::id::ServiceId;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::{RealServer, VirtualService};

use super::family::{Family, counter, gauge};
use crate::report;
use crate::runtime::{Administration, RuntimeChanges};

/// Services and real servers that one piece looks at, about a millisecond's work.
const PIECE: usize = 1000;

/// One family of samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfServices {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

/// What a family has samples of.
#[derive(Debug, Clone, Copy)]
enum Samples {
    /// A counter by service.
    Service(fn(&report::Counters) -> u64),
    /// A counter by real server.
    Real(fn(&report::Counters) -> u64),
    /// The sessions of each real server, by state; removed ones too.
    Sessions,
    /// Persistence templates by real server.
    Persistent,
    /// Weights by real server.
    Weight,
    /// What operators have each real server do: 1 for that, 0 for all else.
    Administration,
}

/// One metric of services and of real servers: their names, what to say, and where the number is.
type Counted = (
    [&'static str; 2],
    [&'static str; 2],
    fn(&report::Counters) -> u64,
);

const COUNTED: [Counted; 5] = [
    (
        ["service_sessions_total", "real_sessions_total"],
        [
            "Sessions scheduled, by service.",
            "Sessions scheduled, by real server.",
        ],
        |counts| counts.conns,
    ),
    (
        ["service_in_packets_total", "real_in_packets_total"],
        [
            "Packets of clients, by service.",
            "Packets of clients, by real server.",
        ],
        |counts| counts.in_packets,
    ),
    (
        ["service_in_bytes_total", "real_in_bytes_total"],
        [
            "Bytes of clients' packets, from the IP header on, by service.",
            "Bytes of clients' packets, from the IP header on, by real server.",
        ],
        |counts| counts.in_bytes,
    ),
    (
        ["service_out_packets_total", "real_out_packets_total"],
        [
            "Packets of real servers that passed through (NAT), by service.",
            "Packets of real servers that passed through (NAT), by real server.",
        ],
        |counts| counts.out_packets,
    ),
    (
        ["service_out_bytes_total", "real_out_bytes_total"],
        [
            "Bytes of real servers' packets that passed through (NAT), by service.",
            "Bytes of real servers' packets that passed through (NAT), by real server.",
        ],
        |counts| counts.out_bytes,
    ),
];

const OTHERS: [OfServices; 4] = [
    OfServices {
        name: "real_sessions",
        help: "Sessions at present, by real server and whether they count as active. Those of a real server that was \
               removed have the label removed.",
        samples: Samples::Sessions,
    },
    OfServices {
        name: "real_persistent_clients",
        help: "Clients that persistence keeps at the real server, by real server.",
        samples: Samples::Persistent,
    },
    OfServices {
        name: "real_weight",
        help: "The real server's share of new sessions; 0 takes none.",
        samples: Samples::Weight,
    },
    OfServices {
        name: "real_admin_state",
        help: "1 for what operators have the real server do: enabled, drained or disabled; 0 for the others.",
        samples: Samples::Administration,
    },
];

/// All of them, in the order of the page.
pub(super) fn families() -> impl Iterator<Item = OfServices> {
    let services = COUNTED
        .iter()
        .map(|([name, _], [help, _], value)| OfServices {
            name,
            help,
            samples: Samples::Service(*value),
        });
    let reals = COUNTED
        .iter()
        .map(|([_, name], [_, help], value)| OfServices {
            name,
            help,
            samples: Samples::Real(*value),
        });
    services.chain(reals).chain(OTHERS)
}

/// What all pieces of one page are about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'p> {
    pub(super) snapshot: &'p Snapshot,
    pub(super) runtime: &'p RuntimeChanges,
}

/// How far a family has been written.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Whether its head was written.
    pub(super) has_begun: bool,
    slot: u32,
    /// Of the service in this slot, the real server that is next.
    real: usize,
}

impl Place {
    /// Whether there is nothing left.
    pub(super) fn is_end(&self, snapshot: &Snapshot) -> bool {
        self.slot as usize >= snapshot.services.len()
    }
}

impl OfServices {
    /// The family without samples.
    pub(super) fn family(&self) -> Family {
        match self.samples {
            Samples::Service(_) | Samples::Real(_) => counter(self.name, self.help),
            Samples::Sessions | Samples::Persistent | Samples::Weight | Samples::Administration => {
                gauge(self.name, self.help)
            }
        }
    }

    /// The samples of the next services and real servers.
    pub(super) fn piece(&self, shown: Shown<'_>, place: &mut Place) -> Family {
        let snapshot = shown.snapshot;
        let mut family = self.family();
        let mut left = PIECE;
        while left > 0 && !place.is_end(snapshot) {
            left -= 1;
            match snapshot.service(ServiceId(place.slot)) {
                Some(service) => self.add(shown, service, place, &mut left, &mut family),
                None => place.slot += 1,
            }
        }
        place.has_begun |= !family.is_empty();
        family
    }

    fn add(
        &self,
        shown: Shown<'_>,
        service: &VirtualService,
        place: &mut Place,
        left: &mut usize,
        family: &mut Family,
    ) {
        let snapshot = shown.snapshot;
        if let Samples::Service(value) = self.samples {
            if service.configured {
                let target = report::Target::of(&service.target);
                let vip = target.address();
                let labels = [
                    ("service", &*service.name),
                    ("vip", vip.as_str()),
                    ("protocol", target.protocol()),
                ];
                family.add(&labels, value(&snapshot.service_totals(service).into()));
            }
            place.slot += 1;
            return;
        }
        let candidates = service
            .scheduling
            .candidates
            .iter()
            .skip(place.real)
            .take(*left);
        for candidate in candidates {
            place.real += 1;
            *left -= 1;
            if let Some(real) = snapshot.real(candidate.real) {
                self.add_real(shown, service, real, family);
            }
        }
        if place.real < service.scheduling.candidates.len() {
            return;
        }
        if let Samples::Sessions = self.samples {
            for real in report::removed_reals(snapshot, service) {
                add_sessions(snapshot, service, real, true, family);
            }
        }
        *left = left.saturating_sub(service.former.len());
        (place.slot, place.real) = (place.slot + 1, 0);
    }

    fn add_real(
        &self,
        Shown { snapshot, runtime }: Shown<'_>,
        service: &VirtualService,
        real: &RealServer,
        family: &mut Family,
    ) {
        let address = SocketAddr::new(real.spec.address, real.spec.port).to_string();
        let labels = [("service", &*service.name), ("real", address.as_str())];
        match self.samples {
            Samples::Real(value) => {
                family.add(&labels, value(&snapshot.real_totals(real.id).into()));
            }
            Samples::Persistent => {
                family.add(&labels, snapshot.real_totals(real.id).persistent);
            }
            Samples::Weight => family.add(&labels, u64::from(real.spec.weight)),
            Samples::Sessions => add_sessions(snapshot, service, real, false, family),
            Samples::Administration => {
                let identity = service.target.identity();
                let present = runtime.of(&identity, &real.spec).administration;
                for state in Administration::ALL {
                    let labels = [labels[0], labels[1], ("state", state.name())];
                    family.add(&labels, u64::from(state == present));
                }
            }
            Samples::Service(_) => {}
        }
    }
}

fn add_sessions(
    snapshot: &Snapshot,
    service: &VirtualService,
    real: &RealServer,
    removed: bool,
    family: &mut Family,
) {
    let load = snapshot.load(real.id);
    // A service that had another address while the same sessions lived is shown for both.
    let target = report::Target::of(&service.target);
    let vip = target.address();
    let address = SocketAddr::new(real.spec.address, real.spec.port).to_string();
    for (state, count) in [("active", load.active), ("inactive", load.inactive)] {
        let labels = [
            ("service", &*service.name),
            ("real", address.as_str()),
            ("state", state),
            ("removed", "true"),
            ("vip", vip.as_str()),
            ("protocol", target.protocol()),
        ];
        let labels = labels.get(..if removed { 6 } else { 3 });
        family.add(labels.unwrap_or_default(), count);
    }
}
