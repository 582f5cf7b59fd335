//! Checks of times: how long idle sessions live, of all services and of one.
//! What else is a time has its length checked here too.

use std::time::Duration;

use plimsoll_dataplane::spec::timeouts::{Millis, OwnTimeouts, Timeouts};

use super::finding::{Finding, Findings, steps};
use crate::config::file;
use crate::config::leaf::print_duration;
use crate::config::tree::Step;

/// 2^31 milliseconds and a bit less than 25 days: what timers hold.
const MAX: Duration = Duration::from_secs(24 * 24 * 3600);

/// Those of services that say nothing.
pub(super) fn common(written: file::Timeouts, findings: &mut Findings<'_, '_>) -> Timeouts {
    written.map(|key, time| at_least_one(time, steps!["timeouts", key], findings))
}

/// Those of the service at `at`.
pub(super) fn own(
    written: file::OwnTimeouts,
    at: usize,
    findings: &mut Findings<'_, '_>,
) -> OwnTimeouts {
    written.map(|key, time| {
        let steps = steps!["services", at, "timeouts", key];
        time.map(|time| at_least_one(time, steps, findings))
    })
}

/// A time that is not zero and that timers can hold.
pub(super) fn at_least_one(
    time: Duration,
    steps: Vec<Step>,
    findings: &mut Findings<'_, '_>,
) -> Millis {
    if time.is_zero() || time > MAX {
        let (max, found) = (print_duration(MAX), print_duration(time));
        let message = format!("expected a time from 1ms to {max}, found {found}");
        findings.add(Finding::error(steps, message));
    }
    time.into()
}

/// A time that timers can hold, perhaps zero.
pub(super) fn at_most(time: Duration, steps: Vec<Step>, findings: &mut Findings<'_, '_>) -> Millis {
    if time > MAX {
        let (max, found) = (print_duration(MAX), print_duration(time));
        let message = format!("expected a time up to {max}, found {found}");
        findings.add(Finding::error(steps, message));
    }
    time.into()
}
