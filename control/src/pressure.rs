//! Warnings about session tables that are full: what was evicted or refused, of whom, and what helps.
//! Reads counters and words lines; it logs nothing itself and no worker waits for it.

use std::fmt;

use plimsoll_dataplane::id::ServiceId;
use plimsoll_dataplane::snapshot::Snapshot;
use plimsoll_dataplane::stats::WorkerStats;
use plimsoll_dataplane::time::Time;
use plimsoll_dataplane::verdict::{DropReason, EvictionCause};

/// A worker's trouble of one kind is told at once, and then again after so long if it goes on.
const PAUSE_MS: u64 = 60_000;

/// What may happen to a worker's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sessions were evicted that had not finished.
    Evicted,
    /// New sessions were refused since all others were worth more.
    Refused,
    /// New sessions were refused since their service has as many as it may.
    AtLimit,
    /// Idle sessions were evicted since their service has as many as it may.
    EvictedAtLimit,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Evicted,
        Self::Refused,
        Self::AtLimit,
        Self::EvictedAtLimit,
    ];

    /// How often it has happened.
    fn count(self, stats: &WorkerStats) -> u64 {
        match self {
            // That finished ones make room is what they are kept for.
            Self::Evicted => [
                EvictionCause::HalfOpen,
                EvictionCause::Unproven,
                EvictionCause::Idle,
            ]
            .map(|cause| stats.evicted(cause))
            .iter()
            .sum(),
            Self::Refused => stats.drops(DropReason::SessionTableFull),
            Self::AtLimit => stats.drops(DropReason::ServiceSessions),
            Self::EvictedAtLimit => stats.evicted(EvictionCause::Limit),
        }
    }
}

/// How one kind of trouble of one worker was last told.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    count: u64,
    at: Option<Time>,
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which worker.
    pub worker: usize,
    /// The service that was refused last; `None` for an eviction, or if it is gone.
    pub service: Option<String>,
    /// How many sessions since the line before.
    pub sessions: u64,
    kind: Kind,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.sessions;
        match self.kind {
            Kind::Evicted => write!(
                f,
                "the session table is full: {sessions} sessions that had not finished were evicted; \
                 a flood, or dataplane.sessions is too small \
                 (plimsoll_worker_evicted_sessions_total says which)"
            ),
            Kind::Refused => write!(
                f,
                "the session table is full of proven, active sessions: {sessions} new sessions were refused; \
                 raise dataplane.sessions"
            ),
            Kind::AtLimit => write!(
                f,
                "the service has as many sessions as it may: {sessions} new sessions were refused; \
                 see its limits.sessions"
            ),
            Kind::EvictedAtLimit => write!(
                f,
                "services have as many sessions as they may: {sessions} idle ones were evicted for new ones; \
                 see limits.sessions"
            ),
        }
    }
}

/// What has been told of the workers' session tables.
#[derive(Debug, Default)]
pub struct Pressure {
    /// By worker and kind.
    told: Vec<[Told; Kind::ALL.len()]>,
}

impl Pressure {
    /// What is to be told now; to be asked once a second or so.
    pub fn look<'s>(
        &mut self,
        workers: impl Iterator<Item = &'s WorkerStats>,
        snapshot: &Snapshot,
        now: Time,
    ) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (worker, stats) in workers.enumerate() {
            if self.told.len() <= worker {
                self.told.push(Default::default());
            }
            for (kind, told) in Kind::ALL
                .into_iter()
                .zip(self.told.iter_mut().skip(worker).flatten())
            {
                let count = kind.count(stats);
                let is_quiet = told.at.is_some_and(|at| now.ms_since(at) < PAUSE_MS);
                if count == told.count || is_quiet {
                    continue;
                }
                let refused = match kind {
                    Kind::Refused => Some(&stats.refused_service),
                    Kind::AtLimit => Some(&stats.limited_service),
                    Kind::Evicted | Kind::EvictedAtLimit => None,
                };
                warnings.push(Warning {
                    worker,
                    service: refused
                        .and_then(|gauge| snapshot.service(ServiceId(gauge.value())))
                        .filter(|service| service.configured)
                        .map(|service| service.name.to_string()),
                    sessions: count - told.count,
                    kind,
                });
                *told = Told {
                    count,
                    at: Some(now),
                };
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::verdict::Verdict;

    use super::*;
    use crate::running::tests::running;

    #[test]
    fn trouble_is_told_at_once_and_then_once_a_minute_with_what_came_in_between() {
        let (running, _file) = running();
        let snapshot = running.snapshot();
        let web = snapshot.configured_services().next().unwrap();
        let stats = WorkerStats::new(0);
        let mut pressure = Pressure::default();
        let mut at = |stats: &WorkerStats, seconds: u64| {
            let now = Time::from_ms(seconds * 1000);
            let warnings = pressure.look([stats].into_iter(), snapshot, now);
            let short = |one: Warning| (one.service.clone(), one.sessions, one.to_string());
            warnings.into_iter().map(short).collect::<Vec<_>>()
        };
        stats.evict(EvictionCause::Finished);
        assert_eq!(at(&stats, 0), [], "finished sessions make room");
        stats.evict(EvictionCause::Unproven);
        stats.refused_service.set(web.id.0);
        stats.count(Verdict::Dropped(DropReason::SessionTableFull), 3);
        let first = at(&stats, 1);
        assert_eq!((first[0].0.as_deref(), first[0].1), (None, 1));
        assert_eq!((first[1].0.as_deref(), first[1].1), (Some(&*web.name), 3));
        assert!(first[1].2.contains("raise dataplane.sessions"), "{first:?}");
        stats.count(Verdict::Dropped(DropReason::SessionTableFull), 4);
        stats.limited_service.set(99);
        stats.count(Verdict::Dropped(DropReason::ServiceSessions), 1);
        let second = at(&stats, 2);
        assert_eq!(second.len(), 1, "{second:?}");
        assert_eq!(
            second[0].0, None,
            "no service has been refused at its limit"
        );
        assert!(second[0].2.contains("limits.sessions"), "{second:?}");
        stats.count(Verdict::Dropped(DropReason::SessionTableFull), 5);
        assert_eq!(at(&stats, 60), []);
        let third = at(&stats, 61);
        assert_eq!((third.len(), third[0].1), (1, 9));
        stats.evict(EvictionCause::Limit);
        let fourth = at(&stats, 100);
        assert_eq!((fourth.len(), fourth[0].1), (1, 1));
        assert!(fourth[0].2.contains("limits.sessions"), "{fourth:?}");
        assert_eq!(at(&stats, 200), [], "nothing more has happened");
    }

    #[test]
    fn each_worker_is_told_of_by_itself() {
        let (running, _file) = running();
        let workers = [WorkerStats::new(0), WorkerStats::new(0)];
        let mut pressure = Pressure::default();
        workers[1].evict(EvictionCause::Idle);
        let mut look = |now| {
            let warnings = pressure.look(workers.iter(), running.snapshot(), Time::from_ms(now));
            warnings.iter().map(|one| one.worker).collect::<Vec<_>>()
        };
        assert_eq!(look(0), [1]);
        workers[0].evict(EvictionCause::Idle);
        workers[1].evict(EvictionCause::Idle);
        assert_eq!(look(1000), [0]);
    }
}
