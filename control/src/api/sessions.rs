//! Sessions on their way from the workers' tables to an answer, a few at a time.
//! Never waits for a worker: one that does not answer in time makes the answer incomplete.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use plimsoll_dataplane::worker::{Listing, SessionRecord};
use serde::Deserialize;
use tokio::time::Instant;

use super::Api;
use crate::report::{self, Sessions};
use crate::running::lock;

/// Most sessions in one answer; about 150 bytes each.
const MOST: usize = 1_000_000;
/// How long the workers may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Workers refill their part in this time even if they share a CPU with this thread.
const PAUSE: Duration = Duration::from_micros(500);

#[derive(Debug, Deserialize)]
pub(super) struct SessionsQuery {
    limit: Option<usize>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<SessionsQuery>,
) -> Json<Sessions> {
    let most = query.limit.unwrap_or(MOST).min(MOST);
    let (listings, workers) = {
        let running = lock(&api.running);
        (running.list_sessions(), running.workers().len())
    };
    let asked_all = listings.len() == workers;
    let (records, complete) = collect(listings, most).await;
    let running = lock(&api.running);
    let (snapshot, now) = (running.snapshot(), running.now());
    Json(Sessions {
        sessions: records
            .iter()
            .filter(|record| record.deadline > now)
            .map(|record| report::session(snapshot, record, now))
            .collect(),
        truncated: !(asked_all && complete),
    })
}

/// Takes at most `most` records; says whether these are all there were.
async fn collect(mut listings: Vec<Arc<Listing>>, most: usize) -> (Vec<SessionRecord>, bool) {
    let mut records = Vec::new();
    let end = Instant::now() + PATIENCE;
    loop {
        let before = records.len();
        listings.retain(|listing| {
            // Asked first: what was put in before it was done is taken below.
            let done = listing.is_done();
            while let Some(record) = listing.take() {
                if records.len() == most {
                    return true;
                }
                records.push(record);
            }
            !done
        });
        if listings.is_empty() {
            return (records, true);
        }
        if records.len() >= most && before == records.len() || Instant::now() >= end {
            return (records, false);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
