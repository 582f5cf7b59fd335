//! Checks of a service's scheduler and its settings.
//! Which schedulers there are is the data plane's to say.

use plimsoll_dataplane::spec::scheduler::{
    FEWEST_PLACES, HashFlags, MOST_PLACES, Maglev, SchedulerKind,
};
use plimsoll_dataplane::spec::timeouts::Millis;

use super::finding::{Finding, Findings, steps};
use super::times;
use crate::config::file::{self, Config, SchedulerFlag, Service as Written};

/// The scheduler with its settings. IPVS takes any flag for any scheduler and ignores what it cannot
/// use.
pub(super) fn with_settings(
    at: usize,
    config: &Config,
    written: &Written,
    findings: &mut Findings<'_, '_>,
) -> SchedulerKind {
    let scheduler = written.scheduler;
    let mut not_for = |owner: &str, what: &str, steps| {
        if owner != scheduler.name() {
            let message = format!(
                "this {what} is for the scheduler `{owner}`; the service's is `{}`",
                scheduler.name()
            );
            let help = format!("remove the {what}, or choose the other scheduler");
            findings.add(Finding::error(steps, message).help(help));
        }
    };
    let mut flags = HashFlags::default();
    for (nth, flag) in written.scheduler_flags.iter().enumerate() {
        let (owner, set) = match flag {
            SchedulerFlag::ShFallback => ("sh", &mut flags.fallback),
            SchedulerFlag::ShPort => ("sh", &mut flags.port),
            SchedulerFlag::MhFallback => ("mh", &mut flags.fallback),
            SchedulerFlag::MhPort => ("mh", &mut flags.port),
        };
        *set = true;
        not_for(
            owner,
            "flag",
            steps!["services", at, "scheduler_flags", nth],
        );
    }
    if written.maglev.is_some() {
        not_for("mh", "table", steps!["services", at, "maglev"]);
    }
    match scheduler {
        SchedulerKind::Sh(_) => SchedulerKind::Sh(flags),
        SchedulerKind::Mh(..) => {
            let written = written.maglev.as_ref();
            let maglev = written.map(|written| maglev(written, at, config, findings));
            SchedulerKind::Mh(flags, maglev.unwrap_or_default())
        }
        other => other,
    }
}

fn maglev(
    written: &file::Maglev,
    at: usize,
    config: &Config,
    findings: &mut Findings<'_, '_>,
) -> Maglev {
    let size = written.size.0;
    let here = |key| steps!["services", at, "maglev", key];
    // A walk through the table must come to every place, so its length may have no divisors. That
    // it is in bounds was seen when it was read.
    if !is_prime(size) {
        let below = (FEWEST_PLACES..size).rev().find(|size| is_prime(*size));
        let above = (size..=MOST_PLACES).find(|size| is_prime(*size));
        let near: Vec<String> = [below, above]
            .into_iter()
            .flatten()
            .map(|prime| prime.to_string())
            .collect();
        findings.add(
            Finding::error(here("size"), format!("{size} is not a prime"))
                .help(format!("the nearest are {}", near.join(" and "))),
        );
    }
    let reals = config.services.get(at).map_or(0, |one| one.reals.len());
    if reals > size as usize {
        findings.add(Finding::warning(
            here("size"),
            format!("{size} places are too few for {reals} real servers; some get no sessions"),
        ));
    }
    if written.keyed && config.hash.key.is_none() {
        findings.add(
            Finding::error(here("keyed"), "there is no key")
                .help("write `hash: { key: ... }` with 32 hex digits, the same on all nodes"),
        );
    }
    Maglev {
        places: size,
        key: config
            .hash
            .key
            .filter(|_| written.keyed)
            .map(|key| key.words()),
    }
}

fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    number > 1
        && !(2..number)
            .take_while(|one| one * one <= number)
            .any(|one| divides(&one))
}

/// How long a new real server's share grows, where the scheduler has shares.
pub(super) fn slow_start(at: usize, written: &Written, findings: &mut Findings<'_, '_>) -> Millis {
    let Some(time) = written.slow_start else {
        return Millis::default();
    };
    let here = || steps!["services", at, "slow_start"];
    let time = times::at_most(time, here(), findings);
    let Some(why) = written.scheduler.ignores_slow_start() else {
        return time;
    };
    let name = written.scheduler.name();
    findings.add(
        Finding::warning(
            here(),
            format!("the scheduler `{name}` {why}, so slow start does nothing"),
        )
        .help("remove the key, or choose another scheduler"),
    );
    time
}
