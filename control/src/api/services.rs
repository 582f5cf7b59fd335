//! The list of services on its way to a response, a few at a time, of one snapshot.
//! What is told of each is in `report.rs`.

use std::ops::Range;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use plimsoll_dataplane::id::ServiceId;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::snapshot::model::VirtualService;

use super::state::Api;
use super::stream::{Gone, Pieces, streamed};
use crate::report;
use crate::running::lock;

/// Services and real servers that are looked at for one piece, and for one time under the lock: about half a
/// millisecond's work.
const PIECE: usize = 256;

pub(super) async fn list(State(api): State<Api>) -> Response {
    let body = streamed(async move |pieces| send(&api, &pieces).await);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Sends all services in the form of [`report::Services`], with the rates as they are when each is made.
async fn send(api: &Api, pieces: &Pieces) -> Result<(), Gone> {
    let (snapshot, capacity) = {
        let running = lock(&api.running);
        (Arc::clone(running.snapshot()), running.session_capacity())
    };
    let mut piece = format!("{{\"capacity\":{capacity},\"services\":[");
    let mut comma = "";
    let mut looked_at = 0;
    let slots = u32::try_from(snapshot.services.len()).unwrap_or(u32::MAX);
    for slot in 0..slots {
        looked_at += 1;
        let service = snapshot.service(ServiceId(slot));
        let service = service.filter(|one| report::is_shown(&snapshot, one));
        if let Some((service, begin)) =
            service.and_then(|one| Some((one, begin(api, &snapshot, one)?)))
        {
            piece.push_str(std::mem::replace(&mut comma, ","));
            piece.push_str(&begin);
            let (mut next, places) = (0, report::places(service));
            let mut comma = "";
            while next < places {
                let end = next + PIECE.saturating_sub(looked_at).max(1);
                for real in reals(api, &snapshot, service, next..end) {
                    piece.push_str(std::mem::replace(&mut comma, ","));
                    piece.push_str(&real);
                }
                looked_at += end - next;
                next = end;
                if looked_at >= PIECE {
                    pieces.send(std::mem::take(&mut piece)).await?;
                    looked_at = 0;
                }
            }
            piece.push_str(END);
        }
        if looked_at >= PIECE {
            pieces.send(std::mem::take(&mut piece)).await?;
            looked_at = 0;
        }
    }
    piece.push_str("]}");
    pieces.send(piece).await
}

/// How a service without real servers ends: they are its last key.
const END: &str = "]}";

/// A service up to its real servers.
fn begin(api: &Api, snapshot: &Snapshot, service: &VirtualService) -> Option<String> {
    let service = {
        let running = lock(&api.running);
        report::service_alone(snapshot, Some(running.live()), service)
    };
    let mut text = serde_json::to_string(&service).ok()?;
    text.truncate(text.strip_suffix(END)?.len());
    Some(text)
}

/// The real servers of some places of a service.
fn reals(
    api: &Api,
    snapshot: &Snapshot,
    service: &VirtualService,
    places: Range<usize>,
) -> Vec<String> {
    let reals = {
        let running = lock(&api.running);
        report::reals(snapshot, Some(running.live()), service, places)
    };
    let texts = reals.iter().map(serde_json::to_string);
    texts.filter_map(Result::ok).collect()
}
