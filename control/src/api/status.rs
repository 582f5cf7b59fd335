//! The summary of what runs.
//! What it counts one by one, services and real servers, it counts in turn with other requests and without the lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::verdict::DropReason;

use super::state::{Api, YIELD};
use crate::metrics::is_kernel;
use crate::recent::address_conflicts;
use crate::report::status::{Count, DropSummary, PortStatus, Status, TopDrop, Use, WorkerStatus};
use crate::running::{Running, lock};

/// For users of the control socket.
pub(super) async fn whole(State(api): State<Api>) -> Json<Status> {
    Json(status(&api).await)
}

/// For anybody: without what may quote the configuration.
pub(super) async fn without_quotes(State(api): State<Api>) -> Json<Status> {
    let mut status = status(&api).await;
    if let Some(last) = &mut status.last_reload {
        last.why = None;
    }
    Json(status)
}

async fn status(api: &Api) -> Status {
    let (mut status, snapshot) = {
        let running = lock(&api.running);
        (of_running(&running), Arc::clone(running.snapshot()))
    };
    (status.services, status.reals) = count(&snapshot).await;
    status
}

/// The configured services and real servers.
async fn count(snapshot: &Snapshot) -> (u64, u64) {
    let services = snapshot.services.iter().map(|one| (one.configured, false));
    let reals = snapshot.reals.iter().map(|one| (one.configured, true));
    let mut counts = (0, 0);
    for (number, (configured, is_real)) in services.chain(reals).enumerate() {
        if number % YIELD == YIELD - 1 {
            tokio::task::yield_now().await;
        }
        let count = if is_real {
            &mut counts.1
        } else {
            &mut counts.0
        };
        *count += u64::from(configured);
    }
    counts
}

fn of_running(running: &Running) -> Status {
    let recent = running.recent();
    let workers = running.workers().iter().enumerate();
    let workers: Vec<_> = workers
        .map(|(number, worker)| WorkerStatus {
            cpu: worker.cpu as u64,
            sessions: u64::from(worker.stats.sessions.value()),
            busy_ratio: recent.busy_ratio(number, &worker.stats),
            busy_polls: worker.stats.busy_polls.value(),
            idle_polls: worker.stats.idle_polls.value(),
        })
        .collect();
    let ports = running.ports().map(|port| PortStatus {
        name: port.spec.name.to_string(),
        kernel: is_kernel(port.spec),
        driver: port.device.driver(),
        mac: port.device_spec.mac.to_string(),
        mtu: port.spec.mtu,
        link_up: port.is_up,
    });
    let conflicts = address_conflicts(running.stats());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        file: running.file().display().to_string(),
        fingerprint: format!("{:016x}", running.loaded().fingerprint),
        generation: running.snapshot().generation,
        uptime_s: running.started().elapsed().unwrap_or_default().as_secs(),
        recent_s: recent.seconds(running.now()),
        sessions: Use {
            used: workers.iter().map(|worker| worker.sessions).sum(),
            capacity: running.session_capacity(),
        },
        services: 0,
        reals: 0,
        operator_changes: running.live().runtime.iter().count() as u64,
        drops: drops(running),
        unreachable_neighbors: running.unreachable().count() as u64,
        address_conflicts: Count {
            total: conflicts,
            recent: recent.address_conflicts(conflicts),
        },
        last_reload: running.last_reload().cloned(),
        workers,
        ports: ports.collect(),
    }
}

fn drops(running: &Running) -> DropSummary {
    let reasons = DropReason::ALL.iter().map(|reason| {
        let total = running.stats().map(|worker| worker.drops(*reason)).sum();
        TopDrop {
            reason: reason.label().to_owned(),
            total,
            recent: running.recent().drops(*reason, total),
        }
    });
    let reasons: Vec<TopDrop> = reasons.collect();
    DropSummary {
        total: reasons.iter().map(|one| one.total).sum(),
        recent: reasons.iter().map(|one| one.recent).sum(),
        top: reasons
            .into_iter()
            .filter(|one| one.total > 0)
            .max_by_key(|one| (one.recent, one.total)),
    }
}
