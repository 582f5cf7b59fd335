//! What to run on the real servers of one service that is in force.
//! The commands are `real_setup`'s; here the service is found, in turn with other requests and without the lock.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::VirtualService;
use plimsoll_dataplane::spec::service::RealSpec;
use serde::Deserialize;

use super::state::Api;
use crate::config::suggest::nearest;
use crate::real_setup::section::{Os, Service};
use crate::real_setup::{RealSetup, real_setup, unknown};
use crate::running::lock;

/// Services that are looked at until others have their turn.
const YIELD: usize = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct RealSetupQuery {
    service: String,
    #[serde(default)]
    os: Os,
}

pub(super) async fn write(
    State(api): State<Api>,
    Query(query): Query<RealSetupQuery>,
) -> Result<Json<RealSetup>, (StatusCode, String)> {
    let snapshot = Arc::clone(lock(&api.running).snapshot());
    let Some(service) = find(&snapshot, &query.service).await else {
        let near = nearest_name(&snapshot, &query.service).await;
        let said = unknown(&query.service, near.as_deref()) + "\n";
        return Err((StatusCode::NOT_FOUND, said));
    };
    let candidates = service.scheduling.candidates.iter();
    let reals = candidates.filter_map(|candidate| snapshot.real(candidate.real));
    let reals: Vec<RealSpec> = reals.map(|real| real.spec).collect();
    let service = Service {
        name: &service.name,
        target: &service.target,
        mss_clamp: service.mss_clamp,
        reals: &reals,
    };
    let setup = real_setup(service, &snapshot.ports, &snapshot.routes, query.os);
    Ok(Json(setup))
}

async fn find<'s>(snapshot: &'s Snapshot, name: &str) -> Option<&'s VirtualService> {
    for (number, service) in snapshot.services.iter().enumerate() {
        if number % YIELD == YIELD - 1 {
            tokio::task::yield_now().await;
        }
        if service.configured && *service.name == *name {
            return Some(service);
        }
    }
    None
}

/// The name of a service that may have been meant: of some services at a time the nearest, and of these in the end.
async fn nearest_name(snapshot: &Snapshot, name: &str) -> Option<String> {
    let mut best: Vec<&str> = Vec::new();
    let mut some: Vec<&str> = Vec::new();
    for service in snapshot.configured_services() {
        some.push(&service.name);
        if some.len() == YIELD {
            best.extend(nearest(name, &some));
            some.clear();
            tokio::task::yield_now().await;
        }
    }
    best.extend(nearest(name, &some));
    nearest(name, &best).map(str::to_owned)
}
