//! The bar: what is asked of Plimsoll, where each demand comes from, and how far a run is from it.
//!
//! Must not hold measured figures of Plimsoll: those are a run's. What peers were measured at is in `peers.rs`.

use super::model::{Judgement, Results, median};
use super::text;
use super::unit::Unit;

/// Whether less or more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    AtMost,
    AtLeast,
}

/// One demand.
struct Demand {
    what: &'static str,
    sense: Sense,
    limit: f64,
    unit: Unit,
    /// Why this much.
    source: &'static str,
    /// The figure, from a run's results.
    of: fn(&Results) -> Option<f64>,
}

const DR_1K: &str = "memory/dr-udp-v4/1000";
const DR_1M: &str = "memory/dr-udp-v4/1000000";

/// All figures: one worker, frames of 64 bytes with FCS, 100 real servers, both sides of a ratio from one run.
const DEMANDS: &[Demand] = &[
    Demand {
        what: "pipeline alone, DR, 1 k sessions",
        sense: Sense::AtMost,
        limit: 30.0,
        unit: Unit::NsPerPacket,
        source: "VPP's lb takes 40 ns at one flow",
        of: |run| run.median(DR_1K),
    },
    Demand {
        what: "pipeline alone, DR, 1 M sessions in random order",
        sense: Sense::AtMost,
        limit: 50.0,
        unit: Unit::NsPerPacket,
        source: "VPP's lb with a raised prefetch distance takes 53 ns",
        of: |run| run.median(DR_1M),
    },
    Demand {
        what: "the same over the time at 1 k sessions",
        sense: Sense::AtMost,
        limit: 2.0,
        unit: Unit::Ratio,
        source: "DPVS loses nine times its speed",
        of: |run| Some(run.median(DR_1M)? / run.median(DR_1K)?),
    },
    Demand {
        what: "pipeline alone, DR, 10 M sessions in random order",
        sense: Sense::AtMost,
        limit: 80.0,
        unit: Unit::NsPerPacket,
        source: "a cuckoo table in FastClick takes 307 to 448 cycles",
        of: |run| run.median("memory/dr-udp-v4/10000000"),
    },
    Demand {
        what: "pipeline alone, NAT, both directions mixed, 1 M sessions",
        sense: Sense::AtMost,
        limit: 70.0,
        unit: Unit::NsPerPacket,
        source: "VPP's lb with NAT4 takes 102 ns",
        of: |run| run.median("memory/nat-udp-v4/1000000"),
    },
    Demand {
        what: "NAT on 2 workers, 1 M sessions, all answers at the other worker, over none there",
        sense: Sense::AtMost,
        limit: 1.4,
        unit: Unit::Ratio,
        source: "a hand-over may not cost more than most of a packet",
        of: |run| {
            let crossing = run.median("memory/nat-udp-v4/1000000/2-workers-crossing")?;
            Some(crossing / run.median("memory/nat-udp-v4/1000000/2-workers")?)
        },
    },
    Demand {
        what: "pipeline alone, tunnel (IPIP), 1 M sessions",
        sense: Sense::AtMost,
        limit: 60.0,
        unit: Unit::NsPerPacket,
        source: "DPVS takes 790 ns at 100 k",
        of: |run| run.median("memory/tunnel-udp-v4/1000000"),
    },
    Demand {
        what: "new sessions: SYN, entered, expired again, table of 1 M at 80 %",
        sense: Sense::AtLeast,
        limit: 5e6,
        unit: Unit::SessionsPerSecond,
        source: "Katran enters 0.7 to 1.3 M new flows a second",
        of: |run| run.median("memory/dr-tcp-v4/new").map(|ns| 1e9 / ns),
    },
    Demand {
        what: "two processes over vhost-user, DR, 1 k sessions, over testpmd macswap",
        sense: Sense::AtLeast,
        limit: 0.85,
        unit: Unit::Ratio,
        source: "testpmd only swaps MACs",
        of: |run| ratio(run, 1000),
    },
    Demand {
        what: "the same with 1 M sessions",
        sense: Sense::AtLeast,
        limit: 0.70,
        unit: Unit::Ratio,
        source: "testpmd only swaps MACs",
        of: |run| ratio(run, 1_000_000),
    },
    Demand {
        what: "memory per session, IPv4, in all",
        sense: Sense::AtMost,
        limit: 96.0,
        unit: Unit::Bytes,
        source: "DPVS's entry alone has several hundred bytes",
        of: |run| run.median("tails/session-bytes/v4"),
    },
    Demand {
        what: "longest stall of a worker under churn at a full table of 1 M",
        sense: Sense::AtMost,
        limit: 100.0,
        unit: Unit::Us,
        source: "what a receive queue of 1024 frames bridges at 10 Mpps",
        of: |run| {
            let stalls = run
                .stalls
                .iter()
                .find(|stalls| stalls.id == "tails/churn")?;
            Some(stalls.repeatable_max? as f64 / 1e3)
        },
    },
    Demand {
        what: "a million services: compiled and published",
        sense: Sense::AtMost,
        limit: 3000.0,
        unit: Unit::Ms,
        source: "a restart must not be noticed",
        of: |run| {
            let million = million(run)?;
            Some(million.compile_ms + million.build_ms)
        },
    },
    Demand {
        what: "a million services: one of them changed, the slowest kind of change",
        sense: Sense::AtMost,
        limit: 10.0,
        unit: Unit::Ms,
        source: "a health check must take effect at once",
        of: |run| {
            let changes = million(run)?.changes.iter().map(|change| change.median_ms);
            changes.max_by(f64::total_cmp)
        },
    },
    Demand {
        what: "choice of a real server by lc or wlc, 1000 of them over 10",
        sense: Sense::AtMost,
        limit: 2.0,
        unit: Unit::Ratio,
        source: "IPVS searches the whole list",
        of: |run| {
            let ratio = |kind: &str| {
                let at = |reals: u32| run.median(&format!("tails/choice/{kind}/{reals}"));
                Some(at(1000)? / at(10)?)
            };
            Some(ratio("lc")?.max(ratio("wlc")?))
        },
    },
];

/// The middle of the rounds' ratios: the two sides of each were measured one right after the other.
fn ratio(run: &Results, sessions: u32) -> Option<f64> {
    let plimsoll = run.row(&format!("vhost/plimsoll/dr-udp-v4/{sessions}"))?;
    let testpmd = run.row(&format!("vhost/testpmd/{sessions}"))?;
    let pairs = plimsoll.rounds.iter().zip(&testpmd.rounds);
    median(
        pairs
            .map(|(plimsoll, testpmd)| plimsoll / testpmd)
            .collect(),
    )
}

fn million(run: &Results) -> Option<&super::services::Figures> {
    run.services.iter().find(|one| one.services >= 1_000_000)
}

/// Holds a run against every demand, in order.
#[must_use]
pub fn judge(run: &Results) -> Vec<Judgement> {
    DEMANDS.iter().map(|demand| demand.judge(run)).collect()
}

impl Demand {
    fn judge(&self, run: &Results) -> Judgement {
        let measured = (self.of)(run).filter(|figure| figure.is_finite());
        let sign = match self.sense {
            Sense::AtMost => "<=",
            Sense::AtLeast => ">=",
        };
        let (pass, verdict) = match measured {
            None => (None, "not measured".to_owned()),
            Some(figure) => {
                let gap = match self.sense {
                    Sense::AtMost => figure / self.limit - 1.0,
                    Sense::AtLeast => 1.0 - figure / self.limit,
                };
                let word = match self.sense {
                    Sense::AtMost => "over",
                    Sense::AtLeast => "short",
                };
                match gap {
                    gap if gap <= 0.0 => (Some(true), "pass".to_owned()),
                    // Never rounded to a pass.
                    gap => (Some(false), format!("{} % {word}", (gap * 100.0).ceil())),
                }
            }
        };
        Judgement {
            what: self.what.to_owned(),
            bar: format!("{sign} {}", text::figure(self.limit, self.unit)),
            source: self.source.to_owned(),
            measured,
            figure: measured.map_or_else(
                || "-".to_owned(),
                |measured| text::figure(measured, self.unit),
            ),
            verdict,
            pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Machine;
    use crate::bench::model::{Part, Row};

    fn run(rows: &[(&str, f64)]) -> Results {
        let mut run = Results::new(true, Machine::here());
        for (id, figure) in rows {
            let (_, rest) = id.split_once('/').unwrap();
            run.rows.push(Row {
                id: (*id).to_owned(),
                rounds: vec![*figure],
                ..Row::new(Part::Memory, rest, "", Unit::NsPerPacket)
            });
        }
        run
    }

    #[test]
    fn a_demand_is_met_missed_by_so_much_or_not_measured() {
        let verdicts = |rows: &[(&str, f64)]| {
            let judged = judge(&run(rows));
            judged
                .into_iter()
                .map(|one| one.verdict)
                .collect::<Vec<_>>()
        };
        let of = verdicts(&[(DR_1K, 42.1), (DR_1M, 50.0)]);
        assert_eq!(of[..4], ["41 % over", "pass", "pass", "not measured"]);
        let of = verdicts(&[("memory/dr-tcp-v4/new", 250.0)]);
        assert_eq!(of[7], "20 % short");
        let of = verdicts(&[
            ("vhost/plimsoll/dr-udp-v4/1000", 8.5),
            ("vhost/testpmd/1000", 10.0),
        ]);
        assert_eq!(of[8], "pass");
    }

    #[test]
    fn a_near_miss_is_no_pass() {
        let judged = judge(&run(&[(DR_1K, 30.01)]));
        assert_eq!(judged[0].pass, Some(false));
        assert_eq!(judged[0].verdict, "1 % over");
    }
}
