//! Measurements of Plimsoll and its peers, each in a part of its own, and the report of a run.
//!
//! A part measures and gives figures; `model.rs` holds them; `report.rs` prints them and `bar.rs` judges. No part
//! may judge, and no report may measure.

pub mod bar;
pub mod case;
pub mod choice;
pub mod generator;
mod lane;
pub mod limits;
pub mod machine;
pub mod memory;
pub mod model;
#[cfg(feature = "dpdk")]
pub mod null;
pub mod peers;
pub mod plan;
pub mod plot;
pub mod processes;
pub mod report;
pub mod scale;
pub mod services;
pub mod site;
pub mod stalls;
pub mod subject;
pub mod tails;
pub mod text;
pub mod traffic;
pub mod unit;

use anyhow::Result;

use model::{Part, Results};
use plan::Plan;

/// Measures one part.
///
/// # Errors
/// When it cannot be measured at all. Wrong packets are among the results.
pub fn run(part: Part, plan: &Plan, results: &mut Results) -> Result<()> {
    match part {
        Part::Limits => limits::run(plan, &mut results.rows, &mut results.left_out),
        Part::Memory => memory::run(plan, results),
        Part::Tails => tails::run(plan, results),
        Part::Scale => scale::run(plan, results),
        Part::Vhost | Part::Veth => processes::run(part, plan, results),
        #[cfg(feature = "dpdk")]
        Part::Null => null::run(plan, results),
        #[cfg(not(feature = "dpdk"))]
        Part::Null => {
            results.left_out.push(model::LeftOut {
                what: Part::Null.title().to_owned(),
                why: "built without the feature dpdk".to_owned(),
            });
            Ok(())
        }
    }
}
