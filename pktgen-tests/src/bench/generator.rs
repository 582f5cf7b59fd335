//! One run of `plimsoll-pktgen`, and what it tells.
//!
//! Must not link the generator's DPDK half: it is a program with a JSON result here, as for any user.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::model::Latency;
use super::plan::Plan;
use super::site::{Site, word};
use super::subject::Kind;
use crate::pktgen::{Family, Method, Protocol, Scenario, Shape};

/// How long it may take beyond what is measured: to start, to find the other end, and to open all flows.
const PATIENCE: Duration = Duration::from_secs(60);
/// Its packet memory, in MiB.
const MEMORY_MIB: u32 = 64;
/// How long traffic flows before it is measured.
const WARM_UP: &str = "500ms";

/// What it shall do.
#[derive(Debug)]
pub struct Request<'r> {
    /// Who takes part.
    pub scenario: &'r Scenario,
    /// How many flows.
    pub flows: u32,
    /// Frames per second; as many as can be without.
    pub rate: Option<u64>,
    /// How long it is measured.
    pub duration: Duration,
    /// Who is at the other end.
    pub kind: Kind,
}

/// What it found.
#[derive(Debug)]
pub struct Measured {
    /// Good frames that came back, per second.
    pub rx_pps: f64,
    /// Frames sent.
    pub sent: u64,
    /// Of these, those that did not come back.
    pub lost: u64,
    /// What was wrong with frames, in words.
    pub faults: Vec<String>,
    /// From sending to arrival, if frames have room for a time.
    pub latency: Option<Latency>,
}

/// The part of its result that matters here.
#[derive(Debug, Deserialize)]
struct Told {
    rx_pps: f64,
    sent: u64,
    lost: u64,
    faults: BTreeMap<String, u64>,
    latency_ns: Option<ToldLatency>,
}

#[derive(Debug, Deserialize)]
struct ToldLatency {
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    p99_99: u64,
    max: u64,
}

/// Runs it to its end.
///
/// # Errors
/// When it does not start, does not end, or fails without a result.
pub fn measure(plan: &Plan, site: &Site, request: &Request<'_>) -> Result<Measured> {
    let result = site.file("pktgen.json");
    // A former run's result is not this one's.
    let _ = std::fs::remove_file(&result);
    let words = words(plan, site, request);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut process = site.start_generator("pktgen", &words)?;
    let status = process.wait(request.duration + PATIENCE)?;
    // 1 says that frames were wrong, and the result says which.
    if !matches!(status.code(), Some(0 | 1)) || !result.is_file() {
        bail!("plimsoll-pktgen ended with {status}: {}", process.tail());
    }
    let text = std::fs::read(&result).context("the generator's result")?;
    let told: Told = serde_json::from_slice(&text).context("the generator's result")?;
    Ok(told.into())
}

impl From<Told> for Measured {
    fn from(told: Told) -> Self {
        let faults = told.faults.iter();
        Self {
            rx_pps: told.rx_pps,
            sent: told.sent,
            lost: told.lost,
            faults: faults
                .map(|(fault, count)| format!("{count} frames: {fault}"))
                .collect(),
            latency: told.latency_ns.map(|latency| Latency {
                p50: latency.p50,
                p90: latency.p90,
                p99: latency.p99,
                p999: latency.p99_9,
                p9999: latency.p99_99,
                max: latency.max,
                ..Latency::default()
            }),
        }
    }
}

fn words(plan: &Plan, site: &Site, request: &Request<'_>) -> Vec<String> {
    let scenario = request.scenario;
    let method = match scenario.method {
        Method::Dr => "dr",
        Method::Nat => "nat",
        Method::Tunnel => "tunnel",
    };
    let family = match scenario.family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    };
    let protocol = match scenario.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let rate = request
        .rate
        .map_or_else(|| "max".to_owned(), |rate| rate.to_string());
    let mut words = vec![word(&plan.programs.join("plimsoll-pktgen"))];
    let pairs = [
        ("--device", site.generator_device()),
        ("--cpu", plan.other_cpu.to_string()),
        ("--memory", MEMORY_MIB.to_string()),
        ("--method", method.to_owned()),
        ("--family", family.to_owned()),
        ("--protocol", protocol.to_owned()),
        ("--reals", scenario.reals.to_string()),
        ("--flows", request.flows.to_string()),
        ("--order", "uniform".to_owned()),
        ("--frame-bytes", Shape::least(scenario).to_string()),
        ("--rate", rate),
        ("--duration", format!("{}ms", request.duration.as_millis())),
        ("--warmup", WARM_UP.to_owned()),
        ("--json", word(&site.file("pktgen.json"))),
    ];
    for (name, value) in pairs {
        words.extend([name.to_owned(), value]);
    }
    if !site.huge {
        words.push("--no-huge".to_owned());
    }
    if request.kind == Kind::Testpmd {
        words.extend(["--expect", "testpmd-macswap"].map(str::to_owned));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_result_is_understood() {
        let text = r#"{"version": "0.1.0", "rx_pps": 1e6, "sent": 10, "lost": 2, "faults": {"ttl": 3},
            "latency_ns": {"p50": 1, "p90": 2, "p99": 3, "p99_9": 4, "p99_99": 5, "max": 6}}"#;
        let told: Told = serde_json::from_str(text).unwrap();
        let measured = Measured::from(told);
        assert_eq!((measured.sent, measured.lost), (10, 2));
        assert_eq!(measured.faults, ["3 frames: ttl"]);
        assert_eq!(measured.latency.map(|latency| latency.p9999), Some(5));
    }

    #[test]
    fn a_result_that_lacks_a_figure_is_an_error() {
        assert!(serde_json::from_str::<Told>(r#"{"rx_pps": 1.0}"#).is_err());
    }
}
