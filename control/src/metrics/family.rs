//! [`Family`]: the samples of one metric, from plain numbers to what the `prometheus` crate writes.
//! It knows no metric.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

/// What all names begin with.
const PREFIX: &str = "plimsoll_";

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Family {
    name: String,
    help: String,
    kind: MetricType,
    samples: Vec<Metric>,
}

/// A metric that only goes up.
pub(super) fn counter(name: &str, help: &str) -> Family {
    family(name, help, MetricType::COUNTER)
}

/// A metric that goes up and down.
pub(super) fn gauge(name: &str, help: &str) -> Family {
    family(name, help, MetricType::GAUGE)
}

fn family(name: &str, help: &str, kind: MetricType) -> Family {
    Family {
        name: format!("{PREFIX}{name}"),
        help: help.to_owned(),
        kind,
        samples: Vec::new(),
    }
}

impl Family {
    /// Adds a sample; every one of a family has the same labels.
    #[expect(
        clippy::cast_precision_loss,
        reason = "Prometheus' numbers are f64, and so are what it does with them"
    )]
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: u64) {
        self.add_f64(labels, value as f64);
    }

    /// Adds a sample that is no whole number.
    pub(super) fn add_f64(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.samples.push(metric);
    }

    /// Whether it has no samples.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What the registry needs to tell it from others.
    pub(super) fn description(&self) -> prometheus::Result<Described> {
        let (name, help) = (self.name.clone(), self.help.clone());
        Desc::new(name, help, Vec::new(), HashMap::new()).map(Described)
    }

    /// The form that is written.
    pub(super) fn finish(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name);
        family.set_help(self.help);
        family.set_field_type(self.kind);
        family.set_metric(self.samples);
        family
    }
}

/// A family's name and help without samples, for the registry, which refuses a second one of a name.
pub(super) struct Described(Desc);

impl Collector for Described {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        Vec::new()
    }
}
