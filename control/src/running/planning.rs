//! What a reload would change, found without changing anything.
//! What differs between two configurations is `changes.rs`'s.

use std::collections::HashMap;
use std::net::SocketAddr;

use plimsoll_dataplane::snapshot::model::VirtualService;
use plimsoll_dataplane::spec::service::ServiceSpec;
use plimsoll_dataplane::spec::target::Identity;

use super::Running;
use crate::changes::{self, Difference};
use crate::config::Loaded;
use crate::report::{Plan, Touched};

impl Running {
    /// What putting `loaded` in force would change; `file` is where it was read from, `colour` is for the report.
    #[must_use]
    pub fn plan(&self, file: String, loaded: &Loaded, colour: bool) -> Plan {
        let (old, new) = (&self.parts.loaded.valid, &loaded.valid);
        let difference = Difference::between(old.reload(), new.reload());
        let mut runtime = self.parts.runtime.clone();
        let dropped = runtime.rebase(&new.reload().services);
        let name = |identity: &Identity| {
            let service = old.reload().services.find(identity);
            service.map(|service| &*service.name)
        };
        let mut still: Vec<String> = runtime
            .iter()
            .map(|((service, socket), change)| {
                let real = SocketAddr::from(socket);
                let of = name(&service).unwrap_or_default();
                format!("{of}/{real} stays {}", change.words())
            })
            .collect();
        still.sort();
        Plan {
            file,
            valid: true,
            changes: difference.changes(),
            restart: changes::restarts(old.start(), new.start()),
            dropped: dropped
                .iter()
                .map(|one| one.words(name(&one.service)))
                .collect(),
            runtime: still,
            touched: self.touched(&difference),
            diagnostics: loaded.warnings.to_json(),
            report: loaded.warnings.report(colour),
        }
    }

    /// Services that would lose real servers with sessions.
    fn touched(&self, difference: &Difference<'_>) -> Vec<Touched> {
        let removed = difference.removed.iter();
        let removed = removed.map(|service| (service.target.identity(), None));
        let changed = difference.changed.iter();
        let changed = changed.map(|(_, new)| (new.target.identity(), Some(*new)));
        let after: HashMap<Identity, Option<&ServiceSpec>> = removed.chain(changed).collect();
        if after.is_empty() {
            return Vec::new();
        }
        let snapshot = self.snapshot();
        let sessions = |service: &VirtualService, after: Option<&ServiceSpec>| -> u64 {
            let candidates = service.scheduling.candidates.iter();
            let reals = candidates.filter_map(|candidate| snapshot.real(candidate.real));
            let goes = reals.filter(|real| {
                let stays = after.is_some_and(|service| {
                    let mut reals = service.reals.iter();
                    let socket = (real.spec.address, real.spec.port);
                    reals.any(|one| (one.address, one.port) == socket)
                });
                !stays
            });
            let loads = goes.map(|real| snapshot.load(real.id));
            loads.map(|load| load.active + load.inactive).sum()
        };
        snapshot
            .configured_services()
            .filter_map(|service| {
                let after = after.get(&service.target.identity())?;
                let sessions = sessions(service, *after);
                (sessions > 0).then(|| Touched {
                    service: service.name.to_string(),
                    sessions,
                })
            })
            .collect()
    }
}
