//! What operators order of real servers: which ones are meant, and what is told of them afterwards.
//! What is done is `running/`'s.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use plimsoll_dataplane::id::RealId;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::{RealServer, VirtualService};
use serde::Deserialize;
use tracing::info;

use super::state::{Api, YIELD};
use crate::report::{OrderRequest, RealState, RealStates, Target, left};
use crate::running::{Running, lock};
use crate::runtime::{Administration, BadPattern, RealPattern};

/// Real servers that one order's lines in the log name; nobody reads more.
const MOST_LINES: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    real: String,
}

/// Real servers as they are.
pub(super) async fn show(State(api): State<Api>, Query(asked): Query<Asked>) -> Response {
    match meant(&api, &asked.real).await {
        Ok((snapshot, reals)) => Json(RealStates {
            reals: states(&lock(&api.running), &snapshot, &reals),
            not_kept: None,
        })
        .into_response(),
        Err(refused) => refused,
    }
}

/// Carries out an order.
pub(super) async fn carry_out(
    State(api): State<Api>,
    request: Result<Json<OrderRequest>, JsonRejection>,
) -> Response {
    let OrderRequest { real, order } = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let (snapshot, reals) = match meant(&api, &real).await {
        Ok(meant) => meant,
        Err(refused) => return refused,
    };
    let keys: Vec<_> = reals
        .iter()
        .filter_map(|id| {
            let (service, real) = at(&snapshot, *id)?;
            let socket = (real.spec.address, real.spec.port);
            Some((service.target.identity(), socket))
        })
        .collect();
    let ordered = lock(&api.running).order(&keys, order);
    let (_, kept) = match ordered {
        Ok(ordered) => ordered,
        // Not CONFLICT, whose body the command takes for a reload that was refused.
        Err(error) => return refuse(StatusCode::PRECONDITION_FAILED, &error.to_string()),
    };
    let not_kept = match kept.await {
        Ok(kept) => kept.err(),
        Err(_) => Some("the thread that keeps it has ended".to_owned()),
    };
    let reals = {
        let running = lock(&api.running);
        let snapshot = Arc::clone(running.snapshot());
        states(&running, &snapshot, &reals)
    };
    for real in reals.iter().take(MOST_LINES) {
        info!(
            real = real.name(),
            weight = real.weight,
            left = real.left,
            "by an operator: {}",
            real.administration.name()
        );
    }
    if let Some(more) = reals.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        info!("by an operator: {more} other real servers too");
    }
    Json(RealStates { reals, not_kept }).into_response()
}

/// The real servers that a pattern means.
async fn meant(api: &Api, pattern: &str) -> Result<(Arc<Snapshot>, Vec<RealId>), Response> {
    let pattern: RealPattern = pattern
        .parse()
        .map_err(|error: BadPattern| refuse(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let snapshot = Arc::clone(lock(&api.running).snapshot());
    let mut reals = Vec::new();
    for (count, real) in snapshot.reals.iter().enumerate() {
        if count % YIELD == YIELD - 1 {
            tokio::task::yield_now().await;
        }
        if real.configured
            && real.spec.address == pattern.address
            && let Some((service, real)) = at(&snapshot, real.id)
            && pattern.matches(&service.name, real.spec.address, real.spec.port)
        {
            reals.push(real.id);
        }
    }
    if reals.is_empty() {
        let said = format!("no service has the real server {pattern}; see `plimsoll list`");
        return Err(refuse(StatusCode::NOT_FOUND, &said));
    }
    Ok((snapshot, reals))
}

fn at(snapshot: &Snapshot, id: RealId) -> Option<(&VirtualService, &RealServer)> {
    let real = snapshot.real(id)?;
    Some((snapshot.service(real.service)?, real))
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}

/// Those of some real servers that are still configured, as they are.
fn states(running: &Running, snapshot: &Snapshot, reals: &[RealId]) -> Vec<RealState> {
    let ended_ms = running.drains_ended_ms();
    let runtime = running.live().runtime;
    let reals = reals.iter().filter_map(|id| at(snapshot, *id));
    let reals = reals.filter(|(_, real)| real.configured);
    reals
        .map(|(service, real)| {
            let change = runtime.of(&service.target.identity(), &real.spec);
            let is_out = change.administration != Administration::Enabled;
            RealState {
                service: service.name.to_string(),
                target: Target::of(&service.target),
                real: SocketAddr::new(real.spec.address, real.spec.port),
                administration: change.administration,
                since_ms: is_out.then_some(change.since_ms),
                weight: real.spec.weight,
                weight_of_file: change.weight.map(|weight| weight.of_file),
                left: left(snapshot, service, real),
                deadline: change.deadline,
                ended: change.deadline.is_some_and(|one| one.at_ms <= ended_ms),
            }
        })
        .collect()
}
