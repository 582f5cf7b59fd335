//! What operators change while the daemon runs: real servers drained or disabled, weights set. It is laid over the file,
//! and survives reloads and restarts.
//! Nothing is put in force here, and no request is answered.

mod changes;
mod keeper;
mod order;
mod pattern;
mod saved;

pub use changes::{Dropped, RuntimeChanges};
pub use keeper::{Keeper, Kept, StateError};
pub use order::{
    Administration, Deadline, Ending, Order, OrderError, RealChange, Refused, WeightChange, now_ms,
};
pub use pattern::{BadPattern, RealPattern};
