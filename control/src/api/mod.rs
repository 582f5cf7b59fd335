//! The daemon's HTTP: metrics and read-only requests for everybody, changes on the control socket only.
//! Routes and JSON; what is told is in `report.rs`, what is done in `running.rs`.

mod neighbours;
mod orders;
mod plan;
mod ports;
mod real_setup;
mod routes;
pub mod server;
mod services;
mod sessions;
mod state;
mod status;
mod stream;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use crate::report::{Drops, ReloadResult, Timeouts};
use crate::running::{self, lock};
pub use state::Api;

impl Api {
    /// What anybody who reaches the HTTP address may ask.
    pub fn read_only(self) -> Router {
        common()
            .route(STATUS, get(status::without_quotes))
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
            .route(STATUS, get(status::whole))
            .route(SESSIONS, get(sessions::list))
            .route(NEIGHBOURS, get(neighbours::list))
            .route(RELOAD, post(reload))
            .route(REALS, get(orders::show).post(orders::carry_out))
            .route(PLAN, post(plan::plan).layer(plan::limit()))
            .with_state(self)
    }
}

const STATUS: &str = "/api/v1/status";
const RELOAD: &str = "/api/v1/reload";
const SESSIONS: &str = "/api/v1/sessions";
const PLAN: &str = "/api/v1/plan";
const REALS: &str = "/api/v1/reals";
const NEIGHBOURS: &str = "/api/v1/neighbors";

fn common() -> Router<Api> {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/api/v1/ports", get(ports::list))
        .route("/api/v1/routes", get(routes::list))
        .route("/api/v1/real-setup", get(real_setup::write))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/timeouts", get(timeouts))
        .route("/api/v1/drops", get(drops))
}

async fn index() -> &'static str {
    "plimsolld\n\n\
     /metrics            for Prometheus\n\
     /api/v1/status      what runs, in few numbers\n\
     /api/v1/ports       ports with their links, addresses and counters\n\
     /api/v1/routes      routes, the longest prefix first\n\
     /api/v1/services    virtual services and real servers with their counters and rates\n\
     /api/v1/reals       real servers that are named, ?real=SERVICE/ADDRESS:PORT, with the sessions that are left\n\
     /api/v1/plan        what a reload would change, by POST; on the control socket only\n\
     /api/v1/real-setup  what to run on a service's real servers, ?service=NAME&os=debian\n\
     /api/v1/sessions    sessions, ?limit=N; on the control socket only\n\
     /api/v1/neighbors   neighbours, ?port=NAME&address=A, and who does not answer; on the control socket only\n\
     /api/v1/timeouts    how long idle sessions live\n\
     /api/v1/drops       dropped packets by reason, ?all=true for those without any\n"
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
    let outcome = running::reload::reload(&api.running, query.colour).await;
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
