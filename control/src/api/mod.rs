//! The daemon's HTTP: metrics and read-only requests for everybody, changes on the control socket only.
//! Routes and JSON; what is told is in `report.rs`, what is done in `running.rs`.

mod orders;
mod plan;
pub mod server;
mod services;
mod sessions;
mod state;
mod stream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::report::{Drops, Neighbours, ReloadResult, Timeouts, UnreachableNeighbour};
use crate::running::{self, lock};
pub use state::Api;
use state::YIELD;

impl Api {
    /// What anybody who reaches the HTTP address may ask.
    pub fn read_only(self) -> Router {
        common()
            .route(SESSIONS, get(sessions::refuse))
            .route(NEIGHBOURS, get(sessions::refuse))
            .route(RELOAD, post(refuse_change))
            .route(REALS, get(orders::show).post(refuse_change))
            .route(PLAN, post(refuse_change))
            .with_state(self)
    }

    /// What may be asked and changed on the control socket.
    pub fn control(self) -> Router {
        common()
            .route(SESSIONS, get(sessions::list))
            .route(NEIGHBOURS, get(neighbours))
            .route(RELOAD, post(reload))
            .route(REALS, get(orders::show).post(orders::carry_out))
            .route(PLAN, post(plan::plan).layer(plan::limit()))
            .with_state(self)
    }
}

const RELOAD: &str = "/api/v1/reload";
const SESSIONS: &str = "/api/v1/sessions";
const PLAN: &str = "/api/v1/plan";
const REALS: &str = "/api/v1/reals";
const NEIGHBOURS: &str = "/api/v1/neighbors";

fn common() -> Router<Api> {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/timeouts", get(timeouts))
        .route("/api/v1/drops", get(drops))
}

async fn index() -> &'static str {
    "plimsolld\n\n\
     /metrics          for Prometheus\n\
     /api/v1/status    what runs\n\
     /api/v1/services  virtual services and real servers with their counters and rates\n\
     /api/v1/reals     real servers that are named, ?real=SERVICE/ADDRESS:PORT, with the sessions that are left\n\
     /api/v1/sessions  sessions, ?limit=N; on the control socket only\n\
     /api/v1/neighbors neighbours that do not answer; on the control socket only\n\
     /api/v1/timeouts  how long idle sessions live\n\
     /api/v1/drops     dropped packets by reason, ?all=true for those without any\n"
}

async fn metrics(State(api): State<Api>) -> Response {
    let page = api.metrics.page();
    let body = stream::streamed(async move |pieces| {
        for piece in page {
            match piece {
                Ok(piece) => pieces.send(piece).await?,
                Err(error) => {
                    tracing::error!("the metrics cannot be written: {error}");
                    return pieces.fail(std::io::Error::other(error)).await;
                }
            }
        }
        Ok(())
    });
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response()
}

async fn status(State(api): State<Api>) -> Json<serde_json::Value> {
    let running = lock(&api.running);
    let snapshot = running.snapshot();
    let uptime = running.started().elapsed().unwrap_or_default();
    let workers: Vec<_> = running
        .workers()
        .iter()
        .map(|worker| {
            let stats = &worker.stats;
            serde_json::json!({
                "cpu": worker.cpu,
                "sessions": stats.sessions.value(),
                "busy_polls": stats.busy_polls.value(),
                "idle_polls": stats.idle_polls.value(),
            })
        })
        .collect();
    let ports: Vec<_> = running
        .ports()
        .map(|port| {
            serde_json::json!({
                "name": &*port.spec.name,
                "kernel": crate::metrics::is_kernel(port.spec),
                "driver": port.device.driver(),
                "mac": port.device_spec.mac.to_string(),
                "mtu": port.spec.mtu,
                "link_up": port.is_up,
            })
        })
        .collect();
    Json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "file": running.file().display().to_string(),
        "fingerprint": format!("{:016x}", running.loaded().fingerprint),
        "generation": snapshot.generation,
        "uptime_s": uptime.as_secs(),
        "workers": workers,
        "ports": ports,
    }))
}

/// Real servers that are named for one neighbour; an address may have a hundred thousand services.
const MOST_REALS: usize = 10;

async fn neighbours(State(api): State<Api>) -> Json<Neighbours> {
    let (snapshot, now, unreachable) = {
        let running = lock(&api.running);
        let unreachable = running.unreachable().map(|(port, address, known)| {
            let port = running.port_name(port).to_owned();
            (address, (port, known.since))
        });
        let unreachable: Vec<_> = unreachable.collect();
        (Arc::clone(running.snapshot()), running.now(), unreachable)
    };
    let mut reals: HashMap<IpAddr, Vec<String>> = unreachable
        .iter()
        .map(|(address, _)| (*address, Vec::new()))
        .collect();
    // One look at all of them, however many neighbours there are; in turn with other requests.
    for (count, real) in snapshot.reals.iter().enumerate() {
        if count % YIELD == YIELD - 1 {
            tokio::task::yield_now().await;
        }
        if let Some(names) = reals.get_mut(&real.spec.address)
            && names.len() < MOST_REALS
            && real.configured
            && let Some(service) = snapshot.service(real.service)
        {
            let socket = std::net::SocketAddr::new(real.spec.address, real.spec.port);
            names.push(format!("{}/{socket}", service.name));
        }
    }
    let unreachable = unreachable.into_iter().map(|(address, (port, since))| {
        let since_s = now.ms_since(since) / 1000;
        UnreachableNeighbour {
            port,
            address,
            since_s,
            reals: reals.get(&address).cloned().unwrap_or_default(),
        }
    });
    Json(Neighbours {
        unreachable: unreachable.collect(),
    })
}

async fn timeouts(State(api): State<Api>) -> Json<Timeouts> {
    let running = lock(&api.running);
    Json(running.loaded().valid.reload().network.timeouts.into())
}

#[derive(Debug, Deserialize)]
struct DropsQuery {
    #[serde(default)]
    all: bool,
}

async fn drops(State(api): State<Api>, Query(query): Query<DropsQuery>) -> Json<Drops> {
    let running = lock(&api.running);
    Json(Drops {
        drops: crate::report::drops(running.stats(), query.all),
    })
}

#[derive(Debug, Deserialize)]
struct ReloadQuery {
    #[serde(default)]
    colour: bool,
}

async fn reload(State(api): State<Api>, Query(query): Query<ReloadQuery>) -> Response {
    let outcome = running::reload(&api.running, query.colour).await;
    // Without a listener nobody logs; the response is sent all the same.
    let _ = api.reloads.send(outcome.clone());
    let status = match outcome.result {
        ReloadResult::Applied | ReloadResult::Unchanged => StatusCode::OK,
        ReloadResult::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ReloadResult::RestartNeeded => StatusCode::CONFLICT,
    };
    (status, Json(outcome)).into_response()
}

async fn refuse_change() -> (StatusCode, &'static str) {
    (
        StatusCode::FORBIDDEN,
        "changes are made on the control socket only: use `plimsoll`\n",
    )
}

#[cfg(test)]
mod tests;
