//! What a run of the benchmark found, and the judgement on it: plain data, ready to be printed, stored and plotted.
//!
//! Must not know how anything was measured, nor what is enough.

use serde::{Serialize, Serializer};

use super::case::Case;
use super::machine::Machine;
use super::services::Figures;
use super::text;
use super::unit::Unit;

/// Changes when a field of [`Results`] changes its meaning.
const FORMAT: u32 = 1;

/// Which part of the benchmark a figure is from; `--only` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// virtio-user and vhost-user between two processes.
    #[value(name = "a", alias = "vhost")]
    Vhost,
    /// `net_af_packet` on veth, between namespaces.
    #[value(name = "b", alias = "veth")]
    Veth,
    /// Workers on ports of DPDK without a wire, in this process.
    #[value(name = "c", alias = "null")]
    Null,
    /// The pipeline over queues in memory.
    #[value(name = "d", alias = "memory")]
    Memory,
    /// The longest polls, memory per session, and the choice of a real server.
    Tails,
    /// A million services.
    Scale,
    /// The machine's memory.
    Limits,
}

impl Part {
    /// In the order of a run: what weighs this process comes first, and what starts DPDK in it last, since that
    /// cannot be undone.
    pub const ALL: [Self; 7] = [
        Self::Scale,
        Self::Limits,
        Self::Memory,
        Self::Tails,
        Self::Vhost,
        Self::Veth,
        Self::Null,
    ];

    /// The beginning of its rows' identities.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Vhost => "vhost",
            Self::Veth => "veth",
            Self::Null => "null",
            Self::Memory => "memory",
            Self::Tails => "tails",
            Self::Scale => "scale",
            Self::Limits => "limits",
        }
    }

    /// What it is, for a heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Vhost => "(a) two processes, virtio-user and vhost-user",
            Self::Veth => "(b) two processes, net_af_packet on veth",
            Self::Null => "(c) a worker on a DPDK port without a wire",
            Self::Memory => "(d) the pipeline over queues in memory",
            Self::Tails => "stalls, memory, scheduling",
            Self::Scale => "many services",
            Self::Limits => "this machine's memory",
        }
    }
}

/// One figure, measured several times.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its identity: part, who was measured, and the case; stable over versions.
    pub id: String,
    /// The part it belongs to.
    pub part: Part,
    /// What was measured, in words.
    pub what: String,
    /// Sessions in the table, where that matters.
    pub sessions: Option<u64>,
    /// What the figures count.
    pub unit: Unit,
    /// All rounds, in order.
    #[serde(serialize_with = "with_summary")]
    pub rounds: Vec<f64>,
    /// What is to be known about it.
    pub note: Option<String>,
}

impl Row {
    /// A row without figures.
    #[must_use]
    pub fn new(part: Part, id: &str, what: &str, unit: Unit) -> Self {
        Self {
            id: format!("{}/{id}", part.slug()),
            part,
            what: what.to_owned(),
            sessions: None,
            unit,
            rounds: Vec::new(),
            note: None,
        }
    }

    /// The round in the middle; of two, the mean. `None` without rounds.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        median(self.rounds.clone())
    }

    /// The least.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        self.rounds.iter().copied().min_by(f64::total_cmp)
    }

    /// The greatest.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.rounds.iter().copied().max_by(f64::total_cmp)
    }
}

/// The figure in the middle; of two, the mean. `None` without figures.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = figures.get(figures.len() / 2)?;
    if figures.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = figures.get(figures.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

#[derive(Serialize)]
struct Summary<'r> {
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    all: &'r [f64],
}

fn with_summary<S: Serializer>(rounds: &[f64], to: S) -> Result<S::Ok, S::Error> {
    let row = Row {
        rounds: rounds.to_vec(),
        ..Row::new(Part::Memory, "", "", Unit::Ratio)
    };
    let summary = Summary {
        median: row.median(),
        min: row.min(),
        max: row.max(),
        all: rounds,
    };
    summary.serialize(to)
}

/// How long single polls took, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stalls {
    /// Its identity, as a row's.
    pub id: String,
    /// What was polled, in words.
    pub what: String,
    /// How many polls.
    pub polls: u64,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// The longest.
    pub max: u64,
    /// How often the kernel took the CPU away meanwhile; what a hypervisor does is not in it.
    pub preempted: u64,
    /// The longest that came back in every repetition of the very same polls, if there were any: the part of the
    /// longest poll that is the program's own and not the machine's.
    pub repeatable_max: Option<u64>,
    /// How often each power of two was reached: `(nanoseconds at least, polls)`.
    pub histogram: Vec<(u64, u64)>,
}

/// Times from sending to arrival at one rate, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Its identity, as a row's.
    pub id: String,
    /// What was measured, in words.
    pub what: String,
    /// Frames sent per second.
    pub rate_pps: u64,
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// The slowest.
    pub max: u64,
}

/// One demand held against one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// What is asked for.
    pub what: String,
    /// The limit, with its sense and unit.
    pub bar: String,
    /// Where the demand comes from.
    pub source: String,
    /// The figure; `None` if this run did not measure it.
    pub measured: Option<f64>,
    /// The same with its unit.
    pub figure: String,
    /// `pass`, by how much it is missed, or `not measured`.
    pub verdict: String,
    /// Whether the demand is met, if it was measured.
    pub pass: Option<bool>,
}

/// Something that this run did not measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl LeftOut {
    /// It would take too long for a quick run.
    #[must_use]
    pub fn quick(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            why: "left out of a quick run".to_owned(),
        }
    }

    /// The same of a part's cases with many sessions; nothing if there are none.
    #[must_use]
    pub fn quick_cases(part: Part, cases: &[Case]) -> Option<Self> {
        let most = cases.iter().filter_map(Case::sessions).max()?;
        let least = cases.iter().filter_map(Case::sessions).min()?;
        let mut range = vec![text::count(least.into()), text::count(most.into())];
        range.dedup();
        Some(Self::quick(&format!(
            "{}: {} cases with {} sessions",
            part.title(),
            cases.len(),
            range.join(" to ")
        )))
    }
}

/// All that a run found.
#[derive(Debug, Serialize)]
pub struct Results {
    /// The meaning of the fields.
    pub format: u32,
    /// Whether this was a quick run, whose times mean little.
    pub quick: bool,
    /// Where it was measured.
    pub machine: Machine,
    /// The figures.
    pub rows: Vec<Row>,
    /// The histograms.
    pub stalls: Vec<Stalls>,
    /// Latency between two processes.
    pub latencies: Vec<Latency>,
    /// Many services.
    pub services: Vec<Figures>,
    /// What is missing.
    pub left_out: Vec<LeftOut>,
    /// What was wrong with packets or counters. Any entry fails the run.
    pub faults: Vec<String>,
    /// The bar, row by row.
    pub bar: Vec<Judgement>,
}

impl Results {
    /// Nothing yet.
    #[must_use]
    pub fn new(quick: bool, machine: Machine) -> Self {
        Self {
            format: FORMAT,
            quick,
            machine,
            rows: Vec::new(),
            stalls: Vec::new(),
            latencies: Vec::new(),
            services: Vec::new(),
            left_out: Vec::new(),
            faults: Vec::new(),
            bar: Vec::new(),
        }
    }

    /// The row with this identity.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// The median of the row with this identity.
    #[must_use]
    pub fn median(&self, id: &str) -> Option<f64> {
        self.row(id)?.median()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let row = |rounds: &[f64]| Row {
            rounds: rounds.to_vec(),
            ..Row::new(Part::Null, "x", "y", Unit::Ns)
        };
        assert_eq!(row(&[]).median(), None);
        assert_eq!(row(&[3.0]).median(), Some(3.0));
        assert_eq!(row(&[9.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(row(&[4.0, 1.0, 9.0, 2.0]).median(), Some(3.0));
        let ends = row(&[9.0, 1.0, 2.0]);
        assert_eq!((ends.min(), ends.max()), (Some(1.0), Some(9.0)));
    }

    #[test]
    fn a_row_is_stored_with_its_summary() {
        let row = Row {
            rounds: vec![2.0, 1.0, 4.0],
            ..Row::new(Part::Vhost, "dr", "direct routing", Unit::NsPerPacket)
        };
        let value = serde_json::to_value(&row).unwrap();
        assert_eq!(value["id"], "vhost/dr");
        assert_eq!(value["unit"], "ns_per_packet");
        assert_eq!(value["rounds"]["median"], 2.0);
        assert_eq!(value["rounds"]["all"][2], 4.0);
    }
}
