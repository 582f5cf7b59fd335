//! The routes in force.
//! What is told of each is in `report/routes.rs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::state::Api;
use crate::report::routes::{Routes, routes};
use crate::running::lock;

pub(super) async fn list(State(api): State<Api>) -> Json<Routes> {
    let snapshot = Arc::clone(lock(&api.running).snapshot());
    Json(routes(&snapshot))
}
