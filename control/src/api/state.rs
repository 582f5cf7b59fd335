//! What every request may use, which axum calls the state.
//! It knows no route and answers nothing.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::metrics::Metrics;
use crate::report::Reload;
use crate::running::Shared;

/// Real servers that are looked at until others have their turn.
pub(super) const YIELD: usize = 10_000;

/// What every request may use.
#[derive(Debug, Clone)]
pub struct Api {
    pub(super) running: Shared,
    pub(super) metrics: Metrics,
    pub(super) reloads: mpsc::UnboundedSender<Reload>,
    /// The right to list sessions.
    pub(super) listings: Arc<Semaphore>,
    /// The right to list neighbours.
    pub(super) neighbour_listings: Arc<Semaphore>,
}

impl Api {
    /// What came of each reload that was asked for here goes to `reloads` too.
    #[must_use]
    pub fn new(running: Shared, metrics: Metrics, reloads: mpsc::UnboundedSender<Reload>) -> Self {
        Self {
            running,
            metrics,
            reloads,
            listings: Arc::new(Semaphore::new(1)),
            neighbour_listings: Arc::new(Semaphore::new(1)),
        }
    }
}
