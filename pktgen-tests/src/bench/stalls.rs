//! How long single polls take: recorded each by each, so that the longest of millions is found.
//!
//! Must not poll anything itself.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::model::Stalls;

/// Longer polls are all the same, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;
/// Digits that a histogram keeps.
const DIGITS: u8 = 3;

/// Polls in one or more repetitions of the same work.
#[derive(Debug)]
pub struct Recorder {
    histogram: Histogram<u64>,
    /// The least that each poll of a repetition took, in nanoseconds; empty if they are not to be compared.
    least: Vec<u32>,
    place: usize,
    repetitions: u32,
    preempted: u64,
    began_at: u64,
}

impl Recorder {
    /// Nothing yet; `polls` in each repetition are the same ones, or 0 if no two are.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(polls: usize) -> anyhow::Result<Self> {
        Ok(Self {
            histogram: Histogram::new_with_bounds(1, LONGEST, DIGITS)?,
            least: vec![u32::MAX; polls],
            place: 0,
            repetitions: 0,
            preempted: 0,
            began_at: 0,
        })
    }

    /// A repetition begins, on the calling thread.
    pub fn begin(&mut self) {
        self.place = 0;
        self.began_at = preemptions();
    }

    /// One poll.
    #[inline]
    pub fn note(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(ns.max(1));
        if let Some(least) = self.least.get_mut(self.place) {
            *least = (*least).min(u32::try_from(ns).unwrap_or(u32::MAX));
        }
        self.place += 1;
    }

    /// The repetition ends, on the same thread.
    pub fn end(&mut self) {
        self.repetitions += 1;
        self.preempted += preemptions().saturating_sub(self.began_at);
    }

    /// What was found.
    #[must_use]
    pub fn finish(&self, id: &str, what: &str) -> Stalls {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        let compared = self.repetitions > 1 && !self.least.is_empty();
        // Powers of two from a microsecond: below it there is nothing to see.
        let doubled = self.histogram.iter_log(1024, 2.0);
        let histogram = doubled
            .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
            .filter(|(_, count)| *count > 0);
        Stalls {
            id: format!("tails/{id}"),
            what: what.to_owned(),
            polls: self.histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.histogram.max(),
            preempted: self.preempted,
            repeatable_max: self
                .least
                .iter()
                .max()
                .copied()
                .filter(|_| compared)
                .map(u64::from),
            histogram: histogram.collect(),
        }
    }
}

/// How often the kernel took the CPU from the calling thread so far.
fn preemptions() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(recorder: &mut Recorder, polls: &[u64]) {
        recorder.begin();
        for ns in polls {
            recorder.note(Duration::from_nanos(*ns));
        }
        recorder.end();
    }

    #[test]
    fn what_only_one_repetition_saw_is_the_machines() {
        let mut recorder = Recorder::new(4).unwrap();
        record(&mut recorder, &[1000, 2000, 900_000, 1500]);
        record(&mut recorder, &[1100, 2200, 1000, 500_000]);
        let stalls = recorder.finish("x", "y");
        assert_eq!(stalls.polls, 8);
        assert!((900_000..901_000).contains(&stalls.max), "{}", stalls.max);
        assert_eq!(stalls.repeatable_max, Some(2000));
        let counted: u64 = stalls.histogram.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 8);
    }

    #[test]
    fn one_repetition_repeats_nothing() {
        let mut recorder = Recorder::new(1).unwrap();
        record(&mut recorder, &[1000]);
        assert_eq!(recorder.finish("x", "y").repeatable_max, None);
    }
}
