//! The result of a run, for programs and for people.
//!
//! Must not measure: it is told.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connections::Connected;
use super::engine::Figures;
use super::fault::{Fault, Tally};
use super::plan::{Mode, Plan};
use super::scenario::Scenario;

/// Good frames that came back, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GoodFrames {
    /// Requests that reached a real server.
    pub forwarded: u64,
    /// NAT's answers that reached the client.
    pub replies: u64,
    /// Frames with exchanged MACs, of testpmd.
    pub swapped: u64,
}

/// Times from sending to arrival, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the frames were faster.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// 99.99 %.
    pub p99_99: u64,
    /// The slowest.
    pub max: u64,
}

/// The result. Its JSON has these names.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of the generator.
    pub version: &'static str,
    /// Who took part.
    pub scenario: Scenario,
    /// `balanced` or `testpmd-macswap`.
    pub expected: &'static str,
    /// What kind of traffic.
    pub mode: Mode,
    /// Flows, from which connections take theirs.
    pub flows: u32,
    /// The order in which flows took turns.
    pub order: String,
    /// What decided the clients and the order.
    pub seed: u64,
    /// Frames with a payload, in bytes without FCS.
    pub frame_bytes: usize,
    /// How long was measured.
    pub duration_s: f64,
    /// The rate that was asked for; else what was sent per second. Connections per second in that mode.
    pub offered_pps: f64,
    /// Whether it was as many as could be sent.
    pub flat_out: bool,
    /// Frames that the device took, those of real servers included.
    pub sent: u64,
    /// Good frames that came back, those that came after the end of the measured time included.
    pub received: u64,
    /// The same by kind.
    pub good: GoodFrames,
    /// Frames that were not what they should be, by kind.
    pub faults: Tally,
    /// One frame of each kind, in hexadecimal.
    pub fault_samples: BTreeMap<&'static str, String>,
    /// Frames sent that did not come back, good or not.
    pub lost: u64,
    /// Frames that came after one that was sent later.
    pub overtaken: u64,
    /// Frames that found no room in the device's transmit queue at first.
    pub tx_full: u64,
    /// Frames of ARP, NDP and for groups, which are no part of the figures.
    pub neighbours: u64,
    /// Good frames that came back per second of the measured time: the figure to compare.
    pub rx_pps: f64,
    /// The same for each tenth of a second.
    pub rx_pps_intervals: Vec<u64>,
    /// The middle of these.
    pub rx_pps_median: u64,
    /// Complete connections per second of the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_second: Option<f64>,
    /// How connections went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// From the sending of a request to its arrival. Flat out, it is mostly the time in queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<Latency>,
    /// The share of polls in which something came in.
    pub busy: f64,
}

/// How connections went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Begun.
    pub begun: u64,
    /// From SYN to the last acknowledgement.
    pub complete: u64,
    /// Not.
    pub lost: u64,
}

/// What the measured time itself gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// How long it was.
    pub(super) seconds: f64,
    /// Good frames per second, interval by interval.
    pub(super) intervals: Vec<u64>,
    /// Frames sent by its end.
    pub(super) sent: u64,
    /// Good frames by its end.
    pub(super) good: u64,
    /// Connections complete by its end.
    pub(super) complete: u64,
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts far below 2^53, to be divided"
)]
fn ratio(count: u64, of: f64) -> f64 {
    if of > 0.0 { count as f64 / of } else { 0.0 }
}

impl Latency {
    /// From a histogram whose unit is so many nanoseconds; `None` if it is empty.
    pub(super) fn new(histogram: &Histogram<u64>, unit_ns: f64) -> Option<Self> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "stamps have 32 bits, and a unit is a few nanoseconds"
        )]
        let at = |quantile| (histogram.value_at_quantile(quantile) as f64 * unit_ns).round() as u64;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: at(1.0),
        })
    }
}

impl Report {
    /// What was planned, what was counted, and what the measured time gave.
    pub(super) fn new(
        plan: &Plan,
        figures: &Figures,
        connected: Option<Connected>,
        measured: Measured,
        latency_ns: Option<Latency>,
    ) -> Self {
        let received = figures.good();
        let mut sorted = measured.intervals.clone();
        sorted.sort_unstable();
        let seconds = measured.seconds;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            scenario: plan.scenario.clone(),
            expected: plan.returns.name(),
            mode: plan.mode,
            flows: plan.flows,
            order: plan.order.to_string(),
            seed: plan.seed,
            frame_bytes: plan.shape.frame_bytes,
            duration_s: seconds,
            offered_pps: plan
                .rate
                .map_or_else(|| ratio(measured.sent, seconds), |rate| ratio(rate, 1.0)),
            flat_out: plan.rate.is_none(),
            sent: figures.sent,
            received,
            good: GoodFrames {
                forwarded: figures.forwarded,
                replies: figures.replies,
                swapped: figures.swapped,
            },
            faults: figures.faults.clone(),
            fault_samples: figures.samples.iter().map(sample).collect(),
            lost: figures
                .sent
                .saturating_sub(received + figures.faults.total()),
            overtaken: figures.overtaken,
            tx_full: figures.tx_full,
            neighbours: figures.neighbours,
            rx_pps: ratio(measured.good, seconds),
            rx_pps_median: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            rx_pps_intervals: measured.intervals,
            connections_per_second: connected.map(|_| ratio(measured.complete, seconds)),
            connections: connected.map(|connected| Connections {
                begun: connected.begun,
                complete: connected.complete,
                lost: connected.begun.saturating_sub(connected.complete),
            }),
            latency_ns,
            busy: ratio(figures.busy_polls, ratio(figures.polls, 1.0)),
        }
    }

    /// Whether anything came back that was not what it should be.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.faults.total() > 0
    }
}

fn sample((fault, frame): &(Fault, Vec<u8>)) -> (&'static str, String) {
    const MOST: usize = 128;
    let bytes = frame.iter().take(MOST);
    (
        fault.key(),
        bytes.map(|byte| format!("{byte:02x}")).collect(),
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario {
            method,
            family,
            protocol,
            reals,
            ..
        } = &self.scenario;
        let word = |value: &dyn fmt::Debug| format!("{value:?}").to_lowercase();
        writeln!(
            f,
            "{} {} {}, {reals} real servers, {} flows ({}), frames of {} bytes, {:.2} s",
            word(method),
            word(family),
            word(protocol),
            self.flows,
            self.order,
            self.frame_bytes,
            self.duration_s
        )?;
        if let (Some(rate), Some(connections)) = (self.connections_per_second, self.connections) {
            writeln!(
                f,
                "connections {rate:>14.0} /s   begun {}, complete {}, lost {}",
                connections.begun, connections.complete, connections.lost
            )?;
        }
        writeln!(
            f,
            "came back   {:>14.0} /s   median of tenths of a second {}",
            self.rx_pps, self.rx_pps_median
        )?;
        let asked = if self.flat_out {
            "flat out"
        } else {
            "as asked"
        };
        writeln!(f, "offered     {:>14.0} /s   {asked}", self.offered_pps)?;
        writeln!(
            f,
            "frames      sent {}, forwarded {}, replies {}, swapped {}, lost {}, overtaken {}",
            self.sent,
            self.good.forwarded,
            self.good.replies,
            self.good.swapped,
            self.lost,
            self.overtaken
        )?;
        if let Some(latency) = self.latency_ns {
            writeln!(
                f,
                "latency     p50 {} ns, p90 {}, p99 {}, p99.9 {}, p99.99 {}, max {}{}",
                latency.p50,
                latency.p90,
                latency.p99,
                latency.p99_9,
                latency.p99_99,
                latency.max,
                if self.flat_out {
                    " (flat out: mostly the time in queues)"
                } else {
                    ""
                }
            )?;
        }
        writeln!(
            f,
            "generator   {:.0} % of polls with frames, transmit queue full for {} frames",
            self.busy * 100.0,
            self.tx_full
        )?;
        if !self.has_faults() {
            return writeln!(f, "faults      none");
        }
        for (fault, count) in self.faults.seen() {
            writeln!(f, "fault       {count} times: {fault}")?;
            if let Some(sample) = self.fault_samples.get(fault.key()) {
                writeln!(f, "            such as {sample}")?;
            }
        }
        Ok(())
    }
}
