//! The list of services on its way to an answer, a few at a time, of one snapshot.
//! What is told of each is in `report.rs`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::id::ServiceId;

use super::Api;
use super::stream::{Gone, Pieces, streamed};
use crate::report;
use crate::running::lock;

/// Services and real servers that are looked at for one piece, about half a millisecond's work.
const PIECE: usize = 256;

pub(super) async fn list(State(api): State<Api>) -> Response {
    let body = streamed(async move |pieces| send(&api, &pieces).await);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Sends all services in the form of [`report::Services`].
async fn send(api: &Api, pieces: &Pieces) -> Result<(), Gone> {
    let (snapshot, capacity) = {
        let running = lock(&api.running);
        (Arc::clone(running.snapshot()), running.session_capacity())
    };
    let mut piece = format!("{{\"capacity\":{capacity},\"services\":[");
    let mut comma = "";
    let slots = u32::try_from(snapshot.services.len()).unwrap_or(u32::MAX);
    let mut next = 0;
    while next < slots {
        for service in some(api, &snapshot, &mut next) {
            if let Ok(service) = serde_json::to_string(&service) {
                piece.push_str(std::mem::replace(&mut comma, ","));
                piece.push_str(&service);
            }
        }
        pieces.send(std::mem::take(&mut piece)).await?;
    }
    pieces.send("]}").await
}

/// The services of some slots from `next` on, with the rates as they are now.
fn some(api: &Api, snapshot: &Snapshot, next: &mut u32) -> Vec<report::Service> {
    let running = lock(&api.running);
    let (mut services, mut looked_at) = (Vec::new(), 0);
    while looked_at < PIECE && (*next as usize) < snapshot.services.len() {
        let service = snapshot.service(ServiceId(*next));
        *next += 1;
        looked_at += 1;
        if let Some(service) = service.filter(|one| report::is_shown(snapshot, one)) {
            looked_at += service.candidates.len();
            let rates = Some(running.rates());
            services.push(report::service(snapshot, rates, service));
        }
    }
    services
}
