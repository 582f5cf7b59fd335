//! What a reload would change, for who asks on the control socket.
//! A file is sent as a text: what was read by whoever asks is what is compared.

use axum::Json;
use axum::extract::{DefaultBodyLimit, Query, State};
use serde::Deserialize;

use super::state::Api;
use crate::config::MAX_BYTES;
use crate::report::Plan;
use crate::running::reload;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    colour: bool,
    /// What the file that was sent is called; without it the daemon's own file is read.
    file: Option<String>,
}

/// As large as a file may be.
pub(super) fn limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX))
}

pub(super) async fn plan(
    State(api): State<Api>,
    Query(asked): Query<Asked>,
    text: String,
) -> Json<Plan> {
    let text = asked.file.map(|file| (file, text));
    Json(reload::plan(&api.running, text, asked.colour).await)
}
