//! Upper and lower thresholds (`ipvsadm -x -y`): when a real server has enough sessions, and when it
//! may have more. What a session is worth to a scheduler is not decided here.

use std::sync::atomic::{AtomicBool, Ordering};

use super::candidate::Load;
use crate::spec::limits::Limits;

impl Limits {
    /// Whether a real server with these sessions is overloaded, given whether it was.
    #[must_use]
    pub fn is_overloaded(self, was: bool, load: Load) -> bool {
        let total = load.active + load.inactive;
        let lower = if self.lower == 0 {
            self.upper - self.upper / 4
        } else {
            self.lower
        };
        self.is_set() && (total >= u64::from(self.upper) || was && total >= u64::from(lower))
    }
}

/// Whether a real server is overloaded: the one thing that workers write together, since sessions
/// of all of them count against one limit, and between the limits the past decides.
///
/// It is touched only for real servers with limits, and written only when it turns. Each worker
/// brings it up to date after a session has come or gone, and again before it relies on it, from
/// the numbers that the workers publish. So it is exact with one worker; with several, each may
/// miss what the others did in the nanoseconds before, and let in at most one session too many. A
/// turn that was missed is made good by the next session that comes, goes or is scheduled.
#[derive(Debug, Default)]
pub struct Overload(AtomicBool);

impl Overload {
    /// Brings it up to date.
    pub fn update(&self, limits: Limits, load: Load) -> bool {
        let was = self.0.load(Ordering::Relaxed);
        let is = limits.is_overloaded(was, load);
        if is != was {
            self.0.store(is, Ordering::Relaxed);
        }
        is
    }

    /// Another real server takes the slot.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
