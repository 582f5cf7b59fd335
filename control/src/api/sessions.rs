//! Sessions on their way from the workers' tables to a response, a few at a time, for one client at a time.
//! Never waits for a worker: one that does not answer in time makes the response incomplete.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use plimsoll_dataplane::worker::{Listing, SessionRecord};
use serde::Deserialize;
use tokio::time::Instant;

use super::state::Api;
use super::stream::{Gone, Pieces, streamed};
use crate::report;
use crate::running::lock;

/// Most sessions in one response; about 150 bytes each.
const MOST: usize = 1_000_000;
/// Sessions that are sent at once.
const PIECE: usize = 512;
/// How long the workers may make no step. Long stretches of a table may be empty, so sessions say nothing about it.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long without a session a blank shows whoever waits that the workers go on.
const SIGN: Duration = Duration::from_secs(1);
/// How long a request waits for the one before it.
const TURN: Duration = Duration::from_secs(2);
/// Workers refill their part in this time even if they share a CPU with this thread.
const PAUSE: Duration = Duration::from_micros(500);

#[derive(Debug, Deserialize)]
pub(super) struct SessionsQuery {
    limit: Option<usize>,
}

/// Why others than the control socket's users do not get them.
pub(super) async fn refuse() -> (StatusCode, &'static str) {
    (
        StatusCode::FORBIDDEN,
        "this may name clients, so it is shown on the control socket only: sessions by `plimsoll list --sessions`, \
         neighbours by `plimsoll neighbors`\n",
    )
}

pub(super) async fn list(State(api): State<Api>, Query(query): Query<SessionsQuery>) -> Response {
    let turn = Arc::clone(&api.listings).acquire_owned();
    // Each takes the workers' time.
    let Ok(Ok(turn)) = tokio::time::timeout(TURN, turn).await else {
        let said = "somebody else lists sessions at present; try again in a moment\n";
        return (StatusCode::SERVICE_UNAVAILABLE, said).into_response();
    };
    let most = query.limit.unwrap_or(MOST).min(MOST);
    let body = streamed(async move |pieces| {
        let _turn = turn;
        tokio::select! {
            sent = send(&api, most, &pieces) => sent,
            () = pieces.gone() => Err(Gone),
        }
    });
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Sends at most `most` sessions and whether they are all, in the form of [`report::Sessions`].
async fn send(api: &Api, most: usize, pieces: &Pieces) -> Result<(), Gone> {
    let (mut listings, workers) = {
        let running = lock(&api.running);
        (running.list_sessions(), running.workers().len())
    };
    let (mut truncated, mut incomplete) = (false, listings.len() < workers);
    let mut left = most;
    let (mut steps, mut went_on_at, mut sent_at) = (0, Instant::now(), Instant::now());
    let mut piece = String::from("{\"sessions\":[");
    let mut comma = "";
    loop {
        let mut records = take(&mut listings, left.clamp(1, PIECE));
        let steps_now: u64 = listings.iter().map(|listing| listing.steps()).sum();
        if steps_now != std::mem::replace(&mut steps, steps_now) {
            went_on_at = Instant::now();
        }
        if !records.is_empty() {
            // A slot outlives its sessions, so the newest snapshot has all of theirs.
            let (snapshot, now) = {
                let running = lock(&api.running);
                (Arc::clone(running.snapshot()), running.now())
            };
            records.retain(|record| record.deadline > now);
            if left == 0 && !records.is_empty() {
                truncated = true;
                break;
            }
            left -= records.len();
            for record in &records {
                let session = report::session(&snapshot, record, now);
                if let Ok(session) = serde_json::to_string(&session) {
                    piece.push_str(std::mem::replace(&mut comma, ","));
                    piece.push_str(&session);
                }
            }
            pieces.send(std::mem::take(&mut piece)).await?;
            // Meanwhile they may have waited for room.
            (went_on_at, sent_at) = (Instant::now(), Instant::now());
        } else if listings.is_empty() {
            break;
        } else if went_on_at.elapsed() >= PATIENCE {
            incomplete = true;
            break;
        } else if sent_at.elapsed() >= SIGN {
            piece.push(' ');
            let begin = Instant::now();
            pieces.send(std::mem::take(&mut piece)).await?;
            sent_at = Instant::now();
            went_on_at += begin.elapsed();
        } else {
            tokio::time::sleep(PAUSE).await;
        }
    }
    piece.push_str(&format!(
        "],\"truncated\":{truncated},\"incomplete\":{incomplete}}}"
    ));
    pieces.send(piece).await
}

/// Takes at most `most` records, and drops the listings that are through.
fn take(listings: &mut Vec<Arc<Listing>>, most: usize) -> Vec<SessionRecord> {
    let mut records = Vec::new();
    listings.retain(|listing| {
        // Asked first: what was put in before it was done is taken below.
        let done = listing.is_done();
        while records.len() < most {
            let Some(record) = listing.take() else {
                return !done;
            };
            records.push(record);
        }
        true
    });
    records
}
